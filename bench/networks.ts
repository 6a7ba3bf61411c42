/** Networks whose beginnings are measured: until their first step, in drawn values and in memory. `peers/torch_start.py` has the same. */
import {
  adam,
  adamW,
  batchNorm,
  compile,
  conv2d,
  crossEntropy,
  embedding,
  fromValues,
  gpt2LMHeadModel,
  layerNorm,
  linear,
  module,
  type Tensor,
} from "glissade";
import { below, normal } from "./ours.ts";

type Images = Tensor<[number, number, number, number], "float32">;
type Sequences = Tensor<[number, number, number], "float32">;

export interface Network {
  /** A training step, which resolves to the loss. */
  readonly step: () => Promise<number>;
}

/** ResNet-20 for CIFAR-10 (He et al. 2015, section 4.2), where a block that makes images smaller has a projection; Adam, batch 16. */
export function resnet20(): Network {
  const block = (from: number, to: number) => {
    const stride = from === to ? 1 : 2;
    const [conv1, norm1] = [conv2d(from, to, 3, { stride, padding: 1, bias: false }), batchNorm(to)];
    const [conv2, norm2] = [conv2d(to, to, 3, { padding: 1, bias: false }), batchNorm(to)];
    const short = stride === 1 ? {} : { project: conv2d(from, to, 1, { stride, bias: false }), norm: batchNorm(to) };
    return module("Block", { conv1, norm1, conv2, norm2, ...short }, (x: Images): Images => {
      const h = norm2(conv2(norm1(conv1(x) as Images).relu()) as Images) as Images;
      const y = short.project ? (short.norm(short.project(x) as Images) as Images) : x;
      return h.add(y).relu() as Images;
    });
  };
  const sizes = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64];
  const [first, norm] = [conv2d(3, 16, 3, { padding: 1, bias: false }), batchNorm(16)];
  const blocks = sizes.slice(1).map((to, i) => block(sizes[i]!, to));
  const head = linear(64, 10);
  const model = module("ResNet", { first, norm, blocks, head }, (x: Images) => {
    let h = (norm(first(x) as Images) as Images).relu() as Images;
    for (const each of blocks) h = each(h);
    return head(h.mean([2, 3]) as Tensor<[number, 64], "float32">);
  });
  const optimizer = adam(model);
  const step = compile((x: Images, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const [x, y] = [fromValues(normal(16 * 3072), [16, 3, 32, 32]), fromValues(below(10, 16), [16])];
  return { step: () => step(x, y).item() };
}

/** One layer of a Transformer: attention, then feed-forward, each normalised before (pre-norm) and added to what came in. */
function layer(width: number, heads: number, hidden: number) {
  const [norm1, norm2] = [layerNorm(width), layerNorm(width)];
  const [query, key, value, out] = [0, 1, 2, 3].map(() => linear(width, width)) as [Dense, Dense, Dense, Dense];
  const [up, down] = [linear(width, hidden), linear(hidden, width)];
  return module(
    "Layer",
    { norm1, norm2, query, key, value, out, up, down },
    (h: Sequences, mask?: Tensor<[number, number], "float32">): Sequences => {
      const [batch, time] = h.sizes();
      const split = (x: Sequences) => x.reshape([batch, time, heads, width / heads]).transpose(0, 2, 1, 3);
      const x = norm1(h);
      const scores = split(query(x))
        .matmul(split(key(x)).mT())
        .mul(1 / Math.sqrt(width / heads));
      const weights = (mask ? scores.add(mask) : scores).softmax();
      const attended = weights
        .matmul(split(value(x)))
        .transpose(0, 2, 1, 3)
        .reshape([batch, time, width]);
      const h1 = h.add(out(attended));
      return h1.add(down(up(norm2(h1)).gelu()));
    },
  );
}
type Dense = ReturnType<typeof linear<number, number>>;

/** A Transformer's encoder: so many layers, 128 wide, 4 heads, feed-forward 512, batch 8 × 32, vocabulary 1,000; Adam. */
export function encoder(layers: number): Network {
  const [batch, time, width, words] = [8, 32, 128, 1000];
  const tokens = embedding(words, width);
  const blocks = Array.from({ length: layers }, () => layer(width, 4, 512));
  const [norm, head] = [layerNorm(width), linear(width, words)];
  const model = module("Encoder", { tokens, blocks, norm, head }, (x: Tensor<[number, number], "int32">) => {
    let h: Sequences = tokens(x);
    for (const each of blocks) h = each(h);
    return head(norm(h));
  });
  const optimizer = adam(model);
  const step = compile((x: Tensor<[number, number], "int32">, y: Tensor<[number, number], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const [x, y] = [0, 1].map(() => fromValues(below(words, batch * time), [batch, time])) as [Ids, Ids];
  return { step: () => step(x, y).item() };
}
type Ids = Tensor<[number, number], "int32">;

/** GPT-2 small (Radford et al. 2019) without dropout and with the exact GELU, as the other side has them; AdamW, one text of 256 tokens. */
export function gpt2(): Network {
  const time = 256;
  const model = gpt2LMHeadModel({ embdPdrop: 0, residPdrop: 0, attnPdrop: 0, activationFunction: "gelu" });
  const optimizer = adamW(model);
  const step = compile((x: Ids, y: Ids) => {
    const loss = crossEntropy(model(x).logits, y);
    optimizer.minimize(loss);
    return loss;
  });
  const [x, y] = [0, 1].map(() => fromValues(below(model.config.vocabSize, time), [1, time])) as [Ids, Ids];
  return { step: () => step(x, y).item() };
}
