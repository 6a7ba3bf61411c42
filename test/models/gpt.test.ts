/** GPT-2's decoding: with a cache of keys and values it computes what it computes without. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  generate,
  gpt2LMHeadModel,
  nodeEngine,
  randomGenerator,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";

const model = gpt2LMHeadModel(
  {
    vocabSize: 31,
    hiddenSize: 12,
    numHiddenLayers: 3,
    numAttentionHeads: 3,
    maxPositionEmbeddings: 16,
    initializerRange: 0.4,
  },
  { generator: randomGenerator(3) },
).eval();

/** The most likely next token of each text, computed anew for each token. */
async function withoutCache(prompt: readonly number[], count: number): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const logits = (await model(tensor([ids], "int32")).logits.array()) as number[][][];
    const last = logits[0]!.at(-1)!;
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(prompt.length);
}

describe("GPT-2 writes on", () => {
  beforeEach(() => useEngine(nodeEngine()));

  test("steps with a cache give the logits of the whole text", async () => {
    const ids = [
      [4, 8, 15, 16, 23, 3],
      [30, 1, 1, 2, 5, 7],
    ];
    const whole = (await model(tensor(ids, "int32")).logits.array()) as number[][][];
    let state = model.startState(2, 6);
    for (let t = 0; t < 6; t++) {
      const { logits, state: next } = model.step(
        tensor(
          ids.map((row) => row[t]!),
          "int32",
        ),
        state,
      );
      state = next;
      const now = (await logits.array()) as number[][];
      for (const [row, values] of now.entries())
        for (const [k, value] of values.entries()) expect(value).toBeCloseTo(whole[row]![t]![k]!, 4);
    }
    expect(await state.positions.array()).toEqual([6, 6]);
  });

  test("texts of different lengths go on together as each does alone", async () => {
    const prompts = [[4], [8, 15, 16, 23, 3], [30, 1, 1]];
    const { sequences } = await generate(model, { prompt: prompts, maxNewTokens: 8 });
    for (const [i, prompt] of prompts.entries()) expect(sequences[i]).toEqual(await withoutCache(prompt, 8));
  });

  test("a beam search of one beam more finds a text that is at least as likely", async () => {
    const logLikelihood = async (prompt: readonly number[], ids: readonly number[]): Promise<number> => {
      const logits = model(tensor([[...prompt, ...ids]], "int32")).logits as Tensor;
      const logs = (await logits.logSoftmax(-1).array()) as number[][][];
      return ids.reduce((sum, id, i) => sum + logs[0]![prompt.length - 1 + i]![id]!, 0);
    };
    const prompt = [5, 6];
    const greedy = await generate(model, { prompt, maxNewTokens: 6 });
    const beams = await generate(model, { prompt, maxNewTokens: 6, numBeams: 8 });
    const [a, b] = [
      await logLikelihood(prompt, greedy.sequences[0]!),
      await logLikelihood(prompt, beams.sequences[0]!),
    ];
    expect(b).toBeGreaterThanOrEqual(a - 1e-4);
  });

  test("caches go from step to step in the same memory", async () => {
    const engine = nodeEngine();
    let large = 0;
    useEngine({
      ...engine,
      buffer(type, values, isOwned) {
        if (type.shape.length === 4 && values === undefined) large++;
        return engine.buffer(type, values, isOwned);
      },
    });
    const counts: number[] = [];
    for (const options of [{}, { numBeams: 2 }])
      for (const maxNewTokens of [6, 14]) {
        large = 0;
        await generate(model, { prompt: [[1, 2], [3]], maxNewTokens, ...options });
        counts.push(large);
      }
    const caches = 2 * 3; //  keys and values of three layers
    expect(counts[0]).toBeGreaterThanOrEqual(2 * caches);
    for (const count of counts) expect(count).toBeLessThanOrEqual(6 * caches); //  not one for each step
  });

  test("a state that the caller gave is still there afterwards", async () => {
    const started = model.startState(1, 10);
    const { state } = model.step(tensor([4], "int32"), started);
    const before = await state.cache[0]!.key.array();
    const once = await generate(model, { prompt: [5], maxNewTokens: 5, state });
    const again = await generate(model, { prompt: [5], maxNewTokens: 5, state });
    expect(again.sequences).toEqual(once.sequences);
    expect(await state.cache[0]!.key.array()).toEqual(before);
  });

  test("more tokens than positions are refused before anything runs", async () => {
    await expect(Promise.resolve(generate(model, { prompt: [1, 2, 3], maxNewTokens: 15 }))).rejects.toThrow(
      "positions for 16",
    );
  });
});
