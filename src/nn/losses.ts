/** Losses: scalars, averaged over all examples. */
import { DTypeError, ShapeError } from "../errors.ts";
import { withName } from "../graph/scope.ts";
import type { Matches, Show } from "../graph/shape-types.ts";
import { type DType, type Shape, showShape, showType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * −log softmax(logits)[label], averaged. Logits [..., classes], labels int32 [...] below the number of classes. Throws
 * ShapeError when the shapes do not go together, DTypeError when the labels are not int32.
 */
export function crossEntropy<L extends Shape, C extends number, R extends Shape, D extends DType>(
  logits: Tensor<[...L, C], D>,
  labels: Tensor<R, "int32"> &
    Matches<R, L, `crossEntropy: logits ${Show<[...L, C]>} need labels ${Show<L>}, and got ${Show<R>}`>,
): Tensor<[], D> {
  const lead = (logits as Tensor).shape.slice(0, -1);
  if (`${lead}` !== `${(labels as Tensor).shape}` || (logits as Tensor).shape.length === 0)
    throw new ShapeError(
      "crossEntropy",
      `logits ${showShape((logits as Tensor).shape)} need labels ${showShape(lead)}, and got ${showShape((labels as Tensor).shape)}`,
      "give one integer label for each row of logits; turn one-hot labels into integers with argmax()",
    );
  if ((labels as Tensor).dtype !== "int32")
    throw new DTypeError(
      "crossEntropy",
      `labels are int32, and got ${showType(labels as Tensor)}`,
      'make them with tensor(values, "int32"), or .cast("int32")',
    );
  return withName(
    "crossEntropy",
    () =>
      (logits as Tensor)
        .logSoftmax()
        .pick(labels as Tensor<Shape, "int32">)
        .mean()
        .neg() as Tensor<[], D>,
  );
}

function expectSame(loss: string, a: Tensor, b: Tensor, what: string): void {
  if (`${a.shape}` !== `${b.shape}`)
    throw new ShapeError(
      loss,
      `${showShape(a.shape)} against ${what} ${showShape(b.shape)}`,
      "both sides have the same shape; reshape one of them",
    );
}

/**
 * −y·log σ(x) − (1 − y)·log(1 − σ(x)), averaged, for logits x and labels y of the same dtype: in the form
 * max(x, 0) − x·y + log(1 + e^−|x|), which neither overflows nor loses digits.
 */
export function binaryCrossEntropy<S extends Shape, R extends Shape, D extends DType>(
  logits: Tensor<S, D>,
  labels: Tensor<R, NoInfer<D>> & Matches<R, S, `binaryCrossEntropy: ${Show<S>} against ${Show<R>}`>,
): Tensor<[], D> {
  const [x, y] = [logits as Tensor, labels as Tensor];
  expectSame("binaryCrossEntropy", x, y, "labels");
  return x.relu().sub(x.mul(y)).add(x.abs().neg().exp().add(1).log()).mean() as Tensor<[], D>;
}

/** (x − y)², averaged. */
export function meanSquaredError<S extends Shape, R extends Shape, D extends DType>(
  predictions: Tensor<S, D>,
  targets: Tensor<R, NoInfer<D>> & Matches<R, S, `meanSquaredError: ${Show<S>} against ${Show<R>}`>,
): Tensor<[], D> {
  const [x, y] = [predictions as Tensor, targets as Tensor];
  expectSame("meanSquaredError", x, y, "targets");
  const difference = x.sub(y);
  return difference.mul(difference).mean() as Tensor<[], D>;
}
