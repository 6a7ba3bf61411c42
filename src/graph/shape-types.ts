/**
 * Shapes at compile time. One rule to remember: an axis is a literal (`768`) when the compiler knows it and `number`
 * when it does not. Two literals must match; `number` is accepted everywhere and left to the op's own rule at run time,
 * which throws the same sentence.
 */
import type { DType, Shape } from "./types.ts";

declare const shapeError: unique symbol;
declare const axisName: unique symbol;

/**
 * Method syntax is compared bivariantly, so `Axis<number>` and `Axis<3>` accept each other while `Axis<3>` and
 * `Axis<4>` do not. That symmetric, non-transitive relation is exactly "these two sizes could be equal".
 */
export interface Axis<D extends number> {
  sized(as: D): void;
}

/** The same relation for dtypes: a `DType` not known yet passes for any, two different ones never agree. */
export interface Element<D extends DType> {
  typed(as: D): void;
}

/** An opt-in name for a size known only at run time: `Named<"batch">` never passes for `Named<"time">`. */
export type Named<Name extends string> = number & { readonly [axisName]: Name };

/** Uninhabitable: placed where an argument goes, it makes the compiler print `Message`. */
export interface ShapeMismatch<Message extends string> {
  readonly [shapeError]: Message;
}

type ShowAxis<D extends number> = number extends D ? "?" : D extends Named<infer Name> ? Name : `${D}`;

type ShowAxes<S extends Shape> = S extends readonly [infer D extends number, ...infer Rest extends Shape]
  ? Rest extends readonly []
    ? ShowAxis<D>
    : `${ShowAxis<D>}, ${ShowAxes<Rest>}`
  : S extends readonly []
    ? ""
    : "…";

/** `[2, 3]`, with `?` for an axis the compiler does not know. */
export type Show<S extends Shape> = `[${ShowAxes<S>}]`;

/**
 * `unknown` when two sizes could be equal, the message when they cannot. Written without `infer`, so that inside generic
 * code the compiler can see `Agree<K, K>` pass for a type parameter K, and layers need no cast.
 */
export type Agree<A extends number, B extends number, Message extends string> = number extends A
  ? unknown
  : number extends B
    ? unknown
    : [A] extends [B]
      ? unknown
      : ShapeMismatch<Message>;

/**
 * One-sided broadcasting: R is widened to S, never the reverse. The first line is the generic-code path ("R is a
 * suffix of S"); it says `unknown[]`, not `Shape`, because the compiler tests it with unconstrained parameters.
 */
export type BroadcastsInto<R extends Shape, S extends Shape, Message extends string> = [S] extends [
  readonly [...unknown[], ...R],
]
  ? unknown
  : Widens<R, S> extends true
    ? unknown
    : ShapeMismatch<Message>;

type Widens<R extends Shape, S extends Shape> = number extends R["length"] | S["length"]
  ? true
  : R extends readonly [...infer RLead extends Shape, infer r extends number]
    ? S extends readonly [...infer SLead extends Shape, infer s extends number]
      ? number extends r
        ? Widens<RLead, SLead>
        : number extends s
          ? Widens<RLead, SLead>
          : r extends 1 | s
            ? Widens<RLead, SLead>
            : false
      : false
    : true;

/** `unknown` when two shapes could be the same, the message when they cannot. The first line is for generic code. */
export type Matches<R extends Shape, S extends Shape, Message extends string> = [S] extends [R]
  ? unknown
  : CouldBe<R, S> extends true
    ? unknown
    : ShapeMismatch<Message>;

type CouldBe<R extends Shape, S extends Shape> = number extends R["length"] | S["length"]
  ? true
  : R extends readonly [...infer RLead extends Shape, infer r extends number]
    ? S extends readonly [...infer SLead extends Shape, infer s extends number]
      ? number extends r | s
        ? CouldBe<RLead, SLead>
        : [r] extends [s]
          ? CouldBe<RLead, SLead>
          : false
      : false
    : S extends readonly []
      ? true
      : false;

/** NumPy broadcasting, both sides widened; `never` when the shapes clash. Only for an explicit `broadcast(a, b)`. */
export type Broadcast<A extends Shape, B extends Shape> = A extends readonly [
  ...infer ALead extends Shape,
  infer a extends number,
]
  ? B extends readonly [...infer BLead extends Shape, infer b extends number]
    ? Wider<a, b> extends infer W extends number
      ? [W] extends [never]
        ? never
        : Broadcast<ALead, BLead> extends infer Lead extends Shape
          ? [Lead] extends [never]
            ? never
            : [...Lead, W]
          : never
      : never
    : A
  : B;

type Wider<A extends number, B extends number> = number extends A
  ? B extends 1
    ? number
    : B
  : number extends B
    ? A extends 1
      ? number
      : A
    : A extends B
      ? A
      : A extends 1
        ? B
        : B extends 1
          ? A
          : never;

/** The message names both shapes, then the fix when there is an obvious one. */
export type BroadcastMessage<
  Op extends string,
  R extends Shape,
  S extends Shape,
> = `${Op}: ${Show<R>} does not broadcast into ${Show<S>}${Widens<S, R> extends true ? " — swap the operands" : ""}`;

export type MatmulMessage<
  A extends Shape,
  B extends Shape,
  K extends number,
  J extends number,
  N extends number,
> = `matmul: ${Show<A>} @ ${Show<B>} — inner axes ${K} and ${J} differ${K extends N ? "; transpose the right side: .mT()" : ""}`;

/** The shape without its last axis. */
export type Lead<S extends Shape> = S extends readonly [...infer L extends Shape, number] ? L : Shape;

/** The shape after a reduction: over all axes, over the last (−1) or the first (0); others, and lists, are not followed. */
export type Reduced<
  S extends Shape,
  A extends number | readonly number[] | undefined,
  Keep extends boolean,
> = A extends undefined
  ? Keep extends true
    ? { [K in keyof S]: 1 }
    : []
  : number extends S["length"]
    ? Shape
    : A extends -1
      ? S extends readonly [...infer L extends Shape, number]
        ? Keep extends true
          ? [...L, 1]
          : L
        : Shape
      : A extends 0
        ? S extends readonly [number, ...infer R extends Shape]
          ? Keep extends true
            ? [1, ...R]
            : R
          : Shape
        : Keep extends true
          ? { [K in keyof S]: number }
          : Shape;

/** The shape of a diagonal of the last two axes. */
export type Diagonal<S extends Shape> = S extends readonly [...infer L extends Shape, number, number]
  ? [...L, number]
  : Shape;

/** Literal sizes kept, −1 ("whatever is left") turned into `number`. */
export type Reshaped<T extends Shape> = { -readonly [K in keyof T]: T[K] extends -1 ? number : T[K] };

/** Nested arrays of numbers or booleans, as given to `tensor`. */
export type Nested = number | boolean | readonly Nested[];

/** The shape of nested arrays, as far as the compiler knows their lengths; four levels are followed. */
export type ShapeOf<N> = Level<N, Level<Inner<N>, Level<Inner<Inner<N>>, Level<Inner<Inner<Inner<N>>>, []>>>>;
type Level<N, Rest extends Shape> = [N] extends [never]
  ? []
  : [N] extends [readonly unknown[]]
    ? [N["length"], ...Rest]
    : [];
type Inner<N> = N extends readonly (infer I)[] ? I : never;

/** The dtype of values given without one: booleans are bool, numbers float32. */
export type DTypeOf<N> = true extends BooleanIn<N> | BooleanIn<Inner<N>> | BooleanIn<Inner<Inner<N>>>
  ? "bool"
  : "float32";
type BooleanIn<N> = [N] extends [never] ? false : [N] extends [boolean] ? true : false;

/** What `array()` gives back for a shape. */
export type NestedArray<S extends Shape, E> = number extends S["length"]
  ? NestedValue<E>
  : S extends readonly [number, ...infer Rest extends Shape]
    ? NestedArray<Rest, E>[]
    : E;

/** Nested arrays of unknown depth. */
export type NestedValue<E> = E | NestedValue<E>[];
