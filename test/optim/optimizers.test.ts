/** Optimizers against PyTorch's trajectories, in float64. */
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import {
  Accumulator,
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  compile,
  crossEntropy,
  evaluate,
  fromValues,
  gradients,
  lbfgs,
  linear,
  lion,
  meanSquaredError,
  nadam,
  type Optimizer,
  Parameter,
  type ParameterGroup,
  plainEngine,
  radam,
  rmsprop,
  schedule,
  seed,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { adamRule, adamSumsRule } from "../../src/optim/adam.ts";
import { Optimizer as OptimizerClass, type Rule } from "../../src/optim/optimizer.ts";
import { PhiloxStream } from "../../src/random/philox.ts";

/** Options under PyTorch's names. */
interface Options {
  readonly lr: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly weight_decay?: number;
  readonly lr_decay?: number;
  readonly initial_accumulator_value?: number;
  readonly betas?: [number, number];
  readonly eps?: number;
  readonly alpha?: number;
  readonly rho?: number;
  readonly centered?: boolean;
  readonly momentum_decay?: number;
}

type Problem = "quadratic" | "rosenbrock" | "network";

interface Fixture {
  readonly scales: readonly number[];
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
  readonly starts: Readonly<Record<Problem, readonly (readonly number[] | readonly (readonly number[])[])[]>>;
  readonly cases: readonly {
    readonly name: string;
    readonly problem: Problem;
    readonly options: Options;
    readonly steps: readonly { readonly loss: number; readonly parameters: readonly (readonly number[])[] }[];
  }[];
  readonly schedules: Readonly<
    Record<"steps" | "exponential" | "cosine" | "linear" | "oneCycle", readonly number[]>
  > & {
    readonly plateau: { readonly measured: readonly number[]; readonly rates: readonly number[] };
  };
  readonly lbfgs: readonly {
    readonly problem: Problem;
    readonly options: { readonly history_size?: number; readonly max_iter?: number };
    readonly evaluations: number;
    readonly losses: readonly number[];
  }[];
}

const fixture = JSON.parse(readFileSync(new URL("../fixtures/optimizers.json", import.meta.url), "utf8")) as Fixture;

beforeEach(() => useEngine(plainEngine()));

/** Without the options that are not given. */
function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

const common = ({ lr, weight_decay }: Options) => ({ learningRate: lr, weightDecay: weight_decay });
const adams = (options: Options) => given({ ...common(options), betas: options.betas, epsilon: options.eps });

const makers: Readonly<Record<string, (parameters: Parameter[], options: Options) => Optimizer>> = {
  sgd: (p, { momentum, nesterov, dampening, ...rest }) =>
    sgd(p, given({ ...common(rest), learningRate: rest.lr, momentum, nesterov, dampening })),
  adagrad: (p, { lr_decay, initial_accumulator_value, eps, ...rest }) =>
    adagrad(p, given({ ...common(rest), rateDecay: lr_decay, initialSum: initial_accumulator_value, epsilon: eps })),
  rmsprop: (p, { alpha, eps, momentum, centered, ...rest }) =>
    rmsprop(p, given({ ...common(rest), decay: alpha, epsilon: eps, momentum, centered })),
  adadelta: (p, { rho, eps, ...rest }) => adadelta(p, given({ ...common(rest), decay: rho, epsilon: eps })),
  adam: (p, options) => adam(p, adams(options)),
  amsgrad: (p, options) => amsgrad(p, adams(options)),
  adamW: (p, options) => adamW(p, adams(options)),
  nadam: (p, options) => nadam(p, given({ ...adams(options), momentumDecay: options.momentum_decay })),
  radam: (p, options) => radam(p, adams(options)),
};

/** A problem of the fixture: its parameters at the start, and the loss. */
function problem(name: Problem): { parameters: Parameter[]; loss: () => Tensor } {
  const parameters = fixture.starts[name].map((values, i) => {
    const { shape } = tensor(values as number[]);
    return new Parameter({ shape, dtype: "float64" }, Float64Array.from(values.flat() as number[]), {
      name: ["weight", "bias"][i]!,
    });
  });
  const [a, b] = parameters as [Parameter, Parameter];
  const [x, y, scales] = [fixture.x, fixture.y, fixture.scales].map(
    (values): Tensor => tensor(values as number[], "float64"),
  ) as [Tensor, Tensor, Tensor];
  const losses: Record<Problem, () => Tensor> = {
    quadratic: () => a.sub(1).square().mul(scales).sum().mul(0.5),
    rosenbrock() {
      const [u, v] = a.split([1, 1]) as [Tensor, Tensor];
      return u.neg().add(1).square().add(v.sub(u.square()).square().mul(100)).sum();
    },
    network: () =>
      meanSquaredError(
        x
          .matmul((a as Tensor).mT())
          .add(b)
          .tanh(),
        y,
      ),
  };
  return { parameters, loss: losses[name] };
}

const expectClose = (got: ArrayLike<number>, want: readonly number[], what: string): void =>
  want.forEach((value, i) =>
    expect(Math.abs(got[i]! - value) / Math.max(1e-3, Math.abs(value)), what).toBeLessThan(1e-6),
  );

describe.each(fixture.cases.map((each) => [`${each.name}, ${each.problem}`, each] as const))("%s", (_, each) => {
  test("follows PyTorch for twenty steps", async () => {
    const { parameters, loss } = problem(each.problem);
    const optimizer = makers[each.name.split(" ")[0]!]!(parameters, each.options);
    const step = compile(() => {
      const value = loss();
      optimizer.minimize(value);
      return value;
    });
    for (const [i, wanted] of each.steps.entries()) {
      expectClose([await step().item()], [wanted.loss], `loss ${i}`);
      for (const [at, parameter] of parameters.entries())
        expectClose(await parameter.data(), wanted.parameters[at]!, `step ${i}, parameter ${at}`);
    }
  });
});

test("Lion is its paper's update", async () => {
  const { parameters, loss } = problem("network");
  const [b1, b2, rate, decay] = [0.9, 0.99, 0.01, 0.1];
  const optimizer = lion(parameters, { learningRate: rate, weightDecay: decay });
  const step = compile(() => {
    const value = loss();
    const g = gradients(value, parameters);
    optimizer.apply(parameters, g);
    return g;
  });
  const theta = await Promise.all(parameters.map(async (parameter) => [...(await parameter.data())]));
  const m = theta.map((values) => values.map(() => 0));
  for (let i = 0; i < 10; i++) {
    const g = await Promise.all(step().map((each) => each.data()));
    for (const [p, values] of theta.entries())
      for (const [k, value] of values.entries()) {
        const direction = Math.sign(b1 * m[p]![k]! + (1 - b1) * g[p]![k]!);
        values[k] = value - rate * (direction + decay * value);
        m[p]![k] = b2 * m[p]![k]! + (1 - b2) * g[p]![k]!;
      }
  }
  for (const [p, parameter] of parameters.entries())
    (await parameter.data()).forEach((value, k) => expect(value).toBeCloseTo(theta[p]![k]!, 12));
});

test("Adam as it runs equals Adam as the paper writes it", async () => {
  const run = async (rule: unknown): Promise<number[]> => {
    const { parameters, loss } = problem("network");
    const hyper = { b1: 0.9, b2: 0.999, epsilon: 1e-8 };
    const optimizer = new OptimizerClass(parameters, {}, { learningRate: 0.03 }, rule as Rule<string, unknown>, hyper);
    for (let i = 0; i < 15; i++) {
      const value = loss();
      optimizer.minimize(value);
      await evaluate(value, optimizer);
    }
    return (await Promise.all(parameters.map((parameter) => parameter.data()))).flatMap((values) => [...values]);
  };
  const [fast, paper] = [await run(adamSumsRule), await run(adamRule)];
  fast.forEach((value, i) => expect(value).toBeCloseTo(paper[i]!, 12));
});

describe("L-BFGS", () => {
  test.each(fixture.lbfgs.map((each, i) => [i, each] as const))(
    "reaches 1e-10 in as many evaluations as PyTorch's, case %i",
    async (_, { problem: name, options, evaluations: wanted, losses }) => {
      const { parameters, loss } = problem(name);
      const optimizer = lbfgs(
        parameters,
        loss,
        given({ history: options.history_size, iterations: options.max_iter, changeTolerance: 1e-14 }),
      );
      const reports = [];
      for (let i = 0; i < losses.length && (reports.at(-1)?.loss ?? 1) >= 1e-10; i++)
        reports.push(await optimizer.step());
      const evaluations = reports.reduce((sum, report) => sum + report.evaluations, 0);
      expect(reports.at(-1)!.loss).toBeLessThan(1e-10);
      expect(losses.at(-1)).toBeLessThan(1e-10);
      expect(Math.abs(evaluations / wanted - 1), `${evaluations} against ${wanted}`).toBeLessThanOrEqual(0.1);
    },
  );

  test("refuses a start where the loss is not finite, and options out of range", async () => {
    const x = new Parameter({ shape: [], dtype: "float64" }, Float64Array.of(-1));
    await expect(lbfgs([x], () => x.log()).step()).rejects.toThrow("lbfgs: the loss is NaN at the start");
    expect(() => lbfgs([x], () => x, { history: 0 })).toThrow("lbfgs: history is 0");
    expect(() => lbfgs([], () => x)).toThrow("lbfgs: the model has no parameters to train");
  });
});

describe("schedules", () => {
  const made = {
    steps: schedule.steps(1, { every: 7, factor: 0.5 }),
    exponential: schedule.exponential(1, { factor: 0.9 }),
    cosine: schedule.cosine(1, { steps: 39, end: 0.1 }),
    linear: schedule.linear(1, { steps: 30, end: 0.25 }),
    oneCycle: schedule.oneCycle(0.5, { steps: 41 }),
  };
  test.each(Object.entries(made))("%s is PyTorch's", (name, rate) => {
    fixture.schedules[name as keyof typeof made].forEach((wanted, step) => expect(rate(step)).toBeCloseTo(wanted, 10));
  });

  test("a plateau is PyTorch's", () => {
    const { measured, rates } = fixture.schedules.plateau;
    const plateau = new schedule.Plateau(1, { patience: 2, cooldown: 1, factor: 0.5, least: 0.1 });
    expect(measured.map((value) => plateau.update(value))).toEqual(rates);
  });

  test("the Transformer's rate grows for its warm-up and then falls with the root", () => {
    const rate = schedule.transformer({ width: 512 });
    expect(rate(0)).toBeCloseTo(512 ** -0.5 * 4000 ** -1.5, 12);
    expect(rate(3999)).toBeCloseTo((512 * 4000) ** -0.5, 12);
    expect(rate(15999)).toBeCloseTo(rate(3999) / 2, 12);
  });

  test("a warm-up climbs to where the schedule begins", () => {
    const rate = schedule.warmUp(schedule.linear(1, { steps: 10 }), { steps: 3 });
    expect([0, 1, 2, 3, 8, 13, 20].map(rate)).toEqual([0.25, 0.5, 0.75, 1, 0.5, 0, 0]);
  });
});

describe("clipping", () => {
  const g = [tensor([3, 0]), tensor([[0, 4]])] as Tensor[];
  test("by value, by norm and by global norm", async () => {
    expect(await Promise.all(clipByValue(g, 2).map((each) => each.array()))).toEqual([[2, 0], [[0, 2]]]);
    const own = clipByNorm(g, 3.5);
    expect(await Promise.all(own.norms.map((norm) => norm.item()))).toEqual([3, 4]);
    expect(await Promise.all(own.gradients.map((each) => each.array()))).toEqual([[3, 0], [[0, 3.5]]]);
    const all = clipByGlobalNorm(g, 1);
    expect(await all.norm.item()).toBe(5);
    const clipped = await Promise.all(all.gradients.map((each) => each.data()));
    clipped.forEach((values, i) =>
      values.forEach((value, k) =>
        expect(value).toBeCloseTo(
          [
            [0.6, 0],
            [0, 0.8],
          ][i]![k]!,
          6,
        ),
      ),
    );
    expect(await clipByGlobalNorm(g, 10).gradients[0]!.array()).toEqual([3, 0]);
    expect(() => clipByValue(g, 0)).toThrow("clipByValue: the limit is 0");
  });

  test("minimize clips and reports the norm as it was", async () => {
    const x = new Parameter({ shape: [2], dtype: "float64" }, Float64Array.of(3, 4));
    const optimizer = sgd([x], { learningRate: 1 });
    const step = compile(() => {
      const { norm } = optimizer.minimize(x.square().sum().mul(0.5), { clipNorm: 1 });
      return norm;
    });
    expect(await step().item()).toBe(5);
    const [a, b] = await x.data();
    expect(a).toBeCloseTo(2.4, 12);
    expect(b).toBeCloseTo(3.2, 12);
  });
});

test("four batches of 32 give the gradients, and the weights, of one of 128", async () => {
  const stream = new PhiloxStream(5);
  const random = (...shape: [number, number]) =>
    fromValues(
      Float64Array.from({ length: shape[0] * shape[1] }, () => stream.normal()),
      shape,
    );
  const [x, w] = [random(128, 6), random(6, 4)];
  const labels = tensor(Array.from({ length: 128 }, () => stream.next() % 4) as number[], "int32");
  const train = async (parts: number): Promise<ArrayLike<number>> => {
    const weight = new Parameter({ shape: [6, 4], dtype: "float64" }, await w.data());
    const sums = new Accumulator(adam([weight], { learningRate: 0.05 }));
    const micro = compile((images: Tensor, classes: Tensor<number[], "int32">) => {
      const loss = crossEntropy(images.matmul(weight as Tensor), classes);
      sums.add(loss);
      return loss;
    });
    const update = compile(() => sums.apply({ clipNorm: 0.1 }).norm);
    for (let step = 0; step < 5; step++) {
      for (let at = 0; at < 128; at += 128 / parts) {
        const range = [at, at + 128 / parts] as const;
        micro(x.slice(range) as Tensor, labels.slice(range) as Tensor<number[], "int32">);
      }
      await update().item();
    }
    return weight.data();
  };
  const [whole, parts] = [await train(1), await train(4)];
  for (let i = 0; i < whole.length; i++) expect(Math.abs(parts[i]! - whole[i]!)).toBeLessThan(1e-9);
});

describe("around the rule", () => {
  test("evaluate without compile makes the same steps as compile", async () => {
    const [a, b] = [problem("network"), problem("network")];
    const [eager, compiled] = [adam(a.parameters), adam(b.parameters)];
    const step = compile(() => void compiled.minimize(b.loss()));
    for (let i = 0; i < 5; i++) {
      eager.minimize(a.loss());
      await evaluate(eager);
      step();
    }
    await step.finished();
    for (const [i, parameter] of a.parameters.entries())
      expect(await parameter.data()).toEqual(await b.parameters[i]!.data());
  });

  test("a new learning rate takes effect without another trace", async () => {
    const { parameters, loss } = problem("network");
    const optimizer = sgd(parameters, { learningRate: 0 });
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

  test("groups have rates and decays of their own", async () => {
    const start = [1, 1, 1].map((value) => new Parameter({ shape: [], dtype: "float64" }, Float64Array.of(value))) as [
      Parameter,
      Parameter,
      Parameter,
    ];
    const groups: ParameterGroup[] = [
      { parameters: [start[0]] },
      { parameters: [start[1]], rateFactor: 0.5 },
      { parameters: [start[2]], weightDecay: 0 },
    ];
    const optimizer = sgd(groups, { learningRate: 0.1, weightDecay: 1 });
    optimizer.minimize(start.map((x): Tensor => x.mul(2)).reduce((sum, x) => sum.add(x)));
    await evaluate(optimizer);
    const values = await Promise.all(start.map((x) => x.item()));
    values.forEach((value, i) => expect(value).toBeCloseTo([0.7, 0.85, 0.8][i]!, 12));
    expect(() => sgd([{ parameters: [start[0]] }, { parameters: [start[0]] }], { learningRate: 1 })).toThrow(
      "is in two groups",
    );
  });

  test("frozen parameters stay, also in a step that was compiled before; unfrozen ones go on", async () => {
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
    const weight = new Parameter({ shape: [2], dtype: "float32" }, new Float32Array(2));
    const refusals: (() => unknown)[] = [
      () => sgd([weight], { learningRate: -1 }),
      () => sgd([weight], { learningRate: 0.1, momentum: 1 }),
      () => sgd([weight], { learningRate: 0.1, nesterov: true }),
      () => adam([weight], { betas: [0.9, 1] }),
      () => adam([weight], { weightDecay: -1 }),
      () => adam([]),
      () => rmsprop([weight], { epsilon: 0 }),
      () => schedule.cosine(1, { steps: 0 }),
    ];
    const sentences = refusals.map((call) => {
      try {
        call();
        return "nothing was thrown";
      } catch (error) {
        return (error as Error).message.split("\n")[0];
      }
    });
    expect(sentences).toMatchInlineSnapshot(`
      [
        "sgd: the learning rate is -1",
        "sgd: the momentum is 1",
        "sgd: nesterov with a momentum of 0 and a dampening of 0",
        "adam: the betas are 0.9, 1",
        "adam: the rate factor is 1 and the weight decay -1",
        "adam: the model has no parameters",
        "rmsprop: epsilon is 0",
        "cosine: 0 steps",
      ]
    `);
  });

  test("its variables have names", () => {
    const { parameters } = problem("network");
    expect([...adam(parameters).namedStates().keys()]).toEqual([
      "step",
      "learningRate",
      "weight.gradientSum",
      "weight.squareSum",
      "bias.gradientSum",
      "bias.squareSum",
    ]);
  });
});
