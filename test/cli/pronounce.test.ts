/** The verb pronounce, and what `npm start` offers, on a model that has hardly learnt anything. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { PassThrough } from "node:stream";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pronounceModelOf } from "../../src/cli/pronounce.ts";
import { offerWords, sayTyped } from "../../src/cli/start.ts";
import { letters, phones, pronounce } from "../../src/recipes/pronounce.ts";
import "../../src/node.ts"; //  the engine
import { glissade } from "../support/cli.ts";

let folder: string;
const inFolder = (name: string): string => path.join(folder, name);
let out: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-pronounce-"));
  const small = ["--setting", "minute", "--hidden-size", "8", "--embedding-size", "4", "--max-steps", "3"];
  const trained = await glissade("train", "pronounce", ...small, "--out", inFolder("run"));
  expect(trained).toMatchObject({ code: 0, err: "" });
  out = trained.out;
  await glissade("train", "iris", "--epochs", "1", "--out", inFolder("iris"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("glissade pronounce", () => {
  test("writes words with their phones, in their order", async () => {
    const { code, out } = await glissade("pronounce", "Glissade", "don't", "a", "--run", inFolder("run"), "--json");
    expect(code).toBe(0);
    const lines = out.trimEnd().split("\n");
    const said = lines.map((line) => JSON.parse(line) as { readonly word: string; readonly phones: string[] });
    expect(said.map(({ word }) => word)).toEqual(["Glissade", "don't", "a"]);
    for (const { phones: spoken } of said) for (const phone of spoken) expect(phones.idOf(phone)).toBeTypeOf("number");
    const plain = await glissade("pronounce", "glissade", "a", "--run", inFolder("run"), "--beams", "1");
    expect(plain.out).toMatch(/^glissade {2}.*\na {9}.*\n$/);
  });

  test("says the same of a word alone as among longer ones", async () => {
    const { model } = await pronounceModelOf(inFolder("run"), "last");
    const [first] = await pronounce(model, ["cat", "catastrophe"]);
    expect(await pronounce(model, ["cat"])).toEqual([first]);
  });

  test.each([
    ["no word", ["pronounce"], /no word is given\n {2}fix: give some: glissade pronounce glissade/],
    ["words and --held-out", ["pronounce", "a", "--held-out"], /there are words and --held-out/],
    ["no word of letters", ["pronounce", "café", "--run", "run"], /"café" is no word of letters and apostrophes/],
    ["nothing but apostrophes", ["pronounce", "''", "--run", "run"], /"''" is no word of letters and apostrophes/],
    ["another recipe's run", ["pronounce", "a", "--run", "iris"], /is a run of iris\n {2}fix: train one: npx glissade/],
    ["no run", ["pronounce", "a", "--run", "nowhere"], /it is no folder of a run/],
    ["no such checkpoint", ["pronounce", "a", "--run", "run", "--checkpoint", "7"], /there is no checkpoint 7/],
    ["no beams", ["pronounce", "a", "--beams", "0"], /Give a whole number from 1 on/],
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
      const { err, code } = await glissade("pronounce", "a");
      expect(err).toMatch(
        /there is no trained model in the folder runs\n {2}fix: train one: npx glissade train pronounce/,
      );
      expect(code).toBe(1);
    } finally {
      process.chdir(before);
    }
  });

  test("the end of a training names the command, and the exported network says what the model says", async () => {
    expect(out).toContain(`npx glissade pronounce glissade --run ${inFolder("run")}`);
    const session = await InferenceSession.create(path.join(inFolder("run"), "model.onnx"));
    const longest = 40; //  letters that the network takes
    const ids = new Int32Array(longest);
    ids.set(letters.encode("glissade"));
    const { outputs } = await session.run({ inputs: new OrtTensor("int32", ids, [1, longest]) });
    const { model } = await pronounceModelOf(inFolder("run"), "last");
    const [spoken] = await pronounce(model, ["glissade"], { beams: 1 });
    const found = phones.decode(Array.from(outputs!.data as Int32Array));
    const both = Math.min(found.length, spoken!.length); //  one of them may have been cut at its longest
    expect(found.slice(0, both)).toEqual(spoken!.slice(0, both));
  });
});

describe("npm start", () => {
  test("says what is typed, until an empty line; what is no word is no end", async () => {
    const { model } = await pronounceModelOf(inFolder("run"), "last");
    const [input, output] = [new PassThrough(), new PassThrough()];
    const read: string[] = [];
    output.on("data", (text: Buffer) => read.push(text.toString()));
    const done = sayTyped(model, { input, output });
    input.write("hello world\n42\nbye\n\n");
    await done;
    const text = read.join("");
    expect(text).toMatch(/> {3}hello {2}.*\n {2}world {2}/);
    expect(text).toContain('"42" is no word of letters and apostrophes');
    expect(text).toMatch(/> {3}bye {2}/);
  });

  test("asks nothing where nobody can answer", async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    expect(await offerWords({ input, output })).toBe(0);
    expect(String(output.read())).toMatch(
      /\n {2}npx glissade train pronounce --setting minute {2}.*\n {2}npx glissade pronounce /,
    );
  });
});
