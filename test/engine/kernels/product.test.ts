/** Matrix products in machine code: against float64, called directly and as ops of a model. */
import fc from "fast-check";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../../src/engine/node/index.ts";
import { CodeMemory } from "../../../src/engine/node/jit/code-memory.ts";
import { Assembler } from "../../../src/engine/node/jit/x64/assembler.ts";
import { writeProduct } from "../../../src/engine/node/jit/x64/product.ts";
import { loadOrt } from "../../../src/engine/node/ort-api.ts";
import type { AnyOp } from "../../../src/graph/op.ts";
import { sizeOf } from "../../../src/graph/types.ts";
import {
  type AddedLayout,
  afterShape,
  type ProductForm,
  type ProductSizes,
  productSizes,
} from "../../../src/kernel/product.ts";
import {
  compile,
  type Engine,
  fromValues,
  linear,
  relu,
  type Shape,
  seed,
  sequential,
  sgd,
  type Tensor,
  useEngine,
} from "../../../src/node.ts";
import { gemm, matmul, product } from "../../../src/ops/matmul.ts";
import { programOf, runPrograms, show } from "../../edges/programs.ts";
import { atTheEdges, expectSameOnEngines, sampler } from "../../support/conformance.ts";

type Floats = Tensor<Shape, "float32">;

const hasProducts = nodeEngine().target.kernels?.products;

/** Numbers between −1 and 1, the same ones for the same seed. */
function numbers(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

const placeOf = (layout: AddedLayout, n: number, i: number, j: number): number =>
  ({ full: i * n + j, row: j, column: i, scalar: 0 })[layout];

/** The numbers of a product do not depend on how many threads compute it. */
function expectSameBits(a: ArrayLike<number>, b: ArrayLike<number>): void {
  expect(a.length).toBe(b.length);
  expect(Array.from(a).findIndex((x, i) => !Object.is(x, b[i]))).toBe(-1);
}

interface Case {
  readonly form: ProductForm;
  readonly of: ProductSizes;
  readonly threads: number;
}

/** The element of a product in float64, and what its rounding errors are in proportion to. */
function elementOf(
  { form, of: { m, n, k, sharesB } }: Case,
  [a, b, c]: readonly Float32Array[],
  [each, i, j]: readonly [number, number, number],
): readonly [value: number, magnitude: number] {
  let [sum, magnitude] = [0, 0];
  for (let t = 0; t < k; t++) {
    const left = a![each * m * k + (form.transposeA ? t * m + i : i * k + t)]!;
    const right = b![(sharesB ? 0 : each * k * n) + (form.transposeB ? j * k + t : t * n + j)]!;
    sum += left * right;
    magnitude += Math.abs(left * right);
  }
  const plus = form.added ? form.added.beta * c![placeOf(form.added.layout, n, i, j)]! : 0;
  return [form.alpha * sum + plus, Math.abs(form.alpha) * magnitude + Math.abs(plus)];
}

describe.runIf(hasProducts)("matrix products", () => {
  afterAll(() => useEngine(nodeEngine()));
  const ort = loadOrt();
  const { koffi } = ort;
  const memory = new CodeMemory(ort);
  const signature = koffi.proto("void", ["void*", "int64_t", "int64_t", "void*"]);
  /** What must not be written. */
  const margin = 40;
  const untouched = 7;

  /** Runs the code of a product part by part, as threads do, and returns its result, with a margin behind it. */
  function run({ form, of, threads }: Case, inputs: readonly Float32Array[], inPlace = false): Float32Array {
    const shape = [of.count, of.m, of.n];
    const code = new Assembler();
    writeProduct(code, { form, shape });
    const placed = memory.place(code.finish());
    const sizes = productSizes({ of, shape }, threads);
    const [units, unitsInPart, parts] = sizes as [number, number, number];
    const inMemory = sizes[afterShape(shape)]!;
    const output = new Float32Array(of.count * of.m * of.n + margin).fill(untouched);
    if (inPlace) output.set(inputs[2]!);
    const working = new Float32Array(inMemory + margin).fill(Number.NaN, 0, inMemory).fill(untouched, inMemory);
    const addresses = BigUint64Array.from([...(inPlace ? inputs.with(2, output) : inputs), output, working], (array) =>
      koffi.address(array),
    );
    const given = BigInt64Array.from(sizes, BigInt);
    for (let part = 0; part < parts; part++) {
      const end = Math.min(units, (part + 1) * unitsInPart);
      koffi.call(placed.address, signature, koffi.address(addresses), part * unitsInPart, end, koffi.address(given));
    }
    placed.free();
    expect([...working.subarray(inMemory)]).toEqual(Array(margin).fill(untouched));
    return output;
  }

  function inputsFor({ form, of: { count, m, n, k, sharesB } }: Case, seed: number): Float32Array[] {
    const inputs = [numbers(count * m * k, seed), numbers((sharesB ? 1 : count) * k * n, seed + 1)];
    if (form.added) inputs.push(numbers(placeOf(form.added.layout, n, m - 1, n - 1) + 1, seed + 2));
    return inputs;
  }

  /** Compares up to `most` elements with float64. */
  function expectRight(made: Case, inputs: readonly Float32Array[], output: Float32Array, most = 1000): void {
    const { count, m, n, k } = made.of;
    const all = count * m * n;
    const step = Math.max(1, Math.floor(all / most)) | 1;
    for (let at = 0; at < all; at += step) {
      const place = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n] as const;
      const [wanted, magnitude] = elementOf(made, inputs, place);
      const error = Math.abs(output[at]! - wanted);
      if (error > (Math.sqrt(k) + 4) * 2 ** -24 * magnitude + 1e-30)
        throw new Error(`${JSON.stringify(made)} at ${place}: ${output[at]}, wanted ${wanted}`);
    }
    expect([...output.subarray(all)]).toEqual(Array(margin).fill(untouched));
  }

  const forms = fc
    .record({
      transposeA: fc.boolean(),
      transposeB: fc.boolean(),
      alpha: fc.constantFrom(1, 0.3, -2),
      layout: fc.constantFrom<AddedLayout | undefined>(undefined, "full", "row", "column", "scalar"),
      beta: fc.constantFrom(1, -0.7),
    })
    .map(({ layout, beta, ...form }) => ({ ...form, added: layout && { layout, beta } }));

  test("any form and any sizes: right, and nothing else is written", () => {
    const cases = fc.record({
      form: forms,
      m: fc.integer({ min: 1, max: 120 }),
      n: fc.integer({ min: 1, max: 90 }),
      k: fc.integer({ min: 1, max: 40 }),
      count: fc.integer({ min: 1, max: 3 }),
      sharesB: fc.boolean(),
      threads: fc.integer({ min: 1, max: 5 }),
      seed: fc.nat(),
    });
    fc.assert(
      fc.property(cases, ({ form, threads, seed, count, ...of }) => {
        const made: Case = { form, threads, of: { ...of, count: form.added ? 1 : count } };
        const inputs = inputsFor(made, seed);
        const output = run(made, inputs);
        expectRight(made, inputs, output);
        // ONNX Runtime may give the result the memory of C.
        if (form.added?.layout === "full") expectSameBits(output, run(made, inputs, true));
      }),
      { numRuns: 200, seed: 11 },
    );
  });

  const ways = [false, true].flatMap((transposeA) =>
    [false, true].map((transposeB) => ({ transposeA, transposeB, alpha: 1 })),
  );

  test.each(ways)("longer than what is copied at once, on several threads: %j", (form) => {
    for (const [m, n, k] of [
      [97, 530, 1030],
      [600, 17, 513],
      [193, 1040, 64],
      [13, 2049, 521],
    ] as const)
      for (const threads of [1, 2, 3, 8]) {
        const made: Case = { form, of: { count: 1, m, n, k, sharesB: false }, threads };
        const inputs = inputsFor(made, m + threads);
        const output = run(made, inputs);
        expectRight(made, inputs, output, 200);
        if (threads > 1) expectSameBits(output, run({ ...made, threads: 1 }, inputs));
        const onto: Case = { ...made, form: { ...form, added: { layout: "full", beta: -0.7 } } };
        const all = inputsFor(onto, m);
        expectSameBits(run(onto, all), run(onto, all, true));
      }
  });

  test.each(ways)("NaN and infinities stay in their rows and columns: %j", (form) => {
    const made: Case = { form, of: { count: 1, m: 19, n: 37, k: 21, sharesB: false }, threads: 1 };
    const [a, b] = inputsFor(made, 3) as [Float32Array, Float32Array];
    const before = run(made, [a, b]);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      for (const [i, j] of [
        [0, 0],
        [18, 36],
        [6, 16],
        [17, 32],
      ] as const) {
        const [left, right] = [a.slice(), b.slice()];
        left[form.transposeA ? 20 * 19 + i : i * 21 + 20] = bad;
        right[form.transposeB ? j * 21 + 5 : 5 * 37 + j] = bad;
        const after = run(made, [left, right]);
        for (let at = 0; at < 19 * 37; at++) {
          const isHit = Math.floor(at / 37) === i || at % 37 === j;
          if (isHit) expect(Number.isFinite(after[at]!)).toBe(false);
          else expect(after[at]).toBe(before[at]);
        }
      }
  });

  test("sizes that are 0, or of ways that a model does not take, give numbers that a run can hold", () => {
    for (const [count, m, n, k] of [
      [0, 3, 4, 5],
      [1, 0, 4, 5],
      [1, 3, 4, 0],
      [1, 3, 4, -5],
      [2, 3, 4, 0.5],
      [1, 3, Number.NaN, 5],
    ] as const) {
      const sizes = productSizes({ of: { count, m, n, k, sharesB: false }, shape: [3, 4] }, 2);
      expect(sizes).toHaveLength(
        productSizes({ of: { count: 1, m: 3, n: 4, k: 5, sharesB: false }, shape: [3, 4] }, 2).length,
      );
      for (const size of sizes) expect(() => BigInt(size)).not.toThrow();
    }
  });

  const programs: readonly { what: string; a: readonly number[]; b: readonly number[]; c?: readonly number[] }[] = [
    { what: "a bias and a scale", a: [300, 200], b: [200, 310], c: [310] },
    { what: "another matrix", a: [257, 300], b: [300, 256], c: [257, 256] },
    { what: "a batch", a: [5, 3, 100, 130], b: [5, 3, 130, 90] },
    { what: "one right side for a batch", a: [6, 100, 128], b: [128, 250] },
    { what: "more terms than one product adds up", a: [260, 9000], b: [9000, 100] },
  ];

  test.each(programs)("as ops of models: $what", async ({ a, b, c = [1] }) => {
    const values = [a, b, c].map((shape, i) => numbers(sizeOf(shape), 5 + i));
    const step = compile((x: Floats, y: Floats, z: Floats) => {
      const result = x.matmul(y).mul(0.25).add(z);
      // The gradients of both sides are products with one side transposed.
      return [result, result.matmul(y.mT()), x.mT().matmul(result)];
    });
    const on = async (engine: Engine): Promise<number[][]> => {
      useEngine(engine);
      const [x, y, z] = [a, b, c].map((shape, i) => fromValues(values[i]!.slice(), shape)) as [Floats, Floats, Floats];
      return Promise.all(step(x, y, z).map(async (result) => Array.from(await result.data(), Number)));
    };
    const wanted = await on(nodeEngine({ threads: 1, kernels: false }));
    const found = await on(counting(nodeEngine({ threads: 1 })));
    expect(own, "large products are the engine's own").toBeGreaterThan(2);
    for (const [i, numbers] of found.entries()) {
      const scale = wanted[i]!.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      const worst = numbers.reduce((most, x, at) => Math.max(most, Math.abs(x - wanted[i]![at]!)), 0);
      expect(worst).toBeLessThanOrEqual(2e-6 * scale);
    }
    for (const threads of [2, 3]) {
      const others = await on(nodeEngine({ threads }));
      for (const [i, numbers] of found.entries()) expectSameBits(numbers, others[i]!);
    }
  });

  /** An engine that counts the products that it makes with code of its own. */
  const counting = (engine: Engine): Engine => ({
    ...engine,
    load(program) {
      own += program.kernels!.filter((op) => "form" in op).length;
      return engine.load(program);
    },
  });

  /** An engine that computes all products of float32 matrices with its own code, however small they are. */
  const always = (): Engine => {
    const engine = nodeEngine({ threads: 1 });
    const products = { side: 1, terms: 1, work: 1, workTransposedLeft: 1, rowsTransposedRight: 1 };
    const target = { ...engine.target, kernels: { ...engine.target.kernels!, products } };
    return counting({ ...engine, target });
  };
  /** How many products were made with code of the engine's own. */
  let own = 0;
  afterEach(({ task }) => {
    if (task.name.includes("however small") || task.name.includes("all products")) expect(own).toBeGreaterThan(2);
    own = 0;
  });

  test.each([matmul, product, gemm] as readonly AnyOp[])("samples of $name, however small", async (op) => {
    for (const sample of op.samples(sampler("float32"))) {
      await expectSameOnEngines(op, sample, [always()]);
      const edges = atTheEdges(op, sample);
      if (edges) await expectSameOnEngines(op, edges, [always()]);
    }
  });

  test("random programs on edges, with all products", async () => {
    const programs = Array.from({ length: 600 }, (_, i) => programOf(50_000 + i));
    const { problems, compared } = await runPrograms(programs, always());
    expect(problems.map(({ program }) => show(program))).toEqual([]);
    expect(compared).toBeGreaterThan(6000);
  });

  test("a step whose sizes change: the same numbers as with sessions of their own", async () => {
    const numbersOf = async (engine: Engine): Promise<number[][]> => {
      useEngine(engine);
      seed(1);
      const model = sequential(linear(20, 40), relu, linear(40, 9));
      const optimizer = sgd(model, { learningRate: 0.1 });
      const step = compile((x: Floats) => {
        const loss = model(x).square().mean();
        optimizer.minimize(loss);
        return loss;
      });
      const all: number[][] = [];
      for (const rows of [3, 30, 7, 1, 64, 300, 2]) {
        const x = fromValues(numbers(rows * 20, rows), [rows, 20]);
        all.push([await step(x).item()]);
      }
      return all;
    };
    const { filling: _, ...closed } = always();
    expect(await numbersOf(always())).toEqual(await numbersOf(closed));
    expect(own).toBeGreaterThan(2);
  });
});
