/** What nodes do for sizes that have not come yet, guessed from two graphs with different sizes and some sizes that stand for all others. */
import type { Body } from "../graph/body.ts";
import type { Node } from "../graph/node.ts";
import type { Constant, Lowering, OnnxValue } from "../graph/op.ts";
import type { Target } from "../graph/target.ts";
import { paramsKey } from "../graph/text.ts";
import { sizeOf, type TensorType } from "../graph/types.ts";
import { type Notes, nodesOf, Recorder, type Recording, type Slot, type TakenWays } from "./recording.ts";

/** The sizes for which it is found out which ways nodes take: some ways are only for a narrow range of sizes. */
const sizesForWays: readonly number[] = [
  ...Array.from({ length: 20 }, (_, i) => i + 1),
  ...[
    22, 25, 28, 32, 36, 41, 46, 52, 58, 63, 64, 65, 74, 83, 94, 100, 128, 150, 199, 257, 300, 331, 400, 512, 601, 769,
  ],
  ...[1000, 1024, 1499, 1600, 2053, 2560, 3184, 4096, 4800, 5003, 7000, 10080],
];

/** Sizes that stand for all others: short and long ones, with and without divisors. */
const imaginedSizes = [
  1, 2, 20, 37, 64, 65, 100, 128, 199, 257, 331, 512, 601, 769, 1000, 1024, 1499, 2053, 3184, 4096, 4800, 5003, 10080,
] as const;

/** The most elements of a tensor that is imagined: some ops have constants with a number for each. */
const mostElements = 2 ** 23;

const inputTypesOf = ({ inputs }: Node): readonly TensorType[] => inputs.map(({ node, index }) => node.outputs[index]!);

/** The sizes of the axes that differ. */
function pairsOf(types: readonly TensorType[], others: readonly TensorType[]): (readonly [number, number])[] {
  return types.flatMap(({ shape }, i) =>
    shape.flatMap((a, axis): [number, number][] => {
      const b = others[i]!.shape[axis]!;
      return a === b ? [] : [[a, b]];
    }),
  );
}

type Types = Pick<Lowering<unknown>, "inputTypes" | "outputTypes">;

const typesOf = (node: Node): Types => ({ inputTypes: inputTypesOf(node), outputTypes: node.outputs });

/**
 * Two real sizes may have too much in common to show what differs between sizes. So the nodes are looked at with imagined sizes too. This is
 * only a guess; before each run, the recording of its own graph is compared in any case.
 */
export class Imagination {
  readonly #target: Target;
  /** For each node, in the order of `nodesOf`, the ways that it takes at its choices; undefined where that is not known. */
  readonly taken: readonly (TakenWays | undefined)[];
  /** The sizes that the axis which differs least has in the first two graphs: the others are measured against it. */
  readonly #least: readonly [number, number] | undefined;
  /** A number for each pair of sizes that does not grow with the least one. */
  readonly #others = new Map<string, number>();

  /** @param isOpen which nodes have sizes that differ */
  constructor(bodies: readonly Body[], isOpen: readonly boolean[], target: Target) {
    this.#target = target;
    const pairs = pairsOf(bodies[0]!.inputTypes, bodies[1]!.inputTypes);
    this.#least = pairs.sort(([a, b], [c, d]) => Math.abs(a - b) - Math.abs(c - d))[0];
    const all = bodies.map(nodesOf);
    // Layers that repeat have nodes that choose among the same ways.
    const known = new Map<string, TakenWays>();
    this.taken = isOpen.map((open, i) => {
      const nodes = all.map((each) => each[i]!);
      const [{ op, params }] = nodes as [Node, ...Node[]];
      if (!open || op.mapBodies) return undefined;
      const key = JSON.stringify([op.name, paramsKey(params), nodes.map(typesOf)]);
      const taken = known.get(key) ?? this.#takenBy(nodes);
      known.set(key, taken);
      return taken;
    });
  }

  #takenBy(nodes: readonly Node[]): TakenWays {
    const [first, second] = nodes as [Node, Node];
    const taken: TakenWays = new Map();
    const notes = (): Notes => ({ ...emptyNotes(), constants: new Map(), noted: taken });
    const inputs = first.inputs.map((_, i) => `input${i}` as OnnxValue);
    const isAlike = paramsKey(first.params) === paramsKey(second.params);
    const imagined = isAlike ? this.#imagine(typesOf(first), typesOf(second), sizesForWays) : [];
    for (const node of nodes) lowered(node, { ...typesOf(node), params: node.params, inputs }, this.#target, notes());
    for (const types of imagined)
      if (types) lowered(first, { ...types, params: first.params, inputs }, this.#target, notes());
    return taken;
  }

  /** The types of a node for each imagined size, where it is not too large: axes with different sizes in two graphs have imagined ones. */
  #imagine(first: Types, second: Types, sizes: readonly number[]): (Types | undefined)[] {
    const typesFor = (side: keyof Types, size: number): TensorType[] =>
      first[side].map(({ dtype, shape }, n) => ({
        dtype,
        shape: shape.map((a, axis) => {
          const b = second[side][n]!.shape[axis]!;
          return a === b ? a : this.#imagined([a, b], size);
        }),
      }));
    return sizes.map((size) => {
      const [inputTypes, outputTypes] = [typesFor("inputTypes", size), typesFor("outputTypes", size)];
      const isUsual = [...inputTypes, ...outputTypes].every(({ shape }) => sizeOf(shape) <= mostElements);
      return isUsual ? { inputTypes, outputTypes } : undefined;
    });
  }

  /** The imagined size of an axis, where the least one is imagined to have a certain size: 16·n + 1, for instance, if that is n. */
  #imagined([a, b]: readonly [number, number], size: number): number {
    const [c, d] = this.#least ?? [0, 0];
    const times = (b - a) / (d - c);
    if (Number.isFinite(times) && times > 0) return Math.max(1, Math.round(times * (size - c) + a));
    const pair = `${a} ${b}`;
    const number = this.#others.get(pair) ?? this.#others.size + 1;
    this.#others.set(pair, number);
    return size + 6 * number;
  }

  /** Returns the slots of nodes that choose, for each imagined size; undefined where that is not known. */
  slots(first: Recording, second: Recording): readonly (readonly (Slot | undefined)[])[] {
    const all = imaginedSizes.map(() => Array<Slot | undefined>(first.slots.length).fill(undefined));
    const known = new Map<string, readonly (readonly Slot[] | undefined)[]>();
    for (const [i, { node, at, from, to, constants, taken }] of first.choosers.entries()) {
      const other = second.choosers[i];
      const params = paramsKey(at.params);
      if (!other || other.from !== from || paramsKey(other.at.params) !== params) continue;
      const imagined = this.#imagine(at, other.at, imaginedSizes);
      const given = at.inputs.map((name) => constants.get(name) ?? "");
      const key = JSON.stringify([node.op.name, params, imagined, given]);
      const own =
        known.get(key) ??
        imagined.map((types) => {
          if (!types) return undefined;
          const notes = { ...emptyNotes(), constants: withOwn(constants), taken: () => taken };
          return lowered(node, { ...at, ...types }, this.#target, notes);
        });
      known.set(key, own);
      for (const [n, slots] of own.entries()) {
        if (!slots || slots.length < to - from) continue;
        const isAlike = slots.every(({ dtype, shape, kind }, at) => {
          const real = first.slots[from + at];
          return real?.dtype === dtype && real.kind === kind && real.shape.length === shape.length;
        });
        if (isAlike) for (const [at, slot] of slots.entries()) all[n]![from + at] = slot;
      }
    }
    return all;
  }
}

const emptyNotes = (): Omit<Notes, "constants"> => ({ slots: [], choosers: [], isOpen: () => true });

/** Returns the slots of a node with some sizes; undefined if its op does not allow them. */
function lowered({ op }: Node, at: Lowering<unknown>, target: Target, notes: Notes): readonly Slot[] | undefined {
  try {
    op.onnx(new Recorder(target, notes, ""), at);
  } catch {
    return undefined;
  }
  return notes.slots;
}

/** Constants, to which others can be added that only the caller sees. */
function withOwn(constants: Notes["constants"]): Notes["constants"] {
  const own = new Map<OnnxValue, Constant>();
  return {
    get: (name) => own.get(name) ?? constants.get(name),
    set: (name, constant) => own.set(name, constant),
    get size() {
      return constants.size + own.size;
    },
  };
}
