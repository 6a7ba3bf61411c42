/** `generate` against plain TypeScript over the logits that the model's own steps give, read one by one. */
import { beforeAll, describe, expect, test } from "vitest";
import {
  compile,
  embedding,
  type GenerateOptions,
  generate,
  gpt2LMHeadModel,
  gruCell,
  init,
  linear,
  randomGenerator,
  recurrentLanguageModel,
  type StepModel,
  seq2seq,
  type Tensor,
  tensor,
  transformer,
  where,
  zeros,
} from "../../src/node.ts";
import { untoldErrors } from "../../src/tensor/run.ts";

const vocabulary = 7;
const width = 8;

interface State {
  readonly h: Tensor<[number, 8], "float32">;
  /** How many tokens a row was fed: an int32 part, which must follow its row too. */
  readonly fed: Tensor<[number], "int32">;
}

/** A small recurrent model with large weights, so that its choices differ. `prefill` is its own loop, if it has one. */
function model(seed: number, withPrefill = false): StepModel<State> & { readonly starts: [number, number][] } {
  const generator = randomGenerator(seed);
  const wide = { weight: init.normal(1.2), generator };
  const table = embedding(vocabulary, width, wide);
  const cell = gruCell(width, width, { ...wide, recurrentWeight: init.normal(1.2) });
  const head = linear(width, vocabulary, wide);
  const starts: [number, number][] = [];
  const step: StepModel<State>["step"] = (tokens, { h, fed }) => {
    const next = cell(table(tokens), { h });
    return { logits: head(next.h), state: { h: next.h, fed: fed.add(1) } };
  };
  return {
    starts,
    startState(batch, length) {
      starts.push([batch, length]);
      return { ...cell.zeroState(batch), fed: tensor(Array<number>(batch).fill(0), "int32") };
    },
    step,
    ...(withPrefill && {
      prefill: (tokens, lengths, state) => {
        let after = state;
        const [batch, time] = tokens.sizes();
        for (let t = 0; t < time; t++) {
          const { state: next } = step(tokens.slice(null, [t, t + 1]).reshape([batch]), after);
          const isReal = lengths.greater(t).cast("float32").reshape([batch, 1]);
          after = {
            h: next.h.mul(isReal).add(after.h.mul(isReal.neg().add(1))) as State["h"],
            fed: after.fed.add(lengths.greater(t).cast("int32")),
          };
        }
        return after;
      },
    }),
  };
}

const memory = new Map<string, number[]>();
let seedOfModel = 0;
let tested: ReturnType<typeof model>;

/** The logits after a sequence of tokens, by single steps. */
async function logitsAfter(tokens: readonly number[]): Promise<number[]> {
  const key = `${seedOfModel} ${tokens.join()}`;
  const known = memory.get(key);
  if (known) return known;
  let state = tested.startState(1, tokens.length);
  let logits: Tensor<[number, number], "float32"> | undefined;
  for (const token of tokens) ({ logits, state } = tested.step(tensor([token], "int32"), state));
  const [row] = await logits!.array();
  memory.set(key, row!);
  return row!;
}

const softmax = (logits: readonly number[]): number[] => {
  const most = Math.max(...logits);
  const exps = logits.map((x) => Math.exp(x - most));
  const sum = exps.reduce((a, b) => a + b, 0);
  return exps.map((x) => x / sum);
};
const argmax = (values: readonly number[]): number => values.indexOf(Math.max(...values));
const penalize = (values: readonly number[], seen: readonly number[], penalty: number): number[] =>
  values.map((x, i) => (seen.includes(i) ? (x < 0 ? x * penalty : x / penalty) : x));

async function greedy(prompt: readonly number[], most: number, eos?: number, penalty = 1): Promise<number[]> {
  const tokens = [...prompt];
  while (tokens.length < prompt.length + most) {
    const next = argmax(penalize(await logitsAfter(tokens), tokens, penalty));
    if (next === eos) break;
    tokens.push(next);
  }
  return tokens.slice(prompt.length);
}

/** The probabilities from which a token is drawn. */
function filtered(
  logits: readonly number[],
  { temperature = 1, topK = vocabulary, topP = 1 }: GenerateOptions,
): number[] {
  const warm = logits.map((x) => x / temperature);
  const order = [...warm.keys()].sort((a, b) => warm[b]! - warm[a]!).slice(0, topK);
  const all = softmax(order.map((i) => warm[i]!));
  let before = 0;
  const kept = order.filter((_, rank) => {
    const isKept = before < topP;
    before += all[rank]!;
    return isKept;
  });
  const probabilities = softmax(kept.map((i) => warm[i]!));
  return warm.map((_, i) => (kept.includes(i) ? probabilities[kept.indexOf(i)]! : 0));
}

interface Found {
  readonly tokens: number[];
  readonly score: number;
}

/** Beam search as its definition: sorts all continuations of all beams at each step. */
async function beamSearch(
  prompt: readonly number[],
  most: number,
  eos: number | undefined,
  options: GenerateOptions,
): Promise<Found[]> {
  const { numBeams: beams = 1, lengthPenalty = 1, earlyStopping = false, repetitionPenalty = 1 } = options;
  let running: { tokens: number[]; sum: number }[] = [{ tokens: [], sum: 0 }];
  let ended: Found[] = [];
  const end = (tokens: number[], sum: number, length: number): void => {
    ended.push({ tokens, score: sum / length ** lengthPenalty });
    ended = ended.sort((a, b) => b.score - a.score).slice(0, beams);
  };
  for (let length = 1; length <= most; length++) {
    const all: { tokens: number[]; token: number; sum: number }[] = [];
    for (const { tokens, sum } of running) {
      const fed = [...prompt, ...tokens];
      const logs = penalize(softmax(await logitsAfter(fed)).map(Math.log), fed, repetitionPenalty);
      for (const [token, log] of logs.entries()) all.push({ tokens, token, sum: sum + log });
    }
    all.sort((a, b) => b.sum - a.sum);
    for (const { tokens, token, sum } of all.slice(0, beams)) if (token === eos) end(tokens, sum, length);
    running = all
      .filter(({ token }) => token !== eos)
      .slice(0, beams)
      .map(({ tokens, token, sum }) => ({ tokens: [...tokens, token], sum }));
    if (ended.length < beams) continue;
    const reach = earlyStopping === "never" && lengthPenalty > 0 ? most : length;
    if (earlyStopping === true || ended.at(-1)!.score >= all[0]!.sum / reach ** lengthPenalty) return ended;
  }
  for (const { tokens, sum } of running) end(tokens, sum, most);
  return ended;
}

beforeAll(() => {
  tested = model(0);
});

describe("greedy decoding", () => {
  test("takes the most likely token at each step, for prompts of different lengths in one batch", async () => {
    const prompts = [[1], [2, 3, 4, 5], [6, 0]];
    const { sequences, isFinished, scores } = await generate(tested, { prompt: prompts, maxNewTokens: 12 });
    expect(sequences).toEqual(await Promise.all(prompts.map((prompt) => greedy(prompt, 12))));
    expect(isFinished).toEqual([false, false, false]);
    expect(scores).toBeUndefined();
  });

  test("is the same with a prefill of the model's own", async () => {
    const prompt = [[1], [2, 3, 4, 5], [6, 0]];
    const options = { prompt, maxNewTokens: 8 };
    expect((await generate(model(0, true), options)).sequences).toEqual((await generate(tested, options)).sequences);
  });

  test("stops each sequence at its own end, at the first token too", async () => {
    const prompts = Array.from({ length: vocabulary }, (_, i) => [i, (i + 3) % vocabulary]);
    const [first] = await greedy(prompts[0]!, 1);
    const { sequences, isFinished } = await generate(tested, { prompt: prompts, maxNewTokens: 9, eosTokenId: first! });
    const wanted = await Promise.all(prompts.map((prompt) => greedy(prompt, 9, first)));
    expect(sequences).toEqual(wanted);
    expect(sequences[0]).toEqual([]);
    expect(isFinished).toEqual(wanted.map(({ length }) => length < 9));
  });

  test("makes seen tokens less likely with a repetition penalty", async () => {
    const prompts = [[1, 2], [5]];
    const { sequences } = await generate(tested, { prompt: prompts, maxNewTokens: 10, repetitionPenalty: 2.5 });
    const wanted = await Promise.all(prompts.map((prompt) => greedy(prompt, 10, undefined, 2.5)));
    expect(sequences).toEqual(wanted);
    expect(wanted).not.toEqual(await Promise.all(prompts.map((prompt) => greedy(prompt, 10))));
  });

  test("an empty prompt becomes bosTokenId", async () => {
    const { sequences } = await generate(tested, { bosTokenId: 3, maxNewTokens: 5 });
    expect(sequences).toEqual([await greedy([3], 5)]);
  });

  test("tells the model how many tokens it will be fed", async () => {
    const counted = model(0);
    await generate(counted, { prompt: [[1, 2, 3], [4]], maxNewTokens: 5 });
    expect(counted.starts).toEqual([[2, 7]]);
  });

  test("goes on from a given state", async () => {
    const { state } = tested.step(tensor([4, 5], "int32"), tested.startState(2, 9));
    const { sequences } = await generate(tested, { prompt: [[1], [2]], state, maxNewTokens: 5 });
    expect(sequences).toEqual([await greedy([4, 1], 5), await greedy([5, 2], 5)]);
  });
});

describe("sampling", () => {
  const count = 20_000;
  /** Draws the first token many times, and returns how often each came. */
  async function shares(options: GenerateOptions<State>): Promise<number[]> {
    const { sequences } = await generate(tested, {
      prompt: [2, 4],
      maxNewTokens: 1,
      numReturnSequences: count,
      seed: 5,
      ...options,
    });
    const counts = Array<number>(vocabulary).fill(0);
    for (const [token] of sequences) counts[token!]!++;
    return counts.map((each) => each / count);
  }

  test.each<GenerateOptions<State>>([
    { doSample: true },
    { temperature: 2 },
    { temperature: 0.5 },
    { topK: 3 },
    { topK: vocabulary + 100 },
    { topP: 0.7 },
    { topP: 1e-6 },
    { temperature: 1.5, topK: 4, topP: 0.8 },
    { temperature: 2, topP: 0.95, repetitionPenalty: 1.7 },
  ])("%j draws from the distribution that it describes", async (options) => {
    const found = await shares(options);
    const logits = penalize(await logitsAfter([2, 4]), [2, 4], options.repetitionPenalty ?? 1);
    const wanted = filtered(logits, options);
    for (const [i, p] of wanted.entries()) {
      if (p === 0) expect(found[i]).toBe(0);
      else expect(Math.abs(found[i]! - p)).toBeLessThan(4.5 * Math.sqrt((p * (1 - p)) / count) + 1e-9);
    }
  });

  test.each([0, 1e-50, 1e-38, 1e-31])("temperature %d is greedy", async (temperature) => {
    const { sequences } = await generate(tested, { prompt: [1], maxNewTokens: 8, temperature, topK: 3 });
    expect(sequences).toEqual([await greedy([1], 8)]);
  });

  test("the same seed draws the same, another one others; each step draws anew", async () => {
    const options = { prompt: [1], maxNewTokens: 40, temperature: 3, seed: 1 };
    const [a, b, c] = [
      await generate(tested, options),
      await generate(tested, options),
      await generate(tested, { ...options, seed: 2 }),
    ];
    expect(a.sequences).toEqual(b.sequences);
    expect(a.sequences).not.toEqual(c.sequences);
    expect(new Set(a.sequences[0]).size).toBeGreaterThan(3);
  });

  test("two generations at a time do not disturb each other", async () => {
    const options = (seed: number) => ({ prompt: [1], maxNewTokens: 30, temperature: 2, seed });
    const alone = [await generate(tested, options(1)), await generate(tested, options(2))];
    expect(await Promise.all([generate(tested, options(1)), generate(tested, options(2))])).toEqual(alone);
  });
});

describe("streaming", () => {
  test("yields the tokens of each step, undefined where a sequence has ended", async () => {
    const options = { prompt: [[0], [3], [6]], maxNewTokens: 15, eosTokenId: [2, 5] };
    const { sequences } = await generate(tested, options);
    const streamed: number[][] = [[], [], []];
    for await (const tokens of generate(tested, options)) {
      expect(tokens).toHaveLength(3);
      for (const [row, token] of tokens.entries()) if (token !== undefined) streamed[row]!.push(token);
    }
    expect(streamed).toEqual(sequences);
  });

  test("may be left early", async () => {
    const seen: number[] = [];
    for await (const [token] of generate(tested, { prompt: [1], maxNewTokens: 1000 })) {
      seen.push(token!);
      if (seen.length === 3) break;
    }
    expect(seen).toEqual(await greedy([1], 3));
  });
});

describe("beam search", () => {
  const prompts = [[1], [2, 3, 4], [6, 0]];
  for (const seed of [0, 1, 2])
    test.each<GenerateOptions<State>>([
      { numBeams: 3 },
      { numBeams: 3, earlyStopping: true },
      { numBeams: 4, earlyStopping: "never" },
      { numBeams: 4, lengthPenalty: 0 },
      { numBeams: 4, lengthPenalty: 2.5 },
      { numBeams: 4, lengthPenalty: -1 },
      { numBeams: 12, numReturnSequences: 5 },
      { numBeams: 2, repetitionPenalty: 1.8 },
    ])(`%j finds what sorting all continuations finds, model ${seed}`, async (options) => {
      [tested, seedOfModel] = [model(seed), seed];
      try {
        for (const eosTokenId of [undefined, 4]) {
          const found = await generate(tested, {
            prompt: prompts,
            maxNewTokens: 9,
            ...options,
            ...(eosTokenId !== undefined && { eosTokenId }),
          });
          const count = options.numReturnSequences ?? 1;
          for (const [i, prompt] of prompts.entries()) {
            const wanted = (await beamSearch(prompt, 9, eosTokenId, options)).slice(0, count);
            expect(found.sequences.slice(i * count, (i + 1) * count)).toEqual(wanted.map(({ tokens }) => tokens));
            for (const [k, { score }] of wanted.entries()) expect(found.scores![i * count + k]).toBeCloseTo(score, 4);
          }
        }
      } finally {
        [tested, seedOfModel] = [model(0), 0];
      }
    });

  test("gives each prompt as many sequences as were asked for, also where the model allows fewer", async () => {
    // A token may be followed by those whose logit is finite: 0 by three, 1 by one, 2 by an end alone.
    const never = Number.NEGATIVE_INFINITY;
    const table = tensor([
      [0, 1, 2, never],
      [never, never, 3, never],
      [never, never, never, 0],
      [0, 0, 0, 0],
    ]);
    const allowed: StepModel<{ s: Tensor<[number, 1], "float32"> }> = {
      startState: (batch) => ({ s: zeros([batch, 1]) }),
      step: (tokens, state) => ({ logits: table.take(tokens) as Tensor<[number, number], "float32">, state }),
    };
    const options = { numBeams: 4, numReturnSequences: 4, maxNewTokens: 2, eosTokenId: 3 };
    const { sequences, scores, isFinished } = await generate(allowed, { prompt: [[1], [2], [0]], ...options });
    expect(sequences.map(String)).toEqual(["2", "", "", "", "", "", "", "", ...sequences.slice(8).map(String)]);
    expect(scores!.map(Number.isFinite)).toEqual([
      true,
      false,
      false,
      false,
      true,
      false,
      false,
      false,
      ...Array(4).fill(true),
    ]);
    expect(isFinished.slice(0, 5)).toEqual([true, false, false, false, true]);
    expect(new Set(sequences.slice(8).map(String)).size).toBe(4);
  });

  test.each([
    ["NaN", Number.NaN],
    ["−∞ for every token", Number.NEGATIVE_INFINITY],
  ])("refuses logits that are %s", async (_, logit) => {
    const broken: StepModel<{ s: Tensor<[number, 1], "float32"> }> = {
      startState: (batch) => ({ s: zeros([batch, 1]) }),
      step: (tokens, state) => ({
        logits: where(
          tokens.reshape([tokens.sizes()[0], 1]).equal(1),
          zeros([1, 4]).add(logit),
          zeros([1, 4]),
        ) as Tensor<[number, number], "float32">,
        state,
      }),
    };
    const ways: Omit<GenerateOptions, "state">[] = [
      { numBeams: 2 },
      {},
      { seed: 0, temperature: 2 },
      { topK: 2 },
      { topP: 0.9 },
    ];
    for (const way of [...ways, { repetitionPenalty: 2 }])
      for (const maxNewTokens of [1, 5])
        await expect(generate(broken, { prompt: [[0], [1]], maxNewTokens, ...way })).rejects.toThrow(
          "generate: the model's logits are NaN, or −∞ for every token",
        );
  });

  test("finds a more likely sequence than the greedy choice", async () => {
    const logProbability = async (prompt: number[], tokens: readonly number[]): Promise<number> => {
      let sum = 0;
      for (const [i, token] of tokens.entries())
        sum += Math.log(softmax(await logitsAfter([...prompt, ...tokens.slice(0, i)]))[token]!);
      return sum;
    };
    const { sequences } = await generate(tested, { prompt: [1], maxNewTokens: 6, numBeams: 40, lengthPenalty: 0 });
    const simple = await greedy([1], 6);
    expect(await logProbability([1], sequences[0]!)).toBeGreaterThanOrEqual(await logProbability([1], simple));
  });
});

describe("an error of one request is told once, to whoever made it", () => {
  const bad = vocabulary + 3;
  const afterwards = async (): Promise<void> => {
    const other = compile((x: Tensor<[1], "float32">) => x.mul(2));
    expect(await other(tensor([1])).array()).toEqual([2]);
    expect(untoldErrors()).toEqual([]);
  };

  test.each<[string, GenerateOptions<State>]>([
    ["greedily", {}],
    ["by draws", { doSample: true, seed: 1 }],
    ["by draws of several", { doSample: true, seed: 1, numReturnSequences: 2 }],
    ["by beams", { numBeams: 2 }],
  ])("%s", async (_, options) => {
    for (const prompt of [[bad], [1, bad, 2]]) {
      await expect(generate(tested, { prompt, maxNewTokens: 6, ...options })).rejects.toThrow(`index ${bad}`);
      await afterwards();
    }
  });

  test("as a stream, and when the stream is stopped", async () => {
    const read = async (prompt: number[], most: number): Promise<number> => {
      let steps = 0;
      for await (const _ of generate(tested, { prompt, maxNewTokens: 9 })) if (++steps === most) break;
      return steps;
    };
    await expect(read([bad], 9)).rejects.toThrow(`index ${bad}`);
    await afterwards();
    // The first token of this model is right, and the second one fails, which is queued with the first.
    const failsLater: StepModel<State> = {
      ...tested,
      step(tokens, state) {
        const { logits } = tested.step(tokens, state);
        return { logits, state: { ...state, fed: state.fed.add(tensor([0]).take(state.fed).cast("int32")).add(1) } };
      },
    };
    let steps = 0;
    for await (const _ of generate(failsLater, { prompt: [1], maxNewTokens: 9 })) if (++steps === 1) break;
    await afterwards();
    await expect(generate(failsLater, { prompt: [1], maxNewTokens: 9 })).rejects.toThrow("index 1");
    await afterwards();
  });

  test.each([1, 2])("among many at once, %i beams", async (numBeams) => {
    for (const before of [[], [1, 2]]) {
      const all = [bad, 1, bad + 1, 2, 3].map((token) =>
        Promise.resolve(generate(tested, { prompt: [...before, token, ...before], maxNewTokens: 6, numBeams })),
      );
      const results = await Promise.allSettled(all);
      expect(results.map(({ status }) => status === "fulfilled")).toEqual([false, true, false, true, true]);
      expect(results.map((each) => /index \d+/.exec(`${(each as { reason?: unknown }).reason}`)?.[0])).toEqual([
        `index ${bad}`,
        undefined,
        `index ${bad + 1}`,
        undefined,
        undefined,
      ]);
      await afterwards();
    }
  });
});

describe("what cannot be", () => {
  test.each<[GenerateOptions<State>, RegExp]>([
    [{}, /a prompt is empty, .*bosTokenId|a prompt is empty/],
    [{ prompt: [] }, /a prompt is empty/],
    [{ prompt: [[1], []] }, /a prompt is empty/],
    [{ prompt: [1.5] }, /ids/],
    [{ prompt: [1], temperature: -1 }, /temperature is -1/],
    [{ prompt: [1], temperature: Number.NaN }, /temperature is NaN/],
    [{ prompt: [1], topK: 0 }, /topK is 0/],
    [{ prompt: [1], topP: 0 }, /topP is 0/],
    [{ prompt: [1], topP: 1.5 }, /topP is 1.5/],
    [{ prompt: [1], repetitionPenalty: 0 }, /repetitionPenalty is 0/],
    [{ prompt: [1], maxNewTokens: 0 }, /maxNewTokens is 0/],
    [{ prompt: [1], numBeams: 2, topK: 3 }, /a beam search draws nothing/],
    [{ prompt: [1], lengthPenalty: 2 }, /for a beam search/],
    [{ prompt: [1], numReturnSequences: 2 }, /all would be equal/],
    [{ prompt: [1], numBeams: 2, numReturnSequences: 3 }, /of 2 beams/],
    [{ prompt: [1], doSample: false, topK: 2 }, /doSample is false and topK is given/],
    [{ prompt: [1], maxTokens: 3 } as GenerateOptions<State>, /maxTokens/],
  ])("%j is refused", (options, message) => {
    expect(() => generate(tested, options)).toThrow(message);
  });

  test("something that is no model", () => {
    expect(() => generate({} as StepModel<State>, { prompt: [1] })).toThrow(/step and startState/);
  });

  test("a stream of a beam search", () => {
    const search = generate(tested, { prompt: [1], numBeams: 2 });
    expect(() => search[Symbol.asyncIterator]()).toThrow(/only at the end/);
  });

  test("a token beyond the vocabulary", async () => {
    await expect(generate(tested, { prompt: [vocabulary] })).rejects.toThrow(/7/);
  });

  test.each<[string, unknown, string]>([
    ["nothing", undefined, "the step returned undefined"],
    ["a promise", Promise.resolve({}), "the step returned a promise"],
    ["logits that are no tensor", { logits: [1], state: [] }, "the step returned a record { logits, state }"],
    ["no state", { logits: tensor([[1, 2]]) }, "is float32[1, 1] before a step and missing after it"],
  ])("a step that returns %s", async (_, output, sentence) => {
    const own = { startState: () => tensor([[1]]), step: () => output } as never as StepModel<Tensor>;
    for (const prompt of [[1], [1, 2]]) await expect(generate(own, { prompt })).rejects.toThrow(sentence);
  });

  test.each([{}, { doSample: true }, { numBeams: 2 }, { minNewTokens: 2 }])(
    "an end beyond the vocabulary, %j",
    async (options) => {
      const request = { prompt: [1], eosTokenId: [2, 99], maxNewTokens: 4, ...options };
      await expect(generate(tested, request)).rejects.toThrow(
        `eosTokenId is 99, and the model has logits for ${vocabulary} tokens`,
      );
      await expect(generate(tested, request)).rejects.toThrow("eosTokenId is 99");
    },
  );

  test("a number of a prompt that is no id is named", () => {
    for (const prompt of [
      [1, -1],
      [[1], [2, -1]],
    ])
      expect(() => generate(tested, { prompt })).toThrow("which -1 is not");
    expect(() => generate(tested, { prompt: [1.5] })).toThrow("which 1.5 is not");
  });

  test("a prefill that returns no state", async () => {
    const own: StepModel<State> = { ...model(0), prefill: () => undefined as never };
    await expect(generate(own, { prompt: [1, 2] })).rejects.toThrow("before prefill and missing after it");
  });

  const sizes = { width: 8, heads: 2, layers: 1 };
  const shape = { hiddenSize: 8, numHiddenLayers: 1, numAttentionHeads: 2 };
  test.each<[string, () => { step(tokens: never, state: never): unknown }, string]>([
    ["gpt2LMHeadModel", () => gpt2LMHeadModel({ vocabSize: 12, ...shape }), "give { cache, positions }"],
    [
      "transformer",
      () => transformer({ vocabularySize: 12, startToken: 1, ...sizes }),
      "give { caches, sourceMask, pos",
    ],
    ["seq2seq", () => seq2seq({ sourceSize: 5, targetSize: 5, startToken: 1 }), "give { h, c, memory, keys, mask }"],
    ["recurrentLanguageModel", () => recurrentLanguageModel(12), "give { h, c }"],
  ])("a state of another model: %s", async (_, make, sentence) => {
    const own = make() as never as StepModel<unknown> & { step(...args: unknown[]): unknown };
    const cache = [{ key: tensor([[1]]) }];
    for (const state of [{}, tensor([1]), tensor([[1, 2]]), { cache, positions: tensor([0], "int32"), h: tensor([1]) }])
      for (const prompt of [[1], [1, 2]]) await expect(generate(own, { prompt, state })).rejects.toThrow(sentence);
    expect(() => own.step(tensor([1], "int32"))).toThrow(sentence);
    if (own.prefill)
      expect(() => own.prefill!(tensor([[1]], "int32"), tensor([1], "int32"), undefined)).toThrow(sentence);
  });

  test("a state without the batch first, and logits of another batch", async () => {
    const layersFirst: StepModel<Tensor> = {
      startState: () => tensor([[[1, 2]]]),
      step: (tokens, state) => ({ logits: tested.step(tokens, tested.startState(2, 1)).logits, state }),
    };
    await expect(generate(layersFirst, { prompt: [[1], [2]] })).rejects.toThrow(/batch the first axis/);
    const flat: StepModel<State> = {
      ...tested,
      step: (tokens, state) => ({ ...tested.step(tokens, state), logits: tensor([[1, 2]]) }),
    };
    await expect(generate(flat, { prompt: [[1], [2]] })).rejects.toThrow(/logits for 2 tokens/);
    const grows: StepModel<State> = {
      ...tested,
      step: (tokens, state) => ({
        ...tested.step(tokens, state),
        state: { ...state, fed: tensor([[0]], "int32") as never },
      }),
    };
    await expect(generate(grows, { prompt: [1] })).rejects.toThrow(/before a step/);
  });
});
