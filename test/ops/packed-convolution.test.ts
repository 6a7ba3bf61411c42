/** Which nodes packed convolutions become; that their values are right on every engine is conformance's to say. */
import { describe, expect, test } from "vitest";
import { GraphProgram } from "../../src/compile/program.ts";
import { apply } from "../../src/graph/apply.ts";
import {
  packedConvolution,
  packedConvolutionInput,
  packedConvolutionKernel,
} from "../../src/ops/lowered/packed-convolution.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { normal } from "../support/both-ways.ts";

/** How often each op of ONNX Runtime's blocks occurs in the lowering for an engine with blocks of `block` channels. */
function blockNodes(y: Tensor, leaves: readonly Tensor[], block: number | undefined): Record<string, number> {
  const program = new GraphProgram(
    leaves.map(({ node }) => node),
    [y],
    { contrib: true, block },
  );
  const found: Record<string, number> = {};
  for (const { domain, opType } of program.model().graph!.node)
    if (domain === "com.microsoft.nchwc") found[opType] = (found[opType] ?? 0) + 1;
  return found;
}

const plain = { stride: [1, 1], dilation: [1, 1], padding: [[1, 1] as const, [1, 1] as const], groups: 1, block: 8 };
const [x, w] = [normal(2, 2, 6, 6, 8, 8), normal(16, 16, 3, 3)];
const forward = (params: object = {}): Tensor => apply(packedConvolution, [x, w], { ...plain, relu: false, ...params });

describe("on an engine with the same blocks", () => {
  test("forward: one convolution, and for each column of a stride one", () => {
    expect(blockNodes(forward(), [x, w], 8)).toEqual({ ReorderInput: 1, Conv: 1 });
    expect(blockNodes(forward({ stride: [3, 2] }), [x, w], 8)).toMatchObject({ Conv: 2 });
  });
  test("back to the input: one, and for each place between two steps one", () => {
    const back = (stride: readonly number[], [rows, columns]: readonly [number, number]): Record<string, number> => {
      const dy = normal(2, 2, rows, columns, 8, 8);
      return blockNodes(apply(packedConvolutionInput, [dy, w], { ...plain, stride, space: [6, 6] }), [dy, w], 8);
    };
    expect(back([1, 1], [6, 6])).toMatchObject({ Conv: 1 });
    expect(back([2, 2], [3, 3])).toMatchObject({ Conv: 4 });
  });
  test("back to the kernel: one", () => {
    const dy = normal(2, 2, 6, 6, 8, 8);
    const dw = apply(packedConvolutionKernel, [x, dy], { ...plain, kernel: [3, 3] });
    expect(blockNodes(dw, [x, dy], 8)).toEqual({ ReorderInput: 1, Conv: 1, ReorderOutput: 1 });
  });
});

test("elsewhere: none", () => {
  for (const block of [undefined, 16]) expect(blockNodes(forward(), [x, w], block)).toEqual({});
  expect(blockNodes(forward({ stride: [2, 2], dilation: [2, 2] }), [x, w], 8).Conv).toBeUndefined();
});
