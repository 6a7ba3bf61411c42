/** Functions of two elements. The right side is widened to the left, never both ways, so no outer result by accident. */
import { DTypeError, ShapeError } from "../errors.ts";
import {
  anyType,
  commonType,
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
import { type DType, isFloat, type Shape, showShape, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** Whether a tensor of shape `from` is repeated to shape `to` by broadcasting. */
export function widens(from: Shape, to: Shape): boolean {
  const lead = to.length - from.length;
  return lead >= 0 && from.every((size, axis) => size === 1 || size === to[lead + axis]);
}

function widened(op: string, a: TensorType, b: TensorType): Shape {
  if (!widens(b.shape, a.shape))
    throw new ShapeError(
      op,
      `${showShape(b.shape)} does not broadcast into ${showShape(a.shape)}`,
      widens(a.shape, b.shape)
        ? "swap the operands, or widen both with broadcast(a, b)"
        : "reshape one side so that each axis, counted from the last, is equal or 1 on the right",
    );
  return a.shape;
}

/** For each position of a tensor of shape `to`, the position in one of shape `from` that broadcasting puts there. */
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

interface Rule {
  readonly name: string;
  readonly onnx: string | ((graph: OnnxGraph, a: OnnxValue, b: OnnxValue, dtype: DType) => OnnxValue);
  readonly f: (a: number, b: number, dtype: DType) => number;
  /** da and db; db is summed to b's shape by the shared code. */
  readonly gradient?: (a: Tensor, b: Tensor, c: Tensor, dc: Tensor) => readonly [Tensor, Tensor];
  readonly dtypes?: readonly DType[];
  readonly result?: DType;
  readonly sample?: keyof Pick<Sampler, "real" | "positive" | "booleans">;
}

function binary(rule: Rule): Op<undefined> {
  const { name, onnx, f, gradient, dtypes = numeric, result, sample = "real" } = rule;
  return defineOp<undefined>({
    name,
    shape: ([a, b]) => widened(name, a!, b!),
    dtype: (inputs) => {
      const common = commonType(name, inputs, dtypes);
      return result ?? common;
    },
    ...(gradient && {
      gradient: ([a, b], c, dc) => {
        const [da, db] = gradient(a!, b!, c, dc);
        return [da, db.sumTo(b!.shape)];
      },
    }),
    onnx: (graph, [a, b], { inputTypes }) =>
      typeof onnx === "string" ? graph.node(onnx, [a, b]) : onnx(graph, a!, b!, inputTypes[0]!.dtype),
    evaluate([a, b], c) {
      const at = broadcastPositions(b!.shape, c.shape);
      for (let i = 0; i < c.values.length; i++) c.values[i] = f(a!.values[i]!, b!.values[at(i)]!, a!.dtype);
    },
    samples: (random) => pairs(random, sample),
  });
}

function pairs(random: Sampler, kind: "real" | "positive" | "booleans"): readonly Sample<undefined>[] {
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
  return shapes.map(([a, b]) => ({ inputs: [random[kind](...a), random[kind](...b)], params: undefined }));
}

/** Results of int32 arithmetic wrap around as in every engine. */
const wrap = (value: number, dtype: DType): number => (dtype === "int32" ? value | 0 : value);

export const add: Op<undefined> = binary({
  name: "add",
  onnx: "Add",
  f: (a, b, dtype) => wrap(a + b, dtype),
  gradient: (_a, _b, _c, dc) => [dc, dc],
});

export const sub: Op<undefined> = binary({
  name: "sub",
  onnx: "Sub",
  f: (a, b, dtype) => wrap(a - b, dtype),
  gradient: (_a, _b, _c, dc) => [dc, dc.neg()],
});

export const mul: Op<undefined> = binary({
  name: "mul",
  onnx: "Mul",
  f: (a, b, dtype) => (dtype === "int32" ? Math.imul(a, b) : a * b),
  gradient: (a, b, _c, dc) => [dc.mul(b), dc.mul(a)],
});

export const div: Op<undefined> = binary({
  name: "div",
  onnx: "Div",
  f: (a, b, dtype) => (dtype === "int32" ? Math.trunc(a / b) | 0 : a / b),
  sample: "positive",
  gradient(_a, b, c, dc) {
    const da = dc.div(b);
    return [da, da.mul(c).neg()]; //                       c = a/b  ⇒  da = dc/b,  db = −dc·c/b
  },
});

export const pow: Op<undefined> = binary({
  name: "pow",
  onnx: "Pow",
  f: (a, b, dtype) => wrap(a ** b, dtype),
  dtypes: floats,
  sample: "positive",
  gradient: (a, b, c, dc) => [
    dc.mul(b).mul(a.pow(b.sub(1))), //                     c = aᵇ  ⇒  da = dc·b·aᵇ⁻¹
    dc.mul(c).mul(a.log()), //                                        db = dc·c·ln a
  ],
});

/** 1 for the side that wins, ½ each for a tie, in the dtype of the gradient. */
function share(wins: Tensor, ties: Tensor, like: Tensor): Tensor {
  return wins.cast(like.dtype).add(ties.cast(like.dtype).mul(0.5));
}

export const maximum: Op<undefined> = binary({
  name: "maximum",
  onnx: "Max",
  f: (a, b) => Math.max(a, b),
  gradient(a, b, _c, dc) {
    const ties = a.equal(b);
    const da = dc.mul(share(a.greater(b), ties, dc));
    return [da, dc.sub(da)];
  },
});

export const minimum: Op<undefined> = binary({
  name: "minimum",
  onnx: "Min",
  f: (a, b) => Math.min(a, b),
  gradient(a, b, _c, dc) {
    const ties = a.equal(b);
    const da = dc.mul(share(a.less(b), ties, dc));
    return [da, dc.sub(da)];
  },
});

export const equal: Op<undefined> = binary({
  name: "equal",
  onnx: "Equal",
  f: (a, b) => Number(a === b),
  dtypes: anyType,
  result: "bool",
});

export const less: Op<undefined> = binary({
  name: "less",
  onnx: "Less",
  f: (a, b) => Number(a < b),
  result: "bool",
});

export const greater: Op<undefined> = binary({
  name: "greater",
  onnx: "Greater",
  f: (a, b) => Number(a > b),
  result: "bool",
});

export const and: Op<undefined> = binary({
  name: "and",
  onnx: "And",
  f: (a, b) => Number(a !== 0 && b !== 0),
  dtypes: ["bool"],
  sample: "booleans",
});

export const or: Op<undefined> = binary({
  name: "or",
  onnx: "Or",
  f: (a, b) => Number(a !== 0 || b !== 0),
  dtypes: ["bool"],
  sample: "booleans",
});

export const not: Op<undefined> = defineOp<undefined>({
  name: "not",
  dtypes: ["bool"],
  shape: ([x]) => x!.shape,
  onnx: (graph, [x]) => graph.node("Not", [x]),
  evaluate: ([x], y) => x!.values.forEach((value, i) => (y.values[i] = Number(value === 0))),
  samples: (random) => [{ inputs: [random.booleans(2, 3)], params: undefined }],
});

/** c ? a : b, element by element; c and b are widened to a. */
export const where: Op<undefined> = defineOp<undefined>({
  name: "where",
  shape([condition, a, b]) {
    widened("where", a!, condition!);
    return widened("where", a!, b!);
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
    const zero = dy.scalar(0).expandTo(dy.shape);
    const full = condition!.expandTo(dy.shape);
    return [undefined, chosen(full, dy, zero).sumTo(a!.shape), chosen(full, zero, dy).sumTo(b!.shape)];
  },
  onnx: (graph, inputs) => graph.node("Where", inputs),
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

function chosen(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  return condition.apply(where, [a, b], undefined);
}
