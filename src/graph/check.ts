/** Checks: conditions that the values of a run must meet for the run to count, and the errors where they do not. */
import type { GlissadeError } from "../errors.ts";
import type { TensorType } from "./types.ts";

/** What every element of a tensor must be: "finite": not NaN or infinite; "index": at least 0 and less than `below`; "divisor": not 0. */
export type Condition =
  | { readonly kind: "finite" }
  | { readonly kind: "index"; readonly below: number }
  | { readonly kind: "divisor" };

/** Returns whether an element meets a condition. */
export function meets(value: number, condition: Condition): boolean {
  switch (condition.kind) {
    case "finite":
      return Number.isFinite(value);
    case "index":
      return value >= 0 && value < condition.below;
    case "divisor":
      return value !== 0;
  }
}

/** An element that does not meet a condition. */
export interface Flaw {
  readonly value: number;
  /** The element's position in the tensor, row-major. */
  readonly position: number;
  readonly type: TensorType;
}

/** Returns the first element that does not meet a condition; `undefined` if all do. */
export function flawIn(values: ArrayLike<number>, type: TensorType, condition: Condition): Flaw | undefined {
  for (let position = 0; position < values.length; position++) {
    const value = values[position]!;
    if (!meets(value, condition)) return { value, position, type };
  }
  return undefined;
}

/** A tensor that every run checks. If an element does not meet the condition, the run makes no assignments. */
export interface Check<T = unknown> {
  readonly value: T;
  readonly condition: Condition;
  /** Returns the error for the first bad element. `others`: how many more tensors of the same subject have one. */
  failure(flaw: Flaw, others: number): GlissadeError;
  /** Failed checks of the same subject are reported in one error. */
  readonly subject: string;
}
