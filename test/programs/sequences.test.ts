/** Recurrent and attentive networks written with `scan` and matrix products: each program whole, small, without a cast. */
import { beforeEach, expect, test } from "vitest";
import {
  adam,
  adamW,
  arange,
  compile,
  crossEntropy,
  embedding,
  gelu,
  init,
  layerNorm,
  linear,
  module,
  parameter,
  type Shape,
  scan,
  seed,
  type Tensor,
  tensor,
  where,
  zeros,
} from "../../src/node.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;
type Ids<S extends Shape> = Tensor<S, "int32">;

beforeEach(() => seed(3));

interface LstmState {
  readonly h: Floats<[number, number]>;
  readonly c: Floats<[number, number]>;
}

function lstm(inputs: number, hidden: number) {
  const [ofInput, ofState] = [linear(inputs, 4 * hidden), linear(hidden, 4 * hidden, { bias: false })];
  return module("Lstm", { ofInput, ofState }, (x: Floats<[number, number, number]>, init: LstmState) => {
    const xs = ofInput(x).transpose(1, 0, 2);
    return scan(
      ({ h, c }: LstmState, x: Floats<[number, number]>) => {
        const [i, f, g, o] = x.add(ofState(h)).split([hidden, hidden, hidden, hidden]);
        const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
        const h2 = o.sigmoid().mul(next.tanh());
        return [{ h: h2, c: next }, h2];
      },
      { init, xs },
    );
  });
}

const start = (batch: number, hidden: number): LstmState => ({ h: zeros([batch, hidden]), c: zeros([batch, hidden]) });

test("an LSTM by scan adds up marked numbers", async () => {
  const [cell, head] = [lstm(2, 16), linear(16, 1)];
  const model = module("Adder", { cell, head }, (x: Floats<[number, number, number]>) =>
    head(cell(x, start(x.sizes()[0], 16)).state.h),
  );
  const optimizer = adam(model, { learningRate: 0.02 });
  const step = compile((x: Floats<[16, 6, 2]>, y: Floats<[16, 1]>) => {
    const loss = model(x).sub(y).square().mean();
    optimizer.minimize(loss, { clipNorm: 1 });
    return loss;
  });
  const rows = Array.from({ length: 16 }, (_, n) =>
    Array.from({ length: 6 }, (_, t) => [((n * 7 + t * 3) % 10) / 10, Number(t === n % 3 || t === 3 + (n % 3))]),
  );
  const y = tensor(rows.map((row) => [row.reduce((sum, [x, mark]) => sum + x! * mark!, 0)]));
  let loss = step(tensor(rows), y);
  for (let i = 0; i < 300; i++) loss = step(tensor(rows), y);
  expect(await loss.item()).toBeLessThan(0.02);
});

test("a language model carries its state from chunk to chunk, in a record", async () => {
  const text = [..."the cat sat on the mat. "].map((c) => c.charCodeAt(0) % 32);
  const [table, cell, head] = [embedding(32, 8), lstm(8, 32), linear(32, 32)];
  const model = module("Characters", { table, cell, head }, (ids: Ids<[1, 8]>, state: LstmState) => {
    const { state: last, outputs } = cell(table(ids), state);
    return { logits: head(outputs), state: last };
  });
  const optimizer = adam(model, { learningRate: 0.02 });
  const step = compile((ids: Ids<[1, 8]>, targets: Ids<[8, 1]>, state: LstmState) => {
    const { logits, state: next } = model(ids, state);
    const loss = crossEntropy(logits, targets);
    optimizer.minimize(loss, { clipNorm: 1 });
    return { loss, state: { h: next.h.detach(), c: next.c.detach() } };
  });
  let state = start(1, 32);
  let losses: Floats<[]>[] = [];
  for (let i = 0; i < 240; i++) {
    const at = (8 * i) % 24;
    const ids = Array.from({ length: 9 }, (_, k) => text[(at + k) % 24]!);
    const result = step(
      tensor([ids.slice(0, 8)], "int32"),
      tensor(
        ids.slice(1).map((id) => [id]),
        "int32",
      ),
      state,
    );
    state = result.state;
    losses = [...losses.slice(-8), result.loss];
  }
  expect(await losses.at(-1)!.item()).toBeLessThan(0.2);
});

test("sequence to sequence with masks and attention: words are reversed", async () => {
  const [table, encoder, decoder, head] = [embedding(8, 8), lstm(8, 24), lstm(8, 24), linear(48, 8)];
  const model = module("Seq2seq", { table, encoder, decoder, head }, (source: Ids<[8, 4]>, target: Ids<[8, 4]>) => {
    const encoded = encoder(table(source), start(8, 24));
    const decoded = decoder(table(target), encoded.state);
    const [keys, queries] = [encoded.outputs.transpose(1, 0, 2), decoded.outputs.transpose(1, 0, 2)];
    const isPadding = source.equal(0).unsqueeze(1);
    const scores = queries.matmul(keys.mT()).maskedFill(isPadding, -1e9);
    const context = scores.softmax().matmul(keys);
    return head(
      where(isPadding.all(), queries.mul(0), context)
        .pad([
          [0, 0],
          [0, 0],
          [0, 24],
        ])
        .add(
          queries.pad([
            [0, 0],
            [0, 0],
            [24, 0],
          ]),
        ),
    );
  });
  const optimizer = adam(model, { learningRate: 0.01 });
  const step = compile((source: Ids<[8, 4]>, before: Ids<[8, 4]>, after: Ids<[8, 4]>) => {
    const logits = model(source, before);
    const counts = after.notEqual(0).cast("float32");
    const each = crossEntropy(logits, after, { reduction: "none" });
    const loss = each.mul(counts).sum().div(counts.sum());
    optimizer.minimize(loss, { clipNorm: 1 });
    return { loss, right: logits.argmax().equal(after).or(after.equal(0)).all(-1).cast("float32").mean() };
  });
  const words = [
    [2, 3, 4],
    [3, 5],
    [4, 6, 2],
    [7, 2],
    [5, 4, 3],
    [6, 7],
    [2, 2, 7],
    [3, 6, 5],
  ];
  const padded = (ids: number[]): number[] => [...ids, 0, 0, 0, 0].slice(0, 4);
  const source = tensor(words.map(padded), "int32");
  const before = tensor(
    words.map((word) => padded([1, ...[...word].reverse()])),
    "int32",
  );
  const after = tensor(
    words.map((word) => padded([...[...word].reverse(), 1])),
    "int32",
  );
  for (let i = 0; i < 200; i++) step(source, before, after);
  expect(await step(source, before, after).right.item()).toBe(1);
});

/** Attention over [batch, time, width] with a mask that broadcasts to [batch, heads, time, time], false where nobody may look. */
function attention(width: number, heads: number) {
  const [query, key, value, out] = [
    linear(width, width),
    linear(width, width),
    linear(width, width),
    linear(width, width),
  ];
  const children = { query, key, value, out };
  return module("Attention", children, (x: Floats<[number, number, number]>, mask: Tensor<Shape, "bool">) => {
    const [batch, time] = x.sizes();
    const split = (y: Floats<[number, number, number]>): Floats<[number, number, number, number]> =>
      y.reshape([batch, time, heads, width / heads]).transpose(0, 2, 1, 3);
    const scores = split(query(x))
      .matmul(split(key(x)).mT())
      .div(Math.sqrt(width / heads));
    const weights = scores.maskedFill(mask.not(), Number.NEGATIVE_INFINITY).softmax();
    const mixed = weights.matmul(split(value(x))).transpose(0, 2, 1, 3);
    return out(mixed.reshape([batch, time, width]));
  });
}

function block(width: number, heads: number) {
  const [norm1, attend, norm2, up, down] = [
    layerNorm(width),
    attention(width, heads),
    layerNorm(width),
    linear(width, 4 * width),
    linear(4 * width, width),
  ];
  const children = { norm1, attend, norm2, up, down };
  return module("Block", children, (x: Floats<[number, number, number]>, mask: Tensor<Shape, "bool">) => {
    const h = x.add(attend(norm1(x), mask));
    return h.add(down(gelu(up(norm2(h)))));
  });
}

test("a transformer predicts the next token, with a causal mask", async () => {
  const [tokens, places, blocks, norm] = [
    embedding(12, 32),
    embedding(16, 32),
    [block(32, 4), block(32, 4)],
    layerNorm(32),
  ];
  const model = module("Gpt", { tokens, places, blocks, norm }, (ids: Ids<[number, number]>) => {
    const [, time] = ids.sizes();
    const steps = arange(time);
    const mask = steps.reshape([time, 1]).greaterEqual(steps);
    let h: Floats<[number, number, number]> = tokens(ids).add(places(steps));
    for (const layer of blocks) h = layer(h, mask);
    return norm(h).matmul(tokens.weight.mT());
  });
  const optimizer = adamW(model, { learningRate: 0.005 });
  const step = compile((ids: Ids<[4, 12]>, targets: Ids<[4, 12]>) => {
    const loss = crossEntropy(model(ids), targets);
    optimizer.minimize(loss, { clipNorm: 1 });
    return loss;
  });
  const rows = Array.from({ length: 4 }, (_, n) => Array.from({ length: 13 }, (_, t) => (n + t * (n + 1)) % 12));
  const [ids, targets] = [
    tensor(
      rows.map((row) => row.slice(0, 12)),
      "int32",
    ),
    tensor(
      rows.map((row) => row.slice(1)),
      "int32",
    ),
  ];
  for (let i = 0; i < 80; i++) step(ids, targets);
  expect(await step(ids, targets).item()).toBeLessThan(0.3);
  // The past does not see the future.
  const [a, b] = [tensor([[1, 2, 3, 4]], "int32"), tensor([[1, 2, 3, 9]], "int32")];
  const differences = model(a).sub(model(b)).abs().max(-1);
  const [values] = await differences.array();
  expect(values!.slice(0, 3).every((value) => value < 1e-5)).toBe(true);
  expect(values![3]).toBeGreaterThan(1e-3);
});

test("a BERT step: masked tokens, a padding mask, weights tied to the embedding", async () => {
  const [tokens, places, segments] = [embedding(20, 32), embedding(8, 32), embedding(2, 32)];
  const [layer, norm, bias] = [block(32, 2), layerNorm(32), parameter([20], init.zeros)];
  const children = { tokens, places, segments, layer, norm, bias };
  const model = module("Bert", children, (ids: Ids<[4, 8]>, kinds: Ids<[4, 8]>, isToken: Tensor<[4, 8], "bool">) => {
    const h = tokens(ids)
      .add(places(arange(8)))
      .add(segments(kinds));
    return norm(layer(h, isToken.reshape([4, 1, 1, 8])))
      .matmul(tokens.weight.mT())
      .add(bias);
  });
  const optimizer = adamW(model, { learningRate: 0.01 });
  const step = compile(
    (batch: {
      readonly ids: Ids<[4, 8]>;
      readonly kinds: Ids<[4, 8]>;
      readonly isToken: Tensor<[4, 8], "bool">;
      readonly labels: Ids<[4, 8]>;
    }) => {
      const loss = crossEntropy(model(batch.ids, batch.kinds, batch.isToken), batch.labels, { ignore: -100 });
      optimizer.minimize(loss);
      return loss;
    },
  );
  const sentences = Array.from({ length: 4 }, (_, n) =>
    Array.from({ length: 8 }, (_, t) => (t < 6 + (n % 2) ? 2 + ((n + t) % 18) : 0)),
  );
  const hidden = (n: number, t: number): boolean => t === n % 6;
  const batch = {
    ids: tensor(
      sentences.map((row, n) => row.map((id, t) => (hidden(n, t) ? 1 : id))),
      "int32",
    ),
    kinds: tensor(
      sentences.map((row) => row.map((_, t) => Number(t >= 4))),
      "int32",
    ),
    isToken: tensor(sentences.map((row) => row.map((id) => id !== 0))),
    labels: tensor(
      sentences.map((row, n) => row.map((id, t) => (hidden(n, t) ? id : -100))),
      "int32",
    ),
  };
  for (let i = 0; i < 60; i++) step(batch);
  expect(await step(batch).item()).toBeLessThan(0.1);
  expect([...model.namedStates().keys()]).toContain("layer.attend.query.weight");
});
