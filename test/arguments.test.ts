/**
 * The public surface, called with everything that it does not take: each call gives a result or an error of ours that says what to do,
 * never an error of the JavaScript engine's.
 */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import * as glissade from "../src/node.ts";
import { GlissadeError, ones, Tensor, tensor } from "../src/node.ts";

const before = process.cwd();
let folder: string;

// A text is a path to what writes files.
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-arguments-"));
  process.chdir(folder);
});

/** What one function has written no other finds. */
beforeEach(async () => {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
});

afterAll(async () => {
  process.chdir(before);
  await rm(folder, { recursive: true });
});

/** Things of every kind; big numbers and long arrays are left out, which test/large.test.ts has. */
const kinds: Readonly<Record<string, () => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  "a string": () => "relu",
  "a number": () => 2,
  "a fraction": () => 0.5,
  "a negative number": () => -1,
  NaN: () => Number.NaN,
  "a boolean": () => true,
  "a bigint": () => 3n,
  "a symbol": () => Symbol("s"),
  "an object": () => ({ lr: 0.1 }),
  "an array": () => [1, 2],
  "an array of arrays": () => [
    [1, 2],
    [3, 4],
  ],
  "an array of nothing": () => [undefined, null],
  "a function": () => () => undefined,
  "a typed array": () => new Float32Array([1, 2]),
  "a tensor": () =>
    tensor([
      [1, 2],
      [3, 4],
    ]),
  "a tensor of another dtype": () => tensor([1, 2], "int32"),
  "a module": () => glissade.linear(2, 2),
};

/** Not functions of values: classes that tests make by functions, and what loads data or changes the process. */
const leftOut = new Set([
  "loadMnist",
  "loadBrown",
  "loadCities",
  "loadCmudict",
  "useEngine",
  "seed",
  "nodeEngine",
  "plainEngine",
  "currentEngine",
  "defaultGenerator",
]);

interface Raw {
  readonly call: string;
  readonly error: string;
}

async function attempt(call: string, run: () => unknown): Promise<Raw | undefined> {
  try {
    const result = run();
    if (result instanceof Promise) await result;
    else if (result instanceof Tensor && result.size < 1e6) result.toString();
    return undefined;
  } catch (error) {
    if (error instanceof GlissadeError && error.subject !== "" && error.fix !== "") return undefined;
    return { call, error: String(error).slice(0, 100) };
  }
}

async function walked(
  name: string,
  call: (args: readonly unknown[]) => unknown,
  right: readonly unknown[],
): Promise<Raw[]> {
  const raw: Raw[] = [];
  const note = (found: Raw | undefined): void => void (found && raw.push(found));
  note(await attempt(`${name}()`, () => call([])));
  for (const [kind, make] of Object.entries(kinds)) {
    for (let place = 0; place <= 2; place++) {
      const before = place === 0 ? [] : right.slice(0, place);
      if (before.length < place) continue;
      note(await attempt(`${name}(${[...before.map(() => "…"), kind].join(", ")})`, () => call([...before, make()])));
    }
    note(await attempt(`${name}(${kind}, ${kind}, ${kind})`, () => call([make(), make(), make()])));
  }
  return raw;
}

/** Arguments that a function takes, where the wrong one is to be the second or the third. */
const rightOnes: Readonly<Record<string, () => readonly unknown[]>> = Object.fromEntries(
  [
    "sgd",
    "adam",
    "adamW",
    "amsgrad",
    "nadam",
    "radam",
    "adagrad",
    "adadelta",
    "rmsprop",
    "lion",
    "lbfgs",
    "ema",
    "encodeWeights",
    "saveWeights",
    "decodeWeights",
  ].map((name) => [name, () => [glissade.linear(2, 2), () => tensor(1)]]),
);

type Callable = (...args: readonly unknown[]) => unknown;
const entries: [string, unknown][] = Object.entries(glissade).flatMap(([name, value]): [string, unknown][] =>
  ["check", "init", "schedule", "activations", "tokenizers"].includes(name)
    ? Object.entries(value as object).map(([inner, part]): [string, unknown] => [`${name}.${inner}`, part])
    : [[name, value]],
);
const isClass = (value: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(value));
const functions = entries.filter(
  (entry): entry is [string, Callable] =>
    typeof entry[1] === "function" && !isClass(entry[1]) && !leftOut.has(entry[0]),
);

test.each(functions)("%s", async (name, f) => {
  const x = tensor([
    [1, 2],
    [3, 4],
  ]);
  const right = rightOnes[name]?.() ?? [x, x];
  expect(await walked(name, (args) => f(...args), right)).toEqual([]);
});

const methods = Object.getOwnPropertyNames(Tensor.prototype).filter(
  (name) =>
    name !== "constructor" && typeof Object.getOwnPropertyDescriptor(Tensor.prototype, name)!.value === "function",
);

test.each(methods)("tensor.%s", async (name) => {
  const x = ones([2, 2]) as unknown as Record<string, Callable>;
  expect(await walked(`x.${name}`, (args) => x[name]!(...args), [x, x])).toEqual([]);
});

/** Objects with public methods, each with arguments that its methods take. */
const objects: Readonly<Record<string, readonly [make: () => object, right: () => readonly unknown[]]>> = {
  Generator: [() => glissade.randomGenerator(1), () => [[2], { mean: 0 }]],
  "Generator of probabilities": [() => glissade.randomGenerator(1), () => [ones([2]), [2]]],
  Plateau: [() => new glissade.schedule.Plateau(1), () => []],
  Optimizer: [() => glissade.adam(glissade.linear(2, 2)), () => []],
  GradientAccumulator: [() => glissade.gradientAccumulator(glissade.adam(glissade.linear(2, 2))), () => []],
};

const objectMethods = Object.entries(objects).flatMap(([name, [make, right]]) =>
  Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(make()))).flatMap(([method, { value }]) =>
    typeof value === "function" && method !== "constructor"
      ? [[`${name}.${method}`, method, make, right] as const]
      : [],
  ),
);

test.each(objectMethods)("%s", async (name, method, make, right) => {
  const call = (args: readonly unknown[]): unknown => (make() as Record<string, Callable>)[method]!(...args);
  expect(await walked(name, call, right())).toEqual([]);
  // Updates outside of a compiled function wait for the next evaluation. They are made here, so that no other test meets them.
  await tensor(1)
    .add(1)
    .data()
    .catch(() => {});
});

const classes: readonly [string, new (...args: readonly never[]) => object][] = [
  ["Plateau", glissade.schedule.Plateau],
];

test.each(classes)("new %s", async (name, made) => {
  expect(await walked(name, (args) => new made(...(args as readonly never[])), [1, {}])).toEqual([]);
});

const sentence = async (run: () => unknown): Promise<string> => {
  try {
    await run();
  } catch (error) {
    return String(error);
  }
  return expect.fail("nothing was thrown");
};

test("what people write who come from other frameworks", async () => {
  const x = ones([2, 2]);
  const untyped = (value: unknown): never => value as never;
  expect(await sentence(() => glissade.adam(glissade.linear(1, 1), untyped({ lr: 0.1 })))).toContain(
    'there is no option "lr": did you mean learningRate?',
  );
  expect(await sentence(() => glissade.sgd(glissade.linear(1, 1), untyped({ weight_decay: 0.1 })))).toContain(
    "did you mean weightDecay?",
  );
  expect(await sentence(() => x.mean(0, untyped({ keepdim: true })))).toContain('there is no option "keepdim"');
  expect(await sentence(() => x.clip(untyped(tensor(0)), untyped(tensor(1))))).toContain(
    "ConfigError: clip: argument 1 is a tensor\n  fix: give a number",
  );
  expect(await sentence(() => x.slice(untyped(0)))).toContain("ConfigError: slice: argument 1 is 0");
  expect(await sentence(() => x.split(untyped(3)))).toContain("ConfigError: split: argument 1 is 3");
  expect(await sentence(() => x.add(untyped(undefined)))).toContain("ConfigError: add: argument 1 is undefined");
  expect(
    await sentence(() =>
      glissade.dataset(
        untyped([
          [1, 2],
          [3, 4],
        ]),
      ),
    ),
  ).toContain("dataset: column 0: it is an array");
  expect(await sentence(() => glissade.scan((h: Tensor) => untyped(h), { init: x, length: 2 }))).toContain(
    "scan: the cell returns a tensor\n  fix: return [state, output]",
  );
  expect(await sentence(() => tensor(untyped(new Uint8Array([128]))))).toContain('tensor(pixels, "float32")');
  expect(await sentence(() => glissade.fromValues(new Uint8Array([1, 128]), [2]))).toContain("element 1 is 128");
  expect(await sentence(() => tensor(untyped([1, "2"])))).toContain('among the values is "2"');
});

test.each<[string, (word: never) => unknown]>([
  [
    "scatter's reduction",
    (reduction) => ones([1, 2]).scatter(tensor([[0, 0]], "int32"), ones([1, 2]), 0, { reduction }),
  ],
  [
    "crossEntropy's reduction",
    (reduction) => glissade.crossEntropy(ones([2, 3]), tensor([0, 1], "int32"), { reduction }),
  ],
  ["huber's reduction", (reduction) => glissade.huber(ones([2]), ones([2]), { reduction })],
  ["softCrossEntropy's reduction", (reduction) => glissade.softCrossEntropy(ones([2]), ones([2]), { reduction })],
  ["cosineDistance's reduction", (reduction) => glissade.cosineDistance(ones([2, 2]), ones([2, 2]), { reduction })],
  ["pad's mode", (mode) => ones([3]).pad([[1, 1]], { mode })],
  ["a convolution's padding", (padding) => glissade.functional.conv(ones([1, 1, 3]), ones([1, 1, 2]), { padding })],
  ["maxPool's padding", (padding) => glissade.functional.maxPool(ones([1, 1, 3]), { kernel: 2, padding })],
  ["bleu's tokenize", (tokenize) => glissade.bleu(["a"], ["a"], { tokenize })],
  ["f1's average", (average) => glissade.metric.f1({ average })],
  [
    "earlyStopping",
    (earlyStopping) =>
      glissade.generate({ step: () => undefined, startState: () => undefined } as never, {
        prompt: [1],
        numBeams: 2,
        earlyStopping,
      }),
  ],
  ["an engine's implementation", (implementation) => glissade.nodeEngine({ implementation })],
])("%s that there is not", async (_, call) => {
  for (const word of ["foo", "toString", "", null])
    expect(await sentence(() => call(word as never))).toMatch(/^ConfigError: .*\n {2}fix: /);
});

test("typed arrays as values", async () => {
  const untyped = (value: unknown): never => value as never;
  const read = async (x: Tensor): Promise<unknown> => [x.dtype, await x.array()];
  expect(await read(tensor(untyped(new Float32Array([1, 2, 3]))))).toEqual(["float32", [1, 2, 3]]);
  expect(await read(tensor(untyped(new Float64Array([1, 2]))))).toEqual(["float64", [1, 2]]);
  expect(await read(tensor(untyped(new BigInt64Array([1n, -2n]))))).toEqual(["int32", [1, -2]]);
  expect(await read(tensor(untyped(new Int16Array([1, -2]))))).toEqual(["int32", [1, -2]]);
  expect(await read(tensor(untyped(new Uint8Array([0, 128])), "float32"))).toEqual(["float32", [0, 128]]);
  expect(await read(tensor(untyped([new Float32Array([1, 2]), new Float32Array([3, 4])])))).toEqual([
    "float32",
    [
      [1, 2],
      [3, 4],
    ],
  ]);
  expect(await sentence(() => tensor(untyped(new BigInt64Array([2n ** 40n]))))).toContain("is no int32");
});
