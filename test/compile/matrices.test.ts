/** Hidden layers that stay packed from product to product, on the engine that has nodes for it. */
import { beforeEach, describe, expect, test } from "vitest";
import { bind } from "../../src/compile/bind.ts";
import { traceRoots } from "../../src/compile/compile.ts";
import { ruleSets } from "../../src/compile/passes/index.ts";
import { rewrite } from "../../src/compile/passes/rewrite.ts";
import { GraphProgram } from "../../src/compile/program.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import type { Values } from "../../src/graph/types.ts";
import { gradients, plainEngine, type Tensor, useEngine } from "../../src/index.ts";
import type { State } from "../../src/tensor/state.ts";
import type { Storage } from "../../src/tensor/storage.ts";
import { counts, normal } from "../support/both-ways.ts";

beforeEach(() => useEngine(plainEngine()));

describe("large matrices stay packed", () => {
  const [rows, width, hidden, block] = [512, 64, 512, 16];
  /** A feed-forward network's loss and gradients; what it makes of its hidden layer and of them is up to the caller. */
  async function packedBothWays(
    act: (h: Tensor) => Tensor,
    becomes: (gradient: Tensor, parameter: Tensor) => Tensor = (gradient) => gradient,
  ): Promise<Record<string, number>> {
    const engine = nodeEngine({ threads: 2 });
    const args = [normal(rows, width), normal(hidden, width), normal(hidden), normal(width, hidden), normal(width)];
    const step = (x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor): readonly Tensor[] => {
      const y = x.add(
        act(
          x
            .matmul(w1.mT())
            .add(b1)
            .reshape([2, rows / 2, hidden]),
        )
          .reshape([rows, hidden])
          .matmul(w2.mT())
          .add(b2),
      );
      const loss = y.square().mean();
      const parameters = [x, w1, b1, w2, b2];
      return [loss, ...gradients(loss, parameters).map((gradient, i) => becomes(gradient, parameters[i]!))];
    };
    const { identity, results, assigned } = traceRoots(step as never, args as never);
    const bound = bind({ results, checks: [], assigned });
    const target = { contrib: true, block };
    const roots = rewrite(bound.roots, ruleSets, target, identity);
    const values = await Promise.all(
      bound.sources.map((source) => (typeof source === "number" ? args[source]! : (source as Storage & State)).data()),
    );
    const [expected, got] = await Promise.all(
      [bound.roots, roots].map(async (each) => {
        const program = new GraphProgram(bound.leaves, each, engine.target);
        const session = await engine.load(program);
        const outputs = program.outputs.map(({ type }) => engine.buffer(type));
        const inputs = program.inputs.map(({ type }, i) => engine.buffer(type, values[i]!.slice() as Values));
        await session.run(inputs, outputs);
        return Promise.all(outputs.map((output) => output.read()));
      }),
    );
    expected!.forEach((result, i) => {
      const size = Math.max(...result.map(Math.abs));
      result.forEach((value, at) => {
        if (!(Math.abs(got![i]![at]! - value) <= 2e-5 * size)) expect(got![i]![at], `output ${i}`).toBe(value);
      });
    });
    return counts(new GraphProgram(bound.leaves, roots, target).text());
  }
  test("the hidden layer of a feed-forward network, there and back: all six products", async () => {
    expect((await packedBothWays((h) => h.gelu())).packedProduct).toBe(6);
  });
  test("also where momentum is added to all gradients", async () => {
    const found = await packedBothWays(
      (h) => h.gelu(),
      (gradient, parameter) => parameter.mul(0.9).add(gradient),
    );
    expect(found.packedProduct).toBe(6);
  });
  test("but not what something else needs unpacked", async () => {
    expect((await packedBothWays((h) => h.softmax())).packedProduct).toBeUndefined();
  });
});
