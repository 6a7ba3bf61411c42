/** Tensors as nested arrays and as text. */

import type { NestedValue } from "../graph/shape-types.ts";
import { type DType, type Shape, sizeOf, type TensorType, type Values } from "../graph/types.ts";

/** Returns a typed array as nested arrays; `bool` becomes booleans. */
export function nest(shape: Shape, dtype: DType, values: Values): NestedValue<number | boolean> {
  let offset = 0;
  const build = (axis: number): NestedValue<number | boolean> => {
    if (axis === shape.length) {
      const value = values[offset++]!;
      return dtype === "bool" ? value !== 0 : value;
    }
    return Array.from({ length: shape[axis]! }, () => build(axis + 1));
  };
  return build(0);
}

/** For more elements than this, the text shows only the edges, as in NumPy. */
const elideAbove = 1000;
const edge = 3;

/** Returns values as text: `[[1.5, 2], …]  float32[2, 3]`, aligned in columns. The middle of a large tensor is left out. */
export function formatValues(type: TensorType, values: Values): string {
  const { shape, dtype } = type;
  const elide = sizeOf(shape) > elideAbove;
  const positions = (size: number): (number | "…")[] => {
    const all = [...Array(elide && size > 2 * edge ? 2 * edge : size).keys()];
    if (!elide || size <= 2 * edge) return all;
    return [...all.slice(0, edge), "…", ...all.slice(edge).map((i) => size - 2 * edge + i)];
  };
  const shown: number[] = [];
  const gather = (axis: number, offset: number): void => {
    if (axis === shape.length) shown.push(values[offset]!);
    else for (const i of positions(shape[axis]!)) if (i !== "…") gather(axis + 1, offset * shape[axis]! + i);
  };
  gather(0, 0);
  const format = formatter(dtype, shown);
  const width = Math.max(0, ...shown.map((value) => format(value).length));
  const render = (axis: number, offset: number): string => {
    if (axis === shape.length) return format(values[offset]!).padStart(width);
    const last = axis === shape.length - 1;
    const separator = last ? ", " : `,${"\n".repeat(shape.length - 1 - axis)}${" ".repeat(axis + 1)}`;
    const parts = positions(shape[axis]!).map((i) => (i === "…" ? "…" : render(axis + 1, offset * shape[axis]! + i)));
    return `[${parts.join(separator)}]`;
  };
  return `${render(0, 0)}  ${dtype}[${shape.join(", ")}]`;
}

/** Returns one number format for all elements: integers without decimals, reals with up to four, extremes in scientific notation. */
function formatter(dtype: DType, shown: readonly number[]): (value: number) => string {
  if (dtype === "bool") return (value) => (value ? "true" : "false");
  if (dtype === "int32") return (value) => String(value);
  const finite = shown.filter(Number.isFinite).map(Math.abs);
  const largest = Math.max(0, ...finite);
  const smallest = Math.min(...finite.filter((value) => value > 0), largest);
  if (largest >= 1e8 || (smallest > 0 && (smallest < 1e-4 || largest / smallest > 1e7)))
    return (value) => (Number.isFinite(value) ? value.toExponential(4) : String(value));
  const decimals = Math.max(0, ...finite.map((value) => decimalsOf(value)));
  return (value) => (Number.isFinite(value) ? value.toFixed(decimals) : String(value));
}

function decimalsOf(value: number): number {
  const text = value.toFixed(4).replace(/0+$/, "");
  return text.length - text.indexOf(".") - 1;
}
