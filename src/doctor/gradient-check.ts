/** Compares gradients with finite differences, for any model. */

import { gradients } from "../autodiff/gradients.ts";
import { bind } from "../compile/bind.ts";
import { traceRoots } from "../compile/compile.ts";
import { lower } from "../compile/lower.ts";
import { ConfigError } from "../errors.ts";
import { aFunction, aRecord, aTensor, expectArguments, optional, tensors } from "../graph/arguments.ts";
import { hostStream } from "../random/generator.ts";
import { type Parameter, State } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { OnStep } from "./report.ts";

/** The graph is not optimised: the check is about the gradients, not about the compiler's rules. */
const asWritten = { contrib: false };

/** Options of `gradientCheck`. */
export interface GradientCheckOptions {
  /** The number of elements of each parameter that are tested, chosen at random. Default 10. */
  readonly elements?: number;
  /** h, half the distance between the two points of a difference. Default 1e-5. */
  readonly step?: number;
  /** The largest relative error that passes. Default 1e-5. */
  readonly tolerance?: number;
  /** The seed of the choice of elements. Default 0. */
  readonly seed?: number;
  /** Called after each tested element. */
  readonly onStep?: OnStep;
}

/** The time in milliseconds after which the event loop gets control. */
const patience = 50;

/** One element of a parameter. */
export interface CheckedElement {
  readonly parameter: string;
  /** Position in the parameter's values, row-major. */
  readonly position: number;
  readonly analytic: number;
  /** (f(θ + h) − f(θ − h)) / 2h */
  readonly numeric: number;
  /** |analytic − numeric| / max(1, |analytic|, |numeric|) */
  readonly error: number;
}

/** What `gradientCheck` found. */
export interface GradientReport {
  readonly passes: boolean;
  readonly worst: CheckedElement;
  readonly elements: readonly CheckedElement[];
}

const someParameters = (value: unknown): string | undefined =>
  tensors(value) === undefined ||
  (((typeof value === "object" && value !== null) || typeof value === "function") && "parameters" in value)
    ? undefined
    : "give a module, or an array of parameters";

/**
 * Compares d loss / d parameter with central differences. It computes in float64 with the ops' plain evaluation, whatever engine is in use.
 * `loss` builds a scalar from the parameters; it must be smooth near their values (a kink, such as relu's at 0, causes a few large errors).
 * Throws ConfigError for options out of range, and the errors of `gradients`.
 */
export async function gradientCheck(
  loss: () => Tensor,
  parameters: readonly Parameter[] | { parameters(): readonly Parameter[] },
  options: GradientCheckOptions = {},
): Promise<GradientReport> {
  expectArguments("gradientCheck", [aFunction, someParameters, optional(aRecord)], [loss, parameters, options]);
  const { elements = 10, step = 1e-5, tolerance = 1e-5, seed = 0, onStep } = options;
  if (!(step > 0)) throw new ConfigError("gradientCheck", `the step is ${step}`, "give a small positive number");
  if (!Number.isSafeInteger(elements) || elements < 1)
    throw new ConfigError("gradientCheck", `elements is ${elements}`, "give a whole number from 1 on");
  const targets = "parameters" in parameters ? parameters.parameters() : parameters;
  if (targets.length === 0)
    throw new ConfigError("gradientCheck", "no parameters", "pass a module with parameters, or a list");
  const { results } = traceRoots(() => {
    const value = loss();
    expectArguments("gradientCheck: the loss", [aTensor], [value]);
    return [value, ...gradients(value, targets)];
  }, []);
  const bound = bind({ results, checks: [], assigned: new Map() });
  const program = lower(bound, asWritten, { passes: [] });
  const values = await Promise.all(
    (bound.sources as (State | Storage)[]).map(async (source) =>
      Float64Array.from(await (source instanceof State ? source.data() : source.read())),
    ),
  );
  const [, ...analytic] = program.evaluate(values);
  const lossProgram = lower({ leaves: bound.leaves, roots: bound.roots.slice(0, 1) }, asWritten, { passes: [] });
  const random = hostStream(seed, "gradientCheck");
  const chosen = targets.flatMap((parameter, i) => {
    const positions = new Set<number>();
    while (positions.size < Math.min(elements, parameter.size)) positions.add(random.next() % parameter.size);
    return [...positions].map((position) => ({ parameter, exact: analytic[i]![position]!, position }));
  });
  const checked: CheckedElement[] = [];
  let rested = performance.now();
  for (const { parameter, exact, position } of chosen) {
    const own = values[bound.sources.indexOf(parameter)]!;
    const at = (delta: number): number => {
      const before = own[position]!;
      own[position] = before + delta;
      const [value] = lossProgram.evaluate(values);
      own[position] = before;
      return value![0]!;
    };
    const numeric = (at(step) - at(-step)) / (2 * step);
    const error = Math.abs(exact - numeric) / Math.max(1, Math.abs(exact), Math.abs(numeric));
    checked.push({ parameter: parameter.label, position, analytic: exact, numeric, error });
    onStep?.(checked.length, chosen.length);
    if (performance.now() - rested < patience) continue;
    await new Promise((resolve) => setTimeout(resolve));
    rested = performance.now();
  }
  const worst = checked.reduce((a, b) => (b.error > a.error || Number.isNaN(b.error) ? b : a));
  return { passes: worst.error <= tolerance, worst, elements: checked };
}
