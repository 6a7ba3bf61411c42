/** Adding to places that repeat, with several threads at work: as exact as with one. */
import { expect, test } from "vitest";
import { GraphProgram } from "../../src/compile/program.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { apply } from "../../src/graph/apply.ts";
import type { Target } from "../../src/graph/target.ts";
import { fromValues, plainEngine, type Tensor, tensor, useEngine } from "../../src/index.ts";
import { scatterAdd } from "../../src/ops/indexing.ts";
import { normal } from "../support/both-ways.ts";

const many = 4;
const engines = new Map([1, many].map((threads) => [threads, nodeEngine({ threads })]));

/** ONNX nodes by type. */
function nodesOf(updates: Tensor, indices: Tensor, size: number, target: Target): Record<string, number> {
  const y = apply(scatterAdd, [updates, indices], { axis: 0, size });
  const found: Record<string, number> = {};
  const { graph } = new GraphProgram([updates.node, indices.node], [y], target).model();
  for (const { opType } of graph!.node) found[opType] = (found[opType] ?? 0) + 1;
  return found;
}

async function sums(engine: Engine, updates: Tensor, indices: Tensor, size: number): Promise<Buffer> {
  useEngine(engine);
  const copies = [fromValues((await updates.data()).slice() as Float32Array, updates.shape), indices] as const;
  const values = await apply(scatterAdd, [copies[0] as Tensor, copies[1]], { axis: 0, size }).data();
  return Buffer.from(values.buffer);
}

test.each([
  ["all in one row", 1, 4096, 256],
  ["in three rows", 3, 5000, 200],
  ["in a vocabulary's", 1000, 4096, 256],
])("%s: the same bits again and again", async (_, size, count, width) => {
  useEngine(plainEngine());
  const updates = normal(count, width);
  const indices = tensor(
    Array.from({ length: count }, (_, i) => (i * 7919) % size),
    "int32",
  ) as Tensor;
  const target = engines.get(many)!.target;
  expect(nodesOf(updates, indices, size, target).ScatterND).toBeGreaterThan(10);
  expect(nodesOf(updates, indices, size, { contrib: true }).ScatterND).toBeUndefined();
  const expected = await sums(engines.get(1)!, updates, indices, size);
  for (let i = 0; i < 60; i++)
    expect(expected.equals(await sums(engines.get(many)!, updates, indices, size))).toBe(true);
});

test("as few equal parts as may be, a power of two of them", async () => {
  useEngine(plainEngine());
  for (const [count, parts] of [
    [1, 1],
    [2 ** 8, 1],
    [2 ** 8 + 1, 2],
    [3 * 2 ** 8 - 1, 4],
    [4 * 2 ** 8, 4],
  ] as const) {
    const updates = normal(count, 256);
    const indices = tensor(new Array(count).fill(0), "int32") as Tensor;
    const target = { contrib: true, serialElements: 2 ** 16 };
    expect(nodesOf(updates, indices, 2, target).ScatterND).toBe(parts);
  }
});
