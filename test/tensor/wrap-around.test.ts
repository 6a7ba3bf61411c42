/** int32 wraps around, modulo 2³²: in every op that calculates with it, on every engine, against arithmetic without limits. */
import { expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { einsum, fromValues, plainEngine, type Shape, type Tensor, useEngine } from "../../src/index.ts";

const engines: readonly Engine[] = [nodeEngine({ threads: 1 }), nodeEngine({ threads: 2 }), plainEngine()];

type Integers = Tensor<Shape, "int32">;

let state = 7;
const next = (): number => {
  state = Number((BigInt(state) * 48271n) % 0x7fffffffn);
  return state;
};

/** Numbers near the ends, and from everywhere between. */
const numbers = (count: number): Int32Array<ArrayBuffer> =>
  Int32Array.from(
    { length: count },
    (_, i) => [2 ** 31 - 1 - (next() % 3), -(2 ** 31) + (next() % 3), next() * 2][i % 3]!,
  );

const tensorOf = (values: Int32Array<ArrayBuffer>, shape: Shape): Integers => fromValues(values, shape) as Integers;
const wrapped = (values: readonly bigint[]): number[] => values.map((value) => Number(BigInt.asIntN(32, value)));
const added = (values: Iterable<number>): bigint => [...values].reduce((sum, value) => sum + BigInt(value), 0n);
const multiplied = (values: Iterable<number>): bigint =>
  [...values].reduce((product, value) => product * BigInt(value), 1n);

async function expectOn(build: () => Tensor, expected: readonly bigint[]): Promise<void> {
  for (const engine of engines) {
    useEngine(engine);
    expect([...(await build().data())], engine.name).toEqual(wrapped(expected));
  }
}

test.each([2, 3, 7, 64, 1000, 1009])("sums, products and running sums of %i numbers", async (n) => {
  const values = numbers(n);
  const columns = [0, 1].map((column) => values.filter((_, i) => i % 2 === column));
  const even = values.subarray(0, n - (n % 2)).slice();
  await expectOn(() => tensorOf(values, [n]).sum(), [added(values)]);
  await expectOn(() => tensorOf(values, [n, 1]).sum(0), [added(values)]);
  await expectOn(
    () => tensorOf(even, [even.length / 2, 2]).sum(0),
    columns.map((each) => added(each.subarray(0, even.length / 2))),
  );
  await expectOn(
    () => tensorOf(even, [2, 1, even.length / 2]).sum([1, 2]),
    [0, 1].map((row) => added(even.subarray((row * even.length) / 2, ((row + 1) * even.length) / 2))),
  );
  await expectOn(() => tensorOf(values, [n]).prod(), [multiplied(values)]);
  await expectOn(
    () => tensorOf(even, [even.length / 2, 2]).prod(0),
    columns.map((each) => multiplied(each.subarray(0, even.length / 2))),
  );
  await expectOn(
    () => tensorOf(values, [n]).cumsum(),
    Array.from(values, (_, i) => added(values.subarray(0, i + 1))),
  );
  await expectOn(
    () => tensorOf(values, [n]).cumprod(),
    Array.from(values, (_, i) => multiplied(values.subarray(0, i + 1))),
  );
});

test("more than there are bits for in a float64", async () => {
  const n = 2 ** 22 + 5;
  const values = new Int32Array(n).fill(2 ** 31 - 1);
  useEngine(engines[0]!);
  const expected = wrapped([BigInt(n) * (2n ** 31n - 1n)]);
  expect([...(await tensorOf(values, [n]).sum().data())]).toEqual(expected);
  expect(await tensorOf(values, [n, 1]).sum(0).array()).toEqual(expected);
});

test("matrix products, contractions, traces and counts", async () => {
  for (const k of [1, 3, 50, 1009]) {
    const [a, b] = [numbers(2 * k), numbers(3 * k)];
    const expected = [0, 1].flatMap((i) =>
      [0, 1, 2].map((j) =>
        Array.from({ length: k }, (_, at) => BigInt(a[i * k + at]!) * BigInt(b[at * 3 + j]!)).reduce(
          (x, y) => x + y,
          0n,
        ),
      ),
    );
    await expectOn(() => tensorOf(a, [2, k]).matmul(tensorOf(b, [k, 3])), expected);
    await expectOn(() => einsum("ik,kj->ij", tensorOf(a, [2, k]), tensorOf(b, [k, 3])) as Tensor, expected);
    const squares = Array.from(a, (value) => BigInt(value) ** 2n);
    await expectOn(
      () => tensorOf(a, [2 * k]).dot(tensorOf(a, [2 * k])) as Tensor,
      [squares.reduce((x, y) => x + y, 0n)],
    );
    await expectOn(() => tensorOf(a, [2 * k]).square() as Tensor, squares);
  }
  const square = numbers(9);
  await expectOn(() => tensorOf(square, [3, 3]).trace() as Tensor, [added([square[0]!, square[4]!, square[8]!])]);
});

test("single elements", async () => {
  const [a, b] = [numbers(90), numbers(90)];
  const pairs = (f: (x: bigint, y: bigint) => bigint): bigint[] => Array.from(a, (x, i) => f(BigInt(x), BigInt(b[i]!)));
  const [x, y] = [() => tensorOf(a, [90]), () => tensorOf(b, [90])];
  await expectOn(
    () => x().add(y()),
    pairs((p, q) => p + q),
  );
  await expectOn(
    () => x().sub(y()),
    pairs((p, q) => p - q),
  );
  await expectOn(
    () => x().mul(y()),
    pairs((p, q) => p * q),
  );
  await expectOn(
    () => x().neg(),
    pairs((p) => -p),
  );
  await expectOn(
    () => x().abs(),
    pairs((p) => (p < 0n ? -p : p)),
  );
});

test("what is added at places that repeat", async () => {
  const updates = numbers(200);
  const places = new Int32Array(200).map((_, i) => i % 3);
  const expected = [0, 1, 2].map((place) => added(updates.filter((_, i) => i % 3 === place)));
  await expectOn(
    () =>
      tensorOf(new Int32Array(3), [3]).scatter(tensorOf(places, [200]), tensorOf(updates, [200]), 0, {
        reduction: "add",
      }) as Tensor,
    expected,
  );
});
