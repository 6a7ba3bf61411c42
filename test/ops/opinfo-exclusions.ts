/** Samples that are left out, each with its reason. */

// biome-ignore lint/suspicious/noExplicitAny: arguments are what PyTorch's functions take.
type Any = any;

export interface Exclusion {
  /** The name of the case in the fixture. */
  readonly op: string | RegExp;
  readonly reason: string;
  /** Which samples, from their arguments and options as they are stored; all unless given. */
  readonly when?: (args: readonly Any[], options: Readonly<Record<string, Any>>) => boolean;
  /** Which samples, by their places; all unless given. */
  readonly samples?: readonly number[];
  /** Only for one of the two comparisons. */
  readonly only?: "float32" | "float64";
}

const notOffered = (op: string | RegExp, what: string): Exclusion => ({ op, reason: `not offered: ${what}` });

export const exclusions: readonly Exclusion[] = [
  notOffered("norm/nuc", "gradients of singular values, which need their vectors"),
  {
    op: /^linalg\.(matrix_)?norm/,
    reason: "not offered: gradients of singular values, which need their vectors",
    when: ([x, order, axes], { ord = order, dim = axes }) =>
      ord === "nuc" || (Math.abs(ord) === 2 && (dim ?? x.tensor.shape).length === 2),
  },
  { op: "nn.functional.batch_norm/without_cudnn", reason: "integers" },
  {
    op: "logcumsumexp",
    samples: [1],
    reason: "elements of 10,000, whose float32 neighbours are 0.001 away",
    only: "float32",
  },
  {
    op: "native_layer_norm",
    samples: [10],
    reason: "a variance of 0: the scale's gradient is a difference of two large numbers",
    only: "float32",
  },
  { op: "topk", samples: [4], reason: "two equal elements, of which PyTorch takes either" },
  notOffered("special.log_ndtr", "the logarithm of the normal distribution function"),
  notOffered("scatter_reduce/prod", "products where updates meet"),
  {
    op: "nn.functional._scaled_dot_product_attention",
    reason: "random: other numbers come from other generators",
    when: (_, { dropout_p }) => dropout_p > 0,
  },
  {
    op: "nn.functional.one_hot",
    reason: "a number of classes that is known only at run time",
    when: (_, { num_classes }) => num_classes < 0,
  },
  {
    op: "nn.functional.batch_norm",
    reason: "PyTorch takes an empty x with one axis; channels are the second",
    when: ([x]) => x.tensor.shape.length < 2,
  },
  {
    op: "nn.functional.hardtanh",
    reason: "bounds in the wrong order are an error",
    when: (_, { min_val, max_val }) => min_val > max_val,
  },
  {
    op: "tensor_split",
    reason: "a number of parts that is known only at run time",
    when: (args) => !Array.isArray(args[1]) && typeof args[1] === "object",
  },
  {
    op: "repeat_interleave",
    reason: "counts that are known only at run time",
    when: (_, { repeats }) => typeof repeats === "object",
  },
  {
    op: "nn.functional.hardsigmoid",
    reason: "PyTorch computes the slope 1/6 in float32",
    only: "float64",
  },
];
