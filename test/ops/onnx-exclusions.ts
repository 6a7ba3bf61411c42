/** Tests that are left out, each with its reason; and those that are compared less closely. */

export interface Exclusion {
  readonly reason: string;
  /** Tests with a node of such an op. */
  readonly op?: RegExp;
  /** Tests of such a name, without its `test_`. */
  readonly test?: RegExp;
  /** Tests with an input or output of such an element type. */
  readonly dtype?: RegExp;
}

const notOffered = (op: RegExp, what: string): Exclusion => ({ op, reason: `not offered: ${what}` });

export const exclusions: readonly Exclusion[] = [
  { dtype: /^float16$/, reason: "float16" },
  { test: /BFLOAT16/, reason: "bfloat16" },
  { op: /^(Adam|Adagrad|Momentum)$/, reason: "an optimizer, see test/optim/onnx-optimizers.test.ts" },
  { op: /^(Bernoulli|RandomUniformLike)$/, reason: "random: other numbers come from other generators" },
  { test: /^training_dropout(_default)?(_mask)?$/, reason: "random: other numbers come from other generators" },
  notOffered(/[Qq]uantize|Integer$|^QLinear/, "quantised numbers"),
  notOffered(/^(Compress|NonMaxSuppression|NonZero|Unique)$/, "results whose shape depends on values"),
  notOffered(/^(DFT|STFT|MelWeightMatrix)$/, "signal processing"),
  notOffered(/^Det$/, "determinants"),
  notOffered(/^(GridSample|RoiAlign)$/, "sampling of images at places that are data"),
  notOffered(/^TfIdfVectorizer$/, "counting of n-grams"),
  {
    test: /^resize_(?!upsample_scales_nearest$)/,
    reason: "not offered: interpolation, and factors that are not whole",
  },
  { test: /^scatternd_multiply$/, reason: "not offered: products where updates meet" },
  { test: /^maxpool_2d_uint8$/, reason: "pooling takes floats" },
];

export interface Tolerance {
  readonly reason: string;
  readonly test: RegExp;
  readonly tolerance: number;
}

/** A share of the tensor's largest magnitude in place of 1e-5. */
export const tolerances: readonly Tolerance[] = [
  { test: /^(blackman|hamming|hann)window/, tolerance: 1e-4, reason: "ONNX's values are made with π as 3.1415" },
];
