/** Random bits as an op: a function of a generator's state and of nothing else, so the same on every engine. */
import { ShapeError } from "../errors.ts";
import { defineOp, expectType, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import { type Shape, showType, sizeOf } from "../graph/types.ts";
import { philox4x32 } from "../random/philox.ts";

export interface BitsParams {
  readonly shape: Shape;
  /** How many random bits an element has: 24 give a non-negative int32 below 2²⁴, 32 any int32. */
  readonly bits: 24 | 32;
}

const multipliers = [0xd2511f53, 0xcd9e8d57] as const;
const weyl = [0x9e3779b9, 0xbb67ae85] as const;

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
  dtype([state]) {
    expectType("randomBits", state!, ["int32"], "takes a state of dtype");
    return "int32";
  },
  gradient: () => [undefined],
  onnx(graph, [state], { params: { shape, bits } }) {
    const size = sizeOf(shape);
    const blocks = Math.ceil(size / 4);
    const words = graph.nodes("Split", [graph.cast(state!, "uint32"), graph.integers([1, 1, 1, 1])], 4, { axis: 0 });
    const all = philoxNodes(graph, words as [OnnxValue, OnnxValue, OnnxValue, OnnxValue], blocks);
    // Word w of block b is element 4·b + w.
    const ordered = graph.node("Reshape", [
      graph.node("Transpose", [all], { perm: [1, 0] }),
      graph.integers([4 * blocks]),
    ]);
    const cut = graph.node("Slice", [ordered, graph.integers([0]), graph.integers([size])]);
    const shifted = bits === 32 ? cut : shiftRight(graph, cut, 8, "uint32");
    return graph.node("Reshape", [graph.cast(shifted, "int32"), graph.integers(shape)], { allowzero: 1 });
  },
  evaluate([state], y, { bits }) {
    const [low, high, stream, draw] = [...state!.values].map((word) => word >>> 0) as [number, number, number, number];
    const block = new Uint32Array(4);
    for (let i = 0; i < y.values.length; i++) {
      if (i % 4 === 0) philox4x32([i / 4, draw, stream, 0], [low, high], block);
      y.values[i] = bits === 32 ? block[i % 4]! | 0 : block[i % 4]! >>> 8;
    }
  },
  samples: () => {
    const state = { shape: [4], dtype: "int32", values: Float64Array.of(-7, 123456789, 3, 41) } as const;
    return [
      { inputs: [state], params: { shape: [3, 7], bits: 32 } },
      { inputs: [state], params: { shape: [2, 8], bits: 24 } },
      { inputs: [state], params: { shape: [], bits: 24 } },
      { inputs: [state], params: { shape: [0, 2], bits: 24 } },
    ];
  },
});

function shiftRight(graph: OnnxGraph, x: OnnxValue, by: number, dtype: "uint32" | "uint64"): OnnxValue {
  return graph.node("BitShift", [x, graph.constant(dtype, [], [by])], { direction: "RIGHT" });
}

/** Ten rounds over all blocks at once: [4, blocks] of uint32. Words 0 and 2 travel as one tensor, 1 and 3 as another. */
function philoxNodes(
  graph: OnnxGraph,
  [low, high, stream, draw]: readonly [OnnxValue, OnnxValue, OnnxValue, OnnxValue],
  blocks: number,
): OnnxValue {
  const row = graph.integers([1, blocks]);
  const index = graph.constant("uint32", [1, blocks], [...Array(blocks).keys()]);
  const repeated = (word: OnnxValue): OnnxValue => graph.node("Expand", [word, row]);
  let even = graph.node("Concat", [index, repeated(stream)], { axis: 0 });
  let odd = graph.node("Concat", [repeated(draw), repeated(graph.constant("uint32", [1], [0]))], { axis: 0 });
  let key = graph.node("Reshape", [graph.node("Concat", [low, high], { axis: 0 }), graph.integers([2, 1])]);
  const multiplier = graph.constant("uint32", [2, 1], multipliers);
  const wideMultiplier = graph.constant("uint64", [2, 1], multipliers);
  const bump = graph.constant("uint32", [2, 1], weyl);
  const swap = graph.constant("int32", [2], [1, 0]);
  for (let round = 0; round < 10; round++) {
    if (round > 0) key = graph.node("Add", [key, bump]);
    const wide = graph.node("Mul", [graph.cast(even, "uint64"), wideMultiplier]);
    const upper = graph.cast(shiftRight(graph, wide, 32, "uint64"), "uint32");
    const lower = graph.node("Mul", [even, multiplier]);
    // (c0, c2) ← (hi(c2·M1) ⊕ c1 ⊕ k0, hi(c0·M0) ⊕ c3 ⊕ k1);  (c1, c3) ← (lo(c2·M1), lo(c0·M0))
    const mixed = graph.node("BitwiseXor", [graph.node("Gather", [upper, swap], { axis: 0 }), odd]);
    odd = graph.node("Gather", [lower, swap], { axis: 0 });
    even = graph.node("BitwiseXor", [mixed, key]);
  }
  const [c0, c2] = graph.nodes("Split", [even, graph.integers([1, 1])], 2, { axis: 0 });
  const [c1, c3] = graph.nodes("Split", [odd, graph.integers([1, 1])], 2, { axis: 0 });
  return graph.node("Concat", [c0, c1, c2, c3], { axis: 0 });
}
