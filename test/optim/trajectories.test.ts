/** Every optimizer against PyTorch, twenty steps on three problems in float64, on the plain engine and on ONNX Runtime. */
import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  adam,
  adamW,
  compile,
  evaluate,
  type Optimizer,
  type Parameter,
  plainEngine,
  type Tensor,
  useEngine,
} from "../../src/index.ts";
import { adamRule, adamSumsRule } from "../../src/optim/adam.ts";
import { type Method, optimizerOf, withHyper } from "../../src/optim/optimizer.ts";
import { differences, fixture, made, problem, renamed, type Step, valuesOf } from "../support/optimizer-fixture.ts";

const native = nodeEngine({ threads: 1 });
const engines = { plain: plainEngine(), native };

/** What differs from PyTorch's steps. `between` is called before each of them. */
async function followed(
  steps: readonly Step[],
  parameters: readonly Parameter[],
  loss: () => Tensor,
  optimizer: Optimizer,
  between: (step: number) => void = () => {},
): Promise<{ readonly problems: string[]; readonly traces: number }> {
  let traces = 0;
  const step = compile(() => {
    traces++;
    const value = loss();
    optimizer.minimize(value);
    return value;
  });
  const problems: string[] = [];
  for (const [i, wanted] of steps.entries()) {
    between(i);
    problems.push(...differences([await step().item()], [wanted.loss], `step ${i}, loss`));
    for (const [at, values] of (await valuesOf(parameters)).entries())
      problems.push(...differences(values, wanted.parameters[at]!, `step ${i}, parameter ${at}`));
  }
  return { problems, traces };
}

test("all optimizers and problems are here, twenty steps of each", () => {
  const names = new Set(fixture.cases.map(({ name }) => name.split(" ")[0]));
  expect([...names].join(" ")).toBe("sgd adagrad rmsprop adadelta adam amsgrad adamW nadam radam lion");
  for (const name of names)
    for (const where of ["quadratic", "rosenbrock", "network"])
      expect(fixture.cases.find((each) => each.name === name && each.problem === where)?.steps).toHaveLength(20);
});

describe.each(Object.entries(engines))("%s", (_, engine) => {
  beforeEach(() => useEngine(engine));

  test.each(fixture.cases.map((each) => [`${each.name}, ${each.problem}`, each] as const))(
    "%s, as PyTorch",
    async (_, { name, problem: where, options, steps }) => {
      const { parameters, loss } = problem(where);
      const { problems } = await followed(steps, parameters, loss, made(name, parameters, options));
      expect(problems).toEqual([]);
    },
  );

  test.each(fixture.grouped.map((each) => [each.name, each] as const))(
    "%s with two groups whose rates change in training, as PyTorch, in one compilation",
    async (_, { name, options, own, factor, steps }) => {
      const { parameters, loss } = problem("network");
      const [weight, bias] = parameters as [Parameter, Parameter];
      const groups = [{ parameters: [weight] }, { parameters: [bias], rateFactor: factor, ...renamed(own) }];
      const optimizer = made(name, groups, options);
      const { problems, traces } = await followed(steps, parameters, loss, optimizer, (step) => {
        if (step === 8) optimizer.learningRate /= 2;
        if (step === 14) optimizer.groups[1]!.rateFactor *= 2;
      });
      expect(problems).toEqual([]);
      expect(traces).toBe(1);
    },
  );
});

test("Adam as it runs equals Adam as the paper writes it", async () => {
  useEngine(plainEngine());
  const hyper = { b1: 0.9, b2: 0.999, epsilon: 1e-8 };
  const run = async (method: Method): Promise<number[]> => {
    const { parameters, loss } = problem("network");
    const optimizer = optimizerOf("adam", parameters, {}, { learningRate: 0.03 }, () => method);
    for (let i = 0; i < 15; i++) {
      const value = loss();
      optimizer.minimize(value);
      await evaluate(value, optimizer);
    }
    return (await valuesOf(parameters)).flat();
  };
  const [fast, paper] = [await run(withHyper(adamSumsRule, hyper)), await run(withHyper(adamRule, hyper))];
  fast.forEach((value, i) => expect(value).toBeCloseTo(paper[i]!, 12));
});

test("adamW is adam with decoupled decay", async () => {
  useEngine(plainEngine());
  const run = async (make: typeof adam, decoupled?: boolean): Promise<number[]> => {
    const { parameters, loss } = problem("network");
    const optimizer = make(parameters, { learningRate: 0.05, weightDecay: 0.2, ...(decoupled && { decoupled }) });
    const step = compile(() => void optimizer.minimize(loss()));
    for (let i = 0; i < 5; i++) step();
    await step.finished();
    return (await valuesOf(parameters)).flat();
  };
  expect(await run(adam, true)).toEqual(await run(adamW));
  expect(await run(adam)).not.toEqual(await run(adamW));
});
