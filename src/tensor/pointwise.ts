/**
 * Functions written with other ops. Each result has the shape and dtype of its tensor. Every function exported here is also a
 * method of Tensor, with the same name and without the first argument. Their gradients follow from those of the ops.
 */
import { ConfigError, ShapeError } from "../errors.ts";
import { apply } from "../graph/apply.ts";
import { unobserved } from "../graph/scope.ts";
import { isFloat, resolveAxis, type Shape, showType } from "../graph/types.ts";
import * as activations from "../ops/activations.ts";
import * as movement from "../ops/movement.ts";
import { cumsum as cumsumOp } from "../ops/reduce.ts";
import { axisList, part } from "./axes.ts";
import { arange, where } from "./create.ts";
import type { Tensor } from "./tensor.ts";

// ── Powers, logarithms, rounding ────────────────────────────────────────────────────────────────────────────────

export const square = (x: Tensor): Tensor => x.mul(x);

/** 1 / √x */
export const rsqrt = (x: Tensor): Tensor => x.sqrt().reciprocal();

/** 2ˣ */
export const exp2 = (x: Tensor): Tensor => x.scalar(2).expand(x.shape).pow(x);

export const log2 = (x: Tensor): Tensor => x.log().mul(Math.LOG2E);

export const log10 = (x: Tensor): Tensor => x.log().mul(Math.LOG10E);

/** ln(x / (1 − x)), the inverse of the sigmoid. */
export const logit = (x: Tensor): Tensor => x.log().sub(x.neg().log1p());

/** 1 − erf x */
export const erfc = (x: Tensor): Tensor => x.erf().neg().add(1);

/** Converts radians to degrees. */
export const degrees = (x: Tensor): Tensor => x.mul(180 / Math.PI);

/** Converts degrees to radians. */
export const radians = (x: Tensor): Tensor => x.mul(Math.PI / 180);

/** Rounds to the next whole number towards 0. */
export const trunc = (x: Tensor): Tensor => x.sign().mul(x.abs().floor());

/** x − trunc x, with the sign of x. */
export const fraction = (x: Tensor): Tensor => x.sub(trunc(x));

/** Limits each element to [min, max]. The gradient is 1 inside and at both bounds, 0 outside. Throws ConfigError when min > max. */
export function clip(x: Tensor, min?: number, max?: number): Tensor {
  if (min !== undefined && max !== undefined) expectOrder("clip", min, max);
  if (min === undefined && max === undefined) return x;
  return apply(activations.clip, [x], { ...(min !== undefined && { min }), ...(max !== undefined && { max }) });
}

function expectOrder(subject: string, min: number, max: number): void {
  if (!(min <= max)) throw new ConfigError(subject, `from ${min} to ${max}`, "give the smaller bound first");
}

/** Replaces NaN by `nan` and infinities by `positive` and `negative`. Defaults: 0 and the dtype's largest and smallest finite numbers. */
export function nanToNum(x: Tensor, nan: number = 0, positive?: number, negative?: number): Tensor {
  if (!isFloat(x.dtype)) return x;
  const largest = x.dtype === "float32" ? 3.4028234663852886e38 : Number.MAX_VALUE;
  const above = where(x.notEqual(Number.NEGATIVE_INFINITY), x, negative ?? -largest);
  const between = where(x.notEqual(Number.POSITIVE_INFINITY), above, positive ?? largest);
  return where(x.isNaN().not(), between, nan);
}

/** Inverts each bit. For int32. */
export const bitNot = (x: Tensor): Tensor => x.neg().sub(1);

// ── Activations ─────────────────────────────────────────────────────────────────────────────────────────────────

/** x·σ(x), also called swish (Elfwing, Uchibe and Doya 2017; Ramachandran, Zoph and Le 2017). */
export const silu = (x: Tensor): Tensor => x.mul(unobserved(() => x.sigmoid()));

/** x·tanh(ln(1 + eˣ)) (Misra 2019). */
export const mish = (x: Tensor): Tensor => x.mul(unobserved(() => x.softplus().tanh()));

/** ln σ(x) = −softplus(−x) */
export const logSigmoid = (x: Tensor): Tensor => x.neg().softplus().neg();

/**
 * x·Φ(x) with tanh in place of erf: ½x·(1 + tanh z), z = √(2/π)·(x + 0.044715·x³) (Hendrycks and Gimpel 2016). The code computes
 * ½(1 + tanh z) as σ(2z), which stays accurate where the result is small.
 */
export function geluTanh(x: Tensor): Tensor {
  const near = clip(x, -30, 30); //  beyond, σ is 0 or 1, and the cube may overflow
  const z = near.mul(near.mul(near).mul(0.044715).add(1)).mul(2 * Math.sqrt(2 / Math.PI));
  return x.mul(unobserved(() => z.sigmoid()));
}

/** x·σ(1.702·x) (Hendrycks and Gimpel 2016). */
export const quickGelu = (x: Tensor): Tensor => x.mul(unobserved(() => x.mul(1.702).sigmoid()));

/** x − tanh x */
export const tanhShrink = (x: Tensor): Tensor => x.sub(unobserved(() => x.tanh()));

/** min(max(x, 0), 6); the gradient is 0 at both bounds (Howard et al. 2017). */
export const relu6 = (x: Tensor): Tensor => hardTanh(x, 0, 6);

/** min(max(x, min), max); the gradient is 0 at both bounds. Throws ConfigError when min > max. */
export function hardTanh(x: Tensor, min: number = -1, max: number = 1): Tensor {
  expectOrder("hardTanh", min, max);
  return apply(activations.clip, [x], { min, max, activation: true });
}

/** min(max(x/6 + ½, 0), 1) (Courbariaux, Bengio and David 2015, with PyTorch's slope). */
export const hardSigmoid = (x: Tensor): Tensor => apply(activations.hardSigmoid, [x], { slope: 1 / 6, offset: 0.5 });

/** x·hardSigmoid(x) (Howard et al. 2019). The slope at ±3 is that of the parabola between, −½ and 1½. */
export const hardSwish = (x: Tensor): Tensor => x.mul(clip(x.mul(1 / 6).add(0.5), 0, 1));

/** x where x > 0, α·(eˣ − 1) elsewhere (Clevert, Unterthiner and Hochreiter 2015). */
export const elu = (x: Tensor, alpha: number = 1): Tensor => apply(activations.elu, [x], { alpha });

/** max(0, x) + min(0, α·(e^(x/α) − 1)) (Barron 2017). */
export const celu = (x: Tensor, alpha: number = 1): Tensor => elu(x.mul(1 / alpha)).mul(alpha);

/** λ·elu(x, α) with the constants that keep mean 0 and variance 1 from layer to layer (Klambauer et al. 2017). */
export const selu = (x: Tensor): Tensor => elu(x, 1.6732632423543772).mul(1.0507009873554805);

/** x where x > 0, slope·x elsewhere (Maas, Hannun and Ng 2013). */
export const leakyRelu = (x: Tensor, slope: number = 0.01): Tensor =>
  apply(activations.leakyRelu, [x], { alpha: slope });

/** x where |x| > λ, else 0; NaN stays NaN. */
export const hardShrink = (x: Tensor, lambda: number = 0.5): Tensor => where(x.abs().lessEqual(lambda).not(), x, 0);

/** x moved towards 0 by λ; 0 where |x| ≤ λ. */
export const softShrink = (x: Tensor, lambda: number = 0.5): Tensor => x.sub(clip(x, -lambda, lambda));

/** x where x > at, else `value`; NaN stays NaN. */
export const threshold = (x: Tensor, at: number, value: number): Tensor => where(x.lessEqual(at).not(), x, value);

/** exp(−x) / Σ exp(−x) along an axis, default the last. */
export const softmin = (x: Tensor, axis: number = -1): Tensor => x.neg().softmax(axis);

// ── Masks ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns the lower triangle of the last two axes, with zeros above the diagonal. `offset` moves the diagonal upwards. */
export const tril = (x: Tensor, offset: number = 0): Tensor => where(belowDiagonal("tril", x, offset), x, 0);

/** Returns the upper triangle of the last two axes, with zeros below the diagonal. `offset` moves the diagonal upwards. */
export const triu = (x: Tensor, offset: number = 0): Tensor => where(belowDiagonal("triu", x, offset - 1).not(), x, 0);

/** bool [n, m]: column − row ≤ offset. */
function belowDiagonal(subject: string, x: Tensor, offset: number): Tensor<Shape, "bool"> {
  const [rows, columns] = x.shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new ShapeError(subject, `${showType(x)} is no matrix`, "reshape it to two axes or more");
  const column = arange(columns).expand([rows, columns]) as Tensor;
  return column.sub(arange(rows).reshape([rows, 1])).lessEqual(offset) as Tensor<Shape, "bool">;
}

// ── Along an axis ───────────────────────────────────────────────────────────────────────────────────────────────

/** Reverses the order of the elements along one axis or several. */
export function flip(x: Tensor, axes: number | readonly number[]): Tensor {
  const turned = axisList("flip", axes, x.shape.length);
  return x.slice(...x.shape.map((_, axis) => (turned.includes(axis) ? ([-1, undefined, -1] as const) : null)));
}

/** Moves the elements along an axis by `shift` places. Elements moved past the end come back at the beginning. */
export function roll(x: Tensor, shift: number, axis: number): Tensor {
  const at = resolveAxis("roll", axis, x.shape.length);
  const size = x.shape[at]!;
  const by = size === 0 ? 0 : ((shift % size) + size) % size;
  return by === 0 ? x : part(x, at, size - by).apply(movement.concat, [part(x, at, 0, size - by)], { axis: at });
}

export interface CumsumOptions {
  /** Whether to sum from the end of the axis. Default false. */
  readonly reverse?: boolean;
  /** Whether each sum leaves out the element at its own position. Default false. */
  readonly exclusive?: boolean;
}

/** Returns running sums along an axis, default the last. */
export function cumsum(
  x: Tensor,
  axis: number = -1,
  { reverse = false, exclusive = false }: CumsumOptions = {},
): Tensor {
  const at = resolveAxis("cumsum", axis, x.shape.length);
  return apply(cumsumOp, [x], { axis: at, reverse, exclusive });
}

/** Returns running products along an axis, default the last. */
export const cumprod = (x: Tensor, axis: number = -1): Tensor => running("cumprod", x, axis, (a, b) => a.mul(b));

/** Returns running maxima along an axis, default the last; NaN from the first NaN on. Among equal elements the last gets the gradient. */
export const cummax = (x: Tensor, axis: number = -1): Tensor =>
  running("cummax", x, axis, (a, b) => where(a.greaterEqual(b).or(a.isNaN()), a, b));

/** Returns running minima along an axis, default the last; NaN from the first NaN on. Among equal elements the last gets the gradient. */
export const cummin = (x: Tensor, axis: number = -1): Tensor =>
  running("cummin", x, axis, (a, b) => where(a.lessEqual(b).or(a.isNaN()), a, b));

/** Returns running ln Σ exp along an axis, default the last. An element of −∞ adds 0 to the sum, and its gradient is 0. */
export function logCumSumExp(x: Tensor, axis: number = -1): Tensor {
  const counted = where(x.equal(Number.NEGATIVE_INFINITY).not(), x, Number.NEGATIVE_INFINITY);
  return running("logCumSumExp", counted, axis, (a, b) => a.logAddExp(b));
}

/** Combines all elements up to each position by an associative f, in log₂ n steps (Hillis and Steele 1986). */
function running(subject: string, x: Tensor, axis: number, f: (a: Tensor, b: Tensor) => Tensor): Tensor {
  const at = resolveAxis(subject, axis, x.shape.length);
  const size = x.shape[at]!;
  let y = x;
  for (let by = 1; by < size; by *= 2)
    y = part(y, at, 0, by).apply(movement.concat, [f(part(y, at, by), part(y, at, 0, size - by))], { axis: at });
  return y;
}
