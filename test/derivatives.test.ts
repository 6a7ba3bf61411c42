/** Each op and each public function written with ops: derivatives of every order against finite differences. */
import { describe, expect, test } from "vitest";
import { applyAll } from "../src/graph/apply.ts";
import * as glissade from "../src/index.ts";
import { Tensor } from "../src/index.ts";
import { registry } from "../src/ops/lowered/index.ts";
import { isSmooth, sampler, toTensor } from "./support/conformance.ts";
import { type Case, functions, leftOut, methods } from "./support/differentiable.ts";
import { expectEveryOrder } from "./support/directional.ts";

const random = sampler("float64");

/** Tries once more with other numbers: a wrong derivative is wrong there too, while no kink is as near again. */
function withOtherNumbers(check: () => void): void {
  try {
    check();
  } catch {
    check();
  }
}

describe("every op", () => {
  test.each([...registry.values()].map((op) => [op.name, op] as const))("%s", (_, op) => {
    for (const i of op.samples(random).keys())
      withOtherNumbers(() => {
        const { inputs, params } = op.samples(random)[i]!;
        const tensors = inputs.map(toTensor);
        const outputs = applyAll(op, tensors, params);
        if (isSmooth(op, outputs)) expectEveryOrder(outputs, tensors);
      });
  });
});

function expectCase({ inputs, f }: Case): void {
  const tensors = inputs.map(toTensor);
  expect(expectEveryOrder([f(...tensors)].flat(), tensors)).toBeGreaterThan(0);
}

describe("every function written with ops", () => {
  test.each(Object.entries({ ...methods, ...functions }))("%s", (_, build) => {
    for (const i of [build(random)].flat().keys()) withOtherNumbers(() => expectCase([build(random)].flat()[i]!));
  });
});

type Loose = Readonly<Record<string, (...others: Tensor[]) => Tensor>>;

describe("the public surface has no others", () => {
  const known = new Set([
    ...registry.keys(),
    ...Object.keys(methods),
    ...Object.values(leftOut).flatMap((names) => names.split(" ")),
  ]);
  const others = Object.getOwnPropertyNames(Tensor.prototype).filter(
    (name) => name !== "constructor" && !known.has(name),
  );

  test.each(others)("x.%s() or x.%s(y)", (name) => {
    const call = (...inputs: Tensor[]): Tensor => {
      const [x, ...rest] = inputs as [Tensor, ...Tensor[]];
      return (x as unknown as Loose)[name]!(...rest);
    };
    const [x, y] = [random.real(2, 3), random.real(2, 3)];
    const isUnary = ((): boolean => {
      try {
        return call(toTensor(x)) instanceof Tensor;
      } catch {
        return false;
      }
    })();
    expectCase({ inputs: isUnary ? [x] : [x, y], f: call });
  });

  test("functions", () => {
    const names = Object.entries(glissade).flatMap(([name, value]) =>
      typeof value === "function" && /^[a-z]/.test(name) ? [name] : [],
    );
    names.push(...Object.keys(glissade.functional).map((name) => `functional.${name}`));
    const named = new Set([...known, ...others, ...Object.keys(functions)]);
    expect(names.filter((name) => !named.has(name))).toEqual([]);
  });

  test("what is listed exists", () => {
    const exists = (name: string): boolean =>
      name in Tensor.prototype || name in glissade || name.replace("functional.", "") in glissade.functional;
    expect([...Object.keys(methods), ...Object.keys(functions)].filter((name) => !exists(name))).toEqual([]);
  });
});
