/** What the lens reports, against plain loops over the values. */
import { beforeEach, describe, expect, test } from "vitest";
import type { GraphProgram } from "../../src/compile/program.ts";
import type { Engine, Program } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import type { Values } from "../../src/graph/types.ts";
import {
  batchNorm,
  compile,
  conv2d,
  crossEntropy,
  dropout,
  evaluate,
  fromValues,
  gradients,
  linear,
  loadMnist,
  lstm,
  type Module,
  module,
  observe,
  read,
  relu,
  scan,
  seed,
  sequential,
  sgd,
  sigmoid,
  type Tensor,
  tanh,
  tensor,
  toTensor,
  useEngine,
  zeros,
} from "../../src/node.ts";
import { perceptron } from "../../src/recipes/digits.ts";
import { Parameter } from "../../src/tensor/state.ts";

type Images = Tensor<[number, 784], "float32">;
type Labels = Tensor<[number], "int32">;
type Classifier = Module & ((x: Images) => Tensor<[number, 10], "float32">);

const engine = nodeEngine({ threads: 1 });
beforeEach(() => {
  useEngine(engine);
  seed(1);
});

const sumOf = (values: Values): number => [...values].reduce((sum, value) => sum + value, 0);
const normOf = (values: Values): number => Math.sqrt(sumOf(Float64Array.from(values, (value) => value * value)));
const meanOf = (values: Values): number => sumOf(values) / values.length;

/** Equal to within what float32 sums lose. */
function expectClose(have: number | undefined, want: number, what: string): void {
  if (have === want) return;
  expect(Math.abs(have! - want) / Math.max(1e-3, Math.abs(want)), `${what}: ${have} against ${want}`).toBeLessThan(
    2e-4,
  );
}

/** The share of elements that `isFlat` holds for, and of columns (of the last axis) in which it holds for all. */
function flatShares(values: Values, units: number, isFlat: (y: number) => boolean): [saturated: number, dead: number] {
  const flat = [...values].map(isFlat);
  const dead = Array.from({ length: units }, (_, unit) => flat.every((each, at) => each || at % units !== unit));
  return [flat.filter(Boolean).length / flat.length, dead.filter(Boolean).length / units];
}

const digits = async (count: number): Promise<[Images, Labels]> => {
  const { test: set } = await loadMnist();
  const [images, labels] = [toTensor(set.columns[0]) as Tensor, toTensor(set.columns[1]) as Tensor];
  const both = [images.slice([0, count]), labels.slice([0, count])] as unknown as [Images, Labels];
  await evaluate(...both);
  return both;
};

interface Step {
  readonly path: string;
  readonly apply: (x: never) => Tensor;
  /** What its flat outputs look like, for activations. */
  readonly isFlat?: (y: number) => boolean;
}

/** One observed step of plain gradient descent against the same layers, called one by one, and `gradients`. */
async function expectPlain(model: Classifier, steps: readonly Step[], rate: number): Promise<void> {
  const [x, y] = await digits(48);
  const named = [...model.namedStates()].filter(([, state]) => state instanceof Parameter);
  const weights = named.map(([, state]) => state);
  const before = await Promise.all(weights.map((weight) => weight.data()));

  // By hand, before anything is updated. Running statistics are put back, as the model has them once.
  const states = model.states();
  const kept = await Promise.all(states.map((state) => state.data()));
  const byHand = compile((x: Images, y: Labels) => {
    const outputs: Tensor[] = [];
    for (const { apply } of steps) outputs.push(apply((outputs.at(-1) ?? x) as never));
    const loss = crossEntropy(outputs.at(-1) as Tensor<[number, 10], "float32">, y);
    return { outputs, gradients: gradients(loss, [...outputs, ...weights]) };
  })(x, y);
  const values = await Promise.all(byHand.outputs.map((output) => output.data()));
  const slopes = await Promise.all(byHand.gradients.map((gradient) => gradient.data()));
  states.forEach((state, i) => state.write(kept[i]!));

  const optimizer = sgd(model, { learningRate: rate });
  const step = compile((x: Images, y: Labels) => {
    const seen = observe(model, () => model(x));
    const loss = crossEntropy(seen.result, y);
    optimizer.minimize(loss);
    return seen.report(loss);
  });
  const report = await read(step(x, y));
  expect(Object.keys(report.outputs)).toEqual(steps.map(({ path }) => path));
  expect(Object.keys(report.parameters)).toEqual(named.map(([path]) => path));
  for (const [i, { path, isFlat }] of steps.entries()) {
    const output = report.outputs[path]!;
    const mean = meanOf(values[i]!);
    expectClose(output.norm, normOf(values[i]!), `norm of ${path}`);
    expectClose(output.mean, mean, `mean of ${path}`);
    const deviation = Math.sqrt(meanOf(Float64Array.from(values[i]!, (value) => (value - mean) ** 2)));
    expectClose(output.deviation, deviation, `deviation of ${path}`);
    expectClose(output.gradientNorm, normOf(slopes[i]!), `gradient of ${path}`);
    if (!isFlat) {
      expect(Object.keys(output)).toEqual(["norm", "mean", "deviation", "gradientNorm"]);
      continue;
    }
    const [saturated, dead] = flatShares(values[i]!, byHand.outputs[i]!.shape.at(-1)!, isFlat);
    expectClose(output.saturated, saturated, `saturation of ${path}`);
    expectClose(output.dead, dead, `dead units of ${path}`);
  }
  for (const [i, [path]] of named.entries()) {
    const parameter = report.parameters[path]!;
    const [norm, slope] = [normOf(before[i]!), normOf(slopes[steps.length + i]!)];
    expectClose(parameter.norm, norm, `norm of ${path}`);
    expectClose(parameter.gradientNorm, slope, `gradient of ${path}`);
    expectClose(parameter.updateRatio, (rate * slope) / norm, `update of ${path}`);
  }
}

describe("the numbers are those of plain loops", () => {
  const isZero = (y: number): boolean => y === 0;

  test("of a perceptron on digits", async () => {
    const model = perceptron();
    const children = model.children as unknown as Readonly<Record<string, (x: never) => Tensor>>;
    const steps = ["0", "1", "2", "3", "4"].map((path) =>
      children[path] ? { path, apply: children[path] } : { path, apply: relu as Step["apply"], isFlat: isZero },
    );
    await expectPlain(model, steps, 0.1);
  });

  test.each([true, false])("of a network with batch normalisation, in training: %s", async (training) => {
    const layers = [linear(784, 32), batchNorm(32), linear(32, 16), batchNorm(16), linear(16, 10)] as const;
    const model = sequential(
      layers[0],
      layers[1],
      relu,
      layers[2],
      layers[3],
      tanh,
      layers[4],
    ) as unknown as Classifier;
    for (let i = 0; i < 3; i++) await evaluate(model((await digits(64))[0]), model); //  running statistics of their own
    if (!training) model.eval();
    const atEnds = (y: number): boolean => Math.abs(y) >= 0.99;
    await expectPlain(
      model,
      [
        { path: "0", apply: layers[0] },
        { path: "1", apply: layers[1] as Step["apply"] },
        { path: "2", apply: relu as Step["apply"], isFlat: isZero },
        { path: "3", apply: layers[2] },
        { path: "4", apply: layers[3] as Step["apply"] },
        { path: "5", apply: tanh as Step["apply"], isFlat: atEnds },
        { path: "6", apply: layers[4] },
      ],
      0.1,
    );
  });
});

/** Weights and biases of a layer whose units have these weights for every input, and these biases. */
function fixed(weights: readonly number[], biases: readonly number[]): ReturnType<typeof linear<2, number>> {
  return linear(2, weights.length, {
    weight: () => Float32Array.from(weights.flatMap((weight) => [weight, weight])),
    bias: () => Float32Array.from(biases),
  });
}

const x = tensor([
  [0.1, 0.2],
  [-0.3, 0.1],
  [0.5, -0.4],
  [-0.2, -0.1],
]);

describe("units that no longer learn", () => {
  test("dead relus: two of eight for all examples", async () => {
    const model = sequential(fixed([1, 1, 1, 1, 1, 1, 1, 1], [-9, 9, 9, -9, 9, 9, 9, 0]), relu);
    const { outputs } = await read(observe(model, () => model(x)).report());
    // The last unit is 0 where the inputs' sum is not positive: in two examples of four.
    expect(outputs["1"]).toMatchObject({ dead: 2 / 8, saturated: (2 * 4 + 2) / (8 * 4) });
    expect(outputs["0"]).not.toHaveProperty("dead");
  });

  test("saturated sigmoids: three of five, at either end", async () => {
    const model = sequential(fixed([1, 1, 1, 1, 1], [-9, 9, 0, 20, 1]), sigmoid);
    const { outputs } = await read(observe(model, () => model(x)).report());
    expect(outputs["1"]!.saturated).toBeCloseTo(3 / 5, 6);
    expect(outputs["1"]!.dead).toBeCloseTo(3 / 5, 6);
  });

  test("how near the ends is near can be chosen", async () => {
    const model = sequential(fixed([0, 0, 0], [0, 2, 4]), sigmoid); //  ½, 0.88, 0.98
    const share = async (tolerance: number): Promise<number> =>
      (await read(observe(model, () => model(x), { tolerance }).report())).outputs["1"]!.saturated!;
    expect(await share(0.01)).toBe(0);
    expect(await share(0.03)).toBeCloseTo(1 / 3, 6);
    expect(await share(0.2)).toBeCloseTo(2 / 3, 6);
  });

  test.each([
    ["relu6, above and below", (h: Tensor) => h.relu6(), [-9, 3, 9], 2 / 3],
    ["hardTanh", (h: Tensor) => h.hardTanh(), [-9, 0, 9], 2 / 3],
    ["hardSigmoid", (h: Tensor) => h.hardSigmoid(), [-9, 0, 9], 2 / 3],
    ["elu below", (h: Tensor) => h.elu(), [-9, 0, 9], 1 / 3],
  ] as const)("%s", async (_, activation, biases, share) => {
    const model = sequential(fixed([0.1, 0.1, 0.1], biases), activation as typeof relu);
    const { outputs } = await read(observe(model, () => model(x)).report());
    expect(outputs["1"]!.dead).toBeCloseTo(share, 6);
  });

  test("units lie along the last axis, the channels of images along axis 1, or where one says", async () => {
    const values = Float32Array.from({ length: 2 * 3 * 2 * 2 }, (_, at) => (Math.floor(at / 4) % 3 === 0 ? -1 : 1));
    const model = module("Relu", {}, (h: Tensor) => h.relu());
    const dead = async (shape: readonly number[], unitAxis?: number): Promise<number> => {
      const options = unitAxis === undefined ? {} : { unitAxis };
      return (await read(observe(model, () => model(fromValues(values, shape)), options).report())).outputs["(whole)"]!
        .dead!;
    };
    expect(await dead([2, 3, 2, 2])).toBeCloseTo(1 / 3, 6);
    expect(await dead([2, 3, 4])).toBe(0);
    expect(await dead([2, 3, 4], 1)).toBeCloseTo(1 / 3, 6);
    await expect(dead([2, 3, 4], 3)).rejects.toThrow("observe: axis 3 of a tensor with 3 axes");
  });
});

describe("what is seen", () => {
  const names = (model: Module, call: () => unknown): string[] => [...observe(model, call).outputs.keys()];

  test("activations inside a module, under its path and their own names", () => {
    const block = () => {
      const [up, down] = [linear(2, 3), linear(3, 2)];
      return module("Block", { up, down }, (h: typeof x) =>
        down(up(h).relu() as never)
          .tanh()
          .add(h),
      );
    };
    const [first, second] = [block(), block()];
    const model = module("Two", { first, second }, (h: typeof x) => second(first(h) as never).sigmoid());
    expect(names(model, () => model(x))).toEqual([
      ...["first.up", "first.relu", "first.down", "first.tanh", "first"],
      ...["second.up", "second.relu", "second.down", "second.tanh", "second"],
      "(whole)",
    ]);
  });

  test("parts of a model that is not called as a whole", () => {
    const model = module("Pair", { encoder: sequential(linear(2, 3), relu), decoder: linear(3, 2) }, () => undefined);
    expect(names(model, () => model.decoder(model.encoder(x)).relu())).toEqual([
      "encoder.0",
      "encoder.1",
      "decoder",
      "relu",
    ]);
  });

  test("a module called twice, and one that returns several tensors", () => {
    const shared = linear(2, 2);
    const model = module("Twice", { shared }, (h: typeof x) => {
      const once = shared(h);
      return { once, both: [shared(once), tensor([1], "int32")] };
    });
    expect(names(model, () => model(x))).toEqual(["shared", "shared#2"]);
    const split = module("Split", {}, (h: typeof x) => h.split([1, 1], 1));
    expect(names(split, () => split(x))).toEqual(["(whole)[0]", "(whole)[1]"]);
  });

  test("no activation that is a part of another, and none inside a loop", () => {
    const names_ = (f: (h: Tensor) => unknown): string[] => names(linear(1, 1), () => f(x));
    expect(names_((h) => [h.silu(), h.mish(), h.geluTanh(), h.quickGelu(), h.hardSwish(), h.tanhShrink()])).toEqual([]);
    expect(names_((h) => h.prelu(tensor(0.1)))).toEqual([]);
    expect(
      names_((h) => scan((s: Tensor, row) => [s.add(row).tanh(), s], { init: zeros([2]) as Tensor, xs: h })),
    ).toEqual(["tanh"]);
    expect(names_((h) => [h.tanh(), h.selu(), h.hardTanh(), h.clip(0, 1)])).toEqual(["tanh", "elu", "clip"]);
  });

  test("modules inside of loops, in all steps at once", async () => {
    const head = linear(2, 3);
    const model = module("Decoder", { head }, (xs: Tensor<[4, 5, 2], "float32">) =>
      scan(
        (s: Tensor<[5, 3], "float32">, x) => {
          const next = s.add(head(x)).tanh();
          return [next, next.sum(-1)];
        },
        { init: zeros([5, 3]), xs },
      ),
    );
    const xs = tensor(Array.from({ length: 4 }, (_, t) => Array.from({ length: 5 }, (_, b) => [t / 3 - 0.5, b / 4])));
    const seen = observe(model, () => model(xs as Tensor<[4, 5, 2], "float32">));
    expect([...seen.outputs.keys()]).toEqual(["head", "tanh", "(whole)[state]", "(whole)[outputs]"]);
    expect(seen.outputs.get("head")!.shape).toEqual([4, 5, 3]);
    // The values: what the layer gives outside, and the states step by step.
    const outside = await head(xs as Tensor<[4, 5, 2], "float32">).data();
    const inside = await seen.outputs.get("head")!.data();
    inside.forEach((value, i) => void expect(value).toBeCloseTo(outside[i]!, 6));
    const states = await seen.outputs.get("tanh")!.data();
    expect([...states.slice(-15)]).toEqual([...(await seen.result.state.data())]);
    const { outputs } = await read(seen.report(seen.result.outputs.sum() as Tensor));
    expectClose(outputs.head!.norm, normOf(outside), "head");
    expect(outputs.head).not.toHaveProperty("gradientNorm");
    expect(outputs.tanh!.saturated).toBe([...states].filter((y) => Math.abs(y) >= 0.99).length / 60);
    expect(outputs["(whole)[outputs]"]!.gradientNorm).toBeCloseTo(Math.sqrt(20), 4);
  });

  test("the gates of recurrent layers, also in loops in loops and where a cell draws random numbers", () => {
    const encoder = lstm(2, 3, { layers: 2 });
    const model = module("Tagger", { encoder }, (h: Tensor<[5, 4, 2], "float32">) => encoder(h).outputs);
    const found = observe(model, () => model(zeros([5, 4, 2])));
    expect([...found.outputs.keys()].filter((path) => path.startsWith("encoder.l1"))).toEqual([
      "encoder.l1.forgetGate",
      "encoder.l1.inputGate",
      "encoder.l1.candidate",
      "encoder.l1.outputGate",
      "encoder.l1.memory",
      "encoder.l1",
    ]);
    expect(found.outputs.get("encoder.l1.forgetGate")!.shape).toEqual([4, 5, 3]);
    const drop = dropout(0.5);
    const nested = module("Nested", { drop }, (xs: Tensor<[3, 2], "float32">) =>
      scan(
        (s: Tensor<[2], "float32">, x) => {
          const inner = scan((t: Tensor<[2], "float32">) => [t.add(drop(x)), t.sum()], { init: s, length: 4 });
          return [inner.state, inner.outputs];
        },
        { init: zeros([2]), xs },
      ),
    );
    const twice = observe(nested, () => nested(zeros([3, 2])));
    expect(twice.outputs.get("drop")!.shape).toEqual([3, 4, 2]);
    expect([...twice.outputs.keys()].filter((path) => path.startsWith("drop"))).toEqual(["drop"]);
  });

  test("a loop that is looked into is computed once, and not at all otherwise", async () => {
    const layer = lstm(2, 3);
    const programs: string[] = [];
    const watching: Engine = {
      ...engine,
      load(program: Program) {
        programs.push((program as GraphProgram).text());
        return engine.load(program);
      },
    };
    useEngine(watching);
    const optimizer = sgd(layer, { learningRate: 0.1 });
    const x = fromValues(new Float32Array(40), [5, 4, 2]);
    const step = (look: boolean | undefined) =>
      compile((x: Tensor<[5, 4, 2], "float32">) => {
        const seen = look === undefined ? undefined : observe(layer, () => layer(x));
        const loss = (seen?.result ?? layer(x)).outputs.square().sum() as Tensor;
        optimizer.minimize(loss);
        return { loss, report: look ? seen!.report(loss) : undefined };
      });
    await step(undefined)(x).loss.item();
    await step(false)(x).loss.item();
    const counts = (text: string): string[] => [...text.matchAll(/= (\w+)\(/g)].map(([, name]) => name!).sort();
    const [without, notLooking] = programs as [string, string];
    expect(counts(notLooking)).toEqual(counts(without));
    await step(true)(x).loss.item();
    const scans = (text: string): number => counts(text).filter((name) => name === "scan").length;
    expect([scans(without), scans(programs.at(-1)!)]).toEqual([2, 2]);
    // Only the one with a report hands out what the gates were: more outputs of the loop on the way there.
    expect(programs.at(-1)!.length).toBeGreaterThan(without.length);
  });

  test("dropout that does nothing is the layer before it", () => {
    const model = sequential(linear(2, 3), dropout(0.5));
    expect(names(model, () => model(x))).toEqual(["0", "1"]);
    model.eval();
    expect(names(model, () => model(x))).toEqual(["0"]);
  });

  test("convolutions, by channel", async () => {
    const model = module("Conv", { first: conv2d(1, 4, 3) }, (h: Tensor<[number, 1, number, number], "float32">) =>
      model.first(h).relu(),
    );
    const { outputs } = await read(observe(model, () => model(zeros([2, 1, 5, 5]))).report());
    expect(Object.keys(outputs)).toEqual(["first", "(whole)"]);
    const negative = [...((await model.first.bias!.data()) as Float32Array)].filter((bias) => bias <= 0).length;
    expect(outputs["(whole)"]!.dead).toBeCloseTo(negative / 4, 6);
  });

  test("what the loss does not depend on has a gradient of 0, a frozen parameter no update", async () => {
    const [used, aside] = [linear(2, 2), linear(2, 2)];
    aside.freeze();
    const model = module("Aside", { used, aside }, (h: typeof x) => [used(h), aside(h)] as const);
    const optimizer = sgd(model, { learningRate: 0.1 });
    const report = await read(
      compile((h: typeof x) => {
        const seen = observe(model, () => model(h));
        const loss = seen.result[0].square().mean();
        optimizer.minimize(loss);
        return seen.report(loss);
      })(x),
    );
    expect(report.outputs.aside!.gradientNorm).toBe(0);
    expect(report.parameters["aside.weight"]).toEqual({ norm: expect.any(Number), gradientNorm: 0 });
    expect(report.parameters["used.weight"]!.updateRatio).toBeGreaterThan(0);
  });

  test("errors name the step of a sequence", () => {
    const model = sequential(linear(2, 3), (h: Tensor<number[], "float32">) => h.matmul(zeros([2, 2])) as never);
    expect(() => model(x)).toThrowErrorMatchingInlineSnapshot(`
      [ShapeError: matmul: [4, 3] @ [2, 2] — inner axes 3 and 2 differ
        in:  1
        fix: make the left side end in 2, or the right side's second axis from the end 3]
    `);
  });

  test("options are checked", () => {
    expect(() => observe(linear(2, 2), () => 0, { tolerance: 0.5 })).toThrowErrorMatchingInlineSnapshot(`
      [ConfigError: observe: the tolerance is 0.5
        fix: give a number from 0 to below ½]
    `);
    expect(() => observe(linear(2, 2), () => 0, { tolerance: Number.NaN })).toThrow("give a number from 0");
  });
});

describe("looking now and then", () => {
  const model = sequential(linear(2, 8), relu, linear(8, 2));
  const optimizer = sgd(model, { learningRate: 0.1 });
  const y = tensor([0, 1, 1, 0], "int32");
  const look = compile((h: typeof x, labels: Tensor<[4], "int32">, looks: boolean) => {
    const seen = observe(model, () => model(h));
    const loss = crossEntropy(seen.result, labels);
    optimizer.minimize(loss);
    return { loss, report: looks ? seen.report(loss) : undefined };
  });
  const plain = compile((h: typeof x, labels: Tensor<[4], "int32">) => {
    const loss = crossEntropy(model(h), labels);
    optimizer.minimize(loss);
    return loss;
  });

  test("a step without a report is the very graph that it would be without the lens", async () => {
    const programs: Program[] = [];
    const own = nodeEngine({ threads: 1 });
    const counting: Engine = {
      ...own,
      load(program) {
        programs.push(program);
        return own.load(program);
      },
    };
    useEngine(counting);
    await plain(x, y).item();
    await look(x, y, false).loss.item();
    expect(programs).toHaveLength(1);
    await look(x, y, true).loss.item();
    expect(programs).toHaveLength(2);
  });

  test("a step with a report learns the same", async () => {
    const states = [...model.states(), ...optimizer.states()];
    const start = await Promise.all(states.map((state) => state.data()));
    await look(x, y, false).loss.item();
    const without = await Promise.all(states.map((state) => state.data()));
    states.forEach((state, i) => state.write(start[i]!));
    const { loss, report } = await read(look(x, y, true));
    expect(loss).toBeGreaterThan(0);
    expect(Object.keys(report!.outputs)).toEqual(["0", "1", "2"]);
    for (const [i, state] of states.entries())
      for (const [at, value] of (await state.data()).entries()) expect(value).toBeCloseTo(without[i]![at]!, 6);
  });

  test("without a loss there are no gradients, without an update no ratio", async () => {
    const { outputs, parameters } = await read(observe(model, () => model(x)).report());
    expect(Object.keys(outputs["0"]!)).toEqual(["norm", "mean", "deviation"]);
    expect(Object.keys(parameters["0.weight"]!)).toEqual(["norm"]);
  });
});
