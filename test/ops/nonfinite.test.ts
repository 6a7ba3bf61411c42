/** NaN, infinities and signed zeros, in every place of short and long arrays, on every engine: as PyTorch has them. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import type { AnyOp } from "../../src/graph/op.ts";
import { arrayTypes, type DType, isFloat, type Values } from "../../src/graph/types.ts";
import { evaluate, fromValues, gradients, plainEngine, type Tensor, useEngine } from "../../src/index.ts";
import { registry } from "../../src/ops/lowered/index.ts";
import { adopt } from "../../src/tensor/create.ts";
import * as pairs from "../../src/tensor/pairs.ts";
import * as pointwise from "../../src/tensor/pointwise.ts";
import * as predicates from "../../src/tensor/predicates.ts";
import * as reductions from "../../src/tensor/reductions.ts";
import { sampler } from "../support/conformance.ts";
import { opsIn } from "../support/coverage.ts";
import { along, elsewhere, exceptions, notTried, ofElements, ofOne, ofTwo, signedZeros } from "./nonfinite-table.ts";

interface Stored {
  readonly dtype: "float32" | "int32" | "bool";
  readonly shape: readonly number[];
  /** Base64 of float32, or of int32 for the others. */
  readonly values: string;
}

interface Case {
  readonly function: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly Stored[];
  readonly slopes?: readonly Stored[];
}

const fixture = JSON.parse(
  gunzipSync(readFileSync(new URL("../fixtures/nonfinite.json.gz", import.meta.url))).toString(),
) as { readonly inputs: Readonly<Record<string, Stored>>; readonly cases: readonly Case[] };

function valuesOf({ dtype, values }: Stored): Float32Array | Int32Array {
  const bytes = new Uint8Array(Buffer.from(values, "base64")).buffer;
  return dtype === "float32" ? new Float32Array(bytes) : new Int32Array(bytes);
}

function input(name: string, dtype: DType): Tensor {
  const stored = fixture.inputs[name]!;
  return adopt({ shape: stored.shape, dtype }, arrayTypes[dtype].from(valuesOf(stored)) as Values);
}

/** The weights of the sum over an output whose gradient the fixture holds. */
function weightsOf(output: Tensor): Tensor {
  const weights = Float64Array.from({ length: output.size }, (_, p) => (((7919 * p) % 13) - 6.5) / 7);
  return fromValues(output.dtype === "float64" ? weights : Float32Array.from(weights), output.shape) as Tensor;
}

const listed = (y: Tensor | readonly Tensor[]): readonly Tensor[] => (Array.isArray(y) ? y : [y as Tensor]);
const turned = (x: Tensor): Tensor => (x.shape.length < 2 ? x : (x.mT() as Tensor));

type Form = (xs: readonly Tensor[]) => readonly Tensor[];

/** The ways in which a case is computed: along the last axis and the first, alone and between other ops. */
function forms({ function: name }: Case): Record<string, Form> {
  const axis = along[name];
  if (axis)
    return {
      "along the last axis": ([x]) => listed(axis(x, -1)),
      "along the first axis": ([x]) => listed(axis(turned(x!), 0)).map(turned),
    };
  const one = ofOne[name] ?? ofElements[name];
  const two = ofTwo[name];
  if (!one && !two) throw new Error(`nothing is written for ${name}`);
  const f: Form = ([a, b]) => listed(two ? two(a, b) : one!(a));
  if (ofOne[name]) return { alone: f };
  // Something on either side, so that there is a kernel to be made: products with ones, which the compiler does not know.
  const same = (x: Tensor): Tensor =>
    (isFloat(x.dtype) ? x.mul(fromValues(arrayTypes[x.dtype as "float32"].from([1]), []) as never) : x) as Tensor;
  return { alone: f, "among others": (xs) => f(xs.map(same)).map(same) };
}

/** With the number of forms in which each case is tried. */
const engines: readonly (readonly [string, "float32" | "float64", () => Engine, number])[] = [
  ["plain", "float64", plainEngine, 2],
  ["node", "float32", () => nodeEngine({ threads: 2 }), 2],
  ["node, without kernels", "float32", () => nodeEngine({ threads: 1, kernels: false }), 2],
  ["node, through the binding", "float32", () => nodeEngine({ threads: 1, implementation: "binding" }), 1],
  // Without ONNX Runtime's own ops.
  [
    "node, portable",
    "float32",
    () => ({ ...nodeEngine({ threads: 1 }), target: { contrib: false, forgetsNaN: true } }),
    1,
  ],
];

const functions = [...new Set(fixture.cases.map((each) => each.function))];

describe.each(engines)("%s", (_, float, engine, tries) => {
  test.each(functions)("%s", async (name) => {
    useEngine(engine());
    const wanted: Wanted[] = [];
    for (const each of fixture.cases.filter((other) => other.function === name))
      for (const [form, f] of Object.entries(forms(each)).slice(0, tries)) {
        const xs = each.inputs.map((given) => input(given, float));
        const outputs = f(xs);
        const weighted = outputs.filter(({ dtype }) => isFloat(dtype)).map((y) => y.mul(weightsOf(y)).sum());
        const slopes = each.slopes
          ? gradients(
              weighted.reduce((a, b) => a.add(b)),
              xs,
            )
          : [];
        const add = (of: Wanted["of"], have: readonly Tensor[], want: readonly Stored[]): void =>
          want.forEach((stored, i) => {
            const what = `${each.inputs.join(" and ")} ${form}: ${of} ${i}`;
            wanted.push({ name, have: have[i]!, want: stored, of, what, given: each.inputs });
          });
        add("output", outputs, each.outputs);
        add("gradient", slopes, each.slopes ?? []);
      }
    await evaluate(...wanted.map(({ have }) => have));
    const problems: string[] = [];
    for (const each of wanted) problems.push(...(await differences(each)));
    expect(problems).toEqual([]);
  });
});

interface Wanted {
  readonly name: string;
  readonly have: Tensor;
  readonly want: Stored;
  readonly of: "output" | "gradient";
  readonly what: string;
  /** The inputs of functions of elements, which say where an exception is. */
  readonly given: readonly string[];
}

const used = new Set<(typeof exceptions)[number]>();
let compared = 0;

/** What is not PyTorch's, in sentences. */
async function differences({ name, have, want, of, what, given }: Wanted): Promise<string[]> {
  if (`${have.shape}` !== `${want.shape}`) return [`${what} is [${have.shape}] in place of [${want.shape}]`];
  const [got, right] = [await have.data(), valuesOf(want)];
  const width = want.shape.at(-1) ?? 1;
  const hasSign = of === "output" && signedZeros.has(name);
  const inputs = given.map((each) => valuesOf(fixture.inputs[each]!));
  const excused = exceptions.filter((exception) => exception.of === of && exception.functions.includes(name));
  const found: string[] = [];
  compared += right.length;
  for (let i = 0; i < right.length; i++) {
    const [a, b] = [got[i]!, right[i]!];
    const isClose = Math.abs(a - b) <= 1e-5 * Math.max(1, Math.abs(b));
    if (Object.is(a, b) || (isClose && !(hasSign && a === 0 && b === 0))) continue;
    const exception = excused.find(({ when }) => when(...inputs.map((values) => values[i]!)));
    if (exception) used.add(exception);
    else found.push(`${what}[${Math.floor(i / width)}, ${i % width}] is ${shown(a)} in place of ${shown(b)}`);
  }
  return found.length > 4 ? [...found.slice(0, 4), `and ${found.length - 4} more of ${right.length}`] : found;
}

const shown = (value: number): string => (Object.is(value, -0) ? "-0" : `${value}`);

test("every op that can meet NaN is in the table, or has a reason not to be", () => {
  const reached = new Set<string>();
  for (const name of functions) {
    const each = fixture.cases.find((other) => other.function === name)!;
    const xs = each.inputs.map((given) => input(given, "float32"));
    for (const f of Object.values(forms(each))) {
      const outputs = f(xs);
      const reals = outputs.filter(({ dtype }) => isFloat(dtype));
      const slopes = each.slopes
        ? gradients(
            reals.map((y) => y.sum()).reduce((a, b) => a.add(b)),
            xs,
          )
        : [];
      for (const op of opsIn([...outputs, ...slopes])) reached.add(op);
    }
  }
  const left = [...registry.values()].filter((op) => !reached.has(op.name) && takesReals(op)).map(({ name }) => name);
  expect(left.sort()).toEqual(Object.keys(elsewhere).sort());
});

/** Whether some sample of an op has real inputs, and the op does more than bring them into another order. */
function takesReals(op: AnyOp): boolean {
  return (
    !op.rearranges && op.samples(sampler("float32")).some(({ inputs }) => inputs.some(({ dtype }) => isFloat(dtype)))
  );
}

test("every function of elements and of axes is in the table, or has a reason not to be", () => {
  const written = new Set(functions.map((name) => name.split(/[ ,]/)[0]!));
  const all = [pointwise, reductions, predicates, pairs].flatMap((module) => Object.keys(module));
  expect(all.filter((name) => !written.has(name)).sort()).toEqual(Object.keys(notTried).sort());
});

test("every exception is one", () => {
  console.log(`${compared.toLocaleString("en")} values compared with PyTorch's, ${exceptions.length} exceptions`);
  expect(exceptions.filter((exception) => !used.has(exception)).map(({ reason }) => reason)).toEqual([]);
});
