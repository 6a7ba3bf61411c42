/** Random bits as an op. They depend on the state of a generator only, so they are the same on every engine. */
import { ShapeError } from "../errors.ts";
import { defineOp, expectType, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type Shape, showType, sizeOf } from "../graph/types.ts";
import { multipliers, philox4x32, rounds, weyl } from "../random/philox.ts";

export interface BitsParams {
  readonly shape: Shape;
  /** How many random bits an element has: 24 give a non-negative int32 below 2²⁴, 32 any int32. */
  readonly bits: 23 | 24 | 32;
  /** float32 gives the same whole numbers as float32, which can hold 24 bits. Default int32. */
  readonly dtype?: "int32" | "float32";
}

/**
 * Random int32 from Philox4x32-10 (Salmon et al. 2011). The input is the state of a generator, int32 [4]: two words of
 * key, the number of the stream, the number of the draw; block i encrypts the counter (i, draw, stream, 0).
 */
export const randomBits: Op<BitsParams> = defineOp<BitsParams>({
  name: "randomBits",
  shape([state], { shape }) {
    if (`${state!.shape}` !== "4")
      throw new ShapeError(
        "randomBits",
        `a generator's state is int32[4], and got ${showType(state!)}`,
        "use a Generator",
      );
    return shape;
  },
  dtype([state], params) {
    expectType("randomBits", state!, ["int32"], "takes a state of dtype");
    return params.dtype ?? "int32";
  },
  gradient: () => [undefined],
  onnx(graph, [state], { params: { shape, bits, dtype = "int32" } }) {
    const size = sizeOf(shape);
    if (graph.target.kernels && size > 0) return graph.random(state!, { shape, size, bits, dtype });
    const blocks = Math.ceil(size / 4);
    const words = graph.nodes("Split", [graph.cast(state!, "uint32"), graph.integers([1, 1, 1, 1])], 4, { axis: 0 });
    const columns = philoxNodes(graph, words as [OnnxValue, OnnxValue, OnnxValue, OnnxValue], blocks);
    // Word w of block b is element 4·b + w.
    const byWord = graph.node("Reshape", [graph.node("Concat", columns, { axis: 0 }), graph.integers([4, blocks])], {
      allowzero: 1,
    });
    const ordered = graph.node("Reshape", [
      graph.node("Transpose", [byWord], { perm: [1, 0] }),
      graph.integers([4 * blocks]),
    ]);
    const cut = graph.node("Slice", [ordered, graph.integers([0]), graph.integers([size])]);
    const shifted = bits === 32 ? cut : shiftRight(graph, cut, 32 - bits, "uint32");
    return graph.node("Reshape", [graph.cast(shifted, dtype), graph.integers(shape)], { allowzero: 1 });
  },
  evaluate([state], y, { bits }) {
    const [low, high, stream, draw] = [...state!.values].map((word) => word >>> 0) as [number, number, number, number];
    const block = new Uint32Array(4);
    for (let i = 0; i < y.values.length; i++) {
      if (i % 4 === 0) philox4x32([i / 4, draw, stream, 0], [low, high], block);
      y.values[i] = bits === 32 ? block[i % 4]! | 0 : block[i % 4]! >>> (32 - bits);
    }
  },
  samples: () => {
    const state = { shape: [4], dtype: "int32", values: Float64Array.of(-7, 123456789, 3, 41) } as const;
    return [
      { inputs: [state], params: { shape: [3, 7], bits: 32 } },
      { inputs: [state], params: { shape: [2, 8], bits: 24 } },
      { inputs: [state], params: { shape: [], bits: 23 } },
      { inputs: [state], params: { shape: [3, 37], bits: 24, dtype: "float32" } },
      { inputs: [state], params: { shape: [64], bits: 23, dtype: "float32" } },
      { inputs: [state], params: { shape: [0, 2], bits: 24 } },
    ];
  },
});

function shiftRight(graph: OnnxGraph, x: OnnxValue, by: number, dtype: "uint32" | "uint64"): OnnxValue {
  return graph.node("BitShift", [x, graph.constant(dtype, [], [by])], { direction: "RIGHT" });
}

/**
 * Ten rounds over all blocks at once. Returns the four words of the blocks, each uint32 [blocks]. At first only c0 differs from block to
 * block. Words that are still the same for all blocks stay one number, which saves a tenth of the work.
 */
function philoxNodes(
  graph: OnnxGraph,
  [low, high, stream, draw]: readonly [OnnxValue, OnnxValue, OnnxValue, OnnxValue],
  blocks: number,
): readonly OnnxValue[] {
  const xor = (a: OnnxValue, b: OnnxValue): OnnxValue => graph.node("BitwiseXor", [a, b]);
  const scalar = (dtype: "int32" | "uint32" | "uint64", value: number): OnnxValue => graph.constant(dtype, [], [value]);
  const upper = (a: OnnxValue, by: number): OnnxValue => {
    const wide = graph.node("Mul", [graph.cast(a, "uint64"), scalar("uint64", by)]);
    return graph.cast(shiftRight(graph, wide, 32, "uint64"), "uint32");
  };
  const lower = (a: OnnxValue, by: number): OnnxValue => graph.node("Mul", [a, scalar("uint32", by)]);
  const index = graph.node("Range", [scalar("int32", 0), scalar("int32", blocks), scalar("int32", 1)]);
  let [c0, c1, c2, c3] = [graph.cast(index, "uint32"), draw, stream, graph.constant("uint32", [1], [0])];
  const keys = roundKeys(graph, low, high);
  for (let round = 0; round < rounds; round++) {
    const [k0, k1] = [keys[2 * round]!, keys[2 * round + 1]!];
    [c0, c1, c2, c3] = [
      xor(xor(upper(c2, multipliers[1]), c1), k0),
      lower(c2, multipliers[1]),
      xor(xor(upper(c0, multipliers[0]), c3), k1),
      lower(c0, multipliers[0]),
    ];
  }
  return [c0, c1, c2, c3];
}

/** The two key words of each round, one after the other: in round i they are the key plus i times the step of the Weyl sequence. */
function roundKeys(graph: OnnxGraph, low: OnnxValue, high: OnnxValue): OnnxValue[] {
  const key = graph.node("Concat", [low, high], { axis: 0 });
  const steps = Array.from({ length: rounds }, (_, round) => weyl.map((step) => Math.imul(step, round) >>> 0));
  const all = graph.node("Add", [graph.constant("uint32", [rounds, 2], steps.flat()), key]);
  const one = graph.integers(Array(2 * rounds).fill(1));
  return graph.nodes("Split", [graph.node("Reshape", [all, graph.integers([2 * rounds])]), one], 2 * rounds, {
    axis: 0,
  });
}
