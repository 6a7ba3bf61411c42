/** NaN and infinities where PyTorch's numbers do not lead: long arrays, packed networks, masks, divergences, casts, products. */
import { beforeEach, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import {
  compile,
  conv2d,
  crossEntropy,
  fromValues,
  functional,
  gradients,
  klDivergence,
  nodeEngine,
  plainEngine,
  type Shape,
  seed,
  type Tensor,
  tensor,
  useEngine,
  where,
  zeros,
} from "../../src/node.ts";
import { scatterAdd, unpick } from "../../src/ops/indexing.ts";
import { layAtMaximum, max } from "../../src/ops/reduce.ts";

const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const engines: readonly (readonly [string, () => Engine])[] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 2 })],
  ["node, without kernels", () => nodeEngine({ threads: 1, kernels: false })],
  ["node, through the binding", () => nodeEngine({ threads: 1, implementation: "binding" })],
];

type Floats = Tensor<Shape, "float32">;
const wave = (...shape: number[]): Float32Array =>
  Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 1.7) * 2);

describe.each(engines)("%s", (name, engine) => {
  beforeEach(() => useEngine(engine()));

  test.each([0, 1, 7, 8, 50_000, 99_991, 99_999])("one NaN among 100,000 elements, at %i", async (at) => {
    const values = wave(100_000);
    values[at] = nan;
    const x = fromValues(values, [100_000]) as Floats;
    expect(await Promise.all([x.max(), x.min(), x.sum(), x.argmax(), x.argmin()].map((y) => y.item()))).toEqual([
      nan,
      nan,
      nan,
      at,
      at,
    ]);
    const [sorted, places] = x.sort();
    expect([await sorted.slice([-1]).item(), await places.slice([-1]).item()]).toEqual([nan, at]);
    const numbers = (await sorted.data()).slice(0, -1);
    expect(numbers.every((value, i) => i === 0 || numbers[i - 1]! <= value)).toBe(true);
  });

  test("of several NaN the first is the maximum of a window, in large batches and small ones", async () => {
    for (const [images, channels] of [
      [1, 1],
      [4, 16],
    ] as const) {
      const space = [nan, nan, 1, -inf, 3, nan, -inf, -inf, -inf, nan, 2, 2, 5, -inf, 2, 1];
      const count = images * channels;
      const x = fromValues(
        Float32Array.from({ length: 16 * count }, (_, i) => space[i % 16]!),
        [images, channels, 4, 4],
      ) as Floats;
      const pool = compile((given: Floats) => {
        const y = functional.maxPool(given, { kernel: 2 });
        return [
          y,
          gradients(
            y,
            [given],
            fromValues(
              Float32Array.from({ length: 4 * count }, (_, i) => 1 + (i % 4)),
              y.shape,
            ) as Tensor,
          )[0]!,
        ] as const;
      });
      const [y, dx] = pool(x);
      expect((await y.data()).slice(-4)).toEqual(Float32Array.of(nan, 1, nan, 2));
      expect((await dx.data()).slice(-16)).toEqual(Float32Array.of(1, 0, 2, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 0, 0));
    }
  });

  test("a convolution, relu and pooling pass a NaN on to the windows that see it, and to no others", async () => {
    seed(3);
    const layer = conv2d(1, 16, 3, { padding: 1 });
    const net = compile((x: Tensor<[number, 1, number, number], "float32">) => {
      const y = functional.maxPool(layer(x as never).relu() as Floats, { kernel: 2 });
      return [y, gradients(y.sum(), [x])[0]!] as const;
    });
    for (const place of [0, 8 * 8 * 5 + 27, 8 * 64 - 1]) {
      const values = wave(8, 1, 8, 8);
      values[place] = nan;
      const [y] = net(fromValues(values, [8, 1, 8, 8]) as never);
      const [image, row, column] = [Math.floor(place / 64), Math.floor((place % 64) / 8), place % 8];
      const found = await y.data();
      for (let i = 0; i < found.length; i++) {
        const [n, h, w] = [Math.floor(i / 256), Math.floor((i % 16) / 4), i % 4];
        const isSeen = n === image && Math.abs(2 * h + 0.5 - row) <= 1.5 && Math.abs(2 * w + 0.5 - column) <= 1.5;
        expect(Number.isNaN(found[i]), `element ${i} for ${place}`).toBe(isSeen);
      }
    }
  });

  test("what a mask leaves out is not multiplied by 0", async () => {
    const x = tensor([-1, 0, 2, nan, -4, -5, 6, -7, -8]) as Floats;
    // The slope of the root at 0 is infinite.
    const slope = async (y: Tensor): Promise<number[]> => [...(await gradients(y.sum(), [x])[0]!.data())];
    const half = Math.fround(0.5 / Math.SQRT2);
    expect(await slope(x.relu().sqrt())).toEqual(
      [0, 0, half, nan, 0, 0, Math.fround(0.5 / Math.sqrt(6)), 0, 0].map((v) =>
        expect.toSatisfy((got: number) => Object.is(got + 0, v) || Math.abs(got - v) < 1e-6),
      ),
    );
    expect((await slope(x.clip(0, 9).sqrt()))[0]).toBe(0);
    expect((await slope(x.hardTanh(0, 9).sqrt()))[4]).toBe(0);
    expect((await slope(where(x.greater(0), x, 1).log()))[0]).toBe(0);
    expect((await slope(x.maximum(0).sqrt()))[0]).toBe(0);
    expect((await slope(where(x.less(0).not(), x.div(x.abs()), 0)))[4]).toBe(0);
  });

  test("what a triangle leaves out is 0, whatever it was", async () => {
    const x = tensor([
      [1, nan],
      [inf, -inf],
    ]);
    expect(await x.tril().array()).toEqual([
      [1, 0],
      [inf, -inf],
    ]);
    expect(await x.triu().array()).toEqual([
      [1, nan],
      [0, -inf],
    ]);
  });

  test("losses of classes: an infinite logit elsewhere than at the label, and a gradient of one picked place", async () => {
    const x = tensor([
      [-inf, 0, 1],
      [0, -inf, -inf],
      [nan, 0, 0],
    ]);
    const labels = tensor([1, 0, 2], "int32");
    const loss = crossEntropy(x, labels, { reduction: "none" }) as Tensor;
    const [dx] = gradients(loss.sum(), [x]);
    const [p, q] = [1 / (1 + Math.E), Math.E / (1 + Math.E)];
    const close = (have: ArrayLike<number>, want: readonly number[]): void =>
      want.forEach((value, i) =>
        expect(Object.is(have[i]! + 0, value) || Math.abs(have[i]! - value) < 1e-6, `${have[i]} at ${i}`).toBe(true),
      );
    close(await loss.data(), [-Math.log(p), 0, nan]);
    close(await dx!.data(), [0, p - 1, q, 0, 0, 0, nan, nan, nan]);
  });

  test("rows of a table get their own NaN", async () => {
    const indices = tensor([2, 0, 2], "int32") as Tensor;
    const dy = tensor([
      [1, nan],
      [inf, 2],
      [3, 4],
    ]) as Tensor;
    expect(await dy.apply(scatterAdd, [indices], { axis: 0, size: 4 }).array()).toEqual([
      [inf, 2],
      [0, 0],
      [4, nan],
      [0, 0],
    ]);
    expect(await (tensor([nan, 1, -inf]) as Tensor).apply(unpick, [indices], { depth: 3 }).array()).toEqual([
      [0, 0, nan],
      [1, 0, 0],
      [0, 0, -inf],
    ]);
    const table = zeros([200, 3]).take(tensor([199, 0], "int32"));
    expect(table.shape).toEqual([2, 3]);
  });

  test("updates that meet on an element", async () => {
    const x = tensor([1, 2, 3]) as Tensor<[3], "float32">;
    const indices = tensor([0, 0, 1, 2], "int32");
    const updates = tensor([5, nan, 0, -inf]);
    const met = (reduction: "add" | "max" | "min"): Promise<number[]> =>
      x.scatter(indices, updates, 0, { reduction }).array() as Promise<number[]>;
    expect(await met("add")).toEqual([nan, 2, -inf]);
    expect(await met("max")).toEqual([nan, 2, 3]);
    expect(await met("min")).toEqual([nan, 0, -inf]);
  });

  test("a divergence counts what has no probability as 0, and its slopes", async () => {
    const x = tensor([-inf, -1, -inf, nan, -0.5]) as Tensor<[5], "float32">;
    const y = tensor([0, 0, 0.5, 0, 0.25]) as Tensor<[5], "float32">;
    const expected = [0, 0, inf, nan, Math.fround(0.25 * (Math.log(0.25) + 0.5))];
    const close = (values: ArrayLike<number>): void =>
      expected.forEach((value, i) =>
        expect(Object.is(values[i]! + 0, value) || Math.abs(values[i]! - value) < 1e-6, `${values[i]} at ${i}`).toBe(
          true,
        ),
      );
    close(await klDivergence(x, y, { reduction: "none" }).data());
    close(await klDivergence(x, y.log(), { reduction: "none", logTargets: true }).data());
    const [dx] = gradients(klDivergence(x, y, { reduction: "sum" }) as Tensor, [x]);
    expect([...(await dx!.data())].map((value) => value + 0)).toEqual([0, 0, -0.5, 0, -0.25]);
  });

  test("casts to int32: −2³¹ for what it has not", async () => {
    const values = [nan, inf, -inf, 3e9, -3e9, 2147483520, -2147483648, 0.9, -0.9, -0, 2.5];
    const low = -(2 ** 31);
    const whole = [low, low, low, low, low, 2147483520, low, 0, 0, 0, 2];
    expect(await tensor(values).cast("int32").array()).toEqual(whole);
    if (name === "plain") return;
    expect(
      await tensor([...values, 2147483647.5, -2147483648.5, -2147483649], "float64")
        .cast("int32")
        .array(),
    ).toEqual([...whole, 2147483647, low, low]);
  });

  test("products look at every element, whatever the scale", async () => {
    const x = fromValues(wave(4, 9), [4, 9]) as Tensor<[4, 9], "float32">;
    for (const value of [nan, inf])
      for (const at of [0, 8, 17, 35]) {
        const values = wave(4, 9);
        values[at] = value;
        const y = fromValues(values, [4, 9]) as Tensor<[4, 9], "float32">;
        const rows = [0, 1, 2, 3].map((row) => row === Math.floor(at / 9));
        const seen = async (product: Tensor): Promise<boolean[]> => {
          const found = (await product.array()) as number[][];
          return found.map((row) => row.every((each) => !Number.isFinite(each)));
        };
        expect(await seen(y.matmul(x.mT()) as Tensor)).toEqual(rows);
        const none = zeros([9, 4]);
        expect(await seen(y.matmul(none) as Tensor)).toEqual(rows);
        expect(await seen(y.matmul(x.mT()).mul(0) as Tensor)).toEqual(rows);
        expect(await seen(y.mul(0).matmul(x.mT()) as Tensor)).toEqual(rows);
        expect(await seen(y.matmul(x.mT()).mul(1e30).mul(1e-38) as Tensor)).toEqual(rows);
      }
  });

  test("rewriting keeps NaN, infinities and signs of zero", async () => {
    const x = tensor([nan, inf, -inf, 0, -0, 3]) as Floats;
    const zero = x.scalar(0) as never;
    const shown = async (y: Tensor): Promise<number[]> => [...(await y.data())];
    expect(await shown(x.mul(0))).toEqual([nan, nan, nan, 0, -0, 0]);
    expect(await shown(x.sub(x))).toEqual([nan, nan, nan, 0, 0, 0]);
    expect(await shown(x.div(x))).toEqual([nan, nan, nan, nan, nan, 1]);
    expect(await shown(x.add(zero))).toEqual([nan, inf, -inf, 0, 0, 3]);
    expect(await shown(x.sub(zero))).toEqual([nan, inf, -inf, 0, -0, 3]);
    expect(await shown(x.mul(1))).toEqual([nan, inf, -inf, 0, -0, 3]);
    expect(await shown(x.mul(1e30).mul(1e30))).toEqual([nan, inf, -inf, 0, -0, inf]);
    expect((await shown(x.mul(1e-30).mul(1e-30))).map(Math.round)).toEqual([nan, inf, -inf, 0, -0, 0]);
    expect(await shown(x.pow(0))).toEqual([1, 1, 1, 1, 1, 1]);
    expect(await shown(x.pow(1))).toEqual([nan, inf, -inf, 0, -0, 3]);
    expect(await shown(x.pow(2))).toEqual([nan, inf, inf, 0, 0, 9]);
  });
});

test("maxima of short axes in the middle, as parts of rows: every place of a row and of the axis", async () => {
  for (const count of [2, 3, 4, 7])
    for (const width of [32, 33, 40, 300])
      for (const kernels of [true, false]) {
        useEngine(nodeEngine({ threads: 2, kernels }));
        const shape = [5, count, width];
        const values = wave(...shape);
        for (let i = 0; i < values.length; i += 61) values[i] = [nan, inf, -inf, nan][(i / 61) % 4]!;
        const x = fromValues(values, shape) as Tensor;
        const most = x.max(1);
        const dy = fromValues(wave(5, width), [5, width]) as Tensor;
        const params = { axis: 1 };
        const [y, least, dx] = await Promise.all(
          [most, x.min(1), x.apply(layAtMaximum, [most, dy], params)].map((each) => each.data()),
        );
        const type = { shape: [5, width], dtype: "float32" as const, values: new Float64Array(5 * width) };
        const data = { shape, dtype: "float32" as const, values: Float64Array.from(values) };
        max.evaluate([data], [type], { axes: [1], keepDims: false });
        expect(y).toEqual(Float32Array.from(type.values));
        const laid = { ...data, values: new Float64Array(values.length) };
        layAtMaximum.evaluate([data, type, { ...type, values: Float64Array.from(await dy.data()) }], [laid], params);
        expect([...dx!].map((value) => value + 0)).toEqual(
          [...Float32Array.from(laid.values)].map((value) => value + 0),
        );
        expect([...least!].map(Number.isNaN)).toEqual([...y!].map(Number.isNaN));
      }
});
