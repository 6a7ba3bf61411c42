/** The folder of compiled programs: what is read is what was written, and nothing else is read. */
import { execFile } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test, vi } from "vitest";
import type { KeptProgram } from "../../src/engine/engine.ts";
import { readEnvironment } from "../../src/engine/node/environment.ts";
import { ProgramFolder } from "../../src/engine/node/programs.ts";
import { ConfigError } from "../../src/errors.ts";
import { nodeEngine } from "../../src/node.ts";

const root = mkdtempSync(path.join(tmpdir(), "glissade-programs-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

let folders = 0;
const newFolder = (): string => path.join(root, `${folders++}`);

/** A program with numbers that JSON cannot hold. */
const program = (bytes: number = 100): KeptProgram => ({
  inputs: [{ name: "input0", type: { shape: [2, 3], dtype: "float32" } }],
  outputs: [{ name: "output0", type: { shape: [], dtype: "float32" } }],
  size: 3,
  inPlace: new Map([[0, 0]]),
  kernels: [
    {
      name: "kernel0",
      kernel: { inputs: ["full"], steps: [-0, Number.NaN, Number.NEGATIVE_INFINITY], outputs: [1], size: 6, width: 6 },
      shapes: [[2, 3]],
    },
  ],
  model: Uint8Array.from({ length: bytes }, (_, i) => i % 251),
});

const files = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith(".program"));

/** Keeps a program and waits for its file. */
async function kept(
  folder: string,
  key: string,
  given: KeptProgram = program(),
  limit?: number,
): Promise<ProgramFolder> {
  const store = new ProgramFolder(folder, "build", "node", limit);
  store.put(key, given);
  await vi.waitFor(() => expect(store.get(key)).toBeDefined(), { timeout: 5000 });
  return store;
}

describe("a folder of programs", () => {
  test("gives what was kept, to other processes of the same build alone", async () => {
    const folder = newFolder();
    await kept(folder, "graph");
    expect(new ProgramFolder(folder, "build", "node").get("graph")).toEqual(program());
    expect(new ProgramFolder(folder, "other build", "node").get("graph")).toBeUndefined();
    expect(new ProgramFolder(folder, "build", "node-binding").get("graph")).toBeUndefined();
    expect(new ProgramFolder(folder, "build", "node").get("graph ")).toBeUndefined();
  });

  test("a file that was damaged or cut anywhere is not read", async () => {
    const folder = newFolder();
    const store = await kept(folder, "graph");
    const [name] = files(folder);
    const file = path.join(folder, name!);
    const whole = readFileSync(file);
    for (let length = 0; length < whole.length; length += 7) {
      writeFileSync(file, whole.subarray(0, length));
      expect(store.get("graph")).toBeUndefined();
    }
    for (let at = 0; at < whole.length; at += 5) {
      const damaged = Buffer.from(whole);
      damaged[at]! ^= 1;
      writeFileSync(file, damaged);
      expect(store.get("graph")).toBeUndefined();
    }
    writeFileSync(file, whole);
    expect(store.get("graph")).toEqual(program());
  });

  test("into which others can write is not used", async () => {
    const folder = newFolder();
    const store = await kept(folder, "graph");
    chmodSync(folder, 0o777);
    expect(store.get("graph")).toBeUndefined();
    store.put("another", program());
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(files(folder)).toHaveLength(1);
    chmodSync(folder, 0o700);
    expect(store.get("graph")).toBeDefined();
  });

  test("that cannot be made, or is a file, keeps nothing and throws nothing", async () => {
    mkdirSync(root, { recursive: true });
    const file = path.join(root, "a-file");
    writeFileSync(file, "");
    for (const folder of [file, path.join(file, "inside"), "/proc/nothing/here"]) {
      const store = new ProgramFolder(folder, "build", "node");
      store.put("graph", program());
      store.delete("graph");
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(store.get("graph")).toBeUndefined();
    }
  });

  test("has a limit: the files used least recently are deleted", async () => {
    const folder = newFolder();
    const names: string[] = [];
    for (const key of ["a", "b", "c", "d", "e", "f"]) {
      await kept(folder, key, program(10_000), 10 ** 6);
      names.push(files(folder).find((name) => !names.includes(name))!);
    }
    await new Promise((resolve) => setTimeout(resolve, 100)); //  the reads above have set the times of their files
    for (const [i, name] of names.entries()) {
      const then = Date.now() / 1000 - 100 + i;
      utimesSync(path.join(folder, name), then, then);
    }
    expect(new ProgramFolder(folder, "build", "node").get("a")).toBeDefined(); //  now it is the one used last
    await new Promise((resolve) => setTimeout(resolve, 50));
    const store = await kept(folder, "g", program(10_000), 64_000);
    await vi.waitFor(() => expect(files(folder)).toHaveLength(4), { timeout: 5000 });
    for (const key of ["b", "c", "d"]) expect(store.get(key)).toBeUndefined();
    for (const key of ["a", "e", "f", "g"]) expect(store.get(key)).toBeDefined();
    // The same process looks again once it has written the rest of the limit.
    for (const key of ["h", "i", "j", "k"]) await kept(folder, key, program(10_000), 64_000);
    for (const key of ["l", "m", "n", "o"]) store.put(key, program(10_000));
    await vi.waitFor(
      () => {
        expect(readdirSync(folder).length).toBeLessThanOrEqual(6);
        expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
      },
      { timeout: 5000 },
    );
  });

  test("that is reached by a link is used", async () => {
    const [folder, link] = [newFolder(), newFolder()];
    mkdirSync(folder, { mode: 0o700 });
    symlinkSync(folder, link);
    await kept(link, "graph");
    expect(files(folder)).toHaveLength(1);
  });
});

test("a user without a home folder has no store, and everything else", async () => {
  const code = `
    import os from "node:os";
    import { syncBuiltinESMExports } from "node:module";
    os.homedir = () => { throw new Error("uv_os_homedir returned ENOENT"); };
    syncBuiltinESMExports();
    delete process.env.XDG_CACHE_HOME;
    const { tensor } = await import(${JSON.stringify(path.resolve("dist/node.js"))});
    console.log((await tensor([1, 2]).mul(2).array()).join());`;
  const words = ["--input-type=module", "--eval", code];
  expect((await promisify(execFile)(process.execPath, words)).stdout).toBe("2,4\n");
});

test("GLISSADE_CACHE_DIR is a folder or off", () => {
  expect(readEnvironment({}).cacheDir).toBeUndefined();
  expect(readEnvironment({ GLISSADE_CACHE_DIR: "off" }).cacheDir).toBe(false);
  expect(readEnvironment({ GLISSADE_CACHE_DIR: "some/folder" }).cacheDir).toBe("some/folder");
  expect(() => readEnvironment({ GLISSADE_CACHE_DIR: "" })).toThrow(ConfigError);
  expect(() => nodeEngine({ cacheDir: "" })).toThrow(ConfigError);
});

const script = `
import { adam, compile, nodeEngine, seed, tensor, transformerEncoder, useEngine } from "GLISSADE";
useEngine(nodeEngine({ threads: 1 }));
seed(1);
const model = transformerEncoder(16, 2, { layers: 2, feedForwardSize: 32 });
const optimizer = adam(model);
const step = compile((x) => { const loss = model(x).square().mean(); optimizer.minimize(loss); return loss; });
const losses = [];
for (const length of [5, 5, 9, 5, 7]) losses.push(await step(tensor(Float32Array.from({ length: 2 * length * 16 }, (_, i) => Math.cos(i))).reshape([2, length, 16])).item());
console.log(JSON.stringify(losses));
`;

test("the built package keeps what it compiles, and a second process takes it: the same bits", {
  timeout: 60_000,
}, async () => {
  const folder = newFolder();
  const file = path.join(root, "script.mjs");
  writeFileSync(file, script.replace("GLISSADE", path.resolve("dist/node.js")));
  const run = (cacheDir: string): Promise<{ stdout: string; stderr: string }> =>
    promisify(execFile)(process.execPath, [file], {
      env: { ...process.env, GLISSADE_CACHE_DIR: cacheDir, GLISSADE_DEBUG: "1" },
    });
  const without = await run("off");
  const first = await run(folder);
  expect(files(folder).length).toBeGreaterThan(0);
  const second = await run(folder);
  expect(first.stdout).toBe(without.stdout);
  expect(second.stdout).toBe(without.stdout);
  expect(first.stderr).not.toContain("kept by an earlier process");
  expect(second.stderr).toContain("kept by an earlier process");
});
