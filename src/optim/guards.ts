/** Checks that a run must pass before its update counts: a finite loss and finite gradients. */
import { DataError } from "../errors.ts";
import type { Check, Flaw } from "../graph/check.ts";
import { currentScope } from "../graph/scope.ts";
import { showPlace } from "../graph/types.ts";
import { where } from "../tensor/create.ts";
import type { Parameter } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";

const finite = { kind: "finite" } as const;

function guard(check: Check<Tensor>): void {
  currentScope().checks.push(check);
}

/**
 * Adds a check of the loss: a run in which it is not finite assigns nothing and throws a DataError. `subject` names the caller in the
 * message.
 */
export function guardLoss(subject: string, loss: Tensor): void {
  guard({
    value: loss.current(),
    condition: finite,
    subject: `${subject}, loss`,
    failure: ({ value }) =>
      new DataError(
        subject,
        `the loss is ${value}, so the update was not made; all parameters keep their values`,
        "lower the learning rate or clip the gradients; look at the inputs if it happened on the first step",
      ),
  });
}

/**
 * Returns a loss or a gradient of a batch; zeros if the batch has the weight 0. The mean over a batch in which nothing counts is NaN, and
 * NaN · 0 is NaN too, so a product with the weight is not enough.
 */
export function countedBy(weight: Tensor | number, value: Tensor): Tensor {
  return typeof weight === "number" ? value : where(weight.detach().notEqual(0) as Tensor<[], "bool">, value, 0);
}

/**
 * Adds a check of a loss whose batch has the weight 0: a run in which it is not finite assigns nothing and throws a DataError that says
 * that nothing in the batch counts.
 */
export function guardWeight(subject: string, loss: Tensor, weight: Tensor | number): void {
  if (typeof weight === "number") return;
  guardScalar(
    subject,
    where(weight.detach().equal(0) as Tensor<[], "bool">, loss, 0),
    (value) =>
      `the weight is 0, so nothing in the batch counts, and the loss is ${value}; all parameters keep their values`,
    "leave such batches out, accumulate gradients over several batches, or divide the loss by a count of at least 1: count.clip(1)",
  );
}

/** Adds a check of gradients: a run in which one of them is not finite assigns nothing and throws a DataError. */
export function guardGradients(subject: string, parameters: readonly Parameter[], gradients: readonly Tensor[]): void {
  for (const [i, parameter] of parameters.entries())
    guard({
      value: gradients[i]!.current(),
      condition: finite,
      subject: `${subject}, gradients`,
      failure(flaw, others) {
        const more = others > 0 ? ` (${others} other${others > 1 ? "s are" : " is"} not finite either)` : "";
        return new DataError(
          subject,
          `${gradientFlaw(parameter, flaw)}${more}, so the update was not made; all parameters keep their values`,
          "look in the loss for a root, logarithm, power or quotient at a place where its slope is infinite, or for numbers too large",
        );
      },
    });
}

/** The message about a parameter's gradient that is not finite: `the gradient of 0.weight is NaN at [3, 5]`. */
export function gradientFlaw({ label }: Parameter, { value, position, type: { shape } }: Flaw): string {
  return `the gradient of ${label} is ${value}${shape.length > 0 ? ` at ${showPlace(shape, position)}` : ""}`;
}

/** Adds a check of a scalar: a run in which it is not finite assigns nothing and throws a DataError with the given problem and fix. */
export function guardScalar(subject: string, value: Tensor, problem: (value: number) => string, fix: string): void {
  guard({
    value: value.current(),
    condition: finite,
    subject,
    failure: (flaw) => new DataError(subject, problem(flaw.value), fix),
  });
}
