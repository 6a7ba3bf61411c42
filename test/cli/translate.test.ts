/** The recipe and the verb translate: a toy language learnt, evaluated, and asked. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadTrained } from "../../src/cli/checkpoint.ts";
import "../../src/node.ts"; //  the engine
import { glissade } from "../support/cli.ts";
import { writePairs } from "../support/texts.ts";

let folder: string;
let pairs: string;
let out: string;
const inFolder = (name: string): string => path.join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-translate-"));
  pairs = await writePairs();
  const sizes = "--vocabulary-size 400 --max-length 24 --width 32 --heads 2 --layers 1 --dropout 0".split(" ");
  const steps = "--epochs 40 --batch-size 8 --learning-rate 0.01 --warm-up-steps 20".split(" ");
  const held = ["--validation-pairs", "6", "--test-pairs", "4"];
  const given = ["--file", pairs, ...sizes, ...steps, ...held];
  const trained = await glissade("train", "translate", ...given, "--out", inFolder("run"));
  expect(trained).toMatchObject({ code: 0, err: "" });
  out = trained.out;
  await glissade("train", "iris", "--epochs", "1", "--out", inFolder("iris"));
}, 120_000);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("glissade translate", () => {
  test("translates as it has learnt, with beams or without", async () => {
    const sentence = "The cat sleeps on the hill.";
    for (const beams of ["1", "4"]) {
      const { code, out } = await glissade("translate", sentence, "--run", inFolder("run"), "--beams", beams);
      expect(out).toBe("Le chat dort sur la colline.\n");
      expect(code).toBe(0);
    }
    const { out } = await glissade("translate", sentence, "The owl eats", "--run", inFolder("run"), "--json");
    const lines = out.trimEnd().split("\n");
    const said = lines.map((line) => JSON.parse(line) as { readonly source: string; readonly translation: string });
    expect(said.map(({ source }) => source)).toEqual([sentence, "The owl eats"]);
    expect(said[0]!.translation).toBe("Le chat dort sur la colline.");
  });

  test("the pairs that are held out have their BLEU, and the end of the training names the command", async () => {
    for (const set of [[], ["--test"]]) {
      const { code, out } = await glissade("evaluate", inFolder("run"), "--json", ...set);
      expect(code).toBe(0);
      const { bleu } = (JSON.parse(out) as { readonly metrics: { readonly bleu: number } }).metrics;
      expect(bleu).toBeGreaterThan(50);
      expect(bleu).toBeLessThan(100.001);
    }
    expect(out).toContain(`npx glissade translate "Choose a file." --run ${inFolder("run")}`);
  });

  test("the exported network takes sentences of any length that the recipe allows, padded, in any number", async () => {
    const file = path.join(inFolder("run"), "model.onnx");
    expect(out).toContain("inputs int32[batch, time] in, numbers out");
    const { prepared } = await loadTrained(inFolder("run"), "last");
    const tokenizer = prepared.prediction.tokenizer!;
    const session = await InferenceSession.create(file);
    for (const length of [20, 24]) {
      const ids = new Int32Array(2 * length);
      for (const [row, text] of ["The cat sleeps on the hill.", "The owl eats"].entries())
        ids.set(tokenizer.ids(text), row * length);
      const { outputs } = await session.run({ inputs: new OrtTensor("int32", ids, [2, length]) });
      expect(outputs!.dims).toEqual([2, 24]);
      const [first] = [Array.from(outputs!.data as Int32Array).slice(0, 24)];
      expect(tokenizer.decode(first.slice(0, first.indexOf(2)))).toBe("Le chat dort sur la colline.");
    }
  });

  test.each([
    ["an empty text", ["translate", " "], /a text is empty\n {2}fix: give some: glissade translate/],
    ["a long text", ["translate", "The cat sleeps. ".repeat(20), "--run", "run"], /tokens, and the model was trained/],
    [
      "another recipe's run",
      ["translate", "a", "--run", "iris"],
      /is a run of iris, .*\n {2}fix: train one: npx glissade/,
    ],
    ["no run", ["translate", "a", "--run", "nowhere"], /it is no folder of a run/],
    ["no such checkpoint", ["translate", "a", "--run", "run", "--checkpoint", "7"], /there is no checkpoint 7/],
    ["no beams", ["translate", "a", "--beams", "0"], /Give a whole number from 1 on/],
  ])("%s is refused with a sentence", async (_, words, sentence) => {
    const at = words.indexOf("--run") + 1;
    const { code, err } = await glissade(...words.map((word, i) => (at > 0 && i === at ? inFolder(word) : word)));
    expect(err).toMatch(sentence);
    expect(code).toBe(1);
  });

  test("without a run anywhere it says which command trains one", async () => {
    const before = process.cwd();
    process.chdir(inFolder("iris"));
    try {
      const { err, code } = await glissade("translate", "a");
      expect(err).toMatch(
        /there is no trained model in the folder runs\n {2}fix: train one: npx glissade train translate/,
      );
      expect(code).toBe(1);
    } finally {
      process.chdir(before);
    }
  });
});

describe("a run of number-words", () => {
  test("translates numbers, its training names the command, and other verbs do", async () => {
    const sizes = ["--train-numbers", "40", "--test-numbers", "20", "--width", "16", "--heads", "2", "--layers", "1"];
    const trained = await glissade("train", "number-words", ...sizes, "--epochs", "1", "--out", inFolder("nw"));
    expect(trained).toMatchObject({ code: 0, err: "" });
    const command = `npx glissade translate 421907 --run ${inFolder("nw")}`;
    expect(trained.out).toContain(command);
    const { code, out } = await glissade("translate", "42", "Forty-two", "--run", inFolder("nw"), "--json");
    expect(code).toBe(0);
    expect(out).toMatch(/^\{"source":"42","translation":".*"\}\n\{"source":"Forty-two","translation":".*"\}\n$/);
    const hello = await glissade("translate", "hello", "--run", inFolder("nw"));
    expect(hello.err).toMatch(/"hello" is no number, .*\n {2}fix: give a number below a million/);
    for (const verb of ["predict", "generate"]) {
      const { err } = await glissade(verb, inFolder("nw"));
      expect(err).toMatch(/ is a run of number-words, whose model (takes no rows|writes no texts)\n/);
      expect(err).toContain(`fix: ask it with: ${command}\n`);
    }
  }, 60_000);
});

describe("glissade train translate", () => {
  test.each([
    ["no file", [], /the hyperparameter file is not given.*\n {2}fix: give a text .*lines of pairs.*: --file$/m],
    ["a file with too few pairs", ["--file", "pairs"], /it has 72 pairs, and 2500 are to be held out/],
    [
      "pairs that are too long",
      ["--file", "pairs", "--max-length", "2", "--validation-pairs", "5", "--test-pairs", "5"],
      /pairs to learn from have more than 2 tokens/,
    ],
    ["a line that is no pair", ["--file", "bad"], /bad\.tsv:2: the line has no tab/],
  ])("%s is refused with a sentence", async (_, given, sentence) => {
    await writeFile(inFolder("bad.tsv"), "a\tb\nalone\n");
    const files: Readonly<Record<string, string>> = { pairs, bad: inFolder("bad.tsv") };
    const { code, err } = await glissade("train", "translate", ...given.map((word) => files[word] ?? word));
    expect(err).toMatch(sentence);
    expect(code).toBe(1);
  });
});
