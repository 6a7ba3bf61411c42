/** Einstein's summation: products and sums of several tensors by the names of their axes. */

import { ConfigError, ShapeError } from "../errors.ts";
import { aText, expectArguments, tensors as someTensors } from "../graph/arguments.ts";
import type { ShapeMismatch, Show } from "../graph/shape-types.ts";
import type { DType, Shape } from "../graph/types.ts";
import { showShape, sizeOf } from "../graph/types.ts";
import type { Tensor } from "./tensor.ts";

/** The shape of `einsum(equation, …)`, if the equation has an arrow and no ellipsis; otherwise any shape. */
export type EinsumShape<E extends string, T extends readonly unknown[]> = string extends E
  ? Shape
  : E extends `${string}...${string}`
    ? Shape
    : Spaceless<E> extends `${infer Left}->${infer Right}`
      ? Sized<Right, Split<Left>, T>
      : Shape;
type Spaceless<E extends string> = E extends `${infer A} ${infer B}` ? Spaceless<`${A}${B}`> : E;
type Split<E extends string> = E extends `${infer A},${infer B}` ? [A, ...Split<B>] : [E];
type Sized<
  Out extends string,
  Terms extends readonly string[],
  T extends readonly unknown[],
> = Out extends `${infer C}${infer R}` ? [SizeNamed<C, Terms, T>, ...Sized<R, Terms, T>] : [];
type SizeNamed<
  C extends string,
  Terms extends readonly string[],
  T extends readonly unknown[],
> = Terms extends readonly [infer Term extends string, ...infer Rest extends readonly string[]]
  ? T extends readonly [infer X, ...infer Others]
    ? Term extends `${infer Before}${C}${string}`
      ? At<ShapeIn<X>, Letters<Before>["length"]>
      : SizeNamed<C, Rest, Others>
    : number
  : number;
type Letters<E extends string> = E extends `${string}${infer R}` ? [0, ...Letters<R>] : [];
type At<S, I extends number> = S extends readonly number[] ? (S[I] extends number ? S[I] : number) : number;
type ShapeIn<X> = X extends Tensor<infer S, infer _D> ? S : Shape;

/** The operands, with a message in place of each whose rank or sizes do not match the equation. */
type Operands<E extends string, T extends readonly unknown[]> = {
  [K in keyof T]: T[K] &
    (string extends E
      ? unknown
      : E extends `${string}...${string}`
        ? unknown
        : Terms<E> extends infer All extends readonly string[]
          ? K extends keyof All
            ? All[K] extends infer Term extends string
              ? Fits<E, Term, ShapeIn<T[K]>, All, T>
              : unknown
            : unknown
          : unknown);
};
type Terms<E extends string> = Spaceless<E> extends `${infer Left}->${string}` ? Split<Left> : Split<Spaceless<E>>;
type Fits<
  E extends string,
  Term extends string,
  S extends Shape,
  All extends readonly string[],
  T extends readonly unknown[],
> = number extends S["length"]
  ? unknown
  : Letters<Term>["length"] extends S["length"]
    ? Agreeing<E, Term, S, All, T, []>
    : ShapeMismatch<`einsum: "${Term}" names ${Letters<Term>["length"]} axes of ${Show<S>}`>;
type Agreeing<
  E extends string,
  Term extends string,
  S extends Shape,
  All extends readonly string[],
  T extends readonly unknown[],
  Before extends readonly unknown[],
> = Term extends `${infer C}${infer Rest}`
  ? number extends SizeNamed<C, All, T> | At<S, Before["length"]>
    ? Agreeing<E, Rest, S, All, T, [...Before, 0]>
    : [At<S, Before["length"]>] extends [SizeNamed<C, All, T>]
      ? Agreeing<E, Rest, S, All, T, [...Before, 0]>
      : ShapeMismatch<`einsum: ${E}: ${C} is ${SizeNamed<C, All, T>} in one operand and ${At<S, Before["length"]>} in ${Show<S>}`>
  : unknown;

/** A tensor whose axes have names, one character each. */
interface Term {
  readonly x: Tensor;
  readonly axes: readonly string[];
}

/**
 * Returns the product of the operands, summed over every axis that the result does not name: `einsum("bik,bkj->bij", a, b)` is a
 * batched matrix product. Axes are letters. A letter that repeats within an operand takes its diagonal. `...` stands for leading axes
 * that broadcast. Without `->`, the result has the letters that occur once, in alphabetical order. Operands are contracted from left
 * to right, each time by one matrix product.
 *
 * Throws ConfigError for an equation that cannot be read, ShapeError when axes of one name differ in size.
 */
export function einsum<const E extends string, const T extends readonly Tensor[]>(
  equation: E,
  ...operands: Operands<E, T>
): Tensor<EinsumShape<E, T>, T[0] extends Tensor<Shape, infer D> ? D : DType> {
  expectArguments("einsum", [aText, someTensors], [equation, operands]);
  const tensors = operands as readonly unknown[] as readonly Tensor[];
  const { inputs, output } = parse(equation, tensors);
  const sizes = new Map<string, number>();
  const terms = inputs.map((axes, i) => named(tensors[i]!, axes, sizes, equation));
  const first = terms[0]!;
  const total = terms.slice(1).reduce((left, right, i) => {
    const later = new Set([...output, ...terms.slice(i + 2).flatMap(({ axes }) => axes)]);
    return contracted(left, right, later);
  }, first);
  const kept = summed(total, new Set(output));
  const missing = output.find((axis) => !kept.axes.includes(axis));
  if (missing !== undefined && !isEllipsis(missing))
    throw new ConfigError(
      "einsum",
      `${equation}: ${missing} is in the result and in no operand`,
      "name it in an operand",
    );
  return ordered(
    kept,
    output.filter((axis) => kept.axes.includes(axis)),
  ).reshape(output.map((axis) => sizes.get(axis) ?? 1)) as ReturnType<typeof einsum<E, T>>;
}

/** Whether an axis belongs to an ellipsis: such axes have digits as names, counted from the last axis. */
const isEllipsis = (axis: string): boolean => axis >= "0" && axis <= "9";

function parse(equation: string, operands: readonly Tensor[]): { inputs: string[][]; output: string[] } {
  const [left = "", right, ...more] = equation.replaceAll(" ", "").split("->");
  const parts = left.split(",");
  const isTerm = (text: string): boolean => /^[A-Za-z]*(\.\.\.[A-Za-z]*)?$/.test(text);
  if (more.length > 0 || ![...parts, right ?? ""].every(isTerm))
    throw new ConfigError("einsum", `the equation "${equation}"`, 'write letters, commas and one arrow: "ij,jk->ik"');
  if (parts.length !== operands.length)
    throw new ConfigError(
      "einsum",
      `"${equation}" names ${parts.length} operands, and ${operands.length} were given`,
      "name the axes of each operand, with commas between them",
    );
  const inputs = parts.map((text, i) => {
    const { shape } = operands[i]!;
    const letters = text.replace("...", "").length;
    const open = shape.length - letters;
    if (open < 0 || (open > 0 && !text.includes("...")) || open > 10)
      throw new ShapeError(
        "einsum",
        `"${text}" names ${letters} axes of ${showShape(shape)}`,
        "name each axis with a letter, or leading ones with ...",
      );
    return spelled(text, open);
  });
  if (right !== undefined) {
    const open = Math.max(0, ...inputs.map((axes) => axes.filter(isEllipsis).length));
    return { inputs, output: spelled(right, open) };
  }
  const all = inputs.flat();
  const once = [...new Set(all)].filter(
    (axis) => isEllipsis(axis) || all.filter((other) => other === axis).length === 1,
  );
  const rest = once.filter((axis) => !isEllipsis(axis)).sort();
  return { inputs, output: [...once.filter(isEllipsis).sort().reverse(), ...rest] };
}

function spelled(text: string, open: number): string[] {
  const [before = "", after = ""] = text.includes("...") ? text.split("...") : [text];
  const dots = text.includes("...") ? [...Array(open).keys()].map(String).reverse() : [];
  return [...before, ...dots, ...after];
}

/** Returns an operand in which each axis name occurs once. Adds the axes' sizes to `sizes`, and compares those already there. */
function named(x: Tensor, axes: readonly string[], sizes: Map<string, number>, equation: string): Term {
  let term: Term = { x, axes };
  for (const axis of new Set(axes))
    while (term.axes.filter((other) => other === axis).length > 1) term = diagonalOf(term, axis);
  for (const [at, axis] of term.axes.entries()) {
    const size = term.x.shape[at]!;
    const known = sizes.get(axis);
    if (known === undefined || (isEllipsis(axis) && known === 1)) sizes.set(axis, size);
    else if (known !== size && !(isEllipsis(axis) && size === 1))
      throw new ShapeError(
        "einsum",
        `${equation}: ${isEllipsis(axis) ? "an axis of ..." : axis} is ${known} in one operand and ${size} in ${showShape(x.shape)}`,
        "give axes of one name the same size",
      );
  }
  return term;
}

function diagonalOf({ x, axes }: Term, axis: string): Term {
  const [i, j] = [axes.indexOf(axis), axes.lastIndexOf(axis)] as [number, number];
  if (x.shape[i] !== x.shape[j])
    throw new ShapeError(
      "einsum",
      `${axis} is ${x.shape[i]} and ${x.shape[j]} in ${showShape(x.shape)}`,
      "use two letters",
    );
  const others = [...axes.keys()].filter((at) => at !== i && at !== j);
  return { x: x.transpose(...others, i, j).diagonal(), axes: [...others.map((at) => axes[at]!), axis] };
}

/** Sums over the axes that are not in `needed`. */
function summed({ x, axes }: Term, needed: ReadonlySet<string>): Term {
  const gone = [...axes.keys()].filter((at) => !needed.has(axes[at]!));
  return gone.length === 0 ? { x, axes } : { x: x.sum(gone), axes: axes.filter((axis) => needed.has(axis)) };
}

function ordered({ x, axes }: Term, order: readonly string[]): Tensor {
  const permutation = order.map((axis) => axes.indexOf(axis));
  return permutation.every((axis, at) => axis === at) ? x : x.transpose(...permutation);
}

/** Contracts two operands by one matrix product: [shared, left, summed] · [shared, summed, right]. */
function contracted(a: Term, b: Term, later: ReadonlySet<string>): Term {
  const left = summed(withoutOnes(a, b), new Set([...later, ...b.axes]));
  const right = summed(withoutOnes(b, a), new Set([...later, ...a.axes]));
  const both = left.axes.filter((axis) => right.axes.includes(axis));
  const shared = both.filter((axis) => later.has(axis));
  const inner = both.filter((axis) => !later.has(axis));
  const onlyLeft = left.axes.filter((axis) => !right.axes.includes(axis));
  const onlyRight = right.axes.filter((axis) => !left.axes.includes(axis));
  const size = (term: Term, axes: readonly string[]): number =>
    sizeOf(axes.map((axis) => term.x.shape[term.axes.indexOf(axis)]!));
  const batch = shared.length > 0 ? [size(left, shared)] : [];
  const matrixA = ordered(left, [...shared, ...onlyLeft, ...inner]).reshape([
    ...batch,
    size(left, onlyLeft),
    size(left, inner),
  ]);
  const matrixB = ordered(right, [...shared, ...inner, ...onlyRight]).reshape([
    ...batch,
    size(left, inner),
    size(right, onlyRight),
  ]);
  const sizeIn = (term: Term, axis: string): number => term.x.shape[term.axes.indexOf(axis)]!;
  return {
    x: matrixA
      .matmul(matrixB)
      .reshape([
        ...[...shared, ...onlyLeft].map((axis) => sizeIn(left, axis)),
        ...onlyRight.map((axis) => sizeIn(right, axis)),
      ]),
    axes: [...shared, ...onlyLeft, ...onlyRight],
  };
}

/** Removes the axes of an ellipsis that have size 1 in this operand and another size in `other`: the result takes them from `other`. */
function withoutOnes({ x, axes }: Term, other: Term): Term {
  const gone = [...axes.keys()].filter(
    (at) =>
      isEllipsis(axes[at]!) &&
      x.shape[at] === 1 &&
      other.axes.includes(axes[at]!) &&
      other.x.shape[other.axes.indexOf(axes[at]!)] !== 1,
  );
  return { x: gone.length === 0 ? x : x.squeeze(gone), axes: axes.filter((_, at) => !gone.includes(at)) };
}
