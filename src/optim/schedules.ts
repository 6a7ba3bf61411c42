/**
 * Learning rates over time. A schedule is a function of the step, from 0: `optimizer.learningRate = schedule(step)` before each step. The
 * rate is a variable of the compiled graph, so the graph is not compiled again.
 */

import {
  aFlag,
  aFunction,
  aNumber,
  aNumberThat,
  aPositive,
  aShare,
  expectArguments,
  fromZero,
  type Kind,
  options as record,
  wholeFromZero,
} from "../graph/arguments.ts";

/** Returns the rate at a step, counted from 0. */
export type Schedule = (step: number) => number;

/** Checks the step that a schedule is asked for. */
function scheduleOf(subject: string, rateAt: Schedule): Schedule {
  return (step) => {
    expectArguments(`the schedule ${subject}`, [fromZero], [step]);
    return rateAt(step);
  };
}

/** Makes a schedule with the same rate at every step. */
export function constant(rate: number): Schedule {
  expectArguments("constant", [fromZero], [rate]);
  return scheduleOf("constant", () => rate);
}

/** Options of `schedule.steps`. */
export interface StepsOptions {
  /** The number of steps between two falls of the rate. */
  readonly every: number;
  /** The factor by which the rate falls. Default 0.1. */
  readonly factor?: number;
}

/** Makes the schedule rate·factor^⌊step / every⌋. */
export function steps(rate: number, options: StepsOptions): Schedule {
  const kinds = { every: aPositive, factor: aPositive };
  expectArguments("steps", [fromZero, record(kinds, ["every"])], [rate, options]);
  const { every, factor = 0.1 } = options;
  return scheduleOf("steps", (step) => rate * factor ** Math.floor(step / every));
}

/** Makes the schedule rate·factor^(step / per), which falls smoothly by `factor` every `per` steps (default 1). */
export function exponential(rate: number, options: { factor: number; per?: number }): Schedule {
  const kinds = { factor: aPositive, per: aPositive };
  expectArguments("exponential", [fromZero, record(kinds, ["factor"])], [rate, options]);
  const { factor, per = 1 } = options;
  return scheduleOf("exponential", (step) => rate * factor ** (step / per));
}

/** Options of `schedule.cosine` and `schedule.linear`. */
export interface DecayOptions {
  /** The number of steps of the decay. */
  readonly steps: number;
  /** The final rate. Default 0. */
  readonly end?: number;
}

const decayOptions: Kind = record({ steps: aPositive, end: fromZero }, ["steps"]);

/** Makes a schedule from `rate` to `end` along half a cosine, then constant at `end` (Loshchilov and Hutter 2017, without restarts). */
export function cosine(rate: number, options: DecayOptions): Schedule {
  expectArguments("cosine", [fromZero, decayOptions], [rate, options]);
  const { steps: total, end = 0 } = options;
  return scheduleOf("cosine", (step) => end + ((rate - end) * (1 + Math.cos(Math.PI * Math.min(1, step / total)))) / 2);
}

/** Makes a schedule from `rate` to `end` along a straight line, then constant at `end`. */
export function linear(rate: number, options: DecayOptions): Schedule {
  expectArguments("linear", [fromZero, decayOptions], [rate, options]);
  const { steps: total, end = 0 } = options;
  return scheduleOf("linear", (step) => {
    const share = Math.min(1, step / total);
    return rate * (1 - share) + end * share;
  });
}

/**
 * Makes a schedule that climbs in `steps` steps along a straight line to the first rate of `schedule`, and then follows `schedule`. Step k
 * of the climb has the rate (k + 1) / (steps + 1) times that first rate.
 */
export function warmUp(schedule: Schedule, options: { steps: number }): Schedule {
  expectArguments("warmUp", [aFunction, record({ steps: fromZero }, ["steps"])], [schedule, options]);
  const { steps: climb } = options;
  return scheduleOf("warmUp", (step) =>
    step < climb ? (schedule(0) * (step + 1)) / (climb + 1) : schedule(step - climb),
  );
}

/**
 * Makes the schedule peak·min(n/w, √(w/n)) for step n from 1: linear growth to the peak in w steps, then a fall with the inverse square
 * root.
 */
export function inverseSquareRoot(peak: number, options: { warmUpSteps?: number } = {}): Schedule {
  expectArguments("inverseSquareRoot", [fromZero, record({ warmUpSteps: aPositive })], [peak, options]);
  const { warmUpSteps = 4000 } = options;
  return scheduleOf(
    "inverseSquareRoot",
    (step) => peak * Math.min((step + 1) / warmUpSteps, Math.sqrt(warmUpSteps / (step + 1))),
  );
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
  const kinds = { width: aPositive, warmUpSteps: aPositive, factor: fromZero };
  expectArguments("transformer", [record(kinds, ["width"])], [options]);
  const { width, warmUpSteps = 4000, factor = 1 } = options;
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
  const kinds = { steps: aPositive, growth: aShare, startDivisor: aPositive, endDivisor: aPositive };
  expectArguments("oneCycle", [fromZero, record(kinds, ["steps"])], [peak, options]);
  const { steps: total, growth = 0.3, startDivisor = 25, endDivisor = 1e4 } = options;
  const start = peak / startDivisor;
  const end = start / endDivisor;
  const top = growth * total - 1;
  const between = (from: number, to: number, share: number): number =>
    to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;
  return scheduleOf("oneCycle", (step) => {
    if (step >= total - 1) return end;
    return step < top ? between(start, peak, step / top) : between(peak, end, (step - top) / (total - 1 - top));
  });
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

const plateauOptions: Kind = record({
  factor: aNumberThat("a number between 0 and 1", (value) => value > 0 && value < 1),
  patience: wholeFromZero,
  threshold: fromZero,
  cooldown: wholeFromZero,
  least: fromZero,
  maximize: aFlag,
});

const aBest: Kind = (value) => (value === null ? undefined : aNumberThat("a finite number or null", () => true)(value));
const plateauState: Kind = record({ rate: fromZero, best: aBest, bad: wholeFromZero, cooling: wholeFromZero }, [
  "rate",
  "best",
  "bad",
  "cooling",
]);

/** Lowers the rate when a measurement, such as the validation loss, has stopped improving. */
export class Plateau {
  readonly #options: Required<PlateauOptions>;
  #state: PlateauState;

  /** Throws ConfigError for a rate or an option out of range. */
  constructor(rate: number, options: PlateauOptions = {}) {
    expectArguments("Plateau", [fromZero, plateauOptions], [rate, options]);
    const { factor = 0.1, patience = 10, threshold = 1e-4, cooldown = 0, least = 0, maximize = false } = options;
    this.#options = { factor, patience, threshold, cooldown, least, maximize };
    this.#state = { rate, best: null, bad: 0, cooling: 0 };
  }

  /** The present state. To continue from an earlier point, assign the state that was read there. */
  get state(): PlateauState {
    return this.#state;
  }

  set state(state: PlateauState) {
    expectArguments("Plateau.state", [plateauState], [state]);
    this.#state = state;
  }

  get rate(): number {
    return this.#state.rate;
  }

  /** Takes a measurement and returns the rate to use from now on. One that is not finite does not count as an improvement. */
  update(measurement: number): number {
    expectArguments("Plateau.update", [aNumber], [measurement]);
    const { factor, patience, threshold, cooldown, least, maximize } = this.#options;
    const { rate, cooling, best } = this.#state;
    const margin = threshold * Math.abs(best ?? 0);
    const isBetter =
      Number.isFinite(measurement) &&
      (best === null || (maximize ? measurement > best + margin : measurement < best - margin));
    const bad = isBetter || cooling > 0 ? 0 : this.#state.bad + 1;
    const falls = bad > patience;
    this.#state = {
      // A rate that is already below the lowest one stays.
      rate: falls ? Math.min(rate, Math.max(least, rate * factor)) : rate,
      best: isBetter ? measurement : best,
      bad: falls ? 0 : bad,
      cooling: falls ? cooldown : Math.max(0, cooling - 1),
    };
    return this.rate;
  }
}
