/** The training loop: what it computes, in which order it says so, and where it ends. */
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  type BatchSource,
  compile,
  crossEntropy,
  dataset,
  decodeSafetensors,
  dropout,
  type Engine,
  encodeWeights,
  type FitOptions,
  fit,
  gradientAccumulator,
  linear,
  loader,
  metric,
  nodeEngine,
  plainEngine,
  relu,
  schedule,
  seed,
  sequential,
  sgd,
  type Tensor,
  type TrainingEvent,
  tensor,
  useEngine,
  validate,
} from "../../src/node.ts";
import { untoldErrors } from "../../src/tensor/run.ts";

type X = Tensor<[number, 2], "float32">;
type Y = Tensor<[number], "int32">;

/** Points in the plane, of which those with x·y > 0 are class 1. */
function points(count: number) {
  const values = Float32Array.from({ length: 2 * count }, (_, i) => Math.sin(i * 12.9898 + 1));
  const label = (i: number): number => Number(values[2 * i]! * values[2 * i + 1]! > 0);
  return dataset(
    { shape: [count, 2], dtype: "float32", values },
    { shape: [count], dtype: "int32", values: Int32Array.from({ length: count }, (_, i) => label(i)) },
  );
}

function makeSetup() {
  seed(5);
  const model = sequential(linear(2, 16), relu, dropout(0.1), linear(16, 2));
  return {
    model,
    loss: (x: X, y: Y) => crossEntropy(model(x), y),
    train: points(60),
    validation: points(23),
    optimizer: adam(model, { learningRate: 0.02 }),
    batchSize: 8,
    metrics: [metric.accuracy()],
  };
}

async function eventsOf(options: FitOptions, setup = makeSetup()): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = [];
  await fit(setup, { ...options, onEvent: (event) => void events.push(event) });
  return events;
}

const of = <T extends TrainingEvent["type"]>(events: readonly TrainingEvent[], type: T) =>
  events.filter((event): event is Extract<TrainingEvent, { type: T }> => event.type === type);

const weights = async (model: Parameters<typeof encodeWeights>[0]): Promise<Uint8Array> => encodeWeights(model);

test("the weights are those of a loop by hand, bit for bit; so are the mean losses", async () => {
  const byHand = makeSetup();
  const step = compile((x: X, y: Y) => {
    const loss = byHand.loss(x, y);
    byHand.optimizer.minimize(loss);
    return loss;
  });
  const batches = loader(byHand.train, { batchSize: 8, shuffle: true });
  const means: number[] = [];
  for (let epoch = 0; epoch < 3; epoch++) {
    let sum = 0;
    for (const [x, y] of batches) sum += (await step(x, y).item()) * y.size;
    means.push(sum / 60);
  }
  const setup = makeSetup();
  const { epochs } = await fit(setup, { epochs: 3 });
  expect(await weights(setup.model)).toEqual(await weights(byHand.model));
  expect(await weights(setup.optimizer)).toEqual(await weights(byHand.optimizer));
  expect(epochs.map(({ loss }) => loss)).toEqual(means);
});

test("it learns, and says so in order", async () => {
  const events = await eventsOf({ epochs: 30, loggingSteps: 8 });
  expect(events[0]).toMatchObject({ type: "start", steps: 240, epochs: 30, stepsPerEpoch: 8, isResumed: false });
  expect(events.at(-1)).toMatchObject({ type: "end", reason: "finished", step: 240, epoch: 30 });
  expect(of(events, "log").map(({ step }) => step)).toEqual(Array.from({ length: 30 }, (_, i) => 8 * (i + 1)));
  const [evaluation] = of(events, "evaluation").slice(-1);
  expect(evaluation!.metrics.accuracy).toBeGreaterThan(0.85);
  expect(evaluation!.examples).toBe(23);
  const steps = events.filter(({ type }) => type !== "progress").map(({ step }) => step);
  expect(steps).toEqual([...steps].sort((a, b) => a - b));
  const order = events.filter(({ step, type }) => step === 8 && type !== "progress").map(({ type }) => type);
  expect(order).toEqual(["log", "evaluation", "epoch"]);
});

test("every step can be logged, and each loss is that step's", async () => {
  const [every, mean] = [
    await eventsOf({ maxSteps: 40, loggingSteps: 1 }),
    await eventsOf({ maxSteps: 40, loggingSteps: 4 }),
  ];
  const each = of(every, "log").map(({ loss }) => loss);
  expect(each).toHaveLength(40);
  // Steps 5 to 8 of an epoch of 7 full batches and one of 4 examples.
  const last = (each[4]! * 8 + each[5]! * 8 + each[6]! * 8 + each[7]! * 4) / 28;
  expect(of(mean, "log")[1]!.loss).toBeCloseTo(last, 12);
});

describe("where it ends", () => {
  test("after steps, in the middle of an epoch, with an evaluation", async () => {
    const events = await eventsOf({ maxSteps: 11 });
    expect(events.at(-1)).toMatchObject({ reason: "finished", step: 11, epoch: 1 + 3 / 8 });
    expect(of(events, "evaluation").map(({ step }) => step)).toEqual([8, 11]);
  });

  test("whichever of epochs and steps comes first", async () => {
    expect((await fit(makeSetup(), { epochs: 1, maxSteps: 100 })).step).toBe(8);
  });

  test("when a signal says so, after the step under way", async () => {
    const stop = new AbortController();
    const result = await fit(makeSetup(), {
      epochs: 1000,
      loggingSteps: 1,
      signal: stop.signal,
      onEvent: ({ step }) => step === 20 && stop.abort(),
    });
    expect(result.reason).toBe("stopped");
    expect(result.step).toBeLessThan(60);
  });

  test("before the first step, when a signal has said so already", async () => {
    const setup = makeSetup();
    const before = await weights(setup.model);
    const { reason, step, evaluations } = await fit(setup, { signal: AbortSignal.abort() });
    expect({ reason, step, evaluations }).toEqual({ reason: "stopped", step: 0, evaluations: [] });
    expect(await weights(setup.model)).toEqual(before);
    const stop = new AbortController();
    const result = await fit(makeSetup(), {
      signal: stop.signal,
      onEvent: ({ type }) => type === "start" && stop.abort(),
    });
    expect(result.step).toBe(0);
  });

  test("when evaluations get no better; the best weights come back", async () => {
    const setup = makeSetup();
    setup.optimizer.learningRate = 0.5; //  wild
    const seen = new Map<number, Uint8Array>();
    const result = await fit(setup, {
      epochs: 100,
      evalSteps: 5,
      earlyStoppingPatience: 3,
      loadBestModelAtEnd: true,
      metricForBestModel: "accuracy",
      onEvent: async (event) => {
        if (event.type === "evaluation") seen.set(event.step, await weights(setup.model));
      },
    });
    expect(result.reason).toBe("early-stopping");
    const accuracies = result.evaluations.map(({ metrics }) => metrics.accuracy as number);
    expect(result.best!.metrics.accuracy).toBe(Math.max(...accuracies));
    expect(result.evaluations.at(-1)!.step).toBe(result.best!.step + 15);
    expect(await weights(setup.model)).toEqual(seen.get(result.best!.step));
  });
});

describe("gradients of several batches", () => {
  test("are those of one large batch", async () => {
    const plain = (batchSize: number) => {
      seed(2);
      const model = linear(2, 2);
      return {
        ...makeSetup(),
        model,
        batchSize,
        loss: (x: X, y: Y) => crossEntropy(model(x), y),
        optimizer: sgd(model, { learningRate: 0.1 }),
      };
    };
    const [large, small] = [plain(60), plain(8)];
    await fit(large, { epochs: 5 });
    const events: TrainingEvent[] = [];
    await fit(small, { epochs: 5, gradientAccumulationSteps: 8, loggingSteps: 1, onEvent: (e) => void events.push(e) });
    expect(of(events, "log").map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
    const [a, b] = [decodeSafetensors(await weights(large.model)), decodeSafetensors(await weights(small.model))];
    for (const [name, { values }] of a.tensors)
      b.tensors.get(name)!.values.forEach((value, i) => expect(value).toBeCloseTo(values[i]!, 6));
  });

  test("the last step of an epoch has what is left", async () => {
    const byHand = makeSetup();
    const sums = gradientAccumulator(byHand.optimizer);
    const micro = compile((x: X, y: Y) => {
      const loss = byHand.loss(x, y);
      sums.add(loss, x.shape[0]);
      return loss;
    });
    const update = compile(() => sums.apply({ clipNorm: 0.5 }).norm);
    let inRound = 0;
    for (const [x, y] of loader(byHand.train, { batchSize: 8, shuffle: true })) {
      micro(x as X, y as Y);
      if (++inRound % 3 === 0) update();
    }
    update();
    const setup = makeSetup();
    const result = await fit(setup, { epochs: 1, gradientAccumulationSteps: 3, maxGradNorm: 0.5 });
    expect(result.step).toBe(3);
    expect(await weights(setup.model)).toEqual(await weights(byHand.model));
  });
});

test("schedules set the rate of each step; a plateau hears of evaluations", async () => {
  const rate = schedule.linear(0.1, { steps: 16 });
  const events = await eventsOf({ epochs: 2, loggingSteps: 1 }, { ...makeSetup(), schedule: rate } as never);
  expect(of(events, "log").map(({ learningRate }) => learningRate)).toEqual(
    Array.from({ length: 16 }, (_, i) => rate(i)),
  );
  const plateau = new schedule.Plateau(0.1, { patience: 1, threshold: 1000, factor: 0.5 });
  const slow = await eventsOf({ epochs: 5, loggingSteps: 8 }, { ...makeSetup(), schedule: plateau } as never);
  expect(of(slow, "log").map(({ learningRate }) => learningRate)).toEqual([0.1, 0.1, 0.1, 0.05, 0.05]);
});

describe("for debugging", () => {
  test("a fast run goes through everything", async () => {
    const events = await eventsOf({ epochs: 50, fastDevRun: true });
    expect(events.map(({ type }) => type)).toEqual(["start", "log", "progress", "evaluation", "epoch", "end"]);
    expect(events.at(-1)).toMatchObject({ step: 1 });
    expect(of(await eventsOf({ fastDevRun: 3 }), "log")).toHaveLength(3);
  });

  test("limits cut epochs short, and each epoch has other examples", async () => {
    const events = await eventsOf({ epochs: 2, limitTrainBatches: 0.5, limitValidationBatches: 2, loggingSteps: 1 });
    expect(of(events, "log").map(({ step, epoch }) => [step, epoch])).toEqual(
      [1, 2, 3, 4, 5, 6, 7, 8].map((i) => [i, i / 4]),
    );
    expect(of(events, "evaluation").map(({ examples }) => examples)).toEqual([16, 16]);
  });

  test("a few batches are learnt by heart", async () => {
    const setup = { ...makeSetup(), validation: points(23) };
    const result = await fit(setup, { overfitBatches: 1, epochs: 150 });
    expect(result.evaluations.at(-1)!.metrics.accuracy).toBe(1);
    expect(result.evaluations.at(-1)!.examples).toBe(8);
  });
});

test("a source of one's own: batches that come one by one, of which nobody knows the number", async () => {
  const data = points(24);
  let next = { epoch: 0, batch: 0 };
  const stream: BatchSource = {
    state: () => next,
    resume: (state) => {
      next = state;
    },
    async *[Symbol.asyncIterator]() {
      for (const batch of loader(data, { batchSize: 8 })) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        next = { ...next, batch: next.batch + 1 };
        yield batch;
      }
      next = { epoch: next.epoch + 1, batch: 0 };
    },
  };
  const { batchSize: _, ...rest } = makeSetup();
  const result = await fit({ ...rest, train: stream }, { epochs: 2, gradientAccumulationSteps: 2 });
  expect(result).toMatchObject({ step: 4, epoch: 2, reason: "finished" });
  expect(result.epochs.map(({ examples }) => examples)).toEqual([24, 24]);
});

test("a loss that is no number ends the training with the guard's words, and the weights stay", async () => {
  const setup = makeSetup();
  const [x, y] = setup.train.columns;
  const values = Float32Array.from(x.values);
  values[30] = Number.NaN;
  const broken = { ...setup, train: loader(dataset({ ...x, values }, y), { batchSize: 8 }) };
  const events: TrainingEvent[] = [];
  const run = fit(broken, { epochs: 1, loggingSteps: 1, onEvent: (event) => void events.push(event) });
  await expect(run).rejects.toThrow(/DataError|holds NaN/);
  expect(of(events, "log").map(({ step }) => step)).toEqual([1]);
});

test("a batch that fails stops its own training or evaluation, and nobody who reads something else meanwhile", async () => {
  const twice = compile((x: Tensor<[number], "float32">) => x.mul(2));
  for (const verb of [validate, fit]) {
    const reads: (readonly number[] | string)[] = [];
    // Between two batches it reads something, as a source does that computes its batches.
    const source: BatchSource = {
      state: () => ({ epoch: 0, batch: 0 }),
      resume: () => {},
      async *[Symbol.asyncIterator]() {
        for (let i = 0; i < 6; i++) {
          const y = tensor([0, i === 2 ? 7 : 1], "int32");
          yield [tensor([[1, 2], [3, 4]]), y]; // biome-ignore format: a matrix
          reads.push(await twice(tensor([i])).array().catch(String)); // biome-ignore format: one read
        }
      },
    };
    const { batchSize: _, ...made } = makeSetup();
    // Computed labels are looked at when the batch runs, not when it is queued.
    const loss = (x: X, y: Y) => crossEntropy(made.model(x), y.maximum(0) as Y);
    const setup = { ...made, loss, train: source, validation: source, metrics: [] };
    const run = verb === fit ? fit(setup, { epochs: 1 }) : validate(setup);
    await expect(run).rejects.toThrow("index 7");
    expect(reads).toEqual([0, 1, 2, 3, 4, 5].map((i) => [2 * i]));
    expect(untoldErrors()).toEqual([]);
  }
});

const failing = async (): Promise<never> => {
  throw new Error("its own");
};

test.each<[string, object]>([
  ...["loss", "output", "weight", "schedule", "afterUpdate"].map((name): [string, object] => [
    name,
    { [name]: failing },
  ]),
  ["sums", { metrics: [{ ...metric.accuracy(), sums: failing }] }],
])("an asynchronous %s is refused, and its own error does not end the process", async (name, part) => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  process.on("unhandledRejection", note);
  try {
    const run = fit({ ...makeSetup(), ...part } as never, { epochs: 1 });
    await expect(run).rejects.toThrow(`\`${name}\` is asynchronous\n  fix: make it synchronous`);
    expect(() => compile(failing as unknown as () => Tensor)()).toThrow("the function is asynchronous");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(unhandled).toEqual([]);
  } finally {
    process.off("unhandledRejection", note);
  }
});

describe("what cannot be is refused", () => {
  test.each<[string, object, string]>([
    ["an option that there is not", { epoch: 3 }, "did you mean epochs?"],
    ["no epochs", { epochs: 0 }, "epochs is 0"],
    ["half a step", { maxSteps: 0.5 }, "give a whole number for `maxSteps`"],
    ["a strategy that there is not", { evalStrategy: "never" }, 'give "no", "steps" or "epoch"'],
    ["steps without their number", { evalStrategy: "steps" }, "there are no evalSteps"],
    ["a limit of none", { limitTrainBatches: 0 }, "limitTrainBatches is 0"],
    ["a norm of 0", { maxGradNorm: 0 }, "maxGradNorm is 0"],
    ["a metric that there is not", { metricForBestModel: "f1" }, "name one of: loss, accuracy"],
  ])("%s", async (_, options, sentence) => {
    await expect(fit(makeSetup(), options)).rejects.toThrow(sentence);
  });

  test.each<[string, FitOptions, string]>([
    ...(
      [
        { evalStrategy: "epoch" },
        { evalSteps: 1 },
        { loadBestModelAtEnd: true },
        { metricForBestModel: "accuracy" },
        { greaterIsBetter: false },
        { earlyStoppingPatience: 1 },
        { earlyStoppingThreshold: 0.1 },
        { limitValidationBatches: 1 },
      ] as FitOptions[]
    ).map((options): [string, FitOptions, string] => [
      Object.keys(options)[0]!,
      options,
      `there is ${Object.keys(options)[0]} and no \`validation\` in the setup`,
    ]),
  ])("%s without validation data", async (_, options, sentence) => {
    const { validation: _v, ...setup } = makeSetup();
    await expect(fit(setup, { ...options, epochs: 1 })).rejects.toThrow(sentence);
  });

  test.each<[FitOptions, string]>([
    [{ evalStrategy: "epoch", evalSteps: 1 }, 'there is evalSteps and evalStrategy "epoch"'],
    [{ evalStrategy: "no", evalSteps: 1 }, 'there is evalSteps and evalStrategy "no"'],
    [{ evalStrategy: "no", loadBestModelAtEnd: true }, 'there is loadBestModelAtEnd and evalStrategy "no"'],
    [{ evalStrategy: "no", earlyStoppingPatience: 1 }, 'there is earlyStoppingPatience and evalStrategy "no"'],
    [{ overfitBatches: 1, limitTrainBatches: 1 }, "there is limitTrainBatches and overfitBatches"],
    [{ overfitBatches: 1, limitValidationBatches: 1 }, "there is limitValidationBatches and overfitBatches"],
  ])("options of which one has no effect: %j", async (options, sentence) => {
    await expect(fit(makeSetup(), options)).rejects.toThrow(sentence);
  });

  test("a plateau that hears of no evaluation", async () => {
    const plateau = (): { schedule: schedule.Plateau } => ({ schedule: new schedule.Plateau(0.1) });
    const { validation: _, ...setup } = makeSetup();
    await expect(fit({ ...setup, ...plateau() })).rejects.toThrow("there is a schedule.Plateau and no `validation`");
    await expect(fit({ ...makeSetup(), ...plateau() }, { evalStrategy: "no" })).rejects.toThrow(
      'there is a schedule.Plateau and evalStrategy "no"',
    );
  });

  test("but not options that ask for nothing", async () => {
    const { validation: _, ...setup } = makeSetup();
    const { step } = await fit(setup, { evalStrategy: "no", loadBestModelAtEnd: false, maxSteps: 1 });
    expect(step).toBe(1);
  });

  test("a part of the setup that nobody reads", async () => {
    const setup = { ...makeSetup(), optimiser: 3 };
    await expect(fit(setup)).rejects.toThrow("did you mean optimizer?");
  });
});

describe("batches in which nothing counts", () => {
  const engines: [string, () => Engine][] = [
    ["plain", plainEngine],
    ["node", () => nodeEngine({ threads: 1 })],
    ["node without kernels", () => nodeEngine({ threads: 1, kernels: false })],
  ];
  afterAll(() => useEngine(nodeEngine()));

  /** A setup over batches of 4 in their order. `counted` says of each whether it counts; the labels of the others are −1. */
  function setupOf(counted: readonly boolean[], count = true) {
    seed(6);
    const model = linear(2, 2);
    const size = 4 * counted.length;
    const values = Float32Array.from({ length: 2 * size }, (_, i) => Math.sin(i % 8));
    const labels = Int32Array.from({ length: size }, (_, i) => (counted[Math.floor(i / 4)] ? i % 2 : -1));
    const data = dataset(
      { shape: [size, 2], dtype: "float32", values },
      { shape: [size], dtype: "int32", values: labels },
    );
    const options = { ignore: -1 };
    return {
      model,
      loss: (x: X, y: Y) => crossEntropy(model(x), y, options),
      ...(count && { weight: (_: X, y: Y) => y.notEqual(-1).countNonZero() }),
      train: loader(data, { batchSize: 4, shuffle: false }),
      validation: loader(data, { batchSize: 4, shuffle: false }),
      optimizer: sgd(model, { learningRate: 0.1 }),
      metrics: [metric.accuracy(options), metric.perplexity(), metric.bitsPerCharacter()],
    };
  }
  const some = [false, true, false, true, true, false];
  const all = [true, true, true];

  describe.each(engines)("on the %s engine", (_, makeEngine) => {
    beforeEach(() => useEngine(makeEngine()));

    test("count nothing in an evaluation", async () => {
      const [mixed, whole] = [await validate(setupOf(some)), await validate(setupOf(all, false))];
      expect(mixed.loss).toBeCloseTo(whole.loss, 6);
      for (const [name, value] of Object.entries(whole.metrics))
        expect(mixed.metrics[name]).toBeCloseTo(value as number, 6);
    });

    test("add nothing to accumulated gradients and to mean losses", async () => {
      const [mixed, whole] = [setupOf(some), setupOf(all, false)];
      const [a, b] = [
        await fit(mixed, { epochs: 2, gradientAccumulationSteps: 6, maxGradNorm: 100 }),
        await fit(whole, { epochs: 2, gradientAccumulationSteps: 3, maxGradNorm: 100 }),
      ];
      expect(a.epochs[1]!.loss).toBeCloseTo(b.epochs[1]!.loss, 6);
      const [of, and] = [await mixed.model.weight.data(), await whole.model.weight.data()];
      for (const [i, value] of of.entries()) expect(value).toBeCloseTo(and[i]!, 6);
    });

    test("make no step of their own: the error says why", async () => {
      const setup = setupOf([true, false]);
      const sentence = "fit: the weight is 0, so nothing in the batch counts, and the loss is NaN";
      await expect(fit(setup, { epochs: 1 })).rejects.toThrow(sentence);
      const safe = {
        ...setup,
        loss: (x: X, y: Y) => sumOver(setup.model(x), y).div(y.notEqual(-1).countNonZero().cast("float32").clip(1)),
      };
      const { epochs } = await fit(safe, { epochs: 1 });
      expect(epochs[0]!.loss).toBeGreaterThan(0);
    });

    test("and where no batch counts, that is what is said", async () => {
      await expect(validate(setupOf([false, false]))).rejects.toThrow("evaluation: nothing counts");
      await expect(fit(setupOf([false, false]), { epochs: 1, gradientAccumulationSteps: 2 })).rejects.toThrow(
        "or all with the weight 0, so none was made",
      );
    });
  });
  const sumOver = (logits: Tensor<[number, 2], "float32">, labels: Y) =>
    crossEntropy(logits, labels, { ignore: -1, reduction: "sum" });
});
