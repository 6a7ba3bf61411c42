/** Language models from the command line: pre-trained, exported as a folder, asked, fine-tuned, looked into. */
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import "../../src/node.ts";
import { attentionSvg } from "../../src/cli/attend.ts";
import { classifyCommand } from "../../src/cli/classify.ts";
import { glissade, jsonLines, refused } from "../support/cli.ts";
import { tinyBert, writeReviews, writeStories, writeStory } from "../support/texts.ts";

let stories: string;
let reviews: string;
let story: string;
const inFolder = (name: string): string => path.join(stories, name);
const options = (given: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(given).flatMap(([name, value]) => [`--${name}`, String(value)]);

beforeAll(async () => {
  [stories, reviews, story] = await Promise.all([writeStories(), writeReviews(), writeStory()]);
  const trained = await glissade(
    ...["train", "bert-pretrain", "--folder", stories, "--epochs", "2", "--batchSize", "8"],
    ...options(tinyBert),
    ...["--out", inFolder("pre")],
  );
  expect(trained.err).toBe("");
  expect(trained.code).toBe(0);
  const exported = await glissade("export", inFolder("pre"), "--format", "pretrained", "--out", inFolder("model"));
  expect(exported.code).toBe(0);
}, 120_000);

afterAll(async () => {
  for (const each of [stories, path.dirname(reviews), path.dirname(story)]) await rm(each, { recursive: true });
});

describe("fill", () => {
  test("gives the same words from the run and from the exported folder", async () => {
    const words = ["fill", "The [MASK] sat on the [MASK].", "--top-k", "3", "--json"];
    const fromRun = await glissade(...words, "--run", inFolder("pre"), "--checkpoint", "best");
    const fromFolder = await glissade(...words, "--run", inFolder("model"));
    expect(fromRun.err).toBe("");
    expect(fromRun.out).toBe(fromFolder.out);
    const found = jsonLines(fromRun.out) as { mask: number; token: string; score: number; sequence: string }[];
    expect(found.map(({ mask }) => mask)).toEqual([0, 0, 0, 1, 1, 1]);
    expect(found[0]!.sequence).toBe(`the ${found[0]!.token} sat on the [MASK].`);
    expect(found[0]!.score).toBeGreaterThanOrEqual(found[1]!.score);
    const { out } = await glissade("fill", "the [MASK] sat", "--run", inFolder("model"));
    expect(out.trimEnd().split("\n")).toHaveLength(5);
    expect(out).toMatch(/^\S+ +\d+\.\d% .* the \S+ sat$/m);
  });

  test("says what is missing", async () => {
    await refused(["fill", "the [MASK] sat"], /no run is named\n {2}fix: .*--run runs\/bert-pretrain-/);
    await refused(["fill", "the cat sat", "--run", inFolder("model")], /the text has no \[MASK\]/);
    await refused(["fill", " ", "--run", inFolder("model")], /the text is empty/);
    await refused(["fill", "the [MASK]", "--run", inFolder("nowhere")], /nowhere/);
    await refused(["fill", `the [MASK] ${"cat ".repeat(40)}`, "--run", inFolder("model")], /positions for 24/);
  });
});

describe("attend", () => {
  test("draws each head, and writes a picture and all weights", async () => {
    const svg = inFolder("heads.svg");
    const { out, code } = await glissade("attend", "the cat sat", "--run", inFolder("pre"), "--svg", svg);
    expect(code).toBe(0);
    expect(out).toContain("layer 1\n");
    expect(out).toMatch(/head 1 +head 2/);
    expect(out).toMatch(/^\[CLS\] /m);
    const picture = await readFile(svg, "utf8");
    expect(picture).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    expect(picture.match(/class="title"/g)).toHaveLength(2);
    const heads = jsonLines((await glissade("attend", "the cat sat", "--run", inFolder("model"), "--json")).out) as {
      tokens: string[];
      weights: number[][];
    }[];
    expect(heads).toHaveLength(2);
    for (const { tokens, weights } of heads) {
      expect(tokens).toEqual(["[CLS]", "the", "cat", "sat", "[SEP]"]);
      for (const row of weights) expect(row.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 5);
    }
    const one = await glissade("attend", "the cat sat", "--run", inFolder("model"), "--layer", "1", "--head", "2");
    expect(one.out).toMatch(/^layer 1, head 2\n/);
    expect(one.out).toMatch(/ +cat → \S+ +\S* *0\.\d\d/);
    await refused(["attend", "a cat", "--run", inFolder("model"), "--layer", "2"], /there is no layer 2/);
  });

  test("tokens that look like markup stay text in the picture", () => {
    const svg = attentionSvg(
      ["<b>", "&"],
      [
        {
          layer: 1,
          head: 1,
          weights: [
            [1, 0],
            [0.5, 0.5],
          ],
        },
      ],
    );
    expect(svg).toContain("&amp; → &lt;b&gt;");
    expect(svg).not.toContain("<b>");
  });
});

describe("classify", () => {
  /** What is said of lines of standard input. */
  const lines = async (texts: readonly string[]): Promise<Record<string, unknown>[]> => {
    const log = vi.spyOn(console, "log").mockImplementation(() => {});
    const input = Readable.from([texts.map((text) => `${text}\n`).join("")]);
    try {
      await classifyCommand([], { run: inFolder("fine"), checkpoint: "best", json: true }, input);
      return log.mock.calls.map(([text]) => JSON.parse(text as string) as Record<string, unknown>);
    } finally {
      log.mockRestore();
    }
  };

  test("a pre-trained model is fine-tuned, frozen first, and labels texts", async () => {
    const words = ["train", "bert-finetune", "--file", reviews, "--pretrained", inFolder("model"), "--batchSize", "8"];
    const trained = await glissade(...words, "--epochs", "12", "--learningRate", "0.01", "--out", inFolder("fine"));
    expect(trained.err).toBe("");
    expect(trained.code).toBe(0);
    const texts = ["the cat, a fine one, was lovely", "the cow, a bad one, was awful"];
    const found = jsonLines((await glissade("classify", ...texts, "--run", inFolder("fine"), "--json")).out);
    expect(found.map(({ label }) => label)).toEqual(["great", "other"]);
    const { out } = await glissade("classify", texts[0]!, "--run", inFolder("fine"));
    expect(out).toMatch(/^the cat, .*\n {2}great +\d+\.\d% /);
    const cut = await glissade("classify", "cat ".repeat(40), texts[0]!, "--run", inFolder("fine"), "--json");
    expect(cut.err).toMatch(
      /^glissade: classify: cat .*: the text has 42 tokens, and only 24 are used: .* no more positions\n$/,
    );
    expect(jsonLines(cut.out)).toHaveLength(2);
    const lined = await lines(["a cat", "", "  ", "a cow", ""]);
    expect(lined.map(({ text }) => text)).toEqual(["a cat", "", "  ", "a cow", ""]);
    expect(lined[1]).toEqual(jsonLines((await glissade("classify", "", "--run", inFolder("fine"), "--json")).out)[0]);
    await refused(
      ["fill", "the [MASK]", "--run", inFolder("fine")],
      /BertForSequenceClassification, which cannot answer `fill`/,
    );
    await refused(["classify", "a", "--run", inFolder("model")], /BertForPreTraining, which cannot answer `classify`/);
    await refused(
      [...words, "--textColumn", "reviews"],
      /there is no column "reviews"\n {2}fix: name one with --text-column: did you mean "review"\?; the columns are "review", "score"/,
    );
    expect(trained.out).toContain(`npx glissade classify "a fine day" --run ${inFolder("fine")}`);
    await refused(["predict", inFolder("fine")], /takes no rows\n {2}fix: ask it with: npx glissade classify /);
    await refused([...words, "--examples", "1000"], /1000 examples are to be used, and there are 36/);
  }, 120_000);
});

describe("labelled texts", () => {
  const trained = async (content: string, ...words: readonly string[]) => {
    const file = inFolder("moods.csv");
    await writeFile(file, content);
    const columns = ["--text-column", "text", "--label-column", "mood"];
    return glissade("train", "bert-finetune", "--file", file, ...columns, "--fast-dev-run", ...words);
  };

  test("rows without a text or a label are left out with a warning", async () => {
    const rows = ["a fine day,happy", " ,happy", "a wet day,sad", "a day,", "a cold day,sad", "a warm day,happy"];
    const { code, err } = await trained(`text,mood\n${rows.join("\n")}\n`);
    expect(err).toMatch(/^warning: .*moods\.csv: 2 of 6 rows have no text or no label .* in line 3\n$/);
    expect(code).toBe(0);
  });

  test.each([
    ["one row", "text,mood\nhello,happy\n", /column "mood" has one label in 1 row\n {2}fix: .*--label-column/],
    ["no whole row", "text,mood\nhello,\n,sad\n", /none of its 2 rows has both a text and a label/],
    ["nothing", "\n", /moods\.csv: it is empty\n {2}fix: give a row with the names of the columns/],
    ["another column", "text,feeling\nhello,happy\n", /no column "mood"\n {2}fix: name one with --label-column; the/],
  ])("%s is refused with a sentence", async (_, content, sentence) => {
    const { code, err } = await trained(content);
    expect(err).toMatch(sentence);
    expect(code).toBe(1);
  });
});

describe("gpt", () => {
  test("learns a text, and is exported as a folder", async () => {
    const given = { layers: 1, hiddenSize: 16, heads: 2, length: 16, vocabularySize: 300, batchSize: 8, epochs: 1 };
    const trained = await glissade("train", "gpt", "--file", story, ...options(given), "--out", inFolder("gpt"));
    expect(trained.err).toBe("");
    expect(trained.code).toBe(0);
    await glissade("export", inFolder("gpt"), "--format", "pretrained", "--out", inFolder("gpt-model"));
    expect((await stat(inFolder("gpt-model/tokenizer.json"))).size).toBeGreaterThan(100);
    const [head] = jsonLines((await glissade("attend", "The cat", "--run", inFolder("gpt-model"), "--json")).out) as {
      weights: number[][];
    }[];
    expect(head!.weights[0]!.slice(1).every((weight) => weight === 0)).toBe(true); //  no token looks ahead
    const [written] = jsonLines((await glissade("generate", inFolder("gpt"), "The cat", "--seed", "1", "--json")).out);
    expect(written).toMatchObject({ tokens: 8, text: expect.stringMatching(/^The cat/) });
    const again = ["generate", inFolder("gpt-model"), "The cat", "--max-new-tokens", "8", "--seed", "1", "--json"];
    const [fromFolder] = jsonLines((await glissade(...again)).out);
    // The same tokens, but the folder's model ends at the token that ends a text.
    expect(String(written!.text).startsWith(String(fromFolder!.text))).toBe(true);
    const [begun] = jsonLines((await glissade("generate", inFolder("gpt-model"), "--json")).out);
    expect(begun!.tokens).toBeGreaterThan(0);
    for (const folder of ["gpt", "gpt-model"]) {
      const long = await glissade("generate", inFolder(folder), "The cat sat on the mat. ".repeat(4), "--json");
      expect(long.err).toMatch(
        /^glissade: generate: the beginning has \d\d tokens, and only the last 8 are used: .*\n$/,
      );
      expect(long.code).toBe(0);
    }
    expect((await glissade("generate", inFolder("gpt"), "The cat", "--json")).err).toBe("");
    await refused(
      ["generate", inFolder("model")],
      /its model is BertForPreTraining, which writes no texts\n {2}fix: give a folder of GPT2LMHeadModel/,
    );
    await refused(["fill", "the [MASK]", "--run", inFolder("gpt-model")], /GPT2LMHeadModel, which cannot answer/);

    // The folder trains on, with its own sizes and its own tokens.
    const on = ["train", "gpt", "--file", story, "--pretrained", inFolder("gpt-model"), "--batch-size", "8"];
    const further = await glissade(...on, "--epochs", "1", "--out", inFolder("gpt-on"));
    expect(further.err).toBe("");
    expect(further.code).toBe(0);
    const lossOf = async (run: string) => jsonLines((await glissade("evaluate", inFolder(run), "--json")).out)[0]!.loss;
    expect(await lossOf("gpt-on")).toBeLessThan(Number(await lossOf("gpt")));
    const [onward] = jsonLines((await glissade("generate", inFolder("gpt-on"), "The cat", "--json")).out);
    expect(onward!.text).toMatch(/^The cat/);
    await refused(
      [...on.slice(0, 5), inFolder("model")],
      /its model_type is "bert"\n {2}fix: give the folder of a model of type "gpt2"/,
    );
  }, 120_000);
});
