/** The public functions that are written with ops, each on inputs on which it is smooth. */
import { type Data, defineOp, type Op, type Sampler } from "../../src/graph/op.ts";
import type { DType, Shape, Tensor } from "../../src/index.ts";
import * as glissade from "../../src/index.ts";

/** A function of real tensors. */
export interface Case {
  readonly inputs: readonly Data[];
  readonly f: (...inputs: Tensor[]) => Tensor | readonly Tensor[];
}

type Build = (random: Sampler) => Case | readonly Case[];

const on =
  (f: Case["f"], ...shapes: readonly Shape[]): Build =>
  (random) => ({ inputs: shapes.map((shape) => random.real(...shape)), f });
const onPositive =
  (f: Case["f"], ...shapes: readonly Shape[]): Build =>
  (random) => ({ inputs: shapes.map((shape) => random.positive(...shape)), f });
const all =
  (...builds: readonly Build[]): Build =>
  (random) =>
    builds.flatMap((build) => build(random));

const { tensor } = glissade;
const labels = tensor([2, 0], "int32");
const mask = tensor([
  [true, false, true],
  [false, true, true],
]);
/** From 0.1 to 0.9. */
const probability = (x: Tensor): Tensor => x.mul(0.2).add(0.5);
/** The same numbers under another dtype, not rounded: a cast would make steps, which finite differences see. */
const retyped: Op<DType> = defineOp<DType>({
  name: "retyped",
  dtypes: ["float32", "float64"],
  dtype: (_, dtype) => dtype,
  shape: ([x]) => x!.shape,
  gradient: ([x], _y, dy) => [dy.apply(retyped, [], x!.dtype)],
  onnx: (graph, [x], { params }) => graph.cast(x!, params),
  evaluate: ([x], y) => y.values.set(x!.values),
  samples: (random) => [{ inputs: [random.real(2, 3)], params: "float32" }],
});
/** As layers take it. */
const single = (x: Tensor): never => x.apply(retyped, [], "float32") as never;
const logProbabilities = (x: Tensor): Tensor => x.logSoftmax();

/** Methods of tensors. One that is missing here is called with no argument, or with a tensor like x. */
export const methods: Readonly<Record<string, Build>> = {
  cbrt: all(
    on((x) => x.cbrt(), [2, 3]),
    onPositive((x) => x.cbrt(), [3]),
  ),
  clip: all(
    on((x) => x.clip(-1, 0.7), [2, 3]),
    on((x) => x.clip(undefined, 0.5), [5]),
  ),
  cumprod: on((x) => x.cumprod(1), [2, 4]),
  cummax: on((x) => x.cummax(1), [2, 5]),
  cummin: on((x) => x.cummin(0), [5, 2]),
  diagonal: on((x) => x.diagonal(1), [2, 3, 4]),
  dot: on((x, y) => x.dot(y), [4], [4]),
  elu: all(
    on((x) => x.elu(), [3, 5]),
    on((x) => x.elu(0.4), [5]),
  ),
  celu: on((x) => x.celu(0.6), [3, 5]),
  expand: on((x) => x.expand([2, 3, 4]).square(), [3, 1]),
  flatten: on((x) => x.flatten(1), [2, 3, 2]),
  flip: on((x) => x.flip([0, 1]), [2, 3]),
  take: on((x) => x.take(tensor([1, 1, 0], "int32"), 1), [2, 3]),
  gather: on((x) => x.gather(tensor([[1, 0, 1]], "int32"), 0), [2, 3]),
  glu: on((x) => x.glu(), [2, 6]),
  hypot: on((x, y) => x.hypot(y), [2, 3], [3]),
  ldexp: on((x, y) => x.ldexp(y), [2, 3], [3]),
  lerp: on((x, y, weight) => x.lerp(y, weight), [2, 3], [3], [2, 1]),
  log10: onPositive((x) => x.log10(), [2, 3]),
  log2: onPositive((x) => x.log2(), [2, 3]),
  logAddExp: on((x, y) => x.logAddExp(y), [2, 3], [3]),
  logAddExp2: on((x, y) => x.logAddExp2(y), [2, 3], [3]),
  logCumSumExp: on((x) => x.logCumSumExp(0), [5, 2]),
  logSumExp: all(
    on((x) => x.logSumExp(), [2, 3]),
    on((x) => x.logSumExp([0, 2], { keepDims: true }), [2, 3, 2]),
  ),
  logit: on((x) => probability(x).logit(), [2, 3]),
  mT: on((x) => x.mT().square(), [2, 3, 4]),
  maskedFill: on((x) => x.maskedFill(mask, 4).square(), [2, 3]),
  matmul: on((x, y) => x.matmul(y), [2, 3, 4], [4, 2]),
  mean: on((x) => x.mean([0, 2]).square(), [2, 3, 2]),
  norm: all(
    on((x) => x.norm(), [2, 3]),
    ...[2, 1, 3, 1.5, -1, 0.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((order) =>
      on((x) => x.norm(1, { order, keepDims: true }), [2, 4]),
    ),
  ),
  pad: all(
    ...(["constant", "reflect", "edge", "circular"] as const).map((mode) =>
      on((x) => x.pad([[1, 2]], { mode }).square(), [2, 4]),
    ),
  ),
  pick: on((x) => x.pick(labels).square(), [2, 3]),
  pow: all(
    onPositive((x, y) => x.pow(y), [2, 3], [3]),
    on((x) => x.pow(3), [2, 3]),
    on((x) => x.pow(-2), [2, 3]),
  ),
  prelu: on((x, slope) => x.prelu(slope), [2, 3], [3]),
  prod: all(
    on((x) => x.prod(), [2, 3]),
    on((x) => x.prod(1), [2, 3]),
  ),
  remainder: on((x, y) => x.remainder(y), [2, 3], [3]),
  repeat: on((x) => x.repeat(2, 0).square(), [2, 3]),
  reshape: on((x) => x.reshape([3, -1]).square(), [2, 3]),
  roll: on((x) => x.roll(1, 1).square(), [2, 3]),
  rsqrt: onPositive((x) => x.rsqrt(), [2, 3]),
  scatter: all(
    ...(["none", "add"] as const).map((reduction) =>
      on((x, y) => x.scatter(tensor([[1, 0, 1]], "int32"), y, 0, { reduction }).square(), [2, 3], [1, 3]),
    ),
  ),
  slice: on((x) => x.slice(null, [2, 0, -1]).square(), [2, 3]),
  softmin: on((x) => x.softmin(0), [2, 3]),
  sort: on((x) => x.sort(1)[0].square(), [2, 5]),
  split: on((x) => x.split([1, 2], 1).map((part) => part.square()), [2, 3]),
  squeeze: on((x) => x.squeeze(1).square(), [2, 1, 3]),
  std: all(
    on((x) => x.std(), [2, 3]),
    on((x) => x.std(0, { correction: 1 }), [4, 2]),
  ),
  sum: on((x) => x.sum(0).square(), [2, 3]),
  sumTo: on((x) => x.sumTo([3, 1]).square(), [2, 3, 4]),
  swapAxes: on((x) => x.swapAxes(0, 2).square(), [2, 1, 3]),
  threshold: on((x) => x.threshold(0.2, -1).square(), [2, 3]),
  tile: on((x) => x.tile([2, 1, 2]).square(), [2, 3]),
  topK: on((x) => x.topK(2)[0].square(), [2, 5]),
  trace: on((x) => x.trace().square(), [3, 3]),
  transpose: on((x) => x.transpose().square(), [2, 3]),
  unsqueeze: on((x) => x.unsqueeze(1).square(), [2, 3]),
  variance: all(
    on((x) => x.variance(), [2, 3]),
    on((x) => x.variance([0, 2], { correction: 1 }), [2, 3, 2]),
    on((x) => x.variance(1, { keepDims: true }).square(), [2, 3, 2]),
  ),
};

const rows = (x: Tensor): Tensor => x.reshape([-1, 3]);
const image: Shape = [2, 4, 5, 5];

/** A step of a recurrent network with so many gates: x, h, c and the weights in. */
const cell = (gates: number, step: (x: Tensor, h: Tensor, c: Tensor, weights: CellParts) => readonly Tensor[]): Build =>
  on(
    (x, h, c, weight_ih, weight_hh, bias_ih, bias_hh) =>
      step(x, h, c, { weight_ih, weight_hh, bias_ih, bias_hh } as CellParts),
    [2, 3],
    [2, 2],
    [2, 2],
    [2 * gates, 3],
    [2 * gates, 2],
    [2 * gates],
    [2 * gates],
  );
/** Smooth, and the same in every call. */
const transformerOptions = { dropout: 0, activation: "gelu", normFirst: true } as const;
type CellParts = Parameters<typeof glissade.functional.lstmCell>[2];

/** Functions, layers and losses. One that is missing here fails the test that walks the public surface. */
export const functions: Readonly<Record<string, Build>> = {
  "functional.linear": on((x, w, b) => glissade.functional.linear(x, w, b), [2, 2, 3], [4, 3], [4]),
  "functional.attention": all(
    on((q, k, v) => glissade.functional.attention(q, k, v), [2, 3, 4], [2, 5, 4], [2, 5, 2]),
    on((q, k, v, bias) => glissade.functional.attention(q, k, v, { mask, bias }), [2, 4], [3, 4], [3, 4], [2, 3]),
    on((q, k, v) => glissade.functional.attention(q, k, v, { causal: true, scale: 0.7 }), [3, 2], [3, 2], [3, 4]),
  ),
  "functional.attentionEquation": on(
    (q, k, v) => glissade.functional.attentionEquation(q, k, v, { mask }),
    [2, 4],
    [3, 4],
    [3, 4],
  ),
  "functional.attentionWeights": on(
    (q, k) => glissade.functional.attentionWeights(q, k, { mask }).square() as Tensor,
    [2, 4],
    [3, 4],
  ),
  avgPool1d: on((x) => (glissade.avgPool1d(2)(single(x)) as Tensor).square(), [2, 3, 6]),
  avgPool2d: on((x) => (glissade.avgPool2d(2)(single(x)) as Tensor).square(), image),
  "functional.avgPool": all(
    on((x) => glissade.functional.avgPool(x, { kernel: 2 }).square(), image),
    on(
      (x) => glissade.functional.avgPool(x, { kernel: 3, stride: 2, padding: 1, countPadding: false }).square(),
      image,
    ),
  ),
  batchNorm: all(
    ...[true, false].flatMap((affine) =>
      [
        [5, 3],
        [2, 3, 4],
        [2, 3, 2, 2],
      ].map((shape) => on((x) => glissade.batchNorm(3, { affine })(single(x)), shape)),
    ),
    on(
      (x) => {
        const layer = glissade.batchNorm(3);
        layer.eval();
        return (layer(single(x)) as Tensor).square();
      },
      [4, 3],
    ),
  ),
  "functional.batchNorm": on(
    (x, mean, variance, scale, shift) => glissade.functional.batchNorm(x, mean, variance.square(), scale, shift),
    [4, 3],
    [3],
    [3],
    [3],
    [3],
  ),
  "functional.batchNormInTraining": all(
    on((x) => glissade.functional.batchNormInTraining(x).y, [4, 2]),
    on(
      (x, scale, shift) => {
        const { y, mean, variance } = glissade.functional.batchNormInTraining(x, scale, shift);
        return [y, mean.square(), variance.square()];
      },
      [3, 2, 2],
      [2],
      [2],
    ),
  ),
  binaryCrossEntropy: all(
    on((x, y) => glissade.binaryCrossEntropy(x, y), [2, 3], [2, 3]),
    on((x, y) => glissade.binaryCrossEntropy(x, y, { positiveWeight: 3, reduction: "none" }), [2, 3], [2, 3]),
    on((x, y, w) => glissade.binaryCrossEntropy(x, y, { positiveWeight: w }), [2, 3], [2, 3], [3]),
  ),
  binaryCrossEntropyOfProbabilities: on(
    (x, y) => glissade.binaryCrossEntropyOfProbabilities(probability(x), probability(y)),
    [2, 3],
    [2, 3],
  ),
  broadcast: on((x, y) => glissade.broadcast(x, y).map((each) => (each as Tensor).square()), [2, 1], [3]),
  clipByGlobalNorm: on((x, y) => glissade.clipByGlobalNorm([x, y], 0.5).gradients, [2, 3], [3]),
  clipByNorm: on((x, y) => glissade.clipByNorm([x, y], 0.5).gradients, [2, 3], [3]),
  clipByValue: on((x) => glissade.clipByValue([x], 0.5).map((each) => each.square()), [2, 3]),
  concat: on((x, y) => glissade.concat([x, y], 1).square(), [2, 1], [2, 3]),
  conv1d: on((x) => glissade.conv1d(3, 2, 2)(single(x)) as Tensor, [2, 3, 5]),
  conv2d: on((x) => (glissade.conv2d(4, 2, 3)(single(x)) as Tensor).square(), image),
  convTranspose1d: on((x) => glissade.convTranspose1d(3, 2, 2)(single(x)) as Tensor, [2, 3, 5]),
  convTranspose2d: on((x) => (glissade.convTranspose2d(4, 2, 3)(single(x)) as Tensor).square(), image),
  "functional.conv": on(
    (x, w, b) => glissade.functional.conv(x, w, { bias: b as never, stride: 2, padding: 1 }),
    image,
    [3, 4, 3, 3],
    [3],
  ),
  "functional.convTranspose": on((x, w) => glissade.functional.convTranspose(x, w, { stride: 2 }), image, [4, 2, 3, 3]),
  cosineDistance: on((x, y) => glissade.cosineDistance(x, y), [3, 4], [3, 4]),
  cosineSimilarity: on((x, y) => glissade.cosineSimilarity(x, y, 0), [4, 2], [4, 2]),
  sampledCrossEntropy: on(
    (x, weight, bias) => {
      const [labels, counts] = [tensor([1, 0, 4], "int32"), tensor([1, 1, 0])];
      const options = { samples: 4, generator: glissade.randomGenerator(3) };
      return glissade.sampledCrossEntropy(single(x), single(weight), single(bias), labels, counts, options);
    },
    [3, 2],
    [5, 2],
    [5],
  ),
  crossEntropy: all(
    on((x) => glissade.crossEntropy(rows(x), labels), [2, 3]),
    on((x) => glissade.crossEntropy(rows(x), labels, { labelSmoothing: 0.1, reduction: "none" }), [2, 3]),
    on((x) => glissade.crossEntropy(rows(x), labels, { ignore: 0, weights: tensor([1, 2, 3], "float64") }), [2, 3]),
  ),
  diagonalMatrix: on((x) => glissade.diagonalMatrix(x, 1).square(), [2, 3]),
  einsum: all(
    on((x, y) => glissade.einsum("bik,bkj->bij", x, y), [2, 2, 3], [2, 3, 2]),
    on((x, y, z) => glissade.einsum("ii,ij,jk->k", x, y, z), [3, 3], [3, 2], [2, 2]),
  ),
  "functional.embedding": on((x) => glissade.functional.embedding(x, labels).square(), [3, 2]),
  geglu: on((x) => glissade.geglu(single(x)), [2, 6]),
  "functional.globalAvgPool": on((x) => glissade.functional.globalAvgPool(x).square(), image),
  globalNorm: on((x, y) => glissade.globalNorm([x, y]), [2, 3], [3]),
  groupNorm: on((x) => glissade.groupNorm(2, 4)(single(x)), [2, 4, 3]),
  "functional.groupNorm": on(
    (x, scale, shift) => glissade.functional.groupNorm(x, 2, scale, shift),
    [2, 4, 3],
    [4],
    [4],
  ),
  huber: on((x, y) => glissade.huber(x, y, { delta: 0.6 }), [3, 5], [3, 5]),
  klDivergence: all(
    onPositive((x, y) => glissade.klDivergence(logProbabilities(x), y), [2, 3], [2, 3]),
    on((x, y) => glissade.klDivergence(logProbabilities(x), logProbabilities(y), { logTargets: true }), [2, 3], [2, 3]),
  ),
  layerNorm: on((x) => glissade.layerNorm(4)(single(x)), [2, 4]),
  learnedPositions: on((x) => (glissade.learnedPositions(4, 2)(single(x)) as Tensor).square(), [2, 3, 2]),
  sinusoidalPositions: on((x) => (glissade.sinusoidalPositions(4, 2)(single(x)) as Tensor).square(), [2, 3, 2]),
  rotaryPositions: on((x) => (glissade.rotaryPositions(4, 2)(single(x)) as Tensor).square(), [1, 2, 3, 2]),
  multiHeadAttention: on(
    (x, key) => glissade.multiHeadAttention(4, 2)(single(x), { key: single(key) }) as Tensor,
    [2, 3, 4],
    [2, 2, 4],
  ),
  transformerEncoderLayer: on((x) => glissade.transformerEncoderLayer(4, 2, transformerOptions)(single(x)), [1, 3, 4]),
  transformerDecoderLayer: on(
    (x, memory) => glissade.transformerDecoderLayer(4, 2, transformerOptions)(single(x), single(memory)),
    [1, 3, 4],
    [1, 2, 4],
  ),
  transformerEncoder: on(
    (x) => glissade.transformerEncoder(4, 2, { ...transformerOptions, layers: 1 })(single(x)),
    [1, 3, 4],
  ),
  transformerDecoder: on(
    (x, memory) => glissade.transformerDecoder(4, 2, { ...transformerOptions, layers: 1 })(single(x), single(memory)),
    [1, 3, 4],
    [1, 2, 4],
  ),
  "functional.layerNorm": on((x, scale, shift) => glissade.functional.layerNorm(x, scale, shift), [2, 3, 4], [4], [4]),
  linear: on((x) => (glissade.linear(3, 2)(single(x)) as Tensor).square(), [2, 3]),
  maxPool1d: on((x) => (glissade.maxPool1d(2)(single(x)) as Tensor).square(), [2, 3, 6]),
  maxPool2d: on((x) => (glissade.maxPool2d(2)(single(x)) as Tensor).square(), image),
  "functional.maxPool": on((x) => glissade.functional.maxPool(x, { kernel: 2, padding: 1 }).square(), image),
  maxout: on((x) => (glissade.maxout(3, 2)(single(x)) as Tensor).square(), [2, 3]),
  meanAbsoluteError: on((x, y) => glissade.meanAbsoluteError(x, y).square(), [2, 3], [2, 3]),
  meanSquaredError: on((x, y) => glissade.meanSquaredError(x, y), [2, 3], [2, 3]),
  negativeLogLikelihood: on((x) => glissade.negativeLogLikelihood(rows(x).logSoftmax(), labels), [2, 3]),
  outer: on((x, y) => glissade.outer(x, y), [2], [3]),
  prelu: on((x) => (glissade.prelu(3)(single(x)) as Tensor).square(), [2, 3]),
  reglu: on((x) => glissade.reglu(single(x)), [2, 6]),
  rmsNorm: on((x) => glissade.rmsNorm(4)(single(x)), [2, 4]),
  "functional.rmsNorm": on((x, scale) => glissade.functional.rmsNorm(x, scale), [2, 3, 4], [4]),
  "functional.rnnCell": cell(1, (x, h, _, weights) => {
    const next = glissade.functional.rnnCell(x as never, { h } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h];
  }),
  "functional.rnnEquations": cell(1, (x, h, _, weights) => {
    const next = glissade.functional.rnnEquations(x as never, { h } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h];
  }),
  "functional.lstmCell": cell(4, (x, h, c, weights) => {
    const next = glissade.functional.lstmCell(x as never, { h, c } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h, next.c];
  }),
  "functional.lstmEquations": cell(4, (x, h, c, weights) => {
    const next = glissade.functional.lstmEquations(x as never, { h, c } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h, next.c];
  }),
  "functional.gruCell": cell(3, (x, h, _, weights) => {
    const next = glissade.functional.gruCell(x as never, { h } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h];
  }),
  "functional.gruEquations": cell(3, (x, h, _, weights) => {
    const next = glissade.functional.gruEquations(x as never, { h } as never, weights) as { h: Tensor; c: Tensor };
    return [next.h];
  }),
  gru: on((x) => (glissade.gru(3, 2)(single(x) as never).outputs as Tensor).square(), [2, 4, 3]),
  lstm: on((x) => (glissade.lstm(3, 2)(single(x) as never).outputs as Tensor).square(), [2, 4, 3]),
  rnn: on((x) => (glissade.rnn(3, 2)(single(x) as never).outputs as Tensor).square(), [2, 4, 3]),
  gruCell: on(
    (x, h) => (glissade.gruCell(3, 2)(single(x) as never, { h: single(h) } as never) as { h: Tensor }).h,
    [2, 3],
    [2, 2],
  ),
  lstmCell: on(
    (x, h, c) =>
      (glissade.lstmCell(3, 2)(single(x) as never, { h: single(h), c: single(c) } as never) as { h: Tensor }).h,
    [2, 3],
    [2, 2],
    [2, 2],
  ),
  rnnCell: on(
    (x, h) => (glissade.rnnCell(3, 2)(single(x) as never, { h: single(h) } as never) as { h: Tensor }).h,
    [2, 3],
    [2, 2],
  ),
  scan: on(
    (state, xs, w) => {
      const { state: last, outputs } = glissade.scan(
        (h: Tensor, x: Tensor) => {
          const next = h.matmul(w).add(x).tanh();
          return [next, next.mul(x)] as const;
        },
        { init: state, xs },
      );
      return [last as Tensor, outputs as Tensor];
    },
    [2, 3],
    [4, 2, 3],
    [3, 3],
  ),
  sequential: on(
    (x) => glissade.sequential(glissade.linear(3, 4), glissade.tanh, glissade.linear(4, 1))(single(x)),
    [2, 3],
  ),
  smoothL1: on((x, y) => glissade.smoothL1(x, y, { beta: 0.6 }), [3, 5], [3, 5]),
  softCrossEntropy: on((x, y) => glissade.softCrossEntropy(x, y), [2, 3], [2, 3]),
  stack: on((x, y) => glissade.stack([x, y], 1).square(), [2, 3], [2, 3]),
  swiglu: on((x) => glissade.swiglu(single(x)), [2, 6]),
  where: on((x, y) => glissade.where(mask, x, y).square(), [2, 3], [3]),
};

/** Methods and functions that the walk leaves out, by reason. */
export const leftOut: Readonly<Record<string, string>> = {
  "say what a tensor is, or read it": "array current data dtype item shape size sizes text toString read printGraph",
  "make a tensor of numbers":
    "scalar arange eye fromValues full linspace ones parameter state tensor toTensor zeros functional.sinusoidalTable",
  "apply any op, or wait for a graph":
    "apply applyAll compile evaluate defineOp exportOnnx useEngine currentEngine plainEngine",
  "give truth values or whole numbers":
    "all and any argmax argmin argsort bitAnd bitNot bitOr bitXor countNonZero equal greater greaterEqual isFinite isInf isNaN less lessEqual not notEqual oneHot or shiftLeft shiftRight signBit xor",
  "are constant between their jumps": "ceil floor floorDivide round sign step trunc heaviside",
  "end the gradient on purpose": "detach",
  "round, with the derivative of what is not rounded": "cast",
  "draw random numbers, and are linear in x": "randomGenerator dropout functional.dropout",
  "have no gradient, and say so": "singularValues",
  "go on from run to run": "spectralEstimate observe smoother seed gradientCheck activationCurve gradients",
  "are layers of `functional.embedding`, `sequential` and any function": "embedding module",
  "update parameters":
    "adadelta adagrad adam adamW amsgrad defineOptimizer ema gradientAccumulator lbfgs lion nadam radam rmsprop sgd",
  "are about data, files and messages":
    "printable quoted dataset decodeSafetensors decodeWeights encodeSafetensors encodeWeights fitStandardizer standardizer loader parseCsv decodeIdx parseJsonLines fitPreparation preparation balancedWeights sequenceLengths sequenceMask sequences stream table decodeOnnxWeights fit validate",
  "choose tokens": "generate scheduledSampling",
  "are models, whose gradients are compared with PyTorch's":
    "bert bertForPreTraining bertForMaskedLM bertForNextSentencePrediction bertForSequenceClassification bertForTokenClassification gpt2 gpt2LMHeadModel seq2seq transformer",
  "ask models about texts": "fillMask classifyText attentionOf",
  "are models, or hold the states of one": "recurrentLanguageModel carriedState elmo scalarMix",
  "are about texts":
    "bleu editDistance errorRate languageModelBatches maskTokens nextSentencePairs bitsPerCharacter kneserNey perplexity decodeTokenizer encodeTokenizer buildVocabulary vocabulary",
};
