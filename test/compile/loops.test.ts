/** What the compiler makes of loops: fewer of them, with less in them, and the same numbers. */
import { beforeEach, expect, test } from "vitest";
import { ruleSets } from "../../src/compile/passes/index.ts";
import { rewrite } from "../../src/compile/passes/rewrite.ts";
import { collect, type Value } from "../../src/graph/node.ts";
import { gradients, lstm, plainEngine, scan, seed, type Tensor, useEngine } from "../../src/index.ts";
import type { ScanParams } from "../../src/ops/control.ts";
import { bothWays, bothWaysInBlocks, normal } from "../support/both-ways.ts";

beforeEach(() => {
  useEngine(plainEngine());
  seed(5);
});

/** How often each op is in the loops of a graph once it is rewritten, and how often outside. */
function counts(roots: readonly Value[]): { readonly outside: object; readonly inside: object } {
  const count = (nodes: readonly { readonly op: { readonly name: string } }[]): Record<string, number> => {
    const found: Record<string, number> = {};
    for (const { op } of nodes) found[op.name] = (found[op.name] ?? 0) + 1;
    return found;
  };
  const outside = collect(rewrite(roots, ruleSets, plainEngine().target, undefined));
  const bodies = outside.filter(({ op }) => op.name === "scan").map(({ params }) => (params as ScanParams).body);
  return { outside: count(outside), inside: count(bodies.flatMap((body) => body.nodes)) };
}

const recurrent = (xs: Tensor, w: Tensor, h: Tensor): Tensor =>
  scan(
    (h: Tensor, x) => {
      const next = (x as Tensor).add(h.matmul(w.mT())).tanh() as Tensor;
      return [next, next];
    },
    { init: h, xs },
  ).outputs as Tensor;

test("a matrix that is transposed before a loop is transposed by the loop's products, on the way back too", async () => {
  const args = [normal(3, 2, 4), normal(4, 4), normal(2, 4)] as const;
  const there = counts([recurrent(...args)]);
  expect(there.outside).toEqual({ input: 3, scan: 1 });
  expect(there.inside).toEqual({ gemm: 1, tanh: 1 });
  const back = counts(gradients(recurrent(...args).sum(), args));
  expect(back.outside).not.toHaveProperty("transpose");
  expect(back.inside).not.toHaveProperty("transpose");
  await bothWays((xs, w, h) => [recurrent(xs, w, h), ...gradients(recurrent(xs, w, h).sum(), [xs, w, h])], ...args);
});

test("a transpose that something else in the loop needs stays outside", async () => {
  const loop = (xs: Tensor, w: Tensor): Tensor =>
    scan((h: Tensor, x) => [(x as Tensor).matmul(w.mT()).add(h).mul(w.mT()) as Tensor, h], { init: w, xs }).state;
  const { outside, inside } = counts([loop(normal(3, 4, 4), normal(4, 4))]);
  expect(outside).toHaveProperty("transpose", 1);
  expect(inside).not.toHaveProperty("transpose");
  await bothWays(loop, normal(3, 4, 4), normal(4, 4));
});

test("a loop of one step is the step, in loops too, forward and back", async () => {
  const args = [normal(1, 2, 4), normal(4, 4), normal(2, 4)] as const;
  expect(counts([recurrent(...args)]).outside).not.toHaveProperty("scan");
  expect(counts(gradients(recurrent(...args).sum(), args)).outside).not.toHaveProperty("scan");
  await bothWaysInBlocks(
    undefined,
    (xs, w, h) => [recurrent(xs, w, h), ...gradients(recurrent(xs, w, h).sum(), [xs, w, h])],
    ...args,
  );
  const nested = (xs: Tensor, w: Tensor, h: Tensor): Tensor =>
    scan(
      (h: Tensor, x) => {
        const inner = recurrent((x as Tensor).unsqueeze(0) as Tensor, w, h).reshape(h.shape) as Tensor;
        return [inner, inner];
      },
      { init: h, xs, reverse: true },
    ).outputs as Tensor;
  const two = [normal(3, 2, 4), normal(4, 4), normal(2, 4)] as const;
  expect(counts([nested(...two)]).inside).not.toHaveProperty("scan");
  await bothWaysInBlocks(
    undefined,
    (xs, w, h) => [nested(xs, w, h), ...gradients(nested(xs, w, h).sum(), [xs, w, h])],
    ...two,
  );
});

test("a layer that is called with one step has no loop", () => {
  expect(
    counts([lstm(2, 3, { layers: 2 })(normal(4, 1, 2) as Tensor<[4, 1, 2], "float32">).outputs]).outside,
  ).not.toHaveProperty("scan");
});
