/** Sizes at which a program would take all memory, all time or all of the stack: a sentence, or a result soon. */
import { expect, test } from "vitest";
import {
  arange,
  compile,
  conv2d,
  embedding,
  eye,
  GlissadeError,
  gradients,
  init,
  linear,
  linspace,
  ones,
  parameter,
  read,
  relu,
  scan,
  sequential,
  sgd,
  type Tensor,
  tensor,
  zeros,
} from "../src/node.ts";

const deep = <T>(inner: T, levels: number): T => {
  let tree: unknown = inner;
  for (let i = 0; i < levels; i++) tree = [tree];
  return tree as T;
};

test.each<[string, () => unknown]>([
  ["range", () => arange(2 ** 31)],
  ["arange", () => arange(0, 1e12)],
  ["linspace", () => linspace(0, 1, 2 ** 40)],
  ["linear", () => linear(1e6, 1e6)],
  ["linear past what an array holds", () => linear(1e5, 1e5)],
  ["embedding", () => embedding(1e9, 1e3)],
  ["conv2d", () => conv2d(1e5, 1e5, 100)],
  ["parameter", () => parameter([2 ** 20, 2 ** 20], init.zeros)],
  ["values of zeros", () => zeros([2 ** 20, 2 ** 20]).data()],
  ["values of eye", () => eye(1e6).data()],
  [
    "values of oneHot",
    () =>
      tensor([1], "int32")
        .oneHot(2 ** 33)
        .data(),
  ],
  [
    "values of pad",
    () =>
      ones([10])
        .pad([[0, 2 ** 33]])
        .data(),
  ],
  [
    "values between",
    () =>
      zeros([2 ** 20, 2 ** 20])
        .add(1)
        .sum()
        .item(),
  ],
  ["results in 20,000 arrays", () => compile((x: Tensor) => deep(x, 20_000))(ones([1]))],
  ["read of 20,000 arrays", () => read(deep(tensor([1]), 20_000))],
  ["an array of 20,000 levels", () => tensor(deep([1], 20_000))],
])("%s: a sentence before memory is taken", async (_, make) => {
  const before = process.memoryUsage().rss;
  const error: unknown = await Promise.resolve()
    .then(make)
    .then(
      () => expect.fail("nothing was thrown"),
      (error: unknown) => error,
    );
  expect(error).toBeInstanceOf(GlissadeError);
  expect(process.memoryUsage().rss - before).toBeLessThan(200e6);
});

test("a long range is made at once, and the same with and without a session", async () => {
  const long = await arange(2 ** 20 + 3).data();
  expect([long.length, long[5], long.at(-1)]).toEqual([2 ** 20 + 3, 5, 2 ** 20 + 2]);
  expect(
    await arange(2 ** 20)
      .max()
      .item(),
  ).toBe(2 ** 20 - 1);
  expect(await compile((x: Tensor) => x.add(arange(2 ** 20 + 3).max()))(tensor([1], "int32")).array()).toEqual([
    2 ** 20 + 3,
  ]);
});

/** Loops inside of loops: x through `depth` of them, two steps each. */
const nested =
  (depth: number) =>
  (x: Tensor): Tensor =>
    depth === 0
      ? x.mul(1.01)
      : (scan((state: Tensor) => [nested(depth - 1)(state), undefined] as const, { init: x, length: 2 })
          .state as Tensor);

test("loops in loops, 22 levels deep, are traced, differentiated and made a session of", async () => {
  const shallow = compile((x: Tensor) => {
    const y = nested(5)(x).sum();
    return [y, gradients(y, [x])[0]];
  });
  const [value, gradient] = await read(shallow(tensor([1, 2])));
  expect(value).toBeCloseTo(3 * 1.01 ** 32, 4);
  expect((gradient as number[])[0]).toBeCloseTo(1.01 ** 32, 4);
  // Four million steps would be made: the graph is what is looked at.
  const started = performance.now();
  compile((x: Tensor) => gradients(nested(22)(x).sum(), [x])[0])(
    tensor([[1, 2]])
      .slice([0, 0])
      .sum(0),
  );
  expect(performance.now() - started).toBeLessThan(30_000);
});

test("100 layers learn, and a chain of 1,000 ops is computed", async () => {
  const model = sequential(...Array.from({ length: 100 }, () => [linear(2, 2), relu]).flat());
  const optimizer = sgd(model, { learningRate: 0.01 });
  const step = compile((x: Tensor) => {
    const loss = (model as unknown as (x: Tensor) => Tensor)(x).square().mean();
    optimizer.minimize(loss);
    return loss;
  });
  expect(await step(ones([1, 2])).item()).toBeGreaterThanOrEqual(0);
  let x: Tensor = tensor([1, 2]);
  for (let i = 0; i < 500; i++) x = x.mul(0.999).sin();
  expect((await x.data()).every((value) => value > 0 && value < 0.15)).toBe(true);
});
