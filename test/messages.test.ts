/** Names that come from outside, in messages: no control codes, no lines of their own, and not too long. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { runtimeError } from "../src/engine/node/runtime-error.ts";
import { printable, quoted } from "../src/errors.ts";
import {
  activationCurve,
  compile,
  dataset,
  decodeSafetensors,
  decodeWeights,
  defineOp,
  einsum,
  encodeSafetensors,
  encodeWeights,
  GlissadeError,
  gradients,
  linear,
  loadWeights,
  module,
  nodeEngine,
  printGraph,
  saveWeights,
  sequential,
  type Tensor,
  tensor,
  writeFileAtomically,
  zeros,
} from "../src/node.ts";
import { State } from "../src/tensor/state.ts";

/** Everything a name can try, at the front where it is quoted even when the rest is left out, and then length. */
const trick = "a\r\n  fix: trust me\u001b[2J\u009b\u0007\u202e\u2066\u2028\u200b\ud800\u{e0041}";
const evil = trick + "n".repeat(50_000);

const values = { shape: [1], dtype: "float32", values: new Float32Array(1) } as const;
const header = (text: string): Uint8Array => {
  const bytes = new TextEncoder().encode(text);
  const file = new Uint8Array(8 + bytes.length);
  new DataView(file.buffer).setUint32(0, bytes.length, true);
  file.set(bytes, 8);
  return file;
};
const named = (name: string) => module("Outer", { [name.replaceAll(".", "")]: linear(2, 3) }, (x: Tensor) => x);

/** Where a name from outside gets into a message, each with an action that fails. */
const ways: Readonly<Record<string, (name: string) => unknown>> = {
  "the path of a file that is not there": (name) => loadWeights(linear(1, 1), name),
  "the path of a folder": (name) => writeFileAtomically(join(tmpdir(), name, "x"), ""),
  "a path that names nothing": (name) => writeFileAtomically(`${name}\0`, ""),
  "the address of a file": (name) => writeFileAtomically(new URL(`http://example.org/${name}`), ""),
  "what a file is called": (name) => decodeSafetensors(new Uint8Array(3), name),
  "a header that is none": (name) => decodeSafetensors(header(name)),
  "a tensor's name in a header": (name) => decodeSafetensors(header(JSON.stringify({ [name]: 3 }))),
  "a tensor's dtype": (name) =>
    decodeSafetensors(header(JSON.stringify({ x: { dtype: name, shape: [], data_offsets: [0, 0] } }))),
  "a tensor's shape": (name) => decodeSafetensors(header(JSON.stringify({ x: { dtype: "F32", shape: [name] } }))),
  "a key of the metadata": (name) => decodeSafetensors(header(JSON.stringify({ __metadata__: { [name]: 3 } }))),
  "a tensor's name when writing": (name) => encodeSafetensors(new Map([[name, { ...values, shape: [2] }]])),
  "names that a model lacks": (name) =>
    decodeWeights(linear(1, 1), encodeSafetensors(new Map([[name.toWellFormed(), values]]))),
  "names that a file lacks": async (name) => decodeWeights(named(name), await encodeWeights(linear(1, 1))),
  "a module's path": (name) => {
    const inner = linear(2, 3);
    const outer = module("Outer", { [name.replaceAll(".", "")]: inner }, (x: Tensor) =>
      inner(x as Tensor<[number, 2]>),
    );
    return outer(zeros([1, 5]));
  },
  "a child that is none": (name) => module("M", { [name]: 3 as never }, (x: Tensor) => x),
  "a variable's label": (name) => gradients(zeros([]), [new State(values, new Float32Array(1), { name })]),
  "a variable that is written": (name) => new State(values, new Float32Array(1), { name }).write(new Float32Array(7)),
  "an op's name": (name) =>
    defineOp({ name, dtypes: ["int32"], shape: () => [], evaluate: () => {}, onnx: () => [] as never } as never).type(
      [{ shape: [], dtype: "float32" }],
      undefined as never,
    ),
  "a formula": (name) => einsum(name as never, zeros([1]) as never),
  "the name of an activation": (name) => activationCurve(name as never),
  "a dtype": (name) => zeros([1], name as never),
  "values of a class": (name) => {
    const Named = { [name]: class extends Float32Array {} }[name]!;
    return dataset({ shape: [1], dtype: "int32", values: new Named(1) as never });
  },
  "a function that is compiled": async (name) => {
    const compiled = compile({ [name]: (x: Tensor) => x.sum().item() as never }[name]!);
    return compiled(tensor([1]));
  },
  "an option of the engine": (name) => nodeEngine({ threads: name as never }),
  "ONNX Runtime's own words": (name) => {
    throw runtimeError(name, `Non-zero status code: ${name}`);
  },
};

/** The lines of an error, each checked: at most three, and nothing in them that a terminal would obey. */
function expectTame(message: string): void {
  const lines = message.split("\n");
  expect(lines.length).toBeLessThanOrEqual(3);
  expect(lines.filter((line) => /^\s*fix:/.test(line)).length).toBe(1);
  expect(lines.at(-1)).toMatch(/^ {2}fix: /);
  expect(lines.join("")).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
  expect(message).not.toMatch(/n{400}/);
  expect(message.length).toBeLessThan(2500);
}

test.each(Object.entries(ways))("%s", async (_, way) => {
  for (const name of [evil, trick, `${"n".repeat(50_000)}${trick}`]) {
    const error = await Promise.resolve()
      .then(() => way(name))
      .then(
        () => expect.fail("nothing was thrown"),
        (error: unknown) => error,
      );
    expect(error).toBeInstanceOf(GlissadeError);
    expectTame((error as GlissadeError).message);
    const { subject, problem, fix, path } = error as GlissadeError;
    expect(subject + problem + fix + path).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
  }
});

test("what is printed without being an error", async () => {
  const model = named(trick);
  for (const text of [model.summary(), printGraph(model.parameters()[0]!.mul(2))])
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
});

test("plain text stays as it is", () => {
  for (const text of ["größer", "数据/モデル.safetensors", "👍 ok", "a\\b", 'it\'s "x"'])
    expect(printable(text)).toBe(text);
  expect(printable("a\tb\u001b")).toBe("a\\tb\\u001b");
  expect(quoted('a"b\n')).toBe('"a\\"b\\n"');
  expect(printable("ab".repeat(500)).length).toBeLessThan(210);
});

test("the way to a folder with such a name works", async () => {
  const folder = await mkdtemp(join(tmpdir(), "glissade-\u001b[2J\n"));
  try {
    const model = sequential(linear(1, 1));
    await saveWeights(model, join(folder, "w"));
    await loadWeights(model, join(folder, "w"));
  } finally {
    await rm(folder, { recursive: true });
  }
});
