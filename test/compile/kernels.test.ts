/** What the compiler makes kernels of, and that nothing but the time changes. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Kernel, KernelOp } from "../../src/kernel/kernel.ts";
import {
  adam,
  batchNorm,
  compile,
  crossEntropy,
  type Engine,
  fromValues,
  functional,
  gradients,
  layerNorm,
  linear,
  nodeEngine,
  randomGenerator,
  read,
  relu,
  scan,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  where,
} from "../../src/node.ts";
import { watched } from "../support/watched.ts";

type Floats = Tensor<readonly number[], "float32">;

const wave = (...shape: number[]): Floats =>
  fromValues(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 1.7) * 2),
    shape,
  );

const hasKernels = nodeEngine().target.kernels !== undefined;

/** The kernels of what `make` makes; it is run too. */
async function kernelsOf(make: () => Tensor | Tensor[] | Promise<unknown>): Promise<readonly KernelOp[]> {
  const engine = watched();
  useEngine(engine);
  const made = await make();
  if (made !== undefined) await read(made as Tensor | Tensor[]);
  return engine.programs.at(-1)!.kernels!.filter((op) => "kernel" in op);
}

const names = ({ steps }: Kernel): string[] => steps.flatMap((step) => (typeof step === "number" ? [] : [step[0]]));

describe.runIf(hasKernels)("what becomes a kernel", () => {
  test("a chain, with all that it reads of the same size or repeated", async () => {
    const [op, ...others] = await kernelsOf(() => {
      const x = wave(4, 6);
      return x.mul(wave(6)).add(wave(4, 1)).sub(3).mul(x);
    });
    expect(others).toEqual([]);
    const { kernel, shapes } = op!;
    expect([...kernel.inputs].sort()).toEqual(["column", "full", "row"]);
    expect(names(kernel)).toEqual(["mul", "add", "add", "mul"]);
    expect(kernel).toMatchObject({ size: 24, width: 6 });
    expect(shapes).toEqual([[4, 6]]);
  });

  test("only neighbours whose rows are as long", async () => {
    // One adds rows of 6, the other rows of 24.
    const kernels = await kernelsOf(() => wave(4, 4, 6).mul(wave(6)).sub(wave(6)).div(wave(4, 6)).sqrt());
    expect(kernels.map(({ kernel }) => [names(kernel).length, kernel.width])).toEqual([
      [2, 6],
      [2, 24],
    ]);
  });

  test("no op alone, and nothing of one element", async () => {
    expect(await kernelsOf(() => wave(8).abs())).toEqual([]);
    expect(await kernelsOf(() => wave(1).abs().add(1).sqrt())).toEqual([]);
  });

  test("an op alone that is several passes in ONNX", async () => {
    const [op] = await kernelsOf(() => wave(8).softsign());
    expect(names(op!.kernel)).toEqual(["abs", "add", "div"]);
  });

  test("what others need is written, along the way too", async () => {
    const [op] = await kernelsOf(() => {
      const square = wave(9).square();
      const root = square.add(1).sqrt();
      return [square, root, root.neg()];
    });
    expect(op!.kernel.outputs).toHaveLength(3);
  });

  test("comparisons stay inside; across reshapes", async () => {
    const [op] = await kernelsOf(() => {
      const x = wave(4, 6);
      return x.greater(0).cast("float32").reshape([24]).mul(wave(24)).reshape([2, 12]).add(1);
    });
    expect(names(op!.kernel)).toEqual(["less", "select", "mul", "add"]);
    expect(op!.shapes).toEqual([[2, 12]]);
  });

  test("a truth value that is needed outside is compared once more in the kernel", async () => {
    const kernels = await kernelsOf(() => {
      const x = wave(16);
      const isLarge = x.greater(0.5);
      return [where(isLarge, x, x.neg()).mul(2), isLarge];
    });
    expect(kernels.map(({ kernel }) => names(kernel))).toEqual([["neg", "less", "select", "mul"]]);
  });

  test("a dropout's mask is made of the same bits forward and backward, and never written", async () => {
    const kernels = await kernelsOf(() => {
      const step = compile((x: Floats, w: Floats) => {
        const y = functional.dropout(x.matmul(w).mul(w) as Floats, 0.25, randomGenerator(1));
        const [dx] = gradients(y.matmul(w).sum(), [x as Tensor]);
        return [y as Tensor, dx!];
      });
      return step(wave(64, 64), wave(64, 64));
    });
    expect(kernels.map(({ kernel }) => names(kernel).filter((name) => name !== "mul"))).toEqual([
      ["less", "less", "less", "select", "select"],
      ["less", "less", "less", "select", "select"],
    ]);
  });

  test("at most ten tensors that are read or written element by element", async () => {
    const terms = Array.from({ length: 25 }, (_, i) => fromValues(new Float32Array(8).fill(i), [8]));
    const kernels = await kernelsOf(() => terms.reduce<Tensor>((sum, x) => sum.mul(0.5).add(x), wave(8)));
    expect(kernels.length).toBeGreaterThan(1);
    for (const { kernel } of kernels) expect(kernel.inputs.length + kernel.outputs.length).toBeLessThanOrEqual(10);
  });

  test("nothing that would have to run before and after another op", async () => {
    // The sum needs y and is needed by what follows: two kernels, or the graph would have a circle.
    const kernels = await kernelsOf(() => {
      const y = wave(8, 8).abs().add(1);
      return y.div(y.sum().expand([8, 8])).sub(1);
    });
    expect(kernels.map(({ kernel }) => names(kernel))).toEqual([
      ["abs", "add"],
      ["div", "add"],
    ]);
  });

  test("an optimizer's whole update of a parameter", async () => {
    const kernels = await kernelsOf(async () => {
      const model = linear(64, 64);
      const optimizer = adam(model);
      const step = compile((x: Tensor<[8, 64], "float32">) => {
        const loss = model(x).square().mean();
        optimizer.minimize(loss);
        return loss;
      });
      await step(wave(8, 64) as Tensor<[8, 64], "float32">).item();
    });
    const update = kernels.find(({ kernel }) => kernel.size === 64 * 64)!;
    expect(update.kernel.outputs).toHaveLength(3);
    expect(update.kernel.inputs.filter((layout) => layout === "full")).toHaveLength(4);
  });

  test("inside a loop", async () => {
    const [op] = await kernelsOf(() => {
      const cell = (h: Tensor, x: Tensor) => [h.mul(x).add(x).relu(), h] as const;
      return scan(cell, { init: wave(5) as Tensor, xs: wave(4, 5) as Tensor }).state;
    });
    expect(names(op!.kernel)).toEqual(["mul", "add", "max"]);
  });

  test("float64 and int32 stay what they were", async () => {
    expect(await kernelsOf(() => tensor([1, 2, 3], "int32").add(1).mul(2))).toEqual([]);
    expect(await kernelsOf(() => wave(6).cast("float64").add(1).sqrt().mul(2))).toEqual([]);
  });
});

describe.runIf(hasKernels)("with kernels and without", () => {
  const engines = [1, 2].flatMap((threads) => [nodeEngine({ threads }), nodeEngine({ threads, kernels: false })]);

  /** Functions of one or two elements whose results are rounded once, in kernels and in ONNX Runtime. */
  const unary: Readonly<Record<string, (x: Floats) => Floats>> = {
    neg: (x) => x.neg(),
    abs: (x) => x.abs(),
    sqrt: (x) => x.abs().sqrt(),
    relu: (x) => x.relu(),
    sign: (x) => x.sign(),
    above: (x) => x.greater(0.25).cast("float32"),
    clip: (x) => x.clip(-0.5, 0.75),
    leaky: (x) => x.leakyRelu(),
    round: (x) => x.round(),
    scaled: (x) => x.mul(1.7).add(0.3),
    reciprocal: (x) => x.abs().add(1).reciprocal(),
    flat: (x) => x.reshape([-1]).reshape(x.shape),
    sums: (x) => x.sub(x.mean(1, { keepDims: true })),
    columns: (x) => x.sub(x.mean(0)),
  };
  const binary: Readonly<Record<string, (x: Floats, y: Floats) => Floats>> = {
    add: (x, y) => x.add(y),
    sub: (x, y) => x.sub(y),
    mul: (x, y) => x.mul(y),
    div: (x, y) => x.div(y.abs().add(0.5)),
    maximum: (x, y) => x.maximum(y),
    minimum: (x, y) => x.minimum(y),
    chosen: (x, y) => where(x.less(y), x, y) as Floats,
    row: (x, y) => x.mul(y.sum(0)),
    column: (x, y) => x.add(y.sum(1, { keepDims: true })),
    one: (x, y) => x.mul(y.mean()),
  };

  /** Which zero the maximum of 0 and −0 is, or their product's sum, is nobody's business. */
  const withoutSigns = (values: unknown): unknown =>
    typeof values === "number" ? values + 0 : (values as unknown[]).map(withoutSigns);

  /** A graph over values made so far, by numbers; its results, some of what is between, and gradients. */
  const graphs = fc.record({
    rows: fc.constantFrom(1, 3, 16, 130),
    columns: fc.constantFrom(1, 2, 8, 11, 64),
    steps: fc.array(
      fc.record({
        f: fc.constantFrom(...Object.keys(unary), ...Object.keys(binary)),
        a: fc.nat(),
        b: fc.nat(),
        isResult: fc.boolean(),
      }),
      { minLength: 2, maxLength: 14 },
    ),
    differentiates: fc.boolean(),
    engines: fc.constantFrom(0, 2),
  });

  test("random graphs: the same bits", async () => {
    await fc.assert(
      fc.asyncProperty(graphs, async ({ rows, columns, steps, differentiates, engines: first }) => {
        const make = async (engine: Engine): Promise<unknown> => {
          useEngine(engine);
          const run = compile((x: Floats, y: Floats) => {
            const values = [x, y];
            const results: Tensor[] = [];
            for (const { f, a, b, isResult } of steps) {
              const [left, right] = [values[a % values.length]!, values[b % values.length]!];
              values.push(unary[f]?.(left) ?? binary[f]!(left, right));
              if (isResult) results.push(values.at(-1)!);
            }
            const last = values.at(-1)!;
            const loss = last.mean().add(x.mean()).add(y.mean());
            return [...results, ...(differentiates ? gradients(loss, [x, y]) : [last])];
          });
          const found = await read(await run(wave(rows, columns), wave(columns, rows).transpose()));
          return withoutSigns(found);
        };
        expect(await make(engines[first]!)).toEqual(await make(engines[first + 1]!));
      }),
      { numRuns: 150, seed: 11 },
    );
  }, 60_000);

  test("a network takes the same steps, bit for bit", async () => {
    const train = async (engine: Engine, clipping: { clipNorm?: number }): Promise<number[]> => {
      useEngine(engine);
      seed(3);
      const model = sequential(linear(20, 32), layerNorm(32), relu, linear(32, 32), batchNorm(32), relu, linear(32, 4));
      const optimizer = sgd(model, { learningRate: 0.1, momentum: 0.9, weightDecay: 0.01 });
      const step = compile((x: Tensor<[16, 20], "float32">, y: Tensor<[16], "int32">) => {
        const loss = crossEntropy(model(x) as Tensor<[16, 4], "float32">, y);
        optimizer.minimize(loss, clipping);
        return loss;
      });
      const y = tensor(
        Array.from({ length: 16 }, (_, i) => i % 4),
        "int32",
      ) as Tensor<[16], "int32">;
      const losses: number[] = [];
      for (let i = 0; i < 20; i++) losses.push(await step(wave(16, 20) as Tensor<[16, 20], "float32">, y).item());
      return losses;
    };
    const all: number[][] = [];
    for (const engine of engines) all.push(await train(engine, {}));
    const [one, oneWithout, two, twoWithout] = all as [number[], number[], number[], number[]];
    expect(one).toEqual(oneWithout);
    expect(two).toEqual(twoWithout);
    expect(one.at(-1)).toBeLessThan(one[0]! / 2);
    // The length of all gradients is added up in float64 by machine code: it may differ in the last place.
    const clipped = await train(engines[0]!, { clipNorm: 1 });
    const clippedWithout = await train(engines[1]!, { clipNorm: 1 });
    for (const [i, loss] of clipped.entries()) expect(Math.abs(loss / clippedWithout[i]! - 1)).toBeLessThan(1e-5);
  });
});

test.runIf(hasKernels)("NaN, infinities and signed zeros", async () => {
  const x = fromValues(Float32Array.of(Number.NaN, 1, -2, 0, -0, Infinity, -Infinity, 0.5, 3e38), [9]) as Floats;
  const functions: ((x: Floats) => Tensor)[] = [
    (x) => x.sign(),
    (x) => x.step(),
    (x) => x.relu(),
    (x) => x.clip(-1, 2),
    (x) => x.leakyRelu(),
    (x) => x.round(),
    (x) => x.abs().sqrt(),
    (x) => x.reciprocal(),
    (x) => where(x.less(0.25), x, x.mul(2)).abs(), //  ONNX Runtime adds 0 to what it chooses
  ];
  for (const f of functions) {
    const engine = watched();
    useEngine(engine);
    const found = await f(x).mul(2).array();
    expect(engine.programs.at(-1)!.kernels).toHaveLength(1);
    useEngine(nodeEngine({ threads: 1, kernels: false }));
    expect(found).toEqual(await f(x).mul(2).array());
  }
});

describe.runIf(hasKernels)("truth values", () => {
  /** Results with kernels and without are the same; gives how many kernels there were. */
  async function kernelsIn(fn: (...args: Tensor[]) => Tensor, ...args: readonly Tensor[]): Promise<number> {
    const engine = watched();
    const results: unknown[] = [];
    for (const each of [engine, nodeEngine({ threads: 1, kernels: false })]) {
      useEngine(each);
      const compiled = compile(fn as never) as unknown as (...given: readonly Tensor[]) => Tensor;
      results.push(await compiled(...args).array());
    }
    expect(results[0]).toEqual(results[1]);
    return Math.max(...engine.programs.map(({ kernels = [] }) => kernels.length));
  }

  const turned = fromValues(
    Float32Array.from({ length: 50 }, (_, i) => 2 * Math.cos(i * 2.3)),
    [50],
  );

  test("are compared", async () => {
    const same = (a: Tensor, b: Tensor) => a.greater(0).equal(b.greater(0)).cast("float32").mul(a).add(1);
    expect(await kernelsIn(same, wave(50), turned)).toBe(1);
  });

  test("are chosen among", async () => {
    const [x, y] = [wave(50), turned];
    const either = (a: Tensor, b: Tensor): Tensor => where(a.greater(0), b.greater(0), b.less(-1));
    expect(await kernelsIn((a, b) => either(a, b).cast("float32").mul(a).add(1), x, y)).toBe(1);
    expect(await kernelsIn((a, b) => where(either(a, b), a, b).mul(a).add(1), x, y)).toBe(1);
    const compared = (a: Tensor, b: Tensor) => where(either(a, b).equal(a.less(b)), a, b).mul(a);
    expect(await kernelsIn((a, b) => compared(a, b).add(1), x, y)).toBe(1);
  });

  test("that no kernel makes keep only their own users out, and others are compared where they are needed", async () => {
    const labels = tensor([3, 1, 0, 2], "int32").reshape([4, 1]).expand([4, 5]) as Tensor;
    const classes = tensor([0, 1, 2, 3, 4], "int32") as Tensor;
    const hot = (x: Tensor, label: Tensor, all: Tensor) =>
      x.abs().sub(label.equal(all).cast("float32")).mul(0.5).neg().add(x);
    expect(await kernelsIn(hot, wave(4, 5), labels, classes)).toBe(1);
    const twice = (x: Tensor, w: Tensor): Tensor => {
      const isPositive = x.greater(0);
      const y = where(isPositive, x, x.mul(0.1)).abs().mul(x).add(1);
      const z = x.add(y.add(w).max(0)).neg();
      return where(isPositive, z, x).abs().mul(z).add(1);
    };
    expect(await kernelsIn(twice, wave(5, 5), wave(5, 5))).toBe(2);
  });

  test("that many need in turn are compared by each, not by each way to it", async () => {
    const deep = (x: Tensor): Tensor => {
      let truth: Tensor = x.greater(0);
      for (let i = 0; i < 40; i++) truth = truth.equal(truth.equal(x.less(i)));
      return where(truth as Tensor<readonly number[], "bool">, x as Floats, x.neg() as Floats).mul(x) as Tensor;
    };
    await kernelsIn(deep, wave(5, 5));
  });
});

test.runIf(hasKernels)("a kernel for whose result there is no memory says so, and others go on", async () => {
  useEngine(nodeEngine({ threads: 2 }));
  const column = wave(2 ** 20, 1);
  const petabyte = column
    .expand([2 ** 20, 2 ** 28])
    .mul(2)
    .add(1); //  more than a process can address
  await expect(petabyte.max().item()).rejects.toThrow(/kernel0.*\n {2}fix: there is not enough memory/s);
  expect(await column.mul(2).add(1).max().item()).toBeCloseTo(5, 4);
});

test.runIf(hasKernels)("more inputs than a kernel may have", async () => {
  const kernels = await kernelsOf(() => {
    const products = [wave(4, 3)];
    for (let i = 1; i < 30; i++)
      products.push(products.at(-1)!.mul(fromValues(Float32Array.of(i, 1 / i, 1, -i), [4, 1])) as Floats);
    return products.filter((_, i) => i % 3 === 2);
  });
  expect(kernels.length).toBeGreaterThan(1);
  for (const { kernel } of kernels) expect(kernel.inputs.length).toBeLessThanOrEqual(20);
});
