/** `minNewTokens` and `noRepeatNgramSize` of `generate`, against plain TypeScript over the logits of a GPT without its cache. */
import { describe, expect, test } from "vitest";
import {
  type GenerateOptions as AllOptions,
  generate,
  gpt2LMHeadModel,
  randomGenerator,
  type StepModel,
  type Tensor,
  tensor,
  zeros,
} from "../../src/node.ts";

type GenerateOptions = Omit<AllOptions, "state">;

const vocabulary = 6;
const model = gpt2LMHeadModel(
  {
    ...{ vocabSize: vocabulary, hiddenSize: 16, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 40 },
    ...{ embdPdrop: 0, residPdrop: 0, attnPdrop: 0, initializerRange: 0.5 },
  },
  { generator: randomGenerator(4) },
);

const memory = new Map<string, readonly number[]>();

/** The logits after tokens, all of which are read at once. */
async function logitsAfter(tokens: readonly number[]): Promise<readonly number[]> {
  const key = tokens.join();
  const rows = memory.get(key) ?? (await model(tensor([[...tokens]], "int32")).logits.array())[0]!.at(-1)!;
  memory.set(key, rows);
  return rows;
}

const logSoftmax = (logits: readonly number[]): number[] => {
  const sum = Math.log(logits.reduce((total, x) => total + Math.exp(x), 0));
  return logits.map((x) => x - sum);
};

/** The scores of each next token as Hugging Face's processors leave them. */
function processed(
  scores: readonly number[],
  prompt: readonly number[],
  made: readonly number[],
  { eosTokenId = [], minNewTokens = 0, noRepeatNgramSize: n = 0, repetitionPenalty = 1 }: GenerateOptions,
): number[] {
  const fed = [...prompt, ...made];
  const changed = scores.map((x, i) => (fed.includes(i) ? (x < 0 ? x * repetitionPenalty : x / repetitionPenalty) : x));
  if (n > 0 && fed.length + 1 >= n) {
    // Hugging Face's `_get_ngrams` and `_get_generated_ngrams`: what followed each run of n − 1 tokens.
    const followers = new Map<string, number[]>();
    for (let i = 0; i + n <= fed.length; i++) {
      const before = fed.slice(i, i + n - 1).join();
      followers.set(before, [...(followers.get(before) ?? []), fed[i + n - 1]!]);
    }
    const last = n === 1 ? "" : fed.slice(1 - n).join();
    for (const token of followers.get(last) ?? []) changed[token] = Number.NEGATIVE_INFINITY;
  }
  if (made.length < minNewTokens)
    for (const end of [eosTokenId].flat()) if (end < vocabulary) changed[end] = Number.NEGATIVE_INFINITY;
  return changed;
}

async function greedy(prompt: readonly number[], most: number, options: GenerateOptions): Promise<number[]> {
  const made: number[] = [];
  while (made.length < most) {
    const scores = processed(await logitsAfter([...prompt, ...made]), prompt, made, options);
    const next = scores.indexOf(Math.max(...scores));
    if ([options.eosTokenId ?? []].flat().includes(next)) break;
    made.push(next);
  }
  return made;
}

/** Beam search as its definition: sorts all continuations of all beams at each step. */
async function beamSearch(prompt: readonly number[], most: number, options: GenerateOptions) {
  const { numBeams: beams = 1, eosTokenId = [] } = options;
  const isEnd = (token: number): boolean => [eosTokenId].flat().includes(token);
  let running: { made: number[]; sum: number }[] = [{ made: [], sum: 0 }];
  let ended: { tokens: number[]; score: number }[] = [];
  const end = (tokens: number[], sum: number, length: number): void => {
    ended = [...ended, { tokens, score: sum / length }].sort((a, b) => b.score - a.score).slice(0, beams);
  };
  for (let length = 1; length <= most; length++) {
    const all: { made: number[]; token: number; sum: number }[] = [];
    for (const { made, sum } of running) {
      const logs = processed(logSoftmax(await logitsAfter([...prompt, ...made])), prompt, made, options);
      for (const [token, log] of logs.entries())
        if (log > Number.NEGATIVE_INFINITY) all.push({ made, token, sum: sum + log });
    }
    all.sort((a, b) => b.sum - a.sum);
    for (const { made, token, sum } of all.slice(0, beams)) if (isEnd(token)) end(made, sum, length);
    running = all
      .filter(({ token }) => !isEnd(token))
      .slice(0, beams)
      .map(({ made, token, sum }) => ({ made: [...made, token], sum }));
    if (ended.length === beams && (all.length === 0 || ended.at(-1)!.score >= all[0]!.sum / length)) return ended;
  }
  for (const { made, sum } of running) end(made, sum, most);
  return ended;
}

const prompts = [[1], [2, 3, 4, 3], [5, 0, 5]];
const most = 14;
const rules: readonly GenerateOptions[] = [
  { noRepeatNgramSize: 2 },
  { noRepeatNgramSize: 3 },
  { noRepeatNgramSize: 5, repetitionPenalty: 0.6 },
  { noRepeatNgramSize: 40 },
  { minNewTokens: 6, eosTokenId: 3 },
  { minNewTokens: most, eosTokenId: [3, 0, 4] },
  { minNewTokens: 6 },
  { minNewTokens: 4, eosTokenId: [1, 2], noRepeatNgramSize: 2 },
  { minNewTokens: 5, eosTokenId: 5, noRepeatNgramSize: 3, repetitionPenalty: 1.3 },
];

describe("greedy", () => {
  test.each(rules)("%j, in a batch of prompts of different lengths", async (options) => {
    const { sequences, isFinished } = await generate(model, { prompt: prompts, maxNewTokens: most, ...options });
    const wanted = await Promise.all(prompts.map((prompt) => greedy(prompt, most, options)));
    expect(sequences).toEqual(wanted);
    expect(isFinished).toEqual(wanted.map(({ length }) => length < most));
  });

  test("the rules make a difference", async () => {
    const plain = async (given: GenerateOptions) => (await generate(model, { prompt: prompts, ...given })).sequences;
    expect(await plain({ noRepeatNgramSize: 2 })).not.toEqual(await plain({}));
    const short = await plain({ eosTokenId: [0, 3, 4] });
    const long = await plain({ eosTokenId: [0, 3, 4], minNewTokens: 6 });
    expect(Math.min(...short.map(({ length }) => length))).toBeLessThan(6);
    expect(Math.min(...long.map(({ length }) => length))).toBeGreaterThanOrEqual(6);
    expect(await plain({ noRepeatNgramSize: 0, minNewTokens: 0 })).toEqual(await plain({}));
  });

  test("unigrams that are all there leave no token, which is said", async () => {
    const options = { prompt: [1, 2], noRepeatNgramSize: 1 };
    const { sequences } = await generate(model, { ...options, maxNewTokens: vocabulary - 2 });
    expect(new Set([1, 2, ...sequences[0]!]).size).toBe(vocabulary);
    await expect(Promise.resolve(generate(model, options))).rejects.toThrow(
      /−∞ for every token that noRepeatNgramSize allows\n {2}fix: .*give a larger noRepeatNgramSize/,
    );
  });
});

describe("beam search", () => {
  test.each(rules.map((options) => ({ ...options, numBeams: 3 })))("%j", async (options) => {
    const { numBeams } = options;
    const found = await generate(model, {
      ...{ prompt: prompts, maxNewTokens: most, numReturnSequences: numBeams, ...options },
    });
    for (const [i, prompt] of prompts.entries()) {
      const wanted = await beamSearch(prompt, most, options);
      const own = <T>(all: readonly T[]): T[] => all.slice(i * numBeams, (i + 1) * numBeams);
      expect(own(found.sequences)).toEqual(wanted.map(({ tokens }) => tokens));
      for (const [k, { score }] of wanted.entries()) expect(own(found.scores!)[k]).toBeCloseTo(score, 4);
    }
  });

  test("where no token is left, there are no more sequences", async () => {
    const { sequences, scores } = await generate(model, { prompt: [1], numBeams: 2, noRepeatNgramSize: 1 });
    expect([sequences, scores]).toEqual([[[]], [Number.NEGATIVE_INFINITY]]);
  });
});

test.each<GenerateOptions>([
  { noRepeatNgramSize: 2 },
  { noRepeatNgramSize: 3, temperature: 1.7 },
  { minNewTokens: 2, eosTokenId: [1, 4] },
])("draws with %j have the probabilities that are left", async (options) => {
  const prompt = [2, 3, 2, 1, 4];
  const count = 8000;
  const given = { prompt, maxNewTokens: 3, numReturnSequences: count, doSample: true, seed: 3, ...options };
  const { sequences } = await generate(model, given);
  const counts = new Map<string, number>();
  for (const sequence of sequences) counts.set(sequence.join(), (counts.get(sequence.join()) ?? 0) + 1);
  const wanted = new Map<string, number>();
  const follow = async (made: readonly number[], probability: number): Promise<void> => {
    if (made.length === 3) {
      wanted.set(made.join(), probability);
      return;
    }
    const scores = processed(await logitsAfter([...prompt, ...made]), prompt, made, options);
    const shares = logSoftmax(scores.map((x) => x / (options.temperature ?? 1))).map(Math.exp);
    for (const [token, share] of shares.entries()) {
      if (share === 0) continue;
      if (![options.eosTokenId ?? []].flat().includes(token)) await follow([...made, token], probability * share);
      else wanted.set(made.join(), (wanted.get(made.join()) ?? 0) + probability * share);
    }
  };
  await follow([], 1);
  for (const sequence of counts.keys()) expect(wanted.has(sequence)).toBe(true);
  for (const [sequence, p] of wanted)
    expect(Math.abs((counts.get(sequence) ?? 0) / count - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / count) + 1e-4);
});

test("one compilation serves all tokens, and other numbers of them", async () => {
  let traces = 0;
  const table = tensor(Array.from({ length: 5 }, (_, i) => [0, 1, 2, 3, 4].map((k) => Math.sin(3 * i + k))));
  const counted: StepModel<{ s: Tensor<[number, 1], "float32"> }> = {
    startState: (batch) => ({ s: zeros([batch, 1]) }),
    step(tokens, state) {
      traces++;
      return { logits: table.take(tokens) as Tensor<[number, number], "float32">, state };
    },
  };
  const options = { prompt: [1], maxNewTokens: 24, noRepeatNgramSize: 2, eosTokenId: 0, minNewTokens: 3 };
  for (const kind of [{}, { doSample: true, seed: 1 }, { numBeams: 3 }]) {
    traces = 0;
    await generate(counted, { ...options, ...kind });
    expect(traces).toBe(1);
    await generate(counted, { ...options, ...kind, minNewTokens: 11 });
    expect(traces).toBe(1);
  }
});

test.each<[GenerateOptions, RegExp]>([
  [{ minNewTokens: -1 }, /minNewTokens is -1\n {2}fix: give a whole number from 0 on; 0 means none/],
  [{ minNewTokens: 2.5 }, /minNewTokens.* is 2\.5/],
  [{ minNewTokens: 21 }, /minNewTokens is 21, and maxNewTokens 20\n {2}fix: give a larger maxNewTokens/],
  [{ noRepeatNgramSize: -2 }, /noRepeatNgramSize is -2\n {2}fix: give a whole number from 0 on/],
  [{ noRepeatNgramSize: "3" as never }, /noRepeatNgramSize.* is "3"/],
  [{ noRepeatNGramSize: 3 } as never, /noRepeatNGramSize.*\n {2}fix: .*did you mean noRepeatNgramSize/],
])("%j is refused", (options, sentence) => {
  expect(() => generate(model, { prompt: [1], ...options })).toThrow(sentence);
});
