/** docs/edges.md. */
import { readFileSync } from "node:fs";
import { type Exception, exceptions } from "./exceptions.ts";
import type { Ledger } from "./ledger.ts";
import { promises } from "./promises.ts";

const subjects = [...new Set(promises.map(({ about }) => about))];

const promised = subjects
  .map((subject) => {
    const sentences = promises.filter(({ about }) => about === subject).map(({ sentence }) => `- ${sentence}`);
    return `## ${subject}\n\n${sentences.join("\n")}`;
  })
  .join("\n\n");

/** The functions of an exception: a pattern's alternatives. */
function functionsOf({ of }: Exception): string {
  if (typeof of === "string") return `\`${of}\``;
  const names = of.source.match(/\w+/g) ?? [];
  return names.length === 0 ? "all" : names.map((name) => `\`${name}\``).join(", ");
}

const parts = (orders: readonly number[] | undefined): string =>
  orders ? orders.map((order) => ["values", "slopes", "second derivatives"][order]!).join(", ") : "all";

/** What a whole sweep has found; the next one may compare a few values more. */
interface Proofs {
  readonly compared: number;
  readonly reasons: readonly string[];
}

/** Two digits of a count. */
const about = (count: number): number => {
  const unit = 10 ** (Math.floor(Math.log10(count)) - 1);
  return Math.floor(count / unit) * unit;
};

/** A whole sweep as a file of the fixtures holds it. */
export function proofs({ compared, used }: Ledger): string {
  const found: Proofs = { compared: about(compared), reasons: [...used.keys()].map(({ reason }) => reason).sort() };
  return `${JSON.stringify(found, undefined, 2)}\n`;
}

/** The sweep on file. */
export const proofsOnFile = (): string =>
  readFileSync(new URL("../fixtures/proofs/edges.json", import.meta.url), "utf8");

/** The page, from the proofs of a whole sweep. Throws where those have other exceptions than there are. */
export function page(proofsOfSweep: string): string {
  const { compared, reasons } = JSON.parse(proofsOfSweep) as Proofs;
  const now = exceptions.map(({ reason }) => reason).sort();
  if (`${now}` !== `${reasons}`)
    throw new Error("the exceptions are others than those of the last sweep: npm run edges");
  return text(compared);
}

const text = (compared: number): string => `# At the edges of the numbers

This page is written by \`npm run edges\` from the test that holds it (\`test/edges\`); \`npm test\` fails when it is older.

${promised}

## How it is held

Every function of the public surface is computed at ±0, numbers too small to be normal, ±1, beside each of its kinks and limits, ±1e±20, the
largest numbers, ±∞ and NaN, functions of two at every pair of these; in each place of arrays of 1 to 33 elements, because code that takes
eight at a time has other ways for the last ones; in float32, float64 and int32; values, first and second derivatives; on the plain engine and
on ONNX Runtime, with kernels and without. What is right comes from mpmath with 1,300 digits and from PyTorch
(\`test/fixtures/generate_edges.py\`), for whole numbers from arithmetic without bounds. The sweep takes its list from the register of ops and
from the public surface: a new function fails the test until it is swept. More than ${compared.toLocaleString("en")} values are compared. Where one may be
different, one of ${exceptions.length} reasons says why:

| functions | of what | reason |
| --- | --- | --- |
${exceptions.map((each) => `| ${functionsOf(each)} | ${parts(each.orders)} | ${each.reason} |`).join("\n")}

Random programs of arithmetic on the same numbers are run too, some hundreds with every test and a hundred thousand by \`npm run programs\`: each
of their steps has to give what the plain engine makes of the very same values.
`;
