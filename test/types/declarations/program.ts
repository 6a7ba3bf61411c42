/** What a package built on Glissade exports, without a type written down: the compiler writes its declarations by itself. */
import * as g from "glissade";
export const x = g.zeros([2, 3]);
export const y = x.add(g.zeros([4, 1, 3]));
export const lin = g.linear(2, 3);
export const lin2 = g.linear(2, 3, { bias: false });
export const conv = g.conv2d(1, 2, 3);
export const convT = g.convTranspose1d(1, 2, 3, { bias: false });
export const pool = g.maxPool2d(2);
export const model = g.sequential(g.linear(2, 3), g.relu, g.linear(3, 1));
export const model2 = g.sequential(g.embedding(2, 3), g.linear(3, 1), (x) => x.relu());
export const bn = g.batchNorm(3);
export const gn = g.groupNorm(1, 3);
export const ln = g.layerNorm(3);
export const rms = g.rmsNorm(3);
export const mx = g.maxout(3, 4);
export const dr = g.dropout(0.1);
export const opt = g.adam(lin);
export const step = g.compile((a: g.Tensor<[number, 2], "float32">) => {
  const loss = lin(a).mean();
  opt.minimize(loss);
  return { loss, parts: [loss, a] };
});
export const sched = g.schedule;
export const init = g.init;
export const gr = g.gradients(x.sum(), [x]);
export const sc = g.scan((s, t) => [s.add(t), { t }], { init: g.zeros([3]), xs: g.zeros([5, 3]) });
export const w = g.where(x.greater(0), x, 0);
export const [v, i] = x.topK(2);
export const parts = x.split([1, 2]);
export const st = g.stack([x, x]);
export const cc = g.concat([x, x]);
export const ce = g.crossEntropy(x, g.zeros([2], "int32"));
export const gen = g.randomGenerator(1);
export const obs = g.observe;
export const chk = g.check;
export const eng = g.nodeEngine();
export const pe = g.plainEngine();
export const sm = g.smoother();
export const ein = g.einsum("ij,jk->ik", x, g.zeros([3, 4]));
export const mo = g.module("A", { lin, list: [lin], rec: { lin } }, (x: g.Tensor<[number, 2], "float32">) => lin(x));
export const op = g.defineOp<undefined>({
  name: "cube",
  shape: ([x]) => x!.shape,
  onnx: (graph, [x]) => graph.node("Mul", [x, x]),
  evaluate: ([x], y) => x!.values.forEach((v, i) => (y.values[i] = v)),
  samples: () => [],
});
export const pair = g.defineOp<undefined>({
  name: "pair",
  types: ([x]) => [x!, { ...x!, dtype: "int32" }],
  onnx: (graph, [x]) => [graph.node("Abs", [x]), graph.cast(x!, "int32")],
  evaluate: ([x], [y]) => x!.values.forEach((v, i) => (y!.values[i] = Math.abs(v))),
  gradient: ([x], _ys, [dy]) => [dy!.mul(x!)],
  samples: () => [],
});
export const both = x.applyAll(pair, [], undefined);
export const rd = g.read(x);
export const ar = x.array();
export const red = x.mean(0, { keepDims: true });
export const mp = g.functional.maxPool(g.zeros([1, 1, 4, 4]), { kernel: 2 });
export const cv = g.functional.conv(g.zeros([1, 1, 4, 4]), g.zeros([1, 1, 2, 2]));
export const ld = g.loader;
export const tt = g.toTensor;
export const ob = g.spectralEstimate;
export const exported = g.exportOnnx;
export const optimizers = [g.sgd(lin, { learningRate: 1 }), g.adamW(lin), g.lion(lin), g.radam(lin), g.nadam(lin)];
export const others = [g.adagrad(lin), g.adadelta(lin), g.rmsprop(lin), g.amsgrad(lin)];
export const second = g.lbfgs(lin, () => lin(x.slice(null, [0, 2])).mean());
export const rows = g.dataset({ shape: [4], dtype: "float32", values: Float32Array.of(1, 2, 3, 4) });
export const standardizer = g.fitStandardizer;
export const batches = g.loader(rows, { batchSize: 2 });
