/** Whole numbers that follow from the sizes of open axes, such as `batch*time` or `time+1`: polynomials, found from their values. */

/** The sizes of the open axes, in order. */
export type Point = readonly number[];

/** A product of powers of sizes, with its factor. */
interface Term {
  readonly factor: bigint;
  /** The power of each size. */
  readonly powers: readonly number[];
}

/** A sum of terms with different powers, whose factors are not 0. */
export type Formula = readonly Term[];

/** The highest power of one size, and of a whole term. */
const [mostOfSize, mostOfTerm] = [2, 3];

/** The exponents of sizes in the factors of floats. */
const exponents = [1, -1, -0.5, 0.5] as const;

/** How many sizes each axis is probed with: so many that they determine a polynomial, and one to test it. */
export const sizesPerAxis: number = mostOfSize + 2;

/** Returns the powers of all terms that a formula may have; those of lower degree come first. */
function allPowers(axes: number): readonly (readonly number[])[] {
  let all: number[][] = [[]];
  for (let axis = 0; axis < axes; axis++)
    all = all.flatMap((powers) => Array.from({ length: mostOfSize + 1 }, (_, power) => [...powers, power]));
  return all.filter((powers) => degreeOf(powers) <= mostOfTerm).sort((a, b) => degreeOf(a) - degreeOf(b));
}

const degreeOf = (powers: readonly number[]): number => powers.reduce((sum, power) => sum + power, 0);

const powerOf = (sizes: Point, powers: readonly number[]): bigint =>
  powers.reduce((product, power, axis) => product * BigInt(sizes[axis]!) ** BigInt(power), 1n);

/** The points at which a function of sizes is looked at, and what follows from its values there. */
export class Probes {
  /** The sizes that each axis is probed with. */
  readonly #sizes: readonly Point[];
  /** For each point of the interpolation, which of its sizes each axis has: these are also the powers of the terms. */
  readonly #powers: readonly (readonly number[])[];
  /** All points: first those that determine a formula, then those that test it. */
  readonly points: readonly Point[];
  /** How many points determine a formula. */
  readonly determining: number;

  /** @param sizes `sizesPerAxis` different sizes for each axis */
  constructor(sizes: readonly Point[]) {
    this.#sizes = sizes;
    this.#powers = allPowers(sizes.length);
    const last = sizesPerAxis - 1;
    const tests = sizes.map((_, tested) => sizes.map((_, axis) => (axis === tested ? last : 0)));
    if (sizes.length > 1) tests.push(sizes.map(() => last));
    const all = [...this.#powers, ...tests];
    this.determining = this.#powers.length;
    this.points = all.map((which) => which.map((i, axis) => sizes[axis]![i]!));
  }

  /** Returns the axes in whose sizes a point differs from the first one. */
  changed(point: number): number[] {
    const first = this.points[0]!;
    return [...first.keys()].filter((axis) => this.points[point]![axis] !== first[axis]);
  }

  /**
   * Returns the formula with whole factors that has these values at the points, of which the determining ones must be there; undefined if
   * there is none. It is Newton's form on a lower set of points, with the terms multiplied out.
   */
  formula(values: readonly bigint[]): Formula | undefined {
    const factors: bigint[] = [];
    for (const [i, powers] of this.#powers.entries()) {
      const known = factors.reduce((sum, factor, k) => sum + factor * this.#basis(this.#powers[k]!, i), 0n);
      const [rest, own] = [values[i]! - known, this.#basis(powers, i)];
      if (rest % own !== 0n) return undefined;
      factors.push(rest / own);
    }
    const formula = sumOf(
      factors.flatMap((factor, i) => (factor === 0n ? [] : scaled(this.#expanded(this.#powers[i]!), factor))),
    );
    return values.every((value, i) => value === numberOf(formula, this.points[i]!)) ? formula : undefined;
  }

  /** Newton's polynomial Π (size − probe) for the first probes of each axis, at a point. */
  #basis(powers: readonly number[], point: number): bigint {
    return powers.reduce((product, power, axis) => {
      const size = this.points[point]![axis]!;
      return this.#sizes[axis]!.slice(0, power).reduce((part, probe) => part * BigInt(size - probe), product);
    }, 1n);
  }

  /** Newton's polynomial as a sum of terms. */
  #expanded(powers: readonly number[]): Formula {
    const roots = powers.flatMap((power, axis) => this.#sizes[axis]!.slice(0, power).map((probe) => [axis, probe]));
    return roots.reduce<Formula>(
      (product, [axis, probe]) => timesShifted(product, axis!, -BigInt(probe!)),
      [{ factor: 1n, powers: powers.map(() => 0) }],
    );
  }

  /**
   * Returns the formula and the exponent with which values are formulaᵉˣᵖᵒⁿᵉⁿᵗ, within a relative error; undefined if there are none. So are
   * 1/n of a mean and 1/√(n − 1) of a standard deviation.
   */
  root(values: readonly number[], error: number): { readonly formula: Formula; readonly exponent: number } | undefined {
    for (const exponent of exponents) {
      const whole = values.slice(0, this.determining).map((value) => Math.round(value ** (1 / exponent)));
      const formula = whole.every(Number.isSafeInteger) ? this.formula(whole.map(BigInt)) : undefined;
      const isNear = (value: number, i: number): boolean =>
        Math.abs(Number(numberOf(formula!, this.points[i]!)) ** exponent / value - 1) <= error;
      if (formula && values.every(isNear)) return { formula, exponent };
    }
    return undefined;
  }

  /**
   * Returns the number c and the powers with which values are c·Π sizeᵖᵒʷᵉʳ, within a relative error; undefined if there are none. So is 3/n
   * of a mean that is multiplied by 3.
   */
  power(values: readonly number[], error: number): { readonly factor: number; readonly powers: Point } | undefined {
    if (!values.every((value) => Number.isFinite(value) && value !== 0)) return undefined;
    for (const powers of this.#powers.slice(1))
      for (const exponent of exponents) {
        const factors = values.map((value, i) => value / Number(powerOf(this.points[i]!, powers)) ** exponent);
        if (factors.every((factor) => Math.abs(factor / factors[0]! - 1) <= error))
          return { factor: factors[0]!, powers: powers.map((power) => power * exponent) };
      }
    return undefined;
  }
}

/** The value of a formula for some sizes. */
export const numberOf = (formula: Formula, sizes: Point): bigint =>
  formula.reduce((sum, { factor, powers }) => sum + factor * powerOf(sizes, powers), 0n);

const scaled = (formula: Formula, by: bigint): Formula =>
  formula.map(({ factor, powers }) => ({ factor: factor * by, powers }));

/** Adds up terms of equal powers and leaves out those that cancel. */
function sumOf(terms: readonly Term[]): Formula {
  const sums = new Map<string, Term>();
  for (const { factor, powers } of terms)
    sums.set(`${powers}`, { factor: (sums.get(`${powers}`)?.factor ?? 0n) + factor, powers });
  return [...sums.values()].filter(({ factor }) => factor !== 0n);
}

/** formula · (size of an axis + shift) */
const timesShifted = (formula: Formula, axis: number, shift: bigint): Formula =>
  sumOf([
    ...formula.map(({ factor, powers }) => ({ factor, powers: powers.with(axis, powers[axis]! + 1) })),
    ...scaled(formula, shift),
  ]);

/** Whether a formula is a number that depends on no size. */
export const isFixed = (formula: Formula): boolean => formula.every(({ powers }) => degreeOf(powers) === 0);

/** The constant term of a formula. */
export const constantOf = (formula: Formula): bigint =>
  formula.find(({ powers }) => degreeOf(powers) === 0)?.factor ?? 0n;

/** Whether a formula is the size of one axis. */
export const isSize = (formula: Formula, axis: number): boolean =>
  formula.length === 1 &&
  formula[0]!.factor === 1n &&
  formula[0]!.powers.every((power, i) => power === Number(i === axis));

/**
 * Whether a formula is at least 0 for all sizes from 1 on: with n + 1 for each size n, no term is negative. Where an op counts negative
 * numbers from the end of an axis, another formula would mean another thing for small sizes.
 */
export function isNeverNegative(formula: Formula): boolean {
  const parts = formula.flatMap(({ factor, powers }) =>
    powers.reduce<Formula>(
      (product, power, axis) =>
        Array.from({ length: power }).reduce<Formula>((each) => timesShifted(each, axis, 1n), product),
      [{ factor, powers: powers.map(() => 0) }],
    ),
  );
  return sumOf(parts).every(({ factor }) => factor > 0n);
}

/** A formula as text, such as `batch*time+1`. */
export function formulaText(formula: Formula, names: readonly string[]): string {
  const terms = [...formula].sort((a, b) => degreeOf(b.powers) - degreeOf(a.powers));
  const texts = terms.map(({ factor, powers }, i) => {
    const sizes = powers.flatMap((power, axis) => Array<string>(power).fill(names[axis]!));
    const size = factor < 0n ? -factor : factor;
    const product = (size === 1n && sizes.length > 0 ? sizes : [String(size), ...sizes]).join("*");
    return `${factor < 0n ? "-" : i > 0 ? "+" : ""}${product}`;
  });
  return texts.join("") || "0";
}
