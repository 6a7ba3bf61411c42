/** Weights that fit in part, and under other names. */
import { expect, test } from "vitest";
import {
  ConfigError,
  decodeWeights,
  encodeSafetensors,
  encodeWeights,
  FormatError,
  linear,
  module,
  relu,
  seed,
  sequential,
  type Tensor,
} from "../../src/index.ts";
import { complaint } from "../support/complaint.ts";

const classifier = (classes: number) => {
  const [body, head] = [sequential(linear(4, 6), relu, linear(6, 6)), linear(6, classes)];
  return module("Classifier", { body, head }, (x: Tensor) => head(body(x) as never));
};

test("partial loads what fits, leaves the rest alone and reports both", async () => {
  seed(1);
  const from = classifier(3);
  const to = classifier(5);
  const before = await to.head.weight.data();
  const report = decodeWeights(to, await encodeWeights(from), "old.safetensors", { partial: true });
  expect(report).toEqual({
    loaded: ["body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"],
    missing: [],
    unexpected: [],
    mismatched: [
      {
        name: "head.weight",
        file: { shape: [3, 6], dtype: "float32" },
        model: { shape: [5, 6], dtype: "float32" },
      },
      { name: "head.bias", file: { shape: [3], dtype: "float32" }, model: { shape: [5], dtype: "float32" } },
    ],
  });
  expect(await to.head.weight.data()).toEqual(before);
  expect(await to.namedStates().get("body.2.bias")!.data()).toEqual(
    await from.namedStates().get("body.2.bias")!.data(),
  );
});

test("what the file lacks and what the model lacks is named by its own name", async () => {
  const wide = module("Wide", { body: linear(2, 2), tail: linear(2, 2) }, (x: Tensor) => x);
  const bytes = await encodeWeights(module("Other", { trunk: linear(2, 2), tail: linear(2, 2) }, (x: Tensor) => x));
  expect(decodeWeights(wide, bytes, "f", { partial: true })).toMatchObject({
    loaded: ["tail.weight", "tail.bias"],
    missing: ["body.weight", "body.bias"],
    unexpected: ["trunk.bias", "trunk.weight"], //  a file is in the order of the names
  });
});

test("without partial a report of everything comes back", async () => {
  const model = linear(2, 3);
  expect(decodeWeights(model, await encodeWeights(model))).toEqual({
    loaded: ["weight", "bias"],
    missing: [],
    unexpected: [],
    mismatched: [],
  });
});

test("nothing that fits is an error with partial too", async () => {
  const bytes = await encodeWeights(linear(2, 3));
  expect(complaint(FormatError, () => decodeWeights(classifier(2), bytes, "f", { partial: true }))).toContain(
    'rename: { "name.in.file"',
  );
});

test("names are translated by a table of beginnings, the longest first, or by a function", async () => {
  const from = module("Wrapped", { module: classifier(3) }, (x: Tensor) => x);
  const bytes = await encodeWeights(from);
  const loaded = async (to: ReturnType<typeof classifier>): Promise<unknown> =>
    (await to.namedStates().get("body.2.weight")!.data()).join();
  const wanted = (await from.namedStates().get("module.body.2.weight")!.data()).join();
  const byTable = classifier(3);
  expect(decodeWeights(byTable, bytes, "f", { rename: { module: "" } }).loaded.length).toBe(6);
  expect(await loaded(byTable)).toBe(wanted);
  const byFunction = classifier(3);
  decodeWeights(byFunction, bytes, "f", { rename: (name) => name.replace(/^module\./, "") });
  expect(await loaded(byFunction)).toBe(wanted);
  const cut = classifier(3);
  expect(
    decodeWeights(cut, bytes, "f", {
      rename: (name) => (name.includes("head") ? undefined : name.slice(7)),
      partial: true,
    }),
  ).toMatchObject({ missing: ["head.weight", "head.bias"], unexpected: [] });
  const longest = module("Two", { a: linear(2, 2), b: linear(2, 2) }, (x: Tensor) => x);
  const swapped = module(
    "Two",
    { x: module("X", { a: linear(2, 2), c: linear(2, 2) }, (t: Tensor) => t) },
    (t: Tensor) => t,
  );
  decodeWeights(longest, await encodeWeights(swapped), "f", { rename: { x: "", "x.c": "b" } });
  expect(await longest.b.weight.data()).toEqual(await swapped.x.c.weight.data());
});

test("a table without effect, two values of one name, and what is no table are refused; nothing is loaded", async () => {
  const model = linear(2, 2);
  const before = await model.weight.data();
  const bytes = encodeSafetensors(
    new Map([
      ["weight", { shape: [2, 2], dtype: "float32" as const, values: new Float32Array(4) }],
      ["bias", { shape: [2], dtype: "float32" as const, values: new Float32Array(2) }],
    ]),
  );
  const refusal = (rename: unknown): string =>
    complaint(ConfigError, () => decodeWeights(model, bytes, "f", { rename: rename as never }));
  expect(refusal({ wieght: "weight" })).toMatchInlineSnapshot(`
    "rename: no name of the file is "wieght" or begins with it and a dot
      fix: the file has bias, weight"
  `);
  expect(refusal(() => "weight")).toContain('"bias" and "weight" of f are both to be "weight"');
  expect(refusal(() => 3)).toContain('for "bias" it returned 3');
  expect(refusal({ weight: 1 })).toContain("give a table of names");
  expect(refusal(7)).toContain("give a table of names");
  expect(await model.weight.data()).toEqual(before);
});
