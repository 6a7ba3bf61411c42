/** Our side of the comparison: the workloads of `peers/torch_steps.py`, through the public API. */
import {
  adam,
  batchNorm,
  compile,
  conv2d,
  crossEntropy,
  embedding,
  fromValues,
  functional,
  init,
  layerNorm,
  linear,
  lstm as lstmLayer,
  type Module,
  module,
  parameter,
  relu,
  type Shape,
  sequential,
  type Tensor,
} from "glissade";
import type { Workload } from "./server.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;
type Ids<S extends Shape> = Tensor<S, "int32">;

/** Same sizes, losses and optimizer as the peers' workload of the same name. */
export const workloads: Readonly<Record<string, Workload>> = { mlp, mlp_bn, conv, lstm, seq2seq, transformer };

async function mlp(): Promise<() => Promise<number>> {
  const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Floats<[128, 784]>, y: Ids<[128]>) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(normal(128 * 784), [128, 784]);
  const y = fromValues(below(10, 128), [128]);
  return () => step(x, y).item();
}

async function mlp_bn(): Promise<() => Promise<number>> {
  const hidden = 512;
  const model = sequential(
    linear(784, hidden),
    batchNorm(hidden),
    relu,
    linear(hidden, hidden),
    batchNorm(hidden),
    relu,
    linear(hidden, 10),
  );
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Floats<[256, 784]>, y: Ids<[256]>) => {
    const loss = crossEntropy(model(x) as Floats<[256, 10]>, y);
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(normal(256 * 784), [256, 784]);
  const y = fromValues(below(10, 256), [256]);
  return () => step(x, y).item();
}

async function conv(): Promise<() => Promise<number>> {
  const [first, second, head] = [conv2d(1, 16, 5, { padding: 2 }), conv2d(16, 32, 5, { padding: 2 }), linear(1568, 10)];
  const model = module("Conv", { first, second, head }, (x: Floats<[number, 1, number, number]>) => {
    const h = functional.maxPool(first(x).relu(), { kernel: 2 });
    const g = functional.maxPool(second(h).relu(), { kernel: 2 });
    return head(g.reshape([64, 1568]));
  });
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Floats<[64, 1, 28, 28]>, y: Ids<[64]>) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(normal(64 * 784), [64, 1, 28, 28]);
  const y = fromValues(below(10, 64), [64]);
  return () => step(x, y).item();
}

async function lstm(): Promise<() => Promise<number>> {
  const [steps, batch, width, classes] = [64, 32, 256, 1000] as const;
  const [body, head] = [lstmLayer(width, width, { layers: 2, batchFirst: false }), linear(width, classes)];
  const model = module("Lstm", { body, head }, (x: Floats<[64, 32, 256]>) => head(body(x).outputs));
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Floats<[64, 32, 256]>, y: Ids<[64, 32]>) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(normal(steps * batch * width), [steps, batch, width]);
  const y = fromValues(below(classes, steps * batch), [steps, batch]);
  return () => step(x, y).item();
}

async function seq2seq(): Promise<() => Promise<number>> {
  const [steps, batch, width, hidden, words] = [16, 64, 128, 256, 64] as const;
  const [source, target] = [embedding(words, width), embedding(words, width)];
  const [encoder, decoder] = [
    lstmLayer(width, hidden, { batchFirst: false }),
    lstmLayer(width, hidden, { batchFirst: false }),
  ];
  const head = linear(hidden, words);
  const children = { source, target, encoder, decoder, head };
  const model = module("Seq2seq", children, (from: Ids<[16, 64]>, to: Ids<[16, 64]>) => {
    const { state } = encoder(source(from));
    return head(decoder(target(to), { state }).outputs);
  });
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((from: Ids<[16, 64]>, to: Ids<[16, 64]>, y: Ids<[16, 64]>) => {
    const loss = crossEntropy(model(from, to), y);
    optimizer.minimize(loss);
    return loss;
  });
  const ids = () => fromValues(below(words, steps * batch), [steps, batch]);
  const [from, to, y] = [ids(), ids(), ids()];
  return () => step(from, to, y).item();
}

interface Block<D extends number> extends Module {
  (h: Floats<[number, number, D]>, mask: Floats<[number, number]>): Floats<[number, number, D]>;
}

/** Pre-norm: attention, then feed-forward, each added to what came in. */
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
      const attended = weights.matmul(v).transpose(0, 2, 1, 3).reshape([batch, time, width]);
      const h1 = h.add(out(attended));
      return h1.add(down(up(norm2(h1)).gelu()));
    },
  );
}

/** What a step does with the loss of a model. */
export type Learner = (model: Module) => (loss: Tensor) => void;

const byAdam: Learner = (model) => {
  const optimizer = adam(model, { learningRate: 1e-3 });
  return (loss) => void optimizer.minimize(loss);
};

/** The transformer's step with Adam, or with what else is made of the loss. */
export async function transformer(learner: Learner = byAdam): Promise<() => Promise<number>> {
  const [batch, time, width, layers, words] = [16, 128, 256, 4, 1000] as const;
  const tokens = embedding(words, width);
  const positions = parameter([time, width], init.normal(0.02));
  const blocks = Array.from({ length: layers }, () => block(width, 4, 1024));
  const norm = layerNorm(width);
  const head = linear(width, words);
  const model = module(
    "Transformer",
    { tokens, positions, blocks, norm, head },
    (x: Ids<[16, 128]>, mask: Floats<[128, 128]>) => {
      let h: Floats<[number, number, 256]> = tokens(x).add(positions);
      for (const each of blocks) h = each(h, mask);
      return head(norm(h));
    },
  );
  const learn = learner(model);
  const step = compile((x: Ids<[16, 128]>, y: Ids<[number, number]>, mask: Floats<[128, 128]>) => {
    const loss = crossEntropy(model(x, mask), y);
    learn(loss as Tensor);
    return loss;
  });
  const x = fromValues(below(words, batch * time), [batch, time]);
  const y = fromValues(below(words, batch * time), [batch, time]);
  // Nobody looks ahead.
  const mask = Float32Array.from({ length: time * time }, (_, i) => (i % time > Math.floor(i / time) ? -1e9 : 0));
  const causal = fromValues(mask, [time, time]);
  return () => step(x, y, causal).item();
}

export function normal(count: number): Float32Array {
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()),
  );
}

export function below(limit: number, count: number): Int32Array {
  return Int32Array.from({ length: count }, () => Math.floor(Math.random() * limit));
}
