/** The examples of the documentation: found in Markdown, type-checked together, run one by one. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";

/** One program of a document: a ```ts block with the ```ts continue blocks that follow it. */
export interface Example {
  /** `README.md:12`: the document, and the line that the first block opens on. */
  readonly name: string;
  readonly document: string;
  /** Code, line by line, each with its line number in the document. */
  readonly code: readonly { readonly text: string; readonly line: number }[];
  /** False for ```ts no-run. */
  readonly runs: boolean;
  /** What it must print, from the ```text blocks right after its blocks; undefined where there is none. */
  readonly expected: string | undefined;
}

interface Fence {
  readonly info: string;
  /** Line number of the opening fence. */
  readonly line: number;
  readonly lines: readonly string[];
}

/** Every example of a document, in order. Throws for a block that would silently be no example. */
export function extractExamples(markdown: string, document: string): readonly Example[] {
  const examples: Example[] = [];
  let previous = "";
  for (const { info, line, lines } of fences(markdown, document)) {
    const where = `${document}:${line}`;
    const [language, ...words] = info.split(/\s+/);
    const mode = words.join(" ");
    const last = examples.at(-1);
    const code = lines.map((text, i) => ({ text, line: line + 1 + i }));
    if (language === "ts" && (mode === "" || mode === "no-run"))
      examples.push({ name: where, document, code, runs: mode === "", expected: undefined });
    else if (language === "ts" && mode === "continue" && last)
      examples[examples.length - 1] = { ...last, code: [...last.code, ...code] };
    else if (language === "ts" && mode === "continue")
      throw new Error(`${where}: there is no block that this one could continue.`);
    else if (language === "ts")
      throw new Error(`${where}: "ts ${mode}" is unknown. There are "ts", "ts continue" and "ts no-run".`);
    else if (["typescript", "tsx", "js", "javascript"].includes(language!))
      throw new Error(`${where}: a block in "${language}" is never run. Call it "ts".`);
    else if (language === "text" && previous === "ts" && last)
      examples[examples.length - 1] = { ...last, expected: `${last.expected ?? ""}${joined(lines)}` };
    previous = language!;
  }
  return examples;
}

/** Fenced blocks, also within lists; the indentation of their fence is taken off. */
function* fences(markdown: string, document: string): Generator<Fence> {
  const lines = markdown.split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    const [, before, fence, info] = /^((?: *(?:[-*+]|\d+[.)]) )* *)(`{3,}|~{3,})(.*)$/.exec(lines[i]!) ?? [];
    if (fence === undefined) continue;
    const start = i++;
    const closes = new RegExp(`^ *${fence[0]}{${fence.length},}\\s*$`);
    while (i < lines.length && !closes.test(lines[i]!)) i++;
    if (i === lines.length) throw new Error(`${document}:${start + 1}: this block is never closed.`);
    const strip = new RegExp(`^ {0,${before!.length}}`);
    const content = lines.slice(start + 1, i).map((line) => line.replace(strip, ""));
    yield { info: info!.trim(), line: start + 1, lines: content };
  }
}

function joined(lines: readonly string[]): string {
  return lines.map((line) => `${line}\n`).join("");
}

/** Whether `output` is what was expected: the same lines, where `…` is any text, and on a line of its own any lines. */
export function matches(expected: string, output: string): boolean {
  const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
  const patterns = expected
    .trimEnd()
    .split("\n")
    .map((line) => (line.trim() === "…" ? "(?:.*\n)*" : `${line.split("…").map(literal).join(".*")}\n`));
  return new RegExp(`^${patterns.join("")}$`).test(`${output.trimEnd()}\n`);
}

/** What became of an example. */
export interface Outcome {
  /** The compiler's complaints, at the document's line numbers. */
  readonly typeErrors: readonly string[];
  /** Why it failed at run time or what it printed instead; undefined when all is well. */
  readonly failure: string | undefined;
}

/** Examples written out as programs beside the package, so that `import … from "glissade"` means the build in `dist`. */
export class Workshop {
  readonly #folder: string;
  readonly #typeErrors: ReadonlyMap<Example, readonly string[]>;

  private constructor(folder: string, typeErrors: ReadonlyMap<Example, readonly string[]>) {
    this.#folder = folder;
    this.#typeErrors = typeErrors;
  }

  /** Writes and type-checks all examples in one go of the compiler. `root` is the repository. */
  static async open(root: string, examples: readonly Example[]): Promise<Workshop> {
    const cache = path.join(root, "node_modules/.cache");
    await mkdir(cache, { recursive: true });
    const folder = await mkdtemp(path.join(cache, "glissade-docs-"));
    // Self-reference ends at the folder node_modules, so the package is a neighbour here.
    await mkdir(path.join(folder, "node_modules"));
    await symlink(root, path.join(folder, "node_modules/glissade"), "junction");
    const options = {
      extends: path.join(root, "tsconfig.json"),
      compilerOptions: {
        declaration: false,
        isolatedDeclarations: false,
        noUnusedLocals: false,
        noUnusedParameters: false,
        paths: {},
      },
      include: [],
      files: examples.map((_, i) => sourceFile(i)),
    };
    await writeFile(path.join(folder, "tsconfig.json"), JSON.stringify(options));
    for (const [i, { code }] of examples.entries())
      await writeFile(path.join(folder, sourceFile(i)), joined(code.map(({ text }) => text)));
    try {
      return new Workshop(folder, await typeCheck(root, folder, examples));
    } catch (error) {
      await rm(folder, { recursive: true });
      throw error;
    }
  }

  /** Runs an example unless it must not or does not compile. */
  async try(example: Example, index: number): Promise<Outcome> {
    const typeErrors = this.#typeErrors.get(example) ?? [];
    if (!example.runs || typeErrors.length > 0) return { typeErrors, failure: undefined };
    return { typeErrors, failure: await run(this.#folder, sourceFile(index), example) };
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function sourceFile(index: number): string {
  return `example-${index}.mts`;
}

async function typeCheck(
  root: string,
  folder: string,
  examples: readonly Example[],
): Promise<ReadonlyMap<Example, readonly string[]>> {
  const tsc = path.join(root, "node_modules/typescript/bin/tsc");
  const { code, stdout, stderr } = await execute(process.execPath, [tsc, "-p", folder, "--pretty", "false"], folder);
  if (code !== 0 && stdout === "") throw new Error(`The compiler did not run:\n${stderr}`);
  const found = new Map<Example, string[]>();
  let current: string[] | undefined;
  for (const line of stdout.split(/\r?\n/).filter(Boolean)) {
    const [, index, row, message] = /example-(\d+)\.mts\((\d+),\d+\): (.*)$/.exec(line) ?? [];
    if (message !== undefined) {
      const example = examples[Number(index)]!;
      current = found.get(example) ?? [];
      found.set(example, current);
      current.push(`${example.document}:${example.code[Number(row) - 1]?.line ?? "end"}: ${message}`);
    } else if (/^\s/.test(line) && current) current.push(line);
    else throw new Error(`The compiler complains about something else than an example:\n${stdout}`);
  }
  return found;
}

async function run(folder: string, source: string, { name, expected }: Example): Promise<string | undefined> {
  const program = source.replace(".mts", ".mjs");
  await build({
    entryPoints: [source],
    outfile: program,
    absWorkingDir: folder,
    platform: "node",
    target: "es2022",
    sourcemap: "inline",
    logLevel: "silent",
  });
  const { code, stdout, stderr } = await execute(process.execPath, ["--enable-source-maps", program], folder);
  if (code !== 0) return `${name} ended with ${code}:\n${stdout}${stderr}`;
  if (expected === undefined || matches(expected, stdout)) return undefined;
  return `${name} printed\n${stdout}instead of\n${expected}`;
}

interface Executed {
  /** Exit code, or the signal that ended it. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

async function execute(file: string, args: readonly string[], cwd: string): Promise<Executed> {
  const env = { ...process.env, NO_COLOR: "1", FORCE_COLOR: "0" };
  try {
    return { code: 0, ...(await promisify(execFile)(file, args, { cwd, env, timeout: 60_000 })) };
  } catch (error) {
    const { code, signal, stdout, stderr } = error as Partial<Executed> & { signal?: string };
    if (stdout === undefined || stderr === undefined) throw error;
    return { code: code ?? signal ?? "an unknown error", stdout, stderr };
  }
}
