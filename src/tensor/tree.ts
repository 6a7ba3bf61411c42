/** Tensors in arrays and records. */
import { GraphError } from "../errors.ts";
import { Tensor } from "./tensor.ts";

/** A tensor, or arrays and records of tensors. */
// biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement returns void.
export type Tree = Tensor | undefined | void | readonly Tree[] | { readonly [name: string]: Tree };

/**
 * `unknown` for a tree, also for one declared by an `interface`, which TypeScript does not accept as a record: `interface State { h:
 * Tensor; c: Tensor }`. Parts that are not trees become `never`.
 */
export type IsTree<T> = [T] extends [Tree]
  ? unknown
  : T extends (...args: never[]) => unknown
    ? never
    : T extends object
      ? { readonly [K in keyof T]: IsTree<T[K]> }
      : never;

const deepest = 100;

/** Returns the names in a record in the order in which its tensors are counted: the same for records that were written in another order. */
export function namesIn(record: object): string[] {
  return Object.keys(record).sort();
}

/** Returns the place of each tensor of a tree, in the order of `flatten`: `h`, `layers.0`. A tree that is one tensor has the place "value". */
export function pathsIn(tree: unknown): string[] {
  const walk = (part: unknown, path: string): string[] => {
    if (part instanceof Tensor) return [path || "value"];
    const names = Array.isArray(part) ? [...part.keys()] : typeof part === "object" && part ? namesIn(part) : [];
    return names.flatMap((name) =>
      walk((part as Readonly<Record<string, unknown>>)[name], path ? `${path}.${name}` : String(name)),
    );
  };
  return walk(tree, "");
}

/** Appends the tensors of a tree to `values`. Returns a function that builds a tree of the same form with other values in their places. */
export function flatten(
  subject: string,
  tree: unknown,
  values: Tensor[],
  place: string = "the function returns",
  depth: number = 0,
): (replacements: readonly unknown[]) => unknown {
  if (tree === undefined) return () => undefined;
  if (tree instanceof Tensor) {
    const at = values.push(tree.current()) - 1;
    return (replacements) => replacements[at];
  }
  if (depth > deepest)
    throw new GraphError(
      subject,
      `tensors lie in arrays and records deeper than ${deepest} levels`,
      "put them into a flat array or record",
    );
  if (tree instanceof Promise) {
    tree.catch(() => {}); //  the caller must get the error below alone
    throw new GraphError(
      subject,
      "the function is asynchronous",
      "make it synchronous: nothing can be awaited while the graph is built; read values from the tensors that come back",
    );
  }
  if (Array.isArray(tree)) {
    const parts = tree.map((part: unknown) => flatten(subject, part, values, place, depth + 1));
    return (replacements) => parts.map((part) => part(replacements));
  }
  if (typeof tree === "object" && tree !== null) {
    const parts = new Map<string, (replacements: readonly unknown[]) => unknown>();
    const record = tree as Readonly<Record<string, unknown>>;
    for (const name of namesIn(tree)) parts.set(name, flatten(subject, record[name], values, place, depth + 1));
    return (replacements) =>
      Object.fromEntries(Object.keys(tree).map((name) => [name, parts.get(name)!(replacements)]));
  }
  throw new GraphError(subject, `${place} ${typeof tree}`, "give tensors, or arrays or records of them");
}
