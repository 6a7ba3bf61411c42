/**
 * Recordings of lowered graphs. A recording has a text with the nodes, which is equal for graphs that differ only in sizes and numbers,
 * and a list of slots with every constant and dimension. `opening.ts` makes one model of several recordings with the same text.
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
import type { Target } from "../graph/target.ts";
import { paramsKey } from "../graph/text.ts";
import { type DType, type Shape, sameShape, type TensorType } from "../graph/types.ts";
import { guardSizes, type Kernel, lengthsSizes, type RandomOp, randomSizes, sizesOf } from "../kernel/kernel.ts";
import { type ProductOp, productSizes } from "../kernel/product.ts";
import { NodeWriter } from "../onnx/writer.ts";

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

export interface NodeEntry {
  readonly kind: "node";
  readonly type: string;
  readonly inputs: readonly (OnnxValue | undefined)[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
  readonly domain: string;
  readonly outputs: readonly OnnxValue[];
}

export interface KernelEntry {
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

interface ProductEntry {
  readonly kind: "product";
  readonly product: Omit<ProductOp, "name">;
  /** Slots. */
  readonly sizes: number;
  readonly type: number;
  readonly inputs: readonly OnnxValue[];
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

export interface ChoiceEntry {
  readonly kind: "choice";
  /** Slots with one truth value each, for all ways but the last: whether it is the chosen one. */
  readonly is: readonly number[];
  readonly chosen: number;
  readonly dtype: OnnxType;
  /** The slot of the result's type. */
  readonly type: number;
  /** The ways that some size takes; undefined for the others. */
  readonly ways: readonly (Recorded | undefined)[];
  /** For each way, the slot after its last. The slots of a way follow those of the way before it. */
  readonly ends: readonly number[];
  /** The first slot of the choice and of its ways, and the one after the last. */
  readonly from: number;
  readonly to: number;
  readonly output: OnnxValue;
}

type Entry = NodeEntry | KernelEntry | GuardEntry | RandomEntry | LengthsEntry | ProductEntry | ChoiceEntry;

/** Nodes in order, and the values that they return. */
export interface Recorded {
  readonly entries: readonly Entry[];
  /** The entries as text, without what is inside of choices, and the results. */
  readonly lines: readonly string[];
  readonly results: readonly OnnxValue[];
}

/** Returns the ways of all choices of a graph that was recorded, but not those inside of other ways. */
const waysIn = ({ entries }: Recorded): Recorded[] =>
  entries.flatMap((entry) => (entry.kind === "choice" ? entry.ways.filter((way) => way !== undefined) : []));

/** Whether two graphs have the same text, in all ways of their choices. */
function areAlike(a: Recorded, b: Recorded): boolean {
  if (a.lines.length !== b.lines.length || !a.lines.every((line, i) => line === b.lines[i])) return false;
  const [ways, others] = [waysIn(a), waysIn(b)];
  return ways.length === others.length && ways.every((way, i) => areAlike(way, others[i]!));
}

/** The whole text of a graph that was recorded. */
const textOf = (recorded: Recorded): string =>
  [recorded.lines.join("\n"), ...waysIn(recorded).map((way) => `[${textOf(way)}]`)].join("\n");

/** A graph inside of a node. */
export class RecordedSubgraph implements OnnxSubgraph {
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
export interface Chooser {
  readonly node: Node;
  readonly at: Lowering<unknown>;
  readonly from: number;
  readonly to: number;
  readonly constants: Notes["constants"];
  readonly taken: TakenWays | undefined;
}

/** The node that is being lowered, and the first of its slots. */
interface Current {
  readonly node: Node;
  readonly at: Lowering<unknown>;
  readonly from: number;
}

/** The op, parameters and shapes of a node, on which its choices depend. */
function shapesOf({ node, at }: Pick<Current, "node" | "at">): string {
  const types = [...at.inputTypes, ...at.outputTypes].map(({ shape }) => `[${shape}]`);
  return `${node.op.name} ${paramsKey(node.params)} ${types}`;
}

/** What the recorder of a graph and the recorders of the subgraphs inside it share. */
export interface Notes {
  readonly slots: Slot[];
  readonly constants: Pick<Map<OnnxValue, Constant>, "get" | "set" | "size">;
  readonly choosers: Chooser[];
  /** Whether a node has sizes that differ between the graphs: only then the ways that were not chosen are recorded. */
  isOpen(node: Node): boolean;
  /** Returns the ways that a node takes at its choices, with any size; undefined if it may take all of them. Default: all of them. */
  taken?(node: Node | undefined): TakenWays | undefined;
  /** Whether no way of any choice is recorded. Default: false. */
  readonly withoutWays?: boolean;
  /** If present, nothing but the ways that are chosen is recorded, and which ones they are is noted here. */
  readonly noted?: TakenWays;
}

/** For each place where a node chooses, the ways that it takes. */
export type TakenWays = Map<string, Set<number>>;

/** The name of a constant is its slot. Each use of a constant has its own slot: two constants may be equal for some sizes only. */
const constantAt = (slot: number): OnnxValue => `#${slot}` as OnnxValue;
export const slotOf = (value: OnnxValue): number | undefined =>
  value.startsWith("#") ? Number(value.slice(1)) : undefined;

/** A graph that was recorded before, with its slots as they are in ways that are not chosen. */
interface Guide {
  readonly recorded: Recorded;
  readonly idle: readonly Slot[];
}

/** Thrown when a graph turns out to be unlike its guide. */
class Unlike extends Error {}

/**
 * Records what a graph is lowered to. With a guide, it compares the graph with one that was recorded before, line by line, and does not go
 * into ways that are not chosen: their slots are those of the guide. That takes a small part of the time.
 */
export class Recorder extends NodeWriter implements OnnxGraph {
  readonly target: Target;
  readonly #notes: Notes;
  readonly entries: Entry[] = [];
  readonly lines: string[] = [];
  readonly #prefix: string;
  /** For a recorder of one way to compute a value, or of a graph inside of a node: that node, and whether this way was not chosen. */
  readonly #way: { readonly of: Current | undefined; readonly isIdle: boolean } | undefined;
  readonly #guide: Guide | undefined;
  #current: Current | undefined;
  /** Where the node that is being lowered is: the choices and their ways around it, and how many choices it has made there. */
  #place: string;
  #choices = 0;
  /** Whether the node around this graph has chosen in it. */
  #hasChosen = false;

  constructor(
    target: Target,
    notes: Notes,
    prefix: string,
    way?: { readonly of: Current | undefined; readonly isIdle: boolean },
    guide?: Guide,
    place: string = "",
  ) {
    super();
    this.target = target;
    this.#notes = notes;
    this.#prefix = prefix;
    this.#way = way;
    this.#guide = guide;
    this.#place = place;
    this.#current = way?.of;
  }

  #line(text: string): void {
    if (this.#guide && this.#guide.recorded.lines[this.lines.length] !== text) throw new Unlike();
    this.lines.push(text);
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
    this.#current = { node, at, from: this.#notes.slots.length };
    this.#place = "";
    this.#choices = 0;
  }

  /** Records the values that a graph returns, and ends the recording. */
  finish(results: readonly OnnxValue[]): Recorded {
    const used = results.map((value) => this.#used(value));
    this.#line(`return ${used.map(({ text }) => text).join()}`);
    return { entries: this.entries, lines: this.lines, results: used.map(({ value }) => value) };
  }

  /** A slot for the dimensions of a value. */
  typeSlot({ shape }: Pick<OnnxTensorType, "shape">): number {
    return this.#slot({ kind: "type", dtype: "int64", shape: [shape.length], values: shape });
  }

  protected append(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    count: number,
    attributes: Readonly<Record<string, OnnxAttribute>>,
    domain: string,
  ): OnnxValue[] {
    const outputs = this.#names(count);
    const used = inputs.map((value) => this.#used(value));
    this.#line(`${domain}.${type}(${used.map(({ text }) => text).join()})${count}${paramsKey(attributes)}`);
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
    this.#line(`kernel(${used.map(({ text }) => text).join()})${paramsKey(form)}`);
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
    this.#line(`guard(${used.map(({ text }) => text).join()})`);
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
    this.#line(`lengths(${used.text})${shape.length}`);
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

  product(inputs: readonly OnnxValue[], product: Omit<ProductOp, "name">): OnnxValue {
    const outputs = this.#names(1) as [OnnxValue];
    const used = inputs.map((value) => this.#used(value));
    const { form, shape } = product;
    this.#line(`product(${used.map(({ text }) => text).join()})${paramsKey(form)}${shape.length}`);
    const sizes = productSizes(product, this.target.threads ?? 1);
    this.entries.push({
      kind: "product",
      product,
      sizes: this.#slot({ kind: "constant", dtype: "int64", shape: [sizes.length], values: sizes }),
      type: this.typeSlot({ shape }),
      inputs: used.map(({ value }) => value),
      outputs,
    });
    return outputs[0];
  }

  random(state: OnnxValue, draw: Omit<RandomOp, "name">): OnnxValue {
    const outputs = this.#names(1) as [OnnxValue];
    const used = this.#used(state);
    const { bits, dtype, shape } = draw;
    this.#line(`random(${used.text})${bits} ${dtype} ${shape.length}`);
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

  choose(chosen: number, type: OnnxTensorType, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue {
    if (this.#current && !this.#notes.isOpen(this.#current.node)) return ways[chosen]!(this);
    const place = `${this.#place}${this.#choices++}`;
    if (this.#notes.noted) return this.#noted(chosen, place, ways);
    const taken = this.#notes.taken?.(this.#current?.node)?.get(place);
    const [output] = this.#names(1) as [OnnxValue];
    const from = this.#notes.slots.length;
    const known = this.#guide && this.#knownChoice(this.#guide, ways.length, chosen);
    const decidedBy = this.#current && !known ? `${from - this.#current.from} ${shapesOf(this.#current)}` : undefined;
    const is = ways
      .slice(1)
      .map((_, i) =>
        this.#slot({ kind: "constant", dtype: "bool", shape: [], values: [Number(i === chosen)], decidedBy }),
      );
    const ends: number[] = [];
    const recordedWay = (way: (graph: OnnxGraph) => OnnxValue, i: number): Recorded | undefined => {
      if (this.#notes.withoutWays) return undefined;
      const isChosen = i === chosen;
      if (known && !isChosen) return this.#skip(known.ways[i], known.ends[i]!);
      const isIdle = this.#way?.isIdle || !isChosen;
      if (taken && !taken.has(i) && isIdle) return undefined;
      const recorder = new Recorder(
        this.target,
        this.#notes,
        `${output}w${i}_`,
        { of: this.#current, isIdle },
        known && { recorded: known.ways[i]!, idle: this.#guide!.idle },
        `${place}w${i}.`,
      );
      return recorder.finish([way(recorder)]);
    };
    const recorded = ways.map((way, i) => {
      const made = recordedWay(way, i);
      ends.push(this.#notes.slots.length);
      return made;
    });
    this.#line(`choose ${ways.length}`);
    const slot = this.typeSlot(type);
    const to = this.#notes.slots.length;
    const { dtype } = type;
    this.#noteChooser();
    this.entries.push({ kind: "choice", is, chosen, dtype, type: slot, ways: recorded, ends, from, to, output });
    return output;
  }

  /** Notes that the node which is being lowered has chosen, here or in a graph inside of it, and its slots so far. */
  #noteChooser(): void {
    const { choosers, constants, slots, taken } = this.#notes;
    if (!this.#current || this.#current === this.#way?.of) {
      this.#hasChosen = true;
      return;
    }
    if (choosers.at(-1)?.from === this.#current.from) choosers.pop();
    choosers.push({ ...this.#current, to: slots.length, constants, taken: taken?.(this.#current.node) });
  }

  /** Notes the way that is chosen, and goes on with it. */
  #noted(chosen: number, place: string, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue {
    const noted = this.#notes.noted!;
    noted.set(place, (noted.get(place) ?? new Set()).add(chosen));
    const [around, choices] = [this.#place, this.#choices];
    [this.#place, this.#choices] = [`${place}w${chosen}.`, 0];
    const value = ways[chosen]!(this);
    [this.#place, this.#choices] = [around, choices];
    return value;
  }

  /** The choice that the guide has here. Throws if it has none, or none that takes this way. */
  #knownChoice({ recorded }: Guide, ways: number, chosen: number): ChoiceEntry {
    const entry = recorded.entries[this.entries.length];
    if (entry?.kind === "choice" && entry.ways.length === ways && entry.ways[chosen]) return entry;
    throw new Unlike();
  }

  /** Takes the guide's slots up to `end`, as those of a way that is not chosen. */
  #skip(way: Recorded | undefined, end: number): Recorded | undefined {
    const { slots } = this.#notes;
    while (slots.length < end) slots.push(this.#guide!.idle[slots.length]!);
    return way;
  }

  subgraph(
    inputTypes: readonly OnnxTensorType[],
    outputTypes: readonly OnnxTensorType[],
    build: (graph: OnnxGraph, inputs: readonly OnnxValue[]) => readonly OnnxValue[],
  ): OnnxSubgraph {
    const prefix = `${this.#prefix}${this.entries.length}s${this.#notes.slots.length}_`;
    const inner = new Recorder(
      this.target,
      this.#notes,
      prefix,
      { of: this.#current, isIdle: this.#way?.isIdle ?? false },
      undefined,
      `${this.#place}s${this.#choices}.`,
    );
    const inputs = inputTypes.map((_, i) => `${prefix}input${i}` as OnnxValue);
    const graph = inner.finish(build(inner, inputs));
    if (inner.#hasChosen) this.#noteChooser();
    const types = [inputTypes, outputTypes] as const;
    const slots = types.map((list) => list.map((type) => this.typeSlot(type))) as [number[], number[]];
    const form = types.map((list) => list.map(({ dtype, shape }) => `${dtype}${shape.length}`).join());
    const text = `${form.join("→")}{${textOf(graph)}}`;
    return new RecordedSubgraph(graph, text, inputs, slots, {
      inputs: inputTypes,
      outputs: outputTypes,
    });
  }
}

/** A lowered graph, with its sizes and constants in slots. */
export interface Recording {
  /** The types of inputs and outputs, as text. */
  readonly form: string;
  readonly slots: readonly Slot[];
  readonly choosers: readonly Chooser[];
  readonly target: Target;
  readonly graph: Recorded;
  readonly dtypes: { readonly inputs: readonly DType[]; readonly outputs: readonly DType[] };
  /** Slots of the types of inputs and outputs. */
  readonly types: { readonly inputs: readonly number[]; readonly outputs: readonly number[] };
}

/** The name of an argument. */
export const argument = (i: number): OnnxValue => `argument${i}` as OnnxValue;

/**
 * Returns the nodes of a graph, those inside loops too, in an order that is the same for all graphs with the same structure. Constants are left
 * out: how many there are depends on chance, since equal ones are one node.
 */
export function nodesOf(body: Body): Node[] {
  const nodes: Node[] = [];
  const visit = (inner: Body): Body => {
    for (const node of inner.nodes) {
      if (node.inputs.length === 0) continue;
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

/** Whether two recordings have the same text: then they differ in sizes and numbers alone. */
export function haveSameText(a: Recording, b: Recording): boolean {
  return a.form === b.form && a.slots.length === b.slots.length && areAlike(a.graph, b.graph);
}

/** Whether graphs have the same text apart from the ways that they choose. That takes little time to find out. */
export function haveSameLines(bodies: readonly Body[], isOpen: readonly boolean[], target: Target): boolean {
  const differences = { isOpen, taken: [] };
  const [first, ...others] = bodies.map((body) => record(body, target, differences, true));
  return others.every(
    ({ form, graph }) => form === first!.form && graph.lines.join("\n") === first!.graph.lines.join("\n"),
  );
}

/** The text of a recording. */
export function textOfRecording({ form, graph }: Recording): string {
  return `${form}\n${textOf(graph)}`;
}

const formOf = (body: Body): string =>
  [body.inputTypes, body.outputTypes]
    .map((types) => types.map(({ dtype, shape }) => `${dtype}${shape.length}`).join())
    .join("→");

/** Lowers a graph into a recorder, and returns its nodes and the slots of the types of its inputs and outputs. */
function recordInto(body: Body, recorder: Recorder): { readonly graph: Recorded; readonly types: Recording["types"] } {
  const results = body.lower(
    recorder,
    body.leaves.map((_, i) => argument(i)),
  );
  const graph = recorder.finish(results);
  const typesOf = (types: readonly TensorType[]): number[] => types.map((type) => recorder.typeSlot(type));
  return { graph, types: { inputs: typesOf(body.inputTypes), outputs: typesOf(body.outputTypes) } };
}

/** What is known of the nodes of graphs with one structure, in the order of `nodesOf`. */
export interface Differences {
  /** Whether a node has sizes that differ. */
  readonly isOpen: readonly boolean[];
  /** The ways that a node takes at its choices; undefined if it may take all of them. */
  readonly taken: readonly (TakenWays | undefined)[];
}

function notesFor(body: Body, { isOpen, taken }: Differences): Notes & { readonly choosers: Chooser[] } {
  const nodes = nodesOf(body);
  const open = new Set(nodes.filter((_, i) => isOpen[i]));
  const takenBy = new Map(nodes.map((node, i) => [node, taken[i]]));
  return {
    slots: [],
    constants: new Map(),
    choosers: [],
    isOpen: (node) => open.has(node),
    taken: (node) => node && takenBy.get(node),
  };
}

/** Lowers a graph and returns its recording; `withoutWays` leaves out what is inside of choices. */
export function record(body: Body, target: Target, differences: Differences, withoutWays: boolean = false): Recording {
  const notes = { ...notesFor(body, differences), withoutWays };
  const { graph, types } = recordInto(body, new Recorder(target, notes, ""));
  return {
    form: formOf(body),
    slots: notes.slots,
    choosers: notes.choosers,
    target,
    graph,
    dtypes: {
      inputs: body.inputTypes.map(({ dtype }) => dtype),
      outputs: body.outputTypes.map(({ dtype }) => dtype),
    },
    types,
  };
}

/**
 * Lowers a graph and returns its slots, if it has the text of a recording where it matters: in all but the ways of computing a value that
 * are not chosen. Otherwise returns undefined. `idle` are the slots of that recording as they are in such ways.
 */
export function slotsLike(
  body: Body,
  differences: Differences,
  { form, target, graph, slots }: Recording,
  idle: readonly Slot[],
): readonly Slot[] | undefined {
  if (formOf(body) !== form) return undefined;
  const notes = notesFor(body, differences);
  try {
    recordInto(body, new Recorder(target, notes, "", undefined, { recorded: graph, idle }));
  } catch (error) {
    if (error instanceof Unlike) return undefined;
    throw error;
  }
  return notes.slots.length === slots.length ? notes.slots : undefined;
}
