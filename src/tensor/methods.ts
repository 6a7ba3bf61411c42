/** The types of the methods that other files define as functions. tensor.ts puts them on the prototype. */
import type { Broadcast, Is, Reduced, Together, Under } from "../graph/shape-types.ts";
import type { DType, Shape } from "../graph/types.ts";
import type * as arithmetic from "../ops/arithmetic.ts";
import type * as elementwise from "../ops/elementwise.ts";
import type * as pairs from "./pairs.ts";
import type * as pointwise from "./pointwise.ts";
import type * as predicates from "./predicates.ts";
import type * as reductions from "./reductions.ts";
import type { ReducedAxes } from "./reductions.ts";
import type { Tensor } from "./tensor.ts";

/**
 * The signature of a method of two operands, which are widened to their common shape. The first three overloads are for most code, and
 * for generic code, where TypeScript cannot compute a common shape: the right side has the same shape or 1 in some axes, or is a vector
 * for the last axis, or a matrix for the last two. The fourth gives the result for other shapes, or a message.
 */
export interface PairMethod<Op extends string, In extends DType, Out extends DType | "same", Scalar = number> {
  <S extends Shape, R extends Shape, D extends In>(
    this: Tensor<S, D>,
    other: (Tensor<R, NoInfer<D>> & Under<R, S>) | Scalar,
  ): Tensor<S, Out extends DType ? Out : D>;
  <L extends Shape, N extends number, R extends Shape, D extends In>(
    this: Tensor<[...L, N], D>,
    other: Tensor<R, NoInfer<D>> & Is<R, readonly [N]>,
  ): Tensor<[...L, N], Out extends DType ? Out : D>;
  <L extends Shape, M extends number, N extends number, R extends Shape, D extends In>(
    this: Tensor<[...L, M, N], D>,
    other: Tensor<R, NoInfer<D>> & Is<R, readonly [M, N]>,
  ): Tensor<[...L, M, N], Out extends DType ? Out : D>;
  <S extends Shape, R extends Shape, D extends In>(
    this: Tensor<S, D>,
    other: Tensor<R, NoInfer<D>> & Together<Op, S, R>,
  ): Tensor<Broadcast<S, R>, Out extends DType ? Out : D>;
}

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
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "same" } ? K : never]: PairMethod<
    K,
    DType,
    "same"
  >;
};

/** One method for each function of pairs.ts: `x.hypot(y)`. */
type WrittenPairMethods = { [K in keyof typeof pairs]: PairMethod<K, DType, "same"> };

/** One method for each comparison: `x.less(y)`. */
type ComparisonMethods = {
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "comparison" }
    ? K
    : never]: PairMethod<K, DType, "bool">;
};

/** One method for each logical op: `x.and(y)`. */
type LogicMethods = {
  [K in keyof typeof arithmetic as (typeof arithmetic)[K] extends { readonly pair: "logic" } ? K : never]: PairMethod<
    K,
    "bool",
    "bool",
    never
  >;
};

/** One method for each function of reductions.ts: `x.mean(-1)`, `x.variance([0, 2], { keepDims: true })`. */
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
  ) => Tensor<Reduced<S, A, O extends { readonly keepDims: true } ? true : false>, D>;
};
type OptionsOf<F> = F extends (x: Tensor, axis?: ReducedAxes, options?: infer O) => Tensor ? O : never;

/** The signature of `lerp`; its overloads are like those of `PairMethod`. */
interface LerpMethod {
  <S extends Shape, R extends Shape, W extends Shape, D extends DType>(
    this: Tensor<S, D>,
    end: Tensor<R, NoInfer<D>> & Under<R, S>,
    weight: (Tensor<W, NoInfer<D>> & Under<W, S>) | number,
  ): Tensor<S, D>;
  <S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    end: Tensor<R, NoInfer<D>> & Together<"lerp", S, R>,
    weight: number,
  ): Tensor<Broadcast<S, R>, D>;
  <S extends Shape, R extends Shape, W extends Shape, D extends DType>(
    this: Tensor<S, D>,
    end: Tensor<R, NoInfer<D>> & Together<"lerp", S, R>,
    weight: Tensor<W, NoInfer<D>> & Together<"lerp", Broadcast<S, R>, W>,
  ): Tensor<Broadcast<Broadcast<S, R>, W>, D>;
}

/** The signature of `maskedFill`; its overloads are like those of `PairMethod`. */
interface MaskedFillMethod {
  <S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    mask: Tensor<R, "bool"> & Under<R, S>,
    value: number,
  ): Tensor<S, D>;
  <S extends Shape, R extends Shape, D extends DType>(
    this: Tensor<S, D>,
    mask: Tensor<R, "bool"> & Together<"maskedFill", S, R>,
    value: number,
  ): Tensor<Broadcast<S, R>, D>;
}

/** All methods that other files define. */
export interface Methods
  extends ElementwiseMethods,
    PointwiseMethods,
    PredicateMethods,
    PairMethods,
    WrittenPairMethods,
    ComparisonMethods,
    LogicMethods,
    ReductionMethods {
  /** Returns whether the elements differ. */
  readonly notEqual: PairMethod<"notEqual", DType, "bool">;
  /** Returns this + weight·(end − this). */
  readonly lerp: LerpMethod;
  /** Returns this tensor with `value` wherever the mask is true. */
  readonly maskedFill: MaskedFillMethod;
}
