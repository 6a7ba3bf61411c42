/** Rules that follow from the ops' meaning alone: constants, identities, and moves that cancel. */

import { apply } from "../../graph/apply.ts";
import type { Data, Op } from "../../graph/op.ts";
import { arrayTypes, type DType, isFloat, sameShape, sizeOf } from "../../graph/types.ts";
import * as arithmetic from "../../ops/arithmetic.ts";
import { neg } from "../../ops/elementwise.ts";
import { unpick } from "../../ops/indexing.ts";
import * as movement from "../../ops/movement.ts";
import { deviations, squaredDeviations, sum } from "../../ops/reduce.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bySize, paramsOf, type RewriteRule, ruleFor } from "./rewrite.ts";

/** The value that all elements of a tensor have, if the compiler knows it; undefined otherwise. */
export function constantOf(x: Tensor): number | undefined {
  return paramsOf(x, movement.full)?.params.value;
}

const scalarLike = (x: Tensor, value: number): Tensor => x.scalar(value);

/** Returns a tensor with its last two axes swapped. A transpose that is there already is merged, not added to. */
export function swapLast(x: Tensor): Tensor {
  const inner = paramsOf(x, movement.transpose);
  if (!inner) return x.mT();
  const order = [...inner.params.permutation];
  const last = order.length - 1;
  [order[last - 1], order[last]] = [order[last]!, order[last - 1]!];
  const [source] = inner.inputs;
  return order.every((axis, at) => axis === at) ? source! : source!.transpose(...order);
}

/** An op whose inputs are all constants of one element is computed now. */
const foldConstants: RewriteRule = {
  name: "fold constants",
  rewrite({ node, inputs }) {
    const output = node.outputs[0]!;
    if (inputs.length === 0 || node.outputs.length !== 1 || sizeOf(output.shape) !== 1) return undefined;
    const data: Data[] = [];
    for (const input of inputs) {
      const value = constantOf(input);
      if (value === undefined || input.size !== 1) return undefined;
      data.push({ shape: input.shape, dtype: input.dtype, values: Float64Array.of(value) });
    }
    const result: Data = { ...output, values: new Float64Array(1) };
    node.op.evaluate(data, [result], node.params);
    // Rounded to the dtype, as an engine would compute it.
    const value = new arrayTypes[output.dtype]([result.values[0]!])[0]!;
    return [apply(movement.full, [], { shape: output.shape, value, dtype: output.dtype })];
  },
};

/** reshape and expand of a constant are constants of another shape. */
const moveConstants: readonly RewriteRule[] = [movement.reshape, movement.expand].map((op) =>
  ruleFor(`${op.name} of a constant`, op, ([x], { shape }) => {
    const value = constantOf(x!);
    return value === undefined ? undefined : apply(movement.full, [], { shape, value, dtype: x!.dtype });
  }),
);

/** Elementwise ops with two inputs: they widen the right side themselves. */
const widening = Object.values(arithmetic).filter(
  (op): op is arithmetic.PairOp | arithmetic.ComparisonOp | arithmetic.LogicOp =>
    typeof op === "object" && "pair" in op,
);

/** A right side that was expanded is used without the expand, and a constant of many elements as a scalar: the op widens it anyway. */
const widenLate: readonly RewriteRule[] = widening.map((op) =>
  ruleFor(`widen the right side of ${op.name} late`, op, ([a, b]) => {
    const value = constantOf(b!);
    if (value !== undefined && b!.shape.length > 0) return apply(op, [a!, scalarLike(b!, value)], undefined);
    const widened = paramsOf(b!, movement.expand);
    if (widened) return apply(op, [a!, widened.inputs[0]!], undefined);
    return undefined;
  }),
);

/** a ∘ b = b ∘ a where the left side is the constant or the widened one. */
const swapSides: readonly RewriteRule[] = [arithmetic.add, arithmetic.mul].map((op) =>
  ruleFor(`constant side of ${op.name} to the right`, op, ([a, b]) => {
    const narrow = constantOf(a!) !== undefined || paramsOf(a!, movement.expand);
    const other = constantOf(b!) !== undefined || paramsOf(b!, movement.expand);
    return narrow && !other && sameShape(a!.shape, b!.shape) ? apply(op, [b!, a!], undefined) : undefined;
  }),
);

/** Whether a tensor is 0 everywhere. For floats the sign must be that of `zero`, since −0 + 0 is 0, and −0 + −0 is −0. */
const isZero = (c: Tensor, zero: 0 | -0): boolean =>
  isFloat(c.dtype) ? Object.is(constantOf(c), zero) : constantOf(c) === 0;

const neutral: readonly RewriteRule[] = [
  ruleFor("x + −0", arithmetic.add, ([x, c]) => (isZero(c!, -0) ? x : undefined)),
  ruleFor("x − 0", arithmetic.sub, ([x, c]) => (isZero(c!, 0) ? x : undefined)),
  ruleFor("x · 1", arithmetic.mul, ([x, c]) => (constantOf(c!) === 1 ? x : undefined)),
  ruleFor("x / 1", arithmetic.div, ([x, c]) => (constantOf(c!) === 1 ? x : undefined)),
  ruleFor("x ^ 1", arithmetic.pow, ([x, c]) => (constantOf(c!) === 1 ? x : undefined)),
  ruleFor("x ^ 2", arithmetic.pow, ([x, c]) => (constantOf(c!) === 2 ? x!.mul(x!) : undefined)),
  ruleFor("x · −1", arithmetic.mul, ([x, c]) => (constantOf(c!) === -1 ? x!.neg() : undefined)),
  ruleFor("x + −c", arithmetic.sub, ([x, c]) => {
    const value = constantOf(c!);
    return value === undefined || !isFloat(x!.dtype) ? undefined : x!.add(scalarLike(c!, -value));
  }),
];

const negation: readonly RewriteRule[] = [
  ruleFor("−(−x)", neg, ([x]) => paramsOf(x!, neg)?.inputs[0]),
  ruleFor("−(x·c)", neg, ([x], _, { uses }) => {
    const scaled = scaledBy(x!);
    return scaled && uses(x!) === 1 ? scaled.x.mul(-scaled.factor) : undefined;
  }),
  ruleFor("a + (−b)", arithmetic.add, ([a, b]) => {
    const negated = paramsOf(b!, neg)?.inputs[0];
    return negated && a!.sub(negated);
  }),
  ruleFor("(−a) + b", arithmetic.add, ([a, b]) => {
    const negated = paramsOf(a!, neg)?.inputs[0];
    return negated && sameShape(negated.shape, b!.shape) ? b!.sub(negated) : undefined;
  }),
  ruleFor("a − (−b)", arithmetic.sub, ([a, b]) => {
    const negated = paramsOf(b!, neg)?.inputs[0];
    return negated && a!.add(negated);
  }),
];

/** Returns x and c if a tensor is x · c with a constant c. */
export function scaledBy(y: Tensor): { readonly x: Tensor; readonly factor: number } | undefined {
  const product = paramsOf(y, arithmetic.mul);
  const factor = product && constantOf(product.inputs[1]!);
  return factor === undefined ? undefined : { x: product!.inputs[0]!, factor };
}

/** Returns x and y if a tensor is x · y with y at most half as large: a scale of the product costs less as a scale of y. */
function narrowProduct(z: Tensor): { readonly x: Tensor; readonly y: Tensor } | undefined {
  const [x, y] = (isFloat(z.dtype) && paramsOf(z, arithmetic.mul)?.inputs) || [];
  return x && y && y.size * 2 <= x.size && constantOf(y) === undefined ? { x, y } : undefined;
}

/**
 * Returns a number that is to replace two factors, if it may: undefined if it overflows to infinity or underflows in the dtype, as the
 * factors do not. Since x may be 0 or infinite, 0 · ∞ would then give NaN.
 */
export function asFactor(value: number, dtype: DType): number | undefined {
  const size = Math.abs(dtype === "float32" ? Math.fround(value) : value);
  const [least, most] = dtype === "float32" ? [2 ** -126, 2 ** 128] : [2 ** -1022, Infinity];
  return size >= least && size < most ? value : undefined;
}

const scaling: readonly RewriteRule[] = [
  ruleFor("(x · c) · d", arithmetic.mul, ([a, b]) => {
    const inner = scaledBy(a!);
    const factor = constantOf(b!);
    if (!inner || factor === undefined || !isFloat(a!.dtype)) return undefined;
    const both = asFactor(inner.factor * factor, a!.dtype);
    return both === undefined ? undefined : inner.x.mul(both);
  }),
  bySize("(x · y) · c", arithmetic.mul, ([a, c], _, { uses }) => {
    const { x, y } = (uses(a!) === 1 && narrowProduct(a!)) || {};
    return x && y && constantOf(c!) !== undefined ? x.mul(y.mul(c!)) : undefined;
  }),
];

/**
 * Σ x·v is v·Σx if v is the same along the axes. The rule applies where no other node uses the product, or where another node needs Σx
 * anyway, as the gradient of the shift in batch normalisation does.
 */
const factorOfSum: RewriteRule = ruleFor(
  "Σ x·v with v outside",
  sum,
  ([product], params, { node, uses, readersOf }) => {
    const [x, v] = paramsOf(product!, arithmetic.mul)?.inputs ?? [];
    const { axes } = params;
    if (!x || !v || !isFloat(x.dtype) || constantOf(v) !== undefined || x.size === 0) return undefined;
    const lead = x.shape.length - v.shape.length;
    if (axes.length === 0 || axes.some((axis) => axis >= lead && v.shape[axis - lead] !== 1)) return undefined;
    const isSummed = (other: Tensor): boolean => {
      const known = paramsOf(other, sum);
      return known !== undefined && `${known.params.axes}` === `${axes}`;
    };
    if (uses(product!) > 1 && !readersOf(x).some(isSummed)) return undefined;
    const kept = apply(sum, [x], { axes, keepDims: true }).mul(v);
    return kept.reshape(node.outputs[0]!.shape);
  },
);

/** Moves a constant factor behind a reshape or transpose, towards a product that can include it. */
function scaleLater<P>(op: Op<P>): RewriteRule {
  return ruleFor(`scale after ${op.name}`, op, ([x], params, { uses }) => {
    const scaled = uses(x!) === 1 ? scaledBy(x!) : undefined;
    return scaled && apply(op, [scaled.x], params).mul(scaled.factor);
  });
}

const moves: readonly RewriteRule[] = [
  ruleFor("reshape to the same shape", movement.reshape, ([x], { shape }) =>
    sameShape(x!.shape, shape) ? x : undefined,
  ),
  ruleFor("reshape of a reshape", movement.reshape, ([x], params) => {
    const inner = paramsOf(x!, movement.reshape);
    return inner && apply(movement.reshape, inner.inputs, params);
  }),
  ruleFor("expand the same shape", movement.expand, ([x], { shape }) => (sameShape(x!.shape, shape) ? x : undefined)),
  ruleFor("transpose of a transpose", movement.transpose, ([x], { permutation }) => {
    const inner = paramsOf(x!, movement.transpose);
    const order = permutation.map((axis) => inner?.params.permutation[axis] ?? axis);
    return inner && apply(movement.transpose, inner.inputs, { permutation: order });
  }),
  ruleFor("transpose to the same order", movement.transpose, ([x], { permutation }) =>
    permutation.every((axis, at) => axis === at) ? x : undefined,
  ),
  scaleLater(movement.reshape),
  scaleLater(movement.transpose),
  ruleFor("detach", movement.detach, ([x]) => x),
  ruleFor("a choice between x and x", arithmetic.where, ([, a, b]) =>
    a!.node === b!.node && a!.index === b!.index ? a : undefined,
  ),
  ruleFor("squared deviations written out", squaredDeviations, ([x], params) => {
    // The mean of the deviations is 0, except for the rounding of x̄, which is large where the numbers are large and close together. So
    // that mean is subtracted again.
    const centered = deviations(deviations(x!, params), params);
    return apply(sum, [centered.mul(centered)], params);
  }),
  ruleFor("sum over axes of size 1", sum, ([x], { axes, keepDims }, { node }) =>
    axes.every((axis) => x!.shape[axis] === 1) ? x!.reshape(keepDims ? x!.shape : node.outputs[0]!.shape) : undefined,
  ),
  ruleFor("sum over the axis of an unpick", sum, ([x], { axes, keepDims }) => {
    const inner = paramsOf(x!, unpick);
    if (!inner || axes.length !== 1 || axes[0] !== x!.shape.length - 1) return undefined;
    const [value] = inner.inputs;
    return keepDims ? value!.reshape([...value!.shape, 1]) : value;
  }),
];

export const simplify: readonly RewriteRule[] = [
  foldConstants,
  ...moveConstants,
  ...swapSides,
  ...widenLate,
  ...neutral,
  ...negation,
  ...scaling,
  factorOfSum,
  ...moves,
];
