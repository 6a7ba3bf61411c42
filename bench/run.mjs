/** Bundles the TypeScript beside it, with packages and Glissade's build left outside, and starts the driver, or another of them. */
import path from "node:path";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = path.dirname(import.meta.dirname);
const outdir = path.join(root, "node_modules/.cache/glissade-bench");

/** Builds bundles; `glissade` is imported from a build, and the servers' workloads come from a file. */
const bundle = (entryPoints, outdir, { distribution, workloads }) =>
  build({
    entryPoints,
    absWorkingDir: root,
    outdir,
    entryNames: "[name]",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    packages: "external",
    sourcemap: true,
    logLevel: "warning",
    plugins: [
      {
        name: "glissade-from-dist",
        setup({ onResolve }) {
          onResolve({ filter: /^glissade$/ }, () => ({ path: pathToFileURL(distribution).href, external: true }));
          onResolve({ filter: /^\.\/ours\.ts$/ }, () => ({ path: workloads }));
        },
      },
    ],
  });

await bundle(
  [
    "bench/driver.ts",
    "bench/against.ts",
    "bench/profile.ts",
    "bench/overhead.ts",
    "bench/lens.ts",
    "bench/loops.ts",
    "bench/loaders.ts",
    "bench/fit.ts",
    "bench/startup.ts",
    "bench/start.ts",
    "bench/first-step.ts",
    "bench/updates.ts",
    "bench/sums.ts",
    "bench/products.ts",
    "bench/axes.ts",
    "bench/text.ts",
    "bench/decode.ts",
    "bench/batches.ts",
    "bench/bleu.ts",
    "bench/decode-ours.ts",
    "docs/figures/draw.ts",
    "bench/ours-server.ts",
    "bench/peers/tfjs-steps.ts",
  ],
  outdir,
  { distribution: path.join(root, "dist/node.js"), workloads: path.join(root, "bench/ours.ts") },
);

const bundleServer = (folder, from) => bundle(["bench/ours-server.ts"], folder, from);

// The first word may choose another script than the driver.
const chosen = [
  "against",
  "profile",
  "overhead",
  "lens",
  "loops",
  "loaders",
  "fit",
  "startup",
  "updates",
  "sums",
  "products",
  "axes",
  "text",
  "decode",
  "batches",
  "bleu",
  "draw",
].find((name) => name === process.argv[2]);
if (chosen) process.argv.splice(2, 1);
const { main } = await import(pathToFileURL(path.join(outdir, `${chosen ?? "driver"}.mjs`)).href);
process.exitCode = await main(root, outdir, bundleServer);
