/** What a run refuses, on every engine: indices out of range, divisions by 0, losses and gradients that are not finite. */
import { describe, expect, test } from "vitest";
import { applyAll } from "../../src/graph/apply.ts";
import { type AnyOp, type Data, registry, type Sample } from "../../src/graph/op.ts";
import { showPlace } from "../../src/graph/types.ts";
import {
  adam,
  compile,
  crossEntropy,
  type Engine,
  embedding,
  fromValues,
  gradientAccumulator,
  gradients,
  lbfgs,
  linear,
  type Module,
  module,
  negativeLogLikelihood,
  nodeEngine,
  plainEngine,
  type Shape,
  scan,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  where,
} from "../../src/node.ts";
import { Parameter, State } from "../../src/tensor/state.ts";
import { sampler, toTensor } from "../support/conformance.ts";

const engines: [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 2 })],
  ["node without kernels", () => nodeEngine({ threads: 1, kernels: false })],
  ["node's binding", () => nodeEngine({ threads: 2, implementation: "binding" })],
];

const valuesOf = (states: readonly State[]): Promise<unknown[]> => Promise.all(states.map((state) => state.data()));
const integers = (...values: number[]): Tensor<[number], "int32"> => tensor(values, "int32");

interface Case {
  readonly op: AnyOp;
  readonly sample: Sample<unknown>;
  /** Which input holds indices, or is a divisor. */
  readonly input: number;
  /** Elements that are refused there, and what is said of them. */
  readonly refused: readonly (readonly [value: number, sentence: string])[];
}

/** Every op of the registry that has indices or a divisor, on each of its samples that has some. */
const cases: Case[] = [...registry.values()].flatMap((op) =>
  op.samples(sampler("float32")).flatMap((sample): Case[] => {
    const ofIntegers = op.divisor ? { ...sample, inputs: sample.inputs.map(asDivisible) } : sample;
    const bound = op.indices?.(ofIntegers.inputs, ofIntegers.params);
    const divisor = op.divisor?.(ofIntegers.inputs, ofIntegers.params);
    const input = bound?.input ?? divisor;
    if (input === undefined || ofIntegers.inputs.some(({ values }) => values.length === 0)) return [];
    const refused = bound
      ? [-1, bound.below, -(2 ** 31), 2 ** 31 - 1].map((index) => [index, `index ${index} at position 0 of`] as const)
      : [[0, "a division of int32 by 0, at position 0 of"] as const];
    return [{ op, sample: ofIntegers, input, refused }];
  }),
);

function asDivisible(data: Data): Data {
  return { ...data, dtype: "int32", values: data.values.map((value) => Math.ceil(Math.abs(value) * 3)) };
}

test("the walk meets every op with indices and every op with a divisor", () => {
  const asked = [...registry.values()].filter((op) => op.indices || op.divisor).map(({ name }) => name);
  expect(asked.length).toBeGreaterThanOrEqual(11);
  expect([...new Set(cases.map(({ op }) => op.name))]).toEqual(asked);
});

describe.each(engines)("on the %s engine", (_, makeEngine) => {
  const engine = makeEngine();

  test.each(cases.map((each, i) => [`${each.op.name}, case ${i}`, each] as const))("%s", async (_name, each) => {
    useEngine(engine);
    const { op, sample, input, refused } = each;
    const inputs = sample.inputs.map(toTensor);
    const good = inputs[input]!;
    const first = Number((await good.data())[0]);
    const state = new State({ shape: [], dtype: "int32" }, Int32Array.of(0));
    const indices = new State({ shape: [...good.shape], dtype: "int32" }, await good.data());
    /** The op's results where the first element of the input has something added, and a change that must not be made. */
    const run = compile((plus: Tensor<[]>, ...all: Tensor[]) => {
      state.assign(state.add(1));
      const flat = all[input]!.reshape([-1]);
      const isFirst = tensor([1, ...Array<number>(good.size - 1).fill(0)], "int32");
      const moved = flat.add(isFirst.mul(plus.cast("int32") as never) as never).reshape(good.shape);
      return applyAll(
        op,
        all.map((one, i) => (i === input ? moved : one)),
        sample.params,
      );
    });
    const direct = compile((...all: Tensor[]) => {
      state.assign(state.add(1));
      return applyAll(op, all, sample.params);
    });
    const held = compile((...all: Tensor[]) => {
      state.assign(state.add(1));
      return applyAll(
        op,
        all.map((one, i) => (i === input ? indices : one)),
        sample.params,
      );
    });
    const expected = await Promise.all(applyAll(op, inputs, sample.params).map((y) => y.data()));
    expect(await Promise.all(run(tensor(0, "int32") as never, ...inputs).map((y) => y.data()))).toEqual(expected);
    expect(await state.item()).toBe(1);
    for (const [value, sentence] of refused) {
      const bad = Int32Array.from(await good.data());
      bad[0] = value;
      const shape = [...good.shape];
      const refuses = async (results: () => readonly Tensor[]) => {
        await expect((async () => Promise.all(results().map((y) => y.data())))()).rejects.toThrow(sentence);
      };
      // Worked out in the graph; from JavaScript; from an earlier run; what a variable holds; outside of any function.
      await refuses(() => run(tensor((value - first) | 0, "int32") as never, ...inputs));
      const among = (one: Tensor): Tensor[] => inputs.map((other, i) => (i === input ? one : other));
      await refuses(() => direct(...among(fromValues(bad, shape))));
      indices.write(bad);
      await refuses(() => held(...inputs));
      indices.write(await good.data());
      await refuses(() => applyAll(op, among(fromValues(bad, shape).add(0)), sample.params));
      expect(await state.item()).toBe(1);
    }
    await Promise.all(held(...inputs).map((y) => y.data()));
    expect(await state.item()).toBe(2);
  });

  describe("labels and ids that the graph works out", () => {
    const logits = (): Tensor<[4, 10], "float32"> =>
      fromValues(
        Float32Array.from({ length: 40 }, (_, i) => i % 7),
        [4, 10],
      );
    const labels = integers(3, 9, 1, 0) as Tensor<[4], "int32">;
    const table = embedding(10, 3);
    const weights = fromValues(new Float32Array(10).fill(1), [10]);
    type Ids = Tensor<[4], "int32">;
    const uses: [string, string, (ids: Ids) => Tensor][] = [
      ["cross-entropy", "pick", (ids) => crossEntropy(logits(), ids)],
      ["smoothed cross-entropy", "pick", (ids) => crossEntropy(logits(), ids, { labelSmoothing: 0.1 })],
      ["cross-entropy that ignores some", "pick", (ids) => crossEntropy(logits(), ids, { ignore: 9 })],
      ["weighted cross-entropy", "take", (ids) => crossEntropy(logits(), ids, { weights: weights as never })],
      ["log-likelihood", "pick", (ids) => negativeLogLikelihood(logits().logSoftmax(), ids)],
      ["embedding", "take", (ids) => table(ids)],
      ["one-hot vectors", "oneHot", (ids) => ids.oneHot(10)],
      [
        "laid out anew",
        "take",
        (ids) =>
          logits()
            .mT()
            .take(ids.reshape([2, 2]).mT().unsqueeze(0)),
      ],
    ];

    test.each(uses)("%s", async (_name, op, use) => {
      useEngine(engine);
      const shifted = compile((ids: Ids, by: Tensor<[], "int32">) => use(ids.sub(by)));
      await shifted(labels, tensor(0, "int32")).data();
      const of = `${op}: index -1 at position 3 of the indices (int32[4]) is outside 0 … 9`;
      await expect(shifted(labels, tensor(1, "int32")).data()).rejects.toThrow(of);
      const beyond = `${op}: index 10 at position 1 of the indices (int32[4]) is outside 0 … 9`;
      await expect(shifted(labels, tensor(-1, "int32")).data()).rejects.toThrow(beyond);
      await expect(use(labels.sub(1)).data()).rejects.toThrow(of);
    });

    test("a step that they stop changes nothing, however its states are written", async () => {
      useEngine(engine);
      seed(1);
      const model = sequential(linear(8, 200), linear(200, 10));
      const optimizer = adam(model);
      const seen = new State({ shape: [], dtype: "int32" }, Int32Array.of(0));
      const step = compile((x: Tensor<[4, 8], "float32">, ids: Ids, by: Tensor<[], "int32">) => {
        const loss = crossEntropy(model(x), ids.sub(by) as Ids);
        optimizer.minimize(loss);
        seen.assign(seen.add(1));
        return loss;
      });
      const x = fromValues(
        Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
        [4, 8],
      );
      for (let i = 0; i < 3; i++) await step(x, labels, tensor(0, "int32")).item();
      const states = [...model.states(), ...optimizer.states(), seen];
      const before = await valuesOf(states);
      const sentence = "pick: index -1 at position 3 of the indices (int32[4]) is outside 0 … 9";
      await expect(step(x, labels, tensor(1, "int32")).item()).rejects.toThrow(sentence);
      expect(await valuesOf(states)).toEqual(before);
      await step(x, labels, tensor(0, "int32")).item();
    });

    test("an index that depends on another one that is wrong: the first is named", async () => {
      useEngine(engine);
      const next = integers(2, 3, 0, 1);
      const follow = compile((at: Tensor<[1], "int32">) => next.take(next.take(at.mul(5))));
      expect(await follow(tensor([0], "int32")).array()).toEqual([0]);
      const sentence = "index 5 at position 0 of the indices (int32[1]) is outside 0 … 3";
      await expect(follow(tensor([1], "int32")).data()).rejects.toThrow(sentence);
    });
  });

  describe("in a loop", () => {
    type Ids = Tensor<[number, 2], "int32">;
    const table = fromValues(
      Float32Array.from({ length: 8 }, (_, i) => i),
      [4, 2],
    );
    const ids = (...values: number[]): Ids =>
      tensor([values.slice(0, 2), values.slice(2, 4), values.slice(4)], "int32");

    test("indices of a slice are looked at as arguments are", async () => {
      useEngine(engine);
      const run = compile(
        (xs: Ids) =>
          scan(
            (h: Tensor<[2, 2], "float32">, i: Tensor<[2], "int32">) => {
              const next = h.add(table.take(i));
              return [next, next];
            },
            { init: fromValues(new Float32Array(4), [2, 2]), xs },
          ).outputs as Tensor,
      );
      await run(ids(0, 1, 2, 3, 0, 1)).data();
      expect(() => run(ids(0, 1, 2, 4, 0, 1))).toThrow(
        "take: index 4 at position 3 of argument 0 (int32[3, 2]) is outside 0 … 3",
      );
    });

    test("and what a step works out, in nested loops too, with its gradient", async () => {
      useEngine(engine);
      const w = new Parameter(
        { shape: [4, 2], dtype: "float32" },
        Float32Array.from({ length: 8 }, (_, i) => i / 8),
        { name: "w" },
      );
      const optimizer = sgd([w], { learningRate: 0.1 });
      const run = compile((xs: Ids, by: Tensor<[], "int32">) => {
        const { outputs } = scan(
          (n: Tensor<[2], "int32">, i: Tensor<[2], "int32">) => {
            const inner = scan(
              (h: Tensor<[2, 2], "float32">, k: Tensor<[2], "int32">) => {
                const next = h.add(w.take(i.mul(k).sub(by)) as never);
                return [next, next.tanh()];
              },
              {
                init: fromValues(new Float32Array(4), [2, 2]),
                xs: tensor(
                  [
                    [1, 1],
                    [1, 1],
                  ],
                  "int32",
                ),
              },
            );
            return [n.add(i), (inner.outputs as Tensor).add(table.take(n.remainder(4)).sum())];
          },
          { init: integers(0, 1) as Tensor<[2], "int32">, xs },
        );
        const loss = (outputs as Tensor).square().sum();
        optimizer.minimize(loss);
        return loss;
      });
      const at = (by: number) => tensor(by, "int32") as Tensor<[], "int32">;
      await run(ids(0, 1, 2, 3, 0, 1), at(0)).item();
      const before = await w.data();
      await expect(run(ids(0, 1, 2, 3, 0, 1), at(1)).item()).rejects.toThrow(
        "take: index -1 at position 0 of the indices of all steps (int32[3, 2, 2]) is outside 0 … 3",
      );
      expect(await w.data()).toEqual(before);
      await run(ids(0, 1, 2, 3, 0, 1), at(0)).item();
      const divided = compile(
        (xs: Ids, by: Tensor<[], "int32">) =>
          scan(
            (n: Tensor<[2], "int32">, i: Tensor<[2], "int32">) => {
              const next = n.add(integers(6, 6).div(i.sub(by) as never) as never);
              return [next, next];
            },
            { init: integers(0, 0) as Tensor<[2], "int32">, xs },
          ).outputs as Tensor,
      );
      expect(await divided(ids(1, 2, 3, 1, -1, 6), at(0)).array()).toEqual([
        [6, 3],
        [8, 9],
        [2, 10],
      ]);
      await expect(divided(ids(1, 2, 3, 1, -1, 6), at(3)).data()).rejects.toThrow(
        "div: a division of int32 by 0, at position 2 of the divisor of all steps (int32[3, 2])",
      );
    });
  });

  describe("a finite loss whose gradient is not finite", () => {
    /** Two layers, the second of which has a scale whose root has no slope at 0. */
    const training = (make: (model: Module) => ReturnType<typeof adam>) => {
      seed(2);
      const scale = new Parameter({ shape: [3], dtype: "float32" }, Float32Array.of(1, 4, 9));
      const model = module("Scaled", { first: linear(8, 150), second: linear(150, 3), scale }, (x: Tensor) =>
        model.second(model.first(x as never)).mul(scale.sqrt()),
      );
      const optimizer = make(model);
      const step = compile((x: Tensor<[4, 8], "float32">, factor: Tensor<[3], "float32">) => {
        const loss = (model(x) as Tensor).mul(factor).square().mean().add(scale.mul(factor).sqrt().sum());
        optimizer.minimize(loss, { clipNorm: 5 });
        return loss;
      });
      return { step, states: [...model.states(), ...optimizer.states()] };
    };
    const x = fromValues(
      Float32Array.from({ length: 32 }, (_, i) => Math.cos(i)),
      [4, 8],
    );
    const factor = (...values: number[]) => tensor(values) as Tensor<[3], "float32">;

    test.each<[string, (model: Module) => ReturnType<typeof adam>]>([
      ["sgd", (model) => sgd(model, { learningRate: 0.01, momentum: 0.9 })],
      ["adam", (model) => adam(model)],
    ])("%s names the parameter, and everything keeps its value", async (name, make) => {
      useEngine(engine);
      const { step, states } = training(make);
      for (let i = 0; i < 3; i++) await step(x, factor(1, 1, 1)).item();
      const before = await valuesOf(states);
      await expect(step(x, factor(1, 0, 1)).item()).rejects.toThrow(
        `${name}.minimize: the gradient of scale is NaN at [1], so the update was not made; all parameters keep their values`,
      );
      expect(await valuesOf(states)).toEqual(before);
      expect(await step(x, factor(1, 1, 1)).item()).toBeGreaterThan(0);
      const undisturbed = training(make);
      for (let i = 0; i < 4; i++) await undisturbed.step(x, factor(1, 1, 1)).item();
      expect(await valuesOf(states)).toEqual(await valuesOf(undisturbed.states));
    });

    test("each element of each parameter is seen, whatever its shape and dtype; huge ones are fine", async () => {
      useEngine(engine);
      for (const dtype of ["float32", "float64"] as const)
        for (const shape of [
          [],
          [1],
          [7],
          [1031],
          [2000],
          [3, 5],
          [40, 50],
          [1200, 1],
          [2, 3, 4, 60],
          [5, 1, 211, 2],
        ]) {
          const size = shape.reduce((a, b) => a * b, 1);
          const w = new Parameter(
            { shape, dtype },
            new (dtype === "float32" ? Float32Array : Float64Array)(size).fill(1),
            { name: "w" },
          );
          const optimizer = sgd([w], { learningRate: 1e-30 });
          const step = compile((slopes: Tensor, isBad: Tensor<Shape, "bool">, by: Tensor) => {
            const loss = w.mul(0).sum();
            optimizer.apply([w], [where(isBad, by.div(by.sub(by)).expand(shape) as Tensor, slopes)]);
            return loss;
          });
          const largest = dtype === "float32" ? 3.4e38 : 1.7e308;
          const alternating = Array.from({ length: size }, (_, i) => (i % 2 ? -largest : largest));
          const slopes = fromValues(
            dtype === "float32" ? Float32Array.from(alternating) : Float64Array.from(alternating),
            shape,
          ) as Tensor;
          const run = (at: number, by: number) => {
            const isBad = fromValues(
              Uint8Array.from({ length: size }, (_, i) => Number(i === at)),
              shape,
            );
            return step(slopes, isBad as never, tensor(by, dtype) as Tensor).item();
          };
          await run(-1, 0);
          const before = await w.data();
          for (const at of new Set([0, size >> 1, size - 1]))
            for (const [by, value] of [
              [0, "NaN"],
              [1, "Infinity"],
              [-1, "-Infinity"],
            ] as const) {
              const place = shape.length > 0 ? ` at ${showPlace(shape, at)}` : "";
              await expect(run(at, by)).rejects.toThrow(
                `sgd.apply: the gradient of w is ${value}${place}, so the update`,
              );
              expect(await w.data()).toEqual(before);
            }
        }
    }, 60_000);

    test("apply without a guard makes the update in any case", async () => {
      useEngine(engine);
      const w = new Parameter({ shape: [1], dtype: "float32" }, Float32Array.of(0));
      const optimizer = sgd([w], { learningRate: 1 });
      const step = compile((guard: boolean) => {
        const loss = w.sqrt().mul(0).sum();
        optimizer.apply([w], gradients(loss, [w]), { guard });
        return loss;
      });
      await expect(step(true).item()).rejects.toThrow("the gradient of state is NaN at [0]");
      expect(await w.array()).toEqual([0]);
      await step(false).item();
      expect(await w.array()).toEqual([NaN]);
    });

    test("L-BFGS and accumulated gradients", async () => {
      useEngine(engine);
      const w = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(1, 0), { name: "w" });
      await expect(lbfgs([w], () => w.sqrt().sum()).step()).rejects.toThrow(
        "lbfgs: the gradient of w is Infinity at [1] at the start",
      );
      expect(await w.array()).toEqual([1, 0]);
      const sums = gradientAccumulator(sgd([w], { learningRate: 1 }));
      const add = compile(() => void sums.add(w.sqrt().sum()));
      add();
      await expect(add.finished()).rejects.toThrow("Accumulator.add: the gradient of w is Infinity at [1]");
    });
  });
});
