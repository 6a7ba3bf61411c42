/** What users write, in one file: the type checker's work on it has a budget. */
import {
  adam,
  batchNorm,
  compile,
  concat,
  conv2d,
  crossEntropy,
  einsum,
  embedding,
  functional,
  gradients,
  init,
  layerNorm,
  linear,
  type Module,
  meanSquaredError,
  module,
  parameter,
  relu,
  type Shape,
  scan,
  seed,
  sequential,
  stack,
  type Tensor,
  tensor,
  where,
  zeros,
} from "../../../src/index.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;
type Ids<S extends Shape> = Tensor<S, "int32">;

/** A perceptron, trained. */
export async function perceptron(): Promise<number> {
  seed(1);
  const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Floats<[number, 784]>, y: Ids<[number]>) => {
    const loss = crossEntropy(model(x), y, { labelSmoothing: 0.1 });
    optimizer.minimize(loss);
    return { loss, accuracy: model(x).argmax().equal(y).cast("float32").mean() };
  });
  const { loss, accuracy } = step(zeros([32, 784]), zeros([32], "int32"));
  return (await loss.item()) + (await accuracy.item());
}

/** Convolutions with batch normalisation and a linear head. */
export function convolutional(x: Floats<[number, 1, 28, 28]>): Floats<[number, 10]> {
  const [first, norm, second] = [conv2d(1, 16, 5, { padding: 2 }), batchNorm(16), conv2d(16, 32, 5, { padding: 2 })];
  const head = linear(1568, 10);
  const pooled = functional.maxPool(norm(first(x)).relu(), { kernel: 2 });
  return head(functional.maxPool(second(pooled).relu(), { kernel: 2 }).reshape([-1, 1568]));
}

interface Block<D extends number> extends Module {
  (h: Floats<[number, number, D]>, mask: Floats<[number, number]>): Floats<[number, number, D]>;
}

/** Pre-norm attention and feed-forward. */
function block<const D extends number>(width: D, heads: number, hidden: number): Block<D> {
  const [norm1, norm2] = [layerNorm(width), layerNorm(width)];
  const [query, key, value, out] = [
    linear(width, width),
    linear(width, width),
    linear(width, width),
    linear(width, width),
  ];
  const [up, down] = [linear(width, hidden), linear(hidden, width)];
  const split = (x: Floats<[number, number, D]>): Floats<[number, number, number, number]> => {
    const [batch, time] = x.sizes();
    return x.reshape([batch, time, heads, width / heads]).transpose(0, 2, 1, 3);
  };
  return module(
    "Block",
    { norm1, norm2, query, key, value, out, up, down },
    (h: Floats<[number, number, D]>, mask: Floats<[number, number]>) => {
      const [batch, time] = h.sizes();
      const x = norm1(h);
      const [q, k, v] = [split(query(x)), split(key(x)), split(value(x))];
      const weights = q
        .matmul(k.mT())
        .mul(1 / Math.sqrt(width / heads))
        .add(mask)
        .softmax();
      const h1 = h.add(out(weights.matmul(v).transpose(0, 2, 1, 3).reshape([batch, time, width])));
      return h1.add(down(up(norm2(h1)).gelu()));
    },
  );
}

/** A small language model, and its step. */
export function transformer(): (x: Ids<[16, 128]>, y: Ids<[16, 128]>) => Floats<[]> {
  const [tokens, positions] = [embedding(1000, 256), parameter([128, 256], init.normal(0.02))];
  const blocks = Array.from({ length: 4 }, () => block(256, 4, 1024));
  const [norm, head] = [layerNorm(256), linear(256, 1000)];
  const model = module("Transformer", { tokens, positions, blocks, norm, head }, (x: Ids<[16, 128]>) => {
    const mask = where(zeros([128, 128]).tril().equal(0), zeros([128, 128]), -1e9);
    let h: Floats<[number, number, 256]> = tokens(x).add(positions);
    for (const each of blocks) h = each(h, mask);
    return head(norm(h));
  });
  const optimizer = adam(model);
  return compile((x: Ids<[16, 128]>, y: Ids<[16, 128]>) => {
    const loss = crossEntropy(model(x) as Floats<[16, 128, 1000]>, y);
    optimizer.minimize(loss);
    return loss;
  });
}

/** A recurrent network as a loop. */
export function recurrent(xs: Floats<[number, 32, 64]>): Floats<[32, 128]> {
  const [inputs, states] = [linear(64, 512), linear(128, 512)];
  const start = { h: zeros([32, 128]), c: zeros([32, 128]) };
  const { state } = scan(
    ({ h, c }: typeof start, x) => {
      const [i, f, g, o] = inputs(x).add(states(h)).split([128, 128, 128, 128]);
      const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
      return [{ h: o.sigmoid().mul(next.tanh()), c: next }, h];
    },
    { init: start, xs },
  );
  return state.h;
}

/** Arithmetic on shapes known and unknown. */
export function algebra(a: Floats<[8, 3, 4]>, b: Floats<[8, 4, 5]>, rows: Floats<[number, 4]>, any: Tensor): unknown[] {
  const product = a
    .matmul(b)
    .add(zeros([5]))
    .mul(2)
    .sub(zeros([3, 1]))
    .div(zeros([]).add(1));
  const scores = einsum("bik,bkj->bij", a, b).softmax().sum(-1).mean(0);
  const joined = concat([rows, rows.tanh(), zeros([2, 4])]).take(tensor([0, 1], "int32"));
  const piled = stack([a, a.relu(), a.exp()], 0).transpose(1, 0, 2, 3).reshape([8, -1, 4]);
  const [best, places] = a.topK(2);
  const slope = gradients(meanSquaredError(a, a.mul(0.5)), [a, b]);
  return [product, scores, joined, piled, best, places, slope, any.matmul(b).add(any).sum(0), a.slice(null, [0, 2])];
}
