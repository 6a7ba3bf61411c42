/**
 * Every kind of network over many sizes of its batch or of its sequences: at most three sessions, in which each size computes the bits of a
 * session of its own.
 */
import { afterEach, beforeAll, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  batchNorm,
  bertForSequenceClassification,
  compile,
  concat,
  conv2d,
  crossEntropy,
  dropout,
  embedding,
  flatten,
  fromValues,
  gpt2LMHeadModel,
  gradients,
  gru,
  layerNorm,
  linear,
  lstm,
  maxPool2d,
  module,
  plainEngine,
  relu,
  type Shape,
  scan,
  seed,
  sequential,
  sgd,
  type Tensor,
  transformerEncoder,
  useEngine,
} from "../../src/index.ts";
import { bothWays } from "../support/sizes.ts";

// biome-ignore lint/suspicious/noExplicitAny: networks of all kinds, whose types are tested elsewhere
type Any = any;

const floats = (...shape: number[]): Tensor<Shape, "float32"> =>
  fromValues(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * 0.37)),
    shape as Shape,
  );
const positive = (count: number): Tensor<Shape, "float32"> =>
  fromValues(
    Float32Array.from({ length: count }, (_, i) => 1 + (i % 3)),
    [count] as Shape,
  );
const integers = (below: number, ...shape: number[]): Tensor<Shape, "int32"> =>
  fromValues(
    Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => (i * 7) % below),
    shape as Shape,
  ) as Tensor<Shape, "int32">;

/** What is trained: the parts with parameters, the loss of a batch, and the batch of a size. */
interface Network {
  readonly parts: Any;
  readonly loss: (...batch: Any[]) => Any;
  readonly batch: (n: number) => readonly Any[];
  /** Default: Adam. */
  readonly optimizer?: Any;
  /**
   * Tiles of images depend on the size of batches, and there are other ones where one session runs all: then sums over a batch are added up
   * in another order. Default: the bits are the same.
   */
  readonly digits?: number;
  /** The most sessions. Default 3. */
  readonly sessions?: number;
}

/** The loss of rows of logits. */
const labelled = (logits: Any, y: Any): Any =>
  crossEntropy(logits.reshape([y.size, logits.shape.at(-1)]), y.reshape([y.size]));

const networks: Readonly<Record<string, () => Network>> = {
  "a perceptron": () => {
    const model = sequential(linear(100, 64), relu, linear(64, 32), relu, linear(32, 10));
    return { parts: model, loss: (x, y) => labelled(model(x), y), batch: (n) => [floats(n, 100), integers(10, n)] };
  },
  "regression with many outputs": () => {
    const model = sequential(linear(80, 64), (x) => x.tanh(), linear(64, 40));
    const loss = (x: Any, y: Any): Any => (model(x) as Any).sub(y).square().mean();
    return { parts: model, loss, batch: (n) => [floats(n, 80), floats(n, 40)], optimizer: sgd };
  },
  "dropout and batch normalisation": () => {
    const model = sequential(linear(40, 128), batchNorm(128), relu, dropout(0.2), linear(128, 10));
    return {
      parts: model,
      loss: (x, y) => labelled(model(x), y),
      batch: (n) => [floats(n + 1, 40), integers(10, n + 1)],
    };
  },
  "convolutions with pooling": () => {
    const model = sequential(conv2d(1, 8, 3), relu, maxPool2d(2), conv2d(8, 16, 3), relu, flatten, linear(16 * 9, 10));
    return {
      parts: model,
      loss: (x, y) => labelled((model as Any)(x), y),
      batch: (n) => [floats(n, 1, 12, 12), integers(10, n)],
      digits: 3,
      sessions: 4,
    };
  },
  "convolutions with batch normalisation": () => {
    const model = sequential(
      conv2d(3, 16, 3, { padding: 1 }),
      batchNorm(16),
      relu,
      conv2d(16, 16, 3),
      flatten,
      linear(256, 10),
    );
    return {
      parts: model,
      loss: (x, y) => labelled((model as Any)(x), y),
      batch: (n) => [floats(n, 3, 6, 6), integers(10, n)],
      digits: 3,
      sessions: 5, //  batches of one, two and three images are graphs of their own
    };
  },
  "embeddings that are averaged": () => {
    const [table, head] = [embedding(300, 32), linear(32, 10)];
    const loss = (x: Any, y: Any): Any => labelled(head((table(x) as Any).mean(1)), y);
    return { parts: { table, head } as Any, loss, batch: (n) => [integers(300, n, 7), integers(10, n)] };
  },
  factorisation: () => {
    const [users, items] = [embedding(500, 16), embedding(300, 16)];
    const loss = (a: Any, b: Any, y: Any): Any => (users(a) as Any).mul(items(b)).sum(1).sub(y).square().mean();
    return { parts: { users, items } as Any, loss, batch: (n) => [integers(500, n), integers(300, n), floats(n)] };
  },
  "weighted examples": () => {
    const model = sequential(linear(20, 30), relu, linear(30, 3));
    const loss = (x: Any, w: Any, y: Any): Any =>
      crossEntropy(model(x) as Any, y, { reduction: "none" })
        .mul(w)
        .sum()
        .div(w.sum());
    return {
      parts: model,
      loss,
      batch: (n) => [floats(n, 20), positive(n), integers(3, n)],
    };
  },
  "an LSTM over lengths": () => {
    const [body, head] = [lstm(16, 32, { batchFirst: false }), linear(32, 10)];
    const loss = (x: Any, y: Any): Any => labelled(head((body(x) as Any).outputs), y);
    return { parts: { body, head } as Any, loss, batch: (n) => [floats(n + 1, 8, 16), integers(10, n + 1, 8)] };
  },
  "a GRU over lengths": () => {
    const [body, head] = [gru(16, 32, { batchFirst: true }), linear(32, 10)];
    const loss = (x: Any, y: Any): Any => labelled(head((body(x) as Any).outputs), y);
    return { parts: { body, head } as Any, loss, batch: (n) => [floats(8, n + 1, 16), integers(10, 8, n + 1)] };
  },
  "a loop over lengths": () => {
    const [gates, head] = [linear(24, 64), linear(16, 5)];
    const cell = ({ h, c }: Any, x: Any): Any => {
      const [i, f, g, o] = (gates(concat([x, h], 1) as Any) as Any).split([16, 16, 16, 16], 1);
      const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
      const shown = o.sigmoid().mul(next.tanh());
      return [{ h: shown, c: next }, shown];
    };
    const loss = (x: Any, y: Any): Any => {
      const init = { h: floats(8, 16).mul(0), c: floats(8, 16).mul(0) };
      return labelled(head((scan as Any)(cell, { init, xs: x }).outputs), y);
    };
    return { parts: { gates, head } as Any, loss, batch: (n) => [floats(n + 1, 8, 8), integers(5, n + 1, 8)] };
  },
  "an encoder over lengths": () => {
    const [body, head] = [transformerEncoder(32, 2, { layers: 1 }), linear(32, 10)];
    const loss = (x: Any, y: Any): Any => labelled(head(body(x) as Any), y);
    return { parts: { body, head } as Any, loss, batch: (n) => [floats(4, n + 1, 32), integers(10, 4, n + 1)] };
  },
  // Rules that are tried in vain make nodes here that others need later.
  "an encoder of functions over batches": () => {
    const [width, heads, time] = [32, 2, 16];
    const square = (): Any => linear(width, width);
    const blocks: Any[] = Array.from({ length: 2 }, () => ({
      ...{ norm: layerNorm(width), q: square(), k: square(), v: square(), out: square() },
      ...{ norm2: layerNorm(width), up: linear(width, 64), down: linear(64, width) },
    }));
    const head = linear(width, 10);
    const forward = (x: Any): Any => {
      const split = (y: Any): Any => y.reshape([x.shape[0], time, heads, width / heads]).transpose(0, 2, 1, 3);
      const last = blocks.reduce((h: Any, part: Any) => {
        const y = part.norm(h);
        const [q, k, v] = [part.q, part.k, part.v].map((of: Any) => split(of(y)));
        const mixed = q.matmul(k.mT()).mul(0.25).softmax().matmul(v).transpose(0, 2, 1, 3).reshape(h.shape);
        const next = h.add(part.out(mixed));
        return next.add(part.down(part.up(part.norm2(next)).gelu()));
      }, x);
      return head(last);
    };
    const loss = (x: Any, y: Any): Any => labelled(forward(x), y);
    return { parts: { blocks, head } as Any, loss, batch: (n) => [floats(n, time, width), integers(10, n * time)] };
  },
  "BERT over lengths": () => {
    const sizes = { hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, intermediateSize: 64 };
    const model = bertForSequenceClassification({ vocabSize: 200, maxPositionEmbeddings: 400, numLabels: 2, ...sizes });
    const loss = (x: Any, y: Any): Any => crossEntropy(model(x, { attentionMask: x.notEqual(0) }).logits, y);
    return { parts: model, loss, batch: (n) => [integers(200, 4, n + 1), integers(2, 4)] };
  },
  "GPT-2 over batches": () => {
    const sizes = { hiddenSize: 32, numHiddenLayers: 1, numAttentionHeads: 2, maxPositionEmbeddings: 64 };
    const model = gpt2LMHeadModel({ vocabSize: 200, ...sizes });
    return {
      parts: model,
      loss: (x, y) => crossEntropy(model(x).logits, y),
      batch: (n) => [integers(200, n, 12), integers(200, n, 12)],
    };
  },
  "running sums and long lines": () => {
    const model = linear(8, 16);
    const loss = (x: Any): Any => (model(x) as Any).tanh().cumsum(0).softmax(0).square().sum();
    return { parts: model, loss, batch: (n) => [floats(8 * n, 4, 8)] };
  },
};

let engine: Engine;
beforeAll(() => {
  engine = nodeEngine({ threads: 1 });
});
afterEach(() => useEngine(plainEngine()));

/** The first size may be a special one: a whole batch, one row, a power of two. */
const orders = [
  [64, 37, 12, 100, 1, 2, 99, 3, 150, 14, 48, 300],
  [1, 2, 3, 8, 100, 64, 7, 33, 129],
] as const;

test.each(Object.keys(networks))("%s", async (name) => {
  for (const sizes of orders) {
    const program = () => {
      const { parts, loss, batch, optimizer = adam } = networks[name]!();
      const model = typeof parts === "function" ? parts : module("Parts", parts, (x: unknown) => x);
      const updates = optimizer(model, { learningRate: 0.01 });
      const step = compile((...given: Any[]) => {
        const value = loss(...given);
        updates.minimize(value);
        return value;
      });
      return async (n: number) => [await (step(...batch(n)) as Any).item()];
    };
    const { digits, sessions = 3 } = networks[name]!();
    const { open, closed } = await bothWays(program, sizes, engine, { digits });
    expect(closed, `${sizes}`).toBe(sizes.length);
    expect(open, `${sizes}`).toBeLessThanOrEqual(sessions);
  }
});

/** The gradients of batches of these sizes, one after the other, without dropout; returns the last ones as text. */
async function lastGradients(sizes: readonly number[], name: string): Promise<string> {
  useEngine({ ...engine }); //  without the sessions of before
  seed(3);
  const { parts, loss, batch } = networks[name]!();
  const model: Any = typeof parts === "function" ? parts : module("Parts", parts, (x: unknown) => x);
  model.eval();
  const step = compile((...given: Any[]) => gradients(loss(...given), [...model.parameters()]));
  let last: readonly Any[] = [];
  for (const n of sizes) last = step(...batch(n)) as Any;
  return (await Promise.all(last.map((slope) => slope.data()))).join(" ");
}

test.each(Object.keys(networks))("the bits of one size are the same after another one: %s", async (name) => {
  for (const [first, second] of [
    [64, 36],
    [36, 64],
    [64, 2],
    [1, 100],
    [3, 37],
  ] as const) {
    const isSame = (await lastGradients([first, second], name)) === (await lastGradients([second], name));
    expect(isSame, `${second} after ${first}`).toBe(true);
  }
});
