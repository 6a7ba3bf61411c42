/** Max pooling over windows that tile the input: maxima axis by axis, and their places as masks. */
import { apply } from "../../graph/apply.ts";
import type { Shape } from "../../graph/types.ts";
import * as arithmetic from "../../ops/arithmetic.ts";
import { step } from "../../ops/elementwise.ts";
import { concat } from "../../ops/movement.ts";
import { maxPool, maxPoolInput, type PoolParams } from "../../ops/pooling.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { paramsOf, type Rule, ruleFor } from "../rewrite.ts";

type Mask = Tensor<Shape, "bool">;

/** Whether windows lie side by side and leave nothing out. */
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

/** The maxima over tiles of the axes from 2 on. The last axis comes first, so that of equals the first in row-major order wins. */
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

/** Where each tile has its first maximum. */
function firstMaxima({ axis, tiled, maxima }: Level): Mask {
  const along = axis + 1;
  const one = tiled.shape.map((size, i) => (i === along ? 1 : size));
  const isMaximum = tiled.equal(maxima.reshape(one)) as Mask;
  const parts = isMaximum.split(Array<number>(tiled.shape[along]!).fill(1), along) as Mask[];
  let free: Mask | undefined;
  const firsts = parts.map((part, i) => {
    const isLast = i === parts.length - 1;
    const first: Mask = !free ? part : isLast ? free : (free.and(part) as Mask);
    free = free ? (free.and(part.not()) as Mask) : (part.not() as Mask);
    return first;
  });
  return apply(concat, firsts, { axis: along }) as Mask;
}

/** dy laid where the tiles of x have their first maximum. */
export function layAtMaxima(x: Tensor, dy: Tensor, kernel: readonly number[]): Tensor {
  const [lead, after] = [x.shape.slice(0, 2), x.shape.slice(2 + kernel.length)];
  /** Each axis as tiles and their size, or 1 for axes of which one element a tile is left. */
  const tiledUpTo = (last: number): Shape => [
    ...lead,
    ...kernel.flatMap((size, i) => [x.shape[i + 2]! / size, i <= last ? size : 1]),
    ...after,
  ];
  const [finest, ...coarser] = levelsOf(x, kernel).map(
    (level) => firstMaxima(level).reshape(tiledUpTo(level.axis - 2)) as Mask,
  );
  const mask = coarser.reduce((all, each) => all.and(each) as Mask, finest!);
  return mask
    .cast(x.dtype)
    .mul(dy.reshape(tiledUpTo(-1)))
    .reshape(x.shape);
}

/** What is laid at maxima can be multiplied by a function of x before: there x is the maximum. */
const reluBehindPooling: Rule = ruleFor(
  "relu's gradient behind max pooling",
  arithmetic.mul,
  ([laid, slope], _, match) => {
    const pooled = match.uses(laid!) === 1 ? paramsOf(laid!, maxPoolInput) : undefined;
    const [x, dy] = pooled?.inputs ?? [];
    const [y] = paramsOf(slope!, step)?.inputs ?? [];
    if (!pooled || !x || !dy || !y || x.node !== y.node || x.index !== y.index) return undefined;
    return apply(maxPoolInput, [x, dy.mul(x.apply(maxPool, [], pooled.params).step())], pooled.params);
  },
);

/** The fewest images times channels for which they are worth bringing to the end, where masks repeat along them. */
const fewestLanes = 32;

/** Masks instead of a scatter: passes over long rows, and no search for positions. */
const masks: Rule = ruleFor("places of tiles' maxima as masks", maxPoolInput, ([x, dy], params) => {
  const [batch, channels, ...space] = x!.shape as [number, number, ...number[]];
  const lanes = batch * channels;
  if (lanes < fewestLanes || x!.size === 0 || !isTiling(space, params)) return undefined;
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
export const pooling: readonly Rule[] = [reluBehindPooling];
export const poolingMasks: readonly Rule[] = [masks];
