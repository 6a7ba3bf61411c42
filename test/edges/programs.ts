/**
 * Random programs of arithmetic on edges of the numbers. Each step is one function of what earlier steps gave, and each step's
 * result is looked at: it has to be what the plain engine makes of the very values that the step was given.
 */
import type { DType, Values } from "../../src/graph/types.ts";
import { isFloat, sizeOf } from "../../src/graph/types.ts";
import {
  concat,
  type Engine,
  evaluate,
  GlissadeError,
  plainEngine,
  type Tensor,
  useEngine,
  where,
} from "../../src/node.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { adopt } from "../../src/tensor/create.ts";
import { integerEdges } from "./integers.ts";
import { isRight, isSubnormal, runsInOnnx } from "./sweep.ts";
import type { Any } from "./table.ts";

/** How far a step's float32 result may be off, beside its own size and beside that of what it adds up. */
interface Rounding {
  /** A step that adds up many numbers is compared with the largest of them. */
  readonly sums?: true;
  /** A function that saturates, or is near a zero, is compared with 1. */
  readonly beside?: 1;
}

interface Kind extends Rounding {
  readonly name: string;
  /** Gives up, by returning nothing or by an error of ours, on what it does not fit. */
  readonly make: (a: Any, b: Any, c: Any, detail: number) => Any;
}

const floats = (x: Any): boolean => isFloat(x.dtype);
const alike = (a: Any, b: Any): boolean => a.dtype === b.dtype;
const axisOf = (x: Any, detail: number): number => detail % Math.max(1, x.shape.length);

const elementwise: readonly Kind[] = [
  ..."neg abs sign relu sqrt reciprocal square floor ceil round trunc step exp log expm1 log1p atan asinh cosh sinh softplus softsign leakyRelu cbrt rsqrt exp2"
    .split(" ")
    .map(
      (name): Kind => ({ name, make: (a) => (floats(a) || name === "neg" || name === "abs" ? a[name]() : undefined) }),
    ),
  ..."tanh sigmoid erf sin cos gelu silu logSigmoid elu"
    .split(" ")
    .map((name): Kind => ({ name, beside: 1, make: (a) => (floats(a) ? a[name]() : undefined) })),
  { name: "clip", make: (a, _b, _c, n) => (a.dtype === "bool" ? undefined : a.clip(-n, n + 1)) },
];

const pairs: readonly Kind[] = [
  ..."add sub mul maximum minimum"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, b) => (alike(a, b) && a.dtype !== "bool" ? a[name](b) : undefined) })),
  ..."div remainder fmod floorDivide".split(" ").map(
    (name): Kind => ({
      name,
      make: (a, b) =>
        !alike(a, b) || a.dtype === "bool" ? undefined : a.dtype === "int32" ? a[name](b.bitAnd(7).add(1)) : a[name](b),
    }),
  ),
  ..."atan2 hypot pow copySign"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, b) => (alike(a, b) && floats(a) ? a[name](b) : undefined) })),
  ..."less lessEqual greater greaterEqual"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, b) => (alike(a, b) && a.dtype !== "bool" ? a[name](b) : undefined) })),
  ..."equal notEqual"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, b) => (alike(a, b) ? a[name](b) : undefined) })),
  ..."bitAnd bitOr bitXor shiftLeft shiftRight".split(" ").map(
    (name): Kind => ({
      name,
      make: (a, b) =>
        a.dtype === "int32" && alike(a, b) ? a[name](name.startsWith("shift") ? b.bitAnd(31) : b) : undefined,
    }),
  ),
  ..."and or xor"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, b) => (a.dtype === "bool" && alike(a, b) ? a[name](b) : undefined) })),
  { name: "not", make: (a) => (a.dtype === "bool" ? a.not() : undefined) },
  {
    name: "where",
    make: (a, b, c) => (c.dtype === "bool" && alike(a, b) ? where(c, a, b) : undefined),
  },
  { name: "isNaN", make: (a) => a.isNaN() },
  { name: "isFinite", make: (a) => a.isFinite() },
];

const reductions: readonly Kind[] = [
  ..."sum mean".split(" ").map(
    (name): Kind => ({
      name,
      sums: true,
      make: (a, _b, _c, n) =>
        a.dtype === "bool" || (name === "mean" && !floats(a)) ? undefined : a[name](axisOf(a, n)),
    }),
  ),
  ..."max min argmax argmin"
    .split(" ")
    .map((name): Kind => ({ name, make: (a, _b, _c, n) => (a.dtype === "bool" ? undefined : a[name](axisOf(a, n))) })),
  { name: "cumsum", sums: true, make: (a, _b, _c, n) => (a.dtype === "bool" ? undefined : a.cumsum(axisOf(a, n))) },
  { name: "any", make: (a, _b, _c, n) => a.any(axisOf(a, n)) },
  { name: "countNonZero", make: (a) => a.countNonZero() },
  { name: "softmax", beside: 1, make: (a, _b, _c, n) => (floats(a) ? a.softmax(axisOf(a, n)) : undefined) },
  { name: "sort", make: (a, _b, _c, n) => (a.dtype === "bool" ? undefined : a.sort(axisOf(a, n))[0]) },
  { name: "matmul", sums: true, make: (a, b) => (alike(a, b) && a.dtype !== "bool" ? a.matmul(b) : undefined) },
  {
    name: "transposed",
    sums: true,
    make: (a, b) => (alike(a, b) && a.dtype !== "bool" ? a.matmul(b.mT()) : undefined),
  },
];

const moves: readonly Kind[] = [
  { name: "transpose", make: (a) => a.transpose() },
  { name: "flatten", make: (a) => a.reshape([a.size]) },
  { name: "row", make: (a) => a.reshape([1, ...a.shape]) },
  { name: "column", make: (a) => a.reshape([...a.shape, 1]) },
  { name: "flip", make: (a, _b, _c, n) => a.flip(axisOf(a, n)) },
  { name: "concat", make: (a, b, _c, n) => (alike(a, b) ? concat([a, b], axisOf(a, n)) : undefined) },
  { name: "part", make: (a, _b, _c, n) => a.slice([Math.min(n, a.shape[0] ?? 0)]) },
  { name: "wider", make: (a, _b, _c, n) => a.expand([n + 1, ...a.shape]) },
  {
    name: "take",
    make: (a, b) =>
      b.dtype === "int32" && a.shape.length > 0 && a.shape[0] > 0 ? a.take(b.remainder(a.shape[0])) : undefined,
  },
  ...(["float32", "float64", "int32", "bool"] as const).map(
    (dtype): Kind => ({ name: `to ${dtype}`, make: (a) => (a.dtype === dtype ? undefined : a.cast(dtype)) }),
  ),
];

/** Elementwise ones twice, because kernels are made of them. */
const kinds: readonly Kind[] = [...elementwise, ...pairs, ...elementwise, ...pairs, ...reductions, ...moves];

interface Leaf {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly values: readonly number[];
}

interface Step {
  readonly kind: number;
  readonly of: readonly number[];
  readonly detail: number;
}

export interface Program {
  readonly leaves: readonly Leaf[];
  readonly steps: readonly Step[];
}

const largest = 3.4028234663852886e38;
const floatEdges: readonly number[] = [
  ...[0, -0, 1, -1, 0.5, -2, 3, 7.25, -100, 1e-20, -1e-20, 1e20, -1e20, 2 ** -126, largest, -largest],
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN],
].map(Math.fround);

/** A program by its number. */
export function programOf(seed: number): Program {
  const random = new PhiloxStream(seed);
  const below = (n: number): number => random.next() % n;
  const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;
  const width = pick([1, 2, 3, 7, 8, 9, 16, 17]);
  const leaves = Array.from({ length: 2 + below(3) }, (): Leaf => {
    const shape = pick([[], [width], [width], [3, width], [3, width], [3, 1], [1, width], [2, 3, 1]]);
    const dtype = pick<DType>(["float32", "float32", "float32", "float32", "float64", "int32", "bool"]);
    const choice = dtype === "bool" ? [0, 1] : dtype === "int32" ? integerEdges : floatEdges;
    // Half of the real numbers are ordinary, or NaN would soon be everywhere.
    const draw = (): number => (isFloat(dtype) && below(2) ? Math.fround(random.normal()) : pick(choice));
    return { shape, dtype, values: Array.from({ length: sizeOf(shape) }, draw) };
  });
  const steps = Array.from({ length: 3 + below(8) }, (): Step => {
    const of = [below(6), below(6), below(6)];
    return { kind: below(kinds.length), of, detail: below(4) };
  });
  return { leaves, steps };
}

const toTensor = ({ shape, dtype, values }: Leaf): Tensor => {
  const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };
  return adopt({ shape, dtype }, arrays[dtype].from(values) as Values);
};

interface Made {
  readonly kind: Kind;
  readonly detail: number;
  /** Positions among leaves and results. */
  readonly of: readonly number[];
}

/** The leaves and results of a program, and how each result was made. */
function build({ leaves, steps }: Program): { readonly all: readonly Tensor[]; readonly made: readonly Made[] } {
  const all = leaves.map(toTensor);
  const made: Made[] = [];
  for (const { kind: which, of, detail } of steps) {
    const kind = kinds[which]!;
    // Recent results rather than old ones, so that graphs grow deep.
    const from = of.map((n) => all.length - 1 - (n % all.length));
    const result = attempt(() => kind.make(all[from[0]!], all[from[1]!], all[from[2]!], detail));
    if (!result || result.size > 600 || result.size === 0 || !runsInOnnx([result], "float64")) continue;
    all.push(result);
    made.push({ kind, detail, of: from });
  }
  return { all, made };
}

function attempt(make: () => Any): Any {
  try {
    return make();
  } catch (error) {
    if (error instanceof GlissadeError) return undefined;
    throw error;
  }
}

export interface Outcome {
  /** How many results were compared. */
  readonly compared: number;
  /** What is wrong, a sentence for each program that is. */
  readonly problems: readonly { readonly program: Program; readonly sentence: string }[];
}

/** Runs programs in one graph on an engine. */
export async function runPrograms(programs: readonly Program[], engine: Engine): Promise<Outcome> {
  useEngine(engine);
  const built = programs.map(build);
  try {
    await evaluate(...built.flatMap(({ all, made }) => all.slice(all.length - made.length)));
  } catch (error) {
    if (programs.length === 1)
      return {
        compared: 0,
        problems: [{ program: programs[0]!, sentence: `the run fails: ${(error as Error).message}` }],
      };
    // Which one it is shows when each runs by itself.
    const alone: Outcome[] = [];
    for (const program of programs) alone.push(await runPrograms([program], engine));
    return {
      compared: alone.reduce((sum, { compared }) => sum + compared, 0),
      problems: alone.flatMap(({ problems }) => problems),
    };
  }
  const values = await Promise.all(built.map(({ all }) => Promise.all(all.map((x) => x.data()))));
  // Each step again, on the plain engine and on the values that it was given.
  useEngine(plainEngine());
  const again = built.map(({ all, made }, p) => {
    const fresh = all.map((x, i) => adopt({ shape: x.shape, dtype: x.dtype }, values[p]![i]!.slice() as Values));
    return made.map(({ kind, of, detail }) => kind.make(fresh[of[0]!], fresh[of[1]!], fresh[of[2]!], detail) as Tensor);
  });
  await evaluate(...again.flat());
  const problems: { program: Program; sentence: string }[] = [];
  let compared = 0;
  for (const [p, { all, made }] of built.entries()) {
    const first = all.length - made.length;
    for (const [n, step] of made.entries()) {
      const given = step.of.map((at) => values[p]![at]!);
      compared += values[p]![first + n]!.length;
      const sentence = differenceOf(
        step,
        all[first + n]!.dtype,
        given,
        values[p]![first + n]!,
        await again[p]![n]!.data(),
      );
      if (sentence === undefined) continue;
      problems.push({ program: programs[p]!, sentence: `step ${n}, ${step.kind.name}: ${sentence}` });
      break;
    }
  }
  return { compared, problems };
}

const tolerance = { float32: 4e-6, float64: 1e-12 };

function differenceOf(
  { kind }: Made,
  dtype: DType,
  given: readonly ArrayLike<number>[],
  got: ArrayLike<number>,
  want: ArrayLike<number>,
): string | undefined {
  const most = given.reduce(
    (size, each) => Array.from(each).reduce((a, x) => (Number.isFinite(x) ? Math.max(a, Math.abs(x)) : a), size),
    0,
  );
  const type = dtype === "float64" ? "float64" : "float32";
  // Documented: numbers below the smallest normal one may be read as 0, and sums of numbers near the largest overflow on their way.
  if (given.some((each) => Array.from(each).some((x) => isSubnormal(x, "float32")))) return undefined;
  if (kind.sums && most > 1e17) return undefined;
  const count = Math.max(1, (given[0]?.length ?? 1) / Math.max(1, got.length), got.length);
  const scale = kind.sums ? most * Math.max(most, 1) * count : (kind.beside ?? 0);
  const isSame = (a: number, b: number): boolean =>
    isFloat(dtype) ? isRight(a, b, type, tolerance[type], scale) : a === b;
  for (let i = 0; i < got.length; i++)
    if (!isSame(got[i]!, want[i]!)) return `element ${i} is ${got[i]} and should be ${want[i]}`;
  return undefined;
}

/** A program as small as can be that is wrong all the same: without steps, then without leaves' elements. */
export async function shrunk(
  program: Program,
  engine: Engine,
): Promise<{ readonly program: Program; readonly sentence: string }> {
  const problemOf = async (each: Program): Promise<string | undefined> =>
    (await runPrograms([each], engine)).problems[0]?.sentence;
  let best = program;
  let sentence = (await problemOf(best))!;
  for (let i = best.steps.length - 1; i >= 0; i--) {
    const fewer = { ...best, steps: best.steps.toSpliced(i, 1) };
    const problem = await problemOf(fewer);
    if (problem !== undefined) [best, sentence] = [fewer, problem];
  }
  for (const [i, leaf] of best.leaves.entries()) {
    const plain = { ...best, leaves: best.leaves.with(i, { ...leaf, values: leaf.values.map(() => 1) }) };
    const problem = await problemOf(plain);
    if (problem !== undefined) [best, sentence] = [plain, problem];
  }
  return { program: best, sentence };
}

/** A program as text: its leaves, and the names of its steps with what they are done to. */
export function show(program: Program): string {
  const { all, made } = build(program);
  const leaves = program.leaves.map(({ shape, dtype, values }, i) => `%${i} = ${dtype}[${shape}] ${values.join(" ")}`);
  const first = all.length - made.length;
  const steps = made.map(
    ({ kind, of, detail }, i) => `%${first + i} = ${kind.name}(${of.map((n) => `%${n}`)}; ${detail})`,
  );
  return [...leaves, ...steps].join("\n");
}
