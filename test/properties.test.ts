/** Properties that hold for every shape and every graph, on random ones; fast-check shrinks what fails to its smallest form. */
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { Engine } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node/index.ts";
import { type Shape, sizeOf } from "../src/graph/types.ts";
import { broadcast, concat, evaluate, gradients, plainEngine, type Tensor, useEngine, where } from "../src/index.ts";
import { expectDerivative, plain, sampler, toTensor } from "./support/conformance.ts";

const { real } = sampler("float64");

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 1 });
});

/** Axes of 0 and 1 as often as the rest together. */
const axis = fc.constantFrom(0, 1, 1, 2, 3, 5);

/** Two shapes that broadcast: some axes of a common one become 1, and either may lack leading axes. */
const broadcastable = fc
  .array(axis, { maxLength: 4 })
  .chain((whole) =>
    fc
      .tuple(
        ...["a", "b"].map(() =>
          fc
            .tuple(fc.array(fc.boolean(), { minLength: whole.length, maxLength: whole.length }), fc.nat(whole.length))
            .map(([ones, from]) => whole.map((size, i) => (ones[i] ? 1 : size)).slice(from)),
        ),
      )
      .map(([a, b]) => [a!, b!] as const),
  );

/** NumPy's broadcasting by its definition: one loop over the result, one index for each side. */
function byLoops(a: Tensor, x: Float64Array, b: Tensor, y: Float64Array): { shape: Shape; values: number[] } {
  const rank = Math.max(a.shape.length, b.shape.length);
  const axisOf = (shape: Shape, i: number): number => shape[i - rank + shape.length] ?? 1;
  const shape = Array.from({ length: rank }, (_, i) => {
    const [m, n] = [axisOf(a.shape, i), axisOf(b.shape, i)];
    return m === 1 ? n : m;
  });
  const at = (of: Shape, index: readonly number[]): number =>
    index.reduce((offset, place, i) => {
      const size = axisOf(of, i);
      return offset * size + (size === 1 ? 0 : place);
    }, 0);
  const values = Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const index: number[] = [];
    for (let i = rank - 1, rest = flat; i >= 0; i--) {
      index[i] = rest % shape[i]!;
      rest = Math.floor(rest / shape[i]!);
    }
    return x[at(a.shape, index)]! * 3 - y[at(b.shape, index)]!;
  });
  return { shape, values };
}

test("broadcasting is the definition's loops, on both engines, and sums its gradients back", async () => {
  await fc.assert(
    fc.asyncProperty(broadcastable, async ([left, right]) => {
      const [p, q] = [real(...left), real(...right)];
      for (const engine of [plainEngine(), native]) {
        useEngine(engine);
        const [a, b] = [toTensor(p), toTensor(q)];
        const [x, y] = broadcast(a, b);
        const z = x.mul(3).sub(y);
        const expected = byLoops(a, p.values, b, q.values);
        expect(z.shape).toEqual(expected.shape);
        const [da, db] = gradients(z.sum(), [a, b]);
        await evaluate(z, da!, db!);
        expect([...(await z.data())]).toEqual(expected.values);
        // Each element of a side is read as often as the result is larger.
        const reads = (of: Tensor): number => (of.size === 0 ? 0 : z.size / of.size);
        expect([...(await da!.data())]).toEqual(Array(a.size).fill(3 * reads(a)));
        expect([...(await db!.data())]).toEqual(Array(b.size).fill(0 - reads(b)));
      }
    }),
    { numRuns: 150 },
  );
});

/** A step of a random graph: what to do and with which of the tensors made so far. */
type Step = readonly [kind: number, first: number, second: number, detail: number];

// biome-ignore lint/suspicious/noExplicitAny: the shapes of random graphs are nobody's to know.
type Any = any;

const swapped = (x: Any): Any => {
  const [rest, rank] = [[...x.shape.keys()].slice(0, -2), x.shape.length];
  return rank < 2 ? x : x.transpose(...rest, rank - 1, rank - 2);
};

/** Smooth, with values that stay small whatever they are applied to; each gives up on shapes that it does not fit. */
const kinds: readonly ((a: Any, b: Any, detail: number) => Any)[] = [
  (a) => a.tanh(),
  (a) => a.sigmoid().mul(1.5),
  (a) => a.mul(a.sigmoid()).tanh(),
  (a) => a.mul(a).add(1).log(),
  (a) => a.mul(a).add(0.5).reciprocal(),
  (a) => a.abs().add(1).sqrt().sub(a),
  (a) => a.neg().exp().add(1).reciprocal(),
  (a) => a.softplus(),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.add(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.tanh().mul(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.sub(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => where(x.less(y), x, y.mul(0.5))),
  (a, _, i) => a.sum(i % a.shape.length).tanh(),
  (a, _, i) => (a.shape[i % a.shape.length] === 0 ? undefined : a.mean(i % a.shape.length, { keepAxes: true })),
  (a, _, i) => (a.shape[i % a.shape.length] === 0 ? undefined : a.softmax(i % a.shape.length)),
  (a, _, i) => (a.shape[i % a.shape.length] === 0 ? undefined : a.logSumExp(i % a.shape.length)),
  (a) => a.transpose(),
  (a) => a.reshape([a.size]),
  (a) => a.reshape([1, ...a.shape]),
  (a, _, i) =>
    a.slice(...a.shape.map((size: number, at: number) => (at === i % a.shape.length ? [0, size, 2] : [0, size]))),
  (a, _, i) => a.flip(i % a.shape.length),
  (a, _, i) => a.cumsum(i % a.shape.length).tanh(),
  (a, b, i) => concat([a, b], i % a.shape.length),
  (a, b) => a.matmul(b).tanh(),
  (a, b) => a.matmul(swapped(b)).tanh(),
  (a, b) => swapped(a).matmul(b).mul(0.3),
];

/** The scalar that a random program ends in. */
function build(leaves: readonly Any[], steps: readonly Step[]): Any {
  const pool = [...leaves];
  for (const [kind, first, second, detail] of steps) {
    // Recent results rather than old ones, so that graphs grow deep.
    const pick = (at: number): Any => pool[pool.length - 1 - (at % Math.min(pool.length, 5))];
    try {
      const made = kinds[kind % kinds.length]!(pick(first), pick(second), detail);
      if (made && made.size <= 400) pool.push(made);
    } catch (error) {
      if (!/^(Shape|Config)Error/.test(String(error))) throw error;
    }
  }
  // Every leaf counts, twice differentiably, whatever the steps did with it.
  const squares = leaves.map((x) => x.mul(x).sum().mul(0.1));
  return [...squares, ...pool.slice(leaves.length).map((x) => x.sum().tanh())].reduce((sum, part) => sum.add(part));
}

const step = fc.tuple(fc.nat(kinds.length - 1), fc.nat(4), fc.nat(4), fc.nat(3));
const program = fc.record({
  shapes: fc.array(fc.array(fc.constantFrom(1, 2, 3, 3, 4, 0), { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  }),
  steps: fc.array(step, { minLength: 4, maxLength: 14 }),
});

test("random graphs, their gradients and second gradients: rewritten or not, on either engine, the same", async () => {
  let nodes = 0;
  await fc.assert(
    fc.asyncProperty(program, async ({ shapes, steps }) => {
      const data = shapes.map((shape) => real(...shape));
      const roots = (): Tensor[] => {
        const leaves = data.map(toTensor);
        const y = build(leaves, steps);
        const first = gradients(y, leaves);
        const total = first.map((dx) => dx.mul(dx).sum()).reduce((sum, part) => sum.add(part));
        return [y, ...first, ...gradients(total, leaves)];
      };
      nodes += steps.length;
      const written = roots();
      const expected = plain(written, [])([]);
      for (const [engine, tolerance] of [
        [plainEngine(), 1e-11],
        [native, 1e-9],
      ] as const) {
        useEngine(engine);
        const made = roots();
        await evaluate(...made);
        for (const [i, root] of made.entries()) {
          const got = await root.data();
          const scale = expected[i]!.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
          expected[i]!.forEach((want, at) => {
            const far = Math.abs(got[at]! - want) / scale;
            expect(far, `${engine.name}, result ${i}, element ${at}: ${got[at]} against ${want}`).toBeLessThan(
              tolerance,
            );
          });
        }
      }
    }),
    { numRuns: 120 },
  );
  expect(nodes).toBeGreaterThan(500);
});

test("random graphs: gradients against finite differences", () => {
  fc.assert(
    fc.property(program, ({ shapes, steps }) => {
      const leaves = shapes.map((shape) => toTensor(real(...shape)));
      const y = build(leaves, steps);
      // A kink within the step of the difference is no error: such a program has to be very unlucky in its numbers.
      expectDerivative(y, leaves, gradients(y, leaves));
    }),
    { numRuns: 200 },
  );
});
