/** Which command asks a run: not every model takes rows, or writes, or translates. */
import { ConfigError, printable } from "../errors.ts";
import { isRecipeName } from "../recipes/index.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import type { TrainedRun } from "./checkpoint.ts";
import { quotedForShell } from "./hyperparameters.ts";

/** A command, and what it shows, for a run of a recipe that has one. */
export function commandsFor(
  { prediction, generation }: PreparedRecipe,
  folder: string,
): (readonly [command: string, what: string])[] {
  const run = quotedForShell(printable(folder));
  const { command } = prediction;
  return [
    ...(generation ? ([[`npx glissade generate ${run}`, "what it writes"]] as const) : []),
    ...(command ? ([[`npx glissade ${command[0]} --run ${run}`, command[1]]] as const) : []),
  ];
}

/**
 * The error for a run that a verb cannot ask, with the command that can. `own` says what the author of a recipe adds so that the verb can;
 * `other` what the user of one of ours does.
 */
export function cannotBeAsked(
  { folder, subject, recipe, prepared }: TrainedRun,
  {
    verb,
    why,
    own,
    other,
  }: { readonly verb: string; readonly why: string; readonly own: string; readonly other: string },
): ConfigError {
  const [found] = commandsFor(prepared, folder);
  const fix = found ? `ask it with: ${found[0]}` : isRecipeName(subject) ? other : own;
  return new ConfigError(verb, `${printable(folder)} is a run of ${printable(recipe.name)}, ${why}`, fix);
}
