/** Open axes: from the second size on one session serves them all, with the very numbers that a session for each size gives. */
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  compile,
  crossEntropy,
  type DType,
  fromValues,
  layerNorm,
  linear,
  plainEngine,
  relu,
  type Shape,
  scan,
  sequential,
  stack,
  type Tensor,
  tensor,
  transformer,
  transformerEncoder,
  useEngine,
} from "../../src/index.ts";
import { State } from "../../src/tensor/state.ts";
import { bothWays, type Program } from "../support/sizes.ts";

type Any = Tensor<Shape, "float32">;

/** What does not depend on anything else. */
const wave = (shape: readonly number[], phase: number = 0): Any =>
  fromValues(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.37 + phase)),
    shape as Shape,
  ) as Any;

const numbers = async (x: Tensor<Shape, DType>): Promise<number[]> => Array.from(await x.data(), Number);

const sizes = [33, 7, 2, 64, 65, 97, 128, 129, 31, 250, 256, 257, 300, 1, 513, 17, 400];

let engines: Readonly<Record<string, Engine>>;
beforeAll(() => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  engines = {
    kernels: nodeEngine({ threads: 1 }),
    "no kernels": nodeEngine({ threads: 1, kernels: false }),
    binding: nodeEngine({ threads: 1, implementation: "binding" }),
  };
});
afterEach(() => useEngine(plainEngine()));

const programs: Readonly<Record<string, Program>> = {
  "elementwise ops, rows and columns": () => {
    const f = compile((x: Any) => {
      const scale = x.mean(1, { keepDims: true });
      return x
        .mul(3)
        .sub(x.tanh())
        .mul(scale)
        .add(x.sigmoid())
        .mul(wave([5]));
    });
    return (n) => numbers(f(wave([n, 5])));
  },
  "sums along every axis": () => {
    const f = compile((x: Any) => [x.sum(0), x.sum(1), x.sum(2), x.sum([0, 2]), x.mean(), x.square().sum()]);
    return async (n) => (await Promise.all(f(wave([n, 6, 20])).map((y) => numbers(y)))).flat();
  },
  "sums of a last axis": () => {
    const f = compile((x: Any) => [x.sum(1), x.mean(), x.softmax(), x.variance(1)]);
    return async (n) => (await Promise.all(f(wave([3, n])).map((y) => numbers(y)))).flat();
  },
  "lengths of rows, of columns and of all": () => {
    const f = compile((x: Any) => [x.norm(1), x.norm(0), x.norm(), x.mT().norm(1)]);
    return async (n) => (await Promise.all(f(wave([n, 9])).map((y) => numbers(y as Any)))).flat();
  },
  "sizes that the function looks at": () => {
    const f = compile((x: Any) => {
      const n = x.shape[0]!;
      const half = Math.ceil(n / 2);
      const y = n > 200 ? x.mul(2) : x.neg();
      return y
        .slice([0, half])
        .sum(0)
        .mul(1 / n)
        .add(
          x
            .reshape([-1])
            .slice([n - 1])
            .sum(),
        )
        .add(half);
    });
    return (n) => numbers(f(wave([n, 3])));
  },
  "a loop whose body sums over rows and multiplies": () => {
    const weight = wave([4, 4], 1);
    const f = compile((x: Any) => {
      const { state, outputs } = scan(
        (h: Any, part: Any) => {
          const next = h
            .matmul(weight as never)
            .add(part as never)
            .tanh() as Any;
          return [next, [next.sum(0) as Any, next.mT().matmul(part as never) as Any] as const] as const;
        },
        { init: x.mul(0) as Any, xs: stack([x, x.neg(), x.mul(2)], 0) as Any },
      );
      return [state, outputs[0], outputs[1]] as const;
    });
    return async (n) => {
      const [state, sums, products] = f(wave([n, 4]));
      return (await Promise.all([state, sums, products].map((y) => numbers(y)))).flat();
    };
  },
  "greedy writing by a Transformer": () => {
    const model = transformer({
      vocabularySize: 9,
      startToken: 1,
      width: 8,
      heads: 2,
      layers: 1,
      longest: 12,
      dropout: 0,
    });
    model.eval();
    const f = compile((source: Tensor<[number, number], "int32">) => model.greedy(source, 5));
    const source = (n: number) =>
      fromValues(
        Int32Array.from({ length: n * 7 }, (_, i) => 3 + ((i * 5) % 6)),
        [n, 7],
      ) as Tensor<[number, number], "int32">;
    return (n) => numbers(f(source(n)) as never);
  },
  "an encoder that learns": () => {
    const model = transformerEncoder(8, 2, { layers: 1, feedForwardSize: 16, dropout: 0 });
    const optimizer = adam(model, { learningRate: 0.01 });
    const step = compile((x: Any) => {
      const loss = (model(x as never) as Any).square().mean();
      optimizer.minimize(loss as never);
      return loss;
    });
    return (n) => numbers(step(wave([n, 5, 8])));
  },
  "a perceptron that learns": () => {
    const model = sequential(linear(20, 32), relu, linear(32, 10));
    const optimizer = adam(model, { learningRate: 0.01 });
    const step = compile((x: Any, y: Tensor<Shape, "int32">) => {
      const loss = crossEntropy(model(x) as never, y as never);
      optimizer.minimize(loss);
      return loss;
    });
    return (n) =>
      numbers(
        step(
          wave([n, 20]),
          fromValues(
            Int32Array.from({ length: n }, (_, i) => i % 10),
            [n],
          ) as never,
        ),
      );
  },
  "a normalised layer, squared errors": () => {
    const model = sequential(linear(8, 24), layerNorm(24), relu, linear(24, 1));
    const optimizer = adam(model, { learningRate: 0.01 });
    const step = compile((x: Any, y: Any) => {
      const loss = (model(x) as Any).sub(y).square().mean();
      optimizer.minimize(loss as never);
      return loss;
    });
    return (n) => numbers(step(wave([n, 8]), wave([n, 1], 1)));
  },
};

describe.each(["kernels", "no kernels", "binding"])("with the engine: %s", (name) => {
  test.each(Object.keys(programs))("%s: the bits of a session for each size, from few sessions", async (program) => {
    const { open, closed } = await bothWays(programs[program]!, sizes, engines[name]!);

    expect(closed).toBe(sizes.length);
    // That function looks at its sizes, and computes two different graphs.
    expect(open).toBeLessThanOrEqual(program === "sizes that the function looks at" ? 5 : 3);
  });
});

test("sizes around those from which products of the engine's own pay: three sessions at most", async () => {
  const program: Program = () => {
    const model = sequential(linear(300, 256), relu, linear(256, 128), relu, linear(128, 10));
    const optimizer = adam(model, { learningRate: 0.01 });
    const step = compile((x: Any) => {
      const loss = (model(x as never) as Any).square().mean();
      optimizer.minimize(loss as never);
      return loss;
    });
    return (n) => numbers(step(wave([n, 300])));
  };
  const { open, closed } = await bothWays(program, [37, 195, 283, 64, 399, 255, 256, 100], engines.kernels!);
  expect(closed).toBe(8);
  expect(open).toBeLessThanOrEqual(3);
});

test("numbers as arguments: a hand-written update with a rate, a momentum and a step", async () => {
  const program: Program = () => {
    const w = new State(
      { shape: [4, 3], dtype: "float32" },
      Float32Array.from({ length: 12 }, (_, i) => i / 7),
    );
    const v = new State({ shape: [4, 3], dtype: "float32" }, new Float32Array(12));
    const step = compile((x: Any, rate: number) => {
      const error = x.matmul(w).sub(1);
      const slope = (x as Any)
        .mT()
        .matmul(error)
        .mul(2 / x.shape[0]!) as Tensor<[4, 3], "float32">;
      const next = v.mul(1 - rate).add(slope);
      v.assign(next);
      w.assign(w.sub(next.mul(rate)));
      return error.square().mean();
    });
    return (n, rate) => numbers(step(wave([n, 4]), rate!));
  };
  const rates = Array.from({ length: 40 }, (_, i) => 0.1 / (i + 1));
  const { open, closed } = await bothWays(program, Array<number>(40).fill(16), engines.kernels!, { given: rates });
  expect(closed).toBe(40);
  expect(open).toBeLessThanOrEqual(3);
  await bothWays(program, [8, 9, 10, 11, 12, 13], engines.kernels!, { given: rates });
});

test("what depends on more than sizes is another session, never another number", async () => {
  const program: Program = () => {
    const f = compile((x: Any, power: number) => {
      let y = x;
      for (let i = 1; i < power; i++) y = y.mul(x);
      return power > 3 ? y.sum() : y.mean();
    });
    return (n, power) => numbers(f(wave([n, 2]), power!));
  };
  const given = [1, 2, 3, 4, 5, 2, 3, 4];
  await bothWays(program, [5, 6, 7, 8, 9, 10, 11, 12, 13, 5, 6], engines.kernels!, { given });
});

test("an error of a run says what it says for a session of its own", async () => {
  useEngine(engines.kernels!);
  const table = wave([4, 2]);
  const f = compile((at: Tensor<Shape, "int32">) => table.take(at as never, 0).sum());
  for (const n of [2, 3, 5, 9])
    await f(
      tensor(
        Array.from({ length: n }, (_, i) => i % 4),
        "int32",
      ) as never,
    ).data();
  const bad = tensor([0, 1, 2, 3, 4, 0, 0], "int32");
  await expect((async () => f(bad as never).data())()).rejects.toThrow("index 4 at position 4");
});

test("a loss that is not finite is explained though the graph of a trace is not kept, and nothing changes", async () => {
  useEngine(engines.kernels!);
  const model = linear(3, 2);
  const optimizer = adam(model, { learningRate: 0.1 });
  const step = compile((x: Any) => {
    const loss = (model(x as never) as Any).log().mean();
    optimizer.minimize(loss as never);
    return loss;
  });
  const bad = wave([6, 3]);
  const before = await numbers(model.weight);
  for (const n of [2, 3, 4, 5, 6]) {
    const run = step(n === 6 ? bad : wave([n, 3]));
    await expect(run.data()).rejects.toThrow("the loss is NaN");
  }
  expect(await numbers(model.weight)).toEqual(before);
});
