/** What must compile and what must not. Checked by the type checker alone: nothing here runs. */

import type { Broadcast, Show } from "../../src/graph/shape-types.ts";
import {
  batchNorm,
  broadcast,
  crossEntropy,
  embed,
  linear,
  module,
  type Named,
  relu,
  type Shape,
  sequential,
  swiglu,
  type Tensor,
  tensor,
  zeros,
} from "../../src/index.ts";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
declare function type<Actual>(): { is<Expected>(..._: Equal<Actual, Expected> extends true ? [] : [never]): void };

const a = zeros([2, 3]);
declare const anyRows: Tensor<[number, 3], "float32">;
declare const anyColumns: Tensor<[2, number], "float32">;
declare const unknownSizes: Tensor<[number, number], "float32">;
declare const untyped: Tensor;

function feedForward<const D extends number, const H extends number>(width: D, hidden: H) {
  const [up, down] = [linear(width, hidden), linear(hidden, width)];
  return module("FeedForward", { up, down }, <L extends Shape>(x: Tensor<[...L, D], "float32">) => down(up(x).relu()));
}

export function literalsFlowThrough(): void {
  type<typeof a>().is<Tensor<[2, 3], "float32">>();
  const product = a.matmul(zeros([3, 5]));
  type<typeof product>().is<Tensor<[2, 5], "float32">>();
  const scores = zeros([2, 8, 16, 64]).matmul(zeros([2, 8, 64, 16]));
  type<typeof scores>().is<Tensor<[2, 8, 16, 16], "float32">>();
  const swapped = zeros([4, 2, 3]).mT();
  type<typeof swapped>().is<Tensor<[4, 3, 2], "float32">>();
  const y = feedForward(512, 2048)(zeros([4, 10, 512]));
  type<typeof y>().is<Tensor<[4, 10, 512], "float32">>();
  const tokens = embed(zeros([30522, 768]), zeros([4, 10], "int32"));
  type<typeof tokens>().is<Tensor<[4, 10, 768], "float32">>();
  const last = zeros([4, 10, 7]).sum(-1);
  type<typeof last>().is<Tensor<[4, 10], "float32">>();
  const kept = zeros([4, 10, 7]).max(-1, { keepAxes: true });
  type<typeof kept>().is<Tensor<[4, 10, 1], "float32">>();
  const all = zeros([4, 10]).mean();
  type<typeof all>().is<Tensor<[], "float32">>();
  const flat = zeros([4, 10]).reshape([8, -1]);
  type<typeof flat>().is<Tensor<[8, number], "float32">>();
  const guesses = zeros([4, 10]).argmax();
  type<typeof guesses>().is<Tensor<[4], "int32">>();
  const right = zeros([4], "int32").equal(guesses);
  type<typeof right>().is<Tensor<[4], "bool">>();
  const literal = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  type<typeof literal>().is<Tensor<[2, 3], "float32">>();
  const flags = tensor([true, false]);
  type<typeof flags>().is<Tensor<[2], "bool">>();
  const logits = sequential(linear(784, 256), relu, linear(256, 10))(zeros([32, 784]));
  type<typeof logits>().is<Tensor<[32, 10], "float32">>();
  const normalised = sequential(linear(784, 256), batchNorm(256), relu, linear(256, 10))(zeros([32, 784]));
  type<typeof normalised>().is<Tensor<[32, 10], "float32">>();
  const gated = sequential(linear(784, 256), swiglu, linear(128, 10))(zeros([32, 784]));
  type<typeof gated>().is<Tensor<[...Shape, 10], "float32">>();
  const nested = zeros([2, 3]).array();
  type<typeof nested>().is<Promise<number[][]>>();
}

export function numberMeansNotKnownYet(): unknown[] {
  const fromUnknown: Tensor<[2, 3]> = unknownSizes;
  const toUnknown: Tensor<[number, number]> = a;
  const axisByAxis: Tensor<[2, number]> = anyRows; //  [number, 3] and [2, number] could be equal
  const andBack: Tensor<[number, 3]> = anyColumns;
  const anyTensor: Tensor = a;
  const y = linear(3, 7)(unknownSizes);
  type<typeof y>().is<Tensor<[number, 7], "float32">>();
  const sized = linear(3 as number, 7)(a);
  type<typeof sized>().is<Tensor<[2, 7], "float32">>();
  return [fromUnknown, toUnknown, axisByAxis, andBack, anyTensor];
}

export function untypedPassesEverywhere(): unknown[] {
  const typed: Tensor<[2, 3], "float32"> = untyped;
  const labels: Tensor<[4], "int32"> = untyped;
  const product = untyped
    .matmul(zeros([3, 5]))
    .add(untyped)
    .mT();
  const batch: number = untyped.shape[0] ?? 0;
  return [
    typed,
    labels,
    product,
    batch,
    linear(3, 4)(untyped),
    crossEntropy(untyped, untyped),
    zeros([2, 2]).add(untyped),
  ];
}

export function broadcasting(): void {
  type<Broadcast<[8, 1, 6, 1], [7, 1, 5]>>().is<[8, 7, 6, 5]>();
  type<Broadcast<[number, 3], [4, 1]>>().is<[4, 3]>();
  type<Broadcast<[2, 3], [4]>>().is<never>();
  a.add(zeros([3]))
    .sub(zeros([2, 1]))
    .mul(zeros([]))
    .div(unknownSizes)
    .add(1);
  const [left, right] = broadcast(zeros([4, 1]), zeros([3]));
  type<typeof left>().is<Tensor<[4, 3], "float32">>();
  type<typeof right>().is<Tensor<[4, 3], "float32">>();
}

export function names(hidden: Tensor<[Named<"batch">, Named<"time">, 512]>): void {
  const encode = (x: Tensor<[Named<"batch">, Named<"time">, 512]>): Tensor => x.relu();
  encode(hidden);
  type<Show<[Named<"batch">, number, 512]>>().is<"[batch, ?, 512]">();
}

export function rejected(timeFirst: Tensor<[Named<"time">, Named<"batch">, 512]>): unknown {
  // @ts-expect-error inner axes
  a.matmul(zeros([4, 5]));
  // @ts-expect-error leading axes
  zeros([2, 8, 16, 64]).matmul(zeros([3, 8, 64, 16]));
  // @ts-expect-error does not broadcast
  a.add(zeros([2]));
  // @ts-expect-error would widen the left side: spell it broadcast(a, b)
  a.add(zeros([5, 2, 3]));
  // @ts-expect-error two dtypes
  a.add(zeros([2, 3], "int32"));
  // @ts-expect-error wrong feature size
  linear(3, 4)(zeros([4, 7, 5]));
  // @ts-expect-error through a module of one's own
  feedForward(512, 2048)(zeros([4, 768]));
  // @ts-expect-error labels are integers
  crossEntropy(zeros([4, 10]), zeros([4]));
  // @ts-expect-error labels are integers, and numbers without a dtype are not
  crossEntropy(zeros([2, 10]), tensor([0, 1]));
  // @ts-expect-error 10 rows, 11 labels
  crossEntropy(zeros([10, 1000]), zeros([11], "int32"));
  // @ts-expect-error a layer takes 128, and the one before it gives 256
  sequential(linear(784, 256), relu, linear(128, 10));
  // @ts-expect-error batch and time exchanged
  names(timeFirst);
  // @ts-expect-error another rank
  const matrix: Tensor<[2, 3]> = zeros([2, 3, 4]);
  return matrix;
}
