/** Checks: what the values of a run must be for the run to count, and what to say where they are not. */
import type { GlissadeError } from "../errors.ts";
import type { TensorType } from "./types.ts";

/** What every element of a tensor must be: neither NaN nor infinite, an index from 0 to below a number, or anything but 0. */
export type Condition =
  | { readonly kind: "finite" }
  | { readonly kind: "index"; readonly below: number }
  | { readonly kind: "divisor" };

/** Whether an element meets a condition. */
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
  /** Among the elements of the tensor, row-major. */
  readonly position: number;
  readonly type: TensorType;
}

/** The first element that does not meet a condition; nothing where all do. */
export function flawIn(values: ArrayLike<number>, type: TensorType, condition: Condition): Flaw | undefined {
  for (let position = 0; position < values.length; position++) {
    const value = values[position]!;
    if (!meets(value, condition)) return { value, position, type };
  }
  return undefined;
}

/** A tensor that is looked at in every run: where an element does not meet the condition, no assignment of the run is made. */
export interface Check<T = unknown> {
  readonly value: T;
  readonly condition: Condition;
  /** The error for the first element that does not; `others` are further tensors checked under the same subject in which one does not. */
  failure(flaw: Flaw, others: number): GlissadeError;
  /** Checks of one subject are told of together. */
  readonly subject: string;
}
