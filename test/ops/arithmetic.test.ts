/** How a right side that is widened reaches ONNX. */
import { expect, test } from "vitest";
import { GraphProgram } from "../../src/compile/program.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { plainEngine, type Tensor, useEngine } from "../../src/index.ts";
import { normal } from "../support/both-ways.ts";

/** How many right sides are repeated before they are added. */
function repeated(a: Tensor, b: Tensor): number {
  const program = new GraphProgram([a.node, b.node], [a.add(b)], { contrib: true });
  return program.model().graph!.node.filter(({ opType }) => opType === "Expand").length;
}

test.each([
  [[40, 2, 5, 16, 16], [2, 1, 1, 16], 1],
  [[40, 32, 16], [1, 16], 1],
  [[40, 2, 16, 16], [2, 16, 1], 0], //  runs of 16 over one element, which are cheap
  [[2, 2, 5, 16, 16], [2, 1, 1, 16], 0], //  too little to repeat for
  [[40, 512], [512], 0],
  [[40, 16], [16], 0],
  [[0, 2, 16, 16], [2, 1, 16], 0],
  [[40, 16, 16], [], 0],
] as const)("%o + %o: %i repeated, and the same values", async (left, right, count) => {
  const [a, b] = [normal(...left), normal(...right)];
  expect(repeated(a, b)).toBe(count);
  const sums: number[][] = [];
  for (const engine of [plainEngine(), nodeEngine({ threads: 1 })]) {
    useEngine(engine);
    sums.push(Array.from(await a.mul(1).sub(b).data()));
  }
  expect(sums[1]).toEqual(sums[0]);
});
