/** Normalising layers against PyTorch's values, and activations. */
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  activationCurve,
  activations,
  batchNorm,
  compile,
  fromValues,
  gradients,
  groupNorm,
  init,
  linear,
  maxout,
  plainEngine,
  prelu,
  rmsNorm,
  rmsNormalize,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

interface Case {
  readonly shape: number[];
  readonly momentum: number;
  readonly epsilon: number;
  readonly weight: number[];
  readonly bias: number[];
  readonly steps: readonly Readonly<
    Record<"x" | "w" | "y" | "dx" | "dweight" | "dbias" | "running_mean" | "running_var", number[]>
  >[];
  readonly evaluation: { readonly x: number[]; readonly y: number[]; readonly tracked: number };
}

const { cases } = JSON.parse(readFileSync(new URL("../fixtures/batch-norm.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
};

/** Parameters are float32, so that is what can be asked for. */
async function expectValues(x: Tensor, wanted: readonly number[], what: string): Promise<void> {
  (await x.data()).forEach((value, i) =>
    expect(Math.abs(value - wanted[i]!) / Math.max(1, Math.abs(wanted[i]!)), `${what} ${i}`).toBeLessThan(5e-6),
  );
}

const engines = { plain: plainEngine, node: () => nodeEngine({ threads: 1 }) };

describe.each(Object.entries(engines))("batch normalisation on the %s engine", (_, engine) => {
  beforeEach(() => useEngine(engine()));

  test.each(cases.map((each) => [each.shape.join(" × "), each] as const))(
    "of %s is PyTorch's in training and in evaluation",
    async (_shape, { shape, momentum, epsilon, weight, bias, steps, evaluation }) => {
      const layer = batchNorm(3, { momentum, epsilon });
      layer.weight.write(Float32Array.from(weight));
      layer.bias.write(Float32Array.from(bias));
      const float = (values: readonly number[]): Tensor<number[], "float32"> =>
        fromValues(Float32Array.from(values), shape);
      const step = compile((x: Tensor, w: Tensor) => {
        const y = layer(x as Tensor<number[], "float32">) as Tensor;
        const [dx, dweight, dbias] = gradients(y.mul(w).sum(), [x, layer.weight as Tensor, layer.bias as Tensor]);
        return { y, dx, dweight, dbias };
      });
      for (const wanted of steps) {
        const result = step(float(wanted.x), float(wanted.w));
        for (const name of ["y", "dx", "dweight", "dbias"] as const)
          await expectValues(result[name]!, wanted[name], name);
        await expectValues(layer.running_mean as Tensor, wanted.running_mean, "mean");
        await expectValues(layer.running_var as Tensor, wanted.running_var, "variance");
      }
      layer.eval();
      const evaluate = compile((x: Tensor) => layer(x as Tensor<number[], "float32">) as Tensor);
      await expectValues(evaluate(float(evaluation.x)), evaluation.y, "evaluation");
      expect(await layer.num_batches_tracked.item()).toBe(evaluation.tracked);
    },
  );
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
    expect(() => groupNorm(3, 4)(x)).toThrow("groupNormalize: 3 groups of 4 channels");
    // @ts-expect-error four channels
    expect(() => batchNorm(3)(x)).toThrow("batchNormalizeInTraining: x [2, 4, 5] with [3]");
    expect(() => batchNorm(3, { momentum: 2 })).toThrow("batchNorm: the momentum is 2");
  });

  test("the root of the mean square is divided by, and each element scaled", async () => {
    const y = rmsNormalize(tensor([[3, 4, 0, 0]]), tensor([1, 2, 3, 4]), 0);
    // √(25 / 4) = 2.5
    expect(await y.array()).toEqual([[3 / 2.5, (2 * 4) / 2.5, 0, 0].map(Math.fround)]);
  });

  test("maxout is the largest of its pieces; prelu learns its slope", async () => {
    const layer = maxout(2, 1, { pieces: 3 });
    layer.weight.write(Float32Array.of(1, 0, 0, 1, -1, -1));
    layer.bias.write(Float32Array.of(0, 0, 0.5));
    expect(
      await layer(
        tensor([
          [3, 1],
          [1, 4],
          [-2, -3],
        ]),
      ).array(),
    ).toEqual([[3], [4], [5.5]]);
    const rectifier = prelu();
    const x = tensor([-2, 3]);
    expect(await rectifier(x).array()).toEqual([-0.5, 3]);
    const [slope] = gradients((rectifier(x) as Tensor).sum(), [rectifier.weight as Tensor]);
    expect(await slope!.array()).toEqual([-2]);
  });

  test("every activation's slope is that of its curve", async () => {
    for (const name of Object.keys(activations) as (keyof typeof activations)[]) {
      // Between the kinks, which are at whole numbers.
      const { x, slope } = await activationCurve(name, { from: -3.9, to: 3.9, points: 26 });
      const step = 1e-2;
      const [up, down] = await Promise.all(
        [step, -step].map(
          async (by) =>
            (
              await activationCurve((each) => activations[name].apply(each.add(by)), {
                from: -3.9,
                to: 3.9,
                points: 26,
              })
            ).y,
        ),
      );
      slope.forEach((value, i) =>
        expect(Math.abs(value - (up![i]! - down![i]!) / (2 * step)), `${name} at ${x[i]}`).toBeLessThan(1e-3),
      );
    }
    await expect(activationCurve("sine" as never)).rejects.toThrow("activationCurve: there is no sine");
  });
});

describe("initialisation", () => {
  const draw = (initializer: init.Initializer, ...shape: number[]): Float32Array =>
    initializer(shape, new PhiloxStream(2));
  const deviation = (values: Float32Array): number => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  };

  test.each([
    ["xavierUniform", init.xavierUniform, Math.sqrt(2 / 700)],
    ["xavierNormal", init.xavierNormal, Math.sqrt(2 / 700)],
    ["heNormal before relu", init.heNormal(), Math.sqrt(2 / 400)],
    ["heUniform before relu", init.heUniform(), Math.sqrt(2 / 400)],
    ["heNormal before tanh", init.heNormal("tanh"), Math.sqrt(1 / 400)],
    ["lecunNormal", init.lecunNormal, Math.sqrt(1 / 400)],
    ["lecunUniform", init.lecunUniform, Math.sqrt(1 / 400)],
    // A standard normal cut at two deviations has the deviation 0.8796.
    ["truncatedNormal", init.truncatedNormal(0.5), 0.5 * 0.8796],
  ] as const)("%s has the deviation of its formula", (_, initializer, wanted) => {
    expect(deviation(draw(initializer, 300, 400)) / wanted).toBeCloseTo(1, 2);
  });

  test("truncated normal stays within its limit", () => {
    expect(Math.max(...draw(init.truncatedNormal(1, 1.5), 100, 100).map(Math.abs))).toBeLessThanOrEqual(1.5);
  });

  test.each([
    [20, 30],
    [30, 20],
  ])("orthogonal %i × %i has orthonormal rows or columns", (rows, columns) => {
    const values = draw(init.orthogonal(2), rows, columns);
    const [count, length] = [Math.min(rows, columns), Math.max(rows, columns)];
    const at = (vector: number, i: number): number =>
      rows <= columns ? values[vector * columns + i]! : values[i * columns + vector]!;
    for (let a = 0; a < count; a++)
      for (let b = 0; b < count; b++) {
        let product = 0;
        for (let i = 0; i < length; i++) product += at(a, i) * at(b, i);
        expect(product).toBeCloseTo(a === b ? 4 : 0, 5);
      }
  });

  test("zeros, ones, constant and identity; what has no inputs is refused", () => {
    expect([...draw(init.identity, 2, 3)]).toEqual([1, 0, 0, 0, 1, 0]);
    expect([...draw(init.zeros, 2), ...draw(init.ones, 2), ...draw(init.constant(3), 1)]).toEqual([0, 0, 1, 1, 3]);
    expect(() => draw(init.identity, 3)).toThrow("identity: [3] is no matrix");
    expect(() => draw(init.lecunNormal, 3)).toThrow("[3] has no inputs and outputs");
  });
});
