/** Pictures in a terminal: images as half-block characters, numbers as bars. */
import { styleText } from "node:util";

/** Rows of text that show a grey image, values 0–1, two pixels to a character; brighter is more ink. */
export function drawImage(pixels: ArrayLike<number>, width: number): string[] {
  const height = pixels.length / width;
  const shades = " ░▒▓█";
  const rows: string[] = [];
  for (let row = 0; row < height; row += 2)
    rows.push(
      Array.from({ length: width }, (_, column) => {
        const upper = pixels[row * width + column]!;
        const lower = row + 1 < height ? pixels[(row + 1) * width + column]! : 0;
        // Half blocks where one half is ink and the other paper, shades where both are alike.
        if (upper > 0.5 && lower < 0.25) return "▀";
        if (lower > 0.5 && upper < 0.25) return "▄";
        return shades[Math.min(4, Math.round(((upper + lower) / 2) * 4))];
      }).join(""),
    );
  return rows;
}

/** A bar of `width` characters for a value from 0 to 1. */
export function drawBar(value: number, width: number): string {
  const eighths = Math.round(Math.min(1, Math.max(0, value)) * width * 8);
  const whole = Math.floor(eighths / 8);
  const rest = " ▏▎▍▌▋▊▉"[eighths % 8]!;
  return `${"█".repeat(whole)}${whole < width ? rest : ""}`.padEnd(width);
}

/** Text blocks beside each other, each as wide as its widest row. */
export function besides(blocks: readonly (readonly string[])[], gap: number = 2): string {
  const height = Math.max(...blocks.map((block) => block.length));
  const widths = blocks.map((block) => Math.max(...block.map((row) => row.length)));
  return Array.from({ length: height }, (_, row) =>
    blocks
      .map((block, i) => (block[row] ?? "").padEnd(widths[i]!))
      .join(" ".repeat(gap))
      .trimEnd(),
  ).join("\n");
}

/** A table with a head and right-aligned columns. */
export class Table {
  readonly #columns: readonly { readonly title: string; readonly width: number }[];

  constructor(columns: readonly { readonly title: string; readonly width: number }[]) {
    this.#columns = columns;
  }

  head(): string {
    const titles = this.#columns.map(({ title, width }) => title.padStart(width)).join("  ");
    return `${bold(titles)}\n${dim("─".repeat(titles.length))}`;
  }

  row(cells: readonly string[]): string {
    return cells.map((cell, i) => cell.padStart(this.#columns[i]!.width)).join("  ");
  }
}

/** Bold where the output is a terminal that shows it. */
export function bold(text: string): string {
  return styled("bold", text);
}

export function dim(text: string): string {
  return styled("dim", text);
}

export function colour(name: "green" | "red" | "yellow" | "cyan", text: string): string {
  return styled(name, text);
}

export const isColoured = (): boolean => process.stdout.isTTY && !process.env.NO_COLOR;

function styled(style: Parameters<typeof styleText>[0], text: string): string {
  return isColoured() ? styleText(style, text) : text;
}
