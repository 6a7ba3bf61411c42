/** The gradient check for a whole setup. */
import type { Column } from "../data/dataset.ts";
import { completeWithData, type TrainingSetup } from "../train/setup.ts";
import { type CheckedElement, type GradientCheckOptions, gradientCheck } from "./gradient-check.ts";
import type { Explanation, Verdict } from "./report.ts";
import { asBatch, choose, expectCount } from "./trials.ts";
import { counted, list, show } from "./words.ts";

/** Options of `check.gradients`. */
export interface GradientsOptions extends GradientCheckOptions {
  /** The number of examples over which the loss is computed. Default 4. */
  readonly examples?: number;
}

/** What `check.gradients` found. */
export interface GradientsReport {
  readonly check: "gradients";
  readonly verdict: Verdict;
  /** Largest relative error that passes. */
  readonly tolerance: number;
  readonly worst: CheckedElement;
  readonly elements: readonly CheckedElement[];
}

/**
 * Runs `gradientCheck` on the setup's loss over a few examples, for the trained parameters. Layers keep their present mode. Throws as
 * `gradientCheck` and the setup's functions do.
 */
export async function gradients<C extends readonly Column[]>(
  setup: TrainingSetup<C>,
  options: GradientsOptions = {},
): Promise<GradientsReport> {
  const { train, loss, optimizer } = completeWithData("gradients", setup);
  const { examples = 4, tolerance = 1e-5, seed = 0 } = options;
  expectCount("gradients", "examples", examples, 1);
  const batch = asBatch(choose(train, examples, seed));
  const { passes, worst, elements } = await gradientCheck(() => loss(...batch), optimizer.trained(), options);
  return { check: "gradients", verdict: passes ? "pass" : "fail", tolerance, worst, elements };
}

/** Explains a report in sentences. */
export function explainGradients({ verdict, tolerance, worst, elements }: GradientsReport): Explanation {
  const parameters = new Set(elements.map(({ parameter }) => parameter)).size;
  const tried = `${counted(elements.length, "element")} of ${counted(parameters, "parameter")}`;
  const details = [
    `the worst, ${worst.parameter} at ${worst.position}: ${show(worst.analytic, 6)} by differentiation, ` +
      `${show(worst.numeric, 6)} by differences, relative error ${show(worst.error, 2)}`,
  ];
  if (verdict === "pass") return { headline: `${tried} agree with finite differences`, details, advice: [] };
  const bad = elements.filter(({ error }) => !(error <= tolerance)).map(({ parameter }) => parameter);
  return {
    headline: `${bad.length} of ${tried} differ from finite differences: ${list([...new Set(bad)])}`,
    details,
    advice: [
      "an op of your own with a wrong gradient, a part that is detached, or a function with a step or a kink (relu at " +
        "0, argmax, rounding); a kink shows in few elements, and in others with another seed",
    ],
  };
}
