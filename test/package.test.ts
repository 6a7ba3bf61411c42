/** What the package promises as a whole: a core that runs in browsers, rooms in order, no code at install. */
import { existsSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { build, type Metafile } from "esbuild";
import { describe, expect, test } from "vitest";

const root = path.dirname(import.meta.dirname);

describe("the core", () => {
  test("imports no Node built-in when bundled for a browser", async () => {
    expect(await builtinsInBundle('import "./src/index.ts";')).toEqual([]);
  }, 60_000);

  test("would be caught with a built-in, and the chain of imports shown", async () => {
    expect(await builtinsInBundle('import "./src/files/node/model.ts";')).toContain(
      "<entry> → src/files/node/model.ts → src/files/node/atomic.ts → node:path",
    );
  });
});

/** Bundles `entry` for a browser; returns the shortest chain of imports to each file that imports a Node built-in. */
async function builtinsInBundle(entry: string): Promise<readonly string[]> {
  const { metafile } = await build({
    stdin: { contents: entry, resolveDir: root, sourcefile: "<entry>" },
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    platform: "browser",
    format: "esm",
    logLevel: "silent",
    plugins: [
      {
        name: "let-builtins-through",
        setup(bundle) {
          bundle.onResolve({ filter: /.*/ }, async ({ path: name, pluginData, ...where }) => {
            if (pluginData === resolving || !isBuiltin(name)) return undefined;
            // A package may replace a built-in in browsers; what it does not replace is what we look for.
            const resolved = await bundle.resolve(name, { ...where, pluginData: resolving });
            return resolved.errors.length > 0 ? { path: name, external: true } : resolved;
          });
        },
      },
    ],
  });
  return chainsTo(metafile, "<entry>", isBuiltin);
}

const resolving = Symbol("the plugin's own question");

/** The shortest chain of imports from `entry` to each import outside of the bundle that `wanted` accepts. */
function chainsTo({ inputs }: Metafile, entry: string, wanted: (name: string) => boolean): readonly string[] {
  const found: string[] = [];
  const chains = new Map([[entry, entry]]);
  for (const [file, chain] of chains)
    for (const { path: target, external } of inputs[file]?.imports ?? []) {
      if (external && wanted(target)) found.push(`${chain} → ${target}`);
      if (!external && !chains.has(target)) chains.set(target, `${chain} → ${target}`);
    }
  return found;
}

function isBuiltin(name: string): boolean {
  return name.startsWith("node:") || builtinModules.includes(name);
}

/**
 * From the ground up: a room imports only from rooms before it in this list, types too. A folder inside of a room may be a room of its own,
 * before or after what lies beside it.
 */
const rooms = [
  "errors",
  "task",
  "random",
  "kernel",
  "graph",
  "ops",
  "ops/lowered",
  "onnx",
  "engine",
  "tensor",
  "autodiff",
  "compile/passes",
  "compile",
  "nn",
  "nn/layers",
  "optim",
  "files",
  "data",
  "text",
  "models",
  "train",
  "doctor",
  "distributed",
  "recipes",
  "cli",
];
/** Types that go the other way, and why. */
const upward: Readonly<Record<string, string>> = {
  "graph → tensor": "an op's gradient is written in methods of tensors",
  "ops → tensor": "an op's gradient is written in methods of tensors",
};
/** The public doors, which may import from every room; only the command line goes through them. */
const doors = ["src/index.ts", "src/node.ts", "src/types.ts"];

interface Import {
  /** The importing file, from the root. */
  readonly from: string;
  /** The file that it imports, or the name of a package or built-in. */
  readonly to: string;
  /** Whether it is gone once the types are. */
  readonly isType?: boolean;
}

describe("rooms", () => {
  test("import only from rooms before them, and Node's built-ins only where Node is", async () => {
    const imports = await importsOfSources();
    expect(imports.length).toBeGreaterThan(100);
    expect(imports.map(complaint).filter(Boolean)).toEqual([]);
  });

  test("the README says of each folder what lives there, in the same order", () => {
    const readme = readFileSync(path.join(root, "README.md"), "utf8");
    const told = [...readme.matchAll(/^\| `src\/(\w+)\/` \| .+ \|$/gm)].map(([, name]) => name!);
    const folders = rooms.filter((name) => existsSync(path.join(root, "src", name)) && !name.includes("/"));
    expect(told).toEqual(folders);
  });

  test("types go upward only where the list says why", async () => {
    const types = typeImports(await sources());
    expect(types.length).toBeGreaterThan(200);
    expect(types.map(complaint).filter(Boolean)).toEqual([]);
    const used = new Set(types.map(({ from, to }) => `${room(from)} → ${room(to)}`));
    expect(Object.keys(upward).filter((pair) => !used.has(pair))).toEqual([]);
    expect(complaint({ from: "src/onnx/model.ts", to: "src/compile/program.ts", isType: true })).toContain(
      "comes before",
    );
  });

  test.each([
    ["src/graph/op.ts", "src/tensor/tensor.ts", "graph comes before tensor"],
    ["src/compile/passes/fuse.ts", "src/compile/compile.ts", "compile/passes comes before compile"],
    ["src/engine/engine.ts", "src/compile/compile.ts", "engine comes before compile"],
    ["src/nn/layers/basic.ts", "src/nn/module.ts", undefined],
    ["src/attic/old.ts", "src/errors.ts", 'there is no room named "attic"; add it to the list in its place'],
    ["src/nn/module.ts", "src/index.ts", "only the command line goes through a public door"],
    ["src/node.ts", "src/engine/node/index.ts", undefined],
    ["src/files/node/atomic.ts", "node:fs/promises", undefined],
    ["src/files/weights.ts", "node:fs", 'Node\'s built-ins belong into folders named "node"'],
    ["src/files/weights.ts", "fs", 'Node\'s built-ins belong into folders named "node"'],
    ["src/cli/train.ts", "node:path", undefined],
    ["src/index.ts", "node:path", 'Node\'s built-ins belong into folders named "node"'],
  ])("%s with an import of %s: %s", (from, to, reason) => {
    expect(complaint({ from, to })).toBe(reason && `${from} → ${to}: ${reason}`);
  });
});

/** Every import statement of src/ that is there at run time: type-only ones are gone once esbuild has read a file. */
async function importsOfSources(): Promise<readonly Import[]> {
  return Object.entries((await sources()).inputs).flatMap(([from, { imports }]) =>
    imports.map(({ path: to }) => ({ from, to })),
  );
}

/** Every import of types alone, as the source has it. */
function typeImports({ inputs }: Metafile): readonly Import[] {
  return Object.keys(inputs)
    .filter((file) => file.startsWith("src/"))
    .flatMap((from) =>
      [
        ...readFileSync(path.join(root, from), "utf8").matchAll(/^(?:import|export) type [^;]*? from "(\.[^"]+)";$/gm),
      ].map(([, target]) => ({ from, to: path.posix.join(path.posix.dirname(from), target!), isType: true })),
    );
}

/** What esbuild knows of the files in src/. */
async function sources(): Promise<Metafile> {
  const { metafile } = await build({
    entryPoints: ["src/**/*.ts"],
    absWorkingDir: root,
    bundle: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm",
    packages: "external",
    outdir: "unused",
    logLevel: "silent",
  });
  return metafile;
}

/** What is wrong with an import, if anything is. */
function complaint({ from, to, isType }: Import): string | undefined {
  const reason = isBuiltin(to)
    ? builtinComplaint(from)
    : to.startsWith("src/") && !(isType && `${room(from)} → ${room(to)}` in upward)
      ? roomComplaint(from, to)
      : undefined;
  return reason && `${from} → ${to}: ${reason}`;
}

function builtinComplaint(from: string): string | undefined {
  const folders = path.posix.dirname(from).split("/");
  const isNode = folders.includes("node") || ["cli", "recipes"].includes(room(from)) || from === "src/node.ts";
  return isNode ? undefined : 'Node\'s built-ins belong into folders named "node"';
}

function roomComplaint(from: string, to: string): string | undefined {
  if (doors.includes(from)) return undefined;
  if (doors.includes(to)) return room(from) === "cli" ? undefined : "only the command line goes through a public door";
  for (const name of [room(from), room(to)])
    if (!rooms.includes(name)) return `there is no room named "${name}"; add it to the list in its place`;
  if (rooms.indexOf(room(to)) <= rooms.indexOf(room(from))) return undefined;
  return `${room(from)} comes before ${room(to)}`;
}

/** `src/nn/module.ts` is in nn, `src/nn/layers/basic.ts` in nn/layers, `src/errors.ts` in errors. */
function room(file: string): string {
  const [, ...parts] = file.replace(/\.ts$/, "").split("/");
  const nested = parts.slice(0, 2).join("/");
  return rooms.includes(nested) ? nested : parts[0]!;
}

/** Where ops may be told apart: where they are defined and registered, and in the compiler's rules, which are about certain ops. */
const mayAskForOps = /^src\/(ops\/|graph\/op\.ts|compile\/passes\/)/;

/** Lines of code that compare an op, or its name, with something. */
function opQuestions(code: string): readonly string[] {
  const op = String.raw`\bop(?:\.name)?\b`;
  const questions = [
    String.raw`(?<!typeof )${op}(?: as \w+\))? *[!=]=+(?!=| *(?:null|undefined)\b)`,
    String.raw`[!=]==? *\(*[\w.]*${op}(?!\.)`,
    String.raw`switch \(.*${op}`,
    String.raw`\b(?:includes|has|get|test)\([\w.]*${op}`,
    String.raw`\bregistry\.get\b`,
  ].map((source) => new RegExp(source));
  return code
    .split("\n")
    .filter((line) => !/^\s*(\*|\/[/*])/.test(line) && questions.some((question) => question.test(line)));
}

describe("shared code", () => {
  test("never asks which op it holds: what it needs to know is a field of the record", async () => {
    const files = Object.keys((await sources()).inputs).filter((file) => !mayAskForOps.test(file));
    expect(files.length).toBeGreaterThan(60);
    const asked = files.flatMap((file) =>
      opQuestions(readFileSync(path.join(root, file), "utf8")).map((line) => `${file}: ${line.trim()}`),
    );
    expect(asked).toEqual([]);
  });

  test.each([
    "while ((source.op as unknown) === reshape) source = source.inputs[0]!.node;",
    'if (node.op.name === "reshape") return;',
    'if ("reshape" !== node.op.name) return;',
    "if (reshape === node.op) return;",
    "switch (node.op.name) {",
    "switch (op) {",
    'if (["reshape", "transpose"].includes(node.op.name)) return;',
    "if (moves.has(node.op)) return;",
    'const other = registry.get("reshape");',
  ])("would be caught with: %s", (line) => {
    expect(opQuestions(line)).toEqual([line]);
  });

  test.each([
    "const { op, params } = node;",
    "if (node.op.rearranges === true) return;",
    "throw new GraphError(op.name, problem, fix);",
    "const shown = [op.name, ...inputs].join();",
    'return typeof op === "object" && op !== null && "pair" in op;',
    'if (typeof option === "string") return;',
    "replaced.get(node)!.op.evaluate(inputs, outputs, params);",
  ])("may well say: %s", (line) => {
    expect(opQuestions(line)).toEqual([]);
  });
});

describe("installing the package", () => {
  const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };

  test("runs no script of ours", () => {
    const events = /^(pre|post)?(install|prepare|publish|pack|version|uninstall)$|^prepublishOnly$|^dependencies$/;
    // Before and after our own scripts nothing runs either: .npmrc would skip it, other package managers would not.
    const around = Object.keys(scripts).flatMap((name) => [`pre${name}`, `post${name}`]);
    expect(Object.keys(scripts).filter((name) => events.test(name) || around.includes(name))).toEqual([]);
  });

  test("runs no script of others", () => {
    expect(readFileSync(path.join(root, ".npmrc"), "utf8").split(/\r?\n/)).toContain("ignore-scripts=true");
  });
});
