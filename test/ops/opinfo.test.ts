/** PyTorch's OpInfo samples: values and gradients of its functions, against the same written with ours. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { arrayTypes, type DType, isFloat, sizeOf, type Values } from "../../src/graph/types.ts";
import { fromValues, gradients, plainEngine, type Tensor, useEngine } from "../../src/index.ts";
import { adopt } from "../../src/tensor/create.ts";
import { type Means, noted, opsIn, Tally } from "../support/coverage.ts";
import { type Compared, problemsOf } from "../support/oracle.ts";
import { exclusions } from "./opinfo-exclusions.ts";
import { type Options, table } from "./opinfo-table.ts";

vi.mock(import("../../src/index.ts"), async (original) =>
  (await import("../support/coverage.ts")).watched(await original()),
);

interface Stored {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly at: number;
}

interface Sample {
  readonly arguments: readonly unknown[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly outputs: readonly Stored[];
  readonly gradients: readonly (Stored | null)[];
}

interface Fixture {
  readonly values: string;
  readonly cases: readonly { readonly name: string; readonly samples: readonly Sample[] }[];
}

const fixture = JSON.parse(
  gunzipSync(readFileSync(new URL("../fixtures/opinfo/opinfo.json.gz", import.meta.url))).toString(),
) as Fixture;
const bytes = Buffer.from(fixture.values, "base64");
const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const valuesOf = ({ shape, at }: Stored): Float64Array => all.subarray(at, at + sizeOf(shape));

/** A sample's arguments, with the tensors in the order of their gradients. */
function decode(value: unknown, float: DType, tensors: Tensor[]): unknown {
  if (Array.isArray(value)) return value.map((each) => decode(each, float, tensors));
  if (typeof value !== "object" || value === null) return value;
  if ("number" in value)
    return value.number === "inf"
      ? Number.POSITIVE_INFINITY
      : value.number === "-inf"
        ? Number.NEGATIVE_INFINITY
        : Number.NaN;
  if ("torch" in value) return undefined;
  if ("tensor" in value) {
    const stored = value.tensor as Stored;
    const dtype = stored.dtype === "float64" ? float : stored.dtype;
    const made = adopt({ shape: stored.shape, dtype }, arrayTypes[dtype].from(valuesOf(stored)) as Values);
    tensors.push(made);
    return made;
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, decode(each, float, tensors)]));
}

/** The weights of the sum over an output whose gradient the fixture holds. */
function weightsOf(output: Tensor): Tensor {
  const weights = Float64Array.from({ length: output.size }, (_, p) => (((7919 * p) % 13) - 6.5) / 7);
  return fromValues(output.dtype === "float64" ? weights : Float32Array.from(weights), output.shape) as Tensor;
}

/** Gradients of the weighted sum over all real outputs; of a single one without a sum, so that the graph is the op's alone. */
function slopes(outputs: readonly Tensor[], wanted: readonly Tensor[]): readonly Tensor[] {
  const [first, ...more] = outputs.filter(({ dtype }) => isFloat(dtype));
  if (more.length === 0) return gradients(first!, wanted, weightsOf(first!));
  const sums = [first!, ...more].map((output) => output.mul(weightsOf(output)).sum());
  return gradients(
    sums.reduce((sum, part) => sum.add(part)),
    wanted,
  );
}

/** What a sample should give, as tensors to be evaluated, and what PyTorch has; and by what means. */
function built(name: string, sample: Sample, float: DType): { compared: Compared[]; means: Means } {
  const tensors: Tensor[] = [];
  const args = decode(sample.arguments, float, tensors) as unknown[];
  const options = decode(sample.options, float, tensors) as Options;
  const written = table[name];
  if (!written) throw new Error("nothing is written for it");
  const { result, functions } = noted(() => written(args, { ...options, float }));
  const outputs = Array.isArray(result) ? (result as Tensor[]) : [result as Tensor];
  const compare = (have: Tensor, want: Stored, what: string): Compared => ({
    have,
    want: { shape: want.shape, values: valuesOf(want) },
    what,
    tolerance: tolerances[float]!,
  });
  const compared = outputs.map((have, i) => compare(have, sample.outputs[i]!, `output ${i}`));
  if (sample.gradients.some((gradient) => gradient !== null)) {
    const wanted = sample.gradients.flatMap((gradient, i) => (gradient ? [{ gradient, i }] : []));
    const found = slopes(
      outputs,
      wanted.map(({ i }) => tensors[i]!),
    );
    wanted.forEach(({ gradient, i }, at) => compared.push(compare(found[at]!, gradient, `gradient ${i}`)));
  }
  return { compared, means: { functions, ops: opsIn(compared.map(({ have }) => have.current())) } };
}

const tolerances: Partial<Record<DType, number>> = { float64: 1e-10, float32: 1e-5 };

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 2 });
});

const excludedFrom = (name: string, at: number, sample: Sample, float: DType) =>
  exclusions.find(
    ({ op, samples, when, only }) =>
      (typeof op === "string" ? op === name : op.test(name)) &&
      (only === undefined || only === float) &&
      (samples === undefined || samples.includes(at)) &&
      (when === undefined || when(sample.arguments, sample.options)),
  );
const used = new Set<(typeof exclusions)[number]>();
const tally = new Tally();

describe.each(
  fixture.cases.filter(({ samples }) => samples.length > 0).map((each) => [each.name, each.samples] as const),
)("%s", (name, samples) => {
  test("is PyTorch's, with its gradients", async () => {
    const problems: string[] = [];
    const isFine = samples.map(() => true);
    const leftOut: (string | undefined)[] = samples.map(() => undefined);
    const means = new Map<Sample, Means>();
    for (const [float, engine] of [
      ["float64", plainEngine()],
      ["float32", native],
    ] as const) {
      useEngine(engine);
      const kept = [...samples.entries()].filter(([at, sample]) => {
        const exclusion = excludedFrom(name, at, sample, float);
        if (exclusion) used.add(exclusion);
        leftOut[at] ??= exclusion?.reason;
        return !exclusion;
      });
      const found = await problemsOf(
        kept.map(([, sample]) => () => {
          const { compared, means: by } = built(name, sample, float);
          means.set(sample, by);
          return compared;
        }),
        { of: "PyTorch", least: 1 },
      );
      for (const [i, [at]] of kept.entries()) {
        if (found[i] === undefined) continue;
        isFine[at] = false;
        problems.push(`sample ${at}, ${float}: ${found[i]}`);
      }
    }
    samples.forEach((sample, at) => {
      if (leftOut[at] !== undefined) tally.excluded(leftOut[at]);
      else if (isFine[at]) tally.passed(name, means.get(sample)!);
      else tally.failed();
    });
    expect(problems.join("\n")).toBe("");
  });
});

test("2,900 samples pass at least, every exclusion excludes something, and what passed is on file", async () => {
  const { total, passed, excluded } = tally.counts;
  console.log(`OpInfo: ${total} samples, ${passed} passed, ${excluded} excluded`);
  expect(exclusions.filter((exclusion) => !used.has(exclusion)).map(({ reason }) => reason)).toEqual([]);
  expect(passed + excluded).toBe(total);
  expect(passed).toBeGreaterThanOrEqual(2900);
  await expect(String(tally)).toMatchFileSnapshot("../fixtures/proofs/opinfo.json");
});
