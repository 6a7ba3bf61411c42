/** `glissade check` on modules that throw what they like, wait for ever or lie about themselves: a sentence and exit code 1. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadSubject } from "../../src/cli/subject.ts";
import { ConfigError } from "../../src/errors.ts";

const command = path.resolve(import.meta.dirname, "../../dist/cli/main.js");
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-modules-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

interface Outcome {
  readonly code: number | null;
  readonly err: string;
}

async function saved(module: string): Promise<string> {
  const file = path.join(folder, `${process.hrtime.bigint()}.mjs`);
  await writeFile(file, module);
  return file;
}

async function check(module: string, ...options: readonly string[]): Promise<Outcome> {
  return run("check", await saved(module), "data", ...options);
}

function run(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      [command, ...args],
      { env: { ...process.env, NO_COLOR: "1" }, timeout: 30_000 },
      (_, _out, err) => resolve({ code: child.exitCode, err: err.replaceAll(folder, "FOLDER") }),
    );
  });
}

const cases: readonly (readonly [what: string, module: string, sentence: RegExp])[] = [
  ["throws null", "throw null", /cannot be imported: thrown: null/],
  ["throws undefined", "throw undefined", /cannot be imported: thrown: undefined/],
  ["throws an object without a prototype", "throw Object.create(null)", /a value that cannot be shown as text/],
  [
    "throws an error whose message throws",
    "throw { get message() { throw 1 }, toString() { throw 2 } }",
    /cannot be shown/,
  ],
  ["throws a proxy", "throw new Proxy({}, { getPrototypeOf() { throw null } })", /cannot be shown/],
  ["throws an error without a stack", "const e = new Error('x'); e.stack = null; throw e", /Error: x/],
  ["throws codes", "throw new Error('\\u001b[2J\\n  fix: trust me')", /Error: \\u001b\[2J\\n {2}fix: trust me/],
  ["its function throws null", "export default () => { throw null }", /throws when it is called: thrown: null/],
  ["its function rejects with undefined", "export default () => Promise.reject()", /thrown: undefined/],
  ["its promise rejects with null", "export default Promise.reject(null)", /cannot be awaited: thrown: null/],
  [
    "a getter throws",
    "export default { get model() { throw new Error('no model') } }",
    /when it is read: Error: no model/,
  ],
  ["a getter throws null", "export default { get model() { throw null } }", /when it is read: thrown: null/],
  ["its then throws", "export default { get then() { throw null } }", /cannot be awaited: thrown: null/],
  ["a proxy as setup", "export default new Proxy({}, { get() { throw null } })", /cannot be awaited: thrown: null/],
  ["exports null", "export default null", /the setup is null/],
];

test.each(cases)("%s", async (_, module, sentence) => {
  const file = await saved(module);
  const error: unknown = await loadSubject(file, { seconds: 30 }).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ConfigError);
  expect((error as ConfigError).message).toMatch(sentence);
});

test.concurrent.each([
  ["never settles while it is imported", "await new Promise(() => {})", /waits for something that never comes/],
  ["its function never settles", "export default () => new Promise(() => {})", /waits for something that never comes/],
  [
    "a promise fails that nobody waits for",
    "Promise.reject(null); await new Promise((r) => setTimeout(r, 1000))",
    /null/,
  ],
  [
    "a timer throws null",
    "setTimeout(() => { throw null }); await new Promise((r) => setTimeout(r, 1000))",
    /thrown: null/,
  ],
  ["throws a proxy", "throw new Proxy({}, { getPrototypeOf() { throw null } })", /cannot be shown/],
])("as a process: %s", async (_, module, sentence) => {
  const { code, err } = await check(module);
  expect(err).toMatch(sentence);
  expect(err.replaceAll("\n", "")).not.toMatch(/\p{Cc}/u);
  expect(code).toBe(1);
});

test("waits for longer than it may", async () => {
  const { code, err } = await check("setInterval(() => {}, 1000); await new Promise(() => {})", "--timeout", "1");
  expect(err.replace(/\d+\.mjs/, "MODULE")).toMatchInlineSnapshot(`
    "ConfigError: FOLDER/MODULE: its setup is not there after 1 s
      fix: look for what it waits for, or give it more time: --timeout 600
    "
  `);
  expect(code).toBe(1);
});

test("an option with control codes is quoted in one line", async () => {
  const { code, err } = await run("check", "--\u001b[2J\n  fix: trust me");
  expect(err).toContain("error: unknown option '--\\u001b[2J\\n  fix: trust me'\n");
  expect(err).not.toContain("\u001b");
  expect(code).toBe(1);
});
