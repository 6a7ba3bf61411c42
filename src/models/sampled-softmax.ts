/** A softmax over a large vocabulary, whose loss looks at a few of its tokens. */
import { ConfigError } from "../errors.ts";
import { aTensor, aWhole, expectArguments, options as optionsOf } from "../graph/arguments.ts";
import { defaultGenerator, type Generator } from "../nn/generator.ts";
import { where } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Options of `sampledCrossEntropy`. */
export interface SampledCrossEntropyOptions {
  /** How many tokens are drawn for a batch, as what each label is compared with. */
  readonly samples: number;
  /** Draws the tokens. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/**
 * Computes the cross-entropy of labels against themselves and a few other tokens, averaged. The sum over these tokens stands for that over
 * the vocabulary, each divided by how often it is expected to be drawn (importance sampling: Bengio and Senécal 2003): an estimate for
 * training, and the cross-entropy itself with ever more samples. The other tokens are drawn once for the batch, more frequent ones more often: ids must
 * be in the order of their frequency, as those of `buildVocabulary` are, since id k is drawn with the probability log((k + 2) / (k + 1)) /
 * log(V + 1). x is [rows, width], weight [vocabulary, width], bias [vocabulary], labels int32 [rows]; rows whose `counts` are 0 do not
 * count. Throws ConfigError for a number of samples below 1.
 */
export function sampledCrossEntropy(
  x: Tensor<[number, number], "float32">,
  weight: Tensor<[number, number], "float32">,
  bias: Tensor<[number], "float32">,
  labels: Tensor<[number], "int32">,
  counts: Tensor<[number], "float32">,
  options: SampledCrossEntropyOptions,
): Tensor<[], "float32"> {
  const subject = "sampledCrossEntropy";
  const known = optionsOf({ samples: aWhole, generator: () => undefined });
  expectArguments(
    subject,
    [aTensor, aTensor, aTensor, aTensor, aTensor, known],
    [x, weight, bias, labels, counts, options],
  );
  const { samples, generator = defaultGenerator } = options;
  if (!(samples >= 1)) throw new ConfigError(subject, `samples is ${samples}`, "give a whole number from 1 on");
  const [rows] = x.sizes();
  const [vocabulary] = weight.sizes();
  const all = Math.log(vocabulary + 1);
  // k = ⌊(V + 1)^u⌋ − 1 with u uniform in [0, 1)
  const drawn = generator
    .uniform([samples])
    .mul(all)
    .exp()
    .floor()
    .sub(1)
    .clip(0, vocabulary - 1)
    .cast("int32");
  /** log of how often a token is expected among the samples. */
  const logExpected = (ids: Tensor<[number], "int32">): Tensor<[number], "float32"> => {
    const k = ids.cast("float32");
    return k
      .add(2)
      .div(k.add(1))
      .log()
      .mul(samples / all)
      .log();
  };
  const own = x.mul(weight.take(labels)).sum(1).add(bias.take(labels));
  const others = x.matmul(weight.take(drawn).mT()).add(bias.take(drawn)).sub(logExpected(drawn));
  // Σ exp(sⱼ) / E[how often j is drawn] over the draws is, on average, Σ exp(sⱼ) over the vocabulary. The label is there itself: drawn, it
  // does not count again.
  const isOwn = labels.reshape([rows, 1]).equal(drawn.reshape([1, samples]));
  const kept = where(isOwn.not(), others, -1e9);
  const most = kept.max(1).maximum(own).detach();
  const sum = kept
    .sub(most.reshape([rows, 1]))
    .exp()
    .sum(1)
    .add(own.sub(most).exp());
  const losses = sum.log().add(most).sub(own);
  return losses.mul(counts).sum().div(counts.sum().maximum(1));
}
