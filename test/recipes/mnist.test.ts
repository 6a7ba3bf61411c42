/** The first recipe, end to end on real digits: the same twice, saved, read again, and run by a bare ONNX Runtime. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  exportOnnx,
  loadWeights,
  saveWeights,
  type Tensor,
  toTensor,
  writeFileAtomically,
  zeros,
} from "../../src/node.ts";
import { type MnistResult, perceptron, trainMnist } from "../../src/recipes/mnist.ts";

const losses: number[] = [];
let result: MnistResult;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-"));
  result = await trainMnist({ epochs: 2, onStep: ({ loss }) => void losses.push(loss) });
});

afterAll(() => rm(folder, { recursive: true }));

test("learns", () => {
  expect(losses).toHaveLength(250);
  expect(result.epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
  expect(result.epochs[0]!.testAccuracy).toBeGreaterThan(0.9);
  expect(result.epochs[1]!.examplesPerSecond).toBeGreaterThan(0);
});

test("the same seed gives the same losses, bit for bit; another seed others", async () => {
  const again: number[] = [];
  await trainMnist({ epochs: 2, onStep: ({ loss }) => void again.push(loss) });
  expect(again).toEqual(losses);
  const other: number[] = [];
  const stop = new AbortController();
  const onStep = ({ step, loss }: { step: number; loss: number }): void => {
    other.push(loss);
    if (step === 3) stop.abort();
  };
  const { steps } = await trainMnist({ seed: 1, signal: stop.signal, onStep });
  expect(steps).toBe(3);
  expect(other).not.toEqual(losses.slice(0, 3));
});

test("the exported network gives a bare ONNX Runtime the same classes and probabilities", async () => {
  const { model, test } = result;
  const file = path.join(folder, "model.onnx");
  const network = (images: Tensor<[number, 784], "float32">): Tensor => model(images).softmax();
  const bytes = await exportOnnx(network, [zeros([1, 784])], { inputs: ["images"], outputs: ["p"], names: model });
  await writeFileAtomically(file, bytes);
  const [images] = test.columns;
  const ours = await network(toTensor(images)).data();

  const session = await InferenceSession.create(file);
  const feeds = { images: new OrtTensor("float32", images.values as Float32Array, [2000, 784]) };
  const theirs = (await session.run(feeds)).p!.data as Float32Array;
  expect(theirs).toHaveLength(ours.length);
  let worst = 0;
  for (let i = 0; i < ours.length; i++) worst = Math.max(worst, Math.abs(ours[i]! - theirs[i]!));
  expect(worst).toBeLessThan(1e-5);
  const classes = (p: ArrayLike<number>): number[] =>
    Array.from({ length: 2000 }, (_, i) => {
      const row = Array.from({ length: 10 }, (_, k) => p[i * 10 + k]!);
      return row.indexOf(Math.max(...row));
    });
  expect(classes(theirs)).toEqual(classes(ours));
});

test("saved weights bring a fresh network to the same state", async () => {
  const file = path.join(folder, "model.safetensors");
  await saveWeights(result.model, file, { accuracy: "0.93" });
  const fresh = perceptron();
  await loadWeights(fresh, file);
  for (const [name, state] of result.model.namedStates())
    expect(await fresh.namedStates().get(name)!.data(), name).toEqual(await state.data());
});
