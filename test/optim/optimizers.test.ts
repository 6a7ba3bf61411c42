/** Optimizers against PyTorch's trajectories, in float64. */
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  compile,
  evaluate,
  linear,
  meanSquaredError,
  type Optimizer,
  Parameter,
  plainEngine,
  seed,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { adamRule, adamSumsRule } from "../../src/optim/adam.ts";
import { Optimizer as OptimizerClass, type Rule } from "../../src/optim/optimizer.ts";

interface Fixture {
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
  readonly weight: readonly (readonly number[])[];
  readonly bias: readonly number[];
  readonly cases: readonly {
    readonly name: string;
    readonly options: {
      readonly lr: number;
      readonly momentum?: number;
      readonly betas?: [number, number];
      readonly eps?: number;
    };
    readonly steps: readonly { readonly loss: number; readonly weight: number[]; readonly bias: number[] }[];
  }[];
}

const fixture = JSON.parse(readFileSync(new URL("../fixtures/optimizers.json", import.meta.url), "utf8")) as Fixture;

beforeEach(() => useEngine(plainEngine()));

const makers: Readonly<
  Record<string, (parameters: Parameter[], options: Fixture["cases"][number]["options"]) => Optimizer>
> = {
  sgd: (parameters, { lr, momentum }) => sgd(parameters, { learningRate: lr, ...(momentum && { momentum }) }),
  adam: (parameters, { lr, betas, eps }) =>
    adam(parameters, { learningRate: lr, ...(betas && { betas }), ...(eps && { epsilon: eps }) }),
};

function problem(): { weight: Parameter<[3, 2], "float64">; bias: Parameter<[3], "float64">; loss: () => Tensor } {
  const weight = new Parameter({ shape: [3, 2], dtype: "float64" }, Float64Array.from(fixture.weight.flat()), {
    name: "weight",
  });
  const bias = new Parameter({ shape: [3], dtype: "float64" }, Float64Array.from(fixture.bias), { name: "bias" });
  const x: Tensor = tensor(fixture.x as number[][], "float64");
  const y: Tensor = tensor(fixture.y as number[][], "float64");
  return { weight, bias, loss: () => meanSquaredError(x.matmul(weight.mT()).add(bias).tanh(), y) };
}

const expectClose = (got: ArrayLike<number>, want: readonly number[]): void =>
  want.forEach((value, i) => expect(Math.abs(got[i]! - value) / Math.max(1e-3, Math.abs(value))).toBeLessThan(1e-6));

test.each(fixture.cases.map((each) => [each.name, each] as const))(
  "%s follows PyTorch for twenty steps",
  async (name, { options, steps }) => {
    const { weight, bias, loss } = problem();
    const optimizer = makers[name.split(" ")[0]!]!([weight, bias], options);
    const step = compile(() => {
      const value = loss();
      optimizer.minimize(value);
      return value;
    });
    for (const wanted of steps) {
      expectClose([await step().item()], [wanted.loss]);
      expectClose(await weight.data(), wanted.weight);
      expectClose(await bias.data(), wanted.bias);
    }
  },
);

test("Adam as it runs equals Adam as the paper writes it", async () => {
  const run = async (rule: unknown): Promise<number[]> => {
    const { weight, bias, loss } = problem();
    const hyper = { b1: 0.9, b2: 0.999, epsilon: 1e-8 };
    const optimizer = new OptimizerClass([weight, bias], { learningRate: 0.03 }, rule as Rule<string, unknown>, hyper);
    for (let i = 0; i < 15; i++) {
      const value = loss();
      optimizer.minimize(value);
      await evaluate(value, optimizer);
    }
    return [...(await weight.data()), ...(await bias.data())];
  };
  const [fast, paper] = [await run(adamSumsRule), await run(adamRule)];
  fast.forEach((value, i) => expect(value).toBeCloseTo(paper[i]!, 12));
});

describe("around the rule", () => {
  test("evaluate without compile makes the same steps as compile", async () => {
    const [a, b] = [problem(), problem()];
    const [eager, compiled] = [adam([a.weight, a.bias]), adam([b.weight, b.bias])];
    const step = compile(() => compiled.minimize(b.loss()));
    for (let i = 0; i < 5; i++) {
      eager.minimize(a.loss());
      await evaluate(eager);
      step();
    }
    await step.finished();
    expect(await a.weight.data()).toEqual(await b.weight.data());
    expect(await a.bias.data()).toEqual(await b.bias.data());
  });

  test("a new learning rate takes effect without another trace", async () => {
    const { weight, bias, loss } = problem();
    const optimizer = sgd([weight, bias], { learningRate: 0 });
    let traces = 0;
    const step = compile(() => {
      traces++;
      const value = loss();
      optimizer.minimize(value);
      return value;
    });
    const first = await step().item();
    expect(await step().item()).toBe(first);
    optimizer.learningRate = 0.1;
    await step().item();
    expect(await step().item()).toBeLessThan(first);
    expect([traces, optimizer.learningRate]).toEqual([1, 0.1]);
  });

  test("frozen parameters stay, also in a step that was compiled before; unfrozen ones go on", async () => {
    useEngine(plainEngine());
    seed(1);
    const model = linear(2, 2);
    const optimizer = sgd(model, { learningRate: 0.1 });
    const x = tensor([[1, 2]]);
    const step = compile(() => {
      const value = model(x).mul(model(x)).sum();
      optimizer.minimize(value);
      return value;
    });
    await step().item();
    model.weight.trainable = false;
    const [weight, bias] = [await model.weight.data(), await model.bias.data()];
    await step().item();
    expect(await model.weight.data()).toEqual(weight);
    expect(await model.bias.data()).not.toEqual(bias);
    model.unfreeze();
    await step().item();
    expect(await model.weight.data()).not.toEqual(weight);
    expect(() => {
      model.freeze();
      step();
    }).toThrow("all parameters are frozen");
  });

  test("what it refuses", () => {
    const { weight } = problem();
    expect(() => sgd([weight], { learningRate: -1 })).toThrow("sgd: the learning rate is -1");
    expect(() => sgd([weight], { learningRate: 0.1, momentum: 1 })).toThrow("sgd: the momentum is 1");
    expect(() => adam([weight], { betas: [0.9, 1] })).toThrow("adam: the betas are 0.9, 1");
    expect(() => adam([])).toThrow("adam: the model has no parameters");
  });

  test("its variables have names", () => {
    const { weight, bias } = problem();
    expect([...adam([weight, bias]).namedStates().keys()]).toEqual([
      "step",
      "learningRate",
      "weight.gradientSum",
      "weight.squareSum",
      "bias.gradientSum",
      "bias.squareSum",
    ]);
  });
});
