/** Derivatives of every order along directions that have nothing to do with each other, against finite differences. */
import { expect } from "vitest";
import { collect } from "../../src/graph/node.ts";
import type { Sampler } from "../../src/graph/op.ts";
import { isFloat } from "../../src/graph/types.ts";
import { gradients, type Tensor } from "../../src/index.ts";
import { plain, project, sampler, toTensor } from "./conformance.ts";

/** As far as derivatives are taken. */
export const mostOrders = 3;

/** How far a derivative may be off, as a share of the largest number that it is made of. */
const tolerance = 1e-6;

/** Between the places of a finite difference. */
const step = 1e-5;

/**
 * Compares Σ ∂f/∂x·u with a finite difference of f along u, then takes that slope for f, up to the third order, with a direction drawn
 * anew for each. A statistic that was detached for speed shows in the second order at the latest, and only because the directions are
 * unrelated: along the first derivative itself its share may vanish. Returns the number of orders that depend on the inputs.
 */
export function expectEveryOrder(outputs: readonly Tensor[], inputs: readonly Tensor[]): number {
  let value = project(outputs);
  for (let order = 1; order <= mostOrders; order++) {
    const reached = new Set(value && collect([value]));
    const targets = inputs.filter((input) => isFloat(input.dtype) && input.size > 0 && reached.has(input.node));
    if (!value || targets.length === 0) return order - 1;
    const directions = targets.map(({ shape, dtype }) => sampler(dtype as Sampler["float"]).real(...shape));
    const along = gradients(value, targets).map((slope, i) => slope.mul(toTensor(directions[i]!)).sum());
    const slope = along.reduce((sum, part) => sum.add(part));
    expectSlope(
      value,
      slope,
      targets,
      directions.map(({ values }) => values),
      order,
    );
    value = slope;
  }
  return mostOrders;
}

function expectSlope(
  value: Tensor,
  slope: Tensor,
  inputs: readonly Tensor[],
  directions: readonly Float64Array[],
  order: number,
): void {
  const start = inputs.map((input) => hostValuesOf(input));
  const at = plain([value], inputs);
  const f = (distance: number): number =>
    at(start.map((values, i) => values.map((x, j) => x + distance * directions[i]![j]!)))[0]![0]!;
  // Five points: what is left out is of the fourth order in the step.
  const [near, far] = [f(step) - f(-step), f(2 * step) - f(-2 * step)];
  const numeric = (8 * near - far) / (12 * step);
  const [[analytic]] = plain([slope], inputs)(start) as [Float64Array];
  const scale = Math.max(1, Math.abs(numeric), Math.abs(f(0)));
  expect(
    Math.abs(numeric - analytic!) / scale,
    `order ${order}: ${analytic} where finite differences give ${numeric}`,
  ).toBeLessThan(tolerance);
}

function hostValuesOf({ node }: Tensor): Float64Array {
  if (node.source?.kind !== "host") throw new Error("an input is a host value");
  return Float64Array.from(node.source.storage.values!);
}
