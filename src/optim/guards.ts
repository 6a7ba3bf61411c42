/** Checks that a run must pass before its update counts: a finite loss and finite gradients. */
import { DataError } from "../errors.ts";
import type { Check, Flaw } from "../graph/check.ts";
import { currentScope } from "../graph/scope.ts";
import { showPlace } from "../graph/types.ts";
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
