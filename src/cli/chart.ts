/** Curves in a terminal. */
import { plot } from "simple-ascii-chart";
import type { LearningRateReport } from "../doctor/learning-rate.ts";
import { show } from "../doctor/words.ts";

/** The smoothed loss over the rate, to a logarithmic scale, with a mark at the suggestion. */
export function drawRates({ points, suggestion }: LearningRateReport, width: number, colours: boolean): string[] {
  const all = points.map(({ smoothed }) => smoothed).filter(Number.isFinite);
  const start = Math.max(...all.slice(0, 10));
  const ceiling = start + (start - Math.min(...all)) / 4; //  what breaks down goes far out of the picture
  const curve = points
    .filter(({ smoothed }) => smoothed <= ceiling)
    .map(({ rate, smoothed }): [number, number] => [Math.log10(rate), smoothed]);
  if (curve.length < 2) return [];
  const [first, last] = [curve[0]![0], curve.at(-1)![0]];
  const decades = Array.from({ length: Math.floor(last) - Math.ceil(first) + 1 }, (_, i) => Math.ceil(first) + i);
  const losses = curve.map(([, loss]) => loss);
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const at = suggestion === undefined ? undefined : curve.findLast(([rate]) => rate <= Math.log10(suggestion));
  const text = plot(curve, {
    width,
    height: 12,
    customXAxisTicks: decades,
    customYAxisTicks: [low, (low + high) / 2, high],
    formatter: (value, { axis }) => (axis === "x" ? `1e${value}` : show(value, 3)),
    ...(at && { points: [{ x: at[0], y: at[1], ...(colours && { color: "ansiGreen" as const }) }] }),
  });
  return text.split("\n").filter((line) => line.trim() !== "");
}
