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

/** A curve over steps, and the character that stands for it. */
export interface MarkedCurve {
  readonly mark: string;
  readonly points: readonly (readonly [step: number, value: number])[];
}

/** Marks that are told apart without colours. */
const marks = [..."ox+*#@%&ABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/** The mark of a curve by its place. */
export const markOf = (place: number): string => marks[place % marks.length]!;

/** Curves in one picture, `width` characters wide without the labels of its y axis; `paint` colours a mark by the place of its curve. */
export function drawCurves(
  curves: readonly MarkedCurve[],
  {
    width,
    height,
    paint,
  }: { readonly width: number; readonly height: number; paint(mark: string, place: number): string },
): string[] {
  const all = curves.flatMap(({ points }) => points);
  const [from, to] = [Math.min(...all.map(([step]) => step)), Math.max(...all.map(([step]) => step))];
  const [low, high] = [Math.min(...all.map(([, value]) => value)), Math.max(...all.map(([, value]) => value))];
  const columnOf = (step: number): number => Math.round(((step - from) / (to - from || 1)) * (width - 1));
  const rowOf = (value: number): number => Math.round(((high - value) / (high - low || 1)) * (height - 1));
  // The places of the curves that pass each cell.
  const cells = Array.from({ length: height }, () => Array.from({ length: width }, (): number[] => []));
  for (const [place, { points }] of curves.entries())
    for (let column = 0; column < width; column++) {
      const value = valueAt(points, column, columnOf);
      if (value !== undefined) cells[rowOf(value)]![column]!.push(place);
    }
  // Curves that lie on each other take turns; one of a single point would be hidden.
  const drawn = cells.map((row) =>
    row.map((places, column) => {
      const place = places.find((each) => curves[each]!.points.length === 1) ?? places[column % places.length];
      return place === undefined ? " " : paint(curves[place]!.mark, place);
    }),
  );
  const labelled = (high > low ? [0, 1, 2, 3] : [0]).map((i) => Math.round((i * (height - 1)) / 3));
  const labels = cells.map((_, row) =>
    labelled.includes(row) ? show(high - (row / (height - 1)) * (high - low), 3) : "",
  );
  const margin = Math.max(...labels.map((label) => label.length));
  const ticks = roundSteps(from, to, Math.floor(width / 10)).map((step) => ({ step, column: columnOf(step) }));
  const axis = Array.from({ length: width }, (_, column) => (ticks.some((tick) => tick.column === column) ? "┬" : "─"));
  let steps = "";
  for (const { step, column } of ticks) {
    const label = String(step);
    const start = Math.max(0, margin + 2 + column - Math.floor(label.length / 2));
    if (steps === "" || start > steps.length) steps = steps.padEnd(start) + label;
  }
  return [
    ...drawn.map((row, i) => `${labels[i]!.padStart(margin)} ${labels[i] === "" ? "│" : "┤"}${row.join("")}`.trimEnd()),
    `${" ".repeat(margin)} └${axis.join("")}`,
    `${steps}  steps`,
  ];
}

/** The value of a curve in a column, on straight lines between its points; undefined where the curve has not begun or has ended. */
function valueAt(
  points: MarkedCurve["points"],
  column: number,
  columnOf: (step: number) => number,
): number | undefined {
  const own = points.findLast(([step]) => columnOf(step) === column);
  if (own) return own[1];
  const after = points.findIndex(([step]) => columnOf(step) > column);
  if (after <= 0) return undefined;
  const [[x0, y0], [x1, y1]] = [points[after - 1]!, points[after]!];
  const [start, end] = [columnOf(x0), columnOf(x1)];
  return y0 + ((column - start) / (end - start)) * (y1 - y0);
}

/** At most `count` round steps between two. */
function roundSteps(from: number, to: number, count: number): number[] {
  const least = Math.max(1, (to - from) / Math.max(1, count));
  const decade = 10 ** Math.floor(Math.log10(least));
  const apart = [1, 2, 5, 10].map((factor) => factor * decade).find((each) => each >= least)!;
  const first = Math.ceil(from / apart);
  return Array.from({ length: Math.floor(to / apart) - first + 1 }, (_, i) => (first + i) * apart);
}
