/** Shapes and dtypes at run time. Their counterparts for TypeScript are in shape-types.ts. */
import { EngineError, ShapeError } from "../errors.ts";

/** Sizes of the axes, outermost first; `[]` is a scalar. */
export type Shape = readonly number[];

/** Element types. `int32` holds indices and token ids, `bool` comparisons and masks. */
export type DType = "float32" | "float64" | "int32" | "bool";

/** A typed array that passes between JavaScript and an engine; `bool` is stored as 0 and 1. */
export type Values = Float32Array | Float64Array | Int32Array | Uint8Array;

/** The shape and dtype of a tensor, known before it has values. */
export interface TensorType {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** The typed array that holds each dtype. */
export const arrayTypes: {
  readonly float32: Float32ArrayConstructor;
  readonly float64: Float64ArrayConstructor;
  readonly int32: Int32ArrayConstructor;
  readonly bool: Uint8ArrayConstructor;
} = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };

/** Returns the number of elements of a shape. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const axis of shape) size *= axis;
  return size;
}

/** Returns how many bytes the values of a type take. */
export function sizeInBytes({ shape, dtype }: TensorType): number {
  return sizeOf(shape) * arrayTypes[dtype].BYTES_PER_ELEMENT;
}

/** Returns row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** Returns a copy in its own memory. It uses the constructor, because `slice` of a Node Buffer would be a view of the same memory. */
export function copyOf(values: Values, dtype: DType): Values {
  return new arrayTypes[dtype](values);
}

/** The most bytes that a JavaScript engine allows for one array of values. */
const mostBytes = 2 ** 33;

/** Throws EngineError for a type whose values cannot be held, before any memory is taken for them. */
export function expectRoom(type: TensorType): void {
  if (sizeOf(type.shape) * arrayTypes[type.dtype].BYTES_PER_ELEMENT > mostBytes) failForMemory(type);
}

/** Returns a zero-filled typed array for a type. Throws EngineError when there is not enough memory. */
export function allocate(type: TensorType): Values {
  expectRoom(type);
  try {
    return new arrayTypes[type.dtype](sizeOf(type.shape));
  } catch (cause) {
    return failForMemory(type, cause);
  }
}

function failForMemory(type: TensorType, cause?: unknown): never {
  const gigabytes = (sizeOf(type.shape) * arrayTypes[type.dtype].BYTES_PER_ELEMENT) / 1e9;
  throw new EngineError(
    "memory",
    `${showType(type)} takes ${gigabytes.toPrecision(3)} GB, which cannot be had`,
    "use a smaller batch or model, or work on parts",
    "",
    cause === undefined ? undefined : { cause },
  );
}

/** Returns a shape as text, for messages: `[2, 3]`. */
export function showShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Returns a type as text: `float32[2, 3]`. */
export function showType(type: TensorType): string {
  return `${type.dtype}${showShape(type.shape)}`;
}

/** Returns the indices of the element at a row-major position, as text: `[1, 0]`. */
export function showPlace(shape: Shape, position: number): string {
  const place = stridesOf(shape).map((stride, axis) => Math.floor(position / stride) % shape[axis]!);
  return showShape(place);
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

export function isFloat(dtype: DType): dtype is "float32" | "float64" {
  return dtype === "float32" || dtype === "float64";
}

/** Turns an axis that may count from the end into one that counts from the front. */
export function resolveAxis(subject: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    throw new ShapeError(
      subject,
      `axis ${axis} of a tensor with ${rank} ${rank === 1 ? "axis" : "axes"}`,
      rank === 0 ? "a scalar has no axis to name" : `choose an integer from ${-rank} to ${rank - 1}`,
    );
  return axis < 0 ? axis + rank : axis;
}
