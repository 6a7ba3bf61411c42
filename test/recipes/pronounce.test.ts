/** The recipe that pronounces words: what its metrics count, and sampled inputs in a training. */
import { beforeAll, expect, test } from "vitest";
import type { Seq2Seq } from "../../src/models/seq2seq.ts";
import {
  type BatchSource,
  errorRate,
  fit,
  loadCmudict,
  type PreparedRecipe,
  type Tensor,
  tensor,
  validate,
} from "../../src/node.ts";
import recipe, { letters, phones } from "../../src/recipes/pronounce.ts";

type Ids = Tensor<[number, number], "int32">;
let prepared: PreparedRecipe;

beforeAll(async () => {
  prepared = await recipe.prepare({ setting: "short", hiddenSize: 8, embeddingSize: 4, teacherForcing: 0.5 });
});

test("a training with sampled inputs makes steps, and its checkpoint holds how many", async () => {
  const { setup, options } = prepared;
  const result = await fit(setup, { ...options, fastDevRun: 2, evalStrategy: "no", onEvent: () => {} });
  expect(result).toMatchObject({ step: 2, reason: "finished" });
  expect(await setup.state!.sampling!.namedStates().get("updates")!.item()).toBe(2);
});

test("no word is in both parts, and all letters and phones are known", async () => {
  const { train, test: heldOut } = await loadCmudict();
  const learnt = new Set(train.map(({ word }) => word));
  expect(heldOut).toHaveLength(12_000);
  for (const { word, pronunciations } of [...train, ...heldOut]) {
    letters.encode(word);
    for (const spoken of pronunciations) phones.encode(spoken);
  }
  expect(heldOut.filter(({ word }) => learnt.has(word))).toEqual([]);
});

test("metrics count what the steps of the decoder say, against every listed pronunciation", async () => {
  const { setup } = prepared;
  const report = await validate(setup, { limitValidationBatches: 1 });
  const source = setup.validation as BatchSource;
  source.resume({ epoch: 0, batch: 0 });
  const [first] = source as Iterable<readonly [Ids]>;
  const [words] = first!;
  const rows = (await words.array()) as number[][];
  const [count, time] = words.sizes();
  const model = (setup.model as unknown as Seq2Seq).eval();
  const lengths = tensor(
    rows.map((row) => row.filter((id) => id !== 0).length),
    "int32",
  );
  let state: ReturnType<Seq2Seq["encode"]> = model.encode(words, { lengths });
  let tokens: Tensor<[number], "int32"> = tensor(Array<number>(count).fill(model.startToken), "int32");
  const ids: number[][] = rows.map(() => []);
  for (let t = 0; t < time + 6; t++) {
    const next = model.step(tokens, state);
    const best = (await next.logits.argmax(-1).array()) as number[];
    for (const [row, id] of best.entries()) ids[row]!.push(id);
    tokens = tensor(best, "int32");
    state = next.state;
  }
  const said = ids.map((row) => phones.decode(row));
  const { test: heldOut } = await loadCmudict();
  const known = new Map(heldOut.map(({ word, pronunciations }) => [word, pronunciations]));
  const written = rows.map((row) => letters.decode(row).join(""));
  const wanted = errorRate(
    said,
    written.map((word) => known.get(word)!),
  );
  expect(report.examples).toBe(250);
  expect(report.metrics).toEqual({ phonemeErrorRate: wanted.rate, wordErrorRate: wanted.wrong });
});
