/** Runs functions on edges, and compares what comes with what is right. */
import type { Engine } from "../../src/engine/engine.ts";
import { collect, type Value } from "../../src/graph/node.ts";
import { arrayTypes, isFloat } from "../../src/graph/types.ts";
import { compile, fromValues, gradients, type Tensor, useEngine, zeros } from "../../src/index.ts";
import { adopt } from "../../src/tensor/create.ts";
import type { FloatType } from "./fixture.ts";
import type { Any } from "./table.ts";

export const toFloats = (values: ArrayLike<number>, shape: readonly number[], dtype: FloatType): Any =>
  adopt({ shape, dtype }, arrayTypes[dtype].from(values));

/** Whether a function's graph has only ops for which ONNX Runtime has kernels in the dtype. */
export function runsInOnnx(roots: readonly Value[], dtype: FloatType): boolean {
  return collect(roots).every(({ op, inputs, outputs }) => {
    const type = inputs[0] ? inputs[0].node.outputs[inputs[0].index]!.dtype : outputs[0]!.dtype;
    return !op.onnxTypes || type !== dtype || op.onnxTypes.includes(dtype);
  });
}

/** d y / d x for each x, where y's elements count as much each; zeros where y does not depend on it. */
export function slopes(y: Tensor, xs: readonly Tensor[], seed?: Tensor): Tensor[] {
  if (!isFloat(y.dtype)) return xs.map((x) => zeros(x.shape, x.dtype) as Tensor);
  const reached = new Set(collect([y]));
  const within = xs.filter(({ node }) => reached.has(node));
  if (within.length === 0) return xs.map((x) => zeros(x.shape, x.dtype) as Tensor);
  const found = gradients(y, within, seed ?? (y.scalar(1).expand(y.shape) as Tensor));
  return xs.map((x) => found[within.indexOf(x)] ?? (zeros(x.shape, x.dtype) as Tensor));
}

/** Values and derivatives of a function of elements: [y, first by each input, second by each pair of inputs]. */
export function derivativesOf(f: (...xs: Any[]) => Any, xs: readonly Tensor[]): Tensor[] {
  const y = f(...xs) as Tensor;
  const first = slopes(y, xs);
  const second = first.flatMap((dx, i) => slopes(dx, xs.slice(i)));
  return [y, ...first, ...second];
}

const smallestNormal: Record<FloatType, number> = { float32: 2 ** -126, float64: 2.2250738585072014e-308 };
const largest: Record<FloatType, number> = { float32: 3.4028234663852886e38, float64: Number.MAX_VALUE };

export const isSubnormal = (x: number, dtype: FloatType): boolean => x !== 0 && Math.abs(x) < smallestNormal[dtype];

/** Whether a value is right within a share of its size; results below the smallest normal number may be 0. */
export function isRight(got: number, want: number, dtype: FloatType, tolerance: number, scale: number = 0): boolean {
  const rounded = dtype === "float32" ? Math.fround(want) : want;
  if (got === rounded || (Number.isNaN(got) && Number.isNaN(want))) return true;
  if (Number.isNaN(got) || Number.isNaN(want)) return false;
  const most = largest[dtype];
  const isTop = (x: number): boolean => Math.abs(x) >= most * (1 - tolerance) && Math.abs(x) <= most * (1 + tolerance);
  if (!Number.isFinite(got)) return isTop(want) && Math.sign(got) === Math.sign(want);
  if (!Number.isFinite(rounded))
    return Number.isFinite(want) && isTop(want) && isTop(got) && Math.sign(got) === Math.sign(want);
  return Math.abs(got - rounded) <= tolerance * Math.max(Math.abs(rounded), scale) + 1.01 * smallestNormal[dtype];
}

/** Runs a function of some arrays again and again on an engine, in one session; gives its results' values. */
export function runner(
  engine: Engine,
  f: (...xs: Tensor[]) => readonly Tensor[],
): (...xs: Tensor[]) => Promise<readonly ArrayLike<number>[]> {
  const run = compile(f as (...xs: Any[]) => Any);
  return async (...xs) => {
    useEngine(engine);
    const results = (run as Any)(...xs) as readonly Tensor[];
    return Promise.all(results.map((result) => result.data()));
  };
}

export { fromValues };
