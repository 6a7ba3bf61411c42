/** `glissade train` and `glissade resume`. */
import { execFile, spawn } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeHyperparameters, quotedForShell } from "../../src/cli/hyperparameters.ts";
import { decodeOrigin } from "../../src/cli/origin.ts";
import { FormatError, GlissadeError, readMetrics } from "../../src/node.ts";
import iris from "../../src/recipes/iris.ts";
import { clockFields } from "../../src/train/events.ts";
import { glissade } from "../support/cli.ts";

let folder: string;
const inFolder = (name: string): string => path.join(folder, name);
const command = path.resolve(import.meta.dirname, "../../dist/cli/main.js");

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-cli-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** A process of its own, as a person starts it. */
function child(...words: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { ...process.env, NO_COLOR: "1" } };
    const running = execFile(process.execPath, [command, ...words], options, (_, out, err) =>
      resolve({ code: running.exitCode ?? 1, out, err }),
    );
  });
}

const metricsOf = async (run: string): Promise<unknown[]> =>
  (await readMetrics(run)).map((line) =>
    Object.fromEntries(Object.entries(line).filter(([name]) => !clockFields.includes(name))),
  );

describe("train", () => {
  test("a recipe: a table, a run's folder, the model as two files, what to try next", async () => {
    const run = inFolder("iris");
    const { code, out, err } = await glissade("train", "iris", "--epochs", "3", "--learningRate=0.02", "--out", run);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(
      /^A small network tells three kinds of iris flowers apart\n131 parameters · 120 examples to learn/,
    );
    expect(out).toMatch(/epoch {2}train loss {3}val loss {2}accuracy {2}examples\/s/);
    expect(out).toMatch(/\n {4}3\/3 +0\.\d{4} +0\.\d{4} +\d+\.\d\d%/);
    expect(out).toContain(`Saved ${run}/model.safetensors`);
    expect(out).toContain(`npx glissade train iris --epochs 6`);
    expect(JSON.parse(await readFile(path.join(run, "recipe.json"), "utf8"))).toEqual({
      format: 1,
      recipe: "iris",
      sha256: null,
      hyperparameters: { epochs: 3, batchSize: 16, learningRate: 0.02, weightDecay: 0.01, hiddenSize: 16, seed: 0 },
      fitted: null,
    });
    const config = JSON.parse(await readFile(path.join(run, "config.json"), "utf8"));
    expect(config).toMatchObject({ name: "iris", batchSize: 16, hyperparameters: { learningRate: 0.02 }, seed: 0 });
    expect(await readFile(path.join(run, "model.onnx"))).not.toHaveLength(0);
  });

  test("commands to try next repeat what was chosen, and another value of it", async () => {
    const run = inFolder("to be quoted/iris");
    const given = ["--hidden-size", "8", "--learning-rate", "0.5", "--epochs", "2", "--batch-size", "16"];
    const { out } = await glissade("train", "iris", ...given, "--out", run);
    const next = out.slice(out.indexOf("What to try next"));
    expect(next).toContain("  npx glissade train iris --epochs 4 --learning-rate 0.5 --hidden-size 8 ");
    expect(next).toContain("  npx glissade train iris --epochs 2 --learning-rate 0.5 --hidden-size 8 --seed 1 ");
    expect(next).not.toContain("--learning-rate 25"); //  which the recipe refuses
    expect(next).toContain(`npx glissade compare "${path.dirname(run)}"/*`);
    expect(next).toContain(`npx glissade evaluate "${run}"`);
  });

  test.each([
    ["plain", "runs/iris-1", "runs/iris-1"],
    ["a space", "my moods.csv", '"my moods.csv"'],
    ["a quotation mark", `it's "it"`, `'it'\\''s "it"'`],
    ["a variable", "$HOME", "'$HOME'"],
    ["nothing", "", '""'],
  ])("words of commands are quoted: %s", (_, word, quoted) => {
    expect(quotedForShell(word)).toBe(quoted);
  });

  test("as JSON: a line for each event", async () => {
    const run = inFolder("json");
    const { out } = await glissade("train", "iris", "--epochs", "2", "--json", "--out", run);
    const events = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(events[0]).toMatchObject({ type: "start", steps: 16, isResumed: false });
    expect(events.at(-1)).toMatchObject({ type: "end", reason: "finished", step: 16 });
    expect(events.filter(({ type }) => type === "evaluation")).toHaveLength(2);
    expect(events.some(({ type }) => type === "progress")).toBe(false);
  });

  test("files of hyperparameters, in YAML and in JSON; words go before them", async () => {
    const [yaml, json] = [inFolder("a.yaml"), inFolder("a.json")];
    await writeFile(yaml, "# mine\nepochs: 2\nlearningRate: 0.05\n");
    await writeFile(json, '{ "epochs": 2, "learningRate": 0.05 }');
    for (const file of [yaml, json]) {
      const run = inFolder(`config-${path.extname(file)}`);
      const { code } = await glissade("train", "iris", "--config", file, "--learning-rate", "0.03", "--out", run);
      expect(code).toBe(0);
      const { hyperparameters } = JSON.parse(await readFile(path.join(run, "config.json"), "utf8"));
      expect(hyperparameters).toMatchObject({ epochs: 2, learningRate: 0.03 });
    }
  });

  test.each([
    ["no recipe", ["train"], /no recipe is named\n {2}fix: name one first: digits, digits-conv, iris, fashion/],
    ["options first", ["train", "--epochs", "3", "iris"], /an option, --epochs, stands before the recipe/],
    [
      "no such recipe",
      ["train", "irs"],
      /irs: there is no such file\n {2}fix: there is no recipe "irs": did you mean iris\?/,
    ],
    [
      "a slip",
      ["train", "iris", "--learning-rat", "1"],
      /unknown option '--learning-rat'\n\(Did you mean --learning-rate\?\)/,
    ],
    [
      "no number",
      ["train", "iris", "--learning-rate", "fast"],
      /learningRate is "fast"\n {2}fix: give a number above 0/,
    ],
    [
      "out of bounds",
      ["train", "iris", "--batch-size", "0"],
      /batchSize is 0\n {2}fix: give a whole number from 1 to 120/,
    ],
    [
      "a folder below a file",
      ["train", "iris", "--out", `${import.meta.filename}/run`],
      /train\.test\.ts\/run cannot be made/,
    ],
    ["no such file", ["train", "iris", "--config", "nowhere.yaml"], /nowhere.yaml/],
  ])("refuses: %s", async (_, words, sentence) => {
    const { code, err } = await glissade(...words);
    expect(err).toMatch(sentence);
    expect(code).toBe(1);
  });

  test("does not write over a run unless it is told to", async () => {
    const run = inFolder("twice");
    const words = ["train", "iris", "--epochs", "1", "--out", run];
    expect((await glissade(...words)).code).toBe(0);
    expect((await glissade(...words)).err).toMatch(/holds a run already\n {2}fix: go on with it: npx glissade resume/);
    expect((await glissade(...words, "--overwrite")).code).toBe(0);
  });

  test("one step through everything writes nothing", async () => {
    const run = inFolder("dev");
    const { code } = await glissade("train", "iris", "--fast-dev-run", "--out", run);
    expect(code).toBe(0);
    await expect(readFile(path.join(run, "recipe.json"))).rejects.toThrow();
  });

  test("its help lists the recipe's hyperparameters with their bounds", async () => {
    const { code, out } = await glissade("train", "iris", "--help");
    expect(code).toBe(0);
    expect(out.replaceAll(/\s+/g, " ")).toContain("--learning-rate <x> of AdamW (above 0 to 10; default: 0.01)");
    expect((await glissade("train", "--help")).out).toContain("glissade train digits --learning-rate 0.01");
  });
});

describe("resume", () => {
  test("stopped after some steps and resumed, a run ends with the same bits and the same metrics", async () => {
    const [whole, parts] = [inFolder("whole"), inFolder("parts")];
    expect((await glissade("train", "iris", "--epochs", "4", "--out", whole)).code).toBe(0);
    const stopped = await glissade(
      "train",
      "iris",
      "--epochs",
      "4",
      "--max-steps",
      "13",
      "--save-steps",
      "5",
      "--out",
      parts,
    );
    expect(stopped.code).toBe(0);
    const moved = inFolder("moved");
    await cp(parts, moved, { recursive: true });
    const { code, out } = await glissade("resume", moved);
    expect(code).toBe(0);
    expect(out).toMatch(/\n {4}4\/4 /);
    const weights = (run: string): Promise<Buffer> => readFile(path.join(run, "model.safetensors"));
    expect((await weights(moved)).equals(await weights(whole))).toBe(true);
    const evaluations = (lines: unknown[]): unknown[] =>
      lines.filter((line) => (line as { type: string }).type === "epoch");
    expect(evaluations(await metricsOf(moved))).toEqual(evaluations(await metricsOf(whole)));
  });

  test("Ctrl-C saves everything, says how to go on, and exits with 130", async () => {
    const words = [command, "train", "iris", "--epochs", "100000", "--out", "interrupted"];
    const running = spawn(process.execPath, words, { cwd: folder });
    let [out, asked] = ["", false];
    running.stdout.on("data", (text: Buffer) => {
      out += text;
      if (!asked && out.includes("1/100000")) asked = running.kill("SIGINT");
    });
    const code = await new Promise((resolve) => running.on("close", resolve));
    expect(code).toBe(130);
    expect(out).toMatch(
      /Stopped after \d+ steps, as you asked; everything is saved\. Go on with:\n {2}npx glissade resume interrupted/,
    );
    const last = await readFile(inFolder("interrupted/checkpoints/last"), "utf8");
    expect(out).toContain(`Stopped after ${last.trim().slice("step-".length)} steps`);
  });

  test.each([
    ["no run", "nowhere", /it is no folder of a run/],
    ["another folder", ".", /it is no folder of a run/],
  ])("refuses: %s", async (_, run, sentence) => {
    const { code, err } = await glissade("resume", run);
    expect([code, err]).toEqual([1, expect.stringMatching(sentence)]);
  });
});

describe("recipes of one's own", () => {
  const recipe = `
import { adam, crossEntropy, dataset, defineRecipe, linear, type Tensor } from "glissade";
import { z } from "zod";

interface Point { readonly x: number; readonly label: number }
const points: readonly Point[] = Array.from({ length: 32 }, (_, i): Point => ({ x: i / 16 - 1, label: Number(i > 15) }));
enum Rate { Usual = 0.1 }

export default defineRecipe({
  name: "own",
  description: "Points left and right of nought",
  hyperparameters: { learningRate: z.number().positive().default(Rate.Usual), epochs: z.int().default(2) },
  setup({ learningRate, epochs }) {
    const model = linear(1, 2);
    const train = dataset(
      { shape: [32, 1], dtype: "float32", values: Float32Array.from(points, ({ x }) => x) },
      { shape: [32], dtype: "int32", values: Int32Array.from(points, ({ label }) => label) },
    );
    const loss = (x: Tensor<[number, 1], "float32">, y: Tensor<[number], "int32">) => crossEntropy(model(x), y);
    return { setup: { model, loss, train, optimizer: adam(model, { learningRate }) }, options: { epochs } };
  },
});
`;

  test("a TypeScript file is trained and resumed by a process of this Node; a changed one is warned of", async () => {
    // Beside the package, as one that is installed there finds it.
    const own = await mkdtemp(path.resolve(import.meta.dirname, "../../runs-own-"));
    try {
      const file = path.join(own, "own.ts");
      const hasTypes = Boolean((process.features as { typescript?: unknown }).typescript);
      await writeFile(
        file,
        hasTypes ? recipe.replace("enum Rate { Usual = 0.1 }", "const Rate = { Usual: 0.1 };") : recipe,
      );
      const first = await child("train", file, "--max-steps", "1", "--learning-rate", "0.2", "--out", inFolder("own"));
      expect(first.err).toBe("");
      expect([first.code, first.out]).toEqual([0, expect.stringContaining("Points left and right of nought")]);
      await writeFile(file, `${await readFile(file, "utf8")}\n// changed\n`);
      const second = await child("resume", "own");
      expect([second.code, second.out]).toEqual([0, expect.stringMatching(/\n {4}2\/2 /)]);
      expect(second.err).toContain("own.ts is not what it was when the run began");
    } finally {
      await rm(own, { recursive: true, force: true });
    }
  });
});

describe("files that are something else", () => {
  const refusals = (error: unknown): void => {
    expect(error).toBeInstanceOf(GlissadeError);
    expect((error as GlissadeError).message).toContain("\n  fix: ");
  };

  test("two hundred files of hyperparameters are read or refused with a sentence", () => {
    const good = new TextEncoder().encode("epochs: 3\nlearningRate: 0.05 # mine\nhiddenSize: 8\n");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 80 }),
          fc.string().map((text) => new TextEncoder().encode(text)),
          fc.json().map((text) => new TextEncoder().encode(text)),
          fc
            .tuple(fc.nat(good.length - 1), fc.nat(255))
            .map(([at, byte]) => good.map((old, i) => (i === at ? byte : old))),
          fc.nat(good.length).map((length) => good.slice(0, length)),
        ),
        fc.constantFrom("a.yaml", "a.json"),
        (bytes, name) => {
          try {
            const given = decodeHyperparameters(bytes, name, iris);
            expect(Object.keys(given).every((key) => key in iris.schemas)).toBe(true);
          } catch (error) {
            refusals(error);
          }
        },
      ),
      { numRuns: 200, seed: 2 },
    );
  });

  test.each([
    [
      "aliases upon aliases",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]`,
    ],
    ["__proto__", '{ "__proto__": { "epochs": 3 } }'],
    ["the same name twice", "epochs: 1\nepochs: 2"],
    ["a list", "- 1\n- 2"],
    ["a number", "3"],
    ["a slip", "learningrate: 1"],
    ["a document behind another", "epochs: 1\n---\nepochs: 2"],
  ])("refused: %s", (_, text) => {
    for (const name of ["a.yaml", "a.json"])
      expect(() => decodeHyperparameters(new TextEncoder().encode(text), name, iris)).toThrow(GlissadeError);
  });

  test("a file of a megabyte is not parsed", () => {
    expect(() => decodeHyperparameters(new Uint8Array(2 ** 20 + 1), "a.yaml", iris)).toThrow(/has 1048577 bytes/);
  });

  test("two hundred files recipe.json are read or refused with a sentence", () => {
    const good = JSON.stringify({ format: 1, recipe: "iris", sha256: null, hyperparameters: { epochs: 3 } });
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.nat(good.length).map((length) => good.slice(0, length)),
          fc
            .tuple(fc.nat(good.length - 1), fc.string({ maxLength: 2 }))
            .map(([at, text]) => good.slice(0, at) + text + good.slice(at + 1)),
        ),
        (text) => {
          try {
            expect(decodeOrigin(text, "recipe.json").format).toBe(1);
          } catch (error) {
            expect(error).toBeInstanceOf(FormatError);
            refusals(error);
          }
        },
      ),
      { numRuns: 200, seed: 3 },
    );
  });
});

describe("what a recipe has fitted", () => {
  const recipe = (data: string): string => `
import { dataset, defineRecipe, fitPreparation, linear, meanSquaredError, preparation, readCsv, sgd } from "${path.resolve(import.meta.dirname, "../../dist/node.js")}";
export default defineRecipe({
  name: "heights",
  description: "a line",
  hyperparameters: {},
  async setup(_, { fitted }) {
    const table = await readCsv(${JSON.stringify(data)}, { target: "y" });
    const prepare = await fitted("preparation", () => fitPreparation(table), preparation);
    const model = linear(1, 1);
    const { inputs, targets } = prepare.apply(table);
    return {
      setup: { model, loss: (x, y) => meanSquaredError(model(x), y), train: dataset(inputs, targets), optimizer: sgd(model, { learningRate: 0.1 }) },
      options: { epochs: 2 },
      prediction: { targets: ["y"], rows: (rows) => prepare.apply(rows).inputs },
    };
  },
});
`;

  test("stays when the data change, and is missed when it is gone", async () => {
    const [data, module, run] = [inFolder("heights.csv"), inFolder("heights.mjs"), inFolder("heights")];
    await writeFile(data, "x,y\n1,2\n2,4\n3,6\n4,8\n");
    await writeFile(module, recipe(data));
    await writeFile(inFolder("asked.csv"), "x\n2.5\n");
    expect((await child("train", module, "--out", run)).code).toBe(0);
    const ask = () => child("predict", run, inFolder("asked.csv"));
    const answer = await ask();
    expect(answer.code).toBe(0);
    await writeFile(data, "x,y\n1000,2\n2000,4\n3000,6\n4000,9\n");
    expect(await ask()).toEqual(answer);
    const fitted = path.join(run, "fitted.json");
    const text = await readFile(fitted, "utf8");
    await writeFile(fitted, text.slice(0, -5));
    expect(await ask()).toMatchObject({
      code: 1,
      err: expect.stringMatching(/fitted\.json:?\s+is\s+not\s+what\s+the\s+run\s+wrote/),
    });
    await rm(fitted);
    expect(await ask()).toMatchObject({ code: 1, err: expect.stringMatching(/fitted\.json/) });
  });
});
