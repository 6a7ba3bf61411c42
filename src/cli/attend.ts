/** `glissade attend`: what each head of a model looks at while it reads a sentence, in the terminal and as SVG. */
import { ConfigError, printable } from "../errors.ts";
import { writeFileAtomically } from "../files/node/atomic.ts";
import { type AttentiveModel, attentionOf, type TextAttention } from "../models/pipelines.ts";
import { expectText, type LanguageOptions, openLanguageModel } from "./language.ts";
import { besides, bold, dim, drawBar } from "./pictures.ts";

export interface AttendOptions extends LanguageOptions {
  readonly pair?: string;
  /** Only this layer, from 1. */
  readonly layer?: number;
  /** Only this head, from 1. */
  readonly head?: number;
  /** The file of the picture. */
  readonly svg?: string;
}

const fits = (architecture: string): boolean => /^(Bert|GPT2)/.test(architecture);

export async function attendCommand(text: string, options: AttendOptions): Promise<number> {
  expectText("attend", text, "the cat sat on its mat");
  const { pair, json, svg } = options;
  const { model, tokenizer } = await openLanguageModel("attend", options, fits, "bert-pretrain");
  const attention = await attentionOf(model as unknown as AttentiveModel, tokenizer, text, pair);
  const heads = chosen(attention, options);
  if (json)
    for (const { layer, head, weights } of heads)
      console.log(JSON.stringify({ layer, head, tokens: attention.tokens, weights }));
  else for (const line of drawn(attention.tokens, heads)) console.log(line);
  if (svg !== undefined) {
    await writeFileAtomically(svg, attentionSvg(attention.tokens, heads));
    if (!json) console.log(dim(`\nthe same as a picture: ${printable(svg)}`));
  }
  return 0;
}

/** The weights of one head, [from][to]. Layers and heads are counted from 1. */
export interface HeadWeights {
  readonly layer: number;
  readonly head: number;
  readonly weights: readonly (readonly number[])[];
}

function chosen({ weights }: TextAttention, { layer, head }: AttendOptions): HeadWeights[] {
  const expect = (name: string, value: number | undefined, count: number): void => {
    if (value !== undefined && value > count)
      throw new ConfigError("attend", `there is no ${name} ${value}`, `give a ${name} from 1 to ${count}`);
  };
  expect("layer", layer, weights.length);
  expect("head", head, weights[0]?.length ?? 0);
  return weights.flatMap((heads, i) =>
    heads.flatMap((each, k) =>
      (layer ?? i + 1) === i + 1 && (head ?? k + 1) === k + 1 ? [{ layer: i + 1, head: k + 1, weights: each }] : [],
    ),
  );
}

const shades = " ░▒▓█";

/** Rows of a map, one for each token that looks, one column for each token that is looked at; shades are relative to the row's largest. */
function mapOf(weights: readonly (readonly number[])[]): string[] {
  return weights.map((row) => {
    const most = Math.max(...row);
    return row.map((weight) => shades[Math.min(4, Math.round((4 * weight) / most))]!).join("");
  });
}

/** Lines for a terminal: a map of each head, or for a single head the tokens that each token looks at most. */
function drawn(tokens: readonly string[], heads: readonly HeadWeights[]): string[] {
  const names = tokens.map((token) => printable(token));
  const label = Math.max(...names.map((name) => name.length));
  if (heads.length === 1) {
    const [{ layer, head, weights }] = heads as [HeadWeights];
    const rows = weights.map((row, i) => {
      const order = [...row.keys()].sort((a, b) => row[b]! - row[a]!).slice(0, 3);
      const seen = order.map((k) => `${names[k]!.padEnd(label)} ${drawBar(row[k]!, 8)} ${row[k]!.toFixed(2)}`);
      return `${names[i]!.padStart(label)} → ${seen.join("  ")}`;
    });
    return [bold(`layer ${layer}, head ${head}`), ...rows];
  }
  const width = Math.max(tokens.length, 7);
  const perLine = Math.max(1, Math.floor(((process.stdout.columns || 120) - label - 2) / (width + 2)));
  const lines: string[] = [];
  for (const layer of new Set(heads.map((each) => each.layer))) {
    const own = heads.filter((each) => each.layer === layer);
    if (lines.length > 0) lines.push("");
    lines.push(bold(`layer ${layer}`));
    for (let at = 0; at < own.length; at += perLine) {
      const some = own.slice(at, at + perLine);
      const blocks = some.map(({ head, weights }) => [
        `head ${head}`.padEnd(width),
        ...mapOf(weights).map((row) => row.padEnd(width)),
      ]);
      lines.push(...besides([["", ...names.map((name) => name.padStart(label))], ...blocks]).split("\n"));
    }
  }
  lines.push("", dim("A row is a token that looks, a column one that is looked at, in the same order."));
  return lines;
}

const escaped = (text: string): string =>
  printable(text).replace(
    /[&<>"]/g,
    (character) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[character]!,
  );

/** A picture of heads: a row of maps for each layer, with the tokens that look at the left and those that are looked at above. */
export function attentionSvg(tokens: readonly string[], heads: readonly HeadWeights[]): string {
  const cell = 12;
  const side = tokens.length * cell;
  const names = tokens.map(escaped);
  const room = Math.min(160, 8 + 7 * Math.max(...tokens.map((token) => token.length)));
  const [gapX, gapY] = [room + 14, room + 34];
  const layers = [...new Set(heads.map(({ layer }) => layer))];
  const columns = [...new Set(heads.map(({ head }) => head))];
  const [width, height] = [columns.length * (side + gapX) + 20, layers.length * (side + gapY) + 20];
  const maps = heads.map(({ layer, head, weights }) => {
    const x = columns.indexOf(head) * (side + gapX) + gapX;
    const y = layers.indexOf(layer) * (side + gapY) + gapY;
    const cells = weights.flatMap((row, from) =>
      row.flatMap((weight, to) =>
        weight < 0.005
          ? []
          : [
              `<rect x="${to * cell}" y="${from * cell}" width="${cell}" height="${cell}" fill-opacity="${weight.toFixed(3)}"><title>${names[from]} → ${names[to]}: ${weight.toFixed(3)}</title></rect>`,
            ],
      ),
    );
    const left = names.map((name, i) => `<text x="-4" y="${i * cell + 9}" text-anchor="end">${name}</text>`);
    const above = names.map((name, i) => `<text transform="translate(${i * cell + 9},-4) rotate(-90)">${name}</text>`);
    return [
      `<g transform="translate(${x},${y})">`,
      `<text class="title" y="${-room - 12}">layer ${layer}, head ${head}</text>`,
      ...left,
      ...above,
      `<g fill="#1f5fbf">${cells.join("")}</g>`,
      `<rect width="${side}" height="${side}" fill="none" stroke="#999"/>`,
      "</g>",
    ].join("\n");
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="sans-serif" font-size="10">`,
    "<style>.title { font-weight: bold; font-size: 12px }</style>",
    '<rect width="100%" height="100%" fill="#fff"/>',
    ...maps,
    "</svg>\n",
  ].join("\n");
}
