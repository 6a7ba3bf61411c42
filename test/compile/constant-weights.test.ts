/** Functions whose weights are constants of their sessions: the same results, and every new value of a weight is seen. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Engine, EngineBuffer, Program } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  ConfigError,
  compile,
  generate,
  gpt2LMHeadModel,
  linear,
  plainEngine,
  randomGenerator,
  relu,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { State } from "../../src/tensor/state.ts";
import { normal } from "../support/both-ways.ts";

const constant = { constantWeights: true } as const;

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 1 });
});

/** What an engine has made: the programs that it was given to load, and how many of their sessions are not released. */
interface Loaded {
  readonly programs: Program[];
  alive: number;
}

/** Uses an engine that notes its sessions. */
function watching(engine: Engine = native): Loaded {
  const loaded: Loaded = { programs: [], alive: 0 };
  useEngine({
    ...engine,
    target: engine.target,
    async load(program) {
      loaded.programs.push(program);
      const session = await engine.load(program);
      loaded.alive++;
      return {
        run: (...all) => session.run(...all),
        release() {
          loaded.alive--;
          session.release();
        },
      };
    },
  });
  return loaded;
}

const withConstants = ({ programs }: Loaded): Program[] => programs.filter(({ constants }) => constants !== undefined);

const network = (seed: number) =>
  sequential(
    linear(24, 160, { generator: randomGenerator(seed) }),
    relu,
    linear(160, 12, { generator: randomGenerator(seed + 1) }),
  );

async function expectClose(a: Tensor, b: Tensor): Promise<void> {
  const [x, y] = await Promise.all([a.data(), b.data()]);
  expect(x.length).toBe(y.length);
  for (let i = 0; i < x.length; i++) expect(Math.abs(x[i]! - y[i]!)).toBeLessThanOrEqual(1e-5);
}

describe("a line on standard error", () => {
  const lines = async (
    body: (answer: (x: Tensor) => Tensor, change: () => void) => Promise<void>,
  ): Promise<string[]> => {
    useEngine(native);
    const error = vi.spyOn(console, "error").mockImplementation(() => {});
    try {
      const model = linear(3, 2);
      const answer = compile(function answer(x: Tensor) {
        return model(x as Tensor<[number, 3]>) as Tensor;
      }, constant);
      let value = 0;
      await body(answer, () => model.weight.write(new Float32Array(6).fill(value++)));
      return error.mock.calls.map(([text]) => String(text));
    } finally {
      error.mockRestore();
    }
  };
  const rows = (count: number): Tensor => normal(count, 3) as Tensor;

  test("says once that ten runs in a row have made the session anew", async () => {
    let before = 0;
    const told = await lines(async (answer, change) => {
      for (let i = 0; i <= 25; i++) {
        if (i > 0) change();
        await answer(rows(1)).data();
        if (i === 9) before = vi.mocked(console.error).mock.calls.length;
      }
    });
    expect(before).toBe(0);
    expect(told).toEqual([
      "glissade: answer: 10 runs in a row have each made the session anew, as weights have changed before each of them; " +
        "fix: leave out constantWeights, or run the function more often between two changes of the weights",
    ]);
  });

  test("says nothing where each value of the weights serves two runs", async () => {
    const told = await lines(async (answer, change) => {
      for (let i = 0; i < 12; i++) {
        change();
        await answer(rows(1)).data();
        await answer(rows(1)).data();
      }
    });
    expect(told).toEqual([]);
  });
});

describe("a function whose weights are constants", () => {
  test("gives what it gives otherwise, for one row and for many, in few sessions", async () => {
    const loaded = watching();
    const model = network(1);
    const plain = compile((x: Tensor<[number, 24]>) => model(x));
    const packed = compile((x: Tensor<[number, 24]>) => model(x), constant);
    for (const rows of [1, 2, 3, 7, 16, 64, 300, 1, 5]) {
      const x = normal(rows, 24) as Tensor<[number, 24]>;
      await expectClose(packed(x), plain(x));
    }
    const made = withConstants(loaded);
    expect(made.length).toBeLessThanOrEqual(4);
    for (const { constants, inputs } of made) {
      expect([...constants!.values()].map(({ type }) => type.shape).sort()).toEqual([
        [12],
        [12, 160],
        [160],
        [160, 24],
      ]);
      expect(inputs.length).toBe(1);
    }
  });

  test("sees each new value of a weight, in the order of the calls, without a wait", async () => {
    const loaded = watching();
    const model = network(2);
    const first = model.parameters()[0]!;
    const optimizer = sgd(model, { learningRate: 0.1 });
    const x = normal(8, 24) as Tensor<[number, 24]>;
    const packed = compile(() => model(x), constant);
    const plain = compile(() => model(x));
    const step = compile(() => {
      const loss = model(x).square().mean();
      optimizer.minimize(loss);
      return loss;
    });
    const pairs: [Tensor, Tensor][] = [];
    const look = (): void => void pairs.push([packed(), plain()]);
    look();
    look();
    step();
    look();
    step();
    step();
    look();
    look();
    first.write(new Float32Array(first.shape.reduce((a, b) => a * b)).fill(0.01));
    look();
    for (const [a, b] of pairs) await expectClose(a, b);
    const values = await Promise.all(pairs.map(async ([a]) => (await a.data())[0]!));
    expect(new Set(values).size).toBe(4);
    expect(withConstants(loaded).length).toBe(4);
    // The sessions of old values are released.
    expect(loaded.alive).toBe(loaded.programs.length - 3);
  });

  test("has weights of its own, also if another function has the same graph", async () => {
    const loaded = watching();
    const x = normal(4, 24) as Tensor<[number, 24]>;
    const models = [network(3), network(5)];
    const functions = models.map((model) => compile(() => model(x), constant));
    for (let i = 0; i < 3; i++) for (const [n, model] of models.entries()) await expectClose(functions[n]!(), model(x));
    expect(withConstants(loaded).length).toBe(2);
  });

  test("leaves variables that it assigns, and whole numbers, as they are", async () => {
    const loaded = watching();
    const weight = new State({ shape: [3], dtype: "float32" }, Float32Array.of(1, 2, 3));
    const sum = new State({ shape: [3], dtype: "float32" }, new Float32Array(3));
    const count = new State({ shape: [], dtype: "int32" }, Int32Array.of(5));
    const add = compile(() => {
      sum.assign(sum.add(weight).add(count.cast("float32")));
      return sum;
    }, constant);
    for (let i = 0; i < 3; i++) add();
    expect(await sum.array()).toEqual([18, 21, 24]);
    const [program] = withConstants(loaded);
    expect([...program!.constants!.values()].map((buffer: EngineBuffer) => buffer.type.shape)).toEqual([[3]]);
  });

  test("tells of an index out of range, and goes on", async () => {
    watching();
    const table = new State({ shape: [3, 2], dtype: "float32" }, Float32Array.of(1, 2, 3, 4, 5, 6));
    const f = compile((ids: Tensor<[1], "int32">) => table.take(ids.add(1)), constant);
    await expect(f(tensor([7], "int32")).array()).rejects.toThrow(/8/);
    expect(await f(tensor([1], "int32")).array()).toEqual([[5, 6]]);
  });

  test("makes its session again when the first attempt has failed", async () => {
    let attempts = 0;
    useEngine({
      ...native,
      target: native.target,
      load(program) {
        if (program.constants && attempts++ === 0) throw new Error("no memory");
        return native.load(program);
      },
    });
    const weight = new State({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2));
    const f = compile((x: Tensor<[2]>) => x.mul(weight), constant);
    await expect(f(tensor([3, 4])).array()).rejects.toThrow(/no memory/);
    expect(await f(tensor([3, 4])).array()).toEqual([3, 8]);
    expect(attempts).toBe(2);
  });

  test.each([
    ["plain", (): Engine => plainEngine()],
    ["binding", (): Engine => nodeEngine({ threads: 1, implementation: "binding" })],
  ])("runs with weights as inputs on the %s engine", async (_, engine) => {
    const loaded = watching(engine());
    const weight = new State({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2));
    const f = compile((x: Tensor<[2]>) => x.mul(weight), constant);
    expect(await f(tensor([3, 4])).array()).toEqual([3, 8]);
    weight.write(Float32Array.of(2, 2));
    expect(await f(tensor([3, 4])).array()).toEqual([6, 8]);
    expect(withConstants(loaded)).toEqual([]);
  });

  test("refuses an option that there is not", () => {
    expect(() => compile(() => tensor(1), { constantWeight: true } as never)).toThrow(ConfigError);
    expect(() => compile(() => tensor(1), { constantWeights: "yes" } as never)).toThrow(/constantWeights/);
    expect(() => compile(3 as never)).toThrow(ConfigError);
  });
});

test("a generation has constant weights, and a training between two generations changes them", async () => {
  const loaded = watching();
  const model = gpt2LMHeadModel({
    vocabSize: 50,
    hiddenSize: 32,
    numHiddenLayers: 2,
    numAttentionHeads: 2,
    maxPositionEmbeddings: 40,
  });
  const options = { prompt: [1, 2, 3], maxNewTokens: 12 };
  const before = await generate(model, options);
  expect(withConstants(loaded).length).toBe(1);
  expect(await generate(model, options)).toEqual(before);
  expect(withConstants(loaded).length).toBe(1);
  const embedding = model.parameters()[0]!;
  // Now the embedding of token 7 is the likeliest result of whatever comes before.
  const bias = model.parameters().at(-1)!;
  bias.write(Float32Array.from({ length: 32 }, (_, i) => (i === 0 ? 50 : 0)));
  const rows = new Float32Array(50 * 32);
  rows[7 * 32] = 1;
  embedding.write(rows);
  expect((await generate(model, options)).sequences).toEqual([Array(12).fill(7)]);
});
