/** The official node tests of ONNX: its ops written with ours, on the plain engine and, lowered to ONNX, on ONNX Runtime. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { plainEngine, type Tensor, useEngine } from "../../src/index.ts";
import { type Means, noted, opsIn, Tally } from "../support/coverage.ts";
import {
  type OnnxGraph,
  type OnnxNode,
  type OnnxTest,
  onnxTests,
  onnxType,
  storedTensor,
  storedValues,
} from "../support/onnx-fixture.ts";
import { type Compared, problemsOf } from "../support/oracle.ts";
import { type Exclusion, exclusions, type Tolerance, tolerances } from "./onnx-exclusions.ts";
import { table } from "./onnx-table.ts";

vi.mock(import("../../src/index.ts"), async (original) =>
  (await import("../support/coverage.ts")).watched(await original()),
);

/** The tensors of a test's graph by name. */
const interpreted = ({ nodes, inputs }: OnnxTest): Map<string, Tensor> =>
  computed(nodes, new Map(inputs.map(({ name, tensor }) => [name, storedTensor(tensor)])));

/** An attribute's value; a graph is a function of its inputs. */
function decoded(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if ("tensor" in value) return storedTensor(value.tensor as number);
  if (!("nodes" in value)) return value;
  const { nodes, inputs, outputs } = value as OnnxGraph;
  return (...given: readonly Tensor[]) => {
    const values = computed(nodes, new Map(inputs.map((name, i) => [name, given[i]!])));
    return outputs.map((name) => values.get(name)!);
  };
}

/** Adds what each node gives, written with our functions. */
function computed(nodes: readonly OnnxNode[], values: Map<string, Tensor>): Map<string, Tensor> {
  const found = (name: string): Tensor | undefined => {
    if (name !== "" && !values.has(name)) throw new Error(`no node gives ${name}`);
    return values.get(name);
  };
  for (const { op, inputs, outputs, attributes } of nodes) {
    const written = table[op];
    if (!written) throw new Error(`nothing is written for ${op}`);
    const settings = Object.entries(attributes).map(([name, value]) => [name, decoded(value)]);
    const result = written(inputs.map(found), Object.fromEntries(settings), outputs.length);
    const results = Array.isArray(result) ? (result as Tensor[]) : [result as Tensor];
    for (const [i, name] of outputs.entries()) if (name !== "") values.set(name, results[i]!);
  }
  return values;
}

function built(each: OnnxTest): { compared: Compared[]; means: Means } {
  const tolerance = tolerances.find((wide) => wide.test.test(nameOf(each)));
  if (tolerance) used.add(tolerance);
  const { result: values, functions } = noted(() => interpreted(each));
  const compared = each.outputs.map(({ name, tensor }) => {
    const have = values.get(name)!;
    const want = storedValues(tensor);
    if (have.dtype !== want.dtype) throw new Error(`${name} is ${have.dtype}, ONNX's ${want.dtype}`);
    return { have, want, what: name, tolerance: tolerance?.tolerance ?? 1e-5 };
  });
  return { compared, means: { functions, ops: opsIn(compared.map(({ have }) => have.current())) } };
}

const nameOf = ({ name }: OnnxTest): string => name.replace("test_", "");

const excludedFrom = (each: OnnxTest): Exclusion | undefined =>
  exclusions.find(
    ({ op, test: name, dtype }) =>
      each.nodes.some((node) => op?.test(node.op)) ||
      name?.test(nameOf(each)) ||
      [...each.inputs, ...each.outputs].some(({ tensor }) => dtype?.test(onnxType(tensor))),
  );

/** A function's expansion into several nodes belongs to the op that its names begin with. */
function opOf({ nodes }: OnnxTest): string {
  if (nodes.length === 1) return nodes[0]!.op;
  const [, op] = /^([A-Za-z]+)_test_/.exec(nodes[0]!.outputs[0]!) ?? [];
  return `${op ?? nodes.at(-1)!.op}, expanded`;
}

const byOp = new Map<string, OnnxTest[]>();
for (const each of onnxTests) byOp.set(opOf(each), [...(byOp.get(opOf(each)) ?? []), each]);
const used = new Set<Exclusion | Tolerance>();
const tally = new Tally();
let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 2 });
});

describe.each([...byOp])("%s", (op, tests) => {
  test("is ONNX's", async () => {
    const kept = tests.filter((each) => {
      const exclusion = excludedFrom(each);
      if (exclusion) {
        used.add(exclusion);
        tally.excluded(exclusion.reason);
      }
      return !exclusion;
    });
    const problems: string[] = [];
    const isFine = kept.map(() => true);
    const means: Means[] = [];
    for (const engine of [plainEngine(), native]) {
      useEngine(engine);
      // ONNX's own runner allows 1e-7 where all values are small.
      const found = await problemsOf(
        kept.map((each, i) => () => {
          const { compared, means: by } = built(each);
          means[i] = by;
          return compared;
        }),
        { of: "ONNX", least: 0.01 },
      );
      for (const [i, problem] of found.entries()) {
        if (problem === undefined) continue;
        isFine[i] = false;
        problems.push(`${nameOf(kept[i]!)}, ${engine.name}: ${problem}`);
      }
    }
    for (const [i, fine] of isFine.entries()) fine ? tally.passed(op, means[i]!) : tally.failed();
    expect(problems.join("\n")).toBe("");
  });
});

test("767 tests pass at least, every exclusion excludes something, and what passed is on file", async () => {
  const { total, passed, excluded } = tally.counts;
  console.log(`ONNX: ${total} tests, ${passed} passed, ${excluded} excluded`);
  expect([...exclusions, ...tolerances].filter((each) => !used.has(each)).map(({ reason }) => reason)).toEqual([]);
  expect(passed + excluded).toBe(total);
  expect(passed).toBeGreaterThanOrEqual(767);
  await expect(String(tally)).toMatchFileSnapshot("../fixtures/proofs/onnx.json");
});
