/** Sessions are made once for each graph, runs happen in the order of their calls, and values follow the engine. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  compile,
  crossEntropy,
  functional,
  linear,
  plainEngine,
  read,
  relu,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";
import { State } from "../../src/tensor/state.ts";

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 1 });
});

const engines: readonly [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => native],
];

/** An engine that counts the sessions it makes; in use from now on. */
function counting(engine: Engine): { readonly sessions: number } {
  const counter = { sessions: 0 };
  useEngine({
    ...engine,
    load(program) {
      counter.sessions++;
      return engine.load(program);
    },
  });
  return counter;
}

describe.each(engines)("on the %s engine", (_, engine) => {
  test("the same graph with other values is the same session", async () => {
    const made = counting(engine());
    for (const values of [
      [1, 2],
      [3, 4],
      [5, 6],
    ])
      expect(await tensor(values).mul(2).add(1).array()).toEqual(values.map((value) => 2 * value + 1));
    expect(made.sessions).toBe(1);
    // Another constant, another shape and another dtype are other graphs.
    expect(await tensor([1, 2]).mul(3).add(1).array()).toEqual([4, 7]);
    expect(await tensor([1, 2, 3]).mul(2).add(1).array()).toEqual([3, 5, 7]);
    expect(await tensor([1, 2], "float64").mul(2).add(1).array()).toEqual([3, 5]);
    expect(made.sessions).toBe(4);
  });

  test("the same network with other weights is the same session, compiled or not", async () => {
    const made = counting(engine());
    const x = tensor([[1, -2, 3]]);
    const outputs: number[][] = [];
    for (const start of [1, 2]) {
      seed(start);
      const model = sequential(linear(3, 4), relu, linear(4, 2));
      const infer = compile((input: typeof x) => model(input));
      outputs.push((await infer(x).array())[0]!, (await model(x).array())[0]!);
    }
    expect(outputs[0]).toEqual(outputs[1]);
    expect(outputs[2]).toEqual(outputs[3]);
    expect(outputs[0]).not.toEqual(outputs[2]);
    expect(made.sessions).toBe(1);
  });

  test("a compiled function makes a session for each signature, and comes back to the first", async () => {
    const made = counting(engine());
    const twice = compile((x: Tensor<[number], "float32">) => x.mul(2));
    for (const values of [[1], [1, 2], [3], [4, 5]])
      expect(await twice(tensor(values) as Tensor<[number], "float32">).array()).toEqual(
        values.map((value) => 2 * value),
      );
    expect(made.sessions).toBe(2);
  });

  test("arguments that are no tensors are told apart as Object.is does", async () => {
    useEngine(engine());
    const seen: unknown[] = [];
    const f = compile((x: Tensor<[2], "float32">, other: number | string | boolean | undefined) => {
      seen.push(other);
      return typeof other === "number" ? x.mul(0).add(1).div(x.sub(x).add(other)) : x;
    });
    const others = [0, -0, Infinity, -Infinity, NaN, 1, "1", "0", "-0", "NaN", "Infinity", "#NaN", "null", "undefined"];
    const all = [...others, "", true, false, "true", undefined];
    for (const _ of [1, 2]) for (const other of all) await f(tensor([1, 2]), other).data();
    expect(seen).toHaveLength(all.length);
    expect(seen.every((other, i) => Object.is(other, all[i]))).toBe(true);
    const limit = compile((x: Tensor<[2], "float32">, most: number) => x.minimum(most));
    expect(await limit(tensor([1, 2]), -Infinity).array()).toEqual([-Infinity, -Infinity]);
    expect(await limit(tensor([1, 2]), Infinity).array()).toEqual([1, 2]);
  });

  test("arguments may be arrays and records of tensors: a batch with a mask, the states of a loop", async () => {
    const made = counting(engine());
    interface LoopState {
      readonly h: Tensor<[2], "float32">;
      readonly c: readonly Tensor<[2], "float32">[];
    }
    const step = compile(
      (
        { h, c }: LoopState,
        { x, scale }: { readonly x: Tensor<[2], "float32">; readonly scale: number },
      ): LoopState => ({
        h: h.add(x.mul(scale)),
        c: c.map((each) => each.add(h)),
      }),
    );
    let state: LoopState = { h: tensor([0, 0]), c: [tensor([1, 1]), tensor([2, 2])] };
    for (let i = 1; i <= 3; i++) state = step(state, { x: tensor([i, 2 * i]), scale: 2 });
    // In another order it is the same record.
    state = step({ c: state.c, h: state.h }, { scale: 2, x: tensor([1, 1]) });
    expect(await read(state)).toEqual({
      h: [14, 26],
      c: [
        [21, 41],
        [22, 42],
      ],
    });
    expect(made.sessions).toBe(1);
    await step(state, { x: tensor([1, 1]), scale: 3 }).h.data();
    await step({ ...state, c: [] }, { x: tensor([1, 1]), scale: 3 }).h.data();
    expect(made.sessions).toBe(3);
  });

  test("an argument of a record is named in messages", async () => {
    useEngine(engine());
    const pick = compile(
      ({ table, ids }: { table: Tensor<[number, 2], "float32">; ids: Tensor<[number], "int32">[] }) =>
        functional.embedding(table, ids[1]!),
    );
    const ids = [tensor([0], "int32"), tensor([7], "int32")];
    expect(() => pick({ table: zeros([3, 2]), ids })).toThrow(/index 7 at position 0 of argument 0\.ids\[1\]/);
    const f = compile((...things: unknown[]) => (things.length > 9 ? zeros([1]) : zeros([2])));
    for (const [thing, told] of [
      [null, "argument 0 is null"],
      [{ a: [new Date()] }, "argument 0.a[0] is a Date"],
      [[() => 1], "argument 0[0] is a function"],
      [new Map(), "argument 0 is a Map"],
      [1n, "argument 0 is a bigint"],
    ] as const)
      expect(() => f(thing)).toThrow(told);
  });

  test("an activation's parameters are told apart too, down to the model", async () => {
    useEngine(engine());
    const x = tensor([-1, 2]);
    const slopes = [0, -0, 1, Infinity, -Infinity, NaN];
    const found = await read(slopes.map((slope) => x.leakyRelu(slope)));
    const first = found.map((values) => values[0]);
    expect(first.map((value) => Object.is(value, -0))).toEqual([true, false, false, false, false, false]);
    expect(first.map((value) => value! + 0)).toEqual([0, 0, -1, -Infinity, Infinity, NaN]);
  });

  test("two compiled functions that share a variable see each other's values in the order of the calls", async () => {
    useEngine(engine());
    const s = new State({ shape: [], dtype: "float32" }, Float32Array.of(1), { name: "s" });
    const add = compile(() => {
      s.assign(s.add(1));
      return s.mul(1);
    });
    const double = compile(() => {
      s.assign(s.mul(2));
      return s.mul(1);
    });
    // Nothing is awaited in between.
    const results = [add(), double(), double(), add(), double()];
    expect(await Promise.all(results.map((result) => result.item()))).toEqual([2, 4, 8, 9, 18]);
    expect(await s.item()).toBe(18);
    // Nor do pending assignments outside of compiled functions lose their place.
    s.assign(s.add(0.5));
    expect(await s.item()).toBe(18.5);
    expect(await double().item()).toBe(37);
  });
});

describe("from one engine to the other", () => {
  test("values, variables and a half-built expression go along", async () => {
    const s = new State({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2), { name: "s" });
    useEngine(plainEngine());
    const onPlain = tensor([1, 2]).add(s);
    expect(await onPlain.array()).toEqual([2, 4]);
    const pending = onPlain.mul(10);
    useEngine(native);
    expect(await pending.array()).toEqual([20, 40]);
    s.assign(s.add(pending));
    expect(await s.array()).toEqual([21, 42]);
    useEngine(plainEngine());
    expect(await s.add(pending).array()).toEqual([41, 82]);
    expect(await onPlain.array()).toEqual([2, 4]);
  });

  test("a training goes on where it was, moments and all", async () => {
    const train = async (engineOf: (step: number) => Engine): Promise<number[]> => {
      seed(4);
      const model = sequential(linear(3, 8), relu, linear(8, 2));
      const optimizer = adam(model, { learningRate: 0.05 });
      const x = tensor([
        [1, 0, 2],
        [0, 3, 1],
        [2, 2, 0],
      ]);
      const y = tensor([0, 1, 1], "int32");
      const step = compile((input: typeof x, labels: typeof y) => {
        const loss = crossEntropy(model(input), labels);
        optimizer.minimize(loss);
        return loss;
      });
      const losses: number[] = [];
      for (let i = 0; i < 9; i++) {
        useEngine(engineOf(i));
        losses.push(await step(x, y).item());
      }
      return losses;
    };
    const plain = plainEngine();
    const stayed = await train(() => plain);
    const moved = await train((i) => (Math.floor(i / 3) % 2 === 0 ? plain : native));
    moved.forEach((loss, i) => expect(loss).toBeCloseTo(stayed[i]!, 5));
    expect(stayed[8]!).toBeLessThan(stayed[0]! / 2);
  });

  test("a change while runs are under way touches none of them", async () => {
    const s = new State({ shape: [], dtype: "float32" }, Float32Array.of(0), { name: "s" });
    const next = compile(() => {
      s.assign(s.add(1));
      return s.mul(1);
    });
    const results: Tensor<[], "float32">[] = [];
    for (let i = 0; i < 6; i++) {
      useEngine(i % 2 ? native : plainEngine());
      results.push(next());
    }
    expect(await Promise.all(results.map((result) => result.item()))).toEqual([1, 2, 3, 4, 5, 6]);
  });
});
