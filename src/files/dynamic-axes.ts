/** The axes of an exported model's inputs that stay open: which they are, and the sizes that a function is traced with to open them. */
import { ConfigError, GlissadeError, quoted } from "../errors.ts";
import { aRecord, described, nearest } from "../graph/arguments.ts";
import { showShape } from "../graph/types.ts";
import { type Point, sizesPerAxis } from "../onnx/formula.ts";
import type { Obstacle } from "../onnx/open-axes.ts";
import { full } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * The axes of each input whose sizes an exported model leaves open, as in `torch.onnx.export`: by the input's name, a name for each axis.
 * `{ ids: { 0: "batch", 1: "time" } }`, or in short `{ ids: ["batch", "time"] }`. Axes with one name have one size.
 */
export type DynamicAxes = Readonly<Record<string, Readonly<Record<number, string>>>>;

/** One size that stays open: all axes with one name. */
export interface OpenSize {
  readonly name: string;
  /** Its size in the examples. */
  readonly size: number;
  readonly places: readonly { readonly input: number; readonly axis: number }[];
}

const subject = "exportOnnx";

/** Reads `dynamicAxes` for inputs with these names. Throws ConfigError for an input, axis or name that cannot be. */
export function openSizesOf(given: DynamicAxes, names: readonly string[], examples: readonly Tensor[]): OpenSize[] {
  const wrong = (problem: string, fix: string): never => {
    throw new ConfigError(subject, problem, fix);
  };
  const form = 'give each input its axes with their names, such as { ids: { 0: "batch", 1: "time" } }';
  if (aRecord(given)) wrong(`dynamicAxes is ${described(given)}`, form);
  const sizes = new Map<string, { name: string; size: number; places: { input: number; axis: number }[] }>();
  for (const [inputName, axes] of Object.entries(given)) {
    const input = names.indexOf(inputName);
    if (input < 0) {
      const near = nearest(inputName, names);
      wrong(
        `dynamicAxes names the input ${quoted(inputName)}, and there are ${names.map(quoted).join(", ")}`,
        near === undefined ? "use the names of the option `inputs`" : `did you mean ${near}?`,
      );
    }
    if (typeof axes !== "object" || axes === null)
      wrong(`the dynamic axes of ${quoted(inputName)} are ${described(axes)}`, form);
    const { shape } = examples[input]!;
    for (const [key, name] of Object.entries(axes) as [string, unknown][]) {
      const axis = Number(key);
      if (!Number.isInteger(axis) || String(axis) !== key || axis < 0 || axis >= shape.length)
        wrong(
          `${quoted(inputName)} has no axis ${key}: its example is ${showShape(shape)}`,
          `count axes from 0, up to ${shape.length - 1}`,
        );
      if (typeof name !== "string" || !/^[\p{L}_][\p{L}\p{N}_]*$/u.test(name))
        return wrong(
          `axis ${key} of ${quoted(inputName)} has the name ${described(name)}`,
          "give a name of letters, digits and underscores",
        );
      const known = sizes.get(name) ?? { name, size: shape[axis]!, places: [] };
      sizes.set(name, known);
      if (known.size !== shape[axis]!)
        wrong(
          `the axes called ${quoted(name)} have the sizes ${known.size} and ${shape[axis]} in the examples`,
          "axes with one name have one size: give one of them another name, or make the examples equal",
        );
      known.places.push({ input, axis });
    }
  }
  return [...sizes.values()];
}

/** Examples with other sizes of open axes. They are never computed: tracing uses only types. */
export function resized(examples: readonly Tensor[], open: readonly OpenSize[], sizes: Point): Tensor[] {
  return examples.map((example, input) => {
    const shape = [...example.shape];
    for (const [i, { places }] of open.entries())
      for (const place of places) if (place.input === input) shape[place.axis] = sizes[i]!;
    return full(shape, 0, example.dtype) as Tensor;
  });
}

/** Sizes to try, in this order: primes first, since other numbers of a model are seldom multiples of them. */
const smallSizes = [5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 67, 131, 6, 8, 9, 10, 12, 4, 3, 2] as const;
const largeSizes = [4001, 503, 307, 251, 127, 61, 53, ...smallSizes.slice(0, 12).reverse(), 10, 9, 8, 6] as const;

/**
 * Chooses the sizes with which each open axis is probed: small ones and a large one that the function takes.
 * @param taken sizes and numbers of the model, which the probes should not meet by chance
 * @param count returns how many nodes the function makes for some sizes; throws where it takes none of these sizes
 */
export function probeSizes(
  open: readonly OpenSize[],
  taken: ReadonlySet<number>,
  count: (sizes: Point) => number,
): readonly Point[] | Obstacle {
  const used = new Set<number>();
  // Where a size meets another number by chance, two constants or two nodes become one for this size alone.
  const isApart = (size: number): boolean => [size - 1, size, size + 1, 2 * size].every((near) => !taken.has(near));
  const meetings = [isApart, (size: number) => !taken.has(size), () => true];
  const chosen = open.map((): { readonly size: number; readonly nodes: number }[] => []);
  /** Adds one size to those of an axis, or returns what prevents it. */
  const choose = (axis: number, candidates: readonly number[]): Obstacle | undefined => {
    const own = chosen[axis]!;
    // The refusal of the size nearest to the example's says most: far from it, a model may also lack positions.
    let refusal: { readonly error: unknown; readonly distance: number } | undefined;
    for (const isFree of meetings)
      for (const size of candidates) {
        if (used.has(size) || size === open[axis]!.size || !isFree(size)) continue;
        try {
          own.push({ size, nodes: count(open.map((each, i) => (i === axis ? size : each.size))) });
          used.add(size);
          return undefined;
        } catch (error) {
          const distance = Math.abs(size - open[axis]!.size);
          if (!refusal || distance < refusal.distance) refusal = { error, distance };
        }
      }
    return {
      axes: [axis],
      problem: `the function takes ${own.length ? "few" : "no"} other sizes: ${wordsOf(refusal?.error)}`,
    };
  };
  for (let round = 1; round < sizesPerAxis; round++)
    for (const axis of open.keys()) {
      const obstacle = choose(axis, smallSizes);
      if (obstacle) return obstacle;
    }
  // A function with a step of its own for each place is not traced with a large size.
  for (const [axis, own] of chosen.entries()) {
    const other = own.find(({ nodes }) => nodes !== own[0]!.nodes);
    if (!other) continue;
    const shown = [own[0]!, other].map(({ size, nodes }) => `${nodes} for ${open[axis]!.name} = ${size}`);
    return { axes: [axis], problem: `the function makes another number of operations: ${shown.join(", ")}` };
  }
  for (const axis of open.keys()) {
    const obstacle = choose(axis, largeSizes);
    if (obstacle) return obstacle;
  }
  return chosen.map((own) => own.map(({ size }) => size));
}

/** An error of a function, in one line. */
function wordsOf(error: unknown): string {
  if (!(error instanceof GlissadeError)) return String(error);
  return `${error.subject}: ${error.problem}${error.path ? ` (in ${error.path})` : ""}`;
}
