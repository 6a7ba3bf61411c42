/**
 * Makes `dist/`: declarations by TypeScript, code by esbuild. An import of many small files takes longer than all code that they hold, so
 * the code is in few files, in `dist/lib/`; what programs import or run has the place of its source, and imports those.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { build } from "esbuild";

const root = import.meta.dirname;
const dist = path.join(root, "dist");

/** What is imported or started by its path, and whether it exports anything. */
const doors = {
  "node.ts": true,
  "index.ts": true,
  "cli/main.ts": false,
  "cli/typescript.ts": true,
  "cli/typescript-hooks.ts": true,
  "train/node/worker.ts": false,
};

/** A file that looks for others beside it looks from its own place in `dist/`, wherever its code lies. */
const places = {
  name: "places",
  setup({ onLoad }) {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path: file }) => {
      const code = readFileSync(file, "utf8");
      // With a fallback for CommonJS it only asks for any place in the package.
      if (!/import\.meta\.url(?! \?\?)/.test(code)) return undefined;
      const place = path.posix.join("..", path.relative(path.join(root, "src"), file).split(path.sep).join("/"));
      const url = `new URL(${JSON.stringify(place.replace(/\.ts$/, ".js"))}, import.meta.url).href`;
      return { contents: code.replace(/import\.meta\.url(?! \?\?)/g, url), loader: "ts" };
    });
  },
};

const { dependencies, peerDependencies } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));

/** Packages whose code every import needs: in our few files it is there sooner. THIRD-PARTY-NOTICES.txt has their licences. */
const included = ["@bufbuild/protobuf", "onnx-buf", "papaparse"];

/** A text that differs when a source file or a package's version differs: compiled programs of one build are not for another. */
function buildOf() {
  const hash = createHash("sha256");
  const files = readdirSync(path.join(root, "src"), { recursive: true }).filter((file) => file.endsWith(".ts"));
  for (const file of ["package-lock.json", ...files.map((file) => path.join("src", file)).sort()])
    hash.update(`${file}\0`).update(readFileSync(path.join(root, file)));
  return hash.digest("hex").slice(0, 16);
}

rmSync(dist, { recursive: true, force: true });
const compiler = createRequire(import.meta.url)
  .resolve("typescript/package.json")
  .replace(/package\.json$/, "bin/tsc");
execFileSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" });
await build({
  entryPoints: Object.fromEntries(Object.keys(doors).map((door) => [path.basename(door, ".ts"), `src/${door}`])),
  absWorkingDir: root,
  outdir: "dist/lib",
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "es2022",
  external: Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => !included.includes(name)),
  define: { GLISSADE_BUILD: JSON.stringify(buildOf()) },
  sourcemap: true,
  sourcesContent: false,
  logLevel: "warning",
  plugins: [places],
});
// Source maps lead to src/, which is in the package; of files that are not, they hold the content.
for (const name of readdirSync(path.join(dist, "lib")).filter((file) => file.endsWith(".map"))) {
  const file = path.join(dist, "lib", name);
  const map = JSON.parse(readFileSync(file, "utf8"));
  const isOurs = (source) => source.startsWith("../../src/");
  if (map.sources.every(isOurs)) continue;
  const content = (source) => (isOurs(source) ? null : readFileSync(path.resolve(dist, "lib", source), "utf8"));
  writeFileSync(file, JSON.stringify({ ...map, sourcesContent: map.sources.map(content) }));
}
for (const [door, isModule] of Object.entries(doors)) {
  const file = path.join(dist, door.replace(/\.ts$/, ".js"));
  const code = path
    .relative(path.dirname(file), path.join(dist, "lib", path.basename(file)))
    .split(path.sep)
    .join("/");
  const from = JSON.stringify(code.startsWith(".") ? code : `./${code}`);
  const [start] = /^#!.*\n/.exec(readFileSync(path.join(root, "src", door), "utf8")) ?? [""];
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `${start}${isModule ? `export * from ${from}` : `import ${from}`};\n`);
  if (start) chmodSync(file, 0o755);
}
