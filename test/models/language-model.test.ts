/** The recurrent language model: its forms against each other, its training by `fit` against a loop written by hand, resumed to the bit. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  adam,
  carriedState,
  compile,
  crossEntropy,
  dataset,
  encodeWeights,
  type FitOptions,
  fit,
  generate,
  type LanguageModelState,
  languageModelBatches,
  metric,
  type RecurrentLanguageModel,
  type RunOptions,
  randomGenerator,
  read,
  recurrentLanguageModel,
  type Tensor,
  type TrainingSetup,
  tensor,
  validate,
} from "../../src/node.ts";

const vocabulary = 11;
const kinds = ["lstm", "gru", "rnn"] as const;

describe.each(kinds)("a language model of kind %s", (kind) => {
  const make = (options = {}) =>
    recurrentLanguageModel(vocabulary, { kind, hiddenSize: 6, layers: 2, generator: randomGenerator(3), ...options });

  test("gives step by step what it gives for whole sequences", async () => {
    const model = make();
    const ids = [
      [1, 2, 3, 4],
      [7, 0, 10, 7],
    ];
    const whole = model(tensor(ids, "int32"));
    let state = model.startState(2, 4);
    for (let t = 0; t < 4; t++) {
      const ran = model.step(tensor([ids[0]![t]!, ids[1]![t]!], "int32"), state);
      state = ran.state;
      const difference = whole.logits
        .slice(null, [t, t + 1])
        .reshape([2, vocabulary])
        .sub(ran.logits)
        .abs()
        .max();
      expect(await difference.item()).toBeLessThan(1e-6);
    }
    expect(state.h.shape).toEqual([2, 2, 6]);
    expect(await whole.state.h.sub(state.h).abs().max().item()).toBeLessThan(1e-6);
    const fed = model.prefill!(
      tensor(
        [
          [1, 2, 3, 4],
          [7, 0, 9, 9],
        ],
        "int32",
      ),
      tensor([4, 2], "int32"),
      model.startState(2, 4),
    );
    const short = model(tensor([[7, 0]], "int32"));
    expect(await fed.h.slice([1, 2]).sub(short.state.h).abs().max().item()).toBeLessThan(1e-6);
    expect(
      await fed.h
        .slice([0, 1])
        .sub(state.h.slice([0, 1]))
        .abs()
        .max()
        .item(),
    ).toBeLessThan(1e-6);
  });

  test("names its parameters as PyTorch's would be, and shares the table with the head", () => {
    const names = [...make().namedStates({ removeDuplicates: false }).keys()];
    const recurrent = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];
    expect(names).toEqual([
      "embedding.weight",
      ...[0, 1].flatMap((layer) => recurrent.map((name) => `recurrent.${name}_l${layer}`)),
      "head.weight",
      "head.bias",
    ]);
    expect(make().head.weight).not.toBe(make().embedding.weight);
    const tied = make();
    expect(tied.head.weight).toBe(tied.embedding.weight);
    const free = make({ tied: false });
    expect(free.head.weight).not.toBe(free.embedding.weight);
    expect(make({ embeddingSize: 4 }).projection?.weight.shape).toEqual([4, 6]);
    expect(make({ embeddingSize: 4 })(tensor([[1]], "int32")).logits.shape).toEqual([1, 1, vocabulary]);
  });

  test("is decoded by generate, in batches as alone", async () => {
    const model = make();
    const prompt = [[1, 2, 3], [4], [5, 6]];
    const together = await generate(model, { prompt, maxNewTokens: 6 });
    for (const [i, one] of prompt.entries())
      expect((await generate(model, { prompt: one, maxNewTokens: 6 })).sequences[0]).toEqual(together.sequences[i]);
  });
});

/** A text in which what comes next depends on what was read several batches before: runs of letters that repeat with a long period. */
const text = Array.from({ length: 400 }, (_, i) => (i * i + 3 * i + Math.floor(i / 9)) % vocabulary);
const batchSize = 4;
const steps = 5;

interface Made {
  readonly model: RecurrentLanguageModel<"lstm">;
  readonly setup: TrainingSetup;
}

function makeSetup(seed = 1): Made {
  const generator = randomGenerator(seed);
  const model = recurrentLanguageModel(vocabulary, { hiddenSize: 8, layers: 2, dropout: 0.2, generator });
  const carried = carriedState((batch) => model.startState(batch, 0), { batchSize });
  const loss = (inputs: Tensor<[number, number], "int32">, targets: Tensor<[number, number], "int32">) => {
    const { logits, state } = model(inputs, { state: carried.before(inputs.sizes()[0]) });
    carried.after(state);
    return crossEntropy(logits, targets);
  };
  const setup = {
    model,
    loss,
    train: languageModelBatches(text.slice(0, 320), { batchSize, steps }),
    // Another number of streams: an evaluation has a state of its own.
    validation: languageModelBatches(text.slice(320), { batchSize: 2, steps }),
    optimizer: adam(model, { learningRate: 0.01 }),
    metrics: [metric.perplexity(), metric.bitsPerCharacter()],
    generator,
    carried,
  } as unknown as TrainingSetup;
  return { model, setup };
}

/** The losses of two epochs, by a loop in which the state is a value that goes from step to step. */
async function byHand(epochs: number): Promise<number[]> {
  const { model, setup } = makeSetup();
  const step = compile(
    (
      x: Tensor<[number, number], "int32">,
      y: Tensor<[number, number], "int32">,
      before: LanguageModelState<"lstm">,
    ) => {
      const { logits, state } = model(x, { state: before });
      const loss = crossEntropy(logits, y);
      setup.optimizer!.minimize(loss);
      return { loss, state };
    },
  );
  const losses: number[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    let state = model.startState(batchSize, 0);
    for (const [x, y] of languageModelBatches(text.slice(0, 320), { batchSize, steps })) {
      const ran = step(x, y, state);
      state = ran.state;
      losses.push(await ran.loss.item());
    }
  }
  return losses;
}

async function lossesOf(setup: TrainingSetup, options: FitOptions): Promise<number[]> {
  const losses: number[] = [];
  await fit(setup, {
    ...options,
    loggingSteps: 1,
    onEvent: (event) => void (event.type === "log" && losses.push(event.loss)),
  });
  return losses;
}

describe("fit with a carried state", () => {
  test("trains as a loop in which the state goes from step to step, each epoch from the start", async () => {
    const wanted = await byHand(2);
    expect(wanted).toHaveLength(30);
    const { setup } = makeSetup();
    expect(await lossesOf(setup, { epochs: 2 })).toEqual(wanted);
  });

  test("evaluations between the steps have a state of their own, and change nothing", async () => {
    const { setup } = makeSetup();
    expect(await lossesOf(setup, { epochs: 2, evalSteps: 2 })).toEqual(await byHand(2));
  });

  test("evaluates with the state carried through the text", async () => {
    const { model, setup } = makeSetup();
    let state: LanguageModelState<"lstm"> | undefined;
    const losses: number[] = [];
    model.eval();
    for (const [x, y] of languageModelBatches(text.slice(320), { batchSize: 2, steps })) {
      const ran: { logits: Tensor<[number, number, number], "float32">; state: LanguageModelState<"lstm"> } = model(
        x,
        state && { state },
      );
      losses.push(await crossEntropy(ran.logits, y).item());
      const values = await read(ran.state);
      state = { h: tensor(values.h), c: tensor(values.c) };
    }
    model.train();
    const mean = losses.reduce((a, b) => a + b) / losses.length;
    for (let again = 0; again < 2; again++) {
      const { loss, metrics } = await validate(setup);
      expect(loss).toBeCloseTo(mean, 6);
      expect(metrics.perplexity).toBeCloseTo(Math.exp(mean), 4);
      expect(metrics.bitsPerCharacter).toBeCloseTo(mean / Math.LN2, 5);
    }
  });

  describe("stopped and resumed", () => {
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "glissade-lm-"));
    });
    afterEach(() => rm(folder, { recursive: true }));

    test.each([4, 15, 22])("at step %i it ends with the same bits", async (stop) => {
      const whole = makeSetup();
      await fit(whole.setup, { epochs: 2 });
      const options: RunOptions = { epochs: 2, outputDir: folder, saveSteps: 1 };
      await fit(makeSetup().setup, { ...options, maxSteps: stop });
      const again = makeSetup(7);
      await fit(again.setup, { ...options, resumeFromCheckpoint: true });
      expect(await encodeWeights(again.model)).toEqual(await encodeWeights(whole.model));
    });
  });

  test("refuses shuffled examples, and a batch of another size", async () => {
    const { setup } = makeSetup();
    const examples = dataset({ shape: [4, 5], dtype: "int32", values: new Int32Array(20) });
    await expect(fit({ ...setup, train: examples as unknown as TrainingSetup["train"] })).rejects.toThrow(/shuffled/);
    const other = languageModelBatches(text, { batchSize: 3, steps }) as unknown as TrainingSetup["train"];
    await expect(fit({ ...setup, train: other })).rejects.toThrow(/a batch has 3 sequences, and the state is of 4/);
  });

  test("outside of fit it begins at the start", async () => {
    const { setup } = makeSetup();
    const [batch] = [...languageModelBatches(text, { batchSize: 1, steps })];
    setup.model.eval();
    const [first, second] = [setup.loss(...batch!), setup.loss(...batch!)];
    expect(await first.item()).toBe(await second.item());
  });
});
