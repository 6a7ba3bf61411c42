/** Types that users need a name for: the compiler writes declarations of their code, and they write signatures of their own. */
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const root = path.join(import.meta.dirname, "../..");
const dist = path.join(root, "dist");

test("a package built on this one gets declarations without a type written down", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "glissade-declarations-"));
  try {
    mkdirSync(path.join(folder, "node_modules"));
    symlinkSync(root, path.join(folder, "node_modules/glissade"), "dir");
    cpSync(path.join(import.meta.dirname, "declarations/program.ts"), path.join(folder, "program.ts"));
    writeFileSync(path.join(folder, "package.json"), '{ "type": "module" }');
    const compilerOptions = {
      strict: true,
      declaration: true,
      emitDeclarationOnly: true,
      target: "es2022",
      module: "nodenext",
      types: [],
      skipLibCheck: true,
    };
    writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["program.ts"] }));
    const compiler = path.join(root, "node_modules/typescript/bin/tsc");
    const complaints = await promisify(execFile)(process.execPath, [compiler, "-p", folder]).then(
      () => "",
      (error: { stdout: string }) => error.stdout,
    );
    expect(complaints).toBe("");
    expect(readFileSync(path.join(folder, "program.d.ts"), "utf8")).toMatch(
      /export declare const model: .*Sequential<2, 1>/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every exported type that a public declaration mentions is public", () => {
  const surface = exportsOf(path.join(dist, "node.d.ts"));
  expect(surface.size).toBeGreaterThan(200);
  const missing = [...surface].flatMap(([name, file]) =>
    [...mentioned(name, file)].filter((type) => !surface.has(type)).map((type) => `${type}, in ${name}`),
  );
  expect(missing).toEqual([]);
});

/** A declaration file as its compiler wrote it, without comments. */
const codeOf = (file: string): string => readFileSync(file, "utf8").replace(/\/\*[\s\S]*?\*\//g, "");

const fileFor = (from: string, specifier: string): string =>
  path.join(path.dirname(from), specifier.replace(/\.[jt]s$/, ".d.ts"));

const exported = /^export (?:declare )?(?:abstract )?(?:function|const|class|interface|type) (\w+)/gm;

/** What a file exports, by name, with the file that declares it; namespaces with what is in them. */
function exportsOf(file: string, found: Map<string, string> = new Map()): Map<string, string> {
  const code = codeOf(file);
  for (const [, name] of code.matchAll(exported)) found.set(name!, file);
  for (const [, names, from] of code.matchAll(/^export (?:type )?\{([^}]*)\} from "([^"]+)"/gm))
    for (const [name] of names!.replaceAll(/\btype /g, "").matchAll(/\w+/g)) found.set(name, fileFor(file, from!));
  for (const [, from] of code.matchAll(/^export (?:type )?\*(?: as \w+)? from "([^"]+)"/gm))
    exportsOf(fileFor(file, from!), found);
  return found;
}

/** The types that a declaration mentions and its module, or the one that they come from, exports. */
function mentioned(name: string, file: string): Set<string> {
  const statements = codeOf(file).split(/\n(?=export |declare |interface |type |import )/);
  const isOfName = new RegExp(
    `^(?:export )?(?:declare )?(?:abstract )?(?:function|const|class|interface|type) ${name}\\b`,
  );
  const known = new Set([...codeOf(file).matchAll(exported)].map(([, own]) => own!));
  for (const statement of statements) {
    const imported = /^import (?:type )?\{([^}]*)\} from "\./.exec(statement);
    for (const part of imported?.[1]?.split(",") ?? []) known.add(part.trim().replace(/^type /, ""));
  }
  const words = statements
    .filter((statement) => isOfName.test(statement))
    .flatMap((statement) => statement.replace(/"[^"]*"|`[^`]*`/g, "").match(/\b[A-Z]\w+/g) ?? []);
  return new Set(words.filter((word) => word !== name && known.has(word)));
}
