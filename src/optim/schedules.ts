/**
 * Learning rates over time. A schedule is a function of the step, from 0: `optimizer.learningRate = schedule(step)` before each
 * step. The rate is a variable of the compiled graph, so nothing compiles again.
 */

import { ConfigError } from "../errors.ts";
import { aFunction, aNumber, aRecord, expectArguments } from "../graph/arguments.ts";

/** The rate at a step, which is counted from 0. */
export type Schedule = (step: number) => number;

function expectSteps(subject: string, steps: number): void {
  if (!(steps > 0)) throw new ConfigError(subject, `${steps} steps`, "give a number above 0");
}

/** Always the same. */
export const constant =
  (rate: number): Schedule =>
  () =>
    rate;

export interface StepsOptions {
  /** After how many steps the rate falls. */
  readonly every: number;
  /** By what factor. Default 0.1. */
  readonly factor?: number;
}

/** rate·factor^⌊step / every⌋ */
export function steps(rate: number, options: StepsOptions): Schedule {
  expectArguments("steps", [aNumber, aRecord], [rate, options]);
  const { every, factor = 0.1 } = options;
  expectSteps("steps", every);
  return (step) => rate * factor ** Math.floor(step / every);
}

/** rate·factor^(step / per): falls by `factor` every `per` steps (default 1), smoothly. */
export function exponential(rate: number, options: { factor: number; per?: number }): Schedule {
  expectArguments("exponential", [aNumber, aRecord], [rate, options]);
  const { factor, per = 1 } = options;
  expectSteps("exponential", per);
  return (step) => rate * factor ** (step / per);
}

export interface DecayOptions {
  /** In how many steps. */
  readonly steps: number;
  /** Where it ends. Default 0. */
  readonly end?: number;
}

/** From `rate` to `end` along half a cosine, and `end` from then on (Loshchilov and Hutter 2017, without restarts). */
export function cosine(rate: number, options: DecayOptions): Schedule {
  expectArguments("cosine", [aNumber, aRecord], [rate, options]);
  const { steps: total, end = 0 } = options;
  expectSteps("cosine", total);
  return (step) => end + ((rate - end) * (1 + Math.cos(Math.PI * Math.min(1, step / total)))) / 2;
}

/** From `rate` to `end` along a straight line, and `end` from then on. */
export function linear(rate: number, options: DecayOptions): Schedule {
  expectArguments("linear", [aNumber, aRecord], [rate, options]);
  const { steps: total, end = 0 } = options;
  expectSteps("linear", total);
  return (step) => {
    const share = Math.min(1, step / total);
    return rate * (1 - share) + end * share;
  };
}

/**
 * The first `steps` steps climb in a straight line towards the schedule's own beginning, which follows: step k of the climb has
 * (k + 1) / (steps + 1) of it.
 */
export function warmUp(schedule: Schedule, options: { steps: number }): Schedule {
  expectArguments("warmUp", [aFunction, aRecord], [schedule, options]);
  const { steps: climb } = options;
  if (!(climb >= 0)) throw new ConfigError("warmUp", `${climb} steps`, "give a number of at least 0");
  return (step) => (step < climb ? (schedule(0) * (step + 1)) / (climb + 1) : schedule(step - climb));
}

/** peak·min(n/w, √(w/n)) for step n from 1: linear growth to the peak in w steps, then a fall with the inverse square root. */
export function inverseSquareRoot(peak: number, options: { warmUpSteps?: number } = {}): Schedule {
  expectArguments("inverseSquareRoot", [aNumber, aRecord], [peak, options]);
  const { warmUpSteps = 4000 } = options;
  expectSteps("inverseSquareRoot", warmUpSteps);
  return (step) => peak * Math.min((step + 1) / warmUpSteps, Math.sqrt(warmUpSteps / (step + 1)));
}

export interface TransformerOptions {
  /** d_model */
  readonly width: number;
  /** Default 4000, the paper's. */
  readonly warmUpSteps?: number;
  /** Default 1, the paper's. */
  readonly factor?: number;
}

/** d^−½·min(n^−½, n·w^−3/2) for step n from 1 (Vaswani et al. 2017, equation 3): `inverseSquareRoot` with the peak (d·w)^−½. */
export function transformer(options: TransformerOptions): Schedule {
  expectArguments("transformer", [aRecord], [options]);
  const { width, warmUpSteps = 4000, factor = 1 } = options;
  expectSteps("transformer", warmUpSteps);
  if (!(width > 0)) throw new ConfigError("transformer", `the width is ${width}`, "give the model's width");
  return inverseSquareRoot(factor * (width * warmUpSteps) ** -0.5, { warmUpSteps });
}

export interface OneCycleOptions {
  /** Length of the cycle. */
  readonly steps: number;
  /** The share of steps in which the rate grows. Default 0.3. */
  readonly growth?: number;
  /** The peak is so many times the beginning. Default 25. */
  readonly startDivisor?: number;
  /** The beginning is so many times the end. Default 10,000. */
  readonly endDivisor?: number;
}

/** Up to a peak and down to almost nothing along half cosines, with a last step at the end (Smith and Topin 2018). */
export function oneCycle(peak: number, options: OneCycleOptions): Schedule {
  expectArguments("oneCycle", [aNumber, aRecord], [peak, options]);
  const { steps: total, growth = 0.3, startDivisor = 25, endDivisor = 1e4 } = options;
  expectSteps("oneCycle", total);
  if (!(growth >= 0 && growth <= 1))
    throw new ConfigError("oneCycle", `the share of growth is ${growth}`, "give a number from 0 to 1");
  const start = peak / startDivisor;
  const end = start / endDivisor;
  const top = growth * total - 1;
  const between = (from: number, to: number, share: number): number =>
    to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  return (step) => {
    if (step >= total - 1) return end;
    return step < top ? between(start, peak, step / top) : between(peak, end, (step - top) / (total - 1 - top));
  };
}

export interface PlateauOptions {
  /** By what factor the rate falls. Default 0.1. */
  readonly factor?: number;
  /** How many measurements without improvement are let pass. Default 10. */
  readonly patience?: number;
  /** An improvement is one by this share of |best|. Default 1e-4. */
  readonly threshold?: number;
  /** How many measurements after a fall are not counted. Default 0. */
  readonly cooldown?: number;
  /** The rate does not fall below. Default 0. */
  readonly least?: number;
  /** Whether larger measurements are better, as for an accuracy. Default false. */
  readonly maximize?: boolean;
}

/** Where a `Plateau` stands: numbers that JSON can hold. */
export interface PlateauState {
  readonly rate: number;
  /** The best measurement so far, null before the first. */
  readonly best: number | null;
  /** Measurements in a row without improvement. */
  readonly bad: number;
  /** Measurements that will still not be counted. */
  readonly cooling: number;
}

/** Lowers the rate when a measurement, such as the validation loss, has stopped improving. */
export class Plateau {
  readonly #options: Required<PlateauOptions>;
  /** Assign what was read to go on where it was read. */
  state: PlateauState;

  /** Throws ConfigError for a factor outside (0, 1). */
  constructor(rate: number, options: PlateauOptions = {}) {
    this.#options = { factor: 0.1, patience: 10, threshold: 1e-4, cooldown: 0, least: 0, maximize: false, ...options };
    this.state = { rate, best: null, bad: 0, cooling: 0 };
    const { factor } = this.#options;
    if (!(factor > 0 && factor < 1))
      throw new ConfigError("Plateau", `the factor is ${factor}`, "give a number between 0 and 1");
  }

  get rate(): number {
    return this.state.rate;
  }

  /** Takes a measurement and returns the rate from now on. A measurement that is no number is no improvement. */
  update(measurement: number): number {
    const { factor, patience, threshold, cooldown, least, maximize } = this.#options;
    const { rate, cooling } = this.state;
    const { best } = this.state;
    const margin = threshold * Math.abs(best ?? 0);
    const isBetter =
      best === null
        ? Number.isFinite(measurement)
        : maximize
          ? measurement > best + margin
          : measurement < best - margin;
    const bad = isBetter || cooling > 0 ? 0 : this.state.bad + 1;
    const falls = bad > patience;
    this.state = {
      rate: falls ? Math.max(least, rate * factor) : rate,
      best: isBetter ? measurement : this.state.best,
      bad: falls ? 0 : bad,
      cooling: falls ? cooldown : Math.max(0, cooling - 1),
    };
    return this.rate;
  }
}
