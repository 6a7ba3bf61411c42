/** Every recipe of ours goes through a step of everything; definitions and hyperparameters that cannot be are refused. */
import { mkdtemp, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { ModelProtoSchema } from "onnx-buf";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { judgedOn, networkAsOnnx, networkOf } from "../../src/cli/network.ts";
import { Loader } from "../../src/data/loader.ts";
import {
  adam,
  ConfigError,
  dataset,
  defineRecipe,
  fit,
  gpt2LMHeadModel,
  linear,
  meanSquaredError,
  type PreparedRecipe,
  savePretrained,
  type Tensor,
  type Tokenizer,
  tokenizers,
} from "../../src/node.ts";
import { loadRecipe, recipeNames } from "../../src/recipes/index.ts";
import { writeFashion } from "../support/fashion.ts";
import { tinyBert, tinyTranslation, writePairs, writeReviews, writeStories, writeStory } from "../support/texts.ts";

const points = dataset(
  { shape: [4, 1], dtype: "float32", values: Float32Array.of(0, 1, 2, 3) },
  { shape: [4, 1], dtype: "float32", values: Float32Array.of(1, 3, 5, 7) },
);

const line = defineRecipe({
  name: "line",
  description: "a line through points",
  hyperparameters: {
    learningRate: z.number().positive().max(1).default(0.1).describe("of Adam"),
    epochs: z.int().min(1).default(2),
    useBias: z.boolean().default(true),
    kind: z.enum(["plain", "fancy"]).default("plain"),
    sizes: z.array(z.int()).default([1, 2]),
    title: z.string().min(1).optional(),
  },
  setup({ learningRate, epochs }) {
    const model = linear(1, 1);
    const loss = (x: Tensor<[number, 1], "float32">, y: Tensor<[number, 1], "float32">): Tensor =>
      meanSquaredError(model(x), y);
    return { setup: { model, loss, train: points, optimizer: adam(model, { learningRate }) }, options: { epochs } };
  },
});

/** Hyperparameters with which a recipe is small, and has its data. */
async function givenFor(name: string): Promise<Readonly<Record<string, unknown>>> {
  if (name === "fashion") return { folder: await writeFashion() };
  if (name === "bert-pretrain") return { folder: await writeStories(), ...tinyBert };
  if (name === "bert-finetune") return { file: await writeReviews() };
  if (name === "gpt") return { file: await writeStory(), ...tinyBert, vocabularySize: 300 };
  if (name === "translate") return { file: await writePairs(), ...tinyTranslation };
  return {};
}

/** The network of a recipe as ONNX: the columns, and the sizes of the inputs as the file says them. */
async function exported(prepared: PreparedRecipe) {
  const network = await networkOf(prepared);
  const reasons: string[] = [];
  const bytes = await networkAsOnnx(prepared, network, (reason) => reasons.push(reason));
  const { graph } = fromBinary(ModelProtoSchema, bytes);
  const inputs = graph!.input.map(({ name, type }) => ({
    column: Number(name.replace(/\D/g, "")),
    dims: type?.value.case === "tensorType" ? type.value.value.shape!.dim.map(({ value }) => value.value) : [],
  }));
  return { columns: network.columns, inputs, reasons };
}

describe("recipes of ours", () => {
  test("an epoch of a small corpus has all its examples", async () => {
    const epochOf = async (name: "translate" | "number-words", given: Readonly<Record<string, unknown>>) => {
      const { train } = (await (await loadRecipe(name)).prepare(given)).setup;
      return train instanceof Loader ? { of: train.dataset?.length, examples: train.examples } : undefined;
    };
    const file = await writePairs();
    for (const batchSize of [8, 16, 64]) {
      const epoch = await epochOf("translate", { file, ...tinyTranslation, batchSize });
      expect(epoch!.of).toBeGreaterThan(30);
      expect(epoch!.examples).toBe(epoch!.of);
    }
    const numbers = { testNumbers: 50, width: 16, heads: 2, layers: 1 };
    expect(await epochOf("number-words", { ...numbers, trainNumbers: 100 })).toEqual({ of: 200, examples: 200 });
    expect(await epochOf("number-words", { ...numbers, trainNumbers: 10 })).toEqual({ of: 20, examples: 20 });
    expect(await epochOf("number-words", { ...numbers, trainNumbers: 9000 })).toEqual({ of: 18_000, examples: 17_920 });
  });

  test.each(recipeNames)("%s makes a step through everything", async (name) => {
    const recipe = await loadRecipe(name);
    expect(recipe.name).toBe(name);
    for (const { description, wanted } of recipe.hyperparameters) expect(description && wanted).not.toBe("");
    const given = await givenFor(name);
    const prepared = await recipe.prepare({ batchSize: 16, ...given });
    const { setup, options } = prepared;
    const result = await fit(setup, { ...options, fastDevRun: 2, onEvent: () => {} });
    expect(result).toMatchObject({ step: 2, reason: "finished" });
    const measured = Object.values(result.evaluations.at(-1)!.metrics);
    expect(measured.length).toBeGreaterThan(0);
    for (const value of measured) expect(value).toBeTypeOf("number");

    // Its network takes any batch, of sequences of any length.
    const { columns, inputs, reasons } = await exported(prepared);
    expect(reasons).toEqual([]);
    expect(inputs.map(({ dims: [batch] }) => batch)).toEqual(inputs.map(() => "batch"));
    for (const { column, dims } of inputs) if (columns[column]!.isSequence) expect(dims[1]).toMatch(/^time\d?$/);
    const isSequence = judgedOn(prepared)?.columns.map(({ offsets }) => offsets !== undefined) ?? [];
    for (const [i, { shape }] of columns.entries())
      if (isSequence[i]) expect(shape[0]).toBe(prepared.prediction.length);
  });
});

/** Puts other words into a file, or all files of a folder. */
async function rewrite(place: string): Promise<void> {
  for (const entry of await readdir(place, { recursive: true, withFileTypes: true }).catch(() => [])) {
    if (entry.isFile()) await rewrite(path.join(entry.parentPath, entry.name));
  }
  if (!(await stat(place)).isFile()) return;
  const text = await readFile(place, "utf8");
  await writeFile(place, text.replaceAll(/\b(cat|chat|hen|poule|owl)\b/g, "quagga").replaceAll("other", "awful"));
}

describe("a pre-trained GPT-2 trains on", () => {
  const small = { hiddenSize: 8, numHiddenLayers: 2, numAttentionHeads: 2, maxPositionEmbeddings: 12 } as const;
  const tokenizer = tokenizers.trainBpe(["the cat sat on the mat"], { vocabularySize: 270 });
  const prepared = async (vocabSize: number, files: { tokenizer?: Tokenizer }, given: object = {}) => {
    const folder = await mkdtemp(path.join(tmpdir(), "glissade-gpt-"));
    const model = gpt2LMHeadModel({ vocabSize, ...small, attnPdrop: 0.7 });
    await savePretrained(model, folder, files);
    const recipe = await loadRecipe("gpt");
    return { model, run: await recipe.prepare({ file: await writeStory(), pretrained: folder, ...given }) };
  };

  test("with its sizes, weights and tokens, whatever sizes are given; rows are no longer than its positions", async () => {
    const given = { layers: 1, hiddenSize: 16, heads: 4, vocabularySize: 300, dropout: 0.3, batchSize: 4 };
    const { model, run } = await prepared(tokenizer.size, { tokenizer }, given);
    const trained = run.setup.model as unknown as typeof model;
    const wanted = { vocabSize: tokenizer.size, ...small, embdPdrop: 0.3, residPdrop: 0.3, attnPdrop: 0.3 };
    expect(trained.config).toMatchObject(wanted);
    expect(run.prediction.tokenizer!.toJSON()).toEqual(tokenizer.toJSON());
    const weights = trained.namedStates();
    for (const [name, weight] of model.namedStates())
      expect(await weights.get(name)!.array()).toEqual(await weight.array());
    expect(judgedOn(run)!.columns.map(({ shape }) => shape[1])).toEqual([12, 12]);
    expect(run.generation!.options).toMatchObject({ maxNewTokens: 6, eosTokenId: tokenizer.special.eos });

    const before = await trained.transformer.h[1]!.attn.c_attn.weight.array();
    await fit(run.setup, { ...run.options, maxSteps: 3, onEvent: () => {} });
    expect(await trained.transformer.h[1]!.attn.c_attn.weight.array()).not.toEqual(before);
    const shorter = await prepared(tokenizer.size, { tokenizer }, { length: 5 });
    expect(judgedOn(shorter.run)!.columns.map(({ shape }) => shape[1])).toEqual([5, 5]);
  });

  test("a folder without a tokenizer, or with that of another model, is refused", async () => {
    await expect(prepared(300, {})).rejects.toThrow(/there is no tokenizer in the folder\n {2}fix: put tokenizer.json/);
    await expect(prepared(tokenizer.size - 1, { tokenizer })).rejects.toThrow(
      `its tokenizer has ${tokenizer.size} tokens, and its model ${tokenizer.size - 1}`,
    );
  });
});

describe("what a setup has fitted", () => {
  test.each([
    ["bert-pretrain", ["tokenizer"]],
    ["bert-finetune", ["labels", "tokenizer"]],
    ["gpt", ["tokenizer"]],
    ["translate", ["tokenizer"]],
  ] as const)("%s keeps it when the data are others", async (name, wanted) => {
    const recipe = await loadRecipe(name);
    const given = (await givenFor(name)) as Readonly<Record<string, string>>;
    const first = await recipe.prepare(given);
    expect(Object.keys(first.fitted)).toEqual(wanted);
    await rewrite(given.file ?? given.folder!);
    const other = await recipe.prepare(given);
    for (const each of wanted) expect(other.fitted[each]).not.toEqual(first.fitted[each]);
    const saved = JSON.parse(JSON.stringify(first.fitted));
    if (name === "bert-finetune") {
      await expect(recipe.prepare(given, saved)).rejects.toThrow(/a label "awful", which no text to learn from has/);
      return;
    }
    const again = await recipe.prepare(given, saved);
    expect(again.fitted).toEqual(first.fitted);
    expect(again.prediction.tokenizer!.toJSON()).toEqual(first.prediction.tokenizer!.toJSON());
    expect(again.prediction.tokenizer!.special).toEqual(first.prediction.tokenizer!.special);
  });

  test("also a new value is what is restored, and a name is used once", async () => {
    const restored: unknown[] = [];
    const recipe = (names: readonly string[], made: () => unknown = () => ({ toJSON: () => [1, -0] })) =>
      defineRecipe({
        name: "fits",
        description: "a line",
        hyperparameters: {},
        async setup(_, { fitted }) {
          for (const name of names) restored.push(await fitted(name, made, (saved) => saved));
          const model = linear(1, 1);
          const loss = (x: Tensor<[number, 1], "float32">, y: Tensor<[number, 1], "float32">): Tensor =>
            meanSquaredError(model(x), y);
          return { setup: { model, loss, train: points, optimizer: adam(model) } };
        },
      });
    const { fitted } = await recipe(["one", "__proto__"]).prepare();
    expect(restored).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect(JSON.stringify(fitted)).toBe('{"one":[1,0],"__proto__":[1,0]}');
    const cycle: { self?: unknown } = {};
    cycle.self = cycle;
    await expect(recipe(["one", "one"]).prepare()).rejects.toThrow(/the name is "one", a second time/);
    await expect(recipe([""]).prepare()).rejects.toThrow(/the name is ""/);
    for (const value of [undefined, Math.abs, cycle, 1n])
      await expect(recipe(["one"], () => value).prepare()).rejects.toThrow(/"one" is .*which is no JSON/);
    await expect(recipe(["one"]).prepare({}, 3 as never)).rejects.toThrow(/`fitted` is 3/);
  });
});

describe("hyperparameters", () => {
  test("have defaults, and values that are given", async () => {
    const { hyperparameters, options } = await line.prepare({ epochs: 5, seed: 3 });
    expect(hyperparameters).toEqual({
      learningRate: 0.1,
      epochs: 5,
      useBias: true,
      kind: "plain",
      sizes: [1, 2],
      seed: 3,
    });
    expect(options).toEqual({ epochs: 5, seed: 3 });
  });

  test("are described", () => {
    expect(line.hyperparameters.map(({ name, type, wanted }) => `${name}: ${type}, ${wanted}`)).toEqual([
      "learningRate: number, a number above 0 to 1",
      "epochs: integer, a whole number from 1",
      "useBias: boolean, true or false",
      "kind: choice, one of plain, fancy",
      "sizes: json, a value that the recipe takes, as JSON",
      "title: text, a text that is not empty",
      "seed: integer, a whole number from 0",
    ]);
  });

  test.each([
    [{ learningrat: 1 }, /"learningrat" is not one of the recipe's\n {2}fix: .*did you mean learningRate\?/],
    [{ learningRate: 2 }, /learningRate is 2\n {2}fix: give a number above 0 to 1; its default is 0.1/],
    [{ learningRate: "fast" }, /learningRate is "fast"/],
    [{ epochs: 1.5 }, /epochs is 1.5\n {2}fix: give a whole number from 1; its default is 2/],
    [{ kind: "odd" }, /kind is "odd"\n {2}fix: give one of plain, fancy/],
    [{ useBias: "yes" }, /useBias is "yes"\n {2}fix: give true or false/],
    [{ seed: -1 }, /seed is -1/],
  ] as const)("%o is refused", async (given, sentence) => {
    const error: unknown = await line.prepare(given as never).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).message).toMatch(sentence);
  });

  test("two hundred values of all kinds are taken or refused with a sentence", async () => {
    const names = fc.constantFrom("learningRate", "epochs", "useBias", "kind", "sizes", "title", "seed", "other");
    await fc.assert(
      fc.asyncProperty(fc.dictionary(names, fc.anything()), async (given) => {
        const error: unknown = await line.prepare(given as never).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (error !== undefined) expect(error).toBeInstanceOf(ConfigError);
      }),
      { numRuns: 200, seed: 1 },
    );
    for (const given of [null, [], 3, "x"]) await expect(line.prepare(given as never)).rejects.toThrow(ConfigError);
  });
});

describe("definitions", () => {
  const good = { name: "a", description: "b", hyperparameters: {}, setup: () => ({}) };
  test.each([
    ["no record", 3, /defineRecipe/],
    ["no name", { ...good, name: undefined }, /the name is undefined/],
    ["a name with spaces", { ...good, name: "my recipe" }, /the name is "my recipe"/],
    ["no description", { ...good, description: " " }, /the description is " "/],
    ["no setup", { ...good, setup: undefined }, /`setup` is undefined/],
    ["an unknown part", { ...good, setups: 1 }, /did you mean setup\?/],
    ["hyperparameters that are no schemas", { ...good, hyperparameters: { rate: 0.1 } }, /rate is 0.1\n {2}fix: .*zod/],
    ["a hyperparameter with a hyphen", { ...good, hyperparameters: { "a-b": z.int() } }, /called "a-b"/],
  ])("%s", (_, definition, sentence) => {
    expect(() => defineRecipe(definition as never)).toThrow(ConfigError);
    expect(() => defineRecipe(definition as never)).toThrow(sentence);
  });

  test.each([
    ["nothing", () => undefined, /its setup returns undefined/],
    ["a setup alone", () => ({ model: 1 }), /its setup returns a record \{ model \}/],
    ["an unknown part", () => ({ setup: {}, option: {} }), /did you mean options\?/],
    ["no model", () => ({ setup: { loss: () => 0 } }), /there is no `model`/],
  ])("a setup that returns %s", async (_, setup, sentence) => {
    const recipe = defineRecipe({ ...good, setup: setup as never });
    await expect(recipe.prepare()).rejects.toThrow(sentence);
  });
});
