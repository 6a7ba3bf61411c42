/** Documentation runs: every ```ts block of the README and the guides is compiled and executed. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { extractExamples, matches, type Outcome, Workshop } from "./support/examples.ts";

const root = path.dirname(import.meta.dirname);

const documents = [
  "README.md",
  ...readdirSync(path.join(root, "docs"), { recursive: true, encoding: "utf8" })
    // The index of the API holds declarations, not examples: test/api.test.ts.
    .filter((file) => file.endsWith(".md") && !file.startsWith("api"))
    .map((file) => path.posix.join("docs", file.replaceAll(path.sep, "/"))),
];
const documented = documents.flatMap((file) => extractExamples(readFileSync(path.join(root, file), "utf8"), file));

/** Examples that the extractor itself is tested with. */
const sample = `
Prose.

\`\`\`ts
import { tensor } from "glissade";
const x = tensor([1, 2]);
console.log(await x.add(1).array(), Math.random());
\`\`\`

It prints:

\`\`\`text
[ 2, 3 ] …
\`\`\`

And then:

\`\`\`ts continue
console.log("one");
console.log("two", await x.array());
\`\`\`

\`\`\`text
…
two [ 1, 2 ]
\`\`\`

\`\`\`ts
console.log("what is");
\`\`\`

\`\`\`text
what should be
\`\`\`

\`\`\`text
a block that belongs to the prose
\`\`\`

- \`\`\`ts no-run
  import { tensor } from "glissade";
  // @ts-expect-error a name is no number
  tensor([["a"]]);
  throw new Error("must not run");
  \`\`\`

\`\`\`ts
const good = 1;

const bad: string = good;
\`\`\`

\`\`\`ts
throw new Error("as every example may");
\`\`\`

~~~sh
\`\`\`ts
~~~
`;
const samples = extractExamples(sample, "sample.md");

const examples = [...documented, ...samples];
let workshop: Workshop;

beforeAll(async () => {
  if (!existsSync(path.join(root, "dist/node.js"))) throw new Error("Examples import the build: npm run build");
  workshop = await Workshop.open(root, examples);
});

afterAll(async () => {
  await workshop?.close();
});

describe("the documentation", () => {
  test("shows examples", () => {
    expect(documented.length).toBeGreaterThan(0);
  });

  test.each(documented.map((example) => [example.name, example] as const))("%s", async (_, example) => {
    expect(await workshop.try(example, examples.indexOf(example))).toEqual({ typeErrors: [], failure: undefined });
  });
});

describe("an example", () => {
  const outcome = (index: number): Promise<Outcome> => workshop.try(samples[index]!, documented.length + index);

  test("is found with its continuation and its expected output", () => {
    expect(samples.map(({ name, runs, expected }) => [name, runs, expected])).toEqual([
      ["sample.md:4", true, "[ 2, 3 ] …\n…\ntwo [ 1, 2 ]\n"],
      ["sample.md:28", true, "what should be\n"],
      ["sample.md:40", false, undefined],
      ["sample.md:47", true, undefined],
      ["sample.md:53", true, undefined],
    ]);
  });

  test("passes when it prints what it should", async () => {
    expect(await outcome(0)).toEqual({ typeErrors: [], failure: undefined });
  });

  test("fails when it prints something else", async () => {
    expect(await outcome(1)).toEqual({
      typeErrors: [],
      failure: "sample.md:28 printed\nwhat is\ninstead of\nwhat should be\n",
    });
  });

  test("is only type-checked when it must not run", async () => {
    expect(await outcome(2)).toEqual({ typeErrors: [], failure: undefined });
  });

  test("fails when it does not compile, at the line of the document", async () => {
    expect((await outcome(3)).typeErrors).toEqual([
      "sample.md:50: error TS2322: Type 'number' is not assignable to type 'string'.",
    ]);
  });

  test("fails when it throws", async () => {
    expect((await outcome(4)).failure).toContain("as every example may");
  });

  test.each([
    ["```ts norun\n```", '"ts norun" is unknown'],
    ["```ts continue\n```", "there is no block that this one could continue"],
    ["```typescript\n```", 'a block in "typescript" is never run'],
    ["\n```ts\nconst x = 1;", "bad.md:2: this block is never closed"],
  ])("must be marked rightly: %j", (markdown, problem) => {
    expect(() => extractExamples(markdown, "bad.md")).toThrow(problem);
  });
});

describe("expected output", () => {
  test.each([
    ["a\nb", "a\nb\n", true],
    ["a\nb", "a\nc\n", false],
    ["a", "a\nb\n", false],
    ["a (b)* […]", "a (b)* [12, 3]\n", true],
    ["a … c", "a b\nc\n", false],
    ["…\nc", "a\nb\nc\n", true],
    ["a\n…", "a\n", true],
    ["…\nc", "a\nb\n", false],
  ])("%j and output %j: %s", (expected, output, same) => {
    expect(matches(expected, output)).toBe(same);
  });
});
