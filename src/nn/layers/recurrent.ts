/** Recurrent layers and cells. Names, layouts and gate orders of the parameters are PyTorch's, so PyTorch's checkpoints load unchanged. */
import { ConfigError, ShapeError } from "../../errors.ts";
import { apply } from "../../graph/apply.ts";
import {
  aFlag,
  aNumber,
  aTensor,
  aWhole,
  expectArguments,
  expectOptions,
  optional,
  options,
} from "../../graph/arguments.ts";
import { currentPath, withName } from "../../graph/scope.ts";
import { type Shape, sameShape, showShape, showType } from "../../graph/types.ts";
import { take } from "../../ops/indexing.ts";
import { arange, concat, where, zeros } from "../../tensor/create.ts";
import { scan } from "../../tensor/scan.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import {
  aState,
  type CellWeights,
  expectInputs,
  expectState,
  type HiddenState,
  type LstmState,
  type Recurrence,
  type RecurrentActivation,
  recurrences,
  type StateRecord,
} from "../cells.ts";
import * as functional from "../functional.ts";
import { defaultGenerator, type Generator } from "../generator.ts";
import { type Initializer, uniform } from "../initializers.ts";
import { type Module, method, module } from "../module.ts";
import { type BiasOption, expectRate, expectSizes, parameter } from "../parameters.ts";

type Float<S extends Shape> = Tensor<S, "float32">;

/** The kinds of recurrent networks. */
export type RecurrentKind = "rnn" | "lstm" | "gru";

/** The state that a kind passes from step to step: `{ h, c }` for an LSTM, `{ h }` for the others. */
export type StateOf<K extends RecurrentKind, S extends Shape> = K extends "lstm" ? LstmState<S> : HiddenState<S>;

/** The options of `lstmCell` and `gruCell`. */
export interface CellOptions {
  /** How the weights of the inputs begin. Default: uniform in ±1/√hidden, as in PyTorch. */
  readonly weight?: Initializer;
  /** How the weights of the state begin, such as `orthogonal()` or `identity`. Default: uniform in ±1/√hidden, as in PyTorch. */
  readonly recurrentWeight?: Initializer;
  /** How both biases begin, or `false` for a layer without them. Default: uniform in ±1/√hidden, as in PyTorch. */
  readonly bias?: BiasOption;
  /** Draws the initial values and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** The options of `rnnCell`. */
export interface RnnCellOptions extends CellOptions {
  /** Default `"tanh"`. */
  readonly activation?: RecurrentActivation;
}

/** The options of `lstm`, `gru` and `rnn`. */
export interface RecurrentOptions extends CellOptions {
  /** The number of stacked layers; each takes the outputs of the layer below. Default 1. */
  readonly layers?: number;
  /** Whether each layer also reads from the end to the beginning. The outputs of both directions are concatenated. Default false. */
  readonly bidirectional?: boolean;
  /** The rate of dropout on the outputs of each layer but the last, in training. Default 0. */
  readonly dropout?: number;
  /** Whether x and the outputs are [batch, time, …]; with `false` they are [time, batch, …]. Default true, unlike PyTorch. */
  readonly batchFirst?: boolean;
}

/** The options of `rnn`. */
export interface RnnOptions extends RecurrentOptions {
  /** Default `"tanh"`. */
  readonly activation?: RecurrentActivation;
}

/** The batch size, for x [A, C, …]. */
type BatchOf<A extends number, C extends number, BatchFirst extends boolean> = BatchFirst extends true ? A : C;
/** The number of states of L layers: one for each layer and direction. */
type StatesOf<L extends number, Bidirectional extends boolean> = Bidirectional extends true ? number : L;
/** The width of the outputs. */
type OutputsOf<H extends number, Bidirectional extends boolean> = Bidirectional extends true ? number : H;

/** The arguments of a recurrent layer besides its inputs. */
export interface RecurrentInput<State, B extends number, M extends Shape> {
  /** The initial state, such as the final state of the chunk before. Default zeros. */
  readonly state?: State;
  /**
   * The number of real steps of each example, int32 [batch]. The steps after them are padding and may hold any values: their outputs are
   * zeros, and the final state is that of the last real step. A length of 0 leaves the initial state. A run stops with a DataError at a
   * length that is negative or beyond x's steps.
   */
  readonly lengths?: Tensor<[B], "int32">;
  /**
   * The real steps as a mask over batch and time, in x's order: true where a step is real. Padding may also come before or between real
   * steps.
   */
  readonly mask?: Tensor<M, "bool">;
}

/** The result of a recurrent layer. */
export interface RecurrentResult<Outputs extends Shape, State> {
  /** The last layer's h of every step, both directions concatenated. */
  readonly outputs: Float<Outputs>;
  /** The state after the last step, for each layer and direction. Pass it to the next call to continue. */
  readonly state: State;
}

/** The result of a single step. */
export interface StepResult<B extends number, H extends number, State> {
  /** The last layer's h. */
  readonly output: Float<[B, H]>;
  readonly state: State;
}

/**
 * A recurrent layer: I inputs, H hidden units, L layers. The state holds all layers and directions, [layers · directions, batch, hidden],
 * in PyTorch's order: forward, then backward, for each layer.
 */
export type Recurrent<
  K extends RecurrentKind,
  I extends number,
  H extends number,
  L extends number = 1,
  Bidirectional extends boolean = false,
  BatchFirst extends boolean = true,
> = RecurrentLayer<K, I, H, StatesOf<L, Bidirectional>, OutputsOf<H, Bidirectional>, BatchFirst> &
  (Bidirectional extends false ? SingleSteps<K, I, H, L> : unknown);

/** The layer that `lstm(inputs, hidden)` makes. */
export type Lstm<
  I extends number,
  H extends number,
  L extends number = 1,
  Bidirectional extends boolean = false,
  BatchFirst extends boolean = true,
> = Recurrent<"lstm", I, H, L, Bidirectional, BatchFirst>;

/** The layer that `gru(inputs, hidden)` makes. */
export type Gru<
  I extends number,
  H extends number,
  L extends number = 1,
  Bidirectional extends boolean = false,
  BatchFirst extends boolean = true,
> = Recurrent<"gru", I, H, L, Bidirectional, BatchFirst>;

/** The layer that `rnn(inputs, hidden)` makes. */
export type Rnn<
  I extends number,
  H extends number,
  L extends number = 1,
  Bidirectional extends boolean = false,
  BatchFirst extends boolean = true,
> = Recurrent<"rnn", I, H, L, Bidirectional, BatchFirst>;

/** The members of recurrent layers with one or both directions: D states, O outputs. */
export interface RecurrentLayer<
  K extends RecurrentKind,
  I extends number,
  H extends number,
  D extends number,
  O extends number,
  BatchFirst extends boolean,
> extends Module {
  /**
   * Computes all steps. Throws ShapeError when x, the state, the lengths or the mask do not fit together; ConfigError when both lengths and
   * a mask are given.
   */
  <A extends number, C extends number>(
    x: Float<[A, C, I]>,
    input?: RecurrentInput<
      StateOf<K, [D, BatchOf<NoInfer<A>, NoInfer<C>, BatchFirst>, H]>,
      BatchOf<NoInfer<A>, NoInfer<C>, BatchFirst>,
      [NoInfer<A>, NoInfer<C>]
    >,
  ): RecurrentResult<[A, C, O], StateOf<K, [D, BatchOf<A, C, BatchFirst>, H]>>;
  /** Returns an initial state of zeros. */
  zeroState<B extends number>(batch: B): StateOf<K, [D, B, H]>;
  /**
   * W of the first layer, one gate after the other. `weight_ih_l1` is W of the second layer, `weight_ih_l0_reverse` W of the first layer's
   * backward direction.
   */
  readonly weight_ih_l0: Parameter<[number, I], "float32">;
  /** U of the first layer. */
  readonly weight_hh_l0: Parameter<[number, H], "float32">;
  readonly [weight: `weight_${string}`]: Parameter<[number, number], "float32">;
  /** The biases of each layer: `bias_ih_l0`, `bias_hh_l0`. Undefined with `bias: false`. */
  readonly [bias: `bias_${string}`]: Parameter<[number], "float32"> | undefined;
}

/** The members of layers with one direction, which can also run step by step. */
export interface SingleSteps<K extends RecurrentKind, I extends number, H extends number, D extends number> {
  /** Computes one step with the layer's parameters: x [batch, inputs]. Use it for sampling, and inside other loops. */
  cell<B extends number>(
    x: Float<[B, I]>,
    state: StateOf<K, [D, NoInfer<B>, H]>,
  ): StepResult<B, H, StateOf<K, [D, B, H]>>;
}

type LayersOf<P> = P extends { readonly layers: infer L extends number } ? L : 1;
type DirectionsOf<P> = P extends { readonly bidirectional: infer B extends boolean } ? B : false;
type OrderOf<P> = P extends { readonly batchFirst: infer B extends boolean } ? B : true;

/** The type of the layer that the options select. */
export type RecurrentOf<K extends RecurrentKind, I extends number, H extends number, P> = Recurrent<
  K,
  I,
  H,
  LayersOf<P>,
  DirectionsOf<P>,
  OrderOf<P>
>;

/**
 * Makes a long short-term memory layer (Hochreiter and Schmidhuber 1997; Gers, Schmidhuber and Cummins 2000): `lstm(128, 256)` maps x
 * [batch, time, 128] to `{ outputs: [batch, time, 256], state: { h, c } }`. The rows of its weights are the gates i, f, g, o. The products
 * with the inputs are computed for all steps at once; the rest is one loop. Throws ConfigError for invalid sizes and rates.
 */
export function lstm<const I extends number, const H extends number, const P extends RecurrentOptions = object>(
  inputs: I,
  hidden: H,
  options?: P & RecurrentOptions,
): RecurrentOf<"lstm", I, H, P> {
  expectOptions("lstm", options, layerOptions);
  return layer("lstm", recurrences.lstm, inputs, hidden, options ?? {}) as never;
}

/**
 * Makes a layer of gated recurrent units (Cho et al. 2014), like `lstm`, with the state `{ h }`. The rows of its weights are the gates r,
 * z, n. As in PyTorch and cuDNN, the reset gate is applied after the product with h.
 */
export function gru<const I extends number, const H extends number, const P extends RecurrentOptions = object>(
  inputs: I,
  hidden: H,
  options?: P & RecurrentOptions,
): RecurrentOf<"gru", I, H, P> {
  expectOptions("gru", options, layerOptions);
  return layer("gru", recurrences.gru, inputs, hidden, options ?? {}) as never;
}

/** Makes a plain recurrent network (Elman 1990), like `lstm`, with the state `{ h }`: h′ = tanh(W·x + b + U·h + b′), or relu. */
export function rnn<const I extends number, const H extends number, const P extends RnnOptions = object>(
  inputs: I,
  hidden: H,
  options?: P & RnnOptions,
): RecurrentOf<"rnn", I, H, P> {
  expectOptions("rnn", options, [...layerOptions, "activation"]);
  return layer("rnn", recurrences.rnn(activationOf("rnn", options)), inputs, hidden, options ?? {}) as never;
}

/** One recurrent step with its parameters, under the names of PyTorch's cells. */
export interface RecurrentCell<K extends RecurrentKind, I extends number, H extends number>
  extends Module,
    CellWeights<I> {
  /** Computes the next state. Its h is the output. */
  <B extends number>(x: Float<[B, I]>, state: StateOf<K, [NoInfer<B>, H]>): StateOf<K, [B, H]>;
  /** Returns an initial state of zeros. */
  zeroState<B extends number>(batch: B): StateOf<K, [B, H]>;
  /** W, one gate after the other. */
  readonly weight_ih: Parameter<[number, I], "float32">;
  /** U. */
  readonly weight_hh: Parameter<[number, H], "float32">;
  /** Undefined with `bias: false`. */
  readonly bias_ih: Parameter<[number], "float32"> | undefined;
  /** Undefined with `bias: false`. */
  readonly bias_hh: Parameter<[number], "float32"> | undefined;
}

/** Makes one step of an LSTM: `lstmCell(128, 256)` maps x [batch, 128] and `{ h, c }`, each [batch, 256], to the next `{ h, c }`. */
export function lstmCell<const I extends number, const H extends number>(
  inputs: I,
  hidden: H,
  options: CellOptions = {},
): RecurrentCell<"lstm", I, H> {
  expectOptions("lstmCell", options, valueOptions);
  return cell("lstmCell", recurrences.lstm, inputs, hidden, options) as never;
}

/** Makes one step of a GRU: `gruCell(128, 256)` maps x [batch, 128] and `{ h }`, [batch, 256], to the next `{ h }`. */
export function gruCell<const I extends number, const H extends number>(
  inputs: I,
  hidden: H,
  options: CellOptions = {},
): RecurrentCell<"gru", I, H> {
  expectOptions("gruCell", options, valueOptions);
  return cell("gruCell", recurrences.gru, inputs, hidden, options) as never;
}

/** Makes one step of a plain recurrent network: `rnnCell(128, 256)` maps x [batch, 128] and `{ h }`, [batch, 256], to the next `{ h }`. */
export function rnnCell<const I extends number, const H extends number>(
  inputs: I,
  hidden: H,
  options: RnnCellOptions = {},
): RecurrentCell<"rnn", I, H> {
  expectOptions("rnnCell", options, [...valueOptions, "activation"]);
  return cell("rnnCell", recurrences.rnn(activationOf("rnnCell", options)), inputs, hidden, options) as never;
}

const valueOptions = ["weight", "recurrentWeight", "bias", "generator"] as const;
const layerOptions = ["layers", "bidirectional", "dropout", "batchFirst", ...valueOptions] as const;

function activationOf(subject: string, options: RnnCellOptions = {}): RecurrentActivation {
  const { activation = "tanh" } = options;
  if (activation !== "tanh" && activation !== "relu")
    throw new ConfigError(subject, `the activation is ${String(activation)}`, 'give "tanh" or "relu"');
  return activation;
}

interface Parts extends CellWeights {
  readonly weight_ih: Parameter<[number, number], "float32">;
  readonly weight_hh: Parameter<[number, number], "float32">;
  readonly bias_ih?: Parameter<[number], "float32">;
  readonly bias_hh?: Parameter<[number], "float32">;
}

/** The parameters of one layer in one direction. */
function partsOf(rows: number, inputs: number, hidden: number, options: CellOptions): Parts {
  const usual = uniform(1 / Math.sqrt(hidden));
  const { weight = usual, recurrentWeight = usual, bias = usual, generator } = options;
  const weights = {
    weight_ih: parameter([rows, inputs], weight, generator),
    weight_hh: parameter([rows, hidden], recurrentWeight, generator),
  };
  if (bias === false) return weights;
  return { ...weights, bias_ih: parameter([rows], bias, generator), bias_hh: parameter([rows], bias, generator) };
}

const zerosFor = ({ parts }: Recurrence, shape: Shape): StateRecord =>
  Object.fromEntries(parts.map((part) => [part, zeros(shape) as Tensor]));

/** The name of a module of a kind: `Lstm`, `LstmCell`. */
const kindOf = (subject: string): string => `${subject[0]!.toUpperCase()}${subject.slice(1)}`;

function cell(subject: string, kind: Recurrence, inputs: number, hidden: number, options: CellOptions): Module {
  expectSizes(subject, [inputs, hidden]);
  const weights = partsOf(kind.gates * hidden, inputs, hidden, options);
  const self = module(kindOf(subject), { ...weights }, (x: Tensor, state: StateRecord) => {
    expectArguments(subject, [aTensor, aState(kind.parts)], [x, state]);
    expectInputs(subject, x, 2, inputs, "[batch, inputs]");
    expectState(subject, state, kind.parts, [x.shape[0]!, hidden]);
    return kind.step(kind.project(x, weights), state, weights);
  });
  method(self, "zeroState", (batch: number) => {
    expectSizes("zeroState", [batch]);
    return zerosFor(kind, [batch, hidden]);
  });
  return self;
}

/** The arguments of a layer of any kind. */
interface Given {
  readonly state?: StateRecord;
  readonly lengths?: Tensor;
  readonly mask?: Tensor;
}

function layer(
  subject: RecurrentKind,
  kind: Recurrence,
  inputs: number,
  hidden: number,
  given: RecurrentOptions,
): Module {
  const { layers = 1, bidirectional = false, dropout = 0, batchFirst = true, generator = defaultGenerator } = given;
  expectArguments(
    subject,
    [aWhole, aWhole, options({ bidirectional: aFlag, dropout: aNumber, batchFirst: aFlag, layers: aWhole })],
    [inputs, hidden, { bidirectional, dropout, batchFirst, layers }],
  );
  expectSizes(subject, [inputs, hidden, layers]);
  expectRate(dropout);
  const directions = bidirectional ? ["", "_reverse"] : [""];
  const width = directions.length * hidden;
  const names = Array.from({ length: layers }, (_, at) => directions.map((direction) => `l${at}${direction}`));
  const weights = names.map((ofLayer, at) =>
    ofLayer.map(() => partsOf(kind.gates * hidden, at === 0 ? inputs : width, hidden, given)),
  );
  const children = Object.fromEntries(
    names.flatMap((ofLayer, at) =>
      ofLayer.flatMap((name, direction) =>
        Object.entries(weights[at]![direction]!).map(([part, value]) => [`${part}_${name}`, value as Parameter]),
      ),
    ),
  );
  const count = layers * directions.length;

  /** The state of one layer and direction, taken from the state of all. */
  const stateAt = (state: StateRecord, at: number): StateRecord =>
    mapped(kind, (part) => {
      const all = state[part]!;
      return (count === 1 ? all : all.slice([at, at + 1])).reshape(all.shape.slice(1)) as Tensor;
    });
  const together = (states: readonly StateRecord[]): StateRecord =>
    mapped(kind, (part) => {
      const rows = states.map((state) => state[part]!.reshape([1, ...state[part]!.shape]) as Tensor);
      return count === 1 ? rows[0]! : (concat(rows, 0) as Tensor);
    });

  const forward = (x: Tensor, given: Given = {}): unknown => {
    expectArguments(
      subject,
      [aTensor, optional(options({ state: aState(kind.parts), lengths: aTensor, mask: aTensor }))],
      [x, given],
    );
    expectInputs(subject, x, 3, inputs, batchFirst ? "[batch, time, inputs]" : "[time, batch, inputs]");
    const [batch, time] = batchFirst ? [x.shape[0]!, x.shape[1]!] : [x.shape[1]!, x.shape[0]!];
    const { state = zerosFor(kind, [count, batch, hidden]) } = given;
    expectState(subject, state, kind.parts, [count, batch, hidden]);
    const isReal = realSteps(subject, given, { batch, time, batchFirst });
    let h = batchFirst ? (x.transpose(1, 0, 2) as Tensor) : x;
    // Padding is set to 0: its values, which may be NaN, must not reach any gradient.
    if (isReal) h = where(isReal, h as Float<Shape>, 0) as Tensor;
    const last: StateRecord[] = [];
    for (const [at, ofLayer] of names.entries()) {
      if (at > 0 && dropout > 0 && self.training)
        h = functional.dropout(h as Float<Shape>, dropout, generator) as Tensor;
      const outputs = ofLayer.map((name, direction) =>
        withName(name, () => {
          const ran = overTime(kind, h, stateAt(state, last.length), weights[at]![direction]!, isReal, direction === 1);
          last.push(ran.state);
          return ran.outputs;
        }),
      );
      h = outputs.length === 1 ? outputs[0]! : (concat(outputs, -1) as Tensor);
    }
    return { outputs: batchFirst ? h.transpose(1, 0, 2) : h, state: together(last) };
  };
  const self: Module = module(kindOf(subject), children, forward);

  method(self, "zeroState", (batch: number) => {
    expectSizes("zeroState", [batch]);
    return zerosFor(kind, [count, batch, hidden]);
  });
  method(self, "cell", (x: Tensor, state: StateRecord) => {
    expectArguments(`${subject}.cell`, [aTensor, aState(kind.parts)], [x, state]);
    if (bidirectional)
      throw new ConfigError(
        `${subject}.cell`,
        "a layer that also reads backward has no single steps",
        "make the layer without `bidirectional`, or call it with whole sequences",
        currentPath(),
      );
    expectInputs(`${subject}.cell`, x, 2, inputs, "[batch, inputs]");
    expectState(`${subject}.cell`, state, kind.parts, [count, x.shape[0]!, hidden]);
    let h = x;
    const next = names.map(([name], at) => {
      if (at > 0 && dropout > 0 && self.training)
        h = functional.dropout(h as Float<Shape>, dropout, generator) as Tensor;
      const [own] = weights[at]!;
      const after = withName(name!, () => kind.step(kind.project(h, own!), stateAt(state, at), own!));
      h = after.h!;
      return after;
    });
    return { output: h, state: together(next) };
  });
  return self;
}

const mapped = ({ parts }: Recurrence, value: (part: string) => Tensor): StateRecord =>
  Object.fromEntries(parts.map((part) => [part, value(part)]));

/** Returns which steps are real, bool [time, batch, 1], or undefined if all are. */
function realSteps(
  subject: string,
  { lengths, mask }: Given,
  { batch, time, batchFirst }: { readonly batch: number; readonly time: number; readonly batchFirst: boolean },
): Tensor<Shape, "bool"> | undefined {
  if (lengths && mask)
    throw new ConfigError(subject, "it is given lengths and a mask", "give one of the two", currentPath());
  if (lengths) {
    if (lengths.dtype !== "int32" || !sameShape(lengths.shape, [batch]))
      throw new ShapeError(
        subject,
        `the lengths are ${showType(lengths)}, and x has ${batch} sequences of ${time} steps`,
        `give int32[${batch}], how many steps of each sequence are real: tensor(lengths, "int32")`,
        currentPath(),
      );
    // The lengths are looked up in 0 … time, so every run checks that they are in this range.
    const words = { subject, one: "length", all: "lengths", most: "the number of steps" };
    const known = apply(take, [arange(time + 1) as Tensor, lengths], { axis: 0, words });
    return arange(time)
      .reshape([time, 1, 1])
      .less(known.reshape([1, batch, 1])) as Tensor<Shape, "bool">;
  }
  if (!mask) return undefined;
  const wanted = batchFirst ? [batch, time] : [time, batch];
  if (mask.dtype !== "bool" || !sameShape(mask.shape, wanted))
    throw new ShapeError(
      subject,
      `the mask is ${showType(mask)}`,
      `give bool${showShape(wanted)}, true where a step is real`,
      currentPath(),
    );
  const byTime = batchFirst ? mask.transpose(1, 0) : mask;
  return byTime.reshape([time, batch, 1]) as Tensor<Shape, "bool">;
}

/** One layer in one direction: x [time, batch, inputs]. Steps that are not real keep the state and give outputs of zeros. */
function overTime(
  kind: Recurrence,
  x: Tensor,
  init: StateRecord,
  weights: Parts,
  isReal: Tensor<Shape, "bool"> | undefined,
  reverse: boolean,
): { readonly state: StateRecord; readonly outputs: Tensor } {
  const projected = kind.project(x, weights);
  if (!isReal) {
    const step = (state: StateRecord, now: Tensor): [StateRecord, Tensor] => {
      const next = kind.step(now, state, weights);
      return [next, next.h!];
    };
    return scan(step as never, { init, xs: projected, reverse }) as never;
  }
  const step = (
    state: StateRecord,
    now: { readonly projected: Tensor; readonly isReal: Tensor<Shape, "bool"> },
  ): [StateRecord, Tensor] => {
    const next = kind.step(now.projected, state, weights);
    const kept = mapped(
      kind,
      (part) => where(now.isReal, next[part] as Float<Shape>, state[part] as Float<Shape>) as Tensor,
    );
    return [kept, where(now.isReal, next.h as Float<Shape>, 0) as Tensor];
  };
  return scan(step as never, { init, xs: { projected, isReal }, reverse }) as never;
}
