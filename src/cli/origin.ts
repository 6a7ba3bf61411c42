/**
 * `recipe.json` in a run's folder: which recipe made it, with which hyperparameters, so that other commands find their way back; and
 * `fitted.json`: what the recipe had fitted to its training data.
 */
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { ConfigError, FormatError, printable } from "../errors.ts";
import { explained, readFileChecked, writeFileAtomically } from "../files/node/atomic.ts";
import { isRecipeName } from "../recipes/index.ts";
import type { FittedValues, PreparedRecipe, Recipe } from "../recipes/recipe.ts";
import { loadSubject } from "./subject.ts";

/** Where a run came from. */
export interface Origin {
  readonly format: 1;
  /** The name of a recipe of ours, or the path of a file, from the run's folder. */
  readonly recipe: string;
  /** Of the file; null for a recipe of ours. */
  readonly sha256: string | null;
  readonly hyperparameters: Readonly<Record<string, unknown>>;
  /** The SHA-256 of `fitted.json`; null where nothing was fitted. */
  readonly fitted: string | null;
}

const sha256Schema = z.string().regex(/^[0-9a-f]{64}$/);

const schema = z.object({
  format: z.literal(1),
  recipe: z.string().min(1).max(4096),
  sha256: sha256Schema.nullable(),
  hyperparameters: z.record(z.string(), z.unknown()),
  fitted: sha256Schema.nullable().default(null),
});

const originFile = (folder: string): string => path.join(folder, "recipe.json");

const fittedFile = (folder: string): string => path.join(folder, "fitted.json");

const sha256 = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

const hashOf = async (file: string): Promise<string> => sha256(await readFileChecked(file));

/**
 * Writes where a run comes from, and what its recipe has fitted. `given` are hyperparameters as they were given; defaults are added, as they
 * may change.
 */
export async function writeOrigin(
  folder: string,
  subject: string,
  recipe: Recipe,
  given: Readonly<Record<string, unknown>>,
  fitted: FittedValues,
): Promise<void> {
  const isOwn = isRecipeName(subject);
  const saved = Object.keys(fitted).length > 0 ? `${JSON.stringify(fitted)}\n` : undefined;
  const defaults = recipe.hyperparameters.filter((each) => each.default !== undefined);
  const origin: Origin = {
    format: 1,
    recipe: isOwn ? subject : path.relative(path.resolve(folder), path.resolve(subject)),
    sha256: isOwn ? null : await hashOf(subject),
    hyperparameters: { ...Object.fromEntries(defaults.map((each) => [each.name, each.default])), ...given },
    fitted: saved === undefined ? null : sha256(saved),
  };
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw explained(folder, `${printable(folder)} cannot be made`, cause, {});
  }
  if (saved !== undefined) await writeFileAtomically(fittedFile(folder), saved);
  await writeFileAtomically(originFile(folder), `${JSON.stringify(origin, null, 2)}\n`);
}

/** Reads what a run's recipe had fitted. Throws FileError and FormatError where it is not what was written. */
async function readFitted(folder: string, { fitted }: Origin): Promise<FittedValues> {
  if (fitted === null) return {};
  const file = fittedFile(folder);
  const bytes = await readFileChecked(file);
  if (sha256(bytes) !== fitted)
    throw new FormatError(file, "is not what the run wrote: its checksum differs", "restore it, or train anew");
  return JSON.parse(new TextDecoder().decode(bytes)) as FittedValues;
}

/** Reads `recipe.json`. Throws FormatError for anything that is none. */
export function decodeOrigin(text: string, source: string): Origin {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(source, "is no JSON", "restore it, or train anew", "", { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new FormatError(
    source,
    `is not what a run writes: ${issue?.path.map(String).join(".") || "all of it"}: ${issue?.message ?? ""}`,
    "restore it, or train anew",
  );
}

/** A run's folder as commands take it. */
export interface OpenedRun {
  readonly folder: string;
  readonly subject: string;
  readonly recipe: Recipe;
  readonly origin: Origin;
  /** Whether the file of the recipe is another than when the run began. */
  readonly isChanged: boolean;
  prepare(): Promise<PreparedRecipe>;
}

/** Finds the recipe of a run. Throws ConfigError for what is no folder of a run. */
export async function openRun(folder: string): Promise<OpenedRun> {
  const file = originFile(folder);
  const bytes = await readFileChecked(file).catch((cause: unknown) => {
    throw new ConfigError(
      folder,
      "it is no folder of a run that `glissade train` has made: there is no recipe.json",
      "name one; `glissade runs` lists them",
      "",
      { cause },
    );
  });
  const origin = decodeOrigin(new TextDecoder().decode(bytes), file);
  const isOwn = isRecipeName(origin.recipe);
  const subject = isOwn ? origin.recipe : path.relative("", path.resolve(folder, origin.recipe));
  const seedValue = origin.hyperparameters.seed;
  const recipe = await loadSubject(subject, Number.isSafeInteger(seedValue) ? { seed: seedValue as number } : {});
  return {
    folder,
    subject,
    recipe,
    origin,
    isChanged: !isOwn && (await hashOf(subject)) !== origin.sha256,
    prepare: async () => recipe.prepare(origin.hyperparameters, await readFitted(folder, origin)),
  };
}

/** What to say of a run whose recipe has changed. */
export const changedRecipe = ({ subject }: OpenedRun, consequence: string): string =>
  `${printable(subject)} is not what it was when the run began: ${consequence}`;
