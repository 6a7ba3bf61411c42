/**
 * Elementwise functions of two tensors. An op widens its right side to the shape of its left side. The methods of Tensor first repeat a
 * left side that is narrower, so that users can broadcast both ways.
 */
import { DTypeError, ShapeError } from "../errors.ts";
import {
  anyType,
  commonType,
  type Data,
  defineOp,
  expectType,
  floats,
  numeric,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  type Sample,
  type Sampler,
} from "../graph/op.ts";
import { type DType, isFloat, type Shape, sameShape, showShape, sizeOf, type TensorType } from "../graph/types.ts";
import { kernelSmallSoftplus } from "../kernel/approximations.ts";
import type { KernelValue, KernelWriter } from "../kernel/kernel.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { softplusNodes } from "./exponentials.ts";
import { forNumbers } from "./nonfinite.ts";

/** Whether broadcasting can repeat a tensor of shape `from` to shape `to`. */
export function widens(from: Shape, to: Shape): boolean {
  const lead = to.length - from.length;
  return lead >= 0 && from.every((size, axis) => size === 1 || size === to[lead + axis]);
}

/** Throws ShapeError unless `b` can be repeated to the shape of `a`. */
export function expectWidens(op: string, a: TensorType, b: TensorType): void {
  if (!widens(b.shape, a.shape))
    throw new ShapeError(
      op,
      `${showShape(b.shape)} does not broadcast into ${showShape(a.shape)}`,
      "reshape one side so that each axis, counted from the last, is equal or 1 on the right",
    );
}

/**
 * Returns a function from each position in a tensor of shape `to` to the position in a tensor of shape `from` that broadcasting reads
 * there.
 */
export function broadcastPositions(from: Shape, to: Shape): (position: number) => number {
  return (position) => {
    let at = 0;
    let stride = 1;
    let rest = position;
    for (let axis = 1; axis <= from.length; axis++) {
      const size = from[from.length - axis]!;
      const full = to[to.length - axis]!;
      at += (size === 1 ? 0 : rest % full) * stride;
      rest = Math.floor(rest / full);
      stride *= size;
    }
    return at;
  };
}

interface BinaryRule {
  readonly name: string;
  readonly onnx: string | ((graph: OnnxGraph, a: OnnxValue, b: OnnxValue, dtype: DType) => OnnxValue);
  readonly f: (a: number, b: number, dtype: DType) => number;
  /** Returns da and db. Where a and b are the same value, da may be the whole gradient, without db. The caller sums db to b's shape. */
  readonly gradient?: (a: Tensor, b: Tensor, c: Tensor, dc: Tensor) => readonly [Tensor, Tensor | undefined];
  readonly dtypes?: readonly DType[];
  readonly result?: DType;
  readonly onnxTypes?: readonly DType[];
  readonly sample?: Draw;
  readonly kernel?: Op<undefined>["kernel"];
  readonly severalPasses?: true;
  readonly divisor?: Op<undefined>["divisor"];
  /** Whether the two sides may change places. Default false. */
  readonly commutes?: boolean;
}

type Draw = (random: Sampler, ...shape: number[]) => Data;
const real: Draw = (random, ...shape) => random.real(...shape);
const positive: Draw = (random, ...shape) => random.positive(...shape);
const booleans: Draw = (random, ...shape) => random.booleans(...shape);
const bits: Draw = (random, ...shape) => random.integers(31, ...shape);

/** An elementwise op of two tensors whose result has their dtype. It is a method of Tensor with the same name. */
export interface PairOp extends Op<undefined> {
  readonly pair: "same";
  readonly commutes: boolean;
}

/** An elementwise op that compares two tensors. It is a method of Tensor with the same name. */
export interface ComparisonOp extends Op<undefined> {
  readonly pair: "comparison";
  readonly commutes: boolean;
}

/** An elementwise op of two bool tensors. It is a method of Tensor with the same name. */
export interface LogicOp extends Op<undefined> {
  readonly pair: "logic";
  readonly commutes: boolean;
}

const pair = (rule: BinaryRule): PairOp =>
  Object.assign(binary(rule), { pair: "same" as const, commutes: rule.commutes ?? false });

const comparison = (rule: Omit<BinaryRule, "result" | "gradient">): ComparisonOp =>
  Object.assign(binary({ ...rule, result: "bool" }), {
    pair: "comparison" as const,
    commutes: rule.commutes ?? false,
  });

const logic = (rule: Omit<BinaryRule, "dtypes" | "gradient" | "sample">): LogicOp =>
  Object.assign(binary({ ...rule, dtypes: ["bool"], sample: booleans }), {
    pair: "logic" as const,
    commutes: true,
  });

/** Makes the record of an elementwise op of two tensors, without making the op a method of Tensor. */
export function binary(rule: BinaryRule): Op<undefined> {
  const {
    name,
    onnx,
    f,
    gradient,
    dtypes = numeric,
    result,
    onnxTypes,
    sample = real,
    kernel,
    severalPasses,
    divisor,
  } = rule;
  return defineOp<undefined>({
    name,
    elementwise: true,
    onnxTypes,
    ...(kernel && { kernel }),
    ...(severalPasses && { severalPasses }),
    ...(divisor && { divisor }),
    shape([a, b]) {
      expectWidens(name, a!, b!);
      return a!.shape;
    },
    dtype: (inputs) => {
      const common = commonType(name, inputs, dtypes);
      return result ?? common;
    },
    ...(gradient && {
      gradient: ([a, b], c, dc) => {
        const [da, db] = gradient(a!, b!, c, dc);
        return [da, db?.sumTo(b!.shape)];
      },
    }),
    onnx(graph, [a, b], { inputTypes: [typeA, typeB], outputTypes: [c] }) {
      const [from, to] = [typeB!.shape, typeA!.shape];
      const written = (inner: OnnxGraph, right: OnnxValue): OnnxValue =>
        typeof onnx === "string" ? inner.node(onnx, [a, right]) : onnx(inner, a!, right, typeA!.dtype);
      if (graph.target.manySizes || from.length === 0 || sameShape(from, to)) return written(graph, b!);
      const repeated = longRuns(from, to);
      return graph.choose(Number(repeated !== undefined), c!, [
        (inner) => written(inner, b!),
        (inner) => written(inner, inner.node("Expand", [b, inner.integers(repeated ?? from)])),
      ]);
    },
    evaluate([a, b], c) {
      const at = broadcastPositions(b!.shape, c.shape);
      for (let i = 0; i < c.values.length; i++) c.values[i] = f(a!.values[i]!, b!.values[at(i)]!, a!.dtype);
    },
    samples: (random) => pairs(random, sample),
  });
}

/**
 * ONNX Runtime works on runs of neighbouring elements that are neighbours on the right side too. Runs shorter than this cost up to 2.5
 * times as much.
 */
const longRun = 256;

/**
 * The shape to which a right side should be repeated along some of its axes of size 1: undefined unless this makes long runs and the
 * repeated tensor is small beside the left side.
 */
function longRuns(from: Shape, to: Shape): Shape | undefined {
  const full = to.slice(to.length - from.length);
  const repeated = [...from];
  let run = 1;
  for (let axis = from.length - 1; axis >= 0 && run < longRun; axis--) {
    if (repeated[axis] !== full[axis] && run === 1) return undefined; //  each run repeats one element of b already
    repeated[axis] = full[axis]!;
    run *= full[axis]!;
  }
  const isSmall = sizeOf(to) > 0 && 16 * sizeOf(repeated) <= sizeOf(to);
  return isSmall && !sameShape(repeated, from) ? repeated : undefined;
}

function pairs(random: Sampler, draw: Draw): readonly Sample<undefined>[] {
  const shapes: readonly (readonly [number[], number[]])[] = [
    [
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3]],
    [
      [4, 2, 3],
      [2, 1],
    ],
    [[2, 3], []],
    [[], []],
    [[0, 3], [3]],
  ];
  return shapes.map(([a, b]) => ({ inputs: [draw(random, ...a), draw(random, ...b)], params: undefined }));
}

/** Results of int32 arithmetic wrap around, as in every engine. */
const wrap = (value: number, dtype: DType): number => (dtype === "int32" ? value | 0 : value);

export const add: PairOp = pair({
  name: "add",
  commutes: true,
  onnx: "Add",
  kernel: (write, inputs) => write.apply("add", ...inputs),
  f: (a, b, dtype) => wrap(a + b, dtype),
  gradient: (_a, _b, _c, dc) => [dc, dc],
});

export const sub: PairOp = pair({
  name: "sub",
  onnx: "Sub",
  kernel: (write, inputs) => write.apply("sub", ...inputs),
  f: (a, b, dtype) => wrap(a - b, dtype),
  gradient: (_a, b, _c, dc) => [dc, dc.sumTo(b.shape).neg()], // summed first, so that fewer elements are negated
});

export const mul: PairOp = pair({
  name: "mul",
  commutes: true,
  onnx: "Mul",
  kernel: (write, inputs) => write.apply("mul", ...inputs),
  f: (a, b, dtype) => (dtype === "int32" ? Math.imul(a, b) : a * b),
  gradient: (a, b, _c, dc) =>
    a.node === b.node && a.index === b.index
      ? [dc.mul(a).mul(2), undefined] //                   a² at once: the sum of two equal terms would be one more pass
      : [dc.mul(b), dc.mul(a)],
});

/** Returns the number of the input that divides, if it is int32. Floats may be divided by 0, so there is nothing to check. */
const divisor = ([a]: readonly TensorType[]): number | undefined => (a!.dtype === "int32" ? 1 : undefined);

/**
 * Replaces int32 divisors by which the processor cannot divide every number. 1 replaces −1, since −2³¹ / −1 traps, and 0, for which a check
 * stops the run.
 */
function safeDivisor(graph: OnnxGraph, b: OnnxValue): OnnxValue {
  const integer = (value: number): OnnxValue => graph.constant("int32", [], [value]);
  const isUnsafe = graph.node("Equal", [b, graph.node("Clip", [b, integer(-1), integer(0)])]);
  return graph.node("Where", [isUnsafe, integer(1), b]);
}

/** The quotient a / b. For int32 it is truncated towards zero, −2³¹ / −1 wraps around to −2³¹, and a divisor of 0 stops the run. */
export const div: PairOp = pair({
  name: "div",
  onnx(graph, a, b, dtype) {
    if (dtype !== "int32") return graph.node("Div", [a, b]);
    const zero = graph.constant("int32", [], [0]);
    const quotient = graph.node("Div", [a, safeDivisor(graph, b)]);
    const isNegated = graph.node("Equal", [b, graph.constant("int32", [], [-1])]);
    return graph.node("Where", [isNegated, graph.node("Sub", [zero, a]), quotient]);
  },
  divisor,
  kernel: (write, inputs) => write.apply("div", ...inputs),
  f: (a, b, dtype) => (dtype === "int32" ? Math.trunc(a / b) | 0 : a / b),
  sample: positive,
  gradient(_a, b, c, dc) {
    const da = dc.div(b);
    return [da, da.mul(c).neg()]; //                       c = a/b  ⇒  da = dc/b,  db = −dc·c/b
  },
});

/** Whether IEEE 754 defines aᵇ as 1 where JavaScript may give NaN: 1 to any power, and ±1 to an infinite power. */
const isOne = (a: number, b: number): boolean => a === 1 || (a === -1 && Math.abs(b) === Infinity);

export const pow: PairOp = pair({
  name: "pow",
  onnx: "Pow",
  f: (a, b) => (isOne(a, b) ? 1 : a ** b),
  dtypes: floats,
  sample: positive,
  gradient(a, b, c, dc) {
    // c = aᵇ  ⇒  da = dc·b·aᵇ⁻¹,  db = dc·c·ln a, where 0·0⁻¹ and 0·ln 0 count as 0.
    const isZero = a.equal(0).and(b.equal(0));
    const da = dc.mul(b).mul(a.pow(chosen(isZero, b.scalar(1).expand(isZero.shape), b.expand(isZero.shape)).sub(1)));
    const safe = chosen(a.equal(0).and(b.less(0).not()), a.scalar(1).expand(a.shape), a);
    return [da, dc.mul(c).mul(safe.log())];
  },
});

/**
 * Returns one side's share of the gradient: half for a tie, 0 where this side loses. Where either side is NaN neither loses, and both get
 * the whole gradient.
 */
function shared(dc: Tensor, ties: Tensor, loses: Tensor): Tensor {
  const zero = dc.scalar(0).expand(dc.shape);
  return chosen(ties, dc.mul(0.5), chosen(loses, zero, dc));
}

/** The larger or smaller of two elements; NaN if either is NaN. The processor's instruction alone ignores a NaN in `a`. */
export function extreme(write: KernelWriter, operation: "min" | "max", a: KernelValue, b: KernelValue): KernelValue {
  return write.apply("select", write.apply("unordered", a, a), a, write.apply(operation, a, b));
}

export const maximum: PairOp = pair({
  name: "maximum",
  commutes: true,
  onnx: "Max",
  kernel: (write, [a, b]) => extreme(write, "max", a!, b!),
  f: (a, b) => (a > b || Number.isNaN(a) ? a : b),
  gradient: (a, b, _c, dc) => [shared(dc, a.equal(b), a.less(b)), shared(dc, a.equal(b), a.greater(b))],
});

export const minimum: PairOp = pair({
  name: "minimum",
  commutes: true,
  onnx: "Min",
  kernel: (write, [a, b]) => extreme(write, "min", a!, b!),
  f: (a, b) => (a < b || Number.isNaN(a) ? a : b),
  gradient: (a, b, _c, dc) => [shared(dc, a.equal(b), a.greater(b)), shared(dc, a.equal(b), a.less(b))],
});

/** ln(eᵃ + eᵇ), without overflow or loss of digits. For two −∞ the result is −∞, and the gradient of both is 0. */
export const logAddExp: PairOp = pair({
  name: "logAddExp",
  commutes: true,
  dtypes: floats,
  onnx(graph, a, b, dtype) {
    const distance = graph.node("Abs", [graph.node("Sub", [a, b])]);
    const more = softplusNodes(graph, graph.node("Neg", [distance]), dtype);
    const none = graph.constant(dtype, [], [0]); //  used where the distance is NaN: for two equal infinities
    const safe = graph.node("Where", [graph.node("IsNaN", [distance]), none, more]);
    return graph.node("Add", [graph.node("Max", [a, b]), safe]);
  },
  kernel(write, [a, b]) {
    const distance = write.apply("abs", write.apply("sub", a!, b!));
    const more = kernelSmallSoftplus(write, distance);
    const safe = write.apply("select", write.apply("unordered", distance, distance), write.constant(0), more);
    return write.apply("add", extreme(write, "max", a!, b!), safe);
  },
  severalPasses: true,
  f(a, b) {
    const distance = Math.abs(a - b);
    return Math.max(a, b) + (Number.isNaN(distance) ? 0 : Math.log1p(Math.exp(-distance)));
  },
  gradient(a, b, c, dc) {
    // c = ln(eᵃ + eᵇ)  ⇒  da = dc·σ(a − b),  db = dc·σ(b − a); half of dc each for two +∞, 0 for two −∞
    const zero = dc.scalar(0).expand(dc.shape);
    const isTie = a.equal(b).and(c.isInf());
    const distance = chosen(isTie, zero, a.sub(b));
    const counted = chosen(c.equal(Number.NEGATIVE_INFINITY), zero, dc);
    return [counted.mul(distance.sigmoid()), counted.mul(distance.neg().sigmoid())];
  },
});

export const equal: ComparisonOp = comparison({
  name: "equal",
  commutes: true,
  onnx: "Equal",
  // In a kernel, true is a mask with all bits set. As a float32 these bits are NaN, which does not equal itself.
  kernel: (write, inputs, _, [type]) => (type!.dtype === "bool" ? undefined : write.apply("equal", ...inputs)),
  f: (a, b) => Number(a === b),
  dtypes: anyType,
});

export const less: ComparisonOp = comparison({
  name: "less",
  onnx: "Less",
  kernel: (write, [a, b]) => write.apply("less", a!, b!),
  f: (a, b) => Number(a < b),
});

export const greater: ComparisonOp = comparison({
  name: "greater",
  onnx: "Greater",
  kernel: (write, [a, b]) => write.apply("less", b!, a!),
  f: (a, b) => Number(a > b),
});

export const lessEqual: ComparisonOp = comparison({
  name: "lessEqual",
  onnx: "LessOrEqual",
  kernel: (write, [a, b]) => write.apply("lessEqual", a!, b!),
  f: (a, b) => Number(a <= b),
});

export const greaterEqual: ComparisonOp = comparison({
  name: "greaterEqual",
  onnx: "GreaterOrEqual",
  kernel: (write, [a, b]) => write.apply("lessEqual", b!, a!),
  f: (a, b) => Number(a >= b),
});

/** The whole quotient (a − c) / b of a division with the remainder c. Rounding makes its derivative 0. */
const wholeQuotient = (a: Tensor, b: Tensor, c: Tensor): Tensor => a.sub(c).div(b).round();

/** The remainder of a division rounded down. It has the sign of the divisor, as in Python. An int32 divisor of 0 stops the run. */
export const remainder: PairOp = pair({
  name: "remainder",
  divisor,
  onnx(graph, a, b, dtype) {
    if (dtype === "int32") return graph.node("Mod", [a, safeDivisor(graph, b)]);
    const zero = graph.constant(dtype, [], [0]);
    const rest = graph.node("Mod", [a, b], { fmod: 1 });
    const isOther = graph.node("Less", [
      graph.node("Mul", [graph.node("Sign", [rest]), graph.node("Sign", [b])]),
      zero,
    ]);
    return graph.node("Where", [isOther, graph.node("Add", [rest, b]), rest]);
  },
  f(a, b, dtype) {
    const rest = a % b;
    return wrap(rest * Math.sign(b) < 0 ? rest + b : rest, dtype);
  },
  gradient: (a, b, c, dc) => [dc, dc.mul(wholeQuotient(a, b, c)).neg()], //  c = a − b·⌊a/b⌋  ⇒  da = dc,  db = −dc·⌊a/b⌋
});

/** The remainder of a division rounded towards zero. It has the sign of the dividend, as in C. An int32 divisor of 0 stops the run. */
export const fmod: PairOp = pair({
  name: "fmod",
  divisor,
  onnx: (graph, a, b, dtype) => graph.node("Mod", [a, dtype === "int32" ? safeDivisor(graph, b) : b], { fmod: 1 }),
  f: (a, b, dtype) => wrap(a % b, dtype),
  gradient: (a, b, c, dc) => [dc, dc.mul(wholeQuotient(a, b, c)).neg()],
});

/** The angle of the point (b, a), from −π to π; 0 for the origin. The sign of a zero is ignored. */
export const atan2: PairOp = pair({
  name: "atan2",
  onnx(graph, a, b, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const zero = scalar(0);
    // ∞ / ∞ is NaN. Where both sides are infinite, their signs replace them, which give the same angle.
    const size = graph.node("Min", [graph.node("Abs", [a]), graph.node("Abs", [b])]);
    const isDiagonal = graph.node("Equal", [size, scalar(Number.POSITIVE_INFINITY)]);
    const [upper, lower] = [a, b].map((x) => graph.node("Where", [isDiagonal, graph.node("Sign", [x]), x]));
    const isUpright = graph.node("Equal", [b, zero]);
    const quotient = graph.node("Div", [upper, graph.node("Where", [isUpright, scalar(1), lower])]);
    const upright = graph.node("Mul", [graph.node("Sign", [a]), scalar(Math.PI / 2)]);
    const angle = graph.node("Where", [isUpright, upright, graph.node("Atan", [quotient])]);
    const half = graph.node("Where", [graph.node("Less", [a, zero]), scalar(-Math.PI), scalar(Math.PI)]);
    return graph.node("Where", [graph.node("Less", [b, zero]), graph.node("Add", [angle, half]), angle]);
  },
  f: (a, b) => Math.atan2(a + 0, b + 0),
  dtypes: floats,
  onnxTypes: ["float32"],
  gradient(a, b, _c, dc) {
    const length = a.hypot(b); //                          c = tan⁻¹(a/b)  ⇒  da = dc·b/(a² + b²),  db = −dc·a/(a² + b²)
    const scaled = dc.div(length); //                      in two steps: a² + b² may overflow or become 0
    return [scaled.mul(b.div(length)), scaled.mul(a.div(length)).neg()];
  },
});

/** √(a² + b²), computed so that no square overflows or becomes 0. The gradient at the origin is 0. */
export const hypot: PairOp = pair({
  name: "hypot",
  commutes: true,
  onnx(graph, a, b, dtype) {
    const scalar = (value: number): OnnxValue => graph.constant(dtype, [], [value]);
    const [x, y] = [graph.node("Abs", [a]), graph.node("Abs", [b])];
    const [longer, shorter] = [graph.node("Max", [x, y]), graph.node("Min", [x, y])];
    const isOrigin = graph.node("Equal", [longer, scalar(0)]);
    const ratio = graph.node("Div", [shorter, graph.node("Where", [isOrigin, scalar(1), longer])]);
    const factor = graph.node("Sqrt", [graph.node("Add", [graph.node("Mul", [ratio, ratio]), scalar(1)])]);
    const infinity = scalar(Number.POSITIVE_INFINITY);
    const isEndless = graph.node("Or", [graph.node("Equal", [x, infinity]), graph.node("Equal", [y, infinity])]);
    return graph.node("Where", [isEndless, infinity, graph.node("Mul", [longer, factor])]);
  },
  kernel(write, inputs) {
    const [x, y] = inputs.map((input) => write.apply("abs", input)) as [KernelValue, KernelValue];
    const [longer, shorter] = [extreme(write, "max", x, y), extreme(write, "min", x, y)];
    const [one, infinity] = [write.constant(1), write.constant(Number.POSITIVE_INFINITY)];
    const divisor = write.apply("select", write.apply("equal", longer, write.constant(0)), one, longer);
    const ratio = write.apply("div", shorter, divisor);
    const length = write.apply("mul", longer, write.apply("sqrt", write.apply("fma", ratio, ratio, one)));
    const orEndless = (side: KernelValue, other: KernelValue): KernelValue =>
      write.apply("select", write.apply("equal", side, infinity), infinity, other);
    return orEndless(x, orEndless(y, length));
  },
  severalPasses: true,
  f: (a, b) => Math.hypot(a, b),
  dtypes: floats,
  gradient(a, b, c, dc) {
    const isOrigin = c.equal(0);
    const length = chosen(isOrigin, c.scalar(1).expand(c.shape), c);
    return [dc.mul(a.div(length)), dc.mul(b.div(length))]; //  c = √(a² + b²)  ⇒  da = dc·a/c,  db = dc·b/c
  },
});

/** Bitwise and of int32 elements. */
export const bitAnd: PairOp = pair({
  name: "bitAnd",
  commutes: true,
  onnx: "BitwiseAnd",
  f: (a, b) => a & b,
  dtypes: ["int32"],
  sample: bits,
});

/** Bitwise or of int32 elements. */
export const bitOr: PairOp = pair({
  name: "bitOr",
  commutes: true,
  onnx: "BitwiseOr",
  f: (a, b) => a | b,
  dtypes: ["int32"],
  sample: bits,
});

/** Bitwise exclusive or of int32 elements. */
export const bitXor: PairOp = pair({
  name: "bitXor",
  commutes: true,
  onnx: "BitwiseXor",
  f: (a, b) => a ^ b,
  dtypes: ["int32"],
  sample: bits,
});

/** Shifts the bits of int32 elements to the left. The last five bits of the right side say by how many places, 0 to 31. */
export const shiftLeft: PairOp = pair({
  name: "shiftLeft",
  onnx: (graph, a, b) => shifted(graph, a, b, "LEFT"),
  f: (a, b) => a << b,
  dtypes: ["int32"],
  sample: bits,
});

/**
 * Shifts the bits of int32 elements to the right and keeps the sign. The last five bits of the right side say by how many places, 0 to 31.
 */
export const shiftRight: PairOp = pair({
  name: "shiftRight",
  onnx(graph, a, b) {
    // ONNX shifts unsigned numbers only. The bits of a negative number are inverted before and after the shift: a >> b = ~(~a >> b).
    const isNegative = graph.node("Less", [a, graph.constant("int32", [], [0])]);
    const flip = graph.node("Where", [isNegative, graph.constant("int32", [], [-1]), graph.constant("int32", [], [0])]);
    return graph.node("BitwiseXor", [shifted(graph, graph.node("BitwiseXor", [a, flip]), b, "RIGHT"), flip]);
  },
  f: (a, b) => a >> b,
  dtypes: ["int32"],
  sample: bits,
});

function shifted(graph: OnnxGraph, a: OnnxValue, b: OnnxValue, direction: "LEFT" | "RIGHT"): OnnxValue {
  const count = graph.node("BitwiseAnd", [b, graph.constant("int32", [], [31])]);
  const moved = graph.node("BitShift", [graph.cast(a, "uint32"), graph.cast(count, "uint32")], { direction });
  return graph.cast(moved, "int32");
}

export const and: LogicOp = logic({
  name: "and",
  onnx: "And",
  f: (a, b) => Number(a !== 0 && b !== 0),
});

export const or: LogicOp = logic({
  name: "or",
  onnx: "Or",
  f: (a, b) => Number(a !== 0 || b !== 0),
});

export const xor: LogicOp = logic({
  name: "xor",
  onnx: "Xor",
  f: (a, b) => Number((a !== 0) !== (b !== 0)),
});

export const not: Op<undefined> = defineOp<undefined>({
  name: "not",
  dtypes: ["bool"],
  shape: ([x]) => x!.shape,
  onnx: (graph, [x]) => graph.node("Not", [x]),
  kernel(write, [x]) {
    const [zero, one] = [write.constant(0), write.constant(1)];
    return write.apply("select", x!, write.apply("less", one, zero), write.apply("less", zero, one));
  },
  evaluate: ([x], y) => x!.values.forEach((value, i) => (y.values[i] = Number(value === 0))),
  samples: (random) => [{ inputs: [random.booleans(2, 3)], params: undefined }],
});

/** c ? a : b, element by element; c and b are widened to a. */
export const where: Op<undefined> = defineOp<undefined>({
  name: "where",
  shape([condition, a, b]) {
    expectWidens("where", a!, condition!);
    expectWidens("where", a!, b!);
    return a!.shape;
  },
  dtype([condition, a, b]) {
    expectType("where", condition!, ["bool"], "takes a condition of dtype");
    if (a!.dtype !== b!.dtype)
      throw new DTypeError(
        "where",
        `chooses between ${a!.dtype} and ${b!.dtype}`,
        `cast one of them: .cast("${isFloat(b!.dtype) ? b!.dtype : a!.dtype}")`,
      );
    return a!.dtype;
  },
  gradient([condition, a, b], _y, dy) {
    const zero = dy.scalar(0).expand(dy.shape);
    const full = condition!.expand(dy.shape);
    return [undefined, chosen(full, dy, zero).sumTo(a!.shape), chosen(full, zero, dy).sumTo(b!.shape)];
  },
  kernel: (write, inputs) => write.apply("select", ...inputs),
  onnx(graph, [condition, a, b], { outputTypes }) {
    if (outputTypes[0]!.dtype !== "bool") return graph.node("Where", [condition, a, b]);
    const otherwise = graph.node("And", [graph.node("Not", [condition]), b]);
    return graph.node("Or", [graph.node("And", [condition, a]), otherwise]);
  },
  evaluate([condition, a, b], y) {
    const atCondition = broadcastPositions(condition!.shape, y.shape);
    const atB = broadcastPositions(b!.shape, y.shape);
    for (let i = 0; i < y.values.length; i++)
      y.values[i] = condition!.values[atCondition(i)] ? a!.values[i]! : b!.values[atB(i)]!;
  },
  samples: (random) => [
    { inputs: [random.booleans(2, 3), random.real(2, 3), random.real(2, 3)], params: undefined },
    { inputs: [random.booleans(2, 1), random.real(4, 2, 3), random.real(3)], params: undefined },
    { inputs: [random.booleans(), random.real(0, 2), random.real()], params: undefined },
  ],
});

/**
 * a where b is above 0 or NaN, 0 elsewhere: the gradient of relu. It is not a product of a with 0 and 1, since 0 times an infinite element
 * would be NaN.
 */
export const gate: Op<undefined> = defineOp<undefined>({
  name: "gate",
  dtypes: floats,
  elementwise: true,
  severalPasses: true,
  shape([a, b]) {
    expectWidens("gate", a!, b!);
    return a!.shape;
  },
  gradient: ([, b], _c, dc) => [dc.apply(gate, [b!], undefined), undefined],
  onnx(graph, [a, b], { inputTypes: [type], outputTypes }) {
    const { dtype } = type!;
    const careful = (branch: OnnxGraph): OnnxValue[] => {
      const zero = branch.constant(dtype, [], [0]);
      return [branch.node("Where", [branch.node("LessOrEqual", [b, zero]), zero, a])];
    };
    if (dtype !== "float32" || !graph.target.forgetsNaN) return careful(graph)[0]!;
    // A product with a hard sigmoid, which has the steepest possible slope, takes half the time of a Where.
    const steep = { alpha: { float: 3e38 }, beta: { float: 0 } };
    const quick = (branch: OnnxGraph): OnnxValue[] => [branch.node("Mul", [a, branch.node("HardSigmoid", [b], steep)])];
    return forNumbers(graph, [a!, b!], dtype, outputTypes, quick, careful)[0]!;
  },
  kernel(write, [a, b]) {
    const zero = write.constant(0);
    return write.apply("select", write.apply("lessEqual", b!, zero), zero, a!);
  },
  evaluate([a, b], c) {
    const at = broadcastPositions(b!.shape, c.shape);
    for (let i = 0; i < c.values.length; i++) c.values[i] = b!.values[at(i)]! <= 0 ? 0 : a!.values[i]!;
  },
  samples: (random) => pairs(random, real),
});

/** where(condition, a, b), for gradients of ops. The condition and b are widened to a. */
export function chosen(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  return condition.apply(where, [a, b], undefined);
}
