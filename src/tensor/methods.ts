/** The types of the methods that are functions of their own in another file; tensor.ts puts them on the prototype. */
import type { BroadcastMessage, BroadcastsInto, Reduced } from "../graph/shape-types.ts";
import type { DType, Shape } from "../graph/types.ts";
import type * as arithmetic from "../ops/arithmetic.ts";
import type * as elementwise from "../ops/elementwise.ts";
import type * as pairs from "./pairs.ts";
import type * as pointwise from "./pointwise.ts";
import type * as predicates from "./predicates.ts";
import type * as reductions from "./reductions.ts";
import type { ReducedAxes } from "./reductions.ts";
import type { Tensor } from "./tensor.ts";

/** What a number may stand for on the right side of an arithmetic op: a scalar of the left side's dtype. */
export type Operand<Op extends string, S extends Shape, R extends Shape, D extends DType> =
  | (Tensor<R, D> & BroadcastsInto<R, S, BroadcastMessage<Op, R, S>>)
  | number;

/** One method for each op of ops/elementwise.ts: `x.exp()`, `x.tanh()` and so on. */
type ElementwiseMethods = {
  [K in keyof typeof elementwise as (typeof elementwise)[K] extends elementwise.UnaryOp ? K : never]: <
    S extends Shape,
    D extends DType,
  >(
    this: Tensor<S, D>,
  ) => Tensor<S, D>;
};

/** One method for each function of pointwise.ts: `x.silu()`, `x.clip(0, 1)`, `x.cumsum(-1)`. */
type PointwiseMethods = {
  [K in keyof typeof pointwise]: <S extends Shape, D extends DType>(
    this: Tensor<S, D>,
    ...args: Rest<(typeof pointwise)[K]>
  ) => Tensor<S, D>;
};
type Rest<F> = F extends (x: Tensor, ...rest: infer R) => Tensor ? R : never;

/** One method for each function of predicates.ts: `x.isNaN()`. */
type PredicateMethods = {
  [K in keyof typeof predicates]: <S extends Shape, D extends DType>(this: Tensor<S, D>) => Tensor<S, "bool">;
};

/** One method for each op of two elements in ops/arithmetic.ts: `x.add(y)`, `x.remainder(2)`. */
type PairMethods = {
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "same" } ? K : never]: Pair<K>;
};
type Pair<K extends string> = <S extends Shape, R extends Shape, D extends DType>(
  this: Tensor<S, D>,
  other: Operand<K, S, R, NoInfer<D>>,
) => Tensor<S, D>;

/** One method for each function of pairs.ts: `x.hypot(y)`. */
type WrittenPairMethods = { [K in keyof typeof pairs]: Pair<K> };

/** One method for each comparison: `x.less(y)`. */
type ComparisonMethods = {
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "comparison" } ? K : never]: <
    S extends Shape,
    R extends Shape,
    D extends DType,
  >(
    this: Tensor<S, D>,
    other: Operand<K, S, R, NoInfer<D>>,
  ) => Tensor<S, "bool">;
};

/** One method for each connective: `x.and(y)`. */
type LogicMethods = {
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "logic" } ? K : never]: <
    S extends Shape,
    R extends Shape,
  >(
    this: Tensor<S, "bool">,
    other: Tensor<R, "bool"> & BroadcastsInto<R, S, BroadcastMessage<K, R, S>>,
  ) => Tensor<S, "bool">;
};

/** One method for each function of reductions.ts: `x.mean(-1)`, `x.variance([0, 2], { keepAxes: true })`. */
type ReductionMethods = {
  [K in keyof typeof reductions]: <
    S extends Shape,
    D extends DType,
    const A extends ReducedAxes = undefined,
    const O extends OptionsOf<(typeof reductions)[K]> | undefined = undefined,
  >(
    this: Tensor<S, D>,
    axis?: A,
    options?: O,
  ) => Tensor<Reduced<S, A, O extends { readonly keepAxes: true } ? true : false>, D>;
};
type OptionsOf<F> = F extends (x: Tensor, axis?: ReducedAxes, options?: infer O) => Tensor ? O : never;

/** All of them. */
export interface Methods
  extends ElementwiseMethods,
    PointwiseMethods,
    PredicateMethods,
    PairMethods,
    WrittenPairMethods,
    ComparisonMethods,
    LogicMethods,
    ReductionMethods {}
