/** The native library: whole or refused, and silent about what runs in it. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { expectWhole, koffiFile, libraryFile, loadKoffi } from "../../src/engine/node/library.ts";

const root = path.resolve(import.meta.dirname, "../..");
const scratch = mkdtempSync(path.join(tmpdir(), "glissade-library-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs a program of Node; gives what it wrote and its exit code. */
async function run(words: readonly string[], env: NodeJS.ProcessEnv): Promise<{ code: number; output: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, words, { env });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const { code, signal, stdout, stderr } = error as { code: number; signal: unknown; stdout: string; stderr: string };
    return { code, output: `${signal ?? ""}${stdout}${stderr}` };
  }
}

describe.runIf(process.platform !== "win32")("telemetry", () => {
  /** What a scenario of telemetry-child.mjs leaves in folders that were empty, and the sockets that it has open. */
  async function traces(scenario: string): Promise<readonly string[]> {
    const home = mkdtempSync(path.join(scratch, `${scenario}-`));
    const [cache, temporary] = ["cache", "tmp"].map((name) => path.join(home, name));
    for (const folder of [cache!, temporary!]) mkdirSync(folder);
    // No other variables: ONNX Runtime keeps quiet where one says that a build server is at work.
    const env = { PATH: process.env.PATH, HOME: home, XDG_CACHE_HOME: cache, TMPDIR: temporary };
    const { code, output } = await run([path.join(import.meta.dirname, "telemetry-child.mjs"), scenario], env);
    expect([code, output.replace(/^sockets: .*\n/m, "")]).toEqual([0, ""]);
    const files = readdirSync(home, { recursive: true }).map(String);
    const sockets = /^sockets: (.+)$/m.exec(output)?.[1]?.split(" ") ?? [];
    return [...files.filter((name) => name !== "cache" && name !== "tmp"), ...sockets];
  }

  test.each(["main", "worker", "binding", "binding-in-worker"])("a process leaves no trace: %s", async (scenario) => {
    expect(await traces(scenario)).toEqual([]);
  });

  test("would be seen: the library by itself leaves files", async () => {
    expect((await traces("library-alone")).length).toBeGreaterThan(0);
  });
});

describe.runIf(process.platform === "linux")("a library that is not whole", () => {
  loadKoffi();
  const whole = koffiFile();

  test("is told by its headers, wherever it was cut off", () => {
    expectWhole(libraryFile());
    expectWhole(whole);
    const bytes = readFileSync(whole);
    for (const length of [64, 1000, 4096, bytes.length >> 1, bytes.length - 1]) {
      const cut = path.join(scratch, `cut-${length}.so`);
      writeFileSync(cut, bytes.subarray(0, length));
      expect(() => expectWhole(cut)).toThrow(/has \d+ bytes of at least \d+: it is incomplete/);
    }
    for (const length of [0, 3]) {
      const cut = path.join(scratch, `cut-${length}.so`);
      writeFileSync(cut, bytes.subarray(0, length));
      expect(() => expectWhole(cut)).toThrow(/is no library/);
    }
  });

  /** A copy of the build whose onnxruntime-node is changed. */
  function installation(name: string, change: (library: string) => void): string {
    const folder = path.join(scratch, name);
    cpSync(path.join(root, "dist"), path.join(folder, "dist"), { recursive: true });
    cpSync(path.join(root, "package.json"), path.join(folder, "package.json"));
    const modules = path.join(folder, "node_modules");
    mkdirSync(modules);
    for (const entry of readdirSync(path.join(root, "node_modules")))
      if (entry !== "onnxruntime-node") symlinkSync(path.join(root, "node_modules", entry), path.join(modules, entry));
    const [from, to] = [root, folder].map((base) => path.join(base, "node_modules/onnxruntime-node"));
    const library = path.relative(path.join(root, "node_modules/onnxruntime-node"), libraryFile());
    mkdirSync(path.join(to!, path.dirname(library)), { recursive: true });
    cpSync(path.join(from!, "package.json"), path.join(to!, "package.json"));
    change(path.join(to!, library));
    return path.join(folder, "dist/cli/main.js");
  }

  const train = (program: string, engine?: string) =>
    run([program, "train", "digits", "--epochs", "1"], {
      ...process.env,
      GLISSADE_ENGINE: engine,
      NO_COLOR: "1",
    });

  test.each([undefined, "direct", "binding"])("missing: a sentence with the fix, engine %s", async (engine) => {
    const { code, output } = await train(
      installation(`missing-${engine}`, () => {}),
      engine,
    );
    expect(code).toBe(1);
    expect(output).toMatch(
      /^EngineError: node engine: \S+libonnxruntime.so.1 is missing\n {2}fix: remove the folder node/m,
    );
  });

  test.each([undefined, "binding"])("cut off: a sentence with the fix, engine %s", async (engine) => {
    const program = installation(`cut-${engine}`, (library) =>
      writeFileSync(library, readFileSync(libraryFile()).subarray(0, 20_000_000)),
    );
    const { code, output } = await train(program, engine);
    expect(code).toBe(1);
    expect(output).toMatch(
      /^EngineError: node engine: \S+ has 20000000 bytes of at least \d+: it is incomplete\n {2}fix: remove/m,
    );
  });
});
