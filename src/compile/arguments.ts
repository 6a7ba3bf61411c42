/** The arguments of a compiled function: tensors, in arrays and records too, and scalars, which are part of the signature. */
import { ConfigError } from "../errors.ts";
import { showType, type TensorType } from "../graph/types.ts";
import { Tensor } from "../tensor/tensor.ts";
import { namesIn } from "../tensor/tree.ts";

/** The tensors among a call's arguments, in order, and a text that is the same for calls that one trace can serve. */
export interface Given {
  readonly tensors: readonly Tensor[];
  readonly signature: string;
}

/**
 * Returns the tensors and the signature of a call's arguments. Throws ConfigError for an argument that is not a tensor, number, string,
 * boolean, undefined, or an array or record of these.
 */
export function given(args: readonly unknown[]): Given {
  const tensors: Tensor[] = [];
  let signature = "";
  for (const [i, arg] of args.entries()) signature += `|${signatureOf(arg, `argument ${i}`, tensors)}`;
  return { tensors, signature };
}

function signatureOf(arg: unknown, place: string, tensors: Tensor[]): string {
  if (arg instanceof Tensor) {
    tensors.push(arg);
    return showType(arg);
  }
  if (Object.is(arg, -0)) return "-0";
  if (typeof arg === "string") return JSON.stringify(arg); //  in quotes: "1" is not 1
  if (arg === undefined || typeof arg === "number" || typeof arg === "boolean") return String(arg);
  if (Array.isArray(arg)) return `[${arg.map((part, i) => signatureOf(part, `${place}[${i}]`, tensors)).join()}]`;
  if (isRecord(arg))
    return `{${namesIn(arg)
      .map((name) => `${JSON.stringify(name)}:${signatureOf(arg[name], `${place}.${name}`, tensors)}`)
      .join()}}`;
  throw new ConfigError(
    "compile",
    `${place} is ${arg === null ? "null" : typeof arg === "object" ? `a ${arg.constructor?.name ?? "object"}` : `a ${typeof arg}`}`,
    "pass tensors, numbers, strings or booleans, also in arrays and plain records; what else the function needs it can see from where it is written",
  );
}

/** The parts of a signature, by the names that messages use: the type of each tensor, the text of each scalar. */
export function partsOf(args: readonly unknown[]): ReadonlyMap<string, TensorType | string> {
  const parts = new Map<string, TensorType | string>();
  const visit = (arg: unknown, place: string): void => {
    if (arg instanceof Tensor) parts.set(place, { shape: arg.shape, dtype: arg.dtype });
    else if (typeof arg !== "object" || arg === null) parts.set(place, signatureOf(arg, place, []));
    else for (const [where, part] of inside(arg, place)) visit(part, where);
  };
  for (const [i, arg] of args.entries()) visit(arg, `argument ${i}`);
  return parts;
}

/** The elements of an array or record, with the names that messages use. */
function inside(arg: unknown, place: string): readonly (readonly [string, unknown])[] {
  if (Array.isArray(arg)) return arg.map((part, i) => [`${place}[${i}]`, part]);
  return isRecord(arg) ? namesIn(arg).map((name) => [`${place}.${name}`, arg[name]]) : [];
}

/** Returns the arguments with `standIn(tensor, position)` in place of each tensor; the position counts the tensors. */
export function withStandIns<A extends readonly unknown[]>(
  args: A,
  standIn: (tensor: Tensor, position: number) => Tensor,
): A {
  let position = 0;
  const replaced = (arg: unknown): unknown => {
    if (arg instanceof Tensor) return standIn(arg, position++);
    if (Array.isArray(arg)) return arg.map(replaced);
    if (isRecord(arg)) return Object.fromEntries(namesIn(arg).map((name) => [name, replaced(arg[name])]));
    return arg;
  };
  return args.map(replaced) as readonly unknown[] as A;
}

/** Returns the name that messages use for the tensor at a position: `argument 1.mask`. */
export function nameAt(args: readonly unknown[], position: number): string {
  let left = position;
  const search = (arg: unknown, place: string): string | undefined => {
    if (arg instanceof Tensor) return left-- === 0 ? place : undefined;
    return firstOf(inside(arg, place), ([where, part]) => search(part, where));
  };
  return firstOf([...args.entries()], ([i, arg]) => search(arg, `argument ${i}`)) ?? `argument ${position}`;
}

function firstOf<T, R>(items: readonly T[], find: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value));
}
