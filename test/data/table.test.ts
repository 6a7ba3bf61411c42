/** Tables out of texts: what is read, what is inferred, what is refused and where. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCsv } from "../../src/data/csv.ts";
import { parseJsonLines } from "../../src/data/json-lines.ts";
import { type Table, table } from "../../src/data/table.ts";
import { ConfigError, DataError, FormatError, GlissadeError } from "../../src/errors.ts";
import { complaint } from "../support/complaint.ts";

const people = `age,city,income,bought,note
31,Rome,10.5,yes,"likes ""it"", a lot"
22,Paris,NA,no,
45,"New
York",3e1,yes,x

31,Rome,-7,no,y
`;

describe("a CSV text", () => {
  test("gives columns of numbers and texts, with a report of what they were taken for", () => {
    const read = parseCsv(people, { label: "bought" });
    expect(read.length).toBe(4);
    expect([...read.numbers("age")]).toEqual([31, 22, 45, 31]);
    expect([...read.numbers("income")]).toEqual([10.5, Number.NaN, 30, -7]);
    expect(read.texts("city")).toEqual(["Rome", "Paris", "New\nYork", "Rome"]);
    expect(read.texts("note")).toEqual(['likes "it", a lot', undefined, "x", "y"]);
    expect(read.report()).toMatchInlineSnapshot(`
      "4 rows, 5 columns
        age: numeric, all are numbers
        city: category, 3 different values
        income: numeric, all are numbers; 1 missing
        bought: label
        note: category, 3 different values; 1 missing"
    `);
    expect([read.placeOf(2), read.placeOf(3)]).toEqual(["line 4 of CSV", "line 7 of CSV"]);
  });

  test("with a schema has the columns of the schema and no others", () => {
    const read = parseCsv(people, { schema: { income: "target", city: "category", bought: "label" } });
    expect(read.schema()).toEqual({ city: "category", income: "target", bought: "label" });
    expect(read.ignored).toEqual(["age", "note"]);
  });

  test.each([
    ["carriage returns", "a,b\r\n1,2\r\n3,4\r\n"],
    ["carriage returns alone", "a,b\r1,2\r3,4"],
    ["mixed line ends", "a,b\n1,2\r\n3,4\r"],
    ["a byte order mark", "\uFEFFa,b\n1,2\n3,4"],
    ["no line end at the end", "a,b\n1,2\n3,4"],
    ["quotes around everything", '"a","b"\n"1","2"\n"3","4"\n'],
    ["spaces around names and numbers", " a , b \n 1, 2\n3 ,4 \n"],
    ["empty lines", "\n\na,b\n\n1,2\n\n\n3,4\n\n"],
  ])("may have %s", (_, text) => {
    const read = parseCsv(text);
    expect([[...read.numbers("a")], [...read.numbers("b")]]).toEqual([
      [1, 3],
      [2, 4],
    ]);
  });

  test("may have another delimiter, no header, and other texts for what is missing", () => {
    const read = parseCsv("1;?\n2;x\n", { delimiter: ";", header: ["n", "t"], missing: ["?"] });
    expect([[...read.numbers("n")], read.texts("t")]).toEqual([
      [1, 2],
      [undefined, "x"],
    ]);
    expect(parseCsv("1\t2\n", { delimiter: "\t", header: false }).names).toEqual(["column 0", "column 1"]);
  });

  test("columns of many texts are text, of few a category, of numbers with something else an error that says where", () => {
    const lines = Array.from({ length: 200 }, (_, i) => `name ${i},${i % 3 === 0 ? "red" : "blue"},${i}`);
    const read = parseCsv(["name,colour,n", ...lines].join("\n"));
    expect(read.schema()).toEqual({ name: "text", colour: "category", n: "numeric" });
    lines[41] = "name 41,red,4l";
    expect(
      complaint(DataError, () => parseCsv(["name,colour,n", ...lines].join("\n"), {}, "people.csv")),
    ).toMatchInlineSnapshot(`
      "people.csv: line 43, column "n": "4l" is no finite number, and 199 of 200 values of the column are
        fix: correct it, name it among the texts that are missing values, or say what the column is: schema: { "n": "text" }"
    `);
  });

  test.each([
    ["", DataError, "it is empty"],
    ["\n\n", DataError, "it is empty"],
    ["a,b\n", DataError, "it has the names of columns and no rows"],
    ["a,b\n1,2\n3\n", FormatError, "line 3 has 1 fields, and there are 2 columns"],
    ["a,b\n1,2,3\n", FormatError, "line 2 has 3 fields, and there are 2 columns"],
    ['a,b\n1,"2\n3,4\n', FormatError, "line 2: a quote is opened and never closed"],
    ['a,b\n"1\n\n",2\n"x"y,4', FormatError, "line 5: a closing quote is followed by something else"],
    ["a,b,a\n1,2,3", FormatError, 'columns 1 and 3 are both called "a"'],
  ])("%j is refused", (text, kind, sentence) => {
    expect(complaint(kind, () => parseCsv(text))).toContain(sentence);
  });

  test.each(["NaN ", "nan", "Infinity", "-Infinity", "1e999", "0x10", "1_000", "1,5", "--1", "1e", "9".repeat(401)])(
    "%# is no number of a numeric column, or missing",
    (text) => {
      const read = () => parseCsv(`a;b\n1;2\n${text};3`, { delimiter: ";", schema: { a: "numeric" } });
      if (text.toLowerCase().startsWith("nan")) expect(read().missing("a")).toBe(1);
      else expect(complaint(DataError, read)).toMatch(/line 3, column "a": ".*" is no finite number/);
    },
  );

  test("hostile names are names", () => {
    const read = parseCsv("__proto__,constructor,toString\n1,2,3\n4,5,6");
    expect([...read.numbers("__proto__")]).toEqual([1, 4]);
    expect(Object.keys(read.schema())).toEqual(["__proto__", "constructor", "toString"]);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const rows = parseJsonLines('{"__proto__": {"polluted": 1}}\n'.replace('{"polluted": 1}', "7"));
    expect([...rows.numbers("__proto__")]).toEqual([7]);
  });

  test("a line of a million columns is refused, one of 20,000 read, in seconds", () => {
    const wide = (text: string, count = 1e6) =>
      Array.from({ length: count }, (_, i) => text.replace("#", String(i))).join(",");
    const start = performance.now();
    expect(complaint(DataError, () => parseCsv(`${wide("c#")}\n${wide("#")}\n`))).toContain("it has 1000000 columns");
    expect(complaint(FormatError, () => parseCsv(`a,b\n${wide("#")}`))).toContain("line 2 has 1000000 fields");
    expect(complaint(FormatError, () => parseCsv(wide("a", 20_000)))).toContain("both called");
    const read = parseCsv(`${wide("c#", 20_000)}\n${wide("#", 20_000)}\n`);
    expect([read.names.length, read.report().length < 20_000]).toEqual([20_000, true]);
    expect(performance.now() - start).toBeLessThan(30_000);
  });

  test("what quotes, delimiters and line ends hold comes back", () => {
    const field = fc.string({ unit: fc.constantFrom("a", "1", '"', ",", "\n", " ", "é", "😀"), maxLength: 6 });
    fc.assert(
      fc.property(fc.array(fc.tuple(field, field), { minLength: 1, maxLength: 6 }), (rows) => {
        const quote = (text: string): string => `"${text.replaceAll('"', '""')}"`;
        const text = `x,y\n${rows.map((row) => row.map(quote).join(",")).join("\n")}\n`;
        const read = parseCsv(text, { schema: { x: "text", y: "text" }, missing: [] });
        expect(read.texts("x").map((x, i) => [x, read.texts("y")[i]])).toEqual(rows);
      }),
      { numRuns: 200 },
    );
  });
});

describe("JSON lines", () => {
  test("give a table; null and absent names are missing", () => {
    const read = parseJsonLines('{"n": 1, "t": "a", "b": true}\n\n{"t": null, "b": false}\r\n{"n": 2.5, "new": "x"}\n');
    expect([...read.numbers("n")]).toEqual([1, Number.NaN, 2.5]);
    expect([read.texts("t"), read.texts("b"), read.texts("new")]).toEqual([
      ["a", undefined, undefined],
      ["true", "false", undefined],
      [undefined, undefined, "x"],
    ]);
    expect(read.placeOf(1)).toBe("line 3 of JSON lines");
  });

  test.each([
    ["", DataError, "it has no rows"],
    ["[1, 2]", FormatError, "line 1 holds an array"],
    ["3", FormatError, "line 1 holds 3"],
    ['{"a": 1}\n{"a": ', FormatError, "line 2 is no JSON"],
    ['{"a": 1}\n{"a": {"b": 1}}', DataError, 'line 2, column "a": it is a record { b }'],
    ['{"a": 1e999}\n{"a": 1}\n{"a": 2}', DataError, "Infinity is no finite number"],
    [`{"a": 1}\n${"[".repeat(100_000)}`, FormatError, "line 2 is no JSON"],
  ])("%# is refused", (text, kind, sentence) => {
    expect(complaint(kind, () => parseJsonLines(text))).toContain(sentence);
  });

  test("rows that share no names do not take all memory", () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `{"name ${i}": 1}`).join("\n");
    expect(complaint(DataError, () => parseJsonLines(lines))).toContain("are more than");
  });
});

describe("a table", () => {
  const rows = Array.from({ length: 20 }, (_, i) => ({
    n: i,
    kind: i < 15 ? "many" : "few",
    t: i === 3 ? null : `t${i}`,
  }));
  const made = (): Table => table(rows, { label: "kind", schema: { n: "numeric", t: "category", kind: "label" } });

  test("is split at random, by the seed, and with equal shares of each class", () => {
    const [first, second] = made().split(0.8, 1, { stratify: true });
    expect([first.length, second.length]).toEqual([16, 4]);
    expect(first.texts("kind").filter((kind) => kind === "few").length).toBe(4);
    expect([...first.numbers("n"), ...second.numbers("n")].sort((a, b) => a - b)).toEqual(rows.map(({ n }) => n));
    expect([...made().split(0.8, 1)[0].numbers("n")]).toEqual([...made().split(0.8, 1)[0].numbers("n")]);
    expect(second.placeOf(0)).toBe(`row ${second.numbers("n")[0]}`);
  });

  test("is dealt into folds, each row held back once", () => {
    const pairs = [...made().folds(5, 0, { stratify: true })];
    expect(pairs.map(({ train, validation }) => [train.length, validation.length])).toEqual(new Array(5).fill([16, 4]));
    for (const { validation } of pairs)
      expect(validation.texts("kind").filter((kind) => kind === "few").length).toBe(1);
    const held = pairs.flatMap(({ validation }) => [...validation.numbers("n")]);
    expect(held.sort((a, b) => a - b)).toEqual(rows.map(({ n }) => n));
    expect(complaint(ConfigError, () => made().folds(1))).toContain("from 2 on");
    expect(complaint(DataError, () => made().folds(6, 0, { stratify: true }))).toContain("has 5 examples");
  });

  test("loses the rows with missing values on request", () => {
    expect([made().dropMissing().length, made().dropMissing(["n"]).length]).toEqual([19, 20]);
  });

  test("refuses names and indices that there are not", () => {
    expect(complaint(ConfigError, () => made().numbers("nn"))).toContain("did you mean n?");
    expect(complaint(ConfigError, () => made().numbers("kind"))).toContain("take its texts");
    expect(complaint(ConfigError, () => made().texts("n"))).toContain("take its numbers");
    expect(complaint(DataError, () => made().take([20]))).toContain("of a table with 20 rows");
    expect(complaint(ConfigError, () => made().split(0.5, 0, { stratify: "n" }))).toContain("take its numbers");
    expect(complaint(ConfigError, () => made().dropMissing("n" as never))).toContain("give an array");
  });

  test("refuses a schema that does not fit", () => {
    const refusal = (options: object, kind: typeof DataError | typeof ConfigError = ConfigError): string =>
      complaint(kind, () => table(rows, options));
    for (const label of ["c", "kk", "列"]) expect(refusal({ label }, DataError)).not.toContain("did you mean");
    expect(refusal({ label: "kinds" }, DataError)).toContain("did you mean kind?");
    expect(refusal({ schema: { n: "number" } })).toContain("give one of numeric");
    expect(refusal({ schema: { n: "label" }, label: "kind" })).toContain('the labels are "n" and "kind"');
    expect(refusal({ schema: { n: "text" }, label: "n" })).toContain("is to be text and label");
    expect(refusal({ labels: "n" })).toContain("did you mean label?");
    expect(refusal({ missing: "NA" })).toContain("give an array of texts");
    expect(complaint(DataError, () => table([1 as never]))).toContain("row 0 is 1");
    expect(complaint(DataError, () => table([{ a: () => 1 }]))).toContain('row 0, column "a": it is a function');
  });
});

test("1,000 mutated texts are read, or refused by an error of ours", () => {
  const pieces = fc.array(
    fc.constantFrom(
      '"',
      ",",
      "\n",
      "\r\n",
      "\r",
      "1",
      "x",
      "NaN",
      "1e400",
      "\uFEFF",
      "\0",
      "__proto__",
      '""',
      " ",
      "😀",
      "{",
      '{"a":1}',
      "[",
      ":",
      "\\",
    ),
    { maxLength: 30 },
  );
  let [read, refused] = [0, 0];
  fc.assert(
    fc.property(pieces, fc.constantFrom("a,b\n", "", "a\n", '{"a": 1}\n'), (list, begin) => {
      for (const parse of [parseCsv, parseJsonLines] as const)
        try {
          const made = parse(begin + list.join(""));
          expect(made.length).toBeGreaterThan(0);
          made.report();
          read++;
        } catch (error) {
          expect(error).toBeInstanceOf(GlissadeError);
          refused++;
        }
    }),
    { numRuns: 1000 },
  );
  expect(Math.min(read, refused)).toBeGreaterThan(100);
});
