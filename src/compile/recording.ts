/**
 * Recordings of lowered graphs. A recording has a text with the nodes, which is equal for graphs that differ only in sizes and numbers,
 * and a list of slots with every constant and dimension. From two recordings with the same text one model can be made that runs both
 * graphs, and others: the slots that differ become holes.
 */
import type { Body } from "../graph/body.ts";
import { areOfOneOp, type Node } from "../graph/node.ts";
import type {
  Constant,
  Lowering,
  OnnxAttribute,
  OnnxGraph,
  OnnxSubgraph,
  OnnxTensorType,
  OnnxType,
  OnnxValue,
} from "../graph/op.ts";
import type { Port, Target } from "../graph/target.ts";
import { paramsKey } from "../graph/text.ts";
import { type DType, type Shape, sameShape, type TensorType } from "../graph/types.ts";
import {
  guardSizes,
  type Kernel,
  type KernelValue,
  type Layout,
  lengthsSizes,
  mostInputs,
  type RandomOp,
  randomSizes,
  rowBytesAt,
  type Step,
  sizesOf,
} from "../kernel/kernel.ts";
import { dataTypes, type OnnxBuilder, type OpenType } from "../onnx/model.ts";

/** A part of a recording that may differ from size to size: a constant, the dimensions of a value, or the sizes of a kernel. */
export type Slot = Constant & {
  readonly kind: "constant" | "type" | "kernel";
  /**
   * For a slot that chooses one of several ways to compute a value: the text of what decides the choice. Two such slots are equal for all
   * sizes only if this text is equal too.
   */
  readonly decidedBy?: string | undefined;
  /** Whether the slot belongs to a way that was not chosen, so that its value does not matter. */
  readonly isIdle: boolean;
};

interface NodeEntry {
  readonly kind: "node";
  readonly type: string;
  readonly inputs: readonly (OnnxValue | undefined)[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
  readonly domain: string;
  readonly outputs: readonly OnnxValue[];
}

interface KernelEntry {
  readonly kind: "kernel";
  readonly kernel: Kernel;
  /** Slots: the sizes, the outputs' types, and the numbers among the steps in order. */
  readonly sizes: number;
  readonly types: readonly number[];
  readonly numbers: readonly number[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

interface GuardEntry {
  readonly kind: "guard";
  /** A slot. */
  readonly sizes: number;
  readonly counts: readonly number[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly [OnnxValue];
}

interface RandomEntry {
  readonly kind: "random";
  readonly draw: Omit<RandomOp, "name">;
  /** Slots. */
  readonly sizes: number;
  readonly type: number;
  readonly inputs: readonly [OnnxValue];
  readonly outputs: readonly [OnnxValue];
}

interface LengthsEntry {
  readonly kind: "lengths";
  readonly width: number;
  readonly shape: Shape;
  /** Slots. */
  readonly sizes: number;
  readonly type: number;
  readonly inputs: readonly [OnnxValue];
  readonly outputs: readonly [OnnxValue];
}

interface ChoiceEntry {
  readonly kind: "choice";
  /** Slots with one truth value each, for all ways but the last: whether it is the chosen one. */
  readonly is: readonly number[];
  readonly chosen: number;
  readonly dtype: OnnxType;
  /** The slot of the result's type. */
  readonly type: number;
  readonly ways: readonly Recorded[];
  /** The first slot of the choice and of its ways, and the one after the last. */
  readonly from: number;
  readonly to: number;
  readonly output: OnnxValue;
}

type Entry = NodeEntry | KernelEntry | GuardEntry | RandomEntry | LengthsEntry | ChoiceEntry;

/** Nodes in order, and the values that they return. */
interface Recorded {
  readonly entries: readonly Entry[];
  readonly results: readonly OnnxValue[];
}

/** A graph inside of a node. */
class RecordedSubgraph implements OnnxSubgraph {
  readonly graph: Recorded;
  readonly inputs: readonly OnnxValue[];
  /** Slots. */
  readonly inputTypes: readonly number[];
  readonly outputTypes: readonly number[];
  readonly dtypes: { readonly inputs: readonly OnnxTensorType[]; readonly outputs: readonly OnnxTensorType[] };
  readonly #text: string;

  constructor(
    graph: Recorded,
    text: string,
    inputs: readonly OnnxValue[],
    [inputTypes, outputTypes]: readonly [readonly number[], readonly number[]],
    dtypes: RecordedSubgraph["dtypes"],
  ) {
    this.graph = graph;
    this.#text = text;
    this.inputs = inputs;
    this.inputTypes = inputTypes;
    this.outputTypes = outputTypes;
    this.dtypes = dtypes;
  }

  toJSON(): string {
    return this.#text;
  }
}

/** A node whose lowering chooses between several ways, with its slots. */
interface Chooser {
  readonly node: Node;
  readonly at: Lowering<unknown>;
  readonly from: number;
  readonly to: number;
  readonly constants: ReadonlyMap<OnnxValue, Constant>;
}

/** The node that is being lowered, and the first of its slots. */
interface Current {
  readonly node: Node;
  readonly at: Lowering<unknown>;
  /** The op, parameters and shapes, on which its choices depend. */
  readonly text: string;
  readonly from: number;
}

/** What the recorder of a graph and the recorders of the subgraphs inside it share. */
interface Notes {
  readonly slots: Slot[];
  readonly constants: Map<OnnxValue, Constant>;
  readonly choosers: Chooser[];
  /** Whether a node has sizes that differ between the graphs: only then the ways that were not chosen are recorded. */
  isOpen(node: Node): boolean;
}

/** The name of a constant is its slot. Each use of a constant has its own slot: two constants may be equal for some sizes only. */
const constantAt = (slot: number): OnnxValue => `#${slot}` as OnnxValue;
const slotOf = (value: OnnxValue): number | undefined => (value.startsWith("#") ? Number(value.slice(1)) : undefined);

/** Records what a graph is lowered to. */
class Recorder implements OnnxGraph {
  readonly target: Target;
  readonly #notes: Notes;
  readonly entries: Entry[] = [];
  readonly lines: string[] = [];
  readonly #prefix: string;
  /** For a recorder of one way to compute a value: the node that chooses, and whether this way was not chosen. */
  readonly #way: { readonly of: Current | undefined; readonly isIdle: boolean } | undefined;
  #current: Current | undefined;

  constructor(
    target: Target,
    notes: Notes,
    prefix: string,
    way?: { readonly of: Current | undefined; readonly isIdle: boolean },
  ) {
    this.target = target;
    this.#notes = notes;
    this.#prefix = prefix;
    this.#way = way;
    this.#current = way?.of;
  }

  #names(count: number): OnnxValue[] {
    return Array.from({ length: count }, (_, i) => `${this.#prefix}${this.entries.length}.${i}` as OnnxValue);
  }

  #slot(slot: Omit<Slot, "isIdle">): number {
    return this.#notes.slots.push({ ...slot, isIdle: this.#way?.isIdle ?? false }) - 1;
  }

  /** Returns the name of a value as an operand, and its name in the text. A constant gets a new slot. */
  #used<V extends OnnxValue | undefined>(value: V): { readonly value: V | OnnxValue; readonly text: string } {
    const constant = value === undefined ? undefined : this.#notes.constants.get(value);
    if (!constant) return { value, text: value ?? "" };
    const slot = this.#slot({ kind: "constant", ...constant });
    return { value: constantAt(slot), text: `#${constant.dtype} ${constant.shape.length}` };
  }

  note(node: Node, at: Lowering<unknown>): void {
    const types = [...at.inputTypes, ...at.outputTypes].map(({ shape }) => `[${shape}]`);
    const text = `${node.op.name} ${paramsKey(node.params)} ${types}`;
    this.#current = { node, at, text, from: this.#notes.slots.length };
  }

  /** Records the values that a graph returns, and ends the recording. */
  finish(results: readonly OnnxValue[]): Recorded {
    const used = results.map((value) => this.#used(value));
    this.lines.push(`return ${used.map(({ text }) => text).join()}`);
    return { entries: this.entries, results: used.map(({ value }) => value) };
  }

  /** A slot for the dimensions of a value. */
  typeSlot({ shape }: Pick<OnnxTensorType, "shape">): number {
    return this.#slot({ kind: "type", dtype: "int64", shape: [shape.length], values: shape });
  }

  node(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
    domain: string = "",
  ): OnnxValue {
    return this.#node(type, inputs, 1, attributes, domain)[0]!;
  }

  nodes(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): OnnxValue[] {
    return this.#node(type, inputs, outputs, attributes, "");
  }

  #node(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    count: number,
    attributes: Readonly<Record<string, OnnxAttribute>>,
    domain: string,
  ): OnnxValue[] {
    const outputs = this.#names(count);
    const used = inputs.map((value) => this.#used(value));
    this.lines.push(`${domain}.${type}(${used.map(({ text }) => text).join()})${count}${paramsKey(attributes)}`);
    const given = used.map(({ value }) => value);
    this.entries.push({ kind: "node", type, inputs: given, attributes, domain, outputs });
    return outputs;
  }

  kernel(kernel: Kernel, shapes: readonly Shape[], inputs: readonly OnnxValue[]): OnnxValue[] {
    const outputs = this.#names(shapes.length);
    const { takeTurns = false } = kernel;
    const steps = kernel.steps.map((step) => (typeof step === "number" ? "#" : step));
    const ranks = shapes.map(({ length }) => length);
    const form = [kernel.inputs, steps, kernel.outputs, takeTurns, kernel.size === kernel.width, ranks];
    const used = inputs.map((value) => this.#used(value));
    this.lines.push(`kernel(${used.map(({ text }) => text).join()})${paramsKey(form)}`);
    const sizes = sizesOf(kernel, shapes, this.target.threads ?? 1);
    this.entries.push({
      kind: "kernel",
      kernel,
      sizes: this.#slot({ kind: "kernel", dtype: "int64", shape: [sizes.length], values: sizes }),
      types: shapes.map((shape) => this.typeSlot({ shape })),
      numbers: kernel.steps.flatMap((step) =>
        typeof step === "number" ? [this.#slot({ kind: "constant", dtype: "float32", shape: [], values: [step] })] : [],
      ),
      inputs: used.map(({ value }) => value),
      outputs,
    });
    return outputs;
  }

  guard(values: readonly OnnxValue[], counts: readonly number[]): OnnxValue {
    const outputs = this.#names(1) as [OnnxValue];
    const used = values.map((value) => this.#used(value));
    this.lines.push(`guard(${used.map(({ text }) => text).join()})`);
    const sizes = guardSizes(counts, this.target.threads ?? 1);
    this.entries.push({
      kind: "guard",
      sizes: this.#slot({ kind: "constant", dtype: "int64", shape: [sizes.length], values: sizes }),
      counts,
      inputs: used.map(({ value }) => value),
      outputs,
    });
    return outputs[0];
  }

  lengths(x: OnnxValue, width: number, shape: Shape): OnnxValue {
    const outputs = this.#names(1) as [OnnxValue];
    const used = this.#used(x);
    this.lines.push(`lengths(${used.text})${shape.length}`);
    const sizes = lengthsSizes({ width, shape }, this.target.threads ?? 1);
    this.entries.push({
      kind: "lengths",
      width,
      shape,
      sizes: this.#slot({ kind: "constant", dtype: "int64", shape: [sizes.length], values: sizes }),
      type: this.typeSlot({ shape }),
      inputs: [used.value],
      outputs,
    });
    return outputs[0];
  }

  random(state: OnnxValue, draw: Omit<RandomOp, "name">): OnnxValue {
    const outputs = this.#names(1) as [OnnxValue];
    const used = this.#used(state);
    const { bits, dtype, shape } = draw;
    this.lines.push(`random(${used.text})${bits} ${dtype} ${shape.length}`);
    const sizes = randomSizes(draw, this.target.threads ?? 1);
    this.entries.push({
      kind: "random",
      draw,
      sizes: this.#slot({ kind: "constant", dtype: "int64", shape: [sizes.length], values: sizes }),
      type: this.typeSlot(draw),
      inputs: [used.value],
      outputs,
    });
    return outputs[0];
  }

  constant(dtype: OnnxType, shape: Shape, values: readonly number[] | Float64Array): OnnxValue {
    const { constants } = this.#notes;
    const name = `constant${constants.size}` as OnnxValue;
    constants.set(name, { dtype, shape, values });
    return name;
  }

  integers(values: readonly number[]): OnnxValue {
    return this.constant("int64", [values.length], values);
  }

  cast(value: OnnxValue, to: OnnxType): OnnxValue {
    return this.node("Cast", [value], { to: dataTypes[to] });
  }

  choose(chosen: number, type: OnnxTensorType, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue {
    if (this.#current && !this.#notes.isOpen(this.#current.node)) return ways[chosen]!(this);
    const [output] = this.#names(1) as [OnnxValue];
    const from = this.#notes.slots.length;
    const decidedBy = this.#current && `${from - this.#current.from} ${this.#current.text}`;
    const is = ways
      .slice(1)
      .map((_, i) =>
        this.#slot({ kind: "constant", dtype: "bool", shape: [], values: [Number(i === chosen)], decidedBy }),
      );
    const recorded = ways.map((way, i): Recorded & { readonly lines: readonly string[] } => {
      const inner = new Recorder(this.target, this.#notes, `${output}w${i}_`, {
        of: this.#current,
        isIdle: this.#way?.isIdle || i !== chosen,
      });
      return { ...inner.finish([way(inner)]), lines: inner.lines };
    });
    this.lines.push(`choose ${recorded.map(({ lines }) => `[${lines.join(";")}]`)}`);
    const slot = this.typeSlot(type);
    const to = this.#notes.slots.length;
    const { dtype } = type;
    if (this.#current && this.#current !== this.#way?.of) {
      const { choosers } = this.#notes;
      if (choosers.at(-1)?.from === this.#current.from) choosers.pop();
      choosers.push({ ...this.#current, to, constants: this.#notes.constants });
    }
    this.entries.push({ kind: "choice", is, chosen, dtype, type: slot, ways: recorded, from, to, output });
    return output;
  }

  subgraph(
    inputTypes: readonly OnnxTensorType[],
    outputTypes: readonly OnnxTensorType[],
    build: (graph: OnnxGraph, inputs: readonly OnnxValue[]) => readonly OnnxValue[],
  ): OnnxSubgraph {
    const prefix = `${this.#prefix}${this.entries.length}s${this.#notes.slots.length}_`;
    const inner = new Recorder(this.target, this.#notes, prefix, this.#way);
    const inputs = inputTypes.map((_, i) => `${prefix}input${i}` as OnnxValue);
    const graph = inner.finish(build(inner, inputs));
    const types = [inputTypes, outputTypes] as const;
    const slots = types.map((list) => list.map((type) => this.typeSlot(type))) as [number[], number[]];
    const form = types.map((list) => list.map(({ dtype, shape }) => `${dtype}${shape.length}`).join());
    const text = `${form.join("→")}{${inner.lines.join(";")}}`;
    return new RecordedSubgraph(graph, text, inputs, slots, {
      inputs: inputTypes,
      outputs: outputTypes,
    });
  }
}

/** A lowered graph as text, with its sizes and constants in slots. */
export interface Recording {
  /** Equal for graphs that differ in sizes and numbers alone. */
  readonly text: string;
  readonly slots: readonly Slot[];
  readonly choosers: readonly Chooser[];
  readonly target: Target;
  readonly graph: Recorded;
  readonly dtypes: { readonly inputs: readonly DType[]; readonly outputs: readonly DType[] };
  /** Slots of the types of inputs and outputs. */
  readonly types: { readonly inputs: readonly number[]; readonly outputs: readonly number[] };
}

const argument = (i: number): OnnxValue => `argument${i}` as OnnxValue;

/** Returns the nodes of a graph, those inside loops too, in an order that is the same for all graphs with the same structure. */
export function nodesOf(body: Body): Node[] {
  const nodes: Node[] = [];
  const visit = (inner: Body): Body => {
    for (const node of inner.nodes) {
      nodes.push(node);
      node.op.mapBodies?.(node.params, visit);
    }
    return inner;
  };
  visit(body);
  return nodes;
}

/** Returns, for each node, whether the sizes of its inputs or outputs differ between two graphs; undefined if the structures differ. */
export function openNodes(nodes: readonly Node[], others: readonly Node[]): readonly boolean[] | undefined {
  if (nodes.length !== others.length || !nodes.every((node, i) => areOfOneOp(node, others[i]!))) return undefined;
  const sameTypes = (a: readonly TensorType[], b: readonly TensorType[]): boolean =>
    a.length === b.length && a.every(({ shape }, i) => sameShape(shape, b[i]!.shape));
  const inputs = (node: Node): TensorType[] => node.inputs.map(({ node: from, index }) => from.outputs[index]!);
  return nodes.map(
    (node, i) => !sameTypes(node.outputs, others[i]!.outputs) || !sameTypes(inputs(node), inputs(others[i]!)),
  );
}

/** Lowers a graph and returns its recording. `isOpen` says which nodes, in the order of `nodesOf`, have sizes that differ. */
export function record(body: Body, target: Target, isOpen: readonly boolean[]): Recording {
  const slots: Slot[] = [];
  const choosers: Chooser[] = [];
  const open = new Set(nodesOf(body).filter((_, i) => isOpen[i]));
  const notes: Notes = { slots, constants: new Map(), choosers, isOpen: (node) => open.has(node) };
  const recorder = new Recorder(target, notes, "");
  const results = body.lower(
    recorder,
    body.leaves.map((_, i) => argument(i)),
  );
  const graph = recorder.finish(results);
  const typesOf = (types: readonly TensorType[]): number[] => types.map((type) => recorder.typeSlot(type));
  const form = [body.inputTypes, body.outputTypes].map((types) =>
    types.map(({ dtype, shape }) => `${dtype}${shape.length}`).join(),
  );
  return {
    text: `${form.join("→")}\n${recorder.lines.join("\n")}`,
    slots,
    choosers,
    target,
    graph,
    dtypes: {
      inputs: body.inputTypes.map(({ dtype }) => dtype),
      outputs: body.outputTypes.map(({ dtype }) => dtype),
    },
    types: { inputs: typesOf(body.inputTypes), outputs: typesOf(body.outputTypes) },
  };
}

const sameValues = (a: Slot, b: Slot): boolean =>
  a.shape.length === b.shape.length &&
  a.shape.every((size, i) => size === b.shape[i]) &&
  a.values.length === b.values.length &&
  (a.values as readonly number[]).every((value, i) => Object.is(value, b.values[i]));

const textOf = ({ dtype, shape, values }: Slot): string =>
  `${dtype}[${shape}]${Array.from(values, (value) => (Object.is(value, -0) ? "-0" : value)).join()}`;

/** A hole: a constant that differs from size to size, and the slots that take its value. */
interface HoleSlots {
  readonly name: string;
  readonly slots: readonly number[];
}

/** A port with names for its open sizes. */
type OpenPort = Port & { readonly type: OpenType };

/** The most holes of one session: to pass more of them to a run would take longer than they save. */
const mostHoles = 400;

/** Sizes that stand for all others: short and long ones, with and without divisors. */
const imaginedSizes = [37, 331, 1024, 5003] as const;

/**
 * Returns the slots of nodes that choose, for imagined sizes: two real sizes may have too much in common to show which slots differ.
 * This is only a guess at which slots will differ; before each run, the recording of its own graph is compared in any case.
 */
function imagined(
  [first, second]: readonly Recording[],
  sizes: Map<string, number>,
  size: number,
): (Slot | undefined)[] {
  const slots = Array<Slot | undefined>(first!.slots.length).fill(undefined);
  for (const [i, { node, at, from, to, constants }] of first!.choosers.entries()) {
    const other = second!.choosers[i];
    if (!other || other.from !== from || paramsKey(other.at.params) !== paramsKey(at.params)) continue;
    const types = (side: "inputTypes" | "outputTypes"): TensorType[] =>
      at[side].map(({ dtype, shape }, n) => ({
        dtype,
        shape: shape.map((a, axis) => {
          const b = other.at[side][n]!.shape[axis]!;
          if (a === b) return a;
          const key = `${a} ${b}`;
          const which = sizes.get(key) ?? sizes.size;
          sizes.set(key, which);
          return size + 6 * which;
        }),
      }));
    const notes: Notes = { slots: [], constants: new Map(constants), choosers: [], isOpen: () => true };
    try {
      node.op.onnx(new Recorder(first!.target, notes, ""), {
        ...at,
        inputTypes: types("inputTypes"),
        outputTypes: types("outputTypes"),
      });
    } catch {
      continue; //  the op does not allow this combination of sizes
    }
    const real = first!.slots.slice(from, Math.max(to, from + notes.slots.length));
    const isAlike = notes.slots.every(({ dtype, shape, kind }, n) => {
      const other = real[n];
      return other?.dtype === dtype && other.kind === kind && other.shape.length === shape.length;
    });
    if (isAlike && notes.slots.length >= to - from)
      for (const [n, slot] of notes.slots.entries()) slots[from + n] = slot;
  }
  return slots;
}

/** Several recordings with one text: which slots are equal in all of them, and which differ and become holes. */
export class Opening {
  /** The recording from which the model is written. */
  readonly #example: Recording;
  /** The constants that differ. */
  readonly #holes: readonly HoleSlots[];
  readonly #holeOf = new Map<number, string>();
  /** For each slot of a type, the names of its sizes that differ. */
  readonly #names = new Map<number, readonly (string | undefined)[]>();
  /** The slots with sizes of kernels whose rows differ in length. */
  readonly #openRows = new Set<number>();
  /** For each name of a size, the places that have this size. */
  readonly #dimensions = new Map<string, { readonly slot: number; readonly axis: number }[]>();

  private constructor(examples: readonly Recording[]) {
    this.#example = examples.at(-1)!;
    const groups = new Map<string, number[]>();
    const names = new Map<string, string>();
    const sizes = new Map<string, number>();
    const others = imaginedSizes.map((size) => imagined(examples, sizes, size));
    for (const [i, { kind }] of this.#example.slots.entries()) {
      const seen = [...examples.map(({ slots }) => slots[i]!), ...others.map((slots) => slots[i])];
      if (kind === "type") this.#addType(i, seen, names);
      else if (seen.some((slot) => slot && !sameValues(slot, seen[0]!))) {
        if (kind === "kernel" && seen.some((slot) => slot && slot.values[rowBytesAt] !== seen[0]!.values[rowBytesAt]))
          this.#openRows.add(i);
        const decidedBy = examples.map(({ slots }) => slots[i]!.decidedBy ?? "").join(" ");
        const key = `${decidedBy} ${seen.map((slot) => (slot ? textOf(slot) : "")).join(" ")}`;
        const group = groups.get(key) ?? [];
        groups.set(key, group);
        group.push(i);
      }
    }
    this.#holes = [...groups.values()].map((slots, i) => ({ name: `hole${i}`, slots }));
    for (const { name, slots } of this.#holes) for (const slot of slots) this.#holeOf.set(slot, name);
  }

  #addType(slot: number, seen: readonly (Slot | undefined)[], names: Map<string, string>): void {
    const open = Array.from(seen[0]!.values, (first, axis) => {
      const sizes = seen.map((each) => each?.values[axis]);
      if (sizes.every((size) => size === undefined || size === first)) return undefined;
      const key = `${sizes}`;
      const name = names.get(key) ?? `size${names.size}`;
      names.set(key, name);
      const places = this.#dimensions.get(name) ?? [];
      this.#dimensions.set(name, places);
      places.push({ slot, axis });
      return name;
    });
    if (open.some((name) => name !== undefined)) this.#names.set(slot, open);
  }

  /** Returns the opening for recordings with one text; undefined if the texts differ, or if one model cannot have all the holes. */
  static of(...examples: readonly Recording[]): Opening | undefined {
    const [first, ...others] = examples;
    const isAlike = ({ text, slots }: Recording): boolean =>
      text === first!.text && slots.length === first!.slots.length;
    if (!others.every(isAlike)) return undefined;
    const opening = new Opening(examples);
    return opening.#holes.length <= mostHoles && opening.#fits(opening.#example.graph) ? opening : undefined;
  }

  /** Whether each kernel can take the numbers that become holes as further inputs: a kernel has a largest number of inputs. */
  #fits({ entries }: Recorded): boolean {
    return entries.every((entry) => {
      if (entry.kind === "choice") return entry.ways.every((way) => this.#fits(way));
      if (entry.kind === "node")
        return Object.values(entry.attributes).every(
          (value) => !(value instanceof RecordedSubgraph) || this.#fits(value.graph),
        );
      if (entry.kind !== "kernel") return true;
      return entry.inputs.length + entry.numbers.filter((slot) => this.#holeOf.has(slot)).length <= mostInputs;
    });
  }

  get text(): string {
    return this.#example.text;
  }

  get holes(): readonly { readonly name: string; readonly dtype: OnnxType; readonly rank: number }[] {
    return this.#holes.map(({ name, slots }) => {
      const { dtype, shape } = this.#example.slots[slots[0]!]!;
      return { name, dtype, rank: shape.length };
    });
  }

  /** Returns the constants that make the model compute a recorded graph; undefined if the model cannot compute that graph. */
  fillingFor({ text, slots }: Recording): readonly Constant[] | undefined {
    const { text: own, slots: given } = this.#example;
    if (text !== own || slots.length !== given.length) return undefined;
    for (const [i, slot] of slots.entries()) {
      if (slot.isIdle) continue;
      if (this.#holeOf.has(i)) {
        // Unless the length of rows is open, the machine code contains it.
        const isOfLength = slot.values[rowBytesAt] === given[i]!.values[rowBytesAt];
        if (slot.kind === "kernel" && !this.#openRows.has(i) && !isOfLength) return undefined;
        continue;
      }
      const names = this.#names.get(i);
      const isSame = names
        ? names.every((name, axis) => name !== undefined || slot.values[axis] === given[i]!.values[axis])
        : sameValues(slot, given[i]!);
      if (!isSame) return undefined;
    }
    for (const places of this.#dimensions.values()) {
      const used = places.filter(({ slot }) => !slots[slot]!.isIdle);
      const sizes = new Set(used.map(({ slot, axis }) => slots[slot]!.values[axis]));
      if (sizes.size > 1) return undefined;
    }
    const filling: Constant[] = [];
    for (const { slots: own } of this.#holes) {
      const taken = own.map((i) => slots[i]!);
      const used = taken.filter(({ isIdle }) => !isIdle);
      const [first = taken[0]!, ...others] = used;
      if (others.some((other) => !sameValues(first, other))) return undefined;
      filling.push(first);
    }
    return filling;
  }

  /** The inputs or outputs of the model. */
  ports(side: "input" | "output"): OpenPort[] {
    const { dtypes, types } = this.#example;
    return types[`${side}s`].map((slot, i) => {
      const dtype = dtypes[`${side}s`][i]!;
      const type = this.#typeOf(slot, { dtype });
      const open = type.names?.flatMap((name, axis) => (name === undefined ? [] : [axis]));
      return { name: `${side}${i}`, type: { ...type, dtype }, open };
    });
  }

  /** The type of a value, with the dimensions of a slot. */
  #typeOf(slot: number, { dtype }: Pick<OnnxTensorType, "dtype">): OpenType {
    return { dtype, shape: this.#example.slots[slot]!.values as Shape, names: this.#names.get(slot) };
  }

  /** Writes the nodes of the model and returns the names of the results; `inputs` are the names of the arguments. */
  write(builder: OnnxBuilder, inputs: readonly OnnxValue[]): OnnxValue[] {
    const values = new Map<OnnxValue, OnnxValue>(inputs.map((name, i) => [argument(i), name]));
    return this.#write(builder, this.#example.graph, values);
  }

  #write(builder: OnnxBuilder, { entries, results }: Recorded, values: Map<OnnxValue, OnnxValue>): OnnxValue[] {
    const at = (value: OnnxValue): OnnxValue => {
      const slot = slotOf(value);
      return slot === undefined ? values.get(value)! : this.#constant(builder, slot);
    };
    for (const entry of entries) {
      if (entry.kind === "choice") values.set(entry.output, this.#choice(builder, entry, values));
      else if (entry.kind === "guard") {
        const sizes = this.#holeOf.get(entry.sizes) as OnnxValue | undefined;
        const given = entry.inputs.map(at);
        values.set(entry.outputs[0], sizes ? builder.openGuard(given, sizes) : builder.guard(given, entry.counts));
      } else if (entry.kind === "random") {
        const sizes = this.#holeOf.get(entry.sizes) as OnnxValue | undefined;
        const state = at(entry.inputs[0]);
        const type = this.#typeOf(entry.type, entry.draw);
        const drawn = sizes ? builder.openRandom(state, entry.draw, type, sizes) : builder.random(state, entry.draw);
        values.set(entry.outputs[0], drawn);
      } else if (entry.kind === "lengths") {
        const sizes = this.#holeOf.get(entry.sizes) as OnnxValue | undefined;
        const x = at(entry.inputs[0]);
        const type = this.#typeOf(entry.type, { dtype: "float32" });
        const lengths = sizes ? builder.openLengths(x, type, sizes) : builder.lengths(x, entry.width, entry.shape);
        values.set(entry.outputs[0], lengths);
      } else if (entry.kind === "kernel") {
        const outputs = this.#kernel(builder, entry, entry.inputs.map(at));
        entry.outputs.forEach((output, i) => void values.set(output, outputs[i]!));
      } else {
        const given = entry.inputs.map((value) => (value === undefined ? undefined : at(value)));
        const attributes = this.#attributes(builder, entry.attributes, values);
        const { type, domain, outputs: names } = entry;
        if (names.length === 1) values.set(names[0]!, builder.node(type, given, attributes, domain));
        else {
          const outputs = builder.nodes(type, given, names.length, attributes);
          names.forEach((name, i) => void values.set(name, outputs[i]!));
        }
      }
    }
    return results.map(at);
  }

  #constant(builder: OnnxBuilder, slot: number): OnnxValue {
    const { dtype, shape, values } = this.#example.slots[slot]!;
    return (this.#holeOf.get(slot) as OnnxValue | undefined) ?? builder.constant(dtype, shape, values);
  }

  #attributes(
    builder: OnnxBuilder,
    attributes: Readonly<Record<string, OnnxAttribute>>,
    values: ReadonlyMap<OnnxValue, OnnxValue>,
  ): Record<string, OnnxAttribute> {
    const entries = Object.entries(attributes).map(([name, value]) => {
      if (!(value instanceof RecordedSubgraph)) return [name, value] as const;
      const typesOf = (slots: readonly number[], types: readonly OnnxTensorType[]): OpenType[] =>
        slots.map((slot, i) => this.#typeOf(slot, types[i]!));
      const subgraph = builder.subgraph(
        typesOf(value.inputTypes, value.dtypes.inputs),
        typesOf(value.outputTypes, value.dtypes.outputs),
        (inner, given) =>
          this.#write(
            inner as OnnxBuilder,
            value.graph,
            new Map([...values, ...value.inputs.map((input, i) => [input, given[i]!] as const)]),
          ),
      );
      return [name, subgraph] as const;
    });
    return Object.fromEntries(entries);
  }

  #kernel(builder: OnnxBuilder, entry: KernelEntry, inputs: readonly OnnxValue[]): OnnxValue[] {
    const open = entry.numbers.map((slot) => this.#holeOf.get(slot) as OnnxValue | undefined);
    const kernel = withInputsFor(entry.kernel, open);
    const all = [...inputs, ...open.filter((name) => name !== undefined)];
    const sizes = this.#holeOf.get(entry.sizes) as OnnxValue | undefined;
    const types = entry.types.map((slot) => this.#typeOf(slot, { dtype: "float32" }));
    if (sizes === undefined)
      return builder.kernel(
        kernel,
        types.map(({ shape }) => shape),
        all,
      );
    return builder.openKernel(kernel, types, all, sizes, this.#openRows.has(entry.sizes));
  }

  #choice(builder: OnnxBuilder, entry: ChoiceEntry, values: Map<OnnxValue, OnnxValue>): OnnxValue {
    const way = (graph: OnnxBuilder, i: number): OnnxValue => this.#write(graph, entry.ways[i]!, new Map(values))[0]!;
    let isOpen = false;
    for (let slot = entry.from; slot < entry.to; slot++) isOpen ||= this.#holeOf.has(slot) || this.#names.has(slot);
    if (!isOpen) return way(builder, entry.chosen);
    const type = this.#typeOf(entry.type, entry);
    const choose = (graph: OnnxBuilder, from: number): OnnxValue => {
      if (from === entry.ways.length - 1) return way(graph, from);
      const branch = (build: (inner: OnnxBuilder) => OnnxValue): OnnxSubgraph =>
        graph.subgraph([], [type], (inner) => [build(inner as OnnxBuilder)]);
      return graph.node("If", [this.#constant(graph, entry.is[from]!)], {
        then_branch: branch((inner) => way(inner, from)),
        else_branch: branch((inner) => choose(inner, from + 1)),
      });
    };
    return choose(builder, 0);
  }
}

/** Returns the kernel with some of its numbers as inputs, added after its own inputs. */
function withInputsFor(kernel: Kernel, open: readonly (OnnxValue | undefined)[]): Kernel {
  const added = open.filter((name) => name !== undefined).length;
  if (added === 0) return kernel;
  const old = kernel.inputs.length;
  const place = new Map<KernelValue, KernelValue>();
  const steps: Step[] = [];
  let [number, input] = [0, old];
  for (let i = 0; i < old; i++) place.set(i, i);
  for (const [i, step] of kernel.steps.entries()) {
    if (typeof step === "number" && open[number++] !== undefined) place.set(old + i, input++);
    else {
      const moved: Step =
        typeof step === "number"
          ? step
          : [step[0], ...(step.slice(1) as KernelValue[]).map((value) => place.get(value)!)];
      place.set(old + i, old + added + steps.push(moved) - 1);
    }
  }
  const inputs: readonly Layout[] = [...kernel.inputs, ...Array<Layout>(added).fill("scalar")];
  return { ...kernel, inputs, steps, outputs: kernel.outputs.map((value) => place.get(value)!) };
}
//FIX
