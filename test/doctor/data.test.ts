import { describe, expect, test } from "vitest";
import { check, dataset } from "../../src/node.ts";
import { digits, table, testDigits } from "./setups.ts";

const kinds = (report: ReturnType<typeof check.data>): string[] =>
  report.findings.map(({ kind, verdict }) => `${verdict} ${kind}`);

/** 40 rows of two features with labels 0 and 1 in random order; `change` breaks something. */
function small(change: (rows: number[][], labels: number[]) => void = () => {}) {
  const rows = Array.from({ length: 40 }, (_, i) => [Math.sin(7 * i), Math.cos(11 * i)]);
  const labels = rows.map((_, i) => Number((i * 37) % 41 > 20));
  change(rows, labels);
  return table(rows, labels, "int32");
}

describe("the digits, 8,000 and 2,000", () => {
  test("have nothing that stands out", () => {
    const started = performance.now();
    const report = check.data({ train: digits, validation: testDigits });
    expect(performance.now() - started).toBeLessThan(5000);
    expect(report).toMatchObject({ verdict: "pass", examples: 8000, validationExamples: 2000, findings: [] });
    const [images, labels] = report.columns;
    expect(images).toMatchObject({ type: "float32[784]", role: "input", smallest: 0, largest: 1, positions: 784 });
    const { values } = digits.columns[0];
    let sum = 0;
    for (const value of values) sum += value;
    expect(images!.mean).toBeCloseTo(sum / values.length, 10);
    let square = 0;
    for (const value of values) square += (value - images!.mean) ** 2;
    expect(images!.deviation).toBeCloseTo(Math.sqrt(square / values.length), 10);
    expect(labels).toMatchObject({ role: "target", smallest: 0, largest: 9 });
    expect(report.classes!.reduce((total, { train }) => total + train, 0)).toBe(8000);
    expect(report.classes!.reduce((total, own) => total + own.validation, 0)).toBe(2000);
  });

  test("sorted, repeated and leaked are found out", () => {
    const labels = digits.columns[1].values;
    const sorted = [...labels.keys()].sort((a, b) => labels[a]! - labels[b]!);
    expect(kinds(check.data({ train: digits.take(sorted) }))).toEqual(["warn order"]);

    const twice = [...Array(8000).keys(), ...Array(100).keys()];
    const report = check.data({ train: digits.take(twice), validation: digits.take([5, 6, 7]) });
    expect(report).toMatchObject({ verdict: "fail", repeated: 100, contradictory: 0, leaked: 3 });
    expect(kinds(report)).toContain("fail leak");
  });
});

describe("one thing wrong", () => {
  test("nothing", () => expect(kinds(check.data({ train: small() }))).toEqual([]));

  test("NaN and infinity, with the place of the first", () => {
    const train = small((rows) => {
      rows[3]![1] = Number.NaN;
      rows[9]![0] = Number.NEGATIVE_INFINITY;
    });
    expect(check.data({ train, validation: train }).findings.slice(0, 2)).toEqual([
      { verdict: "fail", kind: "not-finite", part: "training", column: 0, count: 2, example: 3, position: 1 },
      { verdict: "fail", kind: "not-finite", part: "validation", column: 0, count: 2, example: 3, position: 1 },
    ]);
  });

  test.each<[string, Parameters<typeof small>[0], string[]]>([
    [
      "a constant input",
      (rows) => rows.forEach((row) => row.fill(2)),
      ["warn constant", "warn repeated", "warn contradictory"],
    ],
    ["one class", (_, labels) => labels.fill(1), ["fail constant", "warn gaps"]],
    ["large numbers", (rows) => rows.forEach((row) => row.splice(0, 2, row[0]! * 300, row[1]! * 300)), ["warn scale"]],
    ["far from 0", (rows) => rows.forEach((row) => row.splice(0, 2, row[0]! + 9, row[1]! + 9)), ["warn scale"]],
    ["uneven features", (rows) => rows.forEach((row) => row.splice(0, 1, row[0]! / 5000)), ["warn uneven"]],
    ["a rare class", (_, labels) => labels.forEach((_, i) => (labels[i] = Number(i % 20 === 3))), ["warn imbalance"]],
    ["labels from 1 on", (_, labels) => labels.forEach((label, i) => (labels[i] = label + 1)), ["warn gaps"]],
    ["sorted", (_, labels) => labels.sort(), ["warn order"]],
    [
      "a contradiction",
      (rows, labels) => {
        rows[1] = rows[0]!;
        labels[1] = 1 - labels[0]!;
      },
      ["warn repeated", "warn contradictory"],
    ],
  ])("%s", (_, change, expected) => expect(kinds(check.data({ train: small(change) }))).toEqual(expected));

  test("validation data scaled otherwise, and with labels of their own", () => {
    const other = small((rows, labels) => {
      rows.forEach((row) => row.splice(0, 2, row[0]! * 4, row[1]! * 4));
      labels[0] = 2;
    });
    expect(kinds(check.data({ train: small(), validation: other }))).toEqual(["warn shift", "fail unseen"]);
  });
});

test("real targets are in order by the sides of their median", () => {
  const rows = Array.from({ length: 200 }, (_, i) => [Math.sin(7 * i)]);
  const rising = table(
    rows,
    rows.map((_, i) => i / 100),
    "float32",
  );
  expect(check.data({ train: rising })).toMatchObject({ verdict: "warn", order: { runs: 2 } });
  const mixed = table(
    rows,
    rows.map((_, i) => Math.sin(13 * i * i)),
    "float32",
  );
  expect(Math.abs(check.data({ train: mixed }).order!.z)).toBeLessThan(4);
  expect(check.data({ train: mixed })).not.toHaveProperty("classes");
});

test("sequences of ids, in one column, have neither classes nor order", () => {
  const values = Int32Array.from({ length: 60 }, (_, i) => (i * 7) % 13);
  const report = check.data({ train: dataset({ shape: [20, 3], dtype: "int32", values }) });
  expect(report).toMatchObject({ columns: [{ type: "int32[3]", role: "input" }], repeated: 7, contradictory: 0 });
  expect(report).not.toHaveProperty("classes");
  expect(report).not.toHaveProperty("order");
});

test("equal means equal bit for bit, in every column, whatever its dtype and wherever it lies in memory", () => {
  const whole = new Float64Array(9).fill(5); //  columns that do not begin where their buffer begins
  const doubles = { shape: [4, 2], dtype: "float64" as const, values: whole.subarray(1) };
  doubles.values.set([1, 2, 1, 2 + 2 * Number.EPSILON, 1, 2, 1, 2]);
  const flags = { shape: [4], dtype: "bool" as const, values: new Uint8Array([9, 0, 0, 0, 1]).subarray(1) };
  const targets = { shape: [4], dtype: "int32" as const, values: Int32Array.of(0, 0, 0, 0) };
  expect(check.data({ train: dataset(doubles, flags, targets) })).toMatchObject({ repeated: 1 });
});

test("what is no data is refused", () => {
  expect(() => check.data({ train: [] as never })).toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: data: \`train\` is an array
      fix: give a dataset, or a loader over one, whose examples are looked at one by one: dataset(inputs, labels)]
  `);
  expect(() => check.data({ train: small(), validation: digits as never })).toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: data: an example of \`train\` is float32[2], int32[], one of \`validation\` float32[784], int32[]
      fix: make both from the same columns]
  `);
});
