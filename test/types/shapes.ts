/** What must compile and what must not. Checked by the type checker alone: nothing here runs. */

import type { Broadcast, Show } from "../../src/graph/shape-types.ts";
import {
  arange,
  batchNorm,
  binaryCrossEntropy,
  binaryCrossEntropyOfProbabilities,
  broadcast,
  compile,
  concat,
  cosineDistance,
  cosineSimilarity,
  crossEntropy,
  diagonalMatrix,
  einsum,
  embedding,
  eye,
  full,
  functional,
  groupNorm,
  gru,
  huber,
  klDivergence,
  type Lstm,
  type LstmState,
  linear,
  linspace,
  lstm,
  lstmCell,
  meanAbsoluteError,
  meanSquaredError,
  module,
  type Named,
  negativeLogLikelihood,
  outer,
  relu,
  rnn,
  type Shape,
  scan,
  sequential,
  smoothL1,
  softCrossEntropy,
  stack,
  swiglu,
  type Tensor,
  tensor,
  where,
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
  const tokens = functional.embedding(zeros([30522, 768]), zeros([4, 10], "int32"));
  type<typeof tokens>().is<Tensor<[4, 10, 768], "float32">>();
  const last = zeros([4, 10, 7]).sum(-1);
  type<typeof last>().is<Tensor<[4, 10], "float32">>();
  const kept = zeros([4, 10, 7]).max(-1, { keepDims: true });
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
  type<typeof gated>().is<Tensor<[...number[], 10], "float32">>();
  const nested = zeros([2, 3]).array();
  type<typeof nested>().is<Promise<number[][]>>();
}

export function shapeStays(): void {
  const elementwise = [
    ...[a.abs(), a.acos(), a.acosh(), a.asin(), a.asinh(), a.atan(), a.atanh(), a.ceil(), a.cos(), a.cosh(), a.erf()],
    ...[a.exp(), a.expm1(), a.floor(), a.gelu(), a.halfErf(), a.log(), a.log1p(), a.neg(), a.reciprocal(), a.relu()],
    ...[a.round(), a.sigmoid(), a.sign(), a.sin(), a.sinc(), a.sinh(), a.softplus(), a.sqrt(), a.step(), a.tan()],
    ...[a.tanh(), a.cast("float32"), a.detach()],
  ];
  type<typeof elementwise>().is<Tensor<[2, 3], "float32">[]>();
  const written = [
    ...[a.bitNot(), a.cbrt(), a.celu(), a.clip(0, 1), a.degrees(), a.elu(), a.erfc(), a.exp2(), a.fraction()],
    ...[a.geluTanh(), a.hardShrink(), a.hardSigmoid(), a.hardSwish(), a.hardTanh(), a.leakyRelu(), a.log10(), a.log2()],
    ...[a.logSigmoid(), a.logit(), a.mish(), a.nanToNum(), a.quickGelu(), a.radians(), a.relu6(), a.rsqrt(), a.selu()],
    ...[a.silu(), a.softShrink(), a.softmin(), a.softsign(), a.square(), a.tanhShrink(), a.threshold(0, 1), a.trunc()],
    ...[a.tril(), a.triu(), a.flip(0), a.roll(1, 0), a.cumsum(), a.cumprod(), a.cummax(), a.cummin(), a.logCumSumExp()],
    ...[a.softmax(), a.logSoftmax(0), a.sort()[0], a.maskedFill(zeros([3], "bool"), 0), a.lerp(zeros([3]), 0.5)],
  ];
  type<typeof written>().is<Tensor<[2, 3], "float32">[]>();
  const pairs = [
    ...[a.add(1), a.sub(a), a.mul(zeros([3])), a.div(zeros([1, 3])), a.pow(2), a.maximum(0), a.minimum(0), a.fmax(0)],
    ...[a.fmin(0), a.remainder(2), a.fmod(2), a.atan2(1), a.hypot(1), a.floorDivide(2), a.logAddExp(0), a.heaviside(1)],
    ...[a.logAddExp2(0), a.ldexp(1), a.copySign(1), a.prelu(zeros([3]))],
  ];
  type<typeof pairs>().is<Tensor<[2, 3], "float32">[]>();
  const flags = zeros([2, 3], "bool");
  const questions = [
    ...[a.equal(0), a.notEqual(0), a.less(0), a.lessEqual(0), a.greater(0), a.greaterEqual(zeros([3])), a.isNaN()],
    ...[a.isFinite(), a.isInf(), a.signBit(), flags.and(flags), flags.or(flags), flags.xor(flags), flags.not()],
  ];
  type<typeof questions>().is<Tensor<[2, 3], "bool">[]>();
  const whole = zeros([2, 3], "int32");
  const bits = [whole.bitAnd(1), whole.bitOr(1), whole.bitXor(1), whole.shiftLeft(1), whole.shiftRight(1), a.argsort()];
  type<typeof bits>().is<Tensor<[2, 3], "int32">[]>();
}

export function shapesThatFollow(list: Tensor<[3, 4], "float32">[], size: number): void {
  const reductions = [
    ...[a.sum(0), a.mean(0), a.max(0), a.min(0), a.prod(0), a.variance(0), a.std(0), a.norm(0)],
    ...[a.logSumExp(0), cosineSimilarity(a, a, 0)],
  ];
  type<typeof reductions>().is<Tensor<[3], "float32">[]>();
  const counts = [a.argmax(0), a.argmin(0), a.countNonZero(0)];
  type<typeof counts>().is<Tensor<[3], "int32">[]>();
  const quantifiers = [a.any(0), a.all(0)];
  type<typeof quantifiers>().is<Tensor<[3], "bool">[]>();

  const cube = zeros([2, 3, 4]);
  const order = cube.transpose(0, 2, 1);
  type<typeof order>().is<Tensor<[2, 4, 3], "float32">>();
  const back = cube.transpose();
  type<typeof back>().is<Tensor<[4, 3, 2], "float32">>();
  const fromTheEnd = cube.transpose(-1, 0, 1);
  type<typeof fromTheEnd>().is<Tensor<[number, 2, 3], "float32">>();
  const exchanged = cube.swapAxes(0, 2);
  type<typeof exchanged>().is<Tensor<[4, 3, 2], "float32">>();
  const columns = cube.slice(null, [0, 2]);
  type<typeof columns>().is<Tensor<[2, number, 4], "float32">>();
  const gates = zeros([5, 8]).split([2, 2, 2, 2]);
  type<typeof gates>().is<
    [Tensor<[5, 2], "float32">, Tensor<[5, 2], "float32">, Tensor<[5, 2], "float32">, Tensor<[5, 2], "float32">]
  >();
  const uneven = zeros([5, 8]).split([2, 3], 0);
  type<typeof uneven>().is<[Tensor<[number, 8], "float32">, Tensor<[number, 8], "float32">]>();
  const flat = cube.flatten();
  type<typeof flat>().is<Tensor<[number], "float32">>();
  const rows = cube.flatten(1);
  type<typeof rows>().is<Tensor<[2, number], "float32">>();
  const narrow = zeros([1, 4]).squeeze(0);
  type<typeof narrow>().is<Tensor<[4], "float32">>();
  const wide = a.unsqueeze(-1);
  type<typeof wide>().is<Tensor<[2, 3, 1], "float32">>();
  const repeated = zeros([3]).expand([2, 3]);
  type<typeof repeated>().is<Tensor<[2, 3], "float32">>();
  const summed = cube.sumTo([3, 1]);
  type<typeof summed>().is<Tensor<[3, 1], "float32">>();
  const joined = concat([a, zeros([5, 3])]);
  type<typeof joined>().is<Tensor<[number, 3], "float32">>();
  const aside = concat([a, zeros([2, 5])], -1);
  type<typeof aside>().is<Tensor<[2, number], "float32">>();
  const piled = stack([a, a, a]);
  type<typeof piled>().is<Tensor<[3, 2, 3], "float32">>();
  const listed = stack(list, -1);
  type<typeof listed>().is<Tensor<[3, 4, number], "float32">>();
  const some = zeros([size, 4]).pad([[1, 1]]);
  type<typeof some>().is<Tensor<[number, number], "float32">>();

  const picked = zeros([10, 4]).take(zeros([2, 3], "int32"));
  type<typeof picked>().is<Tensor<[2, 3, 4], "float32">>();
  const lastPicked = zeros([10, 4]).take(zeros([2, 3], "int32"), -1);
  type<typeof lastPicked>().is<Tensor<[10, 2, 3], "float32">>();
  const one = zeros([10, 4]).pick(zeros([10], "int32"));
  type<typeof one>().is<Tensor<[10], "float32">>();
  const elements = zeros([10, 4]).gather(zeros([3, 4], "int32"), 0);
  type<typeof elements>().is<Tensor<[3, 4], "float32">>();
  const laid = zeros([10, 4]).scatter(zeros([3, 4], "int32"), zeros([3, 4]), 0);
  type<typeof laid>().is<Tensor<[10, 4], "float32">>();
  const [best, places] = zeros([10, 4]).topK(2);
  type<typeof best>().is<Tensor<[10, 2], "float32">>();
  type<typeof places>().is<Tensor<[10, 2], "int32">>();
  const hot = zeros([10], "int32").oneHot(4);
  type<typeof hot>().is<Tensor<[10, 4], "float32">>();
  const chosen = where(zeros([3], "bool"), a, 0);
  type<typeof chosen>().is<Tensor<[2, 3], "float32">>();

  const inner = zeros([3]).dot(zeros([3]));
  type<typeof inner>().is<Tensor<[], "float32">>();
  const table = outer(zeros([3]), zeros([4]));
  type<typeof table>().is<Tensor<[3, 4], "float32">>();
  const product = einsum("bik,bkj->bij", zeros([8, 2, 3]), zeros([8, 3, 5]));
  type<typeof product>().is<Tensor<[8, 2, 5], "float32">>();
  const traces = zeros([8, 3, 3]).trace();
  type<typeof traces>().is<Tensor<[8], "float32">>();
  const diagonals = zeros([8, 3, 3]).diagonal();
  type<typeof diagonals>().is<Tensor<[8, number], "float32">>();
  const squares = diagonalMatrix(a);
  type<typeof squares>().is<Tensor<[2, 3, 3], "float32">>();
  const identity = eye(3);
  type<typeof identity>().is<Tensor<[3, 3], "float32">>();
  const numbers = [arange(3), linspace(0, 1, 3).cast("int32"), full([3], 1, "int32")];
  type<typeof numbers>().is<Tensor<[3], "int32">[]>();

  const maps = functional.conv(zeros([2, 3, 8, 8]), zeros([16, 3, 3, 3]));
  type<typeof maps>().is<Tensor<[2, 16, number, number], "float32">>();
  const grown = functional.convTranspose(zeros([2, 3, 8]), zeros([3, 16, 3]), { stride: 2 });
  type<typeof grown>().is<Tensor<[2, 16, number], "float32">>();
  const pools = [functional.maxPool(maps, { kernel: 2 }), functional.avgPool(maps, { kernel: 2 })];
  type<typeof pools>().is<Tensor<[2, 16, number, number], "float32">[]>();
  const means = functional.globalAvgPool(maps);
  type<typeof means>().is<Tensor<[2, 16], "float32">>();

  const normal = [
    functional.layerNorm(a, zeros([3]), zeros([3])),
    functional.rmsNorm(a, zeros([3])),
    functional.batchNorm(a, zeros([3]), zeros([3]), zeros([3]), zeros([3])),
    functional.batchNormInTraining(a).y,
    functional.groupNorm(a, 3, zeros([3])),
    batchNorm(3)(a),
    groupNorm(3, 3)(a),
  ];
  type<typeof normal>().is<Tensor<[2, 3], "float32">[]>();
  const losses = [
    ...[meanSquaredError(a, a), meanAbsoluteError(a, a), huber(a, a), smoothL1(a, a), binaryCrossEntropy(a, a)],
    ...[binaryCrossEntropyOfProbabilities(a, a), klDivergence(a, a), softCrossEntropy(a, a), cosineDistance(a, a)],
    ...[crossEntropy(a, zeros([2], "int32")), negativeLogLikelihood(a, zeros([2], "int32"))],
  ];
  type<typeof losses>().is<Tensor<[], "float32">[]>();
  const each = [
    crossEntropy(a, zeros([2], "int32"), { reduction: "none" }),
    cosineDistance(a, a, { reduction: "none" }),
  ];
  type<typeof each>().is<Tensor<[2], "float32">[]>();
  const { state, outputs } = scan((h: Tensor<[3], "float32">, x) => [h.add(x), x.sum()], { init: zeros([3]), xs: a });
  type<typeof state>().is<Tensor<[3], "float32">>();
  type<typeof outputs>().is<Tensor<[number], "float32">>();
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
  a.add(zeros([3]))
    .sub(zeros([2, 1]))
    .mul(zeros([]))
    .div(unknownSizes)
    .add(1);
  const fromScalar = tensor(1).sub(a);
  type<typeof fromScalar>().is<Tensor<[2, 3], "float32">>();
  const scores = zeros([8, 1, 1, 5]).add(zeros([5, 5]));
  type<typeof scores>().is<Tensor<[8, 1, 5, 5], "float32">>();
  const distances = zeros([4, 1, 2]).sub(zeros([7, 2]));
  type<typeof distances>().is<Tensor<[4, 7, 2], "float32">>();
  const rowOfAny = zeros([1, 3]).mul(anyRows);
  type<typeof rowOfAny>().is<Tensor<[number, 3], "float32">>();
  const ranks = zeros([3]).add(untyped);
  type<typeof ranks>().is<Tensor<Shape, "float32">>();
  const order = zeros([3]).less(zeros([4, 1]));
  type<typeof order>().is<Tensor<[4, 3], "bool">>();
  const flags = zeros([3], "bool").or(zeros([4, 1], "bool"));
  type<typeof flags>().is<Tensor<[4, 3], "bool">>();
  const either = where(zeros([5, 1], "bool"), zeros([3]), zeros([4, 1, 1]));
  type<typeof either>().is<Tensor<[4, 5, 3], "float32">>();
  const hidden = zeros([3]).maskedFill(zeros([4, 1], "bool"), 0);
  type<typeof hidden>().is<Tensor<[4, 3], "float32">>();
  const between = zeros([3]).lerp(zeros([4, 1]), 0.5);
  type<typeof between>().is<Tensor<[4, 3], "float32">>();
  const [left, right] = broadcast(zeros([4, 1]), zeros([3]));
  type<typeof left>().is<Tensor<[4, 3], "float32">>();
  type<typeof right>().is<Tensor<[4, 3], "float32">>();
}

/** Functions over shapes that are not known, as layers are: no cast. */
export interface Generic {
  residual<S extends Shape>(
    x: Tensor<S, "float32">,
    f: (x: Tensor<S, "float32">) => Tensor<S, "float32">,
  ): Tensor<S, "float32">;
  gain<L extends Shape, D extends number>(
    x: Tensor<[...L, D], "float32">,
    g: Tensor<[D], "float32">,
  ): Tensor<[...L, D], "float32">;
  positions<B extends number, T extends number, D extends number>(
    x: Tensor<[B, T, D], "float32">,
    p: Tensor<[T, D], "float32">,
  ): Tensor<[B, T, D], "float32">;
  mask<B extends number, H extends number>(
    x: Tensor<[B, H], "float32">,
    m: Tensor<[B, 1], "float32">,
  ): Tensor<[B, H], "float32">;
  choice<B extends number, H extends number>(
    x: Tensor<[B, H], "float32">,
    y: Tensor<[B, H], "float32">,
    m: Tensor<[B, 1], "bool">,
  ): Tensor<[B, H], "float32">;
  attentionMask<B extends number, T extends number>(
    scores: Tensor<[B, 8, T, T], "float32">,
    m: Tensor<[B, 1, 1, T], "bool">,
  ): Tensor<[B, 8, T, T], "float32">;
  differences<N extends number, M extends number>(
    x: Tensor<[N, 1], "float32">,
    y: Tensor<[M], "float32">,
  ): Tensor<[N, M], "float32">;
  gates<B extends number, H extends number>(x: Tensor<[B, number], "float32">, width: H): Tensor<[B, H], "float32">;
  isLess<S extends Shape>(x: Tensor<S, "float32">, y: Tensor<S, "float32">): Tensor<S, "bool">;
}

export const generic: Generic = {
  residual: (x, f) => x.add(f(x)),
  gain: (x, g) => x.mul(g),
  positions: (x, p) => x.add(p),
  mask: (x, m) => x.mul(m),
  choice: (x, y, m) => where(m, x, y),
  attentionMask: (scores, m) => scores.maskedFill(m, -1e9),
  differences: (x, y) => x.sub(y),
  gates: (x, width) => {
    const [input, forget, cell, output] = x.split([width, width, width, width]);
    return input.sigmoid().mul(cell.tanh()).add(forget.sigmoid()).mul(output);
  },
  isLess: (x, y) => x.less(y),
};

interface Carried {
  readonly h: Tensor<[3, 4], "float32">;
  readonly c: Tensor<[3, 4], "float32">;
}
interface Masked {
  readonly x: Tensor<[number, 3], "float32">;
  readonly mask: Tensor<[number], "float32">;
}

/** States, sequences and outputs of a loop may be interfaces. */
export function interfaces(x: Tensor<[number, 3, 4], "float32">, init: Carried, given: Masked): Carried {
  const { state, outputs } = scan((s, x) => [{ h: s.h.add(x), c: s.c }, { y: s.h }], { init, xs: x });
  type<typeof outputs.y>().is<Tensor<[number, 3, 4], "float32">>();
  const { outputs: masked } = scan((s, { x, mask }) => [s, x.mul(mask)], { init: zeros([3]), xs: given });
  type<typeof masked>().is<Tensor<[number, 3], "float32">>();
  return state;
}

export function listsOfLayers(): void {
  const activated = sequential(linear(2, 2), (x) => x.relu(), linear(2, 3))(zeros([5, 2]));
  type<typeof activated>().is<Tensor<[...number[], 3], "float32">>();
  const blocks = [linear(2, 2), linear(2, 2)];
  const deep = sequential(...blocks)(zeros([5, 2]));
  type<typeof deep>().is<Tensor<[...number[], 2], "float32">>();
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
  // @ts-expect-error the channels of the kernel
  functional.conv(zeros([2, 3, 8, 8]), zeros([16, 4, 3, 3]));
  // @ts-expect-error the mask does not widen
  where(zeros([2], "bool"), a, 0);
  // @ts-expect-error another axis differs
  concat([a, zeros([2, 4])]);
  // @ts-expect-error shapes to be piled are equal
  stack([a, zeros([2, 4])]);
  // @ts-expect-error two of three axes
  zeros([2, 3, 4]).transpose(1, 0);
  // @ts-expect-error j is 3 and 4
  einsum("ij,jk->ik", a, zeros([4, 5]));
  // @ts-expect-error one index for each row
  a.pick(zeros([3], "int32"));
  // @ts-expect-error channels
  batchNorm(4)(a);
  // @ts-expect-error predictions and targets
  meanSquaredError(a, zeros([3, 2]));
  // @ts-expect-error a number is no state
  scan((s, x) => [s, x], { init: { h: 1 }, xs: a });
  // @ts-expect-error a function is no output
  scan((s, x) => [s, () => x], { init: zeros([1]), xs: a });
  // @ts-expect-error the state changes its shape
  scan((h: Tensor<[3], "float32">) => [h.sum(), h], { init: zeros([3]), xs: a });
  // @ts-expect-error another rank
  const matrix: Tensor<[2, 3]> = zeros([2, 3, 4]);
  return matrix;
}

export async function recurrentLayersKnowTheirShapes(ids: Tensor<[16, 40], "int32">, size: number): Promise<void> {
  const plain = lstm(8, 32);
  type<typeof plain>().is<Lstm<8, 32>>();
  const ran = plain(zeros([16, 40, 8]));
  type<typeof ran.outputs>().is<Tensor<[16, 40, 32], "float32">>();
  type<typeof ran.state>().is<LstmState<[1, 16, 32]>>();
  const stepped = plain.cell(zeros([16, 8]), ran.state);
  type<typeof stepped.output>().is<Tensor<[16, 32], "float32">>();
  const start = gru(8, 32, { layers: 2 }).zeroState(5);
  type<typeof start.h>().is<Tensor<[2, 5, 32], "float32">>();
  const both = lstm(8, 32, { layers: 2, bidirectional: true });
  const wide = both(zeros([16, 40, 8]), { lengths: zeros([16], "int32") });
  type<typeof wide.outputs>().is<Tensor<[16, 40, number], "float32">>();
  const timeFirst = rnn(8, 32, { batchFirst: false, activation: "relu" });
  const other = timeFirst(zeros([40, 16, 8]), { state: { h: zeros([1, 16, 32]) }, mask: zeros([40, 16], "bool") });
  type<typeof other.state.h>().is<Tensor<[1, 16, 32], "float32">>();
  const cell = lstmCell(8, 32);
  const next = cell(zeros([5, 8]), cell.zeroState(5));
  type<typeof next>().is<LstmState<[5, 32]>>();
  const same = functional.lstmCell(zeros([5, 8]), next, cell);
  type<typeof same>().is<LstmState<[5, 32]>>();
  const unknown = gru(size, size)(zeros([size, size, size]));
  type<typeof unknown.outputs>().is<Tensor<[number, number, number], "float32">>();

  // States go through compiled functions and loops.
  const table = embedding(100, 8);
  const run = compile((ids: Tensor<[16, 40], "int32">, state: LstmState<[1, 16, 32]>) => plain(table(ids), { state }));
  const first = run(ids, plain.zeroState(16));
  run(ids, first.state);
  const looped = scan(
    (state: LstmState<[1, 16, 32]>, x: Tensor<[16, 8], "float32">) => {
      const { output, state: after } = plain.cell(x, state);
      return [after, output];
    },
    { init: first.state, xs: zeros([40, 16, 8]) },
  );
  type<typeof looped.outputs>().is<Tensor<[number, 16, 32], "float32">>();

  // @ts-expect-error 7 inputs, and the layer takes 8
  plain(zeros([16, 40, 7]));
  // @ts-expect-error a state for another batch
  plain(zeros([16, 40, 8]), { state: plain.zeroState(15) });
  // @ts-expect-error a GRU's state has no c
  plain(zeros([16, 40, 8]), { state: gru(8, 32).zeroState(16) });
  // @ts-expect-error lengths of another batch
  plain(zeros([16, 40, 8]), { lengths: zeros([15], "int32") });
  // @ts-expect-error a layer that also reads backward has no single steps
  both.cell(zeros([16, 8]), both.zeroState(16));
  // @ts-expect-error 7 inputs, and the cell takes 8
  cell(zeros([5, 7]), next);
  // @ts-expect-error an LSTM has no activation to choose
  lstm(8, 32, { activation: "relu" });
}
