/** `glissade check` as a person runs it: the built command in a process of its own, on the recipe and on modules. */
import { type ExecFileException, execFile } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";

const root = path.resolve(import.meta.dirname, "../..");
const command = path.join(root, "dist/cli/main.js");

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function glissade(...args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: path.join(import.meta.dirname, "setups"), env: { ...process.env, NO_COLOR: "1" } };
    execFile(process.execPath, [command, ...args], options, (error: ExecFileException | null, out, err) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err }),
    );
  });
}

const names = ["data", "initial-loss", "gradients", "mixing", "overfit", "baseline", "learning-rate"];

beforeAll(() => {
  if (!existsSync(command)) throw new Error("The command is part of the build: npm run build");
});

describe("the recipe", () => {
  test("passes every check, and a curve is drawn", async () => {
    const { code, out, err } = await glissade("check");
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^Sanity checks of digits\n235,146 parameters · adam, learning rate 0.002 · batches of 64/);
    for (const name of names) expect(out).toContain(`✓ ${name.padEnd(13)}  `);
    expect(out).toContain("●");
    expect(out).toMatch(/1e-7 +1e-6 +1e-5/);
    expect(out).toMatch(/\n7 passed\n$/);
    expect(out).not.toContain("\u001B[");
  });

  test("as JSON: a line for each check, in order, and the same numbers for the same seed", async () => {
    const first = await glissade("check", "digits", "--json");
    expect([first.code, first.err]).toEqual([0, ""]);
    const reports = first.out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(reports.map(({ check, verdict }) => [check, verdict])).toEqual(names.map((name) => [name, "pass"]));
    expect((await glissade("check", "--json")).out).toBe(first.out);
  });

  test("some checks alone, whatever their order", async () => {
    const { code, out } = await glissade("check", "overfit", "digits", "data", "--json", "--seed", "3");
    expect(code).toBe(0);
    expect(
      out
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line).check),
    ).toEqual(["data", "overfit"]);
    const other = await glissade("check", "overfit", "--json");
    expect(other.out).not.toBe(out.split("\n")[1]);
  });
});

describe("modules of one's own", () => {
  test("a good one passes, and its batch normalisation is explained", async () => {
    const { code, out } = await glissade("check", "./digits.mjs");
    expect(out).toContain("Sanity checks of ./digits.mjs");
    expect(out).toContain("batch normalisation does that by what it is: 1");
    expect(out).toMatch(/\n7 passed\n$/);
    expect(code).toBe(0);
  });

  test("a bad one fails, check by check", async () => {
    const { code, out } = await glissade("check", "wrong.mjs");
    expect(code).toBe(1);
    const flat = out.replace(/\s+/g, " ");
    for (const part of [
      "the targets come in 10 runs of equal ones",
      "3 of 3 validation examples with the inputs of a training example",
      "it is about 64 times too large",
      "outputs depend on other examples of the batch: all of them on all",
      "your rate is where the training breaks down",
    ])
      expect(flat).toContain(part);
    expect(out).toMatch(/\n\d passed, .*\d failed\n$/);
  });

  test("what the setup's functions throw is said with the check, the others go on", async () => {
    const { code, out } = await glissade("check", "data", "initial-loss", "narrow.mjs");
    expect(code).toBe(1);
    expect(out).toContain("✓ data");
    expect(out).toContain("✗ initial-loss   could not be made");
    expect(out).toContain("ShapeError: linear: x [64, 784] ends in 784, the weight [10, 700] takes 700");
    expect(out).toContain("1 passed, 1 failed");

    const slip = await glissade("check", "overfit", "slip.mjs");
    expect(slip.code).toBe(1);
    expect(slip.out).toMatch(/TypeError: .*crossEntrpy is not a function\n +at .*slip\.mjs:7:\d+\)\n$/);
    const json = JSON.parse((await glissade("check", "overfit", "slip.mjs", "--json")).out);
    expect(json).toMatchObject({ check: "overfit", verdict: "error", error: { name: "TypeError" } });
  });

  test("in JSON nothing becomes null", async () => {
    const { code, out } = await glissade("check", "initial-loss", "overfit", "nan.mjs", "--json");
    expect(code).toBe(1);
    const [initial, overfit] = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(initial).toMatchObject({ verdict: "fail", observed: "NaN", ratio: "NaN" });
    expect(overfit).toMatchObject({ verdict: "fail", losses: ["NaN"] });
  });

  test("TypeScript", async () => {
    const { code, out } = await glissade("check", "initial-loss", "typed.ts");
    expect([code, out]).toEqual([0, expect.stringContaining("✓ initial-loss")]);
  });
});

describe("what is no setup", () => {
  test.each([
    ["there is no such file", "nowhere.mjs", "ConfigError: nowhere.mjs: there is no such file\n  fix: give a module"],
    ["a folder", ".", "ConfigError: .: there is no such file"],
    ["another word", "overfitt", "overfitt is no check, no recipe and no file\n  fix: checks: data, initial-loss"],
    ["a module without a default", "named.mjs", "it has no default export, and exports model"],
    ["a module that needs another", "missing.mjs", "cannot be imported: Error: Cannot find package 'no-such-package'"],
    ["a module that throws", "throws.mjs", "its default export throws when it is called: TypeError: Cannot read"],
  ])("%s", async (_, subject, message) => {
    const { code, out, err } = await glissade("check", subject);
    expect([code, out]).toEqual([1, ""]);
    expect(err).toContain(message);
    expect(err).toContain("\n  fix: ");
    expect(err).not.toContain("dist/cli");
  });

  test("two of them", async () => {
    expect((await glissade("check", "digits", "digits.mjs")).err).toContain("digits and digits.mjs are several things");
  });
});

test("the help names every check", async () => {
  const { code, out } = await glissade("check", "--help");
  expect(code).toBe(0);
  for (const name of names) expect(out).toContain(`\n  ${name} `);
});
