/** Every op on the register, on each of its own samples, and proof that these checks see a wrong gradient. */
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../src/engine/engine.ts";
import { nodeEngine } from "../src/engine/node/index.ts";
import { applyAll } from "../src/graph/apply.ts";
import { collect } from "../src/graph/node.ts";
import type { AnyOp, Differentiation, Sample } from "../src/graph/op.ts";
import { isFloat } from "../src/graph/types.ts";
import { gradients, type Tensor } from "../src/index.ts";
import { registry } from "../src/ops/lowered/index.ts";
import {
  atTheEdges,
  evaluated,
  expectDerivatives,
  expectSameOnEngines,
  isSmooth,
  plain,
  project,
  retyped,
  sampler,
  toTensor,
} from "./support/conformance.ts";
import { gradientOf, type OpRecord } from "./support/coverage.ts";

const engines: Engine[] = [];
beforeAll(() => {
  const native = nodeEngine({ threads: 1 });
  // Also without ONNX Runtime's own ops, as every other runtime will see the graph.
  engines.push(native, { ...native, name: "portable", target: { contrib: false } });
});

const ops = [...registry.values()].map((op) => [op.name, op] as const);

/** What holds for each op, as docs/ops.md shows it. */
const ledger = new Map<string, OpRecord>();

describe.each(ops)("%s", (_, op) => {
  const narrow = op.samples(sampler("float32"));
  const wide = op.samples(sampler("float64"));
  const record: OpRecord = { hasSlope: false, derivatives: 0, gradient: gradientOf(op), dtypes: [], engines: {} };
  ledger.set(op.name, record);
  /** Runs a sample on every engine, and notes the dtype of what it is about. */
  const expectEverywhere = async (sample: Sample<unknown>, i: number): Promise<void> => {
    const hasKernel = await expectSameOnEngines(op, sample, engines);
    const place = Math.max(
      0,
      narrow[i]!.inputs.findIndex((input) => isFloat(input.dtype)),
    );
    const dtype = sample.inputs[place]?.dtype ?? applyAll(op, [], sample.params)[0]!.dtype;
    if (!record.dtypes.includes(dtype)) record.dtypes.push(dtype);
    for (const { name } of hasKernel ? engines : []) {
      record.engines[name] ??= [];
      if (!record.engines[name].includes(dtype)) record.engines[name].push(dtype);
    }
  };

  test("has samples", () => expect(narrow.length).toBeGreaterThan(0));

  test.each(narrow.map((sample, i) => [i, sample] as const))(
    "sample %i: types, derivatives, engines",
    async (i, sample) => {
      const orders = expectDerivatives(op, wide[i]!);
      record.derivatives = Math.max(record.derivatives, orders);
      for (const each of [sample, wide[i]!]) {
        expect(evaluated(op, each).flatMap((values) => [...values])).not.toContain(Number.NaN);
        await expectEverywhere(each, i);
      }
    },
  );

  test("whole numbers and truth values, where it takes them", async () => {
    for (const dtype of ["int32", "bool"] as const)
      for (const [i, sample] of narrow.entries()) {
        const other = retyped(op, sample, dtype);
        if (other) await expectEverywhere(other, i);
      }
  });

  test("infinities, NaN, signed zeros and sizes, where it is a function of single elements", async () => {
    for (const sample of [...narrow, ...wide]) {
      const edges = atTheEdges(op, sample);
      if (edges) await expectSameOnEngines(op, edges, engines);
    }
  });
});

test("most functions of single elements are found to be such", () => {
  const found = ops.filter(([, op]) => op.samples(sampler("float32")).some((sample) => atTheEdges(op, sample)));
  expect(found.length).toBeGreaterThan(50);
});

type Gradient = NonNullable<AnyOp["gradient"]>;

/** Whether some sample of the op fails when its gradient is another. */
function isNoticed(op: AnyOp, wrong: Gradient): boolean {
  const broken: AnyOp = { ...op, gradient: wrong };
  try {
    for (const sample of op.samples(sampler("float64"))) expectDerivatives(broken, sample);
    return false;
  } catch {
    return true;
  }
}

/** The inputs in which an op has a derivative that is not zero on all of its samples. */
function slopes(op: AnyOp): number[] {
  const found = new Set<number>();
  for (const sample of op.samples(sampler("float64"))) {
    const inputs = sample.inputs.map(toTensor);
    const outputs = applyAll(op, inputs, sample.params);
    const scalar = isSmooth(op, outputs) ? project(outputs) : undefined;
    const reached = new Set(scalar && collect([scalar]));
    inputs.forEach((input, i) => {
      if (!scalar || !isFloat(input.dtype) || !reached.has(input.node)) return;
      const [values] = plain(gradients(scalar, [input]), [])([]);
      if (values!.some((value) => Math.abs(value) > 1e-3)) found.add(i);
    });
  }
  return [...found];
}

describe("a wrong gradient is noticed", () => {
  const sloped = ops.map(([name, op]) => [name, op, slopes(op)] as const).filter(([, , inputs]) => inputs.length > 0);
  for (const [name] of sloped) ledger.get(name)!.hasSlope = true;

  test("there are many to be wrong", () => expect(sloped.length).toBeGreaterThan(60));

  test.each(sloped)("%s: a gradient a hundredth too large, and one that is forgotten", (_, op, inputs) => {
    const right: Gradient = (at) => op.gradient!(at);
    expect(isNoticed(op, right)).toBe(false);
    for (const which of inputs)
      for (const factor of [1.01, 0]) {
        const wrong: Gradient = (at) => right(at).map((dx, i) => (i === which ? dx?.mul(factor) : dx));
        expect(isNoticed(op, wrong), `the gradient of input ${which}, times ${factor}`).toBe(true);
      }
  });

  const forgetful: [
    string,
    string,
    (dx: (Tensor | undefined)[], at: Differentiation<unknown>) => (Tensor | undefined)[],
  ][] = [
    ["tanh", "1 − y in place of 1 − y²", (_, { outputs: [y], gradients: [dy] }) => [dy!.mul(y!.neg().add(1))]],
    ["mul", "dy without the other factor", (_, { gradients: [dy] }) => [dy, dy]],
    ["div", "the sign of the denominator's gradient", ([a, b]) => [a, b?.neg()]],
    ["softmax", "dy · y without the row's sum", (_, { outputs: [y], gradients: [dy] }) => [dy!.mul(y!)]],
  ];
  test.each(forgetful)("%s: %s", (name, _, mistake) => {
    const op = registry.get(name)!;
    expect(isNoticed(op, (at) => mistake([...op.gradient!(at)], at))).toBe(true);
  });
});

test("what holds is on file", async () => {
  const lines = [...ledger].map(([name, record]) => {
    record.dtypes.sort();
    for (const dtypes of Object.values(record.engines)) dtypes.sort();
    return `  ${JSON.stringify(name)}: ${JSON.stringify(record)}`;
  });
  await expect(`{\n${lines.sort().join(",\n")}\n}\n`).toMatchFileSnapshot("fixtures/proofs/conformance.json");
});
