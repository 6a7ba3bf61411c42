/** `glissade recipes`: what can be trained, and what can be chosen of it. */
import { printable } from "../errors.ts";
import { loadRecipe, recipeNames } from "../recipes/index.ts";
import type { Recipe } from "../recipes/recipe.ts";
import { bold, dim, Table } from "./pictures.ts";
import { loadSubject } from "./subject.ts";

export async function recipesCommand(
  subject: string | undefined,
  { json }: { readonly json?: boolean },
): Promise<number> {
  const recipes = subject === undefined ? await Promise.all(recipeNames.map(loadRecipe)) : [await loadSubject(subject)];
  if (json) {
    for (const { name, description, hyperparameters } of recipes)
      console.log(JSON.stringify({ name, description, hyperparameters }));
    return 0;
  }
  if (subject !== undefined) sayRecipe(recipes[0]!);
  else {
    const width = Math.max(...recipeNames.map((name) => name.length));
    for (const { name, description } of recipes) console.log(`${bold(name.padEnd(width))}  ${description}`);
    console.log(dim("\nglissade recipes NAME lists what can be chosen; glissade train NAME trains it"));
  }
  return 0;
}

function sayRecipe({ name, description, hyperparameters }: Recipe): void {
  console.log(`${bold(printable(name))}  ${printable(description)}\n`);
  const usual = hyperparameters.map((each) =>
    each.default === undefined ? "–" : printable(JSON.stringify(each.default)),
  );
  const table = new Table([
    { title: "hyperparameter", width: Math.max(14, ...hyperparameters.map((each) => each.name.length)) },
    { title: "default", width: Math.max(7, ...usual.map((each) => each.length)) },
  ]);
  console.log(table.head());
  for (const [i, each] of hyperparameters.entries())
    console.log(`${table.row([each.name, usual[i]!])}  ${printable(each.description)} ${dim(`(${each.wanted})`)}`);
}
