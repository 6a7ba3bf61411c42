/** Max pooling over windows that tile the input: maxima axis by axis; the gradient goes back axis by axis too. */
import { apply } from "../../graph/apply.ts";
import type { Shape } from "../../graph/types.ts";
import { gate } from "../../ops/arithmetic.ts";
import { maxPool, maxPoolInput, type PoolParams } from "../../ops/pooling.ts";
import { layAtMaximum } from "../../ops/reduce.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { bySize, paramsOf, type RewriteRule, ruleFor } from "./rewrite.ts";

/** Whether the windows lie side by side and cover every element. */
export const isTiling = (space: Shape, { kernel, stride, dilation, padding }: PoolParams): boolean =>
  space.every(
    (size, i) => stride[i] === kernel[i] && dilation[i] === 1 && `${padding[i]}` === "0,0" && size % kernel[i]! === 0,
  );

/** One step of the way to the maxima: an axis cut into tiles, [before, tiles, size of a tile, after], and the largest of each. */
interface Level {
  readonly axis: number;
  readonly tiled: Tensor;
  readonly maxima: Tensor;
}

/** The maxima over tiles of the axes from 2 on. The last axis comes first, so that of equal elements the first in row-major order wins. */
function levelsOf(x: Tensor, kernel: readonly number[]): Level[] {
  let maxima = x;
  return [...kernel.keys()].reverse().map((i) => {
    const axis = i + 2;
    const [size, tile] = [maxima.shape[axis]!, kernel[i]!];
    const tiled = maxima.reshape([...maxima.shape.slice(0, axis), size / tile, tile, ...maxima.shape.slice(axis + 1)]);
    maxima = tiled.max(axis + 1);
    return { axis, tiled, maxima };
  });
}

/** The largest element of each tile of the axes from 2 on. */
export const tileMaxima = (x: Tensor, kernel: readonly number[]): Tensor => levelsOf(x, kernel).at(-1)!.maxima;

/** dy laid where the tiles of x have their first maximum. */
export function layAtMaxima(x: Tensor, dy: Tensor, kernel: readonly number[]): Tensor {
  const laid = levelsOf(x, kernel).reduceRight(
    (slope, { axis, tiled, maxima }) =>
      apply(layAtMaximum, [tiled, maxima, slope.reshape(maxima.shape)], { axis: axis + 1 }),
    dy,
  );
  return laid.reshape(x.shape);
}

/** The gradient of relu can be applied before it is laid at the maxima: at these places x is equal to the maximum. */
const reluBehindPooling: RewriteRule = ruleFor("relu's gradient behind max pooling", gate, ([laid, y], _, match) => {
  const pooled = match.uses(laid!) === 1 ? paramsOf(laid!, maxPoolInput) : undefined;
  const [x, dy] = pooled?.inputs ?? [];
  if (!pooled || !x || !dy || x.node !== y!.node || x.index !== y!.index) return undefined;
  return apply(maxPoolInput, [x, dy.apply(gate, [x.apply(maxPool, [], pooled.params)], undefined)], pooled.params);
});

/** The fewest images times channels for which it pays to make them the last axis, so that rows are long. */
const fewestLanes = 32;

/** Computes with passes over long rows, instead of a search for positions and a scatter. */
const rows: RewriteRule = bySize("maxima of tiles in long rows", maxPoolInput, ([x, dy], params, { target, pays }) => {
  const [batch, channels, ...space] = x!.shape as [number, number, ...number[]];
  const lanes = batch * channels;
  if (target.manySizes || x!.size === 0 || !isTiling(space, params) || !pays(() => lanes >= fewestLanes))
    return undefined;
  const lanesLast = (y: Tensor): Tensor =>
    y
      .reshape([lanes, y.size / lanes])
      .mT()
      .reshape([1, 1, ...y.shape.slice(2), lanes]);
  const dx = layAtMaxima(lanesLast(x!), lanesLast(dy!), params.kernel);
  return dx
    .reshape([x!.size / lanes, lanes])
    .mT()
    .reshape(x!.shape);
});

/** Before tensors are packed, and after. */
export const pooling: readonly RewriteRule[] = [reluBehindPooling];
export const poolingRows: readonly RewriteRule[] = [rows];
