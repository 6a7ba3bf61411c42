/** The first recipe, end to end on real digits: the same twice, saved, read again, and run by a bare ONNX Runtime. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { networkAsOnnx, networkOf } from "../../src/cli/network.ts";
import {
  type Dataset,
  type FitResult,
  fit,
  loadWeights,
  type PreparedRecipe,
  saveWeights,
  toTensor,
  writeFileAtomically,
} from "../../src/node.ts";
import digits, { perceptron } from "../../src/recipes/digits.ts";

let prepared: PreparedRecipe;
let result: FitResult;
let folder: string;

async function losses(given: { seed?: number }, maxSteps: number): Promise<number[]> {
  const { setup, options } = await digits.prepare({ epochs: 2, ...given });
  const seen: number[] = [];
  const onEvent = (event: { type: string; loss?: number }): void => {
    if (event.type === "log") seen.push(event.loss!);
  };
  await fit(setup, { ...options, maxSteps, loggingSteps: 1, evalStrategy: "no", onEvent });
  return seen;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-"));
  prepared = await digits.prepare({ epochs: 2 });
  result = await fit(prepared.setup, { ...prepared.options, onEvent: () => {} });
});

afterAll(() => rm(folder, { recursive: true }));

test("learns", () => {
  expect(result).toMatchObject({ reason: "finished", step: 250, epoch: 2 });
  expect(result.evaluations.map(({ metrics }) => metrics.accuracy)).toEqual([expect.any(Number), expect.any(Number)]);
  expect(result.best!.metrics.accuracy).toBeGreaterThan(0.92);
});

test("the same seed gives the same losses, bit for bit; another seed others", async () => {
  const first = await losses({}, 5);
  expect(first).toHaveLength(5);
  expect(await losses({}, 5)).toEqual(first);
  expect(await losses({ seed: 1 }, 5)).not.toEqual(first);
});

test("the exported network gives a bare ONNX Runtime the same probabilities", async () => {
  const file = path.join(folder, "model.onnx");
  const network = await networkOf(prepared);
  expect(network).toMatchObject({ task: "classes", names: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"] });
  await writeFileAtomically(file, await networkAsOnnx(prepared, network));
  const [images] = (prepared.setup.validation as Dataset).columns;
  const ours = await network.answer(toTensor(images!)).data();

  const session = await InferenceSession.create(file);
  const feeds = { images: new OrtTensor("float32", images!.values as Float32Array, [2000, 784]) };
  const theirs = (await session.run(feeds)).probabilities!.data as Float32Array;
  expect(theirs).toHaveLength(ours.length);
  let worst = 0;
  for (let i = 0; i < ours.length; i++) worst = Math.max(worst, Math.abs(ours[i]! - theirs[i]!));
  expect(worst).toBeLessThan(1e-5);
});

test("saved weights bring a fresh network to the same state", async () => {
  const file = path.join(folder, "model.safetensors");
  await saveWeights(prepared.setup.model, file, { accuracy: "0.93" });
  const fresh = perceptron();
  await loadWeights(fresh, file);
  for (const [name, state] of prepared.setup.model.namedStates())
    expect(await fresh.namedStates().get(name)!.data(), name).toEqual(await state.data());
});
