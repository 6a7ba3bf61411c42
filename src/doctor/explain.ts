/** Explains reports in sentences: the same text on the terminal and for programs. */
import { aRecord, expectArguments } from "../graph/arguments.ts";
import { type BaselineReport, explainBaseline } from "./baseline.ts";
import { type DataReport, explainData } from "./data.ts";
import { explainGradients, type GradientsReport } from "./gradients.ts";
import { explainInitialLoss, type InitialLossReport } from "./initial-loss.ts";
import { explainLearningRate, type LearningRateReport } from "./learning-rate.ts";
import { explainMixing, type MixingReport } from "./mixing.ts";
import { explainOverfit, type OverfitReport } from "./overfit.ts";
import type { Explanation, Skipped, Verdict } from "./report.ts";

/** The report of each check by its name, in the order in which the checks are best run. */
interface Reports {
  readonly data: DataReport;
  readonly "initial-loss": InitialLossReport;
  readonly gradients: GradientsReport;
  readonly mixing: MixingReport;
  readonly overfit: OverfitReport;
  readonly baseline: BaselineReport;
  readonly "learning-rate": LearningRateReport;
}

/** The name of a check, as reports and the command line have it. */
export type CheckName = keyof Reports;

/** The report of any check. */
export type CheckReport = Reports[CheckName] | Skipped<CheckName>;

const explanations: { readonly [Name in CheckName]: (report: Reports[Name]) => Explanation } = {
  data: explainData,
  "initial-loss": explainInitialLoss,
  gradients: explainGradients,
  mixing: explainMixing,
  overfit: explainOverfit,
  baseline: explainBaseline,
  "learning-rate": explainLearningRate,
};

/** Explains a report in sentences without line breaks. */
export function explanationOf(report: CheckReport): Explanation {
  if ("reason" in report) return { headline: `does not apply: ${report.reason}`, details: [], advice: [] };
  return (explanations[report.check] as (report: CheckReport) => Explanation)(report);
}

export const marks: Readonly<Record<Verdict, string>> = { pass: "✓", warn: "!", fail: "✗", skip: "–" };

const aReport = (value: unknown): string | undefined =>
  aRecord(value) === undefined && Object.hasOwn(explanations, String((value as CheckReport).check))
    ? undefined
    : "give what a check returns: check.explain(await check.overfit(setup))";

/** Returns a report as text: the verdict and the headline, then details and advice, one per line. */
export function explain(report: CheckReport): string {
  expectArguments("explain", [aReport], [report]);
  const { headline, details, advice } = explanationOf(report);
  return [
    `${marks[report.verdict]} ${report.check}: ${headline}`,
    ...details.map((line) => `  ${line}`),
    ...advice.map((line) => `  → ${line}`),
  ].join("\n");
}
