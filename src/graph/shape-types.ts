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
 * `unknown` when R can be repeated to S, the message when not: for `expand`, `sumTo` and the leading axes of `matmul`. The first
 * line is for generic code ("R is a suffix of S"); it says `unknown[]`, not `Shape`, because the compiler tests it with
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
 * The shape of a result of two operands, as NumPy widens them: axes are compared from the last, 1 becomes the other side's size.
 * Of a literal and a `number` the literal is the size. Two literals that differ are refused elsewhere, by `Together`.
 */
export type Broadcast<A extends Shape, B extends Shape> = number extends A["length"] | B["length"]
  ? Shape
  : A extends readonly [...infer ALead extends Shape, infer a extends number]
    ? B extends readonly [...infer BLead extends Shape, infer b extends number]
      ? [...Broadcast<ALead, BLead>, Wider<a, b>]
      : A
    : B;

type Wider<A extends number, B extends number> = [A] extends [1] ? B : [B] extends [1] ? A : number extends A ? B : A;

/** `unknown` unless the compiler knows two axes, compared from the last, that differ and of which none is 1; else the message. */
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
 * `unknown` when R has S's axes, or 1 in their places; `never` when not. No `infer` and nothing to work out: the compiler sees it
 * hold in generic code, for S itself and for [B, 1] under [B, H].
 */
export type Under<R extends Shape, S extends Shape> = [R] extends [{ readonly [K in keyof S]: S[K] | 1 }]
  ? unknown
  : never;

/** `unknown` when R is S, to the compiler's knowledge; `never` when not, also where one of the two is known better. */
export type Is<R extends Shape, S extends Shape> = [R] extends [S]
  ? [S] extends [Readonly<R>]
    ? unknown
    : never
  : never;

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

/** The same rank, sizes left to run time. */
export type AnySizes<S extends Shape> = { [K in keyof S]: number };

// Of axes the first (0) and the last (−1) are followed; for others the rank is all that is said.

/** The shape with other axes in place of one, which are given as a shape of their own. */
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

/** All axes as one, or all behind the first. */
export type Flattened<S extends Shape, A extends number, B extends number> = [A, B] extends [0, -1]
  ? [number]
  : [A, B] extends [1, -1]
    ? S extends readonly [infer N extends number, number, ...Shape]
      ? [N, number]
      : Shape
    : Shape;

/** The shape without an axis of size 1, or without all of them, which cannot be followed. */
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

/** The sizes in another order, for axes counted from the front; without any in reverse order. */
export type Transposed<S extends Shape, P extends readonly number[]> = number extends S["length"] | P["length"]
  ? AnySizes<S>
  : P extends readonly []
    ? Reversed<S>
    : { -readonly [K in keyof P]: SizeAt<S, P[K]> };
type Reversed<S extends Shape> = S extends readonly [infer N extends number, ...infer R extends Shape]
  ? [...Reversed<R>, N]
  : [];

/** Two axes, counted from the front, with each other's sizes. */
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

/** Sizes kept where nothing is cut off; `ranges` may be fewer than the axes. */
export type Sliced<S extends Shape, R extends readonly unknown[]> = number extends R["length"]
  ? AnySizes<S>
  : { [K in keyof S]: K extends keyof R ? (R[K] extends null ? S[K] : number) : S[K] };

/** The shape of every part of a split along an axis: the size is known where all parts have the same. */
export type Part<S extends Shape, N extends number, A extends number> = Replaced<S, A, [OnlyOne<N>]>;
type OnlyOne<N extends number, M extends number = N> = N extends N ? ([M] extends [N] ? N : number) : never;

/** `unknown` when two shapes could be the same but for one axis, the message when they cannot. */
export type MatchesBut<R extends Shape, S extends Shape, A extends number, Message extends string> = A extends 0
  ? Matches<Tail<R>, Tail<S>, Message>
  : A extends -1
    ? Matches<Lead<R>, Lead<S>, Message>
    : Agree<R["length"], S["length"], Message>;

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
