/** Programs that a bundler has put into one file, and what the published package holds. */
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { type BuildOptions, build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = path.resolve(import.meta.dirname, "..");
const run = promisify(execFile);
// Where a program finds the native packages, which no bundler can put into a file.
const folder = path.join(root, `node_modules/.cache/glissade/bundles-${process.pid}`);

const program = `
import { adam, compile, linear, loadMnist, meanSquaredError, nodeEngine, seed, tensor, useEngine } from "glissade";
seed(1);
const model = linear(1, 1);
const optimizer = adam(model, { learningRate: 0.1 });
const x = tensor([[1], [2]]);
const step = compile((input) => {
  const loss = meanSquaredError(model(input), input);
  optimizer.minimize(loss);
  return loss;
});
async function main() {
  for (const implementation of ["direct", "binding"]) {
    useEngine(nodeEngine({ implementation }));
    for (let i = 0; i < 200; i++) await step(x).item();
    console.log((await step(x).item()) < 1e-3);
  }
  console.log((await loadMnist()).train.length);
}
void main();
`;

beforeAll(() => mkdirSync(folder, { recursive: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const forms: readonly (readonly [string, BuildOptions])[] = [
  ["CommonJS", { format: "cjs", outfile: path.join(folder, "bundle.cjs") }],
  ["an ES module", { format: "esm", outfile: path.join(folder, "bundle.mjs") }],
  ["CommonJS, minified", { format: "cjs", minify: true, outfile: path.join(folder, "small.cjs") }],
];

test.each(forms)("a program that esbuild bundles as %s runs", async (_, options) => {
  await build({
    ...options,
    stdin: { contents: program, resolveDir: root },
    bundle: true,
    platform: "node",
    alias: { glissade: path.join(root, "dist/node.js") },
    logLevel: "silent",
  });
  const { stdout, stderr } = await run(process.execPath, [options.outfile!]);
  expect([stdout, stderr]).toEqual(["true\ntrue\n8000\n", ""]);
});

describe("the published package", () => {
  interface Manifest {
    readonly version: string;
    readonly bin: Readonly<Record<string, string>>;
    readonly dependencies: Readonly<Record<string, string>>;
  }
  const manifest = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as Manifest;
  let files: readonly string[];

  beforeAll(async () => {
    const { stdout } = await run("npm", ["pack", "--dry-run", "--json"], { cwd: root });
    const [{ files: packed }] = JSON.parse(stdout) as [{ files: readonly { path: string }[] }];
    files = packed.map((file) => file.path);
  });

  test("holds every page that its README and docs point to", () => {
    const pages = files.filter((file) => file.endsWith(".md"));
    expect(pages).toContain("docs/reliability.md");
    const missing = pages.flatMap((page) => {
      const links = [...readFileSync(path.join(root, page), "utf8").matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)];
      return links
        .map(([, link]) => path.posix.join(path.posix.dirname(page), link!))
        .filter((link) => !files.includes(link) && existsSync(path.join(root, link)))
        .map((link) => `${page} → ${link}`);
    });
    expect(missing).toEqual([]);
  });

  test("holds what its source maps point to, and the licences of what its code includes", () => {
    expect(files).toContain("THIRD-PARTY-NOTICES.txt");
    const maps = files.filter((file) => file.endsWith(".map"));
    expect(maps.length).toBeGreaterThan(20);
    for (const map of maps) {
      const { sources, sourcesContent = [] } = JSON.parse(readFileSync(path.join(root, map), "utf8")) as {
        sources: readonly string[];
        sourcesContent?: readonly (string | null)[];
      };
      for (const [i, source] of sources.entries())
        if (!sourcesContent[i]) expect(files).toContain(path.posix.join(path.posix.dirname(map), source));
    }
  });

  test("names exact versions of what is native, and no others are tested", () => {
    for (const name of ["koffi", "onnxruntime-node"]) {
      const installed = path.join(root, "node_modules", name, "package.json");
      expect(manifest.dependencies[name]).toBe((JSON.parse(readFileSync(installed, "utf8")) as Manifest).version);
    }
  });

  test("says its version on the command line", async () => {
    const { stdout } = await run(process.execPath, [path.join(root, manifest.bin.glissade!), "--version"]);
    expect(stdout).toBe(`${manifest.version}\n`);
  });
});
