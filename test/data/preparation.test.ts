/** Preparation: fitted, saved, applied, and what it refuses. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCsv } from "../../src/data/csv.ts";
import { readAt } from "../../src/data/places.ts";
import { fitPreparation, preparation } from "../../src/data/preparation.ts";
import { table } from "../../src/data/table.ts";
import { ConfigError, DataError, FormatError, GlissadeError } from "../../src/errors.ts";
import { complaint } from "../support/complaint.ts";

const rows = [
  { age: 20, city: "Rome", price: 4, bought: "yes" },
  { age: 40, city: "Paris", price: 8, bought: "no" },
  { age: 60, city: "Rome", price: 6, bought: "yes" },
];
const train = () => table(rows, { label: "bought", target: "price" });
const holes = () =>
  table([...rows, { age: null, city: null, price: 1, bought: "no" }], { label: "bought", target: "price" });

describe("a fitted preparation", () => {
  test("standardises numbers, has a column for each category, numbers the classes", () => {
    const fitted = fitPreparation(train());
    expect([fitted.features, fitted.classes, fitted.targets, fitted.columns]).toEqual([
      ["age", "city=Paris", "city=Rome"],
      ["no", "yes"],
      ["price"],
      ["age", "city"],
    ]);
    const { inputs, labels, targets } = fitted.apply(train());
    const one = Math.fround(Math.sqrt(1.5));
    expect([inputs.shape, [...inputs.values]]).toEqual([
      [3, 3],
      [-one, 0, 1, 0, 1, 0, one, 0, 1],
    ]);
    expect([[...labels.values], targets.shape, [...targets.values]]).toEqual([
      [1, 0, 1],
      [3, 1],
      [4, 8, 6],
    ]);
    expect(fitted.inverse(labels.values)).toEqual(["yes", "no", "yes"]);
  });

  test("gives categories as places for an embedding, 0 kept free for unknown ones", () => {
    const fitted = fitPreparation(train(), { category: "index", unknown: "ignore", numeric: "none" });
    const { inputs, indices } = fitted.apply([
      { age: 7, city: "Oslo" },
      { age: 8, city: "Rome" },
    ]);
    expect([fitted.indexCounts, indices.shape, [...indices.values], [...inputs.values]]).toEqual([
      [3],
      [2, 1],
      [0, 2],
      [7, 8],
    ]);
    expect([
      ...fitPreparation(train(), { unknown: "ignore" }).apply([{ age: 40, city: "Oslo" }]).inputs.values,
    ]).toEqual([0, 0, 0]);
  });

  test.each([
    ["mean", 40, "Rome"],
    ["median", 40, "Rome"],
    ["mostFrequent", 20, "Rome"],
    [{ age: { constant: 7 }, city: { constant: "none" } }, 7, "none"],
    [{ age: "median", city: "mostFrequent" }, 40, "Rome"],
  ] as const)("fills missing values by %j", (missing, age, city) => {
    const fitted = fitPreparation(holes(), { missing, numeric: "none" });
    const { inputs } = fitted.apply([{ age: null, city: null }]);
    expect([...inputs.values]).toEqual(
      fitted.features.map((name) => (name === "age" ? age : Number(name === `city=${city}`))),
    );
  });

  test("classes that are numbers are in the order of the numbers", () => {
    const fitted = fitPreparation(parseCsv("x,y\n1,10\n2,9\n3,-1\n", { label: "y" }));
    expect(fitted.classes).toEqual(["-1", "9", "10"]);
  });

  test("saved as JSON and read again does the same, bit for bit", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            n: fc.oneof(
              fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e150, max: 1e150 }),
              fc.constant(null),
            ),
            c: fc.oneof(fc.string(), fc.constantFrom("__proto__", "a", "constructor")),
            l: fc.constantFrom("x", "y", "toString"),
          }),
          { minLength: 1, maxLength: 12 },
        ),
        fc.constantFrom("oneHot", "index"),
        (list, category) => {
          fc.pre(list.some(({ n }) => n !== null));
          const made = table(list, { schema: { n: "numeric", c: "category", l: "label" }, missing: [] });
          const fitted = fitPreparation(made, { category, missing: { n: "mean" } });
          const again = preparation(JSON.stringify(fitted));
          expect(again.toJSON()).toEqual(fitted.toJSON());
          expect(again.apply(made)).toEqual(fitted.apply(made));
          expect(again.apply(made).inputs).toEqual(fitted.apply(made).inputs);
          expect(again.apply(made).labels).toEqual(fitted.apply(made).labels);
        },
      ),
    );
  });

  test("says where rows from a file were read, and counts those of a program", () => {
    const fitted = fitPreparation(train());
    const origin = { source: "people.csv", unit: "line" } as const;
    const read = [readAt({ age: "20", city: "Rome" }, origin, 2), readAt({ age: "old", city: "Rome" }, origin, 3)];
    expect(complaint(DataError, () => fitted.apply(read))).toContain('people.csv: line 3, column "age"');
    read[1] = readAt({ age: "30", city: "Oslo" }, origin, 4);
    expect(complaint(DataError, () => fitted.apply(read))).toContain('line 4 of people.csv, column "city"');
    read[1] = { age: "old", city: "Rome" }; //  not read from there
    expect(complaint(DataError, () => fitted.apply(read))).toContain('rows: row 1, column "age"');
  });

  test("reads a file of the same form without the answers", () => {
    const fitted = fitPreparation(train());
    const fresh = parseCsv("id,city,age\n1,Rome,50\n", { schema: fitted.schema() });
    const prepared = fitted.apply(fresh);
    expect(prepared.inputs.shape).toEqual([1, 3]);
    expect(complaint(DataError, () => prepared.labels)).toContain("the rows have no labels");
    expect(complaint(DataError, () => prepared.targets)).toContain("the rows have no targets");
    expect(complaint(DataError, () => prepared.indices)).toContain('category: "index"');
    expect(Object.keys(fitted.schema(true))).toEqual(["age", "city", "bought", "price"]);
  });
});

describe("what does not fit is refused, with the row and the column", () => {
  const fitted = fitPreparation(train());
  test.each([
    ["a missing value in training", () => fitPreparation(holes()), 'row 3, column "age": the value is missing'],
    [
      "a missing value at prediction",
      () => fitted.apply([{ age: null, city: "Rome" }]),
      'row 0, column "age": the value is missing',
    ],
    ["a category that is new", () => fitted.apply([{ age: 1, city: "Oslo" }]), '"Oslo" was not among the 2 categories'],
    [
      "a class that is new",
      () => fitted.apply([{ age: 1, city: "Rome", bought: "maybe" }]).labels,
      '"maybe" is no class',
    ],
    [
      "a text for a number",
      () => fitted.apply([{ age: "old", city: "Rome" }]),
      'row 0, column "age": "old" is no finite number',
    ],
    ["a column that is not there", () => fitted.apply([{ aeg: 1, city: "Rome" }]), 'no column "age"'],
    ["no rows", () => fitted.apply([]), "there are no rows"],
    ["a row that is none", () => fitted.apply([{ age: 1, city: "Rome" }, 3 as never]), "row 1 is 3"],
    ["a label out of range", () => fitted.inverse([2]), "give whole numbers from 0 to 1"],
    [
      "a table of text alone",
      () => fitPreparation(parseCsv("t\nhello\n", { schema: { t: "text" } })),
      "no numbers and no categories",
    ],
    [
      "a column without values to fill with",
      () =>
        fitPreparation(
          table(
            [
              { a: null, b: 1 },
              { a: null, b: 2 },
              { a: null, b: 2 },
            ].map((row) => ({ ...row })),
            { schema: { b: "numeric", a: "numeric" } as never },
          ),
          { missing: "mean" },
        ),
      "",
    ],
  ])("%s", (_, run, sentence) => {
    expect(complaint(DataError, run)).toContain(sentence);
  });

  test.each([
    ["a rule for a column that is not there", { missing: { agee: "mean" } }, "did you mean age?"],
    ["a mean of categories", { missing: { city: "mean" } }, "the column has categories"],
    ["a constant of another kind", { missing: { age: { constant: "x" } } }, "the column has numbers"],
    ["a rule for the label", { missing: { bought: "mostFrequent" } }, "which is label"],
    ["a rule that there is not", { missing: "drop" }, 'give "refuse"'],
    ["an option that there is not", { scale: true }, "there is no option"],
    ["a value that there is not", { category: "onehot" }, 'give "oneHot" or "index"'],
  ])("%s", (_, options, sentence) => {
    expect(complaint(ConfigError, () => fitPreparation(holes(), options as never))).toContain(sentence);
  });
});

test("500 mutated preparations are read, or refused by an error of ours", () => {
  const good = JSON.parse(JSON.stringify(fitPreparation(train()))) as unknown;
  const odd = [null, -1, 0, Infinity, "", "x", [], {}, [1], ["a", "a"], true, "__proto__", { kind: "numeric" }];
  /** All places in a JSON value. */
  const places = (value: unknown, path: (string | number)[] = []): (string | number)[][] => [
    path,
    ...(typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, inner]) => places(inner, [...path, key]))
      : []),
  ];
  const replaced = (value: unknown, [key, ...rest]: (string | number)[], by: unknown): unknown => {
    if (key === undefined) return by;
    const copy: Record<string | number, unknown> = Array.isArray(value)
      ? ([...value] as never)
      : { ...(value as object) };
    copy[key] = replaced(copy[key], rest, by);
    return copy;
  };
  let refused = 0;
  fc.assert(
    fc.property(fc.constantFrom(...places(good)), fc.constantFrom(...odd), fc.boolean(), (path, by, asText) => {
      const bad = replaced(good, path, by);
      try {
        const read = preparation(asText ? JSON.stringify(bad) : bad);
        read.apply([{ age: 1, city: "Rome" }]);
      } catch (error) {
        expect(error).toBeInstanceOf(GlissadeError);
        refused++;
      }
    }),
    { numRuns: 500 },
  );
  expect(refused).toBeGreaterThan(300);
  for (const text of ["", "{", "null", "[]", "3", '{"format":"glissade preparation","version":2}'])
    expect(complaint(FormatError, () => preparation(text, "p.json"))).toContain("p.json");
});
