/** The same bits: run after run, compiled or evaluated, and for most functions on any number of threads. */
import { expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  compile,
  crossEntropy,
  dropout,
  fromValues,
  layerNorm,
  linear,
  seed,
  sequential,
  softplus,
  type Tensor,
  useEngine,
} from "../../src/index.ts";

type Vector = Tensor<[number], "float32">;

/** Not a multiple of any vector's length, and enough to be cut into parts. */
const count = 100_003;
const values = Float32Array.from({ length: count }, (_, i) => 0.01 + ((i * 7919) % count) / 25_000);

const functions: Readonly<Record<string, (x: Vector) => Tensor>> = {
  exp: (x) => x.exp(),
  erf: (x) => x.erf(),
  tanh: (x) => x.tanh(),
  sigmoid: (x) => x.sigmoid(),
  elu: (x) => x.elu(),
  sqrt: (x) => x.sqrt(),
  sin: (x) => x.sin(),
  cos: (x) => x.cos(),
  reciprocal: (x) => x.reciprocal(),
  softmax: (x) => x.softmax(),
  log: (x) => x.log(),
  softplus: (x) => softplus(x),
};

/** ONNX Runtime's logarithm takes the last elements of each part one by one, in another way than eight at once. */
const dependOnThreads = ["log", "softplus"];

const engines = [1, 2].map((threads) => nodeEngine({ threads }));

const bitsOf = (array: ArrayLike<number>): Uint32Array => new Uint32Array(Float32Array.from(array).buffer);

async function compiled(engine: Engine, f: (x: Vector) => Tensor): Promise<Uint32Array> {
  useEngine(engine);
  return bitsOf(await compile((x: Vector) => f(x))(fromValues(values, [count])).data());
}

test.each(Object.keys(functions))("%s has the same bits compiled and evaluated", async (name) => {
  const f = functions[name]!;
  for (const engine of engines) {
    const once = await compiled(engine, f);
    const again = bitsOf(await f(fromValues(values, [count])).data());
    expect(again.findIndex((bits, i) => bits !== once[i])).toBe(-1);
  }
});

const independent = Object.keys(functions).filter((name) => !dependOnThreads.includes(name));

test.each(independent)("%s has the same bits on one thread and on two", async (name) => {
  const [one, two] = [await compiled(engines[0]!, functions[name]!), await compiled(engines[1]!, functions[name]!)];
  expect(two.findIndex((bits, i) => bits !== one[i])).toBe(-1);
});

test.each([0, 1])("a training has the same bits each time, engine %d", async (which) => {
  const train = async (): Promise<number[]> => {
    useEngine(engines[which]!);
    seed(3);
    const model = sequential(linear(20, 64), layerNorm(64), (x) => x.gelu(), dropout(0.2), linear(64, 10));
    const optimizer = adam(model);
    const x = fromValues(values.slice(0, 50 * 20), [50, 20]);
    const labels = fromValues(
      Int32Array.from({ length: 50 }, (_, i) => i % 10),
      [50],
    );
    const step = compile(() => {
      const loss = crossEntropy(model(x), labels);
      optimizer.minimize(loss);
      return loss;
    });
    const losses: number[] = [];
    for (let i = 0; i < 30; i++) losses.push(await step().item());
    return losses;
  };
  const first = await train();
  for (let i = 0; i < 3; i++) expect(await train()).toEqual(first);
});
