/** Activations as functions, as layers, and as what is said of them: formula, derivative and curve. */
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  activationCurve,
  activations,
  compile,
  elu,
  geglu,
  gelu,
  glu,
  gradients,
  leakyRelu,
  linear,
  sigmoid as logistic,
  maxout,
  meanSquaredError,
  mish,
  plainEngine,
  prelu,
  reglu,
  relu,
  type Shape,
  seed,
  selu,
  sequential,
  sgd,
  silu,
  softplus,
  swiglu,
  type Tensor,
  tanh,
  tensor,
  useEngine,
} from "../../src/index.ts";

beforeEach(() => useEngine(plainEngine()));

type Name = keyof typeof activations;
const names = Object.keys(activations) as Name[];

/** Between the kinks, which are at whole numbers and at ½. */
const range = { from: -3.9, to: 3.9, points: 26 };

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const density = (x: number): number => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI);
/** ½ and the density's integral from 0, by Simpson's rule. */
function distribution(x: number): number {
  const n = 400;
  let sum = density(0) + density(x);
  for (let i = 1; i < n; i++) sum += (i % 2 === 1 ? 4 : 2) * density((x * i) / n);
  return 0.5 + (sum * x) / (3 * n);
}

/** A formula in mathematical notation as a function of x and its letters. */
function read(formula: string, letters: Readonly<Record<string, number>> = {}): (x: number) => number {
  const plain = (text: string): string => text.replaceAll("₁", "1").replaceAll("₂", "2");
  const translate = (text: string): string => {
    const [, value, condition, rest] = /^(.+?) for (.+?), else (.+)$/.exec(text) ?? [];
    if (value) return `((${translate(condition!)}) ? (${translate(value)}) : (${translate(rest!)}))`;
    return text
      .replaceAll("e⁻²ˣ", "exp(-2 * x)")
      .replaceAll("e⁻ˣ", "exp(-x)")
      .replaceAll("eˣ", "exp(x)")
      .replaceAll("tanh²", "tanh2")
      .replaceAll("²", "**2")
      .replaceAll("|x|", "abs(x)")
      .replaceAll("·", "*")
      .replaceAll("−", "-")
      .replaceAll("½", "0.5")
      .replaceAll(/\bln\b/g, "log");
  };
  const known = {
    ...Object.fromEntries(Object.entries(letters).map(([letter, value]) => [plain(letter), value])),
    σ: sigmoid,
    Φ: distribution,
    φ: density,
    tanh: Math.tanh,
    tanh2: (x: number) => Math.tanh(x) ** 2,
    exp: Math.exp,
    log: Math.log,
    abs: Math.abs,
    max: Math.max,
    min: Math.min,
  };
  const f = new Function(...Object.keys(known), "x", `return ${plain(translate(formula))}`);
  return (x) => f(...Object.values(known), x);
}

test("all activations of the notes and of practice are described", () => {
  expect(names.join(" ")).toBe(
    "sigmoid tanh relu leakyRelu prelu elu selu gelu silu mish softplus softsign hardTanh hardSigmoid hardSwish maxout glu reglu geglu swiglu",
  );
});

describe.each(names)("%s", (name) => {
  const { formula, derivative, letters, apply } = activations[name];

  test("is its formula, and its slope its derivative, as they are written", async () => {
    const { x, y, slope } = await activationCurve(name, range);
    const [f, g] = [read(formula, letters), read(derivative, letters)];
    // SELU's constants are written to four decimals.
    const tolerance = name === "selu" ? 2e-4 : 3e-6;
    expect(x).toHaveLength(26);
    x.forEach((at, i) => {
      expect(Math.abs(y[i]! - f(at)), `${formula} at ${at}`).toBeLessThan(tolerance * Math.max(1, Math.abs(f(at))));
      expect(Math.abs(slope[i]! - g(at)), `${derivative} at ${at}`).toBeLessThan(
        tolerance * Math.max(1, Math.abs(g(at))),
      );
    });
  });

  test("has the slope of its curve", async () => {
    const { x, slope } = await activationCurve(name, range);
    const step = 1e-2;
    const [up, down] = await Promise.all(
      [step, -step].map(async (by) => (await activationCurve((each) => apply(each.add(by)), range)).y),
    );
    slope.forEach((value, i) =>
      expect(Math.abs(value - (up![i]! - down![i]!) / (2 * step)), `at ${x[i]}`).toBeLessThan(1e-3),
    );
  });
});

test("a formula that is wrong would be noticed", () => {
  expect(read("x for x > 0, else a·x", { a: 0.25 })(-2)).toBe(-0.5);
  expect(read("0 for x < −3, else 1 for x > 3, else x/3 + ½")(0)).toBe(0.5);
  expect(read("1 − tanh²(x)")(0.5)).toBeCloseTo(1 - Math.tanh(0.5) ** 2, 12);
  expect(read("Φ(x)")(1.96)).toBeCloseTo(0.9750021, 7);
  expect(() => read("x·y")(1)).toThrow("y is not defined");
});

test("a curve of a function of one's own; a name that is none", async () => {
  const { y, slope } = await activationCurve((x) => x.square(), { from: 0, to: 2, points: 3 });
  expect([y, slope]).toEqual([
    [0, 1, 4],
    [0, 2, 4],
  ]);
  await expect(activationCurve("sine" as never)).rejects.toThrow("activationCurve: there is no sine");
});

test("each that has no parameters stands between layers under its name, with the method's values", async () => {
  const x = tensor([-2, -0.5, 0, 0.5, 3]);
  const free = { relu, tanh, sigmoid: logistic, gelu, silu, elu, selu, leakyRelu, mish, softplus };
  for (const [name, f] of Object.entries(free))
    expect(await f(x).data(), name).toEqual(await activations[name as Name].apply(x as Tensor).data());
});

describe("gated units", () => {
  const x = tensor([
    [2, -3, 0.5, -1],
    [1, 4, -2, 3],
  ]);
  const f = {
    glu: sigmoid,
    reglu: (g: number) => Math.max(0, g),
    geglu: (g: number) => g * distribution(g),
    swiglu: (g: number) => g * sigmoid(g),
  };

  test.each(Object.entries({ glu, reglu, geglu, swiglu }))(
    "%s lets the first half of the last axis through the gate of the second",
    async (name, unit) => {
      const gate = f[name as keyof typeof f];
      const rows = [
        [2 * gate(0.5), -3 * gate(-1)],
        [1 * gate(-2), 4 * gate(3)],
      ];
      expect(await unit(x).array()).toEqual(rows.map((row) => row.map((value) => expect.closeTo(value, 5))));
      expect(() => unit(tensor([1, 2, 3]))).toThrow(`${name}: float32[3] has no two halves along axis -1`);
    },
  );

  test("stand between layers, which learn through them", async () => {
    useEngine(nodeEngine({ threads: 1 }));
    seed(1);
    const model = sequential(linear(2, 16), swiglu, linear(8, 1));
    const optimizer = sgd(model, { learningRate: 0.1, momentum: 0.9 });
    const [inputs, wanted] = [
      tensor([
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ]),
      tensor([[0], [1], [1], [0]]),
    ];
    const step = compile(() => {
      const loss = meanSquaredError(model(inputs), wanted);
      optimizer.minimize(loss);
      return loss;
    });
    for (let i = 0; i < 200; i++) await step().item();
    expect(await step().item()).toBeLessThan(1e-3);
  });
});

test("maxout is the largest of its pieces, over all leading axes, and does not saturate", async () => {
  const layer = maxout(2, 1, { pieces: 3 });
  layer.weight.write(Float32Array.of(1, 0, 0, 1, -1, -1));
  layer.bias.write(Float32Array.of(0, 0, 0.5));
  const x = tensor([
    [3, 1],
    [1, 4],
    [-2, -3],
  ]);
  expect(await layer(x).array()).toEqual([[3], [4], [5.5]]);
  expect(await layer(x.reshape([3, 1, 2])).array()).toEqual([[[3]], [[4]], [[5.5]]]);
  const [slope] = gradients((layer(x) as Tensor).sum(), [layer.weight as Tensor]);
  expect(await slope!.array()).toEqual([
    [3, 1],
    [1, 4],
    [-2, -3],
  ]);
  expect(
    maxout(4, 3)
      .parameters()
      .map(({ size }) => size),
  ).toEqual([24, 6]);
  expect(() => maxout(2, 1, { pieces: 0 })).toThrow("maxout: the sizes are 2, 1, 0");
});

describe("prelu", () => {
  test("learns one slope for all", async () => {
    const rectifier = prelu();
    const x = tensor([-2, 3]);
    expect(await rectifier(x).array()).toEqual([-0.5, 3]);
    const [slope] = gradients((rectifier(x) as Tensor).sum(), [rectifier.weight as Tensor]);
    expect(await slope!.array()).toEqual([-2]);
    expect([...rectifier.namedStates().keys()]).toEqual(["weight"]);
  });

  test("or one for each channel, which is axis 1 as in PyTorch", async () => {
    const rectifier = prelu(2, { start: 0.5 });
    rectifier.weight.write(Float32Array.of(0.5, 0.1));
    expect(await rectifier(tensor([[-2, -10]])).array()).toEqual([[-1, -1]]);
    const image: Tensor<Shape, "float32"> = tensor([
      [
        [
          [-2, 4],
          [6, -8],
          [-4, -4],
        ],
        [
          [-10, 4],
          [6, -20],
          [-30, 0],
        ],
      ],
    ]);
    const values = await rectifier(image).data();
    expect([...values]).toEqual([-1, 4, 6, -4, -2, -2, -1, 4, 6, -2, -3, 0].map((value) => expect.closeTo(value, 5)));
    expect(() => prelu(3)(image)).toThrow("prelu: 3 slopes for x [1, 2, 3, 2]");
    expect(() => prelu(3)(tensor([1, 2, 3]))).toThrow("prelu: 3 slopes for x [3]");
  });
});
