/** A setup from somebody's own module: what is wrong with it is said part by part. */
import { describe, expect, test } from "vitest";
import { adam, crossEntropy, dataset, linear, loader, stream, type Tensor } from "../../src/node.ts";
import { batchSizeOf, completeSetup, type TrainingSetup } from "../../src/train/setup.ts";

const model = linear(2, 3);
const train = dataset(
  { shape: [4, 2], dtype: "float32", values: new Float32Array(8) },
  { shape: [4], dtype: "int32", values: new Int32Array(4) },
);
const loss = (x: Tensor<[number, 2], "float32">, y: Tensor<[number], "int32">): Tensor => crossEntropy(model(x), y);
const setup = { model, loss, train };
const [x, y] = [linear(2, 2).weight, linear(2, 2).weight];

test("what is left open gets its default", () => {
  const complete = completeSetup("file.js", setup);
  expect(complete.optimizer.name).toBe("adam");
  expect(complete.batchSize).toBe(4);
  expect(complete.output(x, y).shape).toEqual([2, 3]);
  expect(complete).not.toHaveProperty("validation");
  const optimizer = adam(model);
  const own = completeSetup("file.js", { ...setup, validation: train, batchSize: 2, classes: 3, optimizer });
  expect(own).toMatchObject({ batchSize: 2, classes: 3, validation: train });
  expect(own.optimizer).toBe(optimizer);
});

test("a batch is as large as the data make it; a source that does not tell has no size", () => {
  const types = [{ shape: [2], dtype: "float32" }] as const;
  const rows = stream(types, () => [], { batchSize: 5 });
  const own = { state: () => rows.state(), resume: () => {}, *[Symbol.iterator]() {} };
  const sizes = [train, loader(train, { batchSize: 3 }), rows, own].map((source) =>
    batchSizeOf({ ...setup, train: source } as unknown as TrainingSetup),
  );
  expect(sizes).toEqual([4, 3, 5, undefined]);
});

const sentence = (given: unknown): string => {
  try {
    completeSetup("file.js", given as TrainingSetup);
  } catch (error) {
    return String(error);
  }
  return expect.fail("nothing was thrown");
};

describe("what is wrong", () => {
  test.each<[string, unknown, string]>([
    ["nothing", undefined, "the setup is undefined"],
    ["a string", "mnist", "the setup is the string mnist"],
    ["a model alone", model, "the setup is a module"],
    ["no model", { loss, train }, "there is no `model`"],
    ["a function as model", { ...setup, model: () => x }, "`model` is a function"],
    ["no loss", { model, train }, "there is no `loss`"],
    ["a tensor as loss", { ...setup, loss: x }, "`loss` is a Parameter"],
    ["no data", { model, loss }, "there is no `train`"],
    ["data to come", { ...setup, train: Promise.resolve(train) }, "`train` is a promise: await it"],
    ["columns as data", { ...setup, train: train.columns }, "`train` is an array"],
    ["null as validation data", { ...setup, validation: null }, "`validation` is null"],
    ["no optimizer", { ...setup, optimizer: { learningRate: 1 } }, "`optimizer` is a record"],
    ["a batch of none", { ...setup, batchSize: 0 }, "`batchSize` is 0"],
    ["a batch of text", { ...setup, batchSize: "64" }, "`batchSize` is 64"],
    ["one class", { ...setup, classes: 1 }, "`classes` is 1"],
    ["an output that is none", { ...setup, output: 3 }, "`output` is the number 3"],
  ])("%s", (_, given, problem) => {
    expect(sentence(given)).toContain(`ConfigError: file.js: ${problem}\n  fix: `);
  });

  test("other validation data than training data", () => {
    const other = dataset({ shape: [4, 3], dtype: "float32", values: new Float32Array(12) });
    expect(sentence({ ...setup, validation: other })).toMatchInlineSnapshot(`
      "ConfigError: file.js: an example of \`train\` is float32[2], int32[], one of \`validation\` float32[3]
        fix: make both from the same columns"
    `);
  });

  test("parts of another copy of this package", () => {
    const foreign = Object.assign(() => x, { kind: "Linear", namedStates: () => new Map() });
    expect(sentence({ ...setup, model: foreign })).toMatchInlineSnapshot(`
      "ConfigError: file.js: \`model\` is a function
        fix: another copy of Glissade made it: run that copy, with npx glissade in the folder of its package.json"
    `);
    expect(sentence({ ...setup, train: { columns: [], take: () => 0 } })).toContain("another copy of Glissade made it");
  });

  test("a loss that is no scalar, no tensor, no real number", () => {
    const call = (wrong: unknown) => () =>
      completeSetup("file.js", { ...setup, loss: () => wrong as Tensor }).loss(x, y);
    expect(call(3)).toThrowErrorMatchingInlineSnapshot(`
      [ConfigError: file.js: \`loss\` returns the number 3
        fix: return the scalar tensor to minimise]
    `);
    expect(call(x)).toThrowErrorMatchingInlineSnapshot(`
      [ShapeError: file.js: \`loss\` returns float32[2, 2]
        fix: reduce it to a scalar: .mean()]
    `);
    expect(call(x.sum().cast("int32"))).toThrowErrorMatchingInlineSnapshot(`
      [DTypeError: file.js: \`loss\` returns int32[]
        fix: return float32 or float64]
    `);
  });
});
