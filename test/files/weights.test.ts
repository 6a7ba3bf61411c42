/** Weights of another architecture are refused, whole training steps leave as ONNX. */
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import {
  crossEntropy,
  decodeSafetensors,
  decodeWeights,
  embedding,
  encodeSafetensors,
  encodeWeights,
  exportOnnx,
  FormatError,
  linear,
  module,
  relu,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
} from "../../src/node.ts";
import { complaint } from "../support/complaint.ts";

test("another architecture is named, and the model keeps its values", async () => {
  const bytes = await encodeWeights(sequential(linear(4, 8), relu, linear(8, 3)));
  const other = sequential(linear(4, 6), relu, linear(6, 3), linear(3, 2));
  const before = await other.namedStates().get("0.weight")!.data();
  expect(complaint(FormatError, () => decodeWeights(other, bytes, "model.safetensors"))).toMatchInlineSnapshot(`
    "model.safetensors: holds another architecture: the file lacks 3.weight, 3.bias; 0.weight is float32[8, 4] in the file and float32[6, 4] in the model, 0.bias is float32[8] in the file and float32[6] in the model, 2.weight is float32[3, 8] in the file and float32[3, 6] in the model
      fix: build the model that the file was saved from"
  `);
  expect(await other.namedStates().get("0.weight")!.data()).toEqual(before);
});

test("a truncated file is refused, and the model keeps its values", async () => {
  const model = linear(4, 3);
  const bytes = await encodeWeights(model);
  const before = await model.weight.data();
  expect(
    complaint(FormatError, () => decodeWeights(model, bytes.subarray(0, bytes.length - 5), "cut.safetensors")),
  ).toMatchInlineSnapshot(`
    "cut.safetensors: tensor "weight": its data end at 60, and the file has 55 bytes of data
      fix: check that the file was downloaded to its end"
  `);
  expect(await model.weight.data()).toEqual(before);
});

test("a training step as ONNX: variables in, their next values out", async () => {
  seed(3);
  const model = linear(2, 3);
  const optimizer = sgd(model, { learningRate: 0.5 });
  const x = tensor([
    [1, 2],
    [3, -4],
  ]);
  const y = tensor([0, 2], "int32");
  const step = (images: Tensor<[number, number], "float32">, labels: Tensor<[number], "int32">): Tensor => {
    const loss = crossEntropy(model(images), labels);
    optimizer.minimize(loss);
    return loss;
  };
  const session = await InferenceSession.create(await exportOnnx(step, [x, y], { outputs: ["loss"], names: model }));
  expect([...session.inputNames].sort()).toEqual(
    ["bias", "input0", "input1", "learningRate", "step", "weight"].filter((name) => session.inputNames.includes(name)),
  );
  expect(session.outputNames).toContain("weight.next");

  const types = { float32: Float32Array, float64: Float64Array, int32: Int32Array };
  const weight = (await model.weight.data()) as Float32Array;
  const feeds: Record<string, OrtTensor> = {};
  for (const { name, type, shape } of session.inputMetadata.filter((input) => input.isTensor)) {
    const sizes = shape.map((size) => (typeof size === "number" ? size : 2));
    const state = model.namedStates().get(name) ?? optimizer.namedStates().get(name);
    const values = await (name === "input0" ? x : name === "input1" ? y : state!).data();
    feeds[name] = new OrtTensor(
      type as "float32",
      types[type as keyof typeof types].from(values) as Float32Array,
      sizes,
    );
  }
  const results = await session.run(feeds);
  expect(results.loss!.data[0]).toBeGreaterThan(0);
  // The very step in ordinary arithmetic: θ − α·g, g = (p − onehot)ᵀ·x / n.
  const logits = [0, 1].map((row) =>
    [0, 1, 2].map(
      (k) =>
        weight[2 * k]! * [1, 3][row]! + weight[2 * k + 1]! * [2, -4][row]! + (feeds.bias!.data as Float32Array)[k]!,
    ),
  );
  const p = logits.map((row) => row.map((z) => Math.exp(z) / row.reduce((sum, other) => sum + Math.exp(other), 0)));
  const labels = [0, 2];
  const next = Array.from(weight, (w, i) => {
    const [k, j] = [Math.floor(i / 2), i % 2];
    const g = [0, 1].reduce(
      (sum, row) =>
        sum +
        ((p[row]![k]! - Number(labels[row] === k)) *
          [
            [1, 2],
            [3, -4],
          ][row]![j]!) /
          2,
      0,
    );
    return w - 0.5 * g;
  });
  const written = results["weight.next"]!.data as Float32Array;
  next.forEach((value, i) => expect(written[i]).toBeCloseTo(value, 5));
});

describe("a weight with two names", () => {
  const tied = () => {
    const embed = embedding(5, 3);
    const head = module("Head", { weight: embed.weight }, (x: Tensor<[number, 3], "float32">) =>
      x.matmul(embed.weight.transpose()),
    );
    return module("Tied", { embed, head }, (ids: Tensor<[number], "int32">) => head(embed(ids)));
  };
  const both = async (model: ReturnType<typeof tied>) => decodeSafetensors(await encodeWeights(model)).tensors;

  test("is written under both, as a state_dict has it, and counts once", async () => {
    const model = tied();
    const tensors = await both(model);
    expect([...tensors.keys()].sort()).toEqual(["embed.weight", "head.weight"]);
    expect(tensors.get("embed.weight")!.values).toEqual(tensors.get("head.weight")!.values);
    expect(model.parameters()).toHaveLength(1);
    expect([...model.namedStates().keys()]).toEqual(["embed.weight"]);
  });

  test.each([[["embed.weight"]], [["head.weight"]], [["head.weight", "embed.weight"]]])(
    "is loaded from a file with %j",
    async (names) => {
      const [model, other] = [tied(), tied()];
      const tensors = await both(model);
      const file = encodeSafetensors(new Map(names.map((name) => [name, tensors.get(name)!])));
      decodeWeights(other, file);
      expect(await other.embed.weight.data()).toEqual(await model.embed.weight.data());
    },
  );

  test("is refused where both differ, or none is there", async () => {
    const model = tied();
    const before = await model.embed.weight.data();
    const tensors = await both(tied());
    const changed = { ...tensors.get("head.weight")!, values: Float32Array.from({ length: 15 }, (_, i) => i) };
    const differing = encodeSafetensors(new Map([...tensors, ["head.weight", changed]]));
    expect(complaint(FormatError, () => decodeWeights(model, differing, "tied.safetensors"))).toMatchInlineSnapshot(`
      "tied.safetensors: has different values for embed.weight and head.weight, which are one weight in the model
        fix: save a model that shares the weight too, or build one with two weights"
    `);
    const empty = encodeSafetensors(new Map());
    expect(complaint(FormatError, () => decodeWeights(model, empty))).toContain("the file lacks embed.weight");
    expect(await model.embed.weight.data()).toEqual(before);
  });
});
