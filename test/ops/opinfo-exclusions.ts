/** Samples that are left out, each with its reason. */

// biome-ignore lint/suspicious/noExplicitAny: arguments are what PyTorch's functions take.
type Any = any;

export interface Exclusion {
  /** The name of the case in the fixture. */
  readonly op: string | RegExp;
  readonly reason: string;
  /** Which samples, from their arguments and options as they are stored; all unless given. */
  readonly when?: (args: readonly Any[], options: Readonly<Record<string, Any>>) => boolean;
  /** Only for one of the two comparisons. */
  readonly only?: "float32" | "float64";
}

const notOffered = (op: string | RegExp, what: string): Exclusion => ({ op, reason: `not offered: ${what}` });

export const exclusions: readonly Exclusion[] = [
  notOffered(/^(select|diagonal|slice)_scatter$/, "writing into a part"),
  notOffered("unfold", "overlapping windows as an axis"),
  notOffered("nn.functional.adaptive_avg_pool1d", "pooling to a size"),
  notOffered("norm/nuc", "the nuclear norm"),
  {
    op: "linalg.norm/subgradients_at_zero",
    reason: "not offered: the nuclear norm",
    when: ([, order]) => order === "nuc",
  },
  {
    op: "linalg.norm/subgradients_at_zero",
    reason: "a negative order of zeros divides by them; PyTorch says 0",
    when: ([, order]) => order < 0 && Number.isFinite(order),
  },
  { op: "nn.functional.batch_norm/without_cudnn", reason: "integers" },
  {
    op: "take",
    reason: "positions that count from the end, as data",
    when: ([x]) => x.tensor.shape.length > 0,
    only: "float64",
  },
  { op: "logcumsumexp", reason: "cancellation leaves four digits in float32", only: "float32" },
  notOffered("special.log_ndtr", "the logarithm of the normal distribution function"),
  notOffered(/^scatter_reduce\/(prod|mean)$/, "products and means where updates meet"),
  {
    op: /^scatter_reduce/,
    reason: "not offered: include_self=False, updates that replace the element they meet",
    when: (_, { include_self }) => include_self === false,
  },
  {
    op: "linalg.matrix_norm",
    reason: "not offered: the norms of a matrix as a map, only that of its elements",
    when: ([, order]) => order !== "fro",
  },
  {
    op: /^nn.functional.(avg|max)_pool/,
    reason: "not offered: ceil_mode, windows that hang over the end",
    when: (args, { ceil_mode }) => (ceil_mode ?? args[4]) === true,
  },
  {
    op: "nn.functional.avg_pool2d",
    reason: "not offered: divisor_override",
    when: (args) => typeof args[6] === "number",
  },
  {
    op: "nn.functional.batch_norm",
    reason: "x has one axis: channels are the second",
    when: ([x]) => x.tensor.shape.length < 2,
  },
  {
    op: "nn.functional.hardtanh",
    reason: "bounds in the wrong order are an error",
    when: (_, { min_val, max_val }) => min_val > max_val,
  },
  {
    op: /^m[TH]$/,
    reason: "a scalar has no axes to swap",
    when: ([x]) => x.tensor.shape.length === 0,
  },
  {
    op: "narrow",
    reason: "a start that is known only at run time",
    when: (args) => typeof args[2] === "object",
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
