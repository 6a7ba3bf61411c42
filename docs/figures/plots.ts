/** How the figures look: one style for light and dark pages, legends as marks so that one file holds all. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

const { document } = parseHTML("<html><body></body></html>");

/** Readable on white and on black. */
export const colours = ["#4c7fdb", "#e08a2c", "#2f9e78", "#d65a5a", "#9a74d4"] as const;

const page = `<style>
:root { background: #fff; color: #1f2328 }
@media (prefers-color-scheme: dark) { :root { background: #0d1117; color: #e6edf3 } }
</style>`;

const faint = { stroke: "currentColor", strokeOpacity: 0.2 } as const;

/** The edge of each panel. */
export const frame = (): Plot.Markish => Plot.frame(faint);

/** A thin line across at a height that means something, with what it means written above its middle. */
export function level(y: number, meaning: string): Plot.Markish[] {
  return [
    Plot.ruleY([y], { stroke: "currentColor", strokeOpacity: 0.5, strokeDasharray: "3" }),
    Plot.text([meaning], { frameAnchor: "middle", y, dy: -9, fillOpacity: 0.75 }),
  ];
}

/** Writes a plot as SVG into the folder. */
export async function save(folder: string, name: string, options: Plot.PlotOptions): Promise<void> {
  const svg = Plot.plot({
    document: document as unknown as Document,
    width: 680,
    height: 360,
    marginTop: 32,
    marginBottom: 42,
    marginRight: 24,
    style: { fontFamily: "system-ui, sans-serif", fontSize: "12px" },
    ...options,
    color: { range: [...colours], ...options.color },
  });
  const text = (svg as unknown as { outerHTML: string }).outerHTML
    .replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    .replace("><style>", `>${page}<style>`);
  await writeFile(path.join(folder, `${name}.svg`), `${text}\n`);
  console.log(`${name}.svg`);
}

/** Names in their colours above the plot, the last one at its right end. Give the names as the colour scale's domain too. */
export function legend(names: readonly string[]): Plot.Markish[] {
  let right = 0;
  return [...names].reverse().map((name) => {
    const mark = Plot.text([name], {
      frameAnchor: "top-right",
      facet: "super",
      dx: -right,
      dy: -18,
      fill: () => name,
      fontWeight: "bold",
      text: (each: string) => each,
    });
    right += 7.2 * name.length + 18;
    return mark;
  });
}

/** Names in their colours, one below the other, in a corner of one panel. */
export function panelLegend(
  names: readonly string[],
  panel: string,
  corner: "top-left" | "bottom-left",
): Plot.Markish[] {
  return names.map((name, i) =>
    Plot.text([name], {
      frameAnchor: corner,
      fx: () => panel,
      dx: 8,
      dy: corner === "top-left" ? 8 + 16 * i : -8 - 16 * (names.length - 1 - i),
      fill: () => name,
      fontWeight: "bold",
      text: (each: string) => each,
    }),
  );
}

/** The name of each panel inside it. */
export function titles(names: readonly string[], facet: "fx" | "fy", corner: "left" | "right" = "right"): Plot.Markish {
  return Plot.text(names, {
    frameAnchor: `top-${corner}`,
    dx: corner === "left" ? 6 : -6,
    dy: 6,
    fontWeight: "bold",
    text: (name: string) => name,
    [facet]: (name: string) => name,
  });
}

/** 0.001 and 100 rather than 1m and 0.1k, and powers of ten beyond. */
export function plain(value: number): string {
  if (value >= 1e-3 && value < 1e4) return String(value);
  const superscripts = [..."⁰¹²³⁴⁵⁶⁷⁸⁹"];
  const exponent = Math.round(Math.log10(value));
  return `10${exponent < 0 ? "⁻" : ""}${[...String(Math.abs(exponent))].map((digit) => superscripts[Number(digit)]).join("")}`;
}

export const percent = (share: number): string => `${Math.round(100 * share)} %`;
