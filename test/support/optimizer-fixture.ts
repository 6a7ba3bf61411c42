/** What PyTorch's optimizers did on three problems, and the problems in our terms. */
import { readFileSync } from "node:fs";
import {
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  lion,
  meanSquaredError,
  nadam,
  type Optimizer,
  radam,
  rmsprop,
  sgd,
  type Tensor,
  tensor,
} from "../../src/index.ts";
import type { OptimizerOptions, Trainable } from "../../src/optim/optimizer.ts";
import { Parameter } from "../../src/tensor/state.ts";

/** Options under PyTorch's names. */
export interface Options {
  readonly lr?: number;
  readonly momentum?: number;
  readonly dampening?: number;
  readonly nesterov?: boolean;
  readonly weight_decay?: number;
  readonly amsgrad?: boolean;
  readonly lr_decay?: number;
  readonly initial_accumulator_value?: number;
  readonly betas?: [number, number];
  readonly eps?: number;
  readonly alpha?: number;
  readonly rho?: number;
  readonly centered?: boolean;
  readonly momentum_decay?: number;
}

export type Problem = "quadratic" | "rosenbrock" | "network";

/** One of twenty steps: the loss before it and the parameters after it. */
export interface Step {
  readonly loss: number;
  readonly parameters: readonly (readonly number[])[];
}

type Rates = readonly number[];

export interface Fixture {
  readonly scales: readonly number[];
  readonly x: readonly (readonly number[])[];
  readonly y: readonly (readonly number[])[];
  readonly starts: Readonly<Record<Problem, readonly (readonly number[] | readonly (readonly number[])[])[]>>;
  readonly cases: readonly {
    readonly name: string;
    readonly problem: Problem;
    readonly options: Options;
    readonly steps: readonly Step[];
  }[];
  readonly grouped: readonly {
    readonly name: string;
    readonly options: Options;
    readonly own: Options;
    readonly factor: number;
    readonly steps: readonly Step[];
  }[];
  readonly schedules: Readonly<Record<string, Rates>>;
  readonly plateaus: readonly { readonly measured: Rates; readonly maximize: boolean; readonly rates: Rates }[];
  readonly clipping: {
    readonly gradients: readonly (readonly number[])[];
    readonly cases: readonly {
      readonly by: "value" | "norm" | "global";
      readonly limit: number;
      readonly norms: readonly number[];
      readonly gradients: readonly (readonly number[])[];
    }[];
  };
  readonly lbfgs: readonly {
    readonly problem: Problem;
    readonly options: LbfgsOptions;
    readonly evaluations: number;
    readonly losses: readonly number[];
  }[];
  readonly lbfgsTrajectories: readonly {
    readonly problem: Problem;
    readonly options: LbfgsOptions;
    readonly steps: readonly Step[];
  }[];
}

interface LbfgsOptions {
  readonly history_size?: number;
  readonly max_iter?: number;
  readonly lr?: number;
}

export const fixture = JSON.parse(
  readFileSync(new URL("../fixtures/optimizers.json", import.meta.url), "utf8"),
) as Fixture;

/** A record without the fields that are undefined. */
export function given<T extends object>(record: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as never;
}

/** PyTorch's options in our names. */
export function renamed(options: Options): OptimizerOptions & Record<string, unknown> {
  return given({
    learningRate: options.lr,
    weightDecay: options.weight_decay,
    momentum: options.momentum,
    dampening: options.dampening,
    nesterov: options.nesterov,
    rateDecay: options.lr_decay,
    initialSum: options.initial_accumulator_value,
    betas: options.betas,
    epsilon: options.eps,
    decay: options.alpha ?? options.rho,
    centered: options.centered,
    momentumDecay: options.momentum_decay,
  }) as never;
}

type Maker = (model: Trainable<never>, options: never) => Optimizer;

const makers: Readonly<Record<string, Maker>> = {
  sgd,
  adagrad,
  rmsprop,
  adadelta,
  adam,
  amsgrad,
  adamW,
  nadam,
  radam,
  lion,
};

/** Every first-order optimizer by name. */
export const firstOrder = makers as Readonly<
  Record<string, (model: Trainable, options: OptimizerOptions & { readonly learningRate: number }) => Optimizer>
>;

/** The optimizer that a case names: its first word is ours, and "decoupled" an option. */
export function made(name: string, model: Trainable, options: Options): Optimizer {
  const all = { ...renamed(options), ...(name.includes("decoupled") && { decoupled: true }) };
  return makers[name.split(" ")[0]!]!(model as Trainable<never>, all as never);
}

/** A problem at its start: its parameters, called weight and bias, and the loss, in float64. */
export function problem(name: Problem): { parameters: Parameter[]; loss: () => Tensor } {
  const parameters = fixture.starts[name].map((values, i) => {
    const { shape } = tensor(values as number[]);
    return new Parameter({ shape, dtype: "float64" }, Float64Array.from(values.flat() as number[]), {
      name: ["weight", "bias"][i]!,
    });
  });
  const [a, b] = parameters as [Parameter, Parameter];
  const [x, y, scales] = [fixture.x, fixture.y, fixture.scales].map(
    (values): Tensor => tensor(values as number[], "float64"),
  ) as [Tensor, Tensor, Tensor];
  const losses: Record<Problem, () => Tensor> = {
    quadratic: () => a.sub(1).square().mul(scales).sum().mul(0.5),
    rosenbrock() {
      const [u, v] = a.split([1, 1]) as [Tensor, Tensor];
      return u.neg().add(1).square().add(v.sub(u.square()).square().mul(100)).sum();
    },
    network: () =>
      meanSquaredError(
        x
          .matmul((a as Tensor).mT())
          .add(b)
          .tanh(),
        y,
      ),
  };
  return { parameters, loss: losses[name] };
}

/** What is further from what it should be than a relative 1e-6, or an absolute 1e-12 around zero. */
export function differences(got: ArrayLike<number>, want: readonly number[], what: string): string[] {
  if (got.length !== want.length) return [`${what}: ${got.length} values instead of ${want.length}`];
  return want.flatMap((value, i) =>
    Math.abs(got[i]! - value) <= 1e-12 + 1e-6 * Math.abs(value) ? [] : [`${what}, ${i}: ${got[i]} instead of ${value}`],
  );
}

/** The values of all parameters now. */
export async function valuesOf(parameters: readonly Parameter[]): Promise<number[][]> {
  return Promise.all(parameters.map(async (parameter) => [...(await parameter.data())]));
}
