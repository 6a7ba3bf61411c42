/** Convolutional and pooling layers against PyTorch's; what modules hold. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  adamW,
  avgPool1d,
  avgPool2d,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  decodeWeights,
  embedding,
  encodeWeights,
  flatten,
  fromValues,
  functional,
  gradients,
  init,
  linear,
  type Module,
  maxout,
  maxPool1d,
  maxPool2d,
  module,
  nodeEngine,
  parameter,
  plainEngine,
  randomGenerator,
  relu,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/node.ts";

interface Case {
  readonly name: string;
  readonly arguments: readonly unknown[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly state: Readonly<Record<string, number[]>>;
  readonly x: number[];
  readonly xShape: number[];
  readonly y: number[];
  readonly yShape: number[];
}

const cases = JSON.parse(readFileSync(new URL("../fixtures/layers.json", import.meta.url), "utf8")) as readonly Case[];
const layers = { avgPool1d, avgPool2d, conv1d, conv2d, convTranspose1d, convTranspose2d, maxPool1d, maxPool2d };
type Make = (...args: unknown[]) => Module & ((x: Tensor) => Tensor);

describe.each([plainEngine(), nodeEngine()])("layers on $name", (engine) => {
  test.each(cases.map((each) => [`${each.name} ${JSON.stringify(each.options)}`, each] as const))(
    "%s gives what PyTorch's gives",
    async (_, { name, arguments: args, options, state, x, xShape, y, yShape }) => {
      useEngine(engine);
      const layer = (layers[name as keyof typeof layers] as unknown as Make)(...args, options);
      const states = layer.namedStates();
      expect([...states.keys()]).toEqual(Object.keys(state));
      for (const [path, values] of Object.entries(state)) states.get(path)!.write(Float32Array.from(values));
      const result = layer(fromValues(Float32Array.from(x), xShape) as Tensor);
      expect(result.shape).toEqual(yShape);
      const values = await result.data();
      values.forEach((value, i) => void expect(value).toBeCloseTo(y[i]!, 5));
    },
  );
});

describe.each([plainEngine(), nodeEngine()])("an embedding with paddingIdx on $name", (engine) => {
  const ids = tensor(
    [
      [3, 1, 2],
      [1, 1, 0],
    ],
    "int32",
  );
  /** The gradient of Σ w·y for the rows of a table of 4, added up by hand. */
  const slopes = (w: readonly number[][][], paddingIdx: number | undefined): number[][] => {
    const rows = [0, 1, 2, 3].map(() => [0, 0]);
    for (const [i, row] of [
      [3, 1, 2],
      [1, 1, 0],
    ].entries())
      for (const [k, id] of row.entries())
        if (id !== paddingIdx) for (const c of [0, 1]) rows[id]![c]! += w[i]![k]![c]!;
    return rows;
  };
  const w = [0, 1].map((i) => [0, 1, 2].map((k) => [i + 2 * k + 1, 3 * i - k - 0.5]));

  test.each([0, 1, 3])("%d: its vector begins as zeros and gets no gradient; all others are as without", async (at) => {
    useEngine(engine);
    const layer = embedding(4, 2, { paddingIdx: at, generator: randomGenerator(1) });
    const plain = embedding(4, 2, { generator: randomGenerator(1) });
    const wanted = (await plain.weight.array()).map((row, i) => (i === at ? [0, 0] : row));
    expect(await layer.weight.array()).toEqual(wanted);
    const rows = await layer(ids).array();
    expect(rows.flat()).toEqual((await ids.array()).flat().map((id) => wanted[id]));
    for (const [table, paddingIdx] of [[layer, at] as const, [plain, undefined] as const]) {
      const [slope] = gradients(table(ids).mul(tensor(w)).sum(), [table.weight]);
      expect(await slope.array()).toEqual(slopes(w, paddingIdx));
    }
    // A product of two: the other factor's gradient is that of the product.
    const factor = tensor(w);
    const [ofFactor] = gradients(layer(ids).mul(factor).sum(), [factor]);
    expect(await ofFactor.array()).toEqual(rows);
  });

  test("training leaves the zeros, weight decay and momentum included", async () => {
    useEngine(engine);
    for (const optimizerOf of [
      (of: Module) => adamW(of, { learningRate: 0.1, weightDecay: 0.1 }),
      (of: Module) => sgd(of, { learningRate: 0.1, momentum: 0.9, weightDecay: 0.1 }),
    ]) {
      const layer = embedding(4, 2, { paddingIdx: 1 });
      const before = await layer.weight.array();
      const optimizer = optimizerOf(layer);
      for (let i = 0; i < 3; i++) optimizer.minimize(layer(ids).add(1).square().mul(tensor(w)).sum());
      const after = await layer.weight.array();
      expect(after[1]).toEqual([0, 0]);
      for (const row of [0, 2, 3]) expect(after[row]).not.toEqual(before[row]);
    }
  });

  test("what is written into the row stays, and passes through; another use of the table has its gradient", async () => {
    useEngine(engine);
    const layer = embedding(4, 2, { paddingIdx: 1 });
    layer.weight.write(Float32Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
    expect(await layer(tensor([1, 0], "int32")).array()).toEqual([
      [3, 4],
      [1, 2],
    ]);
    const output = functional.linear(layer(tensor([1], "int32")), layer.weight);
    const [slope] = gradients(output.sum(), [layer.weight]);
    // Only the output's product: each row gets the vector that came in.
    expect(await slope.array()).toEqual([0, 1, 2, 3].map(() => [3, 4]));
  });

  test("as a function, of float64 and of any shape of ids; NaN of padding reaches nothing", async () => {
    useEngine(engine);
    const table = tensor(
      [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      "float64",
    );
    const [slope] = gradients(functional.embedding(table, tensor(2, "int32"), { paddingIdx: 2 }).sum(), [table]);
    expect(await slope.array()).toEqual([
      [0, 0],
      [0, 0],
      [0, 0],
    ]);
    const rows = functional.embedding(table, tensor([[[0, 2]]], "int32"), { paddingIdx: 2 });
    const [logs] = gradients(rows.sub(5).log().sum(), [table]); //  of 5 − 5 the slope is infinite, of 1 − 5 the logarithm NaN
    expect((await logs.array())[2]).toEqual([0, 0]);
    const second = (x: Tensor<[3, 2], "float64">) =>
      gradients(
        functional
          .embedding(x, tensor([0, 2], "int32"), { paddingIdx: 2 })
          .square()
          .sum(),
        [x],
      )[0];
    const [curve] = gradients(second(table).sum(), [table]);
    expect(await curve.array()).toEqual([
      [2, 2],
      [0, 0],
      [0, 0],
    ]);
  });
});

test("an embedding's initializer may give values of the caller's own; a paddingIdx that is no id is refused", async () => {
  const own = Float32Array.from([1, 2, 3, 4]);
  const layer = embedding(2, 2, { weight: () => own, paddingIdx: 0 });
  expect(await layer.weight.array()).toEqual([
    [0, 0],
    [3, 4],
  ]);
  expect([...own]).toEqual([1, 2, 3, 4]);
  for (const paddingIdx of [-1, 4])
    expect(() => embedding(4, 2, { paddingIdx })).toThrow(
      `embedding: paddingIdx is ${paddingIdx}, and the table has 4 rows\n  fix: give the id of padding, from 0 to 3`,
    );
  expect(() => functional.embedding(zeros([4, 2]), tensor([1], "int32"), { paddingIdx: 4 })).toThrow(
    /embed: paddingIdx is 4, and the table has 4 rows/,
  );
  expect(() => embedding(4, 2, { paddingIdx: 0.5 })).toThrow(/paddingIdx.* is 0\.5/);
  expect(() => embedding(4, 2, { padding_idx: 1 } as never)).toThrow(/did you mean paddingIdx\?/);
  expect(() => functional.embedding(zeros([4, 2]), tensor([1], "int32"), 3 as never)).toThrow(/is 3/);
});

test("the layers of the table are all that there are", () => {
  expect([...new Set(cases.map(({ name }) => name))].sort()).toEqual(Object.keys(layers).sort());
});

test("a layer without a bias has none, in files neither", async () => {
  const model = sequential(
    conv2d(1, 4, 3, { padding: "same", bias: false }),
    relu,
    maxPool2d(2),
    flatten,
    linear(64, 3, { bias: false }),
  );
  expect([...model.namedStates().keys()]).toEqual(["0.weight", "4.weight"]);
  expect(linear(2, 3, { bias: false }).bias).toBeUndefined();
  expect([...maxout(2, 3, { bias: false }).namedStates().keys()]).toEqual(["weight"]);
  expect(model(zeros([5, 1, 8, 8])).shape).toEqual([5, 3]);
  const bytes = await encodeWeights(model);
  decodeWeights(model, bytes);
});

test("lists and records of modules and variables, inside each other, are found by path", async () => {
  const heads = { word: linear(2, 3), label: [linear(2, 1), linear(2, 1)] };
  const scales = { first: parameter([2], init.ones) };
  const model = module(
    "Tagger",
    { heads, scales, blocks: [[linear(2, 2)], [linear(2, 2, { bias: false })]] },
    (x: Tensor) => heads.word(x.mul(scales.first)),
  );
  // A module's own variables come before those of its modules, as in a state_dict.
  expect([...model.namedStates().keys()]).toEqual([
    "scales.first",
    "heads.word.weight",
    "heads.word.bias",
    "heads.label.0.weight",
    "heads.label.0.bias",
    "heads.label.1.weight",
    "heads.label.1.bias",
    "blocks.0.0.weight",
    "blocks.0.0.bias",
    "blocks.1.0.weight",
  ]);
  expect(scales.first.label).toBe("scales.first");
  expect(model.summary()).toContain("heads.label.1.weight");
  model.eval();
  expect(model.heads.word.training).toBe(false);
  expect(() => model(tensor([[1, 2, 3]]) as Tensor)).toThrow(/\[1, 3\] and \[2\] do not broadcast/);
});

test.each([
  [{ size: 3 }, 'the child "size" is not a variable'],
  [{ sizes: { width: 3 } }, 'the child "sizes.width" is not a variable'],
  [{ heads: { "a.b": linear(1, 1) } }, 'a child is called "heads.a.b"'],
  [{ when: new Date() }, 'the child "when" is not a variable'],
  [{ nothing: undefined }, 'the child "nothing" is not a variable'],
])("what a module cannot hold is named: %s", (children, message) => {
  expect(() => module("Odd", children as never, () => 0)).toThrow(message);
});
