/** Making, printing and reading tensors. */
import { beforeEach, describe, expect, test } from "vitest";
import {
  arange,
  concat,
  fromValues,
  full,
  linspace,
  plainEngine,
  type Tensor,
  tensor,
  useEngine,
  where,
  zeros,
} from "../../src/index.ts";

let runs = 0;
beforeEach(() => {
  const engine = plainEngine();
  runs = 0;
  useEngine({
    ...engine,
    async load(program) {
      const session = await engine.load(program);
      const run: typeof session.run = (inputs, outputs) => {
        runs++;
        return session.run(inputs, outputs);
      };
      return { ...session, run };
    },
  });
});

describe("printing", () => {
  test("aligned, with as many decimals as it takes", () => {
    expect(
      String(
        tensor([
          [1, -2.5, 3],
          [100, 0.25, -0.125],
        ]),
      ),
    ).toMatchInlineSnapshot(`
      "[[  1.000,  -2.500,   3.000],
       [100.000,   0.250,  -0.125]]  float32[2, 3]"
    `);
    expect(String(tensor([1, 2, 3], "int32"))).toMatchInlineSnapshot(`"[1, 2, 3]  int32[3]"`);
    expect(
      String(
        tensor([
          [true, false],
          [false, true],
        ]),
      ),
    ).toMatchInlineSnapshot(`
      "[[ true, false],
       [false,  true]]  bool[2, 2]"
    `);
    expect(String(tensor(2.5))).toMatchInlineSnapshot(`"2.5  float32[]"`);
    expect(String(tensor([1e-9, 1]))).toMatchInlineSnapshot(`"[1.0000e-9, 1.0000e+0]  float32[2]"`);
    expect(String(tensor([Number.NaN, Number.POSITIVE_INFINITY, 1]))).toMatchInlineSnapshot(
      `"[     NaN, Infinity,        1]  float32[3]"`,
    );
    expect(String(fromValues(new Float32Array(0), [0, 3]))).toMatchInlineSnapshot(`"[]  float32[0, 3]"`);
    expect(
      String(
        tensor([
          [[1], [2]],
          [[3], [4]],
        ]),
      ),
    ).toMatchInlineSnapshot(`
      "[[[1],
        [2]],

       [[3],
        [4]]]  float32[2, 2, 1]"
    `);
  });
  test("elided in the middle when large", () => {
    const values = Float32Array.from({ length: 2000 }, (_, i) => i);
    expect(String(fromValues(values, [50, 40]))).toMatchInlineSnapshot(`
      "[[   0,    1,    2, …,   37,   38,   39],
       [  40,   41,   42, …,   77,   78,   79],
       [  80,   81,   82, …,  117,  118,  119],
       …,
       [1880, 1881, 1882, …, 1917, 1918, 1919],
       [1920, 1921, 1922, …, 1957, 1958, 1959],
       [1960, 1961, 1962, …, 1997, 1998, 1999]]  float32[50, 40]"
    `);
  });
  test("never runs a graph; text() does", async () => {
    const x = tensor([1, 2]).mul(2);
    expect(String(x)).toBe("Tensor float32[2], not evaluated: await its text()");
    expect(runs).toBe(0);
    expect(await x.text()).toBe("[2, 4]  float32[2]");
  });
});

describe("values", () => {
  test("are computed when asked for, once", async () => {
    const y = tensor([1, 2, 3]).mul(2);
    const z = y.add(1);
    expect(runs).toBe(0);
    expect(await y.array()).toEqual([2, 4, 6]);
    expect(await y.array()).toEqual([2, 4, 6]);
    expect(runs).toBe(1);
    expect(await z.sum().item()).toBe(15);
    expect(runs).toBe(2);
  });
  test("stay as they are, whatever happens to arrays outside", async () => {
    const values = Float32Array.of(1, 2);
    const x = fromValues(values, [2]);
    values[0] = 9;
    const read = await x.data();
    read[1] = 9;
    expect(await x.array()).toEqual([1, 2]);
  });
  test("of every dtype", async () => {
    expect(await tensor([true, false]).array()).toEqual([true, false]);
    expect(await tensor([1, 2], "int32").data()).toEqual(Int32Array.of(1, 2));
    expect(await tensor([0.1], "float64").item()).toBe(0.1);
    expect(await full([2], 3).array()).toEqual([3, 3]);
    expect(await arange(4).array()).toEqual([0, 1, 2, 3]);
    expect(await tensor(7).item()).toBe(7);
    expect(await zeros([0, 2]).array()).toEqual([]);
  });
  test("move, join and choose", async () => {
    const x = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(await x.slice(null, [-2]).array()).toEqual([
      [2, 3],
      [5, 6],
    ]);
    expect(await x.slice([0, 1], [0, 3, 2]).array()).toEqual([[1, 3]]);
    expect(await concat([x, x], 1).slice([0, 1]).array()).toEqual([[1, 2, 3, 1, 2, 3]]);
    expect(await Promise.all(x.split([1, 2]).map((part) => part.array()))).toEqual([
      [[1], [4]],
      [
        [2, 3],
        [5, 6],
      ],
    ]);
    expect(await where(x.greater(2), x, 0).array()).toEqual([
      [0, 0, 3],
      [4, 5, 6],
    ]);
    expect(await x.take(tensor([1, 0, 1], "int32")).array()).toEqual([
      [4, 5, 6],
      [1, 2, 3],
      [4, 5, 6],
    ]);
  });
  test("what is refused", () => {
    expect(() => tensor([[1, 2], [3]])).toThrow("tensor: the array is ragged: axis 1 has 1 where 2 was expected");
    expect(() => tensor([1.5], "int32")).toThrow("tensor: 1.5 at position 0 is no int32");
    expect(() => fromValues(new Float32Array(3), [2, 2])).toThrow(
      "fromValues: 3 values for the shape [2, 2], which has 4",
    );
    expect(() => tensor([1, 2]).item()).toThrow("item: float32[2] has 2 elements");
    expect(() => (tensor([1, 2]) as Tensor).reshape([3])).toThrow("reshape: [2] has 2 elements, [3] has 3");
  });
});

describe("linspace", () => {
  test("rounds each number once, and both ends are exact", async () => {
    for (const [start, stop] of [
      [0, 1],
      [0.1, 2],
      [7.3, -3],
      [-3e38, 3e38],
    ] as const)
      for (let count = 2; count < 100; count++) {
        const values = await linspace(start, stop, count).data();
        const wanted = Float32Array.from({ length: count }, (_, i) => start + ((stop - start) / (count - 1)) * i);
        expect([values[0], values.at(-1)]).toEqual([Math.fround(start), Math.fround(stop)]);
        for (const [i, value] of values.entries())
          expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(
            1e-15 * Math.max(Math.abs(start), Math.abs(stop)) + 1.2e-7 * Math.abs(wanted[i]!),
          );
      }
    expect([...(await linspace(-1.7e308, 1.7e308, 3, "float64").data())]).toEqual([-1.7e308, 0, 1.7e308]);
  });

  test("of one number is its start, of none is empty; integers where they are whole", async () => {
    expect([...(await linspace(3, 9, 1).data())]).toEqual([3]);
    expect(linspace(3, 9, 0).shape).toEqual([0]);
    expect([...(await linspace(0, 8, 5, "int32").data())]).toEqual([0, 2, 4, 6, 8]);
    expect(() => linspace(0, 10, 5, "int32")).toThrow("linspace: from 0 by 2.5 in int32");
    expect(() => linspace(0, 1, -2)).toThrow("linspace: a length of -2");
    expect(() => linspace(0, 1, 2, "float16" as "float32")).toThrow("linspace: there is no dtype float16");
  });
});
