/** Matrix products as ops of a model: their form, and how the work of one is cut into units for threads. */
import { firstSize } from "./kernel.ts";

/** How the matrix C lies beside the result: one element for each of its elements, for each column, for each row, or one for all. */
export type AddedLayout = "full" | "row" | "column" | "scalar";

/** What a product computes: α·A·B + β·C. */
export interface ProductForm {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
  readonly alpha: number;
  /** Undefined if nothing is added. */
  readonly added?: { readonly layout: AddedLayout; readonly beta: number } | undefined;
}

/** The sizes of a product: `count` products of [m, k] and [k, n]. */
export interface ProductSizes {
  readonly count: number;
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Whether all products have the same B. */
  readonly sharesB: boolean;
}

/** The smallest products that an engine computes with code of its own. */
export interface ProductLimits {
  /** The fewest rows, and the fewest columns, of a result. */
  readonly side: number;
  /** The fewest terms of a sum. */
  readonly terms: number;
  /** The fewest multiplications of one node. */
  readonly work: number;
  /** The same where the left side is transposed. */
  readonly workTransposedLeft: number;
  /** The fewest rows of all results together, where only the right side is transposed. */
  readonly rowsTransposedRight: number;
}

/** Whether an engine with these limits computes a product with code of its own. */
export function isOwn(
  limits: ProductLimits,
  { count, m, n, k }: ProductSizes,
  { transposeA, transposeB }: Pick<ProductForm, "transposeA" | "transposeB">,
): boolean {
  if (m < limits.side || n < limits.side || k < limits.terms) return false;
  const work = count * m * n * k;
  if (transposeA) return work >= limits.workTransposedLeft;
  return work >= limits.work && (!transposeB || count * m >= limits.rowsTransposedRight);
}

/** Products of float32 matrices as an op of a model. Its inputs are A, B and, if something is added, C. */
export interface ProductOp {
  /** The op's name, in the domain `kernelDomain`. */
  readonly name: string;
  readonly form: ProductForm;
  readonly of: ProductSizes;
  /** The output's shape: the leading axes, m and n. */
  readonly shape: readonly number[];
  /** Whether each run gives the sizes instead, as the last input: the numbers of `productSizes`. */
  readonly isOpen?: boolean | undefined;
}

/** The rows and columns of the result that machine code computes together, in registers. */
export const tile = { rows: 6, columns: 16 } as const;

/**
 * How much of A and of B is copied into the order in which it is read: rows of A and terms, which stay in the second-level cache; and
 * columns of B.
 */
export const copied = { rows: 96, terms: 512, columns: 512 } as const;

/** Elements behind each copy that may be written too, since whole vectors are. */
const slack = 64;

/** Multiplications for which one more part pays: giving a part to a thread costs some microseconds. */
const workInPart = 2 ** 20;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

/** How many terms are added up before they are added to the result: about the same number each time. It depends on nothing but k. */
const termsOfBlock = (k: number): number => roundUp(Math.ceil(k / Math.ceil(k / copied.terms)), 8);

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));

/** How a matrix is cut into units for threads: how many along its rows, and how many along its columns. */
function gridFor({ m, n }: ProductSizes, wanted: number): readonly [along: number, across: number] {
  let best: readonly [number, number] = [1, 1];
  let least = Number.POSITIVE_INFINITY;
  for (let along = 1; along <= wanted; along++) {
    const across = Math.ceil(wanted / along);
    if (along > Math.ceil(m / tile.rows) || across > Math.ceil(n / tile.columns)) continue;
    const copies = along * n + across * m; //  each unit copies its rows of A and its columns of B
    if (copies < least) [best, least] = [[along, across], copies];
  }
  return best;
}

/** The places of a product's sizes behind the output's dimensions, the first of which is that of the working memory. */
export const productPlaces = {
  /** Elements of working memory, for all parts together: the second output's only dimension. */
  memory: 0,
  /** Elements of working memory of a part. */
  memoryInPart: 1,
  m: 2,
  n: 3,
  k: 4,
  /** Rows and columns of a unit, how many units lie side by side, and how many a matrix has. */
  unitRows: 5,
  unitColumns: 6,
  across: 7,
  inMatrix: 8,
  /** Terms that are added up at once. */
  terms: 9,
  /** Elements from one B to the next: 0 if there is only one. */
  nextB: 10,
} as const;

/** The index of the size behind the dimensions of a product's output. */
export const afterShape = (shape: readonly number[]): number => firstSize + shape.length;

/** Elements of working memory before B's copy: A's copy. */
export const copyOfA = (terms: number): number => copied.rows * terms + slack;

/**
 * Returns the sizes that a product's code gets: parts, the output's dimensions, then those of `productPlaces`. They are 0 for an
 * empty product, and for sizes that no product has: a model for many sizes may ask for those, in ways that it does not take.
 */
export function productSizes({ of, shape }: Pick<ProductOp, "of" | "shape">, threads: number): number[] {
  const { count, m, n, k, sharesB } = of;
  if (![count, m, n, k].every((size) => Number.isInteger(size) && size > 0))
    return [...[0, 0, 0, 0], ...shape, ...Object.keys(productPlaces).map(() => 0)];
  const wanted = Math.max(1, Math.min(threads, Math.floor((count * m * n * k) / workInPart)));
  // So many units of each matrix that all parts have equally many, or nearly so where there are many matrices.
  const [along, across] = gridFor(of, count >= 4 * wanted ? 1 : wanted / commonDivisor(wanted, count));
  const unitRows = roundUp(Math.ceil(m / along), tile.rows);
  const unitColumns = roundUp(Math.ceil(n / across), tile.columns);
  const [rows, columns] = [Math.ceil(m / unitRows), Math.ceil(n / unitColumns)];
  const units = count * rows * columns;
  const unitsInPart = Math.ceil(units / wanted);
  const parts = Math.ceil(units / unitsInPart);
  const terms = termsOfBlock(k);
  const copyOfB = Math.min(copied.columns, roundUp(Math.min(unitColumns, n), tile.columns)) * terms + slack;
  const inPart = roundUp(copyOfA(terms) + copyOfB, 1024);
  const sizes = [parts * inPart, inPart, m, n, k, unitRows, unitColumns, columns, rows * columns, terms];
  return [units, unitsInPart, parts, 0, ...shape, ...sizes, sharesB ? 0 : k * n];
}
