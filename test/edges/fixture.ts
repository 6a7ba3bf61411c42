/** What functions are at the edges of the numbers, by mpmath and PyTorch: see test/fixtures/generate_edges.py. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";

type Span = readonly [from: number, to: number];

interface StoredUnary {
  readonly x: Span;
  readonly y: Span;
  /** By order of the derivative. */
  readonly outside: readonly (readonly number[])[];
}

interface Stored {
  readonly edges: number;
  readonly unary: Readonly<Record<string, Readonly<Record<"float32" | "float64", StoredUnary>>>>;
  readonly pairs: Readonly<Record<string, { readonly a: Span; readonly b: Span; readonly results: readonly Span[] }>>;
  readonly arrays: Readonly<Record<string, readonly (readonly [values: Span, gradient: Span | null])[]>>;
  readonly arrayEdges: Span;
  readonly lengths: readonly number[];
  readonly values: string;
}

const stored = JSON.parse(
  gunzipSync(readFileSync(new URL("../fixtures/edges.json.gz", import.meta.url))).toString(),
) as Stored;
const bytes = Buffer.from(stored.values, "base64");
const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const spread = ([from, to]: Span): Float64Array => all.subarray(from, to);

export type FloatType = "float32" | "float64";

/** A function's values, first and second derivatives at some places. */
export interface Known {
  /** By input, then by place. */
  readonly inputs: readonly Float64Array[];
  /** Values, then derivatives in the order of `derivativesOf`. */
  readonly results: readonly Float64Array[];
  /** By result, places where nothing is said of it: derivatives outside of the function's domain. */
  readonly unsaid: readonly ReadonlySet<number>[];
}

/** How many of the places are edges: they come first. */
export const edgeCount: number = stored.edges;

export const unaryNames: readonly string[] = Object.keys(stored.unary);
export const pairNames: readonly string[] = Object.keys(stored.pairs);
export const arrayNames: readonly string[] = Object.keys(stored.arrays);

export function knownUnary(name: string, dtype: FloatType): Known {
  const { x, y, outside } = stored.unary[name]![dtype];
  const [inputs, values] = [spread(x), spread(y)];
  const results = [0, 1, 2].map((order) => values.subarray(order * inputs.length, (order + 1) * inputs.length));
  return { inputs: [inputs], results, unsaid: outside.map((places) => new Set(places)) };
}

export function knownPair(name: string): Known {
  const { a, b, results } = stored.pairs[name]!;
  const [left, right, found] = [spread(a), spread(b), results.map(spread)];
  // PyTorch's derivatives at infinities and NaN, and where the value is one, are what its formulas happen to give.
  const unsaid = found.map((values, i) => {
    const isSaid = (at: number): boolean =>
      i === 0 ||
      [left, right, found[0]!, values].every((each, n) =>
        n < 3 ? Number.isFinite(each[at]) : !Number.isNaN(each[at]),
      );
    return new Set([...values.keys()].filter((at) => !isSaid(at)));
  });
  return { inputs: [left, right], results: found, unsaid };
}

/** An array with one edge in it, a function's outputs for it and the gradient of their sum, weighted. */
export interface KnownArray {
  readonly x: Float64Array;
  readonly values: Float64Array;
  readonly gradient: Float64Array | undefined;
}

export const arrayEdges: readonly number[] = [...spread(stored.arrayEdges)];
/** What stands at the places that have no edge. */
export const base = (length: number): number[] => Array.from({ length }, (_, i) => (((7 * i) % 11) - 4.5) / 4);
/** The weights of outputs. */
export const weights = (length: number): number[] => Array.from({ length }, (_, i) => (((5 * i) % 7) - 2.5) / 3);

export function knownArrays(name: string): KnownArray[] {
  const cases = stored.arrays[name]!;
  const inputs = stored.lengths.flatMap((length) =>
    arrayEdges.flatMap((edge) =>
      Array.from({ length }, (_, place) => Float64Array.from(base(length).with(place, edge))),
    ),
  );
  return inputs.map((x, i) => {
    const [values, gradient] = cases[i]!;
    return { x, values: spread(values), gradient: gradient ? spread(gradient) : undefined };
  });
}
