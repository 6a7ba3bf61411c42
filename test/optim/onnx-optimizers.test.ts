/**
 * ONNX's training ops against our optimizers: state as given, one step with the given gradient, then parameters and state.
 *
 * T counts the steps before this one, where our t counts this one too: t = T + 1. λ = norm_coefficient is a penalty ½·λ·‖X‖²,
 * our coupled weight decay: G ← G + λ·X. In all tests T is 0, so that what depends on later steps (corrections, decay_factor, β of
 * Momentum) has no part in them.
 */
import { beforeAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import type { Shape } from "../../src/graph/types.ts";
import { adagrad, adam, evaluate, type Optimizer, plainEngine, sgd, type Tensor, useEngine } from "../../src/index.ts";
import { adamRule } from "../../src/optim/adam.ts";
import { type OptimizerOptions, optimizerOf, withHyper } from "../../src/optim/optimizer.ts";
import { Parameter } from "../../src/tensor/state.ts";
import { onnxTests, storedTensor, storedValues } from "../support/onnx-fixture.ts";
import { problemsOf } from "../support/oracle.ts";

interface Attributes {
  readonly norm_coefficient: number;
  readonly epsilon?: number;
  readonly alpha?: number;
  readonly beta?: number;
  readonly decay_factor?: number;
  readonly mode?: "standard" | "nesterov";
}

/** How one of ONNX's optimizers is written with one of ours. */
interface Written {
  readonly make: (parameters: readonly Parameter[], attributes: Attributes, common: OptimizerOptions) => Optimizer;
  /** Our slots, in ONNX's order of states, with what ONNX's value is of ours: a factor. */
  readonly slots: (attributes: Attributes) => readonly (readonly [slot: string, factor: number])[];
  /** Our step before the update, where it is not T. */
  readonly step?: number;
}

/**
 * Adam:  V ← α·V + (1 − α)·G,  H ← β·H + (1 − β)·G²,  X ← X − r·V / (√H + ε)
 *        with r = R·√(1 − βᵀ) / (1 − αᵀ) for T > 0 and R for T = 0; then X ← (1 − norm_coefficient_post)·X.
 *
 * Ours divides by √(H / (1 − βᵗ)) + ε, so that ε stands beside the corrected root, and corrects the first step too. Where
 * nothing is corrected the two are one: T = 0 is for us a step so late that αᵗ and βᵗ are 0. norm_coefficient_post, a decay
 * without a rate, is 0 in all tests.
 */
const late = 1e6;
const adamOptions = ({ alpha = 0.9, beta = 0.999, epsilon = 1e-6 }: Attributes) => ({
  betas: [alpha, beta] as const,
  epsilon,
});
/** What `adam` runs keeps sums: V = (1 − α)·S and H = (1 − β)·Q. */
const adamSums: Written = {
  step: late,
  make: (parameters, attributes, common) => adam(parameters, { ...common, ...adamOptions(attributes) }),
  slots: ({ alpha = 0.9, beta = 0.999 }) => [
    ["gradientSum", 1 - alpha],
    ["squareSum", 1 - beta],
  ],
};
/** The paper's form, with V and H themselves. */
const adamMoments: Written = {
  step: late,
  make(parameters, attributes, common) {
    const { betas, epsilon } = adamOptions(attributes);
    const hyper = { b1: betas[0], b2: betas[1], epsilon };
    return optimizerOf("adam", parameters, common, { learningRate: 0 }, () => withHyper(adamRule, hyper));
  },
  slots: () => [
    ["m", 1],
    ["v", 1],
  ],
};

/** Adagrad:  r = R / (1 + T·decay_factor),  H ← H + G²,  X ← X − r·G / (√H + ε) */
const adagrads: Written = {
  make: (parameters, { decay_factor = 0, epsilon = 1e-6 }, common) =>
    adagrad(parameters, { ...common, rateDecay: decay_factor, epsilon }),
  slots: () => [["sum", 1]],
};

/**
 * Momentum:  V ← α·V + β·G, in the first step (T = 0) α·V + G,  X ← X − R·V; mode "nesterov": X ← X − R·(G + α·V)
 *
 * β is 1 − our dampening.
 */
const momenta: Written = {
  make: (parameters, { alpha = 0, beta = 1, mode }, { learningRate = 0, ...common }) =>
    sgd(parameters, { ...common, learningRate, momentum: alpha, nesterov: mode === "nesterov", dampening: 1 - beta }),
  slots: () => [["velocity", 1]],
};

const written: Readonly<Record<string, readonly (readonly [ours: string, Written])[]>> = {
  Adam: [
    ["adam", adamSums],
    ["adamRule", adamMoments],
  ],
  Adagrad: [["adagrad", adagrads]],
  Momentum: [["sgd", momenta]],
};

/** This test's values are made with an ε that its node does not state: ONNX's default would be 1e-6. */
const unstated: Readonly<Record<string, Partial<Attributes>>> = { test_adam_multiple: { epsilon: 1e-2 } };

const cases = onnxTests.flatMap((each) => {
  const [node] = each.nodes as [(typeof each.nodes)[number]];
  return (written[node.op] ?? []).map(([ours, how]) => ({ each, node, ours, how }));
});

let native: Engine;
beforeAll(() => {
  native = nodeEngine({ threads: 2 });
});

test("all seven tests are here", () => {
  const names = new Set(cases.map(({ each }) => each.name.replace("test_", "")));
  expect([...names].join(" ")).toBe(
    "adagrad adagrad_multiple adam adam_multiple momentum momentum_multiple nesterov_momentum",
  );
});

describe.each(cases.map((one) => [one.each.name.replace("test_", ""), one.ours, one] as const))(
  "%s",
  (_, ours, one) => {
    test.each(["plain", "native"])(`is a step of ${ours}, %s`, async (engine) => {
      useEngine(engine === "plain" ? plainEngine() : native);
      const { each, node, how } = one;
      const attributes = { ...(node.attributes as unknown as Attributes), ...unstated[each.name] };
      const given = each.inputs.map(({ tensor }) => storedValues(tensor));
      const [rate, time] = [Number(given[0]!.values[0]), Number(given[1]!.values[0])];
      const slots = how.slots(attributes);
      // R, T, then all parameters, all gradients, and all states of each kind.
      const count = (given.length - 2) / (2 + slots.length);
      const parameters = given.slice(2, 2 + count).map(({ shape, values }, i) => {
        return new Parameter({ shape: shape as number[], dtype: "float32" }, values, { name: `X${i}` });
      });
      const gradients = each.inputs.slice(2 + count, 2 + 2 * count).map(({ tensor }) => storedTensor(tensor));
      const common = { learningRate: rate, weightDecay: attributes.norm_coefficient };
      const optimizer = how.make(parameters, attributes, common);
      const states = optimizer.namedStates();
      const scaled = (values: ArrayLike<number>, factor: number) =>
        Float32Array.from(values, (value) => value * factor);
      expect(time).toBe(0);
      states.get("step")!.write(Float64Array.of(how.step ?? time));
      for (const [k, [slot, factor]] of slots.entries())
        for (let i = 0; i < count; i++)
          states.get(`X${i}.${slot}`)!.write(scaled(given[2 + (2 + k) * count + i]!.values, 1 / factor));

      optimizer.apply(parameters as Parameter[], gradients as Tensor<Shape, "float32">[]);
      await evaluate(optimizer);

      const have = [
        parameters,
        ...slots.map(([slot, f]) => parameters.map((_, i) => states.get(`X${i}.${slot}`)!.mul(f))),
      ];
      const wanted = each.outputs.map(({ name, tensor }) => ({
        what: name,
        want: storedValues(tensor),
        tolerance: 1e-6,
      }));
      expect(have.flat().length).toBe(wanted.length);
      const compared = have.flat().map((tensor, i) => ({ have: tensor.current() as Tensor, ...wanted[i]! }));
      expect(await problemsOf([() => compared], { of: "ONNX", least: 0 })).toEqual([undefined]);
      // The step has moved every parameter: the comparison is of something.
      parameters.forEach((_, i) => expect(wanted[i]!.want.values).not.toEqual(given[2 + i]!.values));
    });
  },
);
