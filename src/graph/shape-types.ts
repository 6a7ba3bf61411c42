/**
 * Shapes as TypeScript knows them. In this file "the compiler" is TypeScript's. One rule to remember: a size is a literal (`768`)
 * when the compiler knows it and `number` when it does not. Two literals must match; `number` is accepted everywhere, and the op
 * checks it at run time and throws the same message.
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

/** The same relation for dtypes: an unknown `DType` matches any dtype; two different known dtypes never match. */
export interface Element<D extends DType> {
  typed(as: D): void;
}

/** An optional name for a size known only at run time: `Named<"batch">` is never accepted as `Named<"time">`. */
export type Named<Name extends string> = number & { readonly [axisName]: Name };

/** A type without values: as the type of an argument, it makes the compiler print `Message`. */
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

/** A shape as text: `[2, 3]`, with `?` for a size that the compiler does not know. */
export type Show<S extends Shape> = `[${ShowAxes<S>}]`;

/**
 * `unknown` when two sizes could be equal, the message when they cannot. Written without `infer`, so that in generic code the
 * compiler accepts `Agree<K, K>` for a type parameter K, and layers need no cast.
 */
export type Agree<A extends number, B extends number, Message extends string> = number extends A
  ? unknown
  : number extends B
    ? unknown
    : [A] extends [B]
      ? unknown
      : ShapeMismatch<Message>;

/**
 * `unknown` when R can be repeated to S, the message when not: for `expand`, `sumTo` and the leading axes of `matmul`. The first
 * line is for generic code ("R is a suffix of S"). It uses `unknown[]`, not `Shape`, because the compiler tests it with
 * unconstrained parameters.
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

/**
 * The common shape of two operands, as in NumPy: axes are compared from the last, and 1 becomes the size on the other side. Of a
 * literal and `number`, the result is the literal. `Together` rejects two different literals.
 */
export type Broadcast<A extends Shape, B extends Shape> = number extends A["length"] | B["length"]
  ? Shape
  : A extends readonly [...infer ALead extends Shape, infer a extends number]
    ? B extends readonly [...infer BLead extends Shape, infer b extends number]
      ? [...Broadcast<ALead, BLead>, Wider<a, b>]
      : A
    : B;

type Wider<A extends number, B extends number> = [A] extends [1] ? B : [B] extends [1] ? A : number extends A ? B : A;

/** The message when two axes, compared from the last, are known to differ and neither is 1; otherwise `unknown`. */
export type Together<Op extends string, A extends Shape, B extends Shape> = Clash<A, B, A, B, Op>;

type Clash<
  A extends Shape,
  B extends Shape,
  WholeA extends Shape,
  WholeB extends Shape,
  Op extends string,
> = number extends A["length"] | B["length"]
  ? unknown
  : A extends readonly [...infer ALead extends Shape, infer a extends number]
    ? B extends readonly [...infer BLead extends Shape, infer b extends number]
      ? [a] extends [1]
        ? Clash<ALead, BLead, WholeA, WholeB, Op>
        : [b] extends [1]
          ? Clash<ALead, BLead, WholeA, WholeB, Op>
          : number extends a | b
            ? Clash<ALead, BLead, WholeA, WholeB, Op>
            : [a] extends [b]
              ? Clash<ALead, BLead, WholeA, WholeB, Op>
              : ShapeMismatch<`${Op}: ${Show<WholeA>} and ${Show<WholeB>} do not broadcast — axes ${a} and ${b} differ`>
      : unknown
    : unknown;

/**
 * `unknown` when each axis of R is that of S or 1; `never` when not. Without `infer`, so that the compiler accepts it in generic
 * code, for S itself and for [B, 1] under [B, H].
 */
export type Under<R extends Shape, S extends Shape> = [R] extends [{ readonly [K in keyof S]: S[K] | 1 }]
  ? unknown
  : never;

/** `unknown` when the compiler knows that R is S; `never` when not, also when more is known about one of the two. */
export type Is<R extends Shape, S extends Shape> = [R] extends [S]
  ? [S] extends [Readonly<R>]
    ? unknown
    : never
  : never;

/** The message of a matrix product whose operands do not fit, as a type. */
export type MatmulMessage<
  A extends Shape,
  B extends Shape,
  K extends number,
  J extends number,
  N extends number,
> = `matmul: ${Show<A>} @ ${Show<B>} — inner axes ${K} and ${J} differ${K extends N ? "; transpose the right side: .mT()" : ""}`;

/** The shape without its last axis. */
export type Lead<S extends Shape> = S extends readonly [...infer L extends Shape, number] ? L : Shape;

/** The shape without its first axis. */
export type Tail<S extends Shape> = S extends readonly [number, ...infer R extends Shape] ? R : Shape;

/** A shape of the same rank whose sizes are known only at run time. */
export type AnySizes<S extends Shape> = { [K in keyof S]: number };

// These types follow sizes only where the axis is the first (0) or the last (−1). For other axes they give at most the rank.

/** The shape S with axis A replaced by the axes of the shape By. */
export type Replaced<S extends Shape, A extends number, By extends Shape> = A extends 0
  ? [...By, ...Tail<S>]
  : A extends -1
    ? [...Lead<S>, ...By]
    : By["length"] extends 1
      ? AnySizes<S>
      : Shape;

/** The shape with a new axis. */
export type Inserted<S extends Shape, A extends number, N extends number> = A extends 0
  ? [N, ...S]
  : A extends -1
    ? [...S, N]
    : number extends S["length"]
      ? Shape
      : [...AnySizes<S>, number];

/** The shape with all axes joined into one, or all axes after the first. */
export type Flattened<S extends Shape, A extends number, B extends number> = [A, B] extends [0, -1]
  ? [number]
  : [A, B] extends [1, -1]
    ? S extends readonly [infer N extends number, number, ...Shape]
      ? [N, number]
      : Shape
    : Shape;

/** The shape without an axis of size 1. Without all such axes, the shape is not known. */
export type Squeezed<S extends Shape, A> = A extends 0 ? Tail<S> : A extends -1 ? Lead<S> : Shape;

/** `unknown` when the axis could have the size 1, the message when not. */
export type IsOne<S extends Shape, A, Message extends string> = number extends S["length"]
  ? unknown
  : A extends 0
    ? S extends readonly [infer N extends number, ...Shape]
      ? Agree<N, 1, Message>
      : unknown
    : A extends -1
      ? S extends readonly [...Shape, infer N extends number]
        ? Agree<N, 1, Message>
        : unknown
      : unknown;

/** The sizes in another order, for axes counted from the front; without axes, in reverse order. */
export type Transposed<S extends Shape, P extends readonly number[]> = number extends S["length"] | P["length"]
  ? AnySizes<S>
  : P extends readonly []
    ? Reversed<S>
    : { -readonly [K in keyof P]: SizeAt<S, P[K]> };
type Reversed<S extends Shape> = S extends readonly [infer N extends number, ...infer R extends Shape]
  ? [...Reversed<R>, N]
  : [];

/** The shape with two axes, counted from the front, swapped. */
export type Swapped<S extends Shape, A extends number, B extends number> = number extends A | B
  ? AnySizes<S>
  : `${A | B}` extends keyof S
    ? { [K in keyof S]: K extends `${A}` ? SizeAt<S, B> : K extends `${B}` ? SizeAt<S, A> : S[K] }
    : AnySizes<S>;

/** The size of an axis, `number` unless the axis is a literal counted from the front. */
type SizeAt<S extends Shape, A extends number> = `${A}` extends keyof S
  ? S[A] extends number
    ? S[A]
    : number
  : number;

/** The shape of a slice. Sizes of axes that are not cut are kept; there may be fewer ranges than axes. */
export type Sliced<S extends Shape, R extends readonly unknown[]> = number extends R["length"]
  ? AnySizes<S>
  : { [K in keyof S]: K extends keyof R ? (R[K] extends null ? S[K] : number) : S[K] };

/** The shape of every part of a split along an axis. Its size is known if all parts have the same size. */
export type Part<S extends Shape, N extends number, A extends number> = Replaced<S, A, [OnlyOne<N>]>;
type OnlyOne<N extends number, M extends number = N> = N extends N ? ([M] extends [N] ? N : number) : never;

/** `unknown` when two shapes could be the same except for axis A, the message when they cannot. */
export type MatchesBut<R extends Shape, S extends Shape, A extends number, Message extends string> = A extends 0
  ? Matches<Tail<R>, Tail<S>, Message>
  : A extends -1
    ? Matches<Lead<R>, Lead<S>, Message>
    : Agree<R["length"], S["length"], Message>;

/** The shape after a reduction over all axes, the last (−1) or the first (0). For other axes and lists, the shape is not known. */
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

/** The shape after a reshape: literal sizes are kept; −1 becomes `number`. */
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

/** The dtype of values given without one: booleans are bool, numbers float32; four levels are followed. */
export type DTypeOf<N> = true extends
  | BooleanIn<N>
  | BooleanIn<Inner<N>>
  | BooleanIn<Inner<Inner<N>>>
  | BooleanIn<Inner<Inner<Inner<N>>>>
  | BooleanIn<Inner<Inner<Inner<Inner<N>>>>>
  ? "bool"
  : "float32";
type BooleanIn<N> = [N] extends [never] ? false : [N] extends [boolean] ? true : false;

/** What `array()` returns for a shape. */
export type NestedArray<S extends Shape, E> = number extends S["length"]
  ? NestedValue<E>
  : S extends readonly [number, ...infer Rest extends Shape]
    ? NestedArray<Rest, E>[]
    : E;

/** Nested arrays of unknown depth. */
export type NestedValue<E> = E | NestedValue<E>[];
