/** Normalising layers against PyTorch's values. */
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  batchNorm,
  compile,
  conv2d,
  decodeWeights,
  fromValues,
  functional,
  gradients,
  groupNorm,
  linear,
  module,
  plainEngine,
  rmsNorm,
  type Shape,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";

type Step = Readonly<Record<"x" | "w" | "y" | "dx" | "running_mean" | "running_var", number[]>> &
  Readonly<Partial<Record<"dweight" | "dbias", number[]>>>;

interface Case {
  readonly shape: number[];
  readonly momentum: number;
  readonly epsilon: number;
  /** Null without γ and β. */
  readonly weight: number[] | null;
  readonly bias: number[] | null;
  readonly steps: readonly Step[];
  readonly evaluation: Readonly<Record<"x" | "w" | "y" | "dx", number[]>> & { readonly tracked: number };
}

const file = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));
const { cases, network } = JSON.parse(file("batch-norm.json").toString()) as {
  readonly cases: readonly Case[];
  readonly network: Readonly<Record<"x" | "y", number[]>>;
};

/** Within a tolerance, relative for numbers above 1. */
async function expectValues(x: Tensor, wanted: readonly number[], what: string, tolerance = 5e-6): Promise<void> {
  const values = await x.data();
  expect(values, what).toHaveLength(wanted.length);
  values.forEach((value, i) =>
    expect(Math.abs(value - wanted[i]!) / Math.max(1, Math.abs(wanted[i]!)), `${what} ${i}`).toBeLessThan(tolerance),
  );
}

const engines = { plain: plainEngine, native: () => nodeEngine({ threads: 1 }) };
const named = cases.map(
  (each) => [`${each.shape.join(" × ")}${each.weight ? "" : ", without γ and β,"}`, each] as const,
);

describe.each(Object.entries(engines))("batch normalisation on the %s engine", (_, engine) => {
  beforeEach(() => useEngine(engine()));

  test.each(named)("of %s is PyTorch's in training and in evaluation", async (_shape, each) => {
    const { shape, momentum, epsilon, weight, bias, steps, evaluation } = each;
    const affine = batchNorm(3, { momentum, epsilon });
    const layer = weight ? affine : batchNorm(3, { momentum, epsilon, affine: false });
    if (weight) affine.weight.write(Float32Array.from(weight));
    if (bias) affine.bias.write(Float32Array.from(bias));
    const float = (values: readonly number[]): Tensor<number[], "float32"> =>
      fromValues(Float32Array.from(values), shape);
    const step = compile((x: Tensor, w: Tensor) => {
      const y = layer(x as Tensor<number[], "float32">) as Tensor;
      const [dx, dweight, dbias] = gradients(y.mul(w).sum(), [x, ...(layer.parameters() as Tensor[])]);
      return { y, dx: dx!, ...(dweight && dbias && { dweight, dbias }) };
    });
    for (const wanted of steps) {
      const result = step(float(wanted.x), float(wanted.w));
      for (const [name, value] of Object.entries(result))
        await expectValues(value, wanted[name as keyof typeof wanted]!, name);
      expect(Object.keys(result)).toHaveLength(weight ? 4 : 2);
      await expectValues(layer.running_mean as Tensor, wanted.running_mean, "mean");
      await expectValues(layer.running_var as Tensor, wanted.running_var, "variance");
    }
    layer.eval();
    const [x, w] = [float(evaluation.x), float(evaluation.w)];
    const result = step(x, w);
    await expectValues(result.y, evaluation.y, "evaluation");
    await expectValues(result.dx, evaluation.dx, "evaluation's gradient");
    expect(await layer.num_batches_tracked.item()).toBe(evaluation.tracked);
    await expectValues(layer.running_mean as Tensor, steps.at(-1)!.running_mean, "mean after evaluation");
  });

  test.each(named)("of %s in float64 is PyTorch's to ten digits", async (_shape, each) => {
    const { shape, epsilon, weight, bias, steps, evaluation } = each;
    const double = (values: readonly number[], as: Shape = shape): Tensor =>
      fromValues(Float64Array.from(values), [...as]);
    const [scale, shift] = [weight, bias].map((values) => (values ? double(values, [3]) : undefined));
    for (const wanted of steps) {
      const x = double(wanted.x);
      const { y } = functional.batchNormInTraining(x, scale, shift, epsilon);
      const [dx, ...others] = gradients(y.mul(double(wanted.w)).sum(), [x, ...(scale && shift ? [scale, shift] : [])]);
      await expectValues(y, wanted.y, "y", 1e-10);
      await expectValues(dx!, wanted.dx, "dx", 1e-10);
      if (weight) await expectValues(others[0]!, wanted.dweight!, "dweight", 1e-10);
      if (weight) await expectValues(others[1]!, wanted.dbias!, "dbias", 1e-10);
    }
    const { running_mean, running_var } = steps.at(-1)!;
    const [mean, variance] = [double(running_mean, [3]), double(running_var, [3])];
    const y = functional.batchNorm(double(evaluation.x), mean, variance, scale, shift, epsilon);
    await expectValues(y, evaluation.y, "evaluation", 1e-10);
  });

  test("PyTorch's state_dict loads as it is, its int64 counters too, and gives PyTorch's outputs", async () => {
    const layers = {
      0: conv2d(1, 4, 3),
      1: batchNorm(4),
      4: linear(36, 5),
      6: batchNorm(5, { affine: false }),
      7: linear(5, 2),
    };
    const model = module("Network", layers, (x: Tensor<[number, 1, 5, 5], "float32">) => {
      const images = layers[1](layers[0](x)).relu() as Tensor<number[], "float32">;
      const flat = images.reshape([-1, 36]) as Tensor<[number, 36], "float32">;
      return layers[7](layers[6](layers[4](flat).sigmoid()));
    });
    decodeWeights(model, file("batch-norm.safetensors"));
    expect(await layers[1].num_batches_tracked.item()).toBe(7);
    model.eval();
    await expectValues(model(fromValues(Float32Array.from(network.x), [3, 1, 5, 5])) as Tensor, network.y, "y");
    // In training it is normalised by the batch, and gives something else.
    const [first] = await (model.train()(fromValues(Float32Array.from(network.x), [3, 1, 5, 5])) as Tensor).data();
    expect(Math.abs(Number(first) - network.y[0]!)).toBeGreaterThan(1e-3);
  });
});

describe("layers", () => {
  beforeEach(() => useEngine(plainEngine()));

  test("batch normalisation stands before or behind the activation, under PyTorch's names", () => {
    const model = sequential(linear(4, 3), batchNorm(3), (x: Tensor<[number, 3], "float32">) => x.relu(), batchNorm(3));
    expect([...model.namedStates().keys()]).toEqual([
      "0.weight",
      "0.bias",
      ...["1", "3"].flatMap((at) =>
        ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"].map((name) => `${at}.${name}`),
      ),
    ]);
    expect(model.parameters()).toHaveLength(6);
  });

  test("group and root-mean-square normalisation give what their names say", async () => {
    const stream = new PhiloxStream(1);
    const x = fromValues(
      Float32Array.from({ length: 2 * 4 * 5 }, () => 3 + 2 * stream.normal()),
      [2, 4, 5],
    );
    const groups = (groupNorm(2, 4)(x) as Tensor).reshape([2, 2, 10]);
    for (const mean of (await groups.mean(-1).data()) as Float32Array) expect(mean).toBeCloseTo(0, 5);
    for (const variance of (await groups.variance(-1).data()) as Float32Array) expect(variance).toBeCloseTo(1, 4);
    const squares = (rmsNorm(5)(x) as Tensor).square().mean(-1);
    for (const square of (await squares.data()) as Float32Array) expect(square).toBeCloseTo(1, 4);
    expect(() => groupNorm(3, 4)(x)).toThrow("groupNorm: 3 groups of 4 channels");
    // @ts-expect-error four channels
    expect(() => batchNorm(3)(x)).toThrow("batchNormInTraining: x [2, 4, 5] with [3]");
    expect(() => batchNorm(3, { momentum: 2 })).toThrow("batchNorm: the momentum is 2");
  });

  test("one compiled step follows train() and eval(), before and behind the activation", async () => {
    for (const order of ["before", "behind"] as const) {
      const norm = batchNorm(3);
      const dense = linear(2, 3);
      const activate = (x: Tensor<[number, 3], "float32">) => x.relu();
      const model = order === "before" ? sequential(dense, norm, activate) : sequential(dense, activate, norm);
      const optimizer = sgd(model, { learningRate: 0.1 });
      let traces = 0;
      const step = compile((x: Tensor<[number, 2], "float32">) => {
        traces++;
        const y = model(x) as Tensor<[number, 3], "float32">;
        if (model.training) optimizer.minimize(y.square().mean());
        return y;
      });
      const x = tensor([
        [1, 2],
        [-3, 4],
        [0, -1],
        [2, 2],
      ]);
      const count = async (): Promise<number> => norm.num_batches_tracked.item();
      for (let i = 0; i < 3; i++) await step(x).array();
      expect(await count()).toBe(3);
      model.eval();
      const [whole, mean] = [(await step(x).array()) as number[][], await norm.running_mean.data()];
      // In evaluation an example's output does not depend on the others.
      const single = (await step(x.slice([0, 1]) as Tensor<[number, 2], "float32">).array()) as number[][];
      expect(single[0]).toEqual(whole[0]!.map((value) => expect.closeTo(value, 5)));
      expect(await count()).toBe(3);
      expect(await norm.running_mean.data()).toEqual(mean);
      model.train();
      await step(x).array();
      expect(await count()).toBe(4);
      expect(await norm.running_mean.data()).not.toEqual(mean);
      // Training, evaluation of four, evaluation of one, and training again.
      expect(traces).toBe(4);
    }
  });

  test("the root of the mean square is divided by, and each element scaled", async () => {
    const y = functional.rmsNorm(tensor([[3, 4, 0, 0]]), tensor([1, 2, 3, 4]), 0);
    // √(25 / 4) = 2.5
    expect(await y.array()).toEqual([[3 / 2.5, (2 * 4) / 2.5, 0, 0].map(Math.fround)]);
  });

  test("the running statistics approach those of the data", async () => {
    const stream = new PhiloxStream(3);
    const norm = batchNorm(2);
    const step = compile((x: Tensor<[number, 2], "float32">) => norm(x));
    for (let i = 0; i < 100; i++)
      await step(
        fromValues(
          Float32Array.from(
            { length: 64 * 2 },
            (_, at) => (at % 2 === 0 ? 5 : -1) + (at % 2 === 0 ? 3 : 0.5) * stream.normal(),
          ),
          [64, 2],
        ),
      ).array();
    const [[a, b], [va, vb]] = [await norm.running_mean.data(), await norm.running_var.data()];
    expect([a, b]).toEqual([expect.closeTo(5, 0), expect.closeTo(-1, 1)]);
    expect(Math.sqrt(va!)).toBeCloseTo(3, 0);
    expect(Math.sqrt(vb!)).toBeCloseTo(0.5, 1);
  });

  test("a batch with one value for each channel has no variance, and is refused in training with the layer's path", async () => {
    const model = sequential(linear(2, 3), batchNorm(3));
    const one = tensor([[1, 2]]);
    expect(() => model(one)).toThrow(
      "batchNormInTraining: x [1, 3] has 1 values for each channel, too few for a variance\n  in:  1\n  fix: train with larger batches",
    );
    expect(() => batchNorm(3)(tensor([]).reshape([0, 3]))).toThrow("has 0 values for each channel");
    expect(await model.eval()(one).array()).toHaveLength(1);
    // One image is a batch of its pixels.
    const norm = batchNorm(1);
    const image = tensor([[[[1, 3]]]]) as Tensor<Shape, "float32">;
    expect(await norm(image).data()).toEqual(Float32Array.of(-1, 1).map((value) => value / Math.sqrt(1 + 1e-5)));
  });

  test("without γ and β it has no parameters", () => {
    const norm = batchNorm(3, { affine: false });
    expect([...norm.namedStates().keys()]).toEqual(["running_mean", "running_var", "num_batches_tracked"]);
    // @ts-expect-error it has none
    expect(norm.weight).toBeUndefined();
    expect(norm.parameters()).toEqual([]);
  });
});
