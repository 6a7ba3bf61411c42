/** L-BFGS: Newton's method with a curvature estimated from the last steps, for losses without noise. */
import { partialGradients } from "../autodiff/gradients.ts";
import { compile } from "../compile/compile.ts";
import { ConfigError, DataError } from "../errors.ts";
import { aFunction, anything, aRecord, expectArguments, optional } from "../graph/arguments.ts";
import { flawIn } from "../graph/check.ts";
import { arrayTypes } from "../graph/types.ts";
import { zeros } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { gradientFlaw } from "./guards.ts";
import { type Parameters, parametersOf } from "./optimizer.ts";

/** Options of `lbfgs`. */
export interface LbfgsOptions {
  /** The first step length tried in each line search. Default 1. */
  readonly learningRate?: number;
  /** The largest number of steps in one call of `step`. Default 20. */
  readonly iterations?: number;
  /**
   * The number of evaluations of loss and gradient in one call after which no further step begins. Default 5/4 of the iterations, at least
   * 25.
   */
  readonly evaluations?: number;
  /** Stops when no element of the gradient is larger than this. Default 1e-7. */
  readonly gradientTolerance?: number;
  /** Stops when neither the loss nor any parameter changes by more than this. Default 1e-9. */
  readonly changeTolerance?: number;
  /** The number of past steps that are kept. Default 100. */
  readonly history?: number;
}

/** The result of a call of `step`. */
export interface LbfgsReport {
  /** The loss before the first and after the last step. */
  readonly before: number;
  readonly loss: number;
  readonly iterations: number;
  /** The number of evaluations of loss and gradient. */
  readonly evaluations: number;
  /** Whether the call stopped because the gradient or the change became smaller than its tolerance. */
  readonly converged: boolean;
}

/** The memory of L-BFGS between calls of `step`. Together with the parameters it is all that is needed to continue after a pause. */
export interface LbfgsMemory {
  /** Differences of parameters s and of gradients y, oldest first, and ρ = 1 / sᵀy. */
  readonly pairs: readonly { readonly s: Float64Array; readonly y: Float64Array; readonly rho: number }[];
  /** The scale of H₀: sᵀy / yᵀy of the last step. */
  readonly scale: number;
  /** The last step: its direction, its length, and the gradient before it. */
  readonly last: { readonly direction: Float64Array; readonly gradient: Float64Array; readonly t: number } | undefined;
}

/** Loss, gradient, and the loss's slope along the direction of a search. */
interface Point {
  readonly t: number;
  readonly loss: number;
  readonly gradient: Float64Array;
  readonly slope: number;
}

const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
const largest = (a: Float64Array): number => a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/**
 * L-BFGS (Nocedal 1980; Nocedal and Wright 2006, Algorithms 7.4 and 7.5) with a line search for the strong Wolfe conditions
 * (Algorithms 3.5 and 3.6). The loss is a function without arguments over fixed data; it is compiled once, with its gradient, and
 * run at every evaluation. Vectors are kept on the JavaScript side in float64.
 */
export class Lbfgs {
  readonly #parameters: readonly Parameter[];
  readonly #evaluate: () => Promise<{ readonly loss: number; readonly gradient: Float64Array }>;
  readonly #options: Required<LbfgsOptions>;
  /** The memory between calls. To continue from an earlier point, assign the memory that was read there. */
  memory: LbfgsMemory = { pairs: [], scale: 1, last: undefined };

  /** Throws ConfigError for options out of range and a model without parameters. */
  constructor(model: Parameters, loss: () => Tensor, options: LbfgsOptions = {}) {
    const iterations = options.iterations ?? 20;
    this.#options = {
      learningRate: 1,
      iterations,
      evaluations: Math.max(25, Math.floor((iterations * 5) / 4)),
      gradientTolerance: 1e-7,
      changeTolerance: 1e-9,
      history: 100,
      ...options,
    };
    for (const name of ["learningRate", "iterations", "evaluations", "history"] as const)
      if (!(this.#options[name] > 0))
        throw new ConfigError("lbfgs", `${name} is ${this.#options[name]}`, "give a number above 0");
    this.#parameters = parametersOf(model).filter((parameter) => parameter.trainable);
    if (this.#parameters.length === 0)
      throw new ConfigError("lbfgs", "the model has no parameters to train", "pass a module with layers");
    const run = compile(() => {
      const value = loss();
      const slopes = partialGradients(value, this.#parameters);
      return [
        value,
        ...slopes.map((slope, i) => slope ?? zeros(this.#parameters[i]!.shape, this.#parameters[i]!.dtype)),
      ];
    });
    this.#evaluate = async () => {
      const [values, ...parts] = await Promise.all((run() as Tensor[]).map((result) => result.data()));
      const [loss, gradient] = [values![0]!, joined(parts)];
      // A point where the loss is NaN or the gradient is not finite counts as loss Infinity, so the search turns back from it.
      return { loss: gradient.every(Number.isFinite) && !Number.isNaN(loss) ? loss : Infinity, gradient };
    };
  }

  /**
   * Takes up to `iterations` steps. The parameters end at the best point that was found. Throws DataError when the loss or its gradient is
   * not finite at the start.
   */
  async step(): Promise<LbfgsReport> {
    const {
      iterations,
      evaluations: mostEvaluations,
      gradientTolerance,
      changeTolerance,
      learningRate,
    } = this.#options;
    let x = joined(await Promise.all(this.#parameters.map((parameter) => parameter.data())));
    let { loss, gradient } = await this.#evaluate();
    const before = loss;
    if (!Number.isFinite(loss))
      throw new DataError(
        "lbfgs",
        `${this.#flaw(gradient) ?? "the loss is not finite"} at the start, so no step was made`,
        "begin elsewhere, or check the data",
      );
    let evaluations = 1;
    let done = 0;
    let converged = largest(gradient) <= gradientTolerance;
    while (!converged && done < iterations && evaluations < mostEvaluations) {
      const direction = this.#direction(gradient);
      const slope = dot(gradient, direction);
      if (slope > -changeTolerance) {
        converged = true; //  the slope is too small for a further step
        break;
      }
      const isFirst = this.memory.last === undefined;
      const first = isFirst
        ? Math.min(1, 1 / gradient.reduce((sum, g) => sum + Math.abs(g), 0)) * learningRate
        : learningRate;
      const start = x;
      const at = async (t: number): Promise<Point> => {
        this.#write(start.map((value, i) => value + t * direction[i]!));
        const here = await this.#evaluate();
        evaluations++;
        return { t, ...here, slope: dot(here.gradient, direction) };
      };
      const from: Point = { t: 0, loss, gradient, slope };
      const found = await search(at, from, first, largest(direction), changeTolerance).catch((error: unknown) => {
        this.#write(start); //  returns to the start: the loss could not be computed at the point tried
        throw error;
      });
      done++;
      x = start.map((value, i) => value + found.t * direction[i]!);
      this.#write(x);
      this.memory = { ...this.memory, last: { direction, gradient, t: found.t } };
      const change = Math.abs(found.loss - loss);
      ({ loss, gradient } = found);
      const moved = largest(direction) * found.t;
      converged = largest(gradient) <= gradientTolerance || moved <= changeTolerance || change < changeTolerance;
    }
    return { before, loss, iterations: done, evaluations, converged };
  }

  /** Returns −H·g, by the two-loop recursion (Algorithm 7.4). */
  #direction(gradient: Float64Array): Float64Array {
    const { last } = this.memory;
    if (last) {
      const s = last.direction.map((value) => value * last.t);
      const y = gradient.map((value, i) => value - last.gradient[i]!);
      const curvature = dot(y, s);
      if (curvature > 1e-10) {
        const pairs = [...this.memory.pairs, { s, y, rho: 1 / curvature }].slice(-this.#options.history);
        this.memory = { pairs, scale: curvature / dot(y, y), last };
      }
    }
    const { pairs, scale } = this.memory;
    const q = gradient.map((value) => -value);
    const alphas: number[] = [];
    for (const { s, y, rho } of [...pairs].reverse()) {
      const alpha = rho * dot(s, q);
      alphas.push(alpha);
      for (let i = 0; i < q.length; i++) q[i]! -= alpha * y[i]!;
    }
    const r = q.map((value) => value * scale);
    for (const { s, y, rho } of pairs) {
      const share = alphas.pop()! - rho * dot(y, r);
      for (let i = 0; i < r.length; i++) r[i]! += share * s[i]!;
    }
    return r;
  }

  /** Says which parameter's gradient is not finite, and where; undefined if all are finite. */
  #flaw(gradient: Float64Array): string | undefined {
    let start = 0;
    for (const parameter of this.#parameters) {
      const { size } = parameter;
      const flaw = flawIn(gradient.subarray(start, start + size), parameter, { kind: "finite" });
      if (flaw) return gradientFlaw(parameter, flaw);
      start += size;
    }
    return undefined;
  }

  #write(x: Float64Array): void {
    let start = 0;
    for (const parameter of this.#parameters) {
      const { dtype, size } = parameter;
      parameter.write(arrayTypes[dtype].from(x.subarray(start, start + size)));
      start += size;
    }
  }
}

/** Makes an L-BFGS optimizer over a model's parameters. Call `await optimizer.step()` until the report says that it has converged. */
export function lbfgs(model: Parameters, loss: () => Tensor, options: LbfgsOptions = {}): Lbfgs {
  expectArguments("lbfgs", [anything, aFunction, optional(aRecord)], [model, loss, options]);
  return new Lbfgs(model, loss, options);
}

function joined(parts: readonly ArrayLike<number>[]): Float64Array {
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0));
  let start = 0;
  for (const part of parts) {
    all.set(part, start);
    start += part.length;
  }
  return all;
}

/** c₁ and c₂ of the Wolfe conditions, and the largest number of evaluations in one search. */
const [enough, flat, mostLooks] = [1e-4, 0.9, 25];

/**
 * Finds a step length with enough descent, f(t) ≤ f(0) + c₁·t·f′(0), and a slope that is flat enough, |f′(t)| ≤ c₂·|f′(0)|. It first finds
 * an interval that contains such a length (Algorithm 3.5), then shrinks it (Algorithm 3.6). It tries the point where the cubic through the
 * interval's ends has its minimum.
 */
async function search(
  at: (t: number) => Promise<Point>,
  start: Point,
  first: number,
  size: number,
  tolerance: number,
): Promise<Point> {
  const descends = (p: Point): boolean => p.loss <= start.loss + enough * p.t * start.slope;
  const isFlat = (p: Point): boolean => Math.abs(p.slope) <= -flat * start.slope;
  let previous = start;
  let point = await at(first);
  let looks = 1;
  let ends: [Point, Point] | undefined;
  while (looks < mostLooks) {
    if (!descends(point) || (looks > 1 && point.loss >= previous.loss)) {
      ends = [previous, point];
      break;
    }
    if (isFlat(point)) return point;
    if (point.slope >= 0) {
      ends = [previous, point];
      break;
    }
    // The loss still falls steeply, so try further out: at least 0.01 of the last increase beyond this t, at most 10 times t.
    const next = minimum(previous, point, point.t + 0.01 * (point.t - previous.t), 10 * point.t);
    previous = point;
    point = await at(next);
    looks++;
  }
  if (!ends) ends = [start, point];

  let [low, high] = ends[0].loss <= ends[1].loss ? ends : [ends[1], ends[0]];
  let hasStalled = false;
  while (looks < mostLooks && Math.abs(high.t - low.t) * size >= tolerance) {
    const [left, right] = [Math.min(low.t, high.t), Math.max(low.t, high.t)];
    const margin = 0.1 * (right - left);
    let t = minimum(low, high, left, right);
    // A point close to an end of the interval helps little. The first time it is kept if it lies inside; after that it is moved away from
    // the end.
    if (Math.min(right - t, t - left) < margin) {
      if (hasStalled || t >= right || t <= left) {
        t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
        hasStalled = false;
      } else hasStalled = true;
    } else hasStalled = false;
    const tried = await at(t);
    looks++;
    if (!descends(tried) || tried.loss >= low.loss) high = tried;
    else {
      if (isFlat(tried)) return tried;
      if (tried.slope * (high.t - low.t) >= 0) high = low;
      low = tried;
    }
    // The end with the lower loss becomes `low`.
    if (high.loss < low.loss) [low, high] = [high, low];
  }
  return low;
}

/**
 * Returns where the cubic through two points with their slopes has its minimum, limited to two bounds (Nocedal and Wright, equation 3.59).
 * Without a minimum, returns the middle of the bounds.
 */
function minimum(a: Point, b: Point, from: number, to: number): number {
  const [p, q] = a.t <= b.t ? [a, b] : [b, a];
  const d1 = p.slope + q.slope - (3 * (p.loss - q.loss)) / (p.t - q.t);
  const d2 = Math.sqrt(d1 * d1 - p.slope * q.slope);
  const t = q.t - (q.t - p.t) * ((q.slope + d2 - d1) / (q.slope - p.slope + 2 * d2));
  return Number.isFinite(t) ? Math.min(Math.max(t, from), to) : (from + to) / 2;
}
