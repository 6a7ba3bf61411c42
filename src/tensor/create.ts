/** Functions that make tensors from values, and functions of several tensors. */
import { ConfigError, DataError, DTypeError, ShapeError } from "../errors.ts";
import { apply, tensorOf } from "../graph/apply.ts";
import {
  tensors as aListOfTensors,
  aNumber,
  anOperand,
  aTensor,
  aText,
  aWhole,
  described,
  expectArguments,
  optional,
  options as optionsOf,
  sizes,
} from "../graph/arguments.ts";
import { input } from "../graph/leaf.ts";
import { makeNode } from "../graph/node.ts";
import { expectDType, expectElement } from "../graph/op.ts";
import type {
  Broadcast,
  DTypeOf,
  Inserted,
  Matches,
  MatchesBut,
  Nested,
  Replaced,
  ShapeOf,
  Show,
  Together,
  Under,
} from "../graph/shape-types.ts";
import {
  allocate,
  arrayTypes,
  copyOf,
  type DType,
  isFloat,
  resolveAxis,
  type Shape,
  sameShape,
  showShape,
  sizeOf,
  type TensorType,
  type Values,
} from "../graph/types.ts";
import * as arithmetic from "../ops/arithmetic.ts";
import * as indexing from "../ops/indexing.ts";
import * as movement from "../ops/movement.ts";
import { commonShape, expanded } from "./broadcasting.ts";
import { Storage } from "./storage.ts";
import type { Tensor } from "./tensor.ts";

/** Returns a tensor whose values are in a storage. */
export function fromStorage(storage: Storage): Tensor {
  return tensorOf(
    makeNode({
      op: input,
      inputs: [],
      params: undefined,
      outputs: [storage.type],
      path: "",
      trace: undefined,
      source: { kind: "host", storage },
    }),
  );
}

/** Returns a tensor that keeps `values` without a copy. The caller must not use the array afterwards. */
export function adopt(type: TensorType, values: Values): Tensor {
  return fromStorage(Storage.ofValues({ shape: [...type.shape], dtype: type.dtype }, values));
}

/**
 * The signature of `tensor`, apart from its body, so that TypeScript need not check one against the other. NoInfer: the dtype
 * follows from the arguments, never from the type that the caller expects.
 */
type TensorFromArrays = <const N extends Nested, D extends DType = DTypeOf<N>>(
  values: N,
  dtype?: D,
) => Tensor<ShapeOf<N>, NoInfer<D>>;

/**
 * Returns a tensor made from nested arrays (or one number): `tensor([[1, 2], [3, 4]])`. Default dtype: float32 for numbers, bool for
 * booleans. Throws ShapeError when rows differ in length, DataError for an int32 that is not a whole number in range.
 */
export const tensor: TensorFromArrays = ((values: Nested, dtype?: DType): Tensor => {
  expectArguments("tensor", [nested, optional(aText)], [values, dtype]);
  if (dtype !== undefined) expectDType("tensor", dtype);
  const shape: number[] = [];
  let level: unknown = values;
  for (; isList(level); level = level[0]) {
    if (shape.push(level.length) > mostAxes)
      throw new ShapeError(
        "tensor",
        `the array is nested deeper than ${mostAxes} levels`,
        "give an array for each axis",
      );
    if (level.length === 0 || ArrayBuffer.isView(level)) break;
  }
  const flat: Element[] = [];
  flatten(values, shape, 0, flat);
  const type =
    dtype ?? (ArrayBuffer.isView(level) ? dtypeOf(level) : typeof flat[0] === "boolean" ? "bool" : "float32");
  return adopt({ shape, dtype: type }, convert(flat, type));
}) as TensorFromArrays;

type Element = number | boolean | bigint;
type List = readonly unknown[] | Exclude<NodeJS.TypedArray, never>;

/** The most axes of a tensor made from nested arrays; NumPy allows 64. */
const mostAxes = 64;

function isList(value: unknown): value is List {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

const nested = (value: unknown): string | undefined =>
  isElement(value) || isList(value) ? undefined : "give numbers, booleans, or arrays of them";

function isElement(value: unknown): value is Element {
  return typeof value === "number" || typeof value === "boolean" || typeof value === "bigint";
}

/** Returns the dtype of a typed array's values. Throws DTypeError for bytes, which may be pixels or truth values. */
function dtypeOf(values: ArrayBufferView): DType {
  if (values instanceof Float32Array) return "float32";
  if (values instanceof Float64Array) return "float64";
  if (!(values instanceof Uint8Array || values instanceof Uint8ClampedArray)) return "int32";
  throw new DTypeError(
    "tensor",
    `the values are a ${values.constructor.name}, whose bytes can be numbers or truth values`,
    'name the dtype: tensor(pixels, "float32") or tensor(mask, "bool")',
  );
}

function flatten(values: unknown, shape: readonly number[], axis: number, into: Element[]): void {
  if (axis === shape.length && isElement(values)) {
    into.push(values);
    return;
  }
  if (axis === shape.length && !isList(values))
    throw new DataError("tensor", `among the values is ${described(values)}`, "give numbers or booleans alone");
  if (!isList(values) || axis === shape.length || values.length !== shape[axis])
    throw new ShapeError(
      "tensor",
      `the array is ragged: axis ${axis} has ${isList(values) ? values.length : "a number"} where ${shape[axis] ?? "a number"} was expected`,
      "make all rows of an axis equally long; pad the short ones",
    );
  for (const inner of values) flatten(inner, shape, axis + 1, into);
}

function convert(flat: readonly Element[], dtype: DType): Values {
  const values = new arrayTypes[dtype](flat.length);
  for (let i = 0; i < flat.length; i++) {
    const value = Number(flat[i]);
    if (dtype === "int32" && (value | 0) !== value)
      throw new DataError("tensor", `${flat[i]} at position ${i} is no int32`, 'round it, or use the dtype "float32"');
    values[i] = dtype === "bool" ? Number(value !== 0) : value;
  }
  return values;
}

const typedValues = (value: unknown): string | undefined =>
  Object.values(arrayTypes).some((type) => value instanceof type)
    ? undefined
    : "give a Float32Array, Float64Array or Int32Array, or a Uint8Array of truth values; tensor(values) takes others";

/**
 * Returns a tensor of the given shape with a copy of a typed array's values. Float32Array gives float32, Float64Array float64,
 * Int32Array int32, and Uint8Array bool. Throws ShapeError when the number of values is not that of the shape, DTypeError for bytes
 * other than 0 and 1.
 */
export function fromValues<const S extends Shape, V extends Values>(
  values: V,
  shape: readonly [...S],
): Tensor<
  S,
  V extends Float32Array ? "float32" : V extends Float64Array ? "float64" : V extends Int32Array ? "int32" : "bool"
> {
  expectArguments("fromValues", [typedValues, sizes], [values, shape]);
  if (values.length !== sizeOf(shape))
    throw new ShapeError(
      "fromValues",
      `${values.length} values for the shape ${showShape(shape)}, which has ${sizeOf(shape)}`,
      "give one value for each element",
    );
  const dtype = (Object.keys(arrayTypes) as DType[]).find((name) => values instanceof arrayTypes[name])!;
  const odd = values instanceof Uint8Array ? values.findIndex((value) => value > 1) : -1;
  if (odd >= 0)
    throw new DTypeError(
      "fromValues",
      `a Uint8Array holds truth values, 0 or 1, and element ${odd} is ${values[odd]}`,
      "for pixels: fromValues(Float32Array.from(pixels), shape)",
    );
  return adopt({ shape, dtype }, copyOf(values, dtype)) as ReturnType<typeof fromValues<S, V>>;
}

/** Returns a tensor in which every element is `value`. Default dtype: float32. */
export function full<const S extends Shape, const D extends DType = "float32">(
  shape: readonly [...S],
  value: number,
  dtype?: D,
): Tensor<S, NoInfer<D>> {
  expectArguments("full", [sizes, aNumber, optional(aText)], [shape, value, dtype]);
  return apply(movement.full, [], { shape: [...shape], value, dtype: dtype ?? "float32" }) as Tensor<S, D>;
}

/** Returns a tensor filled with zeros: `zeros([2, 3])` is a 2 × 3 matrix. Default dtype: float32. */
export function zeros<const S extends Shape, const D extends DType = "float32">(
  shape: readonly [...S],
  dtype?: D,
): Tensor<S, NoInfer<D>> {
  return full(shape, 0, dtype);
}

/** Returns a tensor filled with ones: `ones([2, 3])` is a 2 × 3 matrix. Default dtype: float32. */
export function ones<const S extends Shape, const D extends DType = "float32">(
  shape: readonly [...S],
  dtype?: D,
): Tensor<S, NoInfer<D>> {
  return full(shape, 1, dtype);
}

/** The longest range that a graph makes. JavaScript makes longer ones: ONNX Runtime would make them slowly with a session and keep them. */
const longestRange = 2 ** 20;

/**
 * Returns numbers at equal distances, as in NumPy and PyTorch: `arange(4)` is 0, 1, 2, 3; `arange(2, 8, 2)` is 2, 4, 6. The numbers are
 * start, start + step, … below `stop` (above `stop` for a negative step). Default dtype: int32; `arange(0, 1, 0.1, "float32")` names
 * another. Throws ShapeError for a step of 0 and for a count that is infinite or too large, DTypeError for fractions in int32.
 */
export function arange<const N extends number>(length: N): Tensor<[N], "int32">;
/** Returns the numbers from `start` to below `stop`, `step` apart. Default step: 1; default dtype: int32. */
export function arange<const D extends DType = "int32">(
  start: number,
  stop: number,
  step?: number,
  dtype?: D,
): Tensor<[number], NoInfer<D>>;
export function arange(first: number, stop?: number, step: number = 1, dtype: DType = "int32"): Tensor {
  expectArguments(
    "arange",
    [aNumber, optional(aNumber), optional(aNumber), optional(aText)],
    [first, stop, step, dtype],
  );
  if (stop === undefined) return countTo(first);
  const count = Math.max(0, Math.ceil((stop - first) / step));
  if (!Number.isFinite(count))
    throw new ShapeError(
      "arange",
      `from ${first} to ${stop} by ${step}`,
      "give finite numbers and a step that is not 0",
    );
  if (dtype === "int32" && !(Number.isInteger(first) && Number.isInteger(step)))
    throw new DTypeError(
      "arange",
      `from ${first} by ${step} in int32`,
      `name a dtype that holds fractions: arange(${first}, ${stop}, ${step}, "float32")`,
    );
  return countTo(count).cast(dtype).mul(step).add(first);
}

function expectLength(subject: string, length: number): void {
  if (!Number.isInteger(length) || length < 0)
    throw new ShapeError(subject, `a length of ${length}`, "give a whole number of at least 0");
}

/** Returns 0, 1, …, length − 1 as int32. */
function countTo(length: number): Tensor {
  expectLength("arange", length);
  if (length >= 2 ** 31)
    throw new ShapeError("arange", `a length of ${length}, and int32 counts to ${2 ** 31 - 1}`, "work on parts");
  if (length > longestRange) {
    const type = { shape: [length], dtype: "int32" } as const;
    const values = allocate(type);
    for (let i = 0; i < length; i++) values[i] = i;
    return adopt(type, values);
  }
  return apply(movement.arange, [], { length });
}

/**
 * Returns `count` numbers from `start` to `stop`, both included, at equal distances. Default dtype: float32. Each number is computed in
 * float64 and rounded once; the first and the last are `start` and `stop`. Throws ShapeError for a negative
 * count, DTypeError for fractions in int32.
 */
export function linspace<const N extends number, const D extends DType = "float32">(
  start: number,
  stop: number,
  count: N,
  dtype: D = "float32" as D,
): Tensor<[N], NoInfer<D>> {
  expectArguments("linspace", [aNumber, aNumber, aWhole, aText], [start, stop, count, dtype]);
  expectDType("linspace", dtype);
  expectLength("linspace", count);
  const last = count - 1;
  // The distance from start to stop may be infinite.
  const whole = Number.isFinite(stop - start) ? (stop - start) / last : stop / last - start / last;
  const step = last > 0 ? whole : 0;
  if (!isFloat(dtype) && !(Number.isInteger(start) && Number.isInteger(step)))
    throw new DTypeError(
      "linspace",
      `from ${start} by ${step} in ${dtype}`,
      `name a dtype that holds fractions: linspace(${start}, ${stop}, ${count}, "float32")`,
    );
  const type = { shape: [count], dtype } as const;
  const values = allocate(type);
  // From the nearer end: so both ends are exact.
  for (let i = 0; i < count; i++) values[i] = 2 * i <= last ? start + i * step : stop - (last - i) * step;
  return adopt(type, values) as unknown as Tensor<[N], D>;
}

/** The signature of `where`. The first overload is for operands that broadcast to a's shape, and for generic code. */
interface Where {
  <C extends Shape, S extends Shape, R extends Shape, D extends DType>(
    condition: Tensor<C, "bool"> & Under<C, NoInfer<S>>,
    a: Tensor<S, D>,
    b: (Tensor<R, NoInfer<D>> & Under<R, NoInfer<S>>) | number,
  ): Tensor<S, D>;
  <C extends Shape, S extends Shape, D extends DType>(
    condition: Tensor<C, "bool"> & Together<"where", C, NoInfer<S>>,
    a: Tensor<S, D>,
    b: number,
  ): Tensor<Broadcast<C, S>, D>;
  <C extends Shape, S extends Shape, R extends Shape, D extends DType>(
    condition: Tensor<C, "bool"> & Together<"where", C, NoInfer<S>>,
    a: Tensor<S, D>,
    b: Tensor<R, NoInfer<D>> & Together<"where", Broadcast<C, NoInfer<S>>, R>,
  ): Tensor<Broadcast<Broadcast<C, S>, R>, D>;
}

/**
 * Returns condition ? a : b, element by element. All three are widened to their common shape. A number for b takes a's dtype. Throws
 * ShapeError when the shapes do not broadcast, DTypeError when a and b differ in dtype or the condition is not bool.
 */
export const where: Where = ((condition: Tensor, a: Tensor, b: Tensor | number): Tensor => {
  expectArguments("where", [aTensor, aTensor, anOperand], [condition, a, b]);
  if (typeof b === "number") expectElement("where", b, a.dtype);
  const other = typeof b === "number" ? a.scalar(b) : b;
  const shape = commonShape("where", commonShape("where", condition.shape, a.shape), other.shape);
  return apply(arithmetic.where, [condition, expanded(a, shape), other], undefined);
}) as Where;

/** Joins tensors along an axis, default the first. All other axes must be equal. */
export function concat<const T extends readonly Tensor[], const A extends number = 0>(
  tensors: Alike<T, A, "concat">,
  axis?: A,
): Tensor<Replaced<ShapeIn<T[0]>, A, [number]>, DTypeIn<T[0]>> {
  expectArguments("concat", [aListOfTensors, optional(aWhole)], [tensors, axis]);
  const list = tensors as readonly Tensor[];
  const [first] = list;
  if (!first) throw new ShapeError("concat", "no tensors", "give at least one");
  const at = resolveAxis("concat", axis ?? 0, first.shape.length);
  return apply(movement.concat, list, { axis: at }) as ReturnType<typeof concat<T, A>>;
}

/** Joins tensors of one shape along a new axis, default the first. */
export function stack<const T extends readonly Tensor[], const A extends number = 0>(
  tensors: Alike<T, undefined, "stack">,
  axis?: A,
): Tensor<Inserted<ShapeIn<T[0]>, A, T["length"]>, DTypeIn<T[0]>> {
  expectArguments("stack", [aListOfTensors, optional(aWhole)], [tensors, axis]);
  const list = tensors as readonly Tensor[];
  const [first] = list;
  if (!first) throw new ShapeError("stack", "no tensors", "give at least one");
  const odd = list.find(({ shape }) => !sameShape(shape, first!.shape));
  if (odd)
    throw new ShapeError(
      "stack",
      `${showShape(first!.shape)} and ${showShape(odd.shape)} differ`,
      "make all shapes equal, or join them along an axis with concat",
    );
  const rows = list.map((x) => x.unsqueeze(axis ?? 0));
  return concat(rows, axis ?? 0) as unknown as ReturnType<typeof stack<T, A>>;
}

type ShapeIn<X> = X extends Tensor<infer S, infer _D> ? S : Shape;
type DTypeIn<X> = X extends Tensor<infer _S, infer D> ? D : DType;

/** The list, with a message in place of each tensor whose shape does not match the first one's. Axis A, if given, may differ. */
type Alike<T extends readonly Tensor[], A extends number | undefined, Op extends string> = {
  readonly [K in keyof T]: T[K] &
    (A extends number
      ? MatchesBut<
          ShapeIn<T[K]>,
          ShapeIn<T[0]>,
          A,
          `${Op}: ${Show<ShapeIn<T[0]>>} and ${Show<ShapeIn<T[K]>>} differ on another axis than ${A}`
        >
      : Matches<ShapeIn<T[K]>, ShapeIn<T[0]>, `${Op}: ${Show<ShapeIn<T[0]>>} and ${Show<ShapeIn<T[K]>>} differ`>);
};

/**
 * Returns the rows of a table at `ids`: `embed(table [V, D], ids)` has the shape `[...ids, D]`. The row at `paddingIdx` gets no gradient.
 * Throws ConfigError for a `paddingIdx` that is no row of the table.
 */
export function embed<S extends Shape, V extends number, W extends number, D extends DType>(
  table: Tensor<[V, W], D>,
  ids: Tensor<S, "int32">,
  options: { /** The id of padding, if the ids have any. */ readonly paddingIdx?: number } = {},
): Tensor<[...S, W], D> {
  expectArguments("embed", [aTensor, aTensor, optionsOf({ paddingIdx: aWhole })], [table, ids, options]);
  const rows = apply(indexing.take, [table, ids], { axis: 0 });
  const { paddingIdx } = options;
  if (paddingIdx === undefined) return rows as Tensor<[...S, W], D>;
  expectRow("embed", paddingIdx, table.shape[0]!);
  const isPadding = (ids as Tensor<Shape, "int32">).equal(paddingIdx).unsqueeze(-1) as Tensor<Shape, "bool">;
  return where(isPadding, rows.detach(), rows) as unknown as Tensor<[...S, W], D>;
}

/** Throws ConfigError unless `paddingIdx` is one of `count` rows. */
export function expectRow(subject: string, paddingIdx: number, count: number): void {
  if (!(paddingIdx >= 0 && paddingIdx < count))
    throw new ConfigError(
      subject,
      `paddingIdx is ${paddingIdx}, and the table has ${count} rows`,
      `give the id of padding, from 0 to ${count - 1}`,
    );
}

/** Returns both tensors, repeated to their common shape. Throws ShapeError when there is no common shape. */
export function broadcast<A extends Shape, B extends Shape, D extends DType, E extends DType>(
  a: Tensor<A, D>,
  b: Tensor<B, E> & Together<"broadcast", A, B>,
): [Tensor<Broadcast<A, B>, D>, Tensor<Broadcast<A, B>, E>] {
  expectArguments("broadcast", [aTensor, aTensor], [a, b]);
  const [x, y] = [a as Tensor, b as Tensor];
  const shape = commonShape("broadcast", x.shape, y.shape);
  return [x.expand(shape), y.expand(shape)] as unknown as [Tensor<Broadcast<A, B>, D>, Tensor<Broadcast<A, B>, E>];
}
