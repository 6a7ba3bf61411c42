/** docs/ops.md is what the oracles have on file: `npm run ops` writes both, and this test fails when the page is older. */
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import type { AnyOp } from "../../src/graph/op.ts";
import type { DType } from "../../src/graph/types.ts";
import * as glissade from "../../src/index.ts";
import * as functional from "../../src/nn/functional.ts";
import * as losses from "../../src/nn/losses.ts";
import { loweredOps, registry } from "../../src/ops/lowered/index.ts";
import * as convolution from "../../src/tensor/convolution.ts";
import * as create from "../../src/tensor/create.ts";
import * as einsum from "../../src/tensor/einsum.ts";
import * as matrices from "../../src/tensor/matrices.ts";
import * as scan from "../../src/tensor/scan.ts";
import type { Ledger, OpRecord } from "../support/coverage.ts";
import { numpy, numpyWithout } from "../support/numpy.ts";

const root = path.join(import.meta.dirname, "..");
const onFile = <T>(name: string): T =>
  JSON.parse(readFileSync(path.join(root, `fixtures/proofs/${name}.json`), "utf8"));
const records = onFile<Record<string, OpRecord>>("conformance");
const [opinfo, onnx] = [onFile<Ledger>("opinfo"), onFile<Ledger>("onnx")];

/** Methods that are no functions of tensors: they read values, say what a tensor is, or apply any op. */
const otherMethods =
  "apply applyAll array constructor current data dtype item scalar shape size sizes text toString".split(" ");
const methods = Object.getOwnPropertyNames(glissade.Tensor.prototype).filter((name) => !otherMethods.includes(name));
const functions = [convolution, create, einsum, functional, losses, matrices, scan]
  .flatMap((module) => Object.entries(module))
  .flatMap(([name, value]) =>
    typeof value === "function" && (name in glissade || name in glissade.functional) ? [name] : [],
  );

/** How many samples of an oracle are computed with an op. */
const samplesWith = ({ entries }: Ledger, op: string): number =>
  Object.values(entries).reduce((sum, entry) => sum + (entry.ops[op] ?? 0), 0);

/** Functions that no sample is written with. */
const unproven = [...methods, ...functions].filter(
  (name) =>
    !registry.has(name) &&
    [opinfo, onnx].every(({ entries }) => !Object.values(entries).some(({ functions: used }) => used.includes(name))),
);

/** Entries of an oracle that are written with a function; the most direct ones, which need little else, first. */
function entriesWith(
  { entries }: Ledger,
  name: string,
): { readonly samples: number; readonly names: readonly string[] } {
  const found = Object.entries(entries).filter(([, entry]) => entry.functions.includes(name));
  found.sort(([, a], [, b]) => a.functions.length - b.functions.length);
  return {
    samples: found.reduce((sum, [, { passed }]) => sum + passed, 0),
    names: found.map(([entry]) => entry),
  };
}

const short: Record<DType, string> = { float32: "f32", float64: "f64", int32: "i32", bool: "bool" };
const dtypesOf = (dtypes: readonly DType[] = []): string =>
  (Object.keys(short) as DType[])
    .filter((dtype) => dtypes.includes(dtype))
    .map((dtype) => short[dtype])
    .join(" ") || "–";

/** First and second derivative, as the page shows them. */
function derivatives({ hasSlope, derivatives: orders, gradient }: OpRecord): readonly [string, string] {
  if (gradient === "ends") return ["ends", ""];
  if (hasSlope) return ["✓", orders === 2 ? "✓" : "0"];
  if (gradient === "written") return ["0", ""];
  return ["", ""];
}

const table = (head: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

const counted = (count: number): string => (count === 0 ? "–" : count.toLocaleString("en"));

function opsTable(isShown: (op: AnyOp) => boolean): string {
  const shown = [...registry.values()].filter(isShown);
  const rows = shown.map(({ name, kernel }) => [name, kernel ? "✓" : ""] as const);
  rows.sort(([a], [b]) => (a < b ? -1 : 1));
  const cells = rows.map(([name, kernel]) => {
    const record = records[name]!;
    const engines = [record.dtypes, record.engines.node, record.engines.portable].map(dtypesOf);
    const oracles = [samplesWith(opinfo, name), samplesWith(onnx, name)].map(counted);
    return [`\`${name}\``, ...engines, kernel, ...derivatives(record), ...oracles];
  });
  return table(["op", "plain", "ONNX Runtime", "portable", "kernel", "first", "second", "OpInfo", "ONNX"], cells);
}

const isLowered = (op: AnyOp): boolean => loweredOps.includes(op);

function functionsTable(): string {
  const rows = [...methods.map((name) => `.${name}`), ...functions]
    .filter((name) => !registry.has(name.slice(1)) && !registry.has(name))
    .sort((a, b) => (a.replace(".", "") < b.replace(".", "") ? -1 : 1))
    .map((shown) => {
      const name = shown.replace(".", "");
      const [byTorch, byOnnx] = [entriesWith(opinfo, name), entriesWith(onnx, name)];
      const some = byTorch.names.slice(0, 3).map((entry) => `\`${entry}\``);
      const more = byTorch.names.length > some.length ? [`${byTorch.names.length - some.length} more`] : [];
      return [`\`${shown}\``, counted(byTorch.samples), [...some, ...more].join(", "), counted(byOnnx.samples)];
    });
  return table(["function", "OpInfo", "entries", "ONNX"], rows);
}

const excludedTable = ({ excluded }: Ledger): string =>
  table(
    ["left out", "reason"],
    Object.entries(excluded)
      .sort(([, a], [, b]) => b - a)
      .map(([reason, count]) => [count, reason]),
  );

const passedOf = ({ entries }: Ledger): number => Object.values(entries).reduce((sum, { passed }) => sum + passed, 0);
const share = (ledger: Ledger): string => `${counted(passedOf(ledger))} of ${counted(ledger.total)}`;

const page = (): string => `# Ops and their proofs

This page is written by \`npm run ops\` from what the tests find; \`npm test\` fails when it is older than they are.

Every op is a record with its own samples. On each of them, and on whole numbers, truth values, infinities, NaN and signed zeros where
the op takes them, its values on ONNX Runtime are compared with its plain evaluation in float64; its first and second derivative with
finite differences (\`test/conformance.test.ts\`). Derivatives up to the third order, of ops and of all functions written with them, are
compared along directions that have nothing to do with each other (\`test/derivatives.test.ts\`). Then come other people's numbers: **OpInfo** is the database of samples by which PyTorch
tests itself, values and gradients, in float64 on the plain engine (1e-10) and in float32 on ONNX Runtime (1e-5): ${share(opinfo)} samples
of ${Object.keys(opinfo.entries).length} entries pass. **ONNX** is the official tests of its nodes, on both engines: ${share(onnx)} pass.
The rest is left out, for the reasons below.

## Ops

For each engine the dtypes for which it has been run: of the first input that can be real. "Portable" is the lowering without ONNX Runtime's own
ops, for browsers and exported models. A derivative is ✓ where it equals finite differences, 0 where it is zero by nature, and missing
where nothing is real. An op with a kernel can be computed together with its elementwise neighbours, in one pass over memory, by [code made
for them](internals.md#kernels). The numbers of OpInfo and ONNX are samples that pass and whose values or gradients are computed with the op.

${opsTable((op) => !isLowered(op))}

## What only the compiler makes

These ops (\`src/ops/lowered/\`) stand for others in a graph that has been differentiated. They have no gradient, and no user calls them.

${opsTable(isLowered)}

## Functions written with ops

Methods begin with a dot. They own no gradient: it follows from their ops. The entries are those of OpInfo that are written with the
function, the most direct ones first. What has neither samples nor tests of ONNX has tests of ours.

${functionsTable()}

Random numbers have oracles of their own: the generator the published vectors of Philox4x32-10, the distributions tests of Kolmogorov
and Smirnov and of Pearson, on each engine (\`test/random\`, \`test/nn/generator.test.ts\`).

## Sums and whole numbers

Of float32 elements of one sign a sum keeps all but 2·10⁻⁶ of its value, however many there are (10⁷ have been tried), over any axes, on
every engine: that of \`sum\` and \`mean\`, and so of losses, gradients of biases and of whatever was broadcast, variances, norms, statistics of
normalisations; of running sums, softmax over long axes, average pooling, updates that meet on one row of an embedding; and of products with a
vector, or whose inner axis is much longer than the result has elements. Other matrix products add up 128 to 1,024 terms at once, as is
usual: of equal terms they lose up to 10⁻⁵. Where signs differ, the same share of Σ|x| may be lost. Variances are those of deviations from
the mean, not of a difference of large numbers. NaN and infinities pass through (\`test/tensor/sums.test.ts\`; \`npm run digits\` for 10⁷
elements).

int32 arithmetic wraps around, modulo 2³², in each op that has it: \`add\`, \`sub\`, \`mul\`, \`neg\`, \`abs\`, \`square\`, \`matmul\`, \`dot\`, \`einsum\`,
\`trace\`, \`sum\`, \`prod\`, \`cumsum\`, \`cumprod\` and what is added at places that repeat; on every engine (\`test/tensor/wrap-around.test.ts\`).

## Slopes at kinks and limits

What holds where a function has no slope, or where its formula has no number, on each engine and in both precisions
(\`test/kinks.test.ts\`; PyTorch 1.13 has the same, unless it has NaN):

- At 0 the slope of relu, leakyRelu and prelu is that of negative x, that of elu, celu and selu the limit from the left, and that of abs 0.
- clip passes the gradient at its bounds. The activations hardTanh, relu6 and hardSigmoid do not; hardSwish has the slopes −½ and 1½ at ±3.
- Of two equals, maximum and minimum give half to each. Of several, max and min give each the same share, maxPool all to the first.
- norm of zeros has the gradient 0, of any order; so has an element of 0 for orders other than 2. std of equal elements has
  the gradient 0.
- logAddExp, logSumExp and logCumSumExp: −∞ does not count and has the gradient 0, also where there is nothing else and the result is −∞.
  Several +∞ share the gradient.
- binaryCrossEntropyOfProbabilities takes no logarithm below −100 and no p·(1 − p) below 1e-12: at p = 0 and p = 1 the slope is 0 where the
  label says the same, and ∓1e12 where it does not.
- What is in between needs no room: norm, std, hypot, cosineSimilarity, rmsNorm, globalNorm and logSumExp are right, as are
  their slopes, wherever the result has room: the norm of (3e30, 4e30) is 5e30 in float32.
- Nothing is lost in tails: softplus, sigmoid, logSigmoid, elu and binaryCrossEntropy keep their digits where they are small. The slopes
  of tanh and sigmoid are 1 − y² and y − y², which lose theirs where y is 1 but for a rounding.

## NumPy's elementwise functions

${table(
  ["NumPy", "Glissade"],
  Object.entries(numpy).map(([theirs, ours]) => [`\`${theirs}\``, `\`${ours}\``]),
)}

Not here: ${Object.entries(numpyWithout)
  .map(([names, reason]) => `${names} (${reason})`)
  .join("; ")}.

## NaN, infinities, ties and signed zeros

Held by \`test/ops/nonfinite.test.ts\`, which compares with PyTorch in every place of short and long arrays, and by
\`test/ops/nonfinite-places.test.ts\`; on the plain engine, on ONNX Runtime with kernels and without, and through the binding.

- The largest and the smallest of elements, over axes, of two, so far along an axis and in windows, is NaN where there is one. \`fmax\` and
  \`fmin\` leave NaN out. Of equals the first is the place of the largest and the smallest, and of several NaN the first, in \`argmax\`,
  \`argmin\` and in the gradient of pooling. The gradient of \`max\` and \`min\` is shared by equals; that of \`maximum\` and \`minimum\` is halved,
  and NaN on either side leaves it whole on both; that of \`cummax\` and \`cummin\` goes to the last of equals.
- Sorting is stable. NaN comes last in ascending order and first in descending, as in PyTorch: \`sort\`, \`argsort\`, \`topK\`.
- The largest element of a window of nothing but −∞ is −∞; padding is never the largest.
- A comparison with NaN is false, and \`notEqual\` true. Activations and \`clip\` keep NaN. As truth values NaN and infinities are true.
- What a choice leaves out counts nothing, in values and in gradients: \`where\`, \`relu\`, \`clip\`, \`maximum\`, rows of tables. It is not
  multiplied by 0, which would make NaN of an infinity.
- In \`klDivergence\` a target without probability counts 0, also for a log-probability of −∞.
- Towards int32 the fraction is cut off; NaN, infinities and all other numbers that int32 has not become −2³¹.
- \`relu\`, \`clip\`, \`abs\`, \`neg\`, \`round\`, \`floor\`, \`ceil\`, \`sqrt\`, products, quotients, sums and differences have the sign of a zero as IEEE
  754 has it. Elsewhere it is open: \`where\` on ONNX Runtime makes 0 of −0, and which of two zeros is the larger depends on the engine.
- The compiler's rules neither lose a NaN or an infinity nor bring it elsewhere, save that of infinities which cancel one may become NaN. No
  rule turns x·0, x − x or x / x into a number.

Exported models have ONNX's own nodes for pooling, sorting and extremes: what becomes of NaN in them is up to the runtime.

## What is left out

Of OpInfo:

${excludedTable(opinfo)}

Of ONNX's tests:

${excludedTable(onnx)}
`;

test("the page says what the oracles have found", async () => {
  await expect(page()).toMatchFileSnapshot("../../docs/ops.md");
});

test("every op is on the page, and nearly all have an oracle besides their samples", () => {
  expect(Object.keys(records).sort()).toEqual([...registry.keys()].sort());
  const alone = [...registry.keys()].filter((name) => samplesWith(opinfo, name) + samplesWith(onnx, name) === 0);
  // Packing is the compiler's own and has tests of its own, random bits have published vectors.
  expect(alone.length / registry.size).toBeLessThan(0.15);
});

test("functions without an oracle have a test of ours", () => {
  const tests = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".test.ts"));
  const code = tests.map((file) => readFileSync(path.join(root, file), "utf8")).join("\n");
  expect(unproven.length).toBeLessThan(18);
  expect(unproven.filter((name) => !new RegExp(`\\b${name}\\(`).test(code))).toEqual([]);
});

test("every function of NumPy's list exists", () => {
  const known = new Set([...methods, ...functions]);
  const missing = Object.values(numpy).flatMap((ours) =>
    ours.split(/[^A-Za-z0-9]+/).filter((name) => /^[a-z]\w+/.test(name) && !known.has(name)),
  );
  expect(missing).toEqual([]);
});
