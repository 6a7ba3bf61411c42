/** What can be done with runs: listed, compared, evaluated, exported, inspected, asked, swept; and projects to begin with. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import fc from "fast-check";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { drawCurves, markOf } from "../../src/cli/chart.ts";
import { predictCommand, rowsOf } from "../../src/cli/predict.ts";
import { choiceOf, decodePlan, trialsOf } from "../../src/cli/sweep.ts";
import { GlissadeError } from "../../src/node.ts";
import iris from "../../src/recipes/iris.ts";
import { glissade, jsonLines, type Outcome, refused } from "../support/cli.ts";

let folder: string;
const inFolder = (name: string): string => path.join(folder, name);
const root = path.resolve(import.meta.dirname, "../..");
const command = path.join(root, "dist/cli/main.js");

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-verbs-"));
  for (const [name, rate] of [
    ["a", "0.01"],
    ["b", "0.05"],
  ] as const)
    await glissade("train", "iris", "--epochs", "6", "--learning-rate", rate, "--out", inFolder(`runs/${name}`));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("runs", () => {
  test("a line for each, with its state and its best", async () => {
    await mkdir(inFolder("runs/damaged"), { recursive: true });
    await writeFile(inFolder("runs/damaged/config.json"), "{");
    const { code, out } = await glissade("runs", inFolder("runs"));
    expect(code).toBe(0);
    expect(out).toMatch(/\n +a +finished +48\/48 +accuracy \d+\.\d\d% @ \d+ +\d+\.\d s\n/);
    expect(out).toMatch(/\ndamaged .*config.json: is no JSON/);
    const lines = jsonLines((await glissade("runs", inFolder("runs"), "--json")).out);
    expect(lines).toMatchObject([
      { recipe: "iris", state: "finished", step: 48, hyperparameters: { learningRate: 0.01 } },
      { state: "finished", hyperparameters: { learningRate: 0.05 } },
      { state: "damaged" },
    ]);
    await rm(inFolder("runs/damaged"), { recursive: true });
  });

  test("of an empty folder and of none", async () => {
    await mkdir(inFolder("empty"));
    expect((await glissade("runs", inFolder("empty"))).out).toContain("There are no runs");
    await refused(["runs", inFolder("nowhere")], /there is no folder/);
  });
});

describe("compare", () => {
  test("curves, what differs, and a folder that is no run left out", async () => {
    const { code, out, err } = await glissade("compare", inFolder("runs/a"), inFolder("runs/b"), folder);
    expect(code).toBe(0);
    expect(out).toMatch(/^accuracy\n/);
    expect(out).toContain("┤");
    expect(out).toMatch(/learningRate\n─+\n *o a +finished +\d+\.\d\d% .* 0\.01\n *x b .* 0\.05\n$/);
    expect(err).toMatch(/is left out/);
    const lines = jsonLines((await glissade("compare", inFolder("runs/a"), "--metric", "train-loss", "--json")).out);
    expect(lines[0]).toMatchObject({
      metric: "train-loss",
      points: expect.arrayContaining([[48, expect.any(Number)]]),
    });
  });

  test("curves have marks of their own and a readable axis, whatever their numbers of points", () => {
    const line = (count: number, apart: number, value: (i: number) => number) =>
      Array.from({ length: count }, (_, i) => [(i + 1) * apart, value(i)] as const);
    const curves = [
      { mark: markOf(0), points: line(40, 73, (i) => 1 / (i + 1)) },
      { mark: markOf(1), points: line(7, 365, (i) => 1 - i / 10) },
      { mark: markOf(2), points: [[73, 0.5] as const] },
      { mark: markOf(3), points: line(7, 365, (i) => 1 - i / 10) },
    ];
    const rows = drawCurves(curves, { width: 66, height: 14, paint: (mark) => mark });
    expect(rows).toHaveLength(16);
    for (const { mark } of curves) expect(rows.slice(0, 14).join("\n")).toContain(mark);
    expect(rows.at(-1)).toMatch(/^ +500 +1000 +1500 +2000 +2500 +steps$/);
    for (const row of rows) expect(row.length).toBeLessThan(82);
    const flat = drawCurves([{ mark: "o", points: line(3, 1, () => 2) }], { width: 30, height: 14, paint: String });
    expect(flat[0]).toMatch(/^2 ┤o+$/);
  });

  test("refuses a metric that no run has, with those that there are", async () => {
    await refused(["compare", inFolder("runs/a"), "--metric", "f1"], /choose one: --metric loss, accuracy, train-loss/);
    await refused(["compare", folder], /none of these is a run/);
  });
});

describe("evaluate", () => {
  test("gives the numbers that the run's own evaluation of that step gave", async () => {
    const [line] = jsonLines((await glissade("evaluate", inFolder("runs/b"), "--checkpoint", "last", "--json")).out);
    const records = jsonLines(await readFile(inFolder("runs/b/metrics.jsonl"), "utf8"));
    const own = records.findLast(({ type }) => type === "evaluation")!;
    expect(line).toMatchObject({ step: 48, loss: own.loss, metrics: own.metrics, examples: 30 });
    const { out } = await glissade("evaluate", inFolder("runs/b"));
    expect(out).toMatch(/\nloss +\d\.\d{4}\naccuracy +\d+\.\d\d%\n$/);
  });

  test("refuses checkpoints that there are not", async () => {
    await refused(
      ["evaluate", inFolder("runs/b"), "--checkpoint", "7"],
      /there is no checkpoint 7\n {2}fix: choose best, last or a step: \d/,
    );
    await refused(["evaluate", inFolder("runs/b"), "--checkpoint", "some"], /Give best, last or a step/);
  });
});

describe("predict", () => {
  const csv = "sepal length,sepal width,petal length,petal width\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n";
  const ask = async (text: string, json: boolean): Promise<Outcome> => {
    const file = inFolder(json ? "rows.json" : "rows.csv");
    await writeFile(file, text);
    return glissade("predict", inFolder("runs/b"), file, ...(json ? ["--json"] : []));
  };

  test("rows of CSV, JSON and JSON lines alike", async () => {
    const { code, out } = await ask(csv, false);
    expect(code).toBe(0);
    expect(out).toMatch(/^prediction,probability\nsetosa,0\.\d+\nvirginica,0\.\d+\n$/);
    const rows = [
      { "sepal length": 5.1, "sepal width": 3.5, "petal length": 1.4, "petal width": 0.2 },
      { "sepal length": 6.7, "sepal width": 3.0, "petal length": 5.2, "petal width": 2.3 },
    ];
    const array = jsonLines((await ask(JSON.stringify(rows), true)).out);
    const lines = jsonLines((await ask(rows.map((row) => JSON.stringify(row)).join("\n"), true)).out);
    expect(array).toEqual(lines);
    expect(array.map(({ prediction }) => prediction)).toEqual(["setosa", "virginica"]);
    expect(Object.keys(array[0]!.probabilities as object)).toEqual(["setosa", "versicolor", "virginica"]);
  });

  test("rows from standard input", async () => {
    const log = console.log;
    const seen: string[] = [];
    console.log = (text: string) => void seen.push(text);
    try {
      const input = (async function* () {
        yield new TextEncoder().encode(csv.slice(0, 60));
        yield new TextEncoder().encode(csv.slice(60));
      })();
      await predictCommand(inFolder("runs/b"), [], { checkpoint: "best" }, input);
    } finally {
      console.log = log;
    }
    expect(seen).toHaveLength(3);
  });

  test.each([
    [
      "a value that is no number",
      "sepal length,sepal width,petal length,petal width\n5.1,wide,1.4,0.2\n",
      /rows: line 2 of .*rows\.csv, "sepal width": "wide" is no number/,
    ],
    [
      "a column that is missing",
      "sepal length,sepal width,petal length\n5.1,3.5,1.4\n",
      /"petal width": there is no such value/,
    ],
    [
      "a value that is no number, behind many rows",
      `${csv}${"5.1,3.5,1.4,0.2\n".repeat(300)}5.1,,1.4,0.2\n`,
      /line 304 of .*rows\.csv, "sepal width"/,
    ],
    ["an element that lacks a value", '[{ "sepal length": 1 }]', /element 1 of .*rows\.csv, "sepal width"/],
    ["a row with a field too many", `${csv}1,2,3,4,5\n`, /line 4 has 5 fields/],
    ["nothing", "", /it is empty/],
    ["an array of numbers", "[1, 2]", /element 1 is 1/],
    ["an empty line between rows", csv.replace(/\n(?=6)/, "\n\n"), /line 3 is empty\n {2}fix: leave the line out/],
    ["an empty line between records", '{"a": 1}\n\n{"a": 2}\n', /line 2 is empty/],
    ["half a JSON", '[{"a": 1}', /is no JSON/],
  ])("refuses: %s", async (_, text, sentence) => {
    const { code, err } = await ask(text, false);
    expect([code, err]).toEqual([1, expect.stringMatching(sentence)]);
  });

  test("two hundred texts are rows or refused with a sentence", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 60 }),
          fc.string().map((text) => new TextEncoder().encode(text)),
          fc.json().map((text) => new TextEncoder().encode(text)),
        ),
        (bytes) => {
          try {
            expect(rowsOf(bytes, "rows").length).toBeGreaterThan(0);
          } catch (error) {
            expect(error).toBeInstanceOf(GlissadeError);
          }
        },
      ),
      { numRuns: 200, seed: 4 },
    );
  });
});

describe("export", () => {
  test("the network, its weights and its training step, each for ONNX Runtime or PyTorch", async () => {
    for (const format of ["onnx", "safetensors", "step"]) {
      const file = inFolder(`exported.${format === "safetensors" ? "safetensors" : `${format}.onnx`}`);
      const { code, out } = await glissade("export", inFolder("runs/b"), "--format", format, "--out", file);
      expect([code, out]).toEqual([0, expect.stringContaining(`Saved ${file}`)]);
    }
    const network = await InferenceSession.create(inFolder("exported.onnx.onnx"));
    const answer = await network.run({ inputs: new OrtTensor("float32", new Float32Array(8), [2, 4]) });
    const values = [...(answer.probabilities!.data as Float32Array)];
    expect(values.slice(0, 3).reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);

    const step = await InferenceSession.create(inFolder("exported.step.onnx"));
    expect(step.inputNames.slice(0, 2)).toEqual(["inputs", "targets"]);
    expect(step.outputNames).toEqual(expect.arrayContaining(["loss", "0.weight.next", "2.bias.next"]));
    expect((await glissade("inspect", inFolder("exported.safetensors"))).out).toContain("0.weight  float32[16, 4]");
  });
});

describe("inspect", () => {
  test("a run, a checkpoint, files", async () => {
    const run = (await glissade("inspect", inFolder("runs/b"))).out;
    expect(run).toMatch(/step-\d+\/model.safetensors\n/);
    expect(run).toMatch(/4 tensors, 131 elements\n$/);
    const checkpoint = (await glissade("inspect", inFolder("runs/b/checkpoints/step-48"), "--json")).out;
    expect(JSON.parse(checkpoint).tensors[0]).toMatchObject({ type: "float32", statistics: { nonFinite: 0 } });
    const onnx = (await glissade("inspect", inFolder("runs/b/model.onnx"))).out;
    expect(onnx).toContain("inputs   inputs: float[batch, 4]");
    expect(onnx).toContain("ops      Gemm × 2, Tanh × 1, Softmax × 1");
  });

  test("refuses what is something else", async () => {
    await writeFile(inFolder("text.onnx"), "hello");
    await writeFile(inFolder("text.safetensors"), "hello");
    await refused(["inspect", inFolder("text.onnx")], /no ONNX model|no graph/);
    await refused(["inspect", inFolder("text.safetensors")], /FormatError|header/i);
    await refused(["inspect", inFolder("runs/a/metrics.jsonl")], /no file that can be inspected/);
    await refused(["inspect", inFolder("nowhere.onnx")], /nowhere/);
  });
});

describe("sweep", () => {
  const options = { strategy: "grid", trials: 4, seed: 0 } as const;

  test("a grid has all combinations, checked by the recipe's schemas", () => {
    const trials = trialsOf(iris, { epochs: 2 }, { ...options, vary: ["learningRate=0.01,0.1", "hiddenSize=4,8"] });
    expect(trials).toEqual([
      { epochs: 2, learningRate: 0.01, hiddenSize: 4 },
      { epochs: 2, learningRate: 0.01, hiddenSize: 8 },
      { epochs: 2, learningRate: 0.1, hiddenSize: 4 },
      { epochs: 2, learningRate: 0.1, hiddenSize: 8 },
    ]);
  });

  test("random trials lie in their ranges and follow from the seed", () => {
    const vary = ["learningRate=1e-4..1e-1:log", "hiddenSize=2..64", "batchSize=8,16"];
    const drawn = trialsOf(iris, {}, { vary, strategy: "random", trials: 200, seed: 1 });
    for (const { learningRate, hiddenSize, batchSize } of drawn as { [name: string]: number }[]) {
      expect(learningRate).toBeGreaterThanOrEqual(1e-4);
      expect(learningRate).toBeLessThanOrEqual(1e-1);
      expect(Number.isInteger(hiddenSize)).toBe(true);
      expect([8, 16]).toContain(batchSize);
    }
    const small = drawn.filter(({ learningRate }) => (learningRate as number) < 10 ** -2.5);
    expect(small.length).toBeGreaterThan(70); //  half of them, on a logarithmic scale
    expect(small.length).toBeLessThan(130);
    expect(trialsOf(iris, {}, { vary, strategy: "random", trials: 200, seed: 1 })).toEqual(drawn);
    expect(trialsOf(iris, {}, { vary, strategy: "random", trials: 200, seed: 2 })).not.toEqual(drawn);
  });

  test.each([
    ["nothing varies", [], /nothing varies/],
    ["no values", ["learningRate="], /names no values/],
    ["no name", ["=3"], /names no values/],
    ["a slip", ["learningrate=1,2"], /did you mean learningRate\?/],
    ["a value out of bounds", ["learningRate=1,99"], /learningRate is 99/],
    ["a text for a number", ["learningRate=fast"], /learningRate is "fast"/],
    ["a range in a grid", ["learningRate=0.1..0.2"], /is a range, and a grid has values/],
    ["a range that falls", ["learningRate=0.2..0.1"], /names no values/],
    ["a logarithm of nought", ["learningRate=0..1:log"], /names no values/],
    ["the same twice", ["epochs=1,2", "epochs=3"], /epochs varies twice/],
    [
      "too many",
      [
        `epochs=${Array.from({ length: 200 }, (_, i) => i + 1)}`,
        `batchSize=${Array.from({ length: 100 }, (_, i) => i + 1)}`,
      ],
      /more than 10000/,
    ],
  ])("refuses: %s", (_, vary, sentence) => {
    expect(() => trialsOf(iris, {}, { ...options, vary })).toThrow(sentence);
  });

  test("two hundred words and plans are taken or refused with a sentence", () => {
    const good = JSON.stringify({
      format: 1,
      recipe: "iris",
      metric: null,
      lowerIsBetter: null,
      rounds: [{ steps: null, trials: 1 }],
      trials: [{}],
    });
    expect(decodePlan(good, "sweep.json").recipe).toBe("iris");
    fc.assert(
      fc.property(fc.string(), fc.json(), fc.nat(good.length - 1), (word, json, length) => {
        for (const run of [
          () => choiceOf(`learningRate=${word}`, iris.hyperparameters),
          () => choiceOf(word, iris.hyperparameters),
          () => decodePlan(json, "sweep.json"),
          () => decodePlan(good.slice(0, length), "sweep.json"),
        ])
          try {
            run();
          } catch (error) {
            expect(error).toBeInstanceOf(GlissadeError);
          }
      }),
      { numRuns: 200, seed: 5 },
    );
  });

  test("halving in processes: a table for each round, the best at the end; resumed, it is done at once", async () => {
    const settings = inFolder("settings.yaml");
    await writeFile(settings, "epochs: 2\n");
    const words = [
      "sweep",
      "iris",
      "--vary",
      "learningRate=1e-3..1e-1:log",
      "--strategy",
      "halving",
      "--trials",
      "3",
      "--min-steps",
      "4",
    ];
    const first = await child(...words, "--config", settings, "--out", inFolder("sweep"), "--processes", "2", "--json");
    expect(first).toMatchObject({ code: 0, err: "" });
    const lines = jsonLines(first.out);
    expect(lines.map(({ steps }) => steps)).toEqual([4, 4, 4, null]);
    const scores = lines.slice(0, 3).map(({ score }) => score as number);
    expect(scores).toEqual(scores.toSorted((a, b) => b - a));
    expect(lines[3]!.run).toBe(lines[0]!.run);
    const again = await child("sweep", "--resume", inFolder("sweep"), "--json");
    expect(jsonLines(again.out).map(({ score }) => score)).toEqual(lines.map(({ score }) => score));
  });
});

describe("recipes and completion", () => {
  test("lists recipes and what can be chosen", async () => {
    expect((await glissade("recipes")).out).toMatch(/^digits +A perceptron learns to read digits\ndigits-conv /);
    expect((await glissade("recipes", "iris")).out).toContain("hiddenSize       16  units between measures and kinds");
    expect(JSON.parse((await glissade("recipes", "iris", "--json")).out).name).toBe("iris");
    await refused(["recipes", "digit"], /did you mean digits\?/);
  });

  test("a script for each shell, and the words that it asks for", async () => {
    for (const shell of ["bash", "zsh", "fish", "powershell"])
      expect((await glissade("completion", shell)).out).toContain("glissade");
    expect((await glissade("complete", "--", "train", "")).out).toMatch(
      /^digits\t\ndigits-conv\t\niris\t\nfashion\t\n/,
    );
    expect((await glissade("complete", "--", "comp")).out).toMatch(/^compare\t.*\ncompletion\t/);
    await refused(["completion", "tcsh"], /Allowed choices are bash, zsh, fish, powershell/);
  });

  test("every command has a help with its summary", async () => {
    const { out } = await glissade("--help");
    for (const name of [
      "train",
      "resume",
      "evaluate",
      "predict",
      "runs",
      "compare",
      "export",
      "inspect",
      "check",
      "sweep",
      "recipes",
      "new",
      "completion",
    ]) {
      expect(out).toMatch(new RegExp(`\n  ${name} `));
      expect((await glissade(name, "--help")).out).toContain(`Usage: glissade ${name}`);
    }
    expect(out).toContain("Exit codes: 0 done; 1 an error");
  });
});

describe("new", () => {
  test("a project that type-checks, trains, tests and refuses a wrong row", async () => {
    const project = inFolder("My Project");
    const { code, out } = await glissade("new", project);
    expect([code, out]).toEqual([0, expect.stringContaining("npm run train")]);
    const manifest = JSON.parse(await readFile(path.join(project, "package.json"), "utf8"));
    expect(manifest).toMatchObject({
      name: "my-project",
      type: "module",
      dependencies: { glissade: expect.any(String) },
    });

    // What `npm install` puts there.
    const modules = path.join(project, "node_modules");
    await mkdir(path.join(modules, "@types"), { recursive: true });
    for (const name of ["zod", "typescript", "@types/node"])
      await symlink(path.join(root, "node_modules", name), path.join(modules, name));
    await symlink(root, path.join(modules, "glissade"));

    const types = await run(project, [path.join(modules, "typescript/bin/tsc")]);
    expect(types).toMatchObject({ code: 0, out: "" });
    const trained = await run(project, [command, "train", "./recipe.ts", "--epochs", "5", "--out", "runs/first"]);
    expect(trained).toMatchObject({ code: 0, err: "" });
    expect(trained.out).toMatch(/\n {4}5\/5 .*%/);
    const tested = await run(project, ["--import", "glissade/typescript", "--test", "recipe.test.ts"]);
    expect(tested.out).toMatch(/# pass 2\n# fail 0/);

    const data = path.join(project, "houses.csv");
    const rows = (await readFile(data, "utf8")).split("\n");
    await writeFile(data, [...rows.slice(0, 9), "ninety,3,4,hills,gas,fast", ...rows.slice(9)].join("\n"));
    const wrong = await run(project, [command, "train", "./recipe.ts"]);
    expect(wrong.code).toBe(1);
    expect(wrong.err).toMatch(/houses.csv: line 10, column "size": "ninety" is no finite number/);
  });

  test("keeps what a package.json has, and refuses a file that is in the way", async () => {
    const project = inFolder("own");
    await mkdir(project);
    const own = { name: "mine", scripts: { test: "mine", lint: "x" }, dependencies: { glissade: "file:glissade.tgz" } };
    await writeFile(path.join(project, "package.json"), JSON.stringify(own));
    expect((await glissade("new", project)).code).toBe(0);
    const merged = JSON.parse(await readFile(path.join(project, "package.json"), "utf8"));
    expect(merged).toMatchObject({ ...own, scripts: { test: "mine", lint: "x", train: "glissade train ./recipe.ts" } });
    await refused(["new", project], /is there already\n {2}fix: choose an empty folder/);
  });
});

function run(cwd: string, words: readonly string[]): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const running = execFile(
      process.execPath,
      [...words],
      { cwd, env: { ...process.env, NO_COLOR: "1" } },
      (_, out, err) => resolve({ code: running.exitCode ?? 1, out, err }),
    );
  });
}

const child = (...words: readonly string[]): ReturnType<typeof run> => run(folder, [command, ...words]);
