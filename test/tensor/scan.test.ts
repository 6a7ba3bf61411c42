import { describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  compile,
  evaluate,
  fromValues,
  functional,
  gradients,
  ones,
  parameter,
  plainEngine,
  printGraph,
  randomGenerator,
  read,
  scan,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { State } from "../../src/tensor/state.ts";

const stream = new PhiloxStream(3);
const random = (...shape: number[]): Tensor<number[], "float32"> =>
  fromValues(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => stream.uniform() - 0.5),
    shape,
  );

/** One step of a long short-term memory (Hochreiter and Schmidhuber 1997), gates i, f, g, o. */
function lstmCell(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor, b: Tensor): [h: Tensor, c: Tensor] {
  const size = h.shape[1]!;
  const [i, f, g, o] = x.matmul(w).add(h.matmul(u)).add(b).split([size, size, size, size], 1) as Tensor[];
  const next = f!.sigmoid().mul(c).add(i!.sigmoid().mul(g!.tanh()));
  return [o!.sigmoid().mul(next.tanh()), next];
}

describe("scan", () => {
  test("adds up along a sequence, in both directions", async () => {
    const xs = tensor([1, 2, 3, 4]);
    const forward = scan((s, x) => [s.add(x), s], { init: tensor(0), xs });
    expect(await forward.state.item()).toBe(10);
    expect(await forward.outputs.array()).toEqual([0, 1, 3, 6]);
    const back = scan((s: Tensor<[]>, x: Tensor<[]>) => [s.add(x), s], { init: tensor(0), xs, reverse: true });
    expect(await back.outputs.array()).toEqual([9, 7, 4, 0]);
  });

  test("counts without a sequence, and takes records", async () => {
    const { state, outputs } = scan(({ a, b }) => [{ a: b, b: a.add(b) }, { previous: a }], {
      init: { a: tensor(0), b: tensor(1) },
      length: 8,
    });
    expect(await state.a.item()).toBe(21);
    expect(await outputs.previous.array()).toEqual([0, 1, 1, 2, 3, 5, 8, 13]);
  });

  test("tells the parts of a record apart by their names, in whatever order they are written", async () => {
    const { state, outputs } = scan(
      ({ a, b }: { readonly a: Tensor<[]>; readonly b: Tensor<[]> }) => [
        { b: b.add(a), a: a.mul(2) },
        { y: b, x: a },
      ],
      { init: { a: tensor(1), b: tensor(10) }, length: 3 },
    );
    expect(await read(state)).toEqual({ a: 8, b: 17 });
    expect(await read(outputs)).toEqual({ x: [1, 2, 4], y: [10, 11, 13] });
  });

  test("an LSTM's loss and gradients are those of the unrolled network, and its graph does not grow", async () => {
    useEngine(nodeEngine({ threads: 1 }));
    const [steps, batch, width, size] = [7, 3, 4, 5];
    const xs = random(steps, batch, width) as Tensor;
    const weights = [random(width, 4 * size), random(size, 4 * size), random(4 * size)] as Tensor[];
    const start = [random(batch, size), random(batch, size)] as Tensor[];
    const looped = (xs: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor, c: Tensor): Tensor => {
      const { state, outputs } = scan(
        ([h, c], x) => {
          const next = lstmCell(x as Tensor, h, c, w, u, b);
          return [next, next[0]];
        },
        { init: [h, c] as [Tensor, Tensor], xs },
      );
      return (outputs as Tensor).square().sum().add(state[1].sum());
    };
    const unrolled = (xs: Tensor, w: Tensor, u: Tensor, b: Tensor, h: Tensor, c: Tensor): Tensor => {
      let state: [Tensor, Tensor] = [h, c];
      let total = xs.scalar(0) as Tensor;
      for (let t = 0; t < xs.shape[0]!; t++) {
        state = lstmCell(xs.slice([t, t + 1]).reshape([batch, width]), ...state, w, u, b);
        total = total.add(state[0].square().sum());
      }
      return total.add(state[1].sum());
    };
    const step = (loss: typeof looped) =>
      compile((...args: Tensor[]) => {
        const value = loss(...(args as Parameters<typeof looped>));
        return [value, ...gradients(value, args)];
      });
    const args = [xs, ...weights, ...start];
    const [a, b] = [step(looped)(...args), step(unrolled)(...args)] as [Tensor[], Tensor[]];
    for (const [i, value] of a.entries()) {
      const [have, want] = [await value.data(), await b[i]!.data()];
      have.forEach((x, at) => expect(Math.abs(x - want[at]!), `result ${i}, element ${at}`).toBeLessThan(2e-5));
    }
    const lines = (length: number): number => {
      const x = random(length, batch, width) as Tensor;
      const value = looped(x, ...(weights as [Tensor, Tensor, Tensor]), ...(start as [Tensor, Tensor]));
      return printGraph(...gradients(value, weights)).split("\n").length;
    };
    expect(lines(1000)).toBe(lines(2));
  });

  test.each([plainEngine(), nodeEngine({ threads: 1 })])(
    "draws random numbers anew at every step, the same as outside, on $name",
    async (engine) => {
      useEngine(engine);
      const [inside, outside] = [randomGenerator(5), randomGenerator(5)];
      const draw = compile(() =>
        scan((s: Tensor<[]>) => [s.add(inside.uniform([])), inside.normal([3])], { init: tensor(0), length: 4 }),
      );
      const ran = draw();
      const rows: number[][] = [];
      let total = 0;
      for (let t = 0; t < 4; t++) {
        total += await outside.uniform([]).item();
        rows.push([...(await outside.normal([3]).data())]);
      }
      expect(await ran.outputs.array()).toEqual(rows);
      expect(await ran.state.item()).toBeCloseTo(total, 5);
      // The generator stands where it would outside, in another run and without `compile` too.
      expect([...(await draw().outputs.data())]).not.toEqual(rows.flat());
      for (let t = 0; t < 4; t++) await evaluate(outside.uniform([]), outside.normal([3]));
      const eager = scan((s: Tensor<[]>) => [s, inside.uniform([])], { init: tensor(0), length: 2 });
      expect([...(await eager.outputs.data())]).toEqual([
        await outside.uniform([]).item(),
        await outside.uniform([]).item(),
      ]);
      expect(await inside.uniform([]).item()).toBe(await outside.uniform([]).item());
    },
  );

  test("dropout in a cell has one mask for the way there and the way back", async () => {
    useEngine(nodeEngine({ threads: 1 }));
    const generator = randomGenerator(3);
    const step = compile((xs: Tensor<[50, 8], "float32">) => {
      const cell = (s: Tensor<[8], "float32">, x: Tensor<[8], "float32">) => {
        const next = s.mul(0).add(functional.dropout(x, 0.5, generator));
        return [next, next] as const;
      };
      const { outputs } = scan(cell, { init: zeros([8]), xs });
      return { outputs, gradients: gradients(outputs.sum(), [xs]) };
    });
    const ran = step(ones([50, 8]));
    const values = [...(await ran.outputs.data())];
    expect(new Set(values)).toEqual(new Set([0, 2]));
    expect([...(await ran.gradients[0]!.data())]).toEqual(values);
    expect([...(await step(ones([50, 8])).outputs.data())]).not.toEqual(values);
  });

  test("what a cell assigns to a variable the next step finds there, in loops in loops too", async () => {
    useEngine(nodeEngine({ threads: 1 }));
    const counter = new State({ shape: [], dtype: "float32" }, Float32Array.of(1), { name: "counter" });
    const count = compile(() =>
      scan(
        (s: Tensor<[]>) => {
          const inner = scan(
            (t: Tensor<[]>) => {
              counter.assign(counter.mul(2));
              return [t.add(counter), counter];
            },
            { init: s, length: 2 },
          );
          counter.assign(counter.add(1));
          return [inner.state, inner.outputs];
        },
        { init: tensor(0), length: 2 },
      ),
    );
    const { state, outputs } = count();
    expect(await outputs.array()).toEqual([
      [2, 4],
      [10, 20],
    ]);
    expect(await state.item()).toBe(36);
    expect(await counter.item()).toBe(21);
  });

  test("says what a cell may not do", () => {
    const xs = zeros([3, 2]) as Tensor;
    const counter = parameter(tensor(1));
    const sentence = (call: () => unknown): string => {
      try {
        call();
      } catch (error) {
        return (error as Error).message;
      }
      return "nothing was thrown";
    };
    expect([
      sentence(() => scan((s: Tensor, x: Tensor) => [s.add(x).sum(), s], { init: zeros([2]) as Tensor, xs })),
      sentence(() => scan((s: Tensor, x: Tensor) => [[s, s] as never, x], { init: zeros([2]) as Tensor, xs })),
      sentence(() => scan((s: Tensor) => [s, s], { init: tensor(0) as Tensor, xs: [xs, zeros([4])] as Tensor[] })),
      sentence(() => scan((s: Tensor) => [s, s], { init: tensor(0) as Tensor })),
      sentence(() =>
        scan(
          (s: Tensor) => {
            sgd([counter], { learningRate: 1 }).minimize(counter.square());
            return [s, s];
          },
          { init: tensor(0) as Tensor, length: 3 },
        ),
      ),
    ]).toMatchInlineSnapshot(`
      [
        "scan: a state begins as float32[2] and the cell gives float32[]
        fix: return each state with the shape and dtype that it came with",
        "scan: 1 states begin and the cell gives 2
        fix: return each state with the shape and dtype that it came with",
        "scan: float32[4] does not have 3 slices
        fix: give sequences of the same length along their first axis",
        "scan: the length is undefined
        fix: give xs with a first axis, or a length",
        "scan: the cell minimizes a loss
        fix: return what the loss is made of, and minimize it after the loop",
      ]
    `);
  });
});
