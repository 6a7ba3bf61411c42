/** Our side of the comparison: the workloads of `peers/torch_steps.py`, through the public API. */
import {
  adam,
  batchNorm,
  compile,
  conv2d,
  crossEntropy,
  defaultGenerator,
  embedding,
  fromValues,
  functional,
  init,
  learnedPositions,
  linear,
  lstm as lstmLayer,
  type Module,
  module,
  parameter,
  relu,
  type Shape,
  sequential,
  type Tensor,
  transformerEncoder,
  transformer as translator,
} from "glissade";
import type { Workload } from "./server.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;
type Ids<S extends Shape> = Tensor<S, "int32">;

/** Same sizes, losses and optimizer as the peers' workload of the same name. */
export const workloads: Readonly<Record<string, Workload>> = {
  mlp,
  mlp_bn,
  conv,
  lstm,
  seq2seq,

  transformer: () => transformer(),
  transformer_dropout: () => transformer_dropout(),
  bert_mini: () => bert_mini(),
  bert_mini_dropout: () => bert_mini_dropout(),
  translate: () => translate(),
  translate_dropout: () => translate(0.1),
};

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

/** What a step does with the loss of a model. */
export type Learner = (model: Module) => (loss: Tensor) => void;

const byAdam: Learner = (model) => {
  const optimizer = adam(model, { learningRate: 1e-3 });
  return (loss) => void optimizer.minimize(loss);
};

/** The transformer's step with Adam, or with what else is made of the loss. */
export async function transformer(learner: Learner = byAdam, dropout: number = 0): Promise<() => Promise<number>> {
  const [batch, time, width, words] = [16, 128, 256, 1000] as const;
  const tokens = embedding(words, width);
  const positions = learnedPositions(time, width);
  const body = transformerEncoder(width, 4, { layers: 4, normFirst: true, activation: "gelu", dropout });
  const head = linear(width, words);
  const model = module("Transformer", { tokens, positions, body, head }, (x: Ids<[16, 128]>) =>
    head(body(functional.dropout(positions(tokens(x)), dropout, defaultGenerator), { causal: true })),
  );
  const learn = learner(model);
  const step = compile((x: Ids<[16, 128]>, y: Ids<[16, 128]>) => {
    const loss = crossEntropy(model(x), y);
    learn(loss as Tensor);
    return loss;
  });
  const x = fromValues(below(words, batch * time), [batch, time]);
  const y = fromValues(below(words, batch * time), [batch, time]);
  return () => step(x, y).item();
}

const transformer_dropout: Workload = () => transformer(byAdam, 0.1);

/** A BERT of four layers: 15 % of the tokens are predicted by the embedding itself, and whether the pair belongs together. */
async function bert_mini(dropout: number = 0): Promise<() => Promise<number>> {
  const [batch, time, width, words] = [16, 128, 256, 8000] as const;
  const count = Math.floor(batch * time * 0.15);
  const tokens = embedding(words, width);
  const positions = learnedPositions(time, width);
  const body = transformerEncoder(width, 4, { layers: 4, normFirst: true, activation: "gelu", dropout });
  const [transform, pair] = [linear(width, width), linear(width, 2)];
  const bias = parameter([words], init.zeros);
  const children = { tokens, positions, body, transform, pair, bias };
  const model = module("Bert", children, (x: Ids<[16, 128]>, at: Ids<[number]>) => {
    const h = body(functional.dropout(positions(tokens(x)), dropout, defaultGenerator));
    const masked = transform(h.reshape([batch * time, width]).take(at)).gelu();
    const first = h.slice(null, [0, 1]).reshape([batch, width]);
    return { words: masked.matmul(tokens.weight.mT()).add(bias), pairs: pair(first) };
  });
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Ids<[16, 128]>, at: Ids<[number]>, y: Ids<[number]>, isNext: Ids<[16]>) => {
    const logits = model(x, at);
    const loss = crossEntropy(logits.words, y).add(crossEntropy(logits.pairs, isNext));
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(below(words, batch * time), [batch, time]);
  const at = fromValues(below(batch * time, count), [count]);
  const y = fromValues(below(words, count), [count]);
  const isNext = fromValues(below(2, batch), [batch]);
  return () => step(x, at, y, isNext).item();
}

const bert_mini_dropout: Workload = () => bert_mini(0.1);

/** The recipe `translate`: an encoder and a decoder of three layers, of which four places of each source are padding. */
async function translate(dropout: number = 0): Promise<() => Promise<number>> {
  const [batch, time, words] = [64, 32, 4000] as const;
  const model = translator({ vocabularySize: words, startToken: 1, width: 128, heads: 4, layers: 3, dropout });
  const optimizer = adam(model, { learningRate: 1e-3 });
  const step = compile((x: Ids<[64, 32]>, y: Ids<[64, 32]>) => {
    const loss = crossEntropy(model(x, y), y, { ignore: 0, labelSmoothing: 0.1 });
    optimizer.minimize(loss);
    return loss;
  });
  const ids = (filled: number): Int32Array =>
    below(words - 3, batch * time).map((id, i) => (i % time < filled ? id + 3 : 0));
  const x = fromValues(ids(28), [batch, time]);
  const y = fromValues(ids(time), [batch, time]);
  return () => step(x, y).item();
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
