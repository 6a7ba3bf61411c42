/**
 * A tour of the house in a few seconds: each room does once what it is for. Whoever changes something runs this first (`npm run tour`); what
 * a room promises beyond that is held by the tests in its own folder.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { expect, onTestFinished, test } from "vitest";
import { makeProgram } from "../src/cli/program.ts";
import { collect } from "../src/graph/node.ts";
import { registry } from "../src/graph/op.ts";
import { runKernel } from "../src/kernel/kernel.ts";
import {
  check,
  compile,
  crossEntropy,
  currentEngine,
  dataset,
  editDistance,
  exportOnnx,
  fit,
  generate,
  gradientCheck,
  gradients,
  init,
  linear,
  loader,
  loadWeights,
  meanSquaredError,
  nodeEngine,
  parameter,
  parseCsv,
  plainEngine,
  relu,
  saveWeights,
  seed,
  sequential,
  sgd,
  type Tensor,
  tanh,
  tensor,
  tokenizers,
  useEngine,
  zeros,
} from "../src/node.ts";
import { philox4x32 } from "../src/random/philox.ts";
import { loadRecipe } from "../src/recipes/index.ts";

/** The tour's stops; every folder of src/ is one. */
const stops: Readonly<Record<string, () => void | Promise<void>>> = {
  random() {
    const words = new Uint32Array(4);
    philox4x32([0, 0, 0, 0], [0, 0], words); //  Salmon et al. 2011, known answers
    expect([...words]).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  },
  kernel() {
    const output = new Float64Array(3);
    const steps = [["mul", 0, 0], 1, ["add", 1, 2]] as const; //  x² + 1
    const kernel = { inputs: ["full"], steps, outputs: [3], size: 3, width: 3 } as const;
    runKernel(kernel, [Float64Array.of(1, 2, 3)], [output]);
    expect([...output]).toEqual([2, 5, 10]);
  },
  graph() {
    const x = tensor([[1, 2]]);
    expect(collect([x.mul(x).add(x)]).map(({ op }) => op.name)).toEqual(["input", "mul", "add"]);
    const call = () => {
      // @ts-expect-error matmul: [1, 2] @ [1, 2] — inner axes 2 and 1 differ
      x.matmul(x);
    };
    expect(call).toThrow(/inner axes 2 and 1 differ\n {2}fix: /);
  },
  async ops() {
    expect(registry.size).toBeGreaterThan(100);
    expect(await tensor([1, 4, 9]).sqrt().cumsum().array()).toEqual([1, 3, 6]);
  },
  async onnx() {
    const bytes = await exportOnnx((x: Tensor<[1, 2], "float32">) => x.relu(), [zeros([1, 2])]);
    expect(fromBinary(ModelProtoSchema, bytes).graph?.node.map(({ opType }) => opType)).toEqual(["Relu"]);
  },
  async engine() {
    const before = currentEngine();
    onTestFinished(() => useEngine(before));
    const results: number[][] = [];
    for (const engine of [plainEngine(), nodeEngine({ threads: 1 })]) {
      useEngine(engine);
      results.push(
        (await tensor([
          [1, 2],
          [3, 4],
        ])
          .matmul(tensor([[0.5], [2]]))
          .flatten()
          .array()) as number[],
      );
    }
    expect(results).toEqual([
      [4.5, 9.5],
      [4.5, 9.5],
    ]);
  },
  async tensor() {
    expect(
      await tensor([[1], [2]])
        .add(tensor([10, 20]))
        .array(),
    ).toEqual([
      [11, 21],
      [12, 22],
    ]);
  },
  async autodiff() {
    const x = tensor([1, 2, 3]);
    const [slope] = gradients(x.mul(x).mul(x).sum(), [x]);
    const [curve] = gradients(slope!.sum(), [x]);
    expect([await slope!.array(), await curve!.array()]).toEqual([
      [3, 12, 27],
      [6, 12, 18],
    ]);
  },
  async compile() {
    let traces = 0;
    const square = compile((x: Tensor<[number], "float32">) => {
      traces++;
      return x.mul(x);
    });
    for (const value of [1, 2, 3]) expect(await square(tensor([value])).array()).toEqual([value * value]);
    expect(traces).toBe(1);
  },
  async nn() {
    seed(1);
    const model = sequential(linear(2, 3), tanh, linear(3, 1));
    expect((await model(tensor([[1, 2]])).array()).flat()).toHaveLength(1);
    expect([...model.namedParameters().keys()]).toEqual(["0.weight", "0.bias", "2.weight", "2.bias"]);
  },
  async optim() {
    const p = parameter([2], init.ones);
    const optimizer = sgd([p], { learningRate: 0.5 });
    const step = compile(() => {
      optimizer.minimize(p.mul(p).sum());
      return p.sum();
    });
    await step().item();
    expect(await p.array()).toEqual([0, 0]); //  1 − ½·2
  },
  async files() {
    const folder = mkdtempSync(path.join(tmpdir(), "glissade-tour-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const [model, other] = [linear(2, 2), linear(2, 2)];
    await saveWeights(model, path.join(folder, "model.safetensors"));
    await loadWeights(other, path.join(folder, "model.safetensors"));
    expect(await other.weight.array()).toEqual(await model.weight.array());
  },
  data() {
    const people = parseCsv("age,city\n31,Rome\n40,Paris\n", { target: "age" });
    expect(people.length).toBe(2);
    const batches = [...loader(points, { batchSize: 3 })];
    expect(batches.map(([x]) => x.shape)).toEqual([
      [3, 1],
      [1, 1],
    ]);
  },
  text() {
    const tokenizer = tokenizers.trainCharacterLevel(["abc cab"]);
    expect(tokenizer.decode(tokenizer.encode("cab").ids)).toBe("cab");
    expect(editDistance("kitten", "sitting")).toBe(3);
  },
  async models() {
    const counting = {
      step: (tokens: Tensor<[number], "int32">, state: { sum: Tensor<[number], "int32"> }) => ({
        logits: tokens.add(1).remainder(5).oneHot(5) as Tensor<[number, number], "float32">,
        state: { sum: state.sum.add(tokens) },
      }),
      startState: (batch: number) => ({ sum: zeros([batch], "int32") as Tensor<[number], "int32"> }),
    };
    const { sequences } = await generate(counting, { prompt: [2], maxNewTokens: 5 });
    expect(sequences).toEqual([[3, 4, 0, 1, 2]]);
  },
  async train() {
    const result = await fit(lineSetup(), { epochs: 1, onEvent: () => {} });
    expect(result).toMatchObject({ step: 1, reason: "finished" });
  },
  async doctor() {
    const model = sequential(linear(2, 3), tanh, linear(3, 2));
    const report = await gradientCheck(() => crossEntropy(model(tensor([[1, -2]])), tensor([1], "int32")), model);
    expect(report.passes).toBe(true);
    expect((await check.overfit(lineSetup(), { steps: 2 })).check).toBe("overfit");
  },
  async recipes() {
    const recipe = await loadRecipe("iris");
    const { setup, options } = await recipe.prepare({ seed: 1 });
    expect((await fit(setup, { ...options, fastDevRun: 1, onEvent: () => {} })).step).toBe(1);
  },
  cli() {
    const help = makeProgram(() => {}).helpInformation();
    for (const command of ["train", "resume", "evaluate", "predict", "check", "sweep", "new"])
      expect(help).toContain(command);
  },
};

const points = dataset(
  { shape: [4, 1], dtype: "float32", values: Float32Array.of(0, 1, 2, 3) },
  { shape: [4, 1], dtype: "float32", values: Float32Array.of(1, 3, 5, 7) },
);

function lineSetup() {
  seed(1);
  const model = sequential(linear(1, 4), relu, linear(4, 1));
  const loss = (x: Tensor<[number, 1], "float32">, y: Tensor<[number, 1], "float32">) => meanSquaredError(model(x), y);
  return { model, loss, train: points, optimizer: sgd(model, { learningRate: 0.01 }) };
}

test("each room of the house is a stop", () => {
  const rooms = readdirSync(path.join(import.meta.dirname, "../src"), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  expect(Object.keys(stops).sort()).toEqual(rooms.sort());
});

test.each(Object.entries(stops))("%s", async (_, stop) => {
  await stop();
});
