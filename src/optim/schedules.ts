/**
 * Learning rates over time. A schedule is a function of the step, from 0: `optimizer.learningRate = schedule(step)` before each step. The
 * rate is a variable of the compiled graph, so the graph is not compiled again.
 */

import { ConfigError } from "../errors.ts";
import { aFunction, aNumber, aRecord, expectArguments } from "../graph/arguments.ts";

/** Returns the rate at a step, counted from 0. */
export type Schedule = (step: number) => number;

function expectSteps(subject: string, steps: number): void {
  if (!(steps > 0)) throw new ConfigError(subject, `${steps} steps`, "give a number above 0");
}

/** Makes a schedule with the same rate at every step. */
export const constant =
  (rate: number): Schedule =>
  () =>
    rate;

/** Options of `schedule.steps`. */
export interface StepsOptions {
  /** The number of steps between two falls of the rate. */
  readonly every: number;
  /** The factor by which the rate falls. Default 0.1. */
  readonly factor?: number;
}

/** Makes the schedule rate·factor^⌊step / every⌋. */
export function steps(rate: number, options: StepsOptions): Schedule {
  expectArguments("steps", [aNumber, aRecord], [rate, options]);
  const { every, factor = 0.1 } = options;
  expectSteps("steps", every);
  return (step) => rate * factor ** Math.floor(step / every);
}

/** Makes the schedule rate·factor^(step / per), which falls smoothly by `factor` every `per` steps (default 1). */
export function exponential(rate: number, options: { factor: number; per?: number }): Schedule {
  expectArguments("exponential", [aNumber, aRecord], [rate, options]);
  const { factor, per = 1 } = options;
  expectSteps("exponential", per);
  return (step) => rate * factor ** (step / per);
}

/** Options of `schedule.cosine` and `schedule.linear`. */
export interface DecayOptions {
  /** The number of steps of the decay. */
  readonly steps: number;
  /** The final rate. Default 0. */
  readonly end?: number;
}

/** Makes a schedule from `rate` to `end` along half a cosine, then constant at `end` (Loshchilov and Hutter 2017, without restarts). */
export function cosine(rate: number, options: DecayOptions): Schedule {
  expectArguments("cosine", [aNumber, aRecord], [rate, options]);
  const { steps: total, end = 0 } = options;
  expectSteps("cosine", total);
  return (step) => end + ((rate - end) * (1 + Math.cos(Math.PI * Math.min(1, step / total)))) / 2;
}

/** Makes a schedule from `rate` to `end` along a straight line, then constant at `end`. */
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
 * Makes a schedule that climbs in `steps` steps along a straight line to the first rate of `schedule`, and then follows `schedule`. Step k
 * of the climb has the rate (k + 1) / (steps + 1) times that first rate.
 */
export function warmUp(schedule: Schedule, options: { steps: number }): Schedule {
  expectArguments("warmUp", [aFunction, aRecord], [schedule, options]);
  const { steps: climb } = options;
  if (!(climb >= 0)) throw new ConfigError("warmUp", `${climb} steps`, "give a number of at least 0");
  return (step) => (step < climb ? (schedule(0) * (step + 1)) / (climb + 1) : schedule(step - climb));
}

/**
 * Makes the schedule peak·min(n/w, √(w/n)) for step n from 1: linear growth to the peak in w steps, then a fall with the inverse square
 * root.
 */
export function inverseSquareRoot(peak: number, options: { warmUpSteps?: number } = {}): Schedule {
  expectArguments("inverseSquareRoot", [aNumber, aRecord], [peak, options]);
  const { warmUpSteps = 4000 } = options;
  expectSteps("inverseSquareRoot", warmUpSteps);
  return (step) => peak * Math.min((step + 1) / warmUpSteps, Math.sqrt(warmUpSteps / (step + 1)));
}

/** Options of `schedule.transformer`. */
export interface TransformerOptions {
  /** The width of the model, d_model. */
  readonly width: number;
  /** Default 4000, the paper's. */
  readonly warmUpSteps?: number;
  /** Default 1, the paper's. */
  readonly factor?: number;
}

/**
 * Makes the schedule d^−½·min(n^−½, n·w^−3/2) for step n from 1 (Vaswani et al. 2017, equation 3): `inverseSquareRoot` with the peak
 * (d·w)^−½.
 */
export function transformer(options: TransformerOptions): Schedule {
  expectArguments("transformer", [aRecord], [options]);
  const { width, warmUpSteps = 4000, factor = 1 } = options;
  expectSteps("transformer", warmUpSteps);
  if (!(width > 0)) throw new ConfigError("transformer", `the width is ${width}`, "give the model's width");
  return inverseSquareRoot(factor * (width * warmUpSteps) ** -0.5, { warmUpSteps });
}

/** Options of `schedule.oneCycle`. */
export interface OneCycleOptions {
  /** Length of the cycle. */
  readonly steps: number;
  /** The share of steps in which the rate grows. Default 0.3. */
  readonly growth?: number;
  /** The peak divided by the first rate. Default 25. */
  readonly startDivisor?: number;
  /** The first rate divided by the last. Default 10,000. */
  readonly endDivisor?: number;
}

/**
 * Makes a schedule that rises to a peak and falls almost to 0, both along half cosines; the last step has the final rate (Smith and Topin
 * 2018).
 */
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

/** Options of `schedule.Plateau`. */
export interface PlateauOptions {
  /** The factor by which the rate falls. Default 0.1. */
  readonly factor?: number;
  /** The number of measurements without improvement that do not yet lower the rate. Default 10. */
  readonly patience?: number;
  /** A measurement counts as an improvement if it is better by at least this share of |best|. Default 1e-4. */
  readonly threshold?: number;
  /** The number of measurements after a fall that are not counted. Default 0. */
  readonly cooldown?: number;
  /** The lowest rate. Default 0. */
  readonly least?: number;
  /** Whether larger measurements are better, as for an accuracy. Default false. */
  readonly maximize?: boolean;
}

/** The state of a `Plateau`, as numbers that JSON can hold. */
export interface PlateauState {
  readonly rate: number;
  /** The best measurement so far, null before the first. */
  readonly best: number | null;
  /** The number of measurements in a row without improvement. */
  readonly bad: number;
  /** The number of next measurements that will not be counted. */
  readonly cooling: number;
}

/** Lowers the rate when a measurement, such as the validation loss, has stopped improving. */
export class Plateau {
  readonly #options: Required<PlateauOptions>;
  /** The present state. To continue from an earlier point, assign the state that was read there. */
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

  /** Takes a measurement and returns the rate to use from now on. NaN does not count as an improvement. */
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
