/**
 * Every function of the public surface at the edges of the numbers, in each place of short and long arrays, on every engine:
 * docs/edges.md says what holds.
 */
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { applyAll } from "../../src/graph/apply.ts";
import type { AnyOp, Data } from "../../src/graph/op.ts";
import { isFloat } from "../../src/graph/types.ts";
import { nodeEngine, plainEngine, type Tensor, useEngine } from "../../src/node.ts";
import { registry } from "../../src/ops/lowered/index.ts";
import { adopt } from "../../src/tensor/create.ts";
import { plain, sampler, toTensor } from "../support/conformance.ts";
import { exceptions } from "./exceptions.ts";
import {
  arrayNames,
  base,
  edgeCount,
  type FloatType,
  type Known,
  knownArrays,
  knownPair,
  knownUnary,
  pairNames,
  unaryNames,
  weights,
} from "./fixture.ts";
import { integerArrays, integerEdges, integerPairs, integerUnary, shifts, takesDivisor, wrapped } from "./integers.ts";
import { Ledger } from "./ledger.ts";
import { page, proofs, proofsOnFile } from "./page.ts";
import { promises } from "./promises.ts";
import { notOfElements, publicNames } from "./surface.ts";
import { derivativesOf, isRight, isSubnormal, runner, runsInOnnx, slopes, toFloats } from "./sweep.ts";
import { type Any, arrays, others, pair, unary } from "./table.ts";

/** `npm run edges` sweeps everything, which takes minutes; every test run sweeps every function, in fewer places. */
const isWhole = process.env.EDGES === "all";
/** Kernels take eight elements at a time, the last ones under a mask. */
const lengths = isWhole ? [1, 2, 3, 8, 9, 16, 17, 33] : [9];
const dtypes = ["float32", "float64"] as const;

/** How far a result may be off as a share of its size, by order of the derivative. */
const tolerances: Readonly<Record<FloatType, readonly number[]>> = {
  float32: [6e-7, 2e-6, 1e-5],
  float64: [4e-15, 1e-13, 1e-12],
};
/** The same for functions of many elements, as a share of the largest result. */
const sumTolerances: Readonly<Record<FloatType, readonly number[]>> = {
  float32: [3e-6, 1e-5, 1e-4],
  float64: [1e-13, 1e-12, 1e-11],
};

let engines: Readonly<Record<string, Engine>>;
beforeAll(() => {
  const native = nodeEngine({ threads: 1 });
  const without = nodeEngine({ threads: 1, kernels: false });
  engines = { plain: plainEngine(), node: native, "in a kernel": native, "no kernels": without };
});
const enginesFor = (dtype: FloatType): string[] =>
  dtype === "float32" ? ["plain", "node", "in a kernel", "no kernels"] : ["plain", "node"];

const ledger = new Ledger();

// ── Functions of elements, against mpmath and PyTorch ───────────────────────────────────────────────────────────

interface Case {
  readonly name: string;
  readonly f: (...xs: Any[]) => Any;
  readonly known: Known;
  readonly dtype: FloatType;
}

const keyOf = (values: readonly number[]): string =>
  values.map((value) => (Object.is(value, -0) ? "-0" : value)).join();

/** For each place, the places whose results may stand for its own: those where a number below the smallest normal one is read as 0. */
function substitutes({ known: { inputs }, dtype }: Case): (at: number) => readonly number[] {
  const at = new Map<string, number>();
  for (const i of inputs[0]!.keys()) at.set(keyOf(inputs.map((values) => values[i]!)), i);
  return (i) => {
    const here = inputs.map((values) => values[i]!);
    if (!here.some((x) => isSubnormal(x, dtype))) return [i];
    const choices = here.map((x) => (isSubnormal(x, dtype) ? [x, x < 0 ? -0 : 0] : [x]));
    const all = choices.reduce<number[][]>(
      (rows, values) => rows.flatMap((row) => values.map((value) => [...row, value])),
      [[]],
    );
    return all.flatMap((values) => at.get(keyOf(values)) ?? []);
  };
}

const orderOf = (result: number, inputs: number): number => (result === 0 ? 0 : result <= inputs ? 1 : 2);

/** Whether finite numbers have a value that is not: nothing is said of slopes there. */
const overflows = ({ inputs, results }: Known, place: number, dtype: FloatType): boolean =>
  dtype === "float32" &&
  inputs.every((each) => Number.isFinite(each[place])) &&
  Number.isFinite(results[0]![place]) &&
  !Number.isFinite(Math.fround(results[0]![place]!));

/** Compares the results of a case at some of its places. */
function check(of: Case, engine: string, places: readonly number[], got: readonly ArrayLike<number>[]): void {
  const { name, known, dtype } = of;
  const standIns = engine === "plain" ? (place: number) => [place] : substitutes(of);
  got.forEach((values, result) => {
    const wanted = known.results[result];
    if (!wanted) return;
    const order = orderOf(result, known.inputs.length);
    places.forEach((place, i) => {
      if (known.unsaid[result]!.has(place) || (order > 0 && overflows(known, place, dtype))) return;
      const inputs = known.inputs.map((each) => each[place]!);
      // The sign of an infinity at 0 is that of the zero, or not: at −0 functions may be what they are at 0.
      const either = inputs.includes(0);
      const candidates = standIns(place).flatMap((at) => {
        const want = wanted[at]!;
        return either && !Number.isFinite(want) ? [want, -want] : [want];
      });
      ledger.check(
        { name, order, dtype, engine, inputs, got: values[i]!, want: wanted[place]! },
        { candidates, tolerance: tolerances[dtype][order]! },
      );
    });
  });
}

/** Runs cases on one engine: on all of their places at once, and each edge in each place of arrays of every length. */
async function sweep(cases: readonly Case[], engineName: string): Promise<void> {
  const engine = engines[engineName]!;
  const runnable = cases.filter(({ f, known, dtype }) => {
    const probe = derivativesOf(
      f,
      known.inputs.map(() => toFloats([1], [1], dtype)),
    );
    return engineName === "plain" || runsInOnnx(probe, dtype);
  });
  const isFused = engineName === "in a kernel";
  const go = async (batch: readonly Case[], selections: readonly (readonly (readonly number[])[])[]): Promise<void> => {
    const { dtype } = batch[0]!;
    const widths = batch.map(({ known }) => known.inputs.length);
    const starts = widths.map((_, i) => widths.slice(0, i).reduce((sum, width) => sum + width, 0));
    // A factor of 1, known only at run time, makes a kernel even of an op alone.
    const run = runner(engine, (factor, ...xs) =>
      batch.flatMap(({ f }, i) =>
        derivativesOf(
          (...inputs) => f(...(isFused ? inputs.map((x) => x.mul(factor)) : inputs)),
          xs.slice(starts[i]!, starts[i]! + widths[i]!),
        ),
      ),
    );
    for (const selection of selections) {
      const inputs = batch.flatMap(({ known }, i) =>
        known.inputs.map((values) =>
          toFloats(
            selection[i]!.map((at) => values[at]!),
            [selection[i]!.length],
            dtype,
          ),
        ),
      );
      const results = await run(toFloats([1], [], dtype), ...inputs);
      let at = 0;
      for (const [i, each] of batch.entries()) {
        const length = 1 + widths[i]! + (widths[i]! * (widths[i]! + 1)) / 2;
        check(each, engineName, selection[i]!, results.slice(at, at + length));
        at += length;
      }
    }
  };
  for (const each of runnable) await go([each], [[[...each.known.inputs[0]!.keys()]]]);
  if (engineName === "plain") return; //  it takes elements one by one: their places make no difference
  if (!isWhole && !isFused) return; //  kernels are where they make the most
  for (const length of cases[0]!.known.inputs.length === 1 || !isWhole ? lengths : [3, 9, 16]) {
    const edges = runnable.map(edgesOf);
    const turns = Math.max(...edges.map((places) => places.length));
    const selections = Array.from({ length: turns }, (_, turn) =>
      edges.map((places) => Array.from({ length }, (_, i) => places[(turn + i) % places.length]!)),
    );
    await go(runnable, selections);
  }
}

/** The places of a case that visit every place of an array. */
function edgesOf({ known: { inputs } }: Case): readonly number[] {
  if (inputs.length === 1) return Array.from({ length: edgeCount }, (_, i) => i);
  const few = [0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 3.4028234663852886e38, 1, -1];
  const places = [...inputs[0]!.keys()].filter((i) =>
    inputs.every((values) => few.some((each) => Object.is(each, values[i]))),
  );
  return places.length > 0 ? places : [0];
}

const minutes = { timeout: 900_000 };

describe.each(dtypes)("functions of elements, %s", (dtype) => {
  test.each(enginesFor(dtype))("of one, %s", minutes, async (engine) => {
    await sweep(
      unaryNames.map((name) => ({ name, f: unary(name), known: knownUnary(name, dtype), dtype })),
      engine,
    );
    expect(ledger.findings()).toBe("");
  });

  test.each(enginesFor(dtype))("of two, %s", minutes, async (engine) => {
    await sweep(
      pairNames.map((name) => ({ name, f: pair(name), known: knownPair(name), dtype })),
      engine,
    );
    expect(ledger.findings()).toBe("");
  });
});

// ── Functions of arrays, against PyTorch ────────────────────────────────────────────────────────────────────────

/** The largest finite size among some numbers: errors of sums are compared with it. */
const scaleOf = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, value) => (Number.isFinite(value) ? Math.max(most, Math.abs(value)) : most), 0);

/** Values, the gradient of their weighted sum, and the gradient of that one's. */
function derivativesOfArray(f: (x: Any) => Any, x: Tensor): Tensor[] {
  const results = [f(x)].flat() as Tensor[];
  return results.flatMap((y) => {
    if (!isFloat(y.dtype)) return [y];
    const [dx] = slopes(y, [x], toFloats(weights(y.size), y.shape, x.dtype as FloatType));
    const [again] = slopes(dx!, [x], toFloats(weights(x.size), x.shape, x.dtype as FloatType));
    return [y, dx!, again!];
  });
}

interface ArrayCase {
  readonly name: string;
  readonly f: (x: Any) => Any;
}

/** Runs functions of an array on one engine for some arrays of one length: results by array, then by function. */
async function runArrays(
  cases: readonly ArrayCase[],
  inputs: readonly Float64Array[],
  engine: Engine,
  dtype: FloatType,
): Promise<(readonly ArrayLike<number>[])[][]> {
  const [{ length }] = inputs as [Float64Array];
  const counts: number[] = [];
  const run = runner(engine, (all) => {
    counts.length = 0;
    return cases.flatMap(({ f }, i) => {
      // Each has an x of its own, so that its graph is its own.
      const results = derivativesOfArray(f, all.slice([i, i + 1]).reshape([length]) as Tensor);
      counts.push(results.length);
      return results;
    });
  });
  const rows: (readonly ArrayLike<number>[])[][] = [];
  for (const x of inputs) {
    const repeated = Float64Array.from({ length: cases.length * length }, (_, i) => x[i % length]!);
    const results = await run(toFloats(repeated, [cases.length, length], dtype));
    const starts = counts.map((_, i) => counts.slice(0, i).reduce((sum, count) => sum + count, 0));
    rows.push(counts.map((count, i) => results.slice(starts[i]!, starts[i]! + count)));
  }
  return rows;
}

function checkArray(
  place: {
    readonly name: string;
    readonly dtype: FloatType;
    readonly engine: string;
    readonly inputs: readonly number[];
  },
  order: number,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
): void {
  const tolerance = sumTolerances[place.dtype][order]!;
  const scale = scaleOf(want);
  Array.from(got).forEach((value, i) =>
    ledger.check({ ...place, order, got: value, want: want[i]! }, { candidates: [want[i]!], tolerance, scale }),
  );
}

describe.each(dtypes)("functions of arrays, %s", (dtype) => {
  test.each(isWhole ? ["plain", "node", "no kernels"] : ["plain", "node"])(
    "as PyTorch has them, %s",
    minutes,
    async (engine) => {
      const named = arrayNames
        .map((name) => ({ name, f: arrays[name]! }))
        .filter(
          ({ f }) => engine === "plain" || runsInOnnx(derivativesOfArray(f, toFloats(base(3), [3], dtype)), dtype),
        );
      const known = named.map(({ name }) => knownArrays(name));
      const sizes = [...new Set(known[0]!.map(({ x }) => x.length))];
      for (const size of sizes) {
        const at = [...known[0]!.keys()].filter((i) => known[0]![i]!.x.length === size);
        const rows = await runArrays(
          named,
          at.map((i) => known[0]![i]!.x),
          engines[engine]!,
          dtype,
        );
        rows.forEach((row, n) =>
          row.forEach(([y, dx], which) => {
            const { x, values, gradient } = known[which]![at[n]!]!;
            const place = { name: named[which]!.name, dtype, engine, inputs: [...x] };
            checkArray(place, 0, y!, values);
            if (gradient && values.every(Number.isFinite) && x.every(Number.isFinite))
              checkArray(place, 1, dx!, gradient);
          }),
        );
      }
      expect(ledger.findings()).toBe("");
    },
  );
});

// ── Everything else: engines against the plain one ──────────────────────────────────────────────────────────────

const placedEdges = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e20, 0, -0];
const withEdges = (length: number, places: readonly number[]): Float64Array[] =>
  places.flatMap((place) => placedEdges.map((edge) => Float64Array.from(base(length).with(place, edge))));

describe.each(dtypes)("engines agree, %s", (dtype) => {
  const agree = async (cases: readonly ArrayCase[], inputs: readonly Float64Array[]): Promise<void> => {
    const want = await runArrays(cases, inputs, engines.plain!, dtype);
    for (const engine of ["node", "no kernels"]) {
      if (dtype === "float64" && engine === "no kernels") continue;
      const runnable = cases.flatMap(({ f }, i) => {
        const x = toFloats(base(inputs[0]!.length), [inputs[0]!.length], dtype);
        return runsInOnnx(derivativesOfArray(f, x), dtype) ? [i] : [];
      });
      const got = await runArrays(
        runnable.map((i) => cases[i]!),
        inputs,
        engines[engine]!,
        dtype,
      );
      got.forEach((row, n) =>
        row.forEach((results, r) => {
          const which = runnable[r]!;
          const place = { name: cases[which]!.name, dtype, engine, inputs: [...inputs[n]!] };
          results.forEach((values, result) => checkArray(place, result % 3, values, want[n]![which]![result]!));
        }),
      );
    }
    expect(ledger.findings()).toBe("");
  };

  test.each(lengths)("functions of %i elements", minutes, async (length) => {
    const few = isWhole ? [0, 1, 6, 7, 8, 15, length - 2, length - 1] : [0, 7, 8];
    const places = [...new Set(few)].filter((at) => at >= 0 && at < length);
    const cases = arrayNames.map((name) => ({ name, f: arrays[name]! }));
    await agree(
      cases.filter(({ name }) => length > 1 || name !== "batchNormInTraining"),
      withEdges(length, places),
    );
  });

  test("functions of any other form", minutes, async () => {
    const cases = Object.entries(others).map(([name, f]) => ({ name, f }));
    await agree(cases, withEdges(12, isWhole ? [...Array(12).keys()] : [0, 5, 11]));
  });
});

test("every op on its own samples, with an edge at the first and last place of each real input", minutes, async () => {
  for (const [name, op] of registry)
    for (const sample of op.samples(sampler("float32")).slice(0, isWhole ? undefined : 1)) {
      const edges = sample.inputs.flatMap((input, i) =>
        isFloat(input.dtype) && input.values.length > 0
          ? (isWhole ? [0, input.values.length - 1] : [0]).flatMap((place) =>
              placedEdges
                .slice(0, isWhole ? 3 : 1)
                .map((edge) => sample.inputs.map((each, n) => (n === i ? withEdge(each, place, edge) : each))),
            )
          : [],
      );
      if (edges.length > 0 && !ofTheCompiler.has(name)) await checkOp(name, op, sample.params, edges);
    }
  expect(ledger.findings()).toBe("");
});

/** Ops whose inputs belong together, as the compiler makes them, so that one cannot be changed alone. */
const ofTheCompiler: ReadonlyMap<string, string> = new Map([
  ["guard", "it stops a run at such numbers"],
  [
    "fused",
    "a kernel's maximum of NaN is what the processor gives: kernels are swept by the functions that are made of them",
  ],
  ["layAtMaximum", "its second input is the maximum of its first"],
  ["maxPoolInput", "its second input is what a pooling found in its first"],
]);

const withEdge = (data: Data, place: number, edge: number): Data => ({
  ...data,
  values: data.values.with(place, edge),
});

/** The outputs of an op on all of these inputs, in one graph, against its plain evaluation. */
async function checkOp(name: string, op: AnyOp, params: unknown, all: readonly (readonly Data[])[]): Promise<void> {
  const built = (): Tensor[][] => all.map((inputs) => applyAll(op, inputs.map(toTensor), params));
  const first = built();
  if (first[0]!.length === 0 || !runsInOnnx(first[0]!, "float32")) return;
  const want = plain(first.flat(), [])([]);
  useEngine(engines.node!);
  const got = await Promise.all(
    built()
      .flat()
      .map((output) => output.data()),
  );
  got.forEach((values, i) => {
    const inputs = all[Math.floor(i / first[0]!.length)]!.flatMap((data) => [...data.values]);
    checkArray({ name, dtype: "float32", engine: "node", inputs }, 0, values, want[i]!);
  });
}

// ── Whole numbers ───────────────────────────────────────────────────────────────────────────────────────────────

const integers = (values: readonly number[]): Any =>
  adopt({ shape: [values.length], dtype: "int32" }, Int32Array.from(values));

/** An int32 result is right or not. */
function checkIntegers(
  name: string,
  engine: string,
  inputs: readonly (readonly number[])[],
  got: ArrayLike<number>,
  want: readonly bigint[],
): void {
  want.forEach((value, i) =>
    ledger.check(
      {
        name,
        order: 0,
        dtype: "float64",
        engine,
        inputs: inputs.map((each) => each[i] ?? 0),
        got: got[i]!,
        want: wrapped(value),
      },
      { candidates: [wrapped(value)], tolerance: 0 },
    ),
  );
}

test.each(["plain", "node"])("int32 wraps around, %s", async (engine) => {
  useEngine(engines[engine]!);
  for (const [name, f] of Object.entries(integerPairs)) {
    const all = integerEdges.flatMap((a) => integerEdges.map((b) => [a, b] as const));
    const fit = all.filter(([, b]) => !(takesDivisor(name) && b === 0) && !(shifts(name) && (b < 0 || b > 31)));
    const [left, right] = [fit.map(([a]) => a), fit.map(([, b]) => b)];
    const got = await (integers(left)[name](integers(right)) as Tensor).data();
    checkIntegers(
      name,
      engine,
      [left, right],
      got,
      fit.map(([a, b]) => f(BigInt(a), BigInt(b))),
    );
  }
  for (const [name, f] of Object.entries(integerUnary)) {
    const got = await (integers(integerEdges)[name]() as Tensor).data();
    checkIntegers(
      name,
      engine,
      [integerEdges],
      got,
      integerEdges.map((a) => f(BigInt(a))),
    );
  }
  for (const [name, f] of Object.entries(integerArrays))
    for (let turn = 0; turn < integerEdges.length; turn++) {
      const x = integerEdges.map((_, i) => integerEdges[(i + turn) % integerEdges.length]!);
      const got = await (integers(x)[name]() as Tensor).data();
      checkIntegers(name, engine, [x], got, f(x.map(BigInt)));
    }
  expect(ledger.findings()).toBe("");
});

// ── What is promised ────────────────────────────────────────────────────────────────────────────────────────────

describe.each(["plain", "node", "no kernels"])("promises, %s", (engine) => {
  test.each(promises.map((each) => [each.sentence, each] as const))("%s", async (_, { examples }) => {
    useEngine(engines[engine]!);
    for (const { of, is } of examples) {
      const result = of();
      const got = [...(await result.data())];
      const right = got.map((value, i) => Object.is(value, is[i]) || isRight(value, is[i]!, "float32", 1e-6));
      expect({ got, right }).toEqual({ got, right: is.map(() => true) });
    }
  });
});

// ── What is covered ─────────────────────────────────────────────────────────────────────────────────────────────

test("every op and every public function is swept, or computes nothing of elements", () => {
  const swept = new Set([
    ...registry.keys(),
    ...unaryNames,
    ...pairNames,
    ...arrayNames,
    ...Object.keys(others),
    ...Object.keys(integerPairs),
    ...Object.keys(integerUnary),
    ...Object.keys(integerArrays),
  ]);
  expect(publicNames.filter((name) => !swept.has(name) && !notOfElements.has(name))).toEqual([]);
  expect([...notOfElements.keys()].filter((name) => !publicNames.includes(name))).toEqual([]);
});

test("every exception excepts something, and docs/edges.md says what there is", async () => {
  const { compared, excepted, used } = ledger;
  console.log(
    `edges: ${compared} values compared, ${excepted} excepted for ${used.size} of ${exceptions.length} reasons`,
  );
  if (isWhole) {
    for (const [{ reason }, count] of used) console.log(`${count}: ${reason}`);
    expect(exceptions.filter((exception) => !used.has(exception)).map(({ reason }) => reason)).toEqual([]);
    await expect(proofs(ledger)).toMatchFileSnapshot("../fixtures/proofs/edges.json");
  }
  await expect(page(isWhole ? proofs(ledger) : proofsOnFile())).toMatchFileSnapshot("../../docs/edges.md");
});
