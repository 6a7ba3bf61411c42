/** Convolutional and pooling layers against PyTorch's; what modules hold. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  avgPool1d,
  avgPool2d,
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  decodeWeights,
  encodeWeights,
  flatten,
  fromValues,
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
  relu,
  sequential,
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
