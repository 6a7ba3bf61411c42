/** `glissade generate`, on a model that has hardly learnt anything: what it writes does not matter here. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import "../../src/node.ts"; // the engine of Node
import { glissade } from "../support/cli.ts";

let folder: string;
let run: string;
let trained: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-generate-"));
  run = path.join(folder, "names");
  const small = ["--hidden-size", "16", "--embedding-size", "8", "--batch-size", "512"];
  const { code, out, err } = await glissade("train", "names", "--max-steps", "20", ...small, "--out", run);
  expect(err).toBe("");
  expect(code).toBe(0);
  trained = out;
}, 300_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

const textsOf = (out: string): { text: string; tokens: number; isFinished: boolean; score?: number }[] =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

test("the end of a training shows what the model writes, and says how to have more", () => {
  expect(trained).toMatch(/What it writes\n\n(.*\n){10}/);
  expect(trained).toContain(`npx glissade generate ${run}`);
});

test("a text is written as it is made; the same seed writes the same", async () => {
  let written = "";
  const stdout = vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    written += String(text);
    return true;
  });
  const one = await glissade("generate", run, "San", "--seed", "3").finally(() => stdout.mockRestore());
  expect(one.code).toBe(0);
  expect(written).toMatch(/^San.*\n$/);
  const again = await glissade("generate", run, "San", "--seed", "3", "--json");
  expect(textsOf(again.out)).toHaveLength(1);
  expect(`${textsOf(again.out)[0]!.text}\n`).toBe(written);
});

test("several texts, with what is drawn from", async () => {
  const words = [
    "--count",
    "4",
    "--temperature",
    "1.5",
    "--top-k",
    "5",
    "--top-p",
    "0.9",
    "--repetition-penalty",
    "1.2",
  ];
  const { out } = await glissade("generate", run, ...words, "--max-new-tokens", "6", "--seed", "1", "--json");
  const texts = textsOf(out);
  expect(texts).toHaveLength(4);
  for (const { text, tokens, isFinished } of texts) {
    expect([...text].length).toBe(tokens);
    expect(isFinished || tokens === 6).toBe(true);
  }
});

test("no letter twice, and a text that is not shorter than wanted", async () => {
  const words = ["generate", run, "--count", "6", "--max-new-tokens", "9", "--seed", "2", "--json"];
  const { out, err } = await glissade(...words, "--no-repeat-ngram-size", "1", "--min-new-tokens", "7");
  expect(err).toBe("");
  for (const { text, tokens } of textsOf(out)) {
    expect(tokens).toBeGreaterThanOrEqual(7);
    expect(new Set(text).size).toBe(text.length);
  }
  const plain = textsOf((await glissade(...words)).out);
  expect(plain.some(({ text }) => new Set(text).size < text.length)).toBe(true);
  const none = await glissade(...words, "--no-repeat-ngram-size", "0", "--min-new-tokens", "0");
  expect(textsOf(none.out)).toEqual(plain);
  const alone = await glissade("generate", run, "--no-repeat-ngram-size");
  expect(alone.err).toMatch(/argument missing/);
  const long = await glissade(...words, "--min-new-tokens", "10");
  expect(long.err).toMatch(/minNewTokens is 10, and maxNewTokens 9/);
});

test("a beam search, with scores, best first", async () => {
  const { out } = await glissade("generate", run, "B", "--num-beams", "3", "--count", "2", "--json");
  const [best, second] = textsOf(out);
  expect(best!.score).toBeGreaterThanOrEqual(second!.score!);
});

test("what cannot be is said", async () => {
  const letter = await glissade("generate", run, "日本");
  expect(letter.err).toMatch(/"日" is not in the vocabulary/);
  const wrong = await glissade("generate", run, "--top-p", "2");
  expect(wrong.err).toMatch(/topP is 2/);
  const iris = path.join(folder, "iris");
  await glissade("train", "iris", "--epochs", "1", "--out", iris);
  const { err, code } = await glissade("generate", iris);
  expect(err).toMatch(/is a run of iris, whose model writes no texts\n {2}fix: name a run of gpt/);
  expect(code).toBe(1);
  expect((await glissade("evaluate", iris, "--test")).err).toMatch(/iris has no test data/);
});
