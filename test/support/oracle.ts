/** What the comparisons with somebody else's numbers share: many tensors in one run, and a sentence about what differs. */
import { type Shape, sizeOf } from "../../src/graph/types.ts";
import { broadcast, evaluate, type Tensor } from "../../src/index.ts";

/** A tensor of ours beside the values that it should have. */
export interface Compared {
  readonly have: Tensor;
  readonly want: { readonly shape: Shape; readonly values: ArrayLike<number> };
  /** What it is called in the sentence: `output 0`. */
  readonly what: string;
  /** How far an element may be off, as a share of the tensor's largest magnitude. */
  readonly tolerance: number;
}

export interface OracleOptions {
  /** Whose values they are. */
  readonly of: string;
  /** What the largest magnitude of a tensor is taken to be at least. */
  readonly least: number;
}

/**
 * What is wrong with each case, in a sentence; undefined where all is well. A case builds the tensors to compare, and all cases
 * are computed in one run on the current engine.
 */
export async function problemsOf(
  cases: readonly (() => readonly Compared[])[],
  options: OracleOptions,
): Promise<(string | undefined)[]> {
  const built = cases.map((build) => {
    try {
      return build();
    } catch (error) {
      return firstLine(error);
    }
  });
  try {
    await evaluate(...built.flatMap((each) => (typeof each === "string" ? [] : each.map(({ have }) => have))));
  } catch {
    // Whose fault it is shows below.
  }
  const problems: (string | undefined)[] = [];
  for (const each of built) problems.push(typeof each === "string" ? each : await firstProblem(each, options));
  return problems;
}

const firstLine = (error: unknown): string => (error as Error).message.split("\n")[0]!;

async function firstProblem(compared: readonly Compared[], options: OracleOptions): Promise<string | undefined> {
  for (const each of compared) {
    const problem = await difference(each, options).catch((error) => `${each.what}: ${firstLine(error)}`);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

async function difference(
  { have, want, what, tolerance }: Compared,
  { of, least }: OracleOptions,
): Promise<string | undefined> {
  if (`${have.shape}` !== `${want.shape}`) return `${what} is [${have.shape}], ${of}'s [${want.shape}]`;
  if (want.values.length !== sizeOf(want.shape)) return `${what}: ${of} has ${want.values.length} values`;
  const got = await have.data();
  let scale = least;
  for (let i = 0; i < want.values.length; i++) {
    const size = Math.abs(want.values[i]!);
    if (Number.isFinite(size)) scale = Math.max(scale, size);
  }
  for (let i = 0; i < want.values.length; i++) {
    const [a, b] = [got[i]!, want.values[i]!];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (!(Math.abs(a - b) / scale <= tolerance)) return `${what}[${i}] is ${a}, ${of}'s ${b}`;
  }
  return undefined;
}

/** Tensors widened to the shape that they have in common. */
export function widened(...tensors: readonly Tensor[]): Tensor[] {
  const { shape } = tensors.reduce((a, b) => broadcast(a, b)[0] as Tensor);
  return tensors.map((x) => x.expand(shape));
}

/** [batch, classes, …] with the classes last. */
export const classesLast = (x: Tensor): Tensor =>
  x.shape.length < 2 ? x : x.transpose(0, ...[...x.shape.keys()].slice(2), 1);
