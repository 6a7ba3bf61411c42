/** The recipes that come with the package, by name. Each is loaded when it is needed. */
import type { Recipe } from "./recipe.ts";

export type RecipeName =
  | "digits"
  | "digits-conv"
  | "iris"
  | "fashion"
  | "pronounce"
  | "bert-pretrain"
  | "bert-finetune"
  | "gpt"
  | "names"
  | "brown-lm"
  | "elmo"
  | "tagger"
  | "number-words"
  | "translate";

const recipes: Readonly<Record<RecipeName, () => Promise<{ readonly default: Recipe }>>> = {
  digits: () => import("./digits.ts"),
  "digits-conv": () => import("./digits-conv.ts"),
  iris: () => import("./iris.ts"),
  fashion: () => import("./fashion.ts"),
  pronounce: () => import("./pronounce.ts"),
  "bert-pretrain": () => import("./bert-pretrain.ts"),
  "bert-finetune": () => import("./bert-finetune.ts"),
  gpt: () => import("./gpt.ts"),
  names: () => import("./names.ts"),
  "brown-lm": () => import("./brown-lm.ts"),
  elmo: () => import("./elmo.ts"),
  tagger: () => import("./tagger.ts"),
  "number-words": () => import("./number-words.ts"),
  translate: () => import("./translate.ts"),
};

export const recipeNames: readonly RecipeName[] = Object.keys(recipes) as RecipeName[];

export const isRecipeName = (name: string): name is RecipeName => Object.hasOwn(recipes, name);

/** Loads a recipe of this package. */
export async function loadRecipe(name: RecipeName): Promise<Recipe> {
  return (await recipes[name]()).default;
}
