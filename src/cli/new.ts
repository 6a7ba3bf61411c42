/** `glissade new`: a project to begin with. */
import { mkdir, readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { ConfigError, FormatError, printable } from "../errors.ts";
import { explained, writeFileAtomically } from "../files/node/atomic.ts";
import { bold, colour } from "./pictures.ts";
import { isThere } from "./words.ts";

/** The files of the package that a project begins with. `_` stands where npm would leave a file out, or take it for its own. */
const template = new URL("../../templates/project/", import.meta.url);

/**
 * Writes a project into a folder: a recipe on a CSV file, a test, what TypeScript needs. A package.json that is there gets what it lacks;
 * any other file that is in the way is refused before anything is written. Returns the exit code.
 */
export async function newCommand(folder: string, version: string): Promise<number> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw explained(folder, `${printable(folder)} cannot be made`, cause, {});
  }
  const files = (await filesIn(template)).map((file) => ({
    from: file,
    to: file.replace(/^_/, "").replace("/_", "/"),
  }));
  for (const { to } of files) {
    const target = path.join(folder, to);
    if (to !== "package.json" && (await isThere(target)))
      throw new ConfigError(
        "new",
        `${printable(target)} is there already`,
        "choose an empty folder: glissade new my-project",
      );
  }
  for (const { from, to } of files) {
    const target = path.join(folder, to);
    const text = await readFile(new URL(from, template), "utf8");
    await mkdir(path.dirname(target), { recursive: true });
    await writeFileAtomically(target, to === "package.json" ? await manifestOf(text, target, folder, version) : text);
  }
  const isHere = path.resolve(folder) === process.cwd();
  console.log(`${colour("green", "Made")} a project in ${printable(folder)}: ${files.map(({ to }) => to).join(", ")}

${bold("Next")}
${isHere ? "" : `  cd ${printable(folder)}\n`}  npm install --ignore-scripts
  npm run train    trains recipe.ts on houses.csv
  npm test         checks the types, trains a little, predicts`);
  return 0;
}

async function filesIn(folder: URL, prefix: string = ""): Promise<string[]> {
  const entries = await readdir(new URL(prefix, folder), { withFileTypes: true });
  const all = await Promise.all(
    entries.map((entry) =>
      entry.isDirectory() ? filesIn(folder, `${prefix}${entry.name}/`) : Promise.resolve([`${prefix}${entry.name}`]),
    ),
  );
  return all.flat().sort();
}

type Manifest = Readonly<Record<string, unknown>>;

/** The template's manifest, under the name of the folder, with what a manifest that is there has of its own. */
async function manifestOf(text: string, target: string, folder: string, version: string): Promise<string> {
  const made = JSON.parse(text) as Manifest;
  const name =
    path
      .basename(path.resolve(folder))
      .toLowerCase()
      .replaceAll(/[^a-z0-9._-]+/g, "-")
      .replace(/^[._-]+/, "") || "project";
  const dependencies = { ...(made.dependencies as Manifest), glissade: `^${version}` };
  const whole: Record<string, unknown> = { name, ...made, dependencies };
  if (!(await isThere(target))) return `${JSON.stringify(whole, null, 2)}\n`;
  let own: unknown;
  try {
    own = JSON.parse(await readFile(target, "utf8"));
  } catch (cause) {
    throw new FormatError(target, "is no JSON", "correct it first", "", { cause });
  }
  if (typeof own !== "object" || own === null || Array.isArray(own))
    throw new FormatError(target, "holds no record", "correct it first");
  const merged: Record<string, unknown> = { ...whole, ...own };
  for (const part of ["scripts", "dependencies", "devDependencies"] as const) {
    const theirs = (own as Manifest)[part];
    const isStub = (command: unknown): boolean => typeof command === "string" && command.includes("no test specified");
    const kept = Object.entries((theirs ?? {}) as Manifest).filter(([, value]) => !isStub(value));
    merged[part] = { ...(whole[part] as Manifest), ...Object.fromEntries(kept) };
  }
  merged.type = "module"; //  npm init writes commonjs, and the recipe is a module
  return `${JSON.stringify(merged, null, 2)}\n`;
}
