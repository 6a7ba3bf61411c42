/**
 * One model for several recordings with the same text, which differ in sizes and numbers alone: it runs their graphs, and others. The slots
 * that differ become holes, which each run fills.
 */
import type { Body } from "../graph/body.ts";
import type { Constant, OnnxAttribute, OnnxSubgraph, OnnxTensorType, OnnxType, OnnxValue } from "../graph/op.ts";
import type { Port, Target } from "../graph/target.ts";
import type { Shape } from "../graph/types.ts";
import { type Kernel, type KernelValue, type Layout, rowBytesAt, type Step } from "../kernel/kernel.ts";
import type { OnnxBuilder, OpenType } from "../onnx/model.ts";
import { Imagination } from "./imagination.ts";
import {
  argument,
  type ChoiceEntry,
  type Differences,
  haveSameLines,
  haveSameText,
  type KernelEntry,
  type Recorded,
  RecordedSubgraph,
  type Recording,
  record,
  type Slot,
  slotOf,
  slotsLike,
  textOfRecording,
} from "./recording.ts";

const sameValues = (a: Slot, b: Slot): boolean =>
  a.shape.length === b.shape.length &&
  a.shape.every((size, i) => size === b.shape[i]) &&
  a.values.length === b.values.length &&
  (a.values as readonly number[]).every((value, i) => Object.is(value, b.values[i]));

const textOf = ({ dtype, shape, values }: Constant): string =>
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

/** Several recordings with one text: which slots are equal in all of them, and which differ and become holes. */
export class Opening {
  /** The recording from which the model is written. */
  readonly #example: Recording;
  readonly #differences: Differences;
  /** Its slots, as they are in ways that are not chosen. */
  readonly #idle: readonly Slot[];
  /** The constants that differ. */
  readonly #holes: readonly HoleSlots[];
  readonly #holeOf = new Map<number, string>();
  /** For each slot of a type, the names of its sizes that differ. */
  readonly #names = new Map<number, readonly (string | undefined)[]>();
  /** The slots with sizes of kernels whose rows differ in length. */
  readonly #openRows = new Set<number>();
  /** For each name of a size, the places that have this size. */
  readonly #dimensions = new Map<string, { readonly slot: number; readonly axis: number }[]>();

  private constructor(
    examples: readonly Recording[],
    differences: Differences,
    imagined: readonly (readonly (Slot | undefined)[])[],
  ) {
    this.#differences = differences;
    this.#example = examples.at(-1)!;
    this.#idle = this.#example.slots.map((slot) => (slot.isIdle ? slot : { ...slot, isIdle: true }));
    const groups = new Map<string, number[]>();
    const names = new Map<string, string>();
    for (const [i, { kind }] of this.#example.slots.entries()) {
      const seen = [...examples.map(({ slots }) => slots[i]!), ...imagined.map((slots) => slots[i])];
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
  static of(bodies: readonly Body[], isOpen: readonly boolean[], target: Target): Opening | undefined {
    if (!haveSameLines(bodies, isOpen, target)) return undefined;
    const imagination = new Imagination(bodies, isOpen, target);
    const differences = { isOpen, taken: imagination.taken };
    const examples = bodies.map((body) => record(body, target, differences));
    const [first, ...others] = examples;
    if (!others.every((other) => haveSameText(first!, other))) return undefined;
    const opening = new Opening(examples, differences, imagination.slots(first!, others[0]!));
    return opening.#holes.length <= mostHoles && opening.#fits(opening.#example.graph) ? opening : undefined;
  }

  /** Whether each kernel can take the numbers that become holes as further inputs: a kernel has a largest number of inputs. */
  #fits({ entries }: Recorded): boolean {
    const { inputs: mostInputs } = this.#example.target.kernels ?? { inputs: 0 };
    return entries.every((entry) => {
      if (entry.kind === "choice") return entry.ways.every((way) => !way || this.#fits(way));
      if (entry.kind === "node")
        return Object.values(entry.attributes).every(
          (value) => !(value instanceof RecordedSubgraph) || this.#fits(value.graph),
        );
      if (entry.kind !== "kernel") return true;
      return entry.inputs.length + entry.numbers.filter((slot) => this.#holeOf.has(slot)).length <= mostInputs;
    });
  }

  get text(): string {
    return textOfRecording(this.#example);
  }

  get holes(): readonly { readonly name: string; readonly dtype: OnnxType; readonly rank: number }[] {
    return this.#holes.map(({ name, slots }) => {
      const { dtype, shape } = this.#example.slots[slots[0]!]!;
      return { name, dtype, rank: shape.length };
    });
  }

  /** Returns the constants that make the model compute a graph; undefined if the model cannot compute that graph. */
  fillingFor(body: Body): readonly Constant[] | undefined {
    const slots = slotsLike(body, this.#differences, this.#example, this.#idle);
    return slots && this.#fillingOf(slots);
  }

  #fillingOf(slots: readonly Slot[]): readonly Constant[] | undefined {
    const given = this.#example.slots;
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
      } else if (entry.kind === "product") {
        const sizes = this.#holeOf.get(entry.sizes) as OnnxValue | undefined;
        const given = entry.inputs.map(at);
        const type = this.#typeOf(entry.type, { dtype: "float32" });
        const product = sizes
          ? builder.openProduct(given, entry.product, type, sizes)
          : builder.product(given, entry.product);
        values.set(entry.outputs[0], product);
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
    const ways = [...entry.ways.keys()].filter((i) => entry.ways[i]);
    const type = this.#typeOf(entry.type, entry);
    const choose = (graph: OnnxBuilder, [first, ...others]: readonly number[]): OnnxValue => {
      if (others.length === 0) return way(graph, first!);
      const branch = (build: (inner: OnnxBuilder) => OnnxValue): OnnxSubgraph =>
        graph.subgraph([], [type], (inner) => [build(inner as OnnxBuilder)]);
      return graph.node("If", [this.#constant(graph, entry.is[first!]!)], {
        then_branch: branch((inner) => way(inner, first!)),
        else_branch: branch((inner) => choose(inner, others)),
      });
    };
    return choose(builder, ways);
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
