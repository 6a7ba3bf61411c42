/** Properties that hold for every shape and every graph, on random ones; fast-check shrinks what fails to its smallest form. */
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { ruleSets } from "../src/compile/passes/index.ts";
import { rewrite } from "../src/compile/passes/rewrite.ts";
import type { Engine } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node/index.ts";
import { type Shape, sizeOf } from "../src/graph/types.ts";
import {
  broadcast,
  concat,
  crossEntropy,
  evaluate,
  fromValues,
  functional,
  gradients,
  plainEngine,
  scan,
  type Tensor,
  tensor,
  useEngine,
  where,
} from "../src/index.ts";
import { unpick } from "../src/ops/indexing.ts";
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

/**
 * Added before an `abs`, a comparison or a cast: a rule may change a result's last bit, so that random programs must not compare what is equal up
 * to rounding (x with 5·x·0.2), nor meet a kink at the round numbers that they often have (0, 0.5, 1/3).
 */
const apart = 0.0137;

/** Smooth, with values that stay small whatever they are applied to; each gives up on shapes that it does not fit. */
const kinds: readonly ((a: Any, b: Any, detail: number) => Any)[] = [
  (a) => a.tanh(),
  (a) => a.sigmoid().mul(1.5),
  (a) => a.mul(a.sigmoid()).tanh(),
  (a) => a.mul(a).add(1).log(),
  (a) => a.mul(a).add(0.5).reciprocal(),
  (a) => a.add(apart).abs().add(1).sqrt().sub(a),
  (a) => a.neg().exp().add(1).reciprocal(),
  (a) => a.softplus(),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.add(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.tanh().mul(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => x.sub(y)),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => where(x.less(y.add(apart)), x, y.mul(0.5))),
  (a, _, i) => a.sum(i % a.shape.length).tanh(),
  (a, _, i) => (a.shape[i % a.shape.length] === 0 ? undefined : a.mean(i % a.shape.length, { keepDims: true })),
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

const labelsFor = (x: Any): Any =>
  fromValues(
    Int32Array.from({ length: x.size / x.shape.at(-1) }, (_, i) => (3 * i + 1) % x.shape.at(-1)),
    x.shape.slice(0, -1),
  );
const last = (x: Any): number => x.shape.at(-1);

/** What the compiler's rules look for: layers as people write them, neutral elements, signs, moves that cancel. */
const patterns: typeof kinds = [
  (a, b) => a.matmul(swapped(b)).mul(0.25).add(0.5).tanh(),
  (a, b) => a.mul(0.5).matmul(b.mul(2)).mul(0.3).tanh(),
  (a, b) => swapped(swapped(a).matmul(b)).tanh(),
  (a, b) => {
    const flat = a.reshape([a.size / last(a), last(a)]);
    const y = flat.matmul(swapped(b).slice(null, [0, last(a)])).reshape(a.shape);
    return y.add(a).tanh();
  },
  (a, b) => a.add(a.matmul(swapped(a)).mul(0.5).softmax().matmul(b)).tanh(),
  (a, b, i) => (b.size > i ? a.matmul(swapped(a)).add(b.reshape([b.size]).slice([i, i + 1])) : undefined),
  (a) => a.gelu(),
  (a) => (last(a) > 0 ? a.logSoftmax().pick(labelsFor(a)).neg().mul(0.5) : undefined),
  (a) => (last(a) > 0 ? crossEntropy(a, labelsFor(a), { reduction: "none" }).mul(0.5) : undefined),
  (a) =>
    last(a) > 0
      ? functional.layerNorm(a, a.scalar(1).expand([last(a)]), a.scalar(0.1).expand([last(a)])).mul(0.3)
      : undefined,
  (a, _, i) => (a.shape[0] > 0 ? a.take(tensor([0, i % a.shape[0], 0], "int32")) : undefined),
  (a) => a.mul(1).add(0).sub(0).div(1).pow(1).add(a.pow(2).mul(0.1)),
  (a, b) => a.sub(a.neg()).add(a.neg()).mul(0.5).add(broadcast(a, b)[0].mul(-1).neg().mul(0)),
  (a) => a.neg().neg().mul(3).mul(0.5).neg().mul(-1).tanh(),
  (a) => a.neg().add(a.mul(2)).sub(a.mul(0.25)).neg(),
  (a, b) => broadcast(a.neg(), b).reduce((x: Any, y: Any) => x.add(y).neg()),
  (a, b) => broadcast(a, b).reduce((x: Any, y: Any) => y.sub(x).neg().tanh()),
  (a) => a.transpose().transpose().reshape([-1]).reshape(a.shape),
  (a) => a.expand(a.shape).sum([], { keepDims: true }),
  (a) => a.reshape([1, ...a.shape]).sum(0),
  (a, _, i) => a.mul(a.scalar(2).add(i).expand(a.shape)).mul(0.2),
  (a) => a.detach().add(a),
  (a) => a.mul(0.5).sub(0.7).transpose().mul(3).tanh(),
  (a) => {
    // One row, widened to all.
    const size = a.add(apart).abs();
    const [x, row] = [size.add(1), size.sum(0).add(1.5 + apart)];
    const wide = row.expand(a.shape);
    const real = ["div", "pow", "maximum", "minimum", "remainder", "fmod", "atan2", "add", "sub", "mul"].map((name) =>
      x[name](wide).tanh(),
    );
    const compared = ["equal", "less", "greater", "lessEqual", "greaterEqual"].map((name) => x[name](wide));
    const [i, j] = [x.mul(3).cast("int32"), row.cast("int32").expand(a.shape)];
    const bits = ["bitAnd", "bitOr", "bitXor", "shiftLeft", "shiftRight"].map((name) => i[name](j.bitAnd(3)));
    const wideBits = ["bitAnd", "bitOr", "bitXor", "shiftLeft", "shiftRight"].map((name) => i[name](j));
    const truths = ["and", "or", "xor"].map((name) =>
      x.greater(1.5 + 3 * apart)[name](row.greater(3 + 7 * apart).expand(a.shape)),
    );
    const flags = [...compared, ...bits, ...wideBits, ...truths].map((each) => each.cast("bool").cast(a.dtype));
    return [...real, ...flags].reduce((sum, part) => sum.add(part)).mul(0.05);
  },
  (a) => {
    if (last(a) === 0) return undefined;
    const laid = (x: Any): Any => x.apply(unpick, [labelsFor(a)], { depth: last(a) });
    const [u, ones] = [laid(a.sum(-1).tanh()), laid(a.scalar(1).expand(a.shape.slice(0, -1)))];
    const sums = [u.add(a), a.add(u), u.sub(a.mul(0.5)), a.mul(0.5).add(ones)];
    return sums.reduce((sum, part) => sum.add(part)).tanh();
  },
  (a) => scan((s: Any, x: Any) => [s.mul(0.5).add(x.tanh()), s.mul(x)], { init: a.sum(0).mul(0), xs: a }).outputs,
  (a, b) =>
    scan((s: Any, x: Any) => [s.mul(0.5).add(x.mul(b.sum())).tanh(), s], { init: a.sum(0).tanh(), xs: a }).state,
];

/** The scalar that a random program ends in. */
function build(leaves: readonly Any[], steps: readonly Step[], offered: typeof kinds = kinds): Any {
  const pool = [...leaves];
  for (const [kind, first, second, detail] of steps) {
    // Recent results rather than old ones, so that graphs grow deep.
    const pick = (at: number): Any => pool[pool.length - 1 - (at % Math.min(pool.length, 5))];
    try {
      const made = offered[kind % offered.length]!(pick(first), pick(second), detail);
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

test("the compiler's rules change no value: random graphs of what they look for, with gradients, for either target", () => {
  const fired = new Map<string, number>();
  const watched = ruleSets.map((pass) => ({
    ...pass,
    rules: pass.rules.map((rule) => ({
      ...rule,
      rewrite(match: Parameters<typeof rule.rewrite>[0]) {
        const result = rule.rewrite(match);
        if (result) fired.set(rule.name, (fired.get(rule.name) ?? 0) + 1);
        return result;
      },
    })),
  }));
  const offered = [...kinds, ...patterns];
  const anyStep = fc.tuple(fc.nat(offered.length - 1), fc.nat(4), fc.nat(4), fc.nat(3));
  const anyProgram = fc.record({
    shapes: fc.array(fc.array(fc.constantFrom(1, 2, 3, 3, 4, 0), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 3,
    }),
    steps: fc.array(anyStep, { minLength: 2, maxLength: 10 }),
  });
  fc.assert(
    fc.property(anyProgram, ({ shapes, steps }) => {
      const leaves = shapes.map((shape) => toTensor(real(...shape)));
      const y = build(leaves, steps, offered);
      const first = gradients(y, leaves);
      const total = first.map((dx) => dx.mul(dx).sum()).reduce((sum, part) => sum.add(part));
      const roots = [y, ...first, ...gradients(total, leaves)];
      const expected = plain(roots, [])([]);
      for (const contrib of [false, true]) {
        const got = plain(rewrite(roots, watched, { contrib }, undefined), [])([]);
        for (const [i, values] of expected.entries()) {
          const scale = values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
          values.forEach((want, at) => {
            const far = Math.abs(got[i]![at]! - want) / scale;
            expect(far, `result ${i}, element ${at}: ${got[i]![at]} against ${want}`).toBeLessThan(1e-9);
          });
        }
      }
    }),
    { numRuns: 250 },
  );
  // Some 76 need no packed tensors and can apply here; which ones do is a matter of luck.
  const idle = ruleSets.flatMap(({ rules }) => rules.map(({ name }) => name)).filter((name) => !fired.has(name));
  expect(fired.size, `without ${idle.join(", ")}`).toBeGreaterThan(58);
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
