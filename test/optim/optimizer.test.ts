/** What all optimizers share: rates, groups, frozen parameters, names of variables, going on after a pause, refusals. */
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  adamW,
  batchNorm,
  compile,
  crossEntropy,
  decodeWeights,
  encodeWeights,
  evaluate,
  gradients,
  linear,
  nadam,
  type ParameterGroup,
  plainEngine,
  relu,
  rmsprop,
  schedule,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/index.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { firstOrder, problem, valuesOf } from "../support/optimizer-fixture.ts";

beforeEach(() => useEngine(plainEngine()));

const scalar = (value: number, name = "state"): Parameter =>
  new Parameter({ shape: [], dtype: "float64" }, Float64Array.of(value), { name });

/** The sum of twice each parameter: every gradient is 2. */
const twice = (parameters: readonly Parameter[]): Tensor =>
  parameters.map((x): Tensor => x.mul(2)).reduce((sum, x) => sum.add(x));

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
  expect(await valuesOf(a.parameters)).toEqual(await valuesOf(b.parameters));
});

describe("the learning rate", () => {
  test("takes effect from the next step on, without another compilation, under every schedule", async () => {
    const engine = nodeEngine({ threads: 1 });
    let [sessions, traces] = [0, 0];
    useEngine({
      ...engine,
      load: (program: Parameters<typeof engine.load>[0]) => {
        if (program.inputs.length > 1) sessions++; //  a session of one input only reads a variable
        return engine.load(program);
      },
    });
    const x = scalar(0);
    const optimizer = sgd([x], { learningRate: 0 });
    const step = compile(() => {
      traces++;
      optimizer.minimize(x.mul(-1));
    });
    const plateau = new schedule.Plateau(1, { patience: 0 });
    const rates = [
      schedule.constant(2),
      schedule.steps(1, { every: 2 }),
      schedule.exponential(1, { factor: 0.9 }),
      schedule.warmUp(schedule.cosine(1, { steps: 5 }), { steps: 3 }),
      schedule.linear(1, { steps: 5 }),
      schedule.transformer({ width: 4, warmUpSteps: 3 }),
      schedule.inverseSquareRoot(1, { warmUpSteps: 3 }),
      schedule.oneCycle(1, { steps: 6 }),
      () => plateau.update(1),
    ];
    let sum = 0;
    for (const rate of rates)
      for (let i = 0; i < 6; i++) {
        optimizer.learningRate = rate(i);
        expect(optimizer.learningRate).toBe(rate === rates.at(-1) ? plateau.rate : rate(i));
        sum += optimizer.learningRate;
        step();
        await step.finished();
        expect(await x.item()).toBeCloseTo(sum, 12);
      }
    expect([traces, sessions]).toEqual([1, 1]);
  });

  test("that a file brings is the one that is read and used", async () => {
    const [x, y] = [scalar(0, "x"), scalar(0, "x")];
    const [first, second] = [sgd([x], { learningRate: 0.1 }), sgd([y], { learningRate: 1 })];
    first.learningRate = 0.3;
    decodeWeights(second, await encodeWeights(first));
    expect(second.learningRate).toBe(0.3);
    second.minimize(twice([y]));
    await evaluate(second);
    expect(await y.item()).toBeCloseTo(-0.6, 12);
    second.learningRate = 0.7;
    expect(second.learningRate).toBe(0.7);
    // In full for parameters of float32 too, and so in a file.
    const small = new Parameter({ shape: [], dtype: "float32" }, Float32Array.of(0), { name: "x" });
    const single = sgd([small], { learningRate: 0.1 });
    expect(single.learningRate).toBe(0.1);
    decodeWeights(single, await encodeWeights(single));
    expect(single.learningRate).toBe(0.1);
  });
});

describe("groups", () => {
  test("have rates and decays of their own", async () => {
    const [a, b, c, d] = [1, 1, 1, 1].map((value) => scalar(value)) as [Parameter, Parameter, Parameter, Parameter];
    const groups: ParameterGroup[] = [
      { parameters: [a] },
      { parameters: [b], rateFactor: 0.5 },
      { parameters: [c], weightDecay: 0 },
      { parameters: [d], weightDecay: 2, decoupled: true },
    ];
    const optimizer = sgd(groups, { learningRate: 0.1, weightDecay: 1 });
    optimizer.minimize(twice([a, b, c, d]));
    await evaluate(optimizer);
    const values = await Promise.all([a, b, c, d].map((x) => x.item()));
    values.forEach((value, i) => expect(value).toBeCloseTo([0.7, 0.85, 0.8, 0.6][i]!, 12));
    expect(
      optimizer.groups.map(({ rateFactor, weightDecay, decoupled }) => [rateFactor, weightDecay, decoupled]),
    ).toEqual([
      [1, 1, false],
      [0.5, 1, false],
      [1, 0, false],
      [1, 2, true],
    ]);
  });

  test("may be modules, lists of them, and parts of one; what stands in two is refused", () => {
    const [encoder, head] = [sequential(linear(2, 2), relu, linear(2, 2)), linear(2, 1)];
    expect(adam([encoder, head]).parameters).toHaveLength(6);
    expect(adam([encoder, encoder, head.weight]).parameters).toHaveLength(5);
    expect(adam([{ parameters: encoder }, { parameters: [head], rateFactor: 10 }]).parameters).toHaveLength(6);
    expect(() => adam([{ parameters: encoder }, { parameters: encoder.parameters().slice(0, 1) }])).toThrow(
      "adam: 0.weight is in two groups",
    );
  });

  test("may have options of the optimizer's own, as every one of them takes", () => {
    const [a, b] = [scalar(1, "a"), scalar(1, "b")];
    const optimizer = sgd([{ parameters: [a] }, { parameters: [b], momentum: 0.9 }], { learningRate: 0.1 });
    expect([...optimizer.namedStates().keys()]).toEqual([
      "learningRate",
      "groups.0.rateFactor",
      "groups.0.step",
      "groups.0.missedSteps",
      "groups.1.rateFactor",
      "groups.1.step",
      "groups.1.missedSteps",
      "b.velocity",
    ]);
    expect(() => sgd([{ parameters: [a], momentum: 2 }], { learningRate: 0.1 })).toThrow("sgd: the momentum is 2");
    expect(() => nadam([{ parameters: [a], betas: [0.9, 2] }])).toThrow("nadam: the betas are 0.9, 2");
  });

  test("that were frozen until now begin with their own first step", async () => {
    const [early, late] = [scalar(0, "early"), scalar(0, "late")];
    const optimizer = adam([{ parameters: [early] }, { parameters: [late] }], { learningRate: 0.1 });
    const step = compile(() => void optimizer.minimize(twice([early, late])));
    late.trainable = false;
    for (let i = 0; i < 20; i++) step();
    await step.finished();
    late.trainable = true;
    step();
    await step.finished();
    // Adam's first step has the length of the rate; with the twenty-first's corrections it would have been 0.051.
    expect(await late.item()).toBeCloseTo(-0.1, 6);
  });
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

describe("a parameter that took no part in some steps goes on as if it were alone with its own", () => {
  const start = [0.3, -0.2, 0.5] as const;
  /** The steps in which each of three parameters takes part. */
  const parts: readonly (readonly number[])[] = [[0, 1, 2], [0, 2], [0], [2], [0, 1, 2], [1], [0, 1, 2], [0, 1, 2]];
  const lossOf = (x: Tensor): Tensor => x.sub(1).square().mul(0.7);

  /** Each parameter with an optimizer of its own, which steps when the parameter takes part. */
  async function alone(make: (parameters: readonly Parameter[]) => ReturnType<typeof adam>): Promise<number[]> {
    const all = start.map((value) => scalar(value));
    for (const [place, parameter] of all.entries()) {
      const optimizer = make([parameter]);
      const step = compile(() => void optimizer.minimize(lossOf(parameter)));
      for (const taking of parts) if (taking.includes(place)) step();
    }
    return Promise.all(all.map((parameter) => parameter.item() as Promise<number>));
  }

  const frozen = (all: readonly Parameter[], optimizer: ReturnType<typeof adam>) => {
    const step = compile(() => void optimizer.minimize(all.map(lossOf).reduce((sum, x) => sum.add(x))));
    return (taking: readonly number[]) => {
      for (const [place, parameter] of all.entries()) parameter.trainable = taking.includes(place);
      step();
    };
  };

  const unreached = (all: readonly Parameter[], optimizer: ReturnType<typeof adam>) => {
    const steps = new Map<string, () => void>();
    return (taking: readonly number[]) => {
      const loss = (): Tensor => taking.map((place) => lossOf(all[place]!)).reduce((sum, x) => sum.add(x));
      const step = steps.get(`${taking}`) ?? compile(() => void optimizer.minimize(loss()));
      steps.set(`${taking}`, step);
      step();
    };
  };

  const grouped = Object.entries(firstOrder).flatMap(([name, make]) => [
    [`${name}, frozen`, make, frozen] as const,
    [`${name}, out of the loss's reach`, make, unreached] as const,
  ]);
  test.each(grouped)("%s", async (_, make, way) => {
    const options = { learningRate: 0.05 };
    const all = start.map((value) => scalar(value));
    const step = way(all, make(all, options));
    for (const taking of parts) step(taking);
    const together = await Promise.all(all.map((parameter) => parameter.item() as Promise<number>));
    const own = await alone((parameters) => make(parameters, options));
    for (const [i, value] of own.entries()) expect(together[i]).toBeCloseTo(value, 14);
  });

  test("and from a file, into an optimizer whose step is compiled already", async () => {
    const make = (parameters: readonly Parameter[]) => adam(parameters, { learningRate: 0.05 });
    const all = start.map((value) => scalar(value));
    const optimizer = make(all);
    const step = frozen(all, optimizer);
    for (const taking of parts.slice(0, 4)) step(taking);
    const [bytes, values] = [await encodeWeights(optimizer), await Promise.all(all.map((each) => each.data()))];
    const others = start.map((value) => scalar(value));
    const loaded = make(others);
    const later = frozen(others, loaded);
    later([0, 1, 2]);
    await decodeWeights(loaded, bytes);
    for (const [i, each] of others.entries()) each.write(values[i]!);
    for (const taking of parts.slice(4)) {
      step(taking);
      later(taking);
    }
    expect(await valuesOf(others)).toEqual(await valuesOf(all));
  });

  test("which costs nothing where all take part in all steps", async () => {
    const { parameters, loss } = problem("network");
    const optimizer = adam(parameters);
    const step = compile(() => void optimizer.minimize(loss()));
    for (let i = 0; i < 3; i++) step();
    await step.finished();
    expect(await optimizer.namedStates().get("missedSteps")!.array()).toEqual([0, 0]);
    expect(await optimizer.namedStates().get("step")!.array()).toBe(3);
  });
});

describe("its variables", () => {
  test("have names", () => {
    const { parameters } = problem("network");
    expect([...adam(parameters).namedStates().keys()]).toEqual([
      "learningRate",
      "step",
      "missedSteps",
      "weight.gradientSum",
      "weight.squareSum",
      "bias.gradientSum",
      "bias.squareSum",
    ]);
  });

  test("have names of their own where parameters of two models have the same", async () => {
    seed(1);
    const optimizer = adam([linear(2, 2), linear(2, 2)]);
    const names = [...optimizer.namedStates().keys()];
    expect(names.filter((name) => name.startsWith("bias"))).toEqual([
      "bias.gradientSum",
      "bias.squareSum",
      "bias#2.gradientSum",
      "bias#2.squareSum",
    ]);
    expect(optimizer.states()).toHaveLength(3 + 4 * 2);
  });

  test.each(Object.entries(firstOrder))(
    "saved with the model's: training with %s goes on bit for bit as if it had not stopped",
    async (_, make) => {
      useEngine(nodeEngine({ threads: 1 }));
      const x = tensor([
        [1, 2, 3],
        [0, -1, 1],
        [2, 0, -2],
        [1, 1, 1],
      ]);
      const y = tensor([0, 1, 1, 0], "int32");
      const build = (seedValue: number) => {
        seed(seedValue);
        const model = sequential(linear(3, 4), batchNorm(4), relu, linear(4, 2));
        const [first, ...rest] = model.parameters() as [Parameter, ...Parameter[]];
        const groups = [{ parameters: [first], rateFactor: 0.5 }, { parameters: rest }];
        const optimizer = make(groups, { learningRate: 0.01, weightDecay: 0.1 });
        const step = compile(() => {
          const loss = crossEntropy(model(x), y);
          optimizer.minimize(loss);
          return loss;
        });
        const run = async (from: number, to: number): Promise<number[]> => {
          const losses: number[] = [];
          for (let i = from; i < to; i++) {
            optimizer.learningRate = 0.01 / (1 + i);
            losses.push(await step().item());
          }
          return losses;
        };
        return { model, optimizer, run };
      };
      const whole = build(7);
      await whole.run(0, 4);
      whole.optimizer.groups[0]!.rateFactor = 0.25;
      const [modelFile, optimizerFile] = [await encodeWeights(whole.model), await encodeWeights(whole.optimizer)];
      const wanted = await whole.run(4, 9);

      const resumed = build(8);
      decodeWeights(resumed.model, modelFile);
      decodeWeights(resumed.optimizer, optimizerFile);
      expect(resumed.optimizer.groups[0]!.rateFactor).toBe(0.25);
      expect(await resumed.run(4, 9)).toEqual(wanted);
      expect(await encodeWeights(resumed.model)).toEqual(await encodeWeights(whole.model));
      expect(await encodeWeights(resumed.optimizer)).toEqual(await encodeWeights(whole.optimizer));
    },
  );
});

test("an update by hand is as safe as minimize when it is told the loss", async () => {
  const weight = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2), { name: "weight" });
  const optimizer = sgd([weight], { learningRate: 0.5 });
  const step = compile((factor: Tensor<[], "float32">) => {
    const loss = weight.mul(factor).sum();
    optimizer.apply([weight], gradients(loss, [weight]), { loss });
    return loss;
  });
  expect(await step(tensor(2)).item()).toBe(6);
  await expect(step(tensor(Infinity)).item()).rejects.toThrow("holds Infinity");
  expect(await weight.array()).toEqual([0, 1]);
  weight.write(Float32Array.of(3e38, 3e38));
  await expect(step(tensor(1)).item()).rejects.toThrow("sgd.apply: the loss is Infinity, so the update was not made");
  expect(await weight.array()).toEqual([Math.fround(3e38), Math.fround(3e38)]);
});

test("what it refuses", async () => {
  const weight = new Parameter({ shape: [2], dtype: "float32" }, new Float32Array(2), { name: "weight" });
  const other = new Parameter({ shape: [2], dtype: "float32" }, new Float32Array(2), { name: "other" });
  const optimizer = sgd([weight], { learningRate: 0.1 });
  const g = tensor([1, 2]) as Tensor;
  const refusals: (() => unknown)[] = [
    () => sgd([weight], { learningRate: -1 }),
    () => sgd([weight], { learningRate: Number.NaN }),
    () => sgd([weight], { learningRate: 0.1, momentum: 1 }),
    () => sgd([weight], { learningRate: 0.1, nesterov: true }),
    () => adam([weight], { betas: [0.9, 1] }),
    () => adam([weight], { weightDecay: -1 }),
    () => adamW([weight], { weightDecay: Infinity }),
    () => adam([]),
    () => adam([{ parameters: [weight], rateFactor: -1 }]),
    () => adam([{ parameters: [weight], learningRate: 1 } as ParameterGroup]),
    () => rmsprop([weight], { epsilon: 0 }),
    () => nadam([weight], { momentumDecay: -1 }),
    () => {
      optimizer.learningRate = Infinity;
    },
    () => optimizer.apply([weight, other], [g, g]),
    () => optimizer.apply([weight], []),
    () => optimizer.apply([weight], [tensor([1]) as Tensor]),
    () => optimizer.apply([weight], [g], { loss: g }),
    () => optimizer.apply([weight], [g], { loss: tensor(1, "int32") as Tensor }),
    () => optimizer.minimize(weight.sum(), { clipNorm: 0 }),
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
      "sgd: the learning rate is NaN",
      "sgd: the momentum is 1",
      "sgd: nesterov with a momentum of 0 and a dampening of 0",
      "adam: the betas are 0.9, 1",
      "adam: the weight decay is -1",
      "adamW: the weight decay is Infinity",
      "adam: the model has no parameters",
      "adam: the rate factor is -1",
      "adam: a group has a learning rate",
      "rmsprop: epsilon is 0",
      "nadam: the momentum decay is -1",
      "sgd: the learning rate is Infinity",
      "sgd: other is none of its parameters",
      "sgd: 0 gradients for 1 parameters",
      "sgd: weight is float32[2], its gradient float32[1]",
      "sgd: the loss is float32[2]",
      "sgd: the loss is int32[]",
      "clipByGlobalNorm: the limit is 0",
    ]
  `);
  expect(optimizer.learningRate).toBe(0.1);
});
