/** What the scripts of `glissade completion` ask: which words may come next. */
import completion from "@bomb.sh/tab";
import { recipeNames } from "../recipes/index.ts";
import { makeProgram } from "./program.ts";

/** Commands whose first word is a recipe. */
const takingRecipes = new Set(["train", "check", "sweep", "recipes"]);

/** Writes what may follow after some words, one to a line. */
export async function completeCommand(words: readonly string[]): Promise<void> {
  const program = makeProgram(() => {});
  for (const command of program.createHelp().visibleCommands(program)) {
    const known = completion.command(command.name(), command.summary());
    for (const { long, description } of command.createHelp().visibleOptions(command))
      if (long) known.option(long.slice(2), description);
    if (takingRecipes.has(command.name()))
      known.argument("recipe", (complete) => {
        for (const name of recipeNames) complete(name, "");
      });
  }
  completion.parse([...words]);
}
