/**
 * One step of a recurrent network as a function of its parameters. Names and layouts are PyTorch's: `weight_ih` [gates·hidden, inputs],
 * `weight_hh` [gates·hidden, hidden], and two biases [gates·hidden], one added to each product.
 *
 * Each kind is implemented twice: as the equations of its paper, and in the form that layers run. That form computes all gates in one
 * product, and what depends only on the inputs for all steps at once. Tests check that both give equal results.
 */
import { ShapeError } from "../errors.ts";
import { aTensor, expectArguments, type Kind, optional } from "../graph/arguments.ts";
import { currentPath, withName } from "../graph/scope.ts";
import type { Agree, Show } from "../graph/shape-types.ts";
import { type DType, type Shape, sameShape, showShape } from "../graph/types.ts";
import { affine } from "../tensor/matrices.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** The state that an RNN or a GRU passes from step to step. */
export interface HiddenState<S extends Shape, D extends DType = "float32"> {
  /** The hidden state: the output of the step before. */
  readonly h: Tensor<S, D>;
}

/** The state that an LSTM passes from step to step. */
export interface LstmState<S extends Shape, D extends DType = "float32"> extends HiddenState<S, D> {
  /** The cell state: the LSTM's memory. */
  readonly c: Tensor<S, D>;
}

/** The parameters of one step; a cell such as `lstmCell(8, 16)` has them as fields. A cell without biases has neither of the two. */
export interface CellWeights<I extends number = number, D extends DType = "float32"> {
  readonly weight_ih: Tensor<[number, I], D>;
  readonly weight_hh: Tensor<[number, number], D>;
  readonly bias_ih?: Tensor<[number], D> | undefined;
  readonly bias_hh?: Tensor<[number], D> | undefined;
}

/** The nonlinearity of a plain recurrent network. */
export type RecurrentActivation = "tanh" | "relu";

/** A state of any kind, as a record of its parts by name. */
export type StateRecord = Readonly<Record<string, Tensor>>;

/** Weights of any dtype, as the forms below use them. */
interface Weights {
  readonly weight_ih: Tensor;
  readonly weight_hh: Tensor;
  readonly bias_ih?: Tensor | undefined;
  readonly bias_hh?: Tensor | undefined;
}

/** The parts in which kinds of recurrent networks differ. */
export interface Recurrence {
  /** The number of gates. The rows of the weights are divided into the gates, one after the other. */
  readonly gates: number;
  /** The names of a state's parts. */
  readonly parts: readonly string[];
  /** The inputs' part of the gates: [..., inputs] to [..., gates·hidden]. It is computed for all steps at once, before the loop. */
  project(x: Tensor, weights: Weights): Tensor;
  /** The next state, computed from the projected inputs and the state before. */
  step(projected: Tensor, state: StateRecord, weights: Weights): StateRecord;
}

/** The sum of both biases, for kinds that add both to the same sum. */
function bothBiases({ bias_ih, bias_hh }: Weights): Tensor | undefined {
  return bias_ih && bias_hh ? bias_ih.add(bias_hh) : (bias_ih ?? bias_hh);
}

/** Splits [batch, gates·hidden] into its gates, each [batch, hidden]. */
function gatesOf(all: Tensor, count: number): Tensor[] {
  return all.split(Array<number>(count).fill(all.shape.at(-1)! / count)) as Tensor[];
}

// The names under which an observer (doctor/lens.ts) sees the gates.
const sigmoid = (name: string, x: Tensor): Tensor => withName(name, () => x.sigmoid());
const tanh = (name: string, x: Tensor): Tensor => withName(name, () => x.tanh());

const plain = (activation: RecurrentActivation): Recurrence => ({
  gates: 1,
  parts: ["h"],
  project: (x, weights) => affine(x, weights.weight_ih, bothBiases(weights)),
  step: (projected, { h }, { weight_hh }) => {
    const sum = projected.add(h!.matmul(weight_hh.mT()));
    return { h: activation === "relu" ? sum.relu() : sum.tanh() };
  },
});

const ofLstm: Recurrence = {
  gates: 4,
  parts: ["h", "c"],
  project: (x, weights) => affine(x, weights.weight_ih, bothBiases(weights)),
  step(projected, { h, c }, { weight_hh }) {
    const [i, f, g, o] = gatesOf(projected.add(h!.matmul(weight_hh.mT())), 4);
    const kept = sigmoid("forgetGate", f!).mul(c!);
    const next = kept.add(sigmoid("inputGate", i!).mul(tanh("candidate", g!)));
    return { h: sigmoid("outputGate", o!).mul(tanh("memory", next)), c: next };
  },
};

const ofGru: Recurrence = {
  gates: 3,
  parts: ["h"],
  project: (x, { weight_ih, bias_ih }) => affine(x, weight_ih, bias_ih),
  step(projected, { h }, { weight_hh, bias_hh }) {
    const [r, z, n] = gatesOf(projected, 3);
    const [hr, hz, hn] = gatesOf(affine(h!, weight_hh, bias_hh), 3);
    const reset = sigmoid("resetGate", r!.add(hr!));
    const keep = sigmoid("updateGate", z!.add(hz!));
    const next = tanh("candidate", n!.add(reset.mul(hn!)));
    return { h: next.add(keep.mul(h!.sub(next))) };
  },
};

/** The form of each kind that layers run. */
export const recurrences: {
  readonly rnn: (activation: RecurrentActivation) => Recurrence;
  readonly lstm: Recurrence;
  readonly gru: Recurrence;
} = { rnn: plain, lstm: ofLstm, gru: ofGru };

const someWeights: Kind = (value) => {
  const { weight_ih, weight_hh, bias_ih, bias_hh } = (value ?? {}) as Record<string, unknown>;
  const given = [weight_ih, weight_hh].map(aTensor).concat([bias_ih, bias_hh].map(optional(aTensor)));
  return given.some((instead) => instead !== undefined)
    ? "give { weight_ih, weight_hh, bias_ih, bias_hh }, or a cell such as lstmCell(inputs, hidden)"
    : undefined;
};

/** A state as a record of tensors, by the names of its parts. */
export const aState =
  (parts: readonly string[]): Kind =>
  (value) =>
    typeof value === "object" && value !== null && parts.every((part) => !aTensor((value as StateRecord)[part]))
      ? undefined
      : `give { ${parts.join(", ")} }, each a tensor`;

const anActivation: Kind = (value) => (value === "tanh" || value === "relu" ? undefined : 'give "tanh" or "relu"');

/** Throws ShapeError unless each part of a state has the wanted shape. */
export function expectState(subject: string, state: StateRecord, parts: readonly string[], wanted: Shape): void {
  for (const part of parts) {
    const { shape } = state[part]!;
    if (!sameShape(shape, wanted))
      throw new ShapeError(
        subject,
        `the state's ${part} is ${showShape(shape)}`,
        `give ${showShape(wanted)}, such as the state that came back, or zeroState(batch)`,
        currentPath(),
      );
  }
}

/** Throws ShapeError unless the last axis of x is the number of inputs that the weights take. */
export function expectInputs(subject: string, x: Tensor, rank: number, inputs: number, form: string): void {
  if (x.shape.length === rank && x.shape.at(-1) === inputs) return;
  throw new ShapeError(subject, `x is ${showShape(x.shape)}`, `give ${form}, and ${inputs} inputs`, currentPath());
}

/** Checks the arguments of a step. */
function expectStep(subject: string, { gates, parts }: Recurrence, x: Tensor, state: StateRecord, w: Weights): void {
  expectArguments(subject, [aTensor, aState(parts), someWeights], [x, state, w]);
  const [rows, inputs] = w.weight_ih.shape;
  const [from, hidden] = w.weight_hh.shape;
  const odd = [w.bias_ih, w.bias_hh].find((bias) => bias && !sameShape(bias.shape, [gates * hidden!]));
  const fits = inputs !== undefined && hidden !== undefined && rows === gates * hidden && from === rows && !odd;
  if (!fits)
    throw new ShapeError(
      subject,
      `weight_ih is ${showShape(w.weight_ih.shape)}, weight_hh ${showShape(w.weight_hh.shape)}${odd ? `, a bias ${showShape(odd.shape)}` : ""}`,
      `give [${gates}·hidden, inputs], [${gates}·hidden, hidden] and biases [${gates}·hidden]`,
      currentPath(),
    );
  expectInputs(subject, x, 2, inputs, "[batch, inputs]");
  expectState(subject, state, parts, [x.shape[0]!, hidden]);
}

/** One step in the form that layers run. */
function run(subject: string, kind: Recurrence, x: unknown, state: unknown, weights: unknown): StateRecord {
  expectStep(subject, kind, x as Tensor, state as StateRecord, weights as Weights);
  return kind.step(kind.project(x as Tensor, weights as Weights), state as StateRecord, weights as Weights);
}

type Inputs<B extends number, K extends number, I extends number, D extends DType> = Tensor<[B, K], D> &
  Agree<K, I, `x ${Show<[B, K]>} ends in ${K}, and weight_ih takes ${I}`>;

/**
 * Computes one step of a plain recurrent network (Elman 1990), x [batch, inputs] and h [batch, hidden]: h′ = tanh(W·x + b + U·h + b′), or
 * relu in place of tanh. Throws ShapeError when the shapes do not fit together.
 */
export function rnnCell<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: HiddenState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
  activation: RecurrentActivation = "tanh",
): HiddenState<[B, H], D> {
  expectArguments("rnnCell", [aTensor, aState(["h"]), someWeights, anActivation], [x, state, weights, activation]);
  return run("rnnCell", plain(activation), x, state, weights) as unknown as HiddenState<[B, H], D>;
}

/**
 * Computes one step of an LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers, Schmidhuber and Cummins 2000), x [batch,
 * inputs], h and c [batch, hidden]; the rows of the weights are the gates i, f, g, o. Throws ShapeError when the shapes do not fit
 * together.
 */
export function lstmCell<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: LstmState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
): LstmState<[B, H], D> {
  return run("lstmCell", ofLstm, x, state, weights) as unknown as LstmState<[B, H], D>;
}

/**
 * Computes one step of a GRU (Cho et al. 2014), x [batch, inputs] and h [batch, hidden]; the rows of the weights are the gates r, z, n. As
 * in PyTorch and cuDNN, the reset gate is applied after the product with h. Throws ShapeError when the shapes do not fit together.
 */
export function gruCell<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: HiddenState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
): HiddenState<[B, H], D> {
  return run("gruCell", ofGru, x, state, weights) as unknown as HiddenState<[B, H], D>;
}

/** The two products of one gate, W·x + b and U·h + b′, with that gate's rows of the parameters. */
function gate(x: Tensor, h: Tensor, weights: Weights, at: number): { readonly x: Tensor; readonly h: Tensor } {
  const size = h.shape[1]!;
  const part = <T extends Tensor | undefined>(all: T): T => all?.slice([at * size, (at + 1) * size]) as T;
  return {
    x: affine(x, part(weights.weight_ih), part(weights.bias_ih)), //  W·x + b
    h: affine(h, part(weights.weight_hh), part(weights.bias_hh)), //  U·h + b′
  };
}

/** `rnnCell` as its equation is written: the same result with more operations. */
export function rnnEquations<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: HiddenState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
  activation: RecurrentActivation = "tanh",
): HiddenState<[B, H], D> {
  expectArguments("rnnEquations", [aTensor, aState(["h"]), someWeights, anActivation], [x, state, weights, activation]);
  expectStep("rnnEquations", plain(activation), x, state as unknown as StateRecord, weights);
  const { x: wx, h: uh } = gate(x as Tensor, state.h as Tensor, weights, 0);
  const a = wx.add(uh);
  return { h: activation === "relu" ? a.relu() : a.tanh() } as unknown as HiddenState<[B, H], D>; //  h′ = tanh(W·x + b + U·h + b′)
}

/** `lstmCell` as its equations are written: the same result with more operations. */
export function lstmEquations<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: LstmState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
): LstmState<[B, H], D> {
  expectStep("lstmEquations", ofLstm, x, state as unknown as StateRecord, weights);
  const [h, c] = [state.h as Tensor, state.c as Tensor];
  const [ofI, ofF, ofG, ofO] = [0, 1, 2, 3].map((at) => gate(x as Tensor, h, weights, at));
  const i = ofI!.x.add(ofI!.h).sigmoid(); //  i  = σ(W_i·x + b_i + U_i·h + b_i′)
  const f = ofF!.x.add(ofF!.h).sigmoid(); //  f  = σ(W_f·x + b_f + U_f·h + b_f′)
  const g = ofG!.x.add(ofG!.h).tanh(); //     g  = tanh(W_g·x + b_g + U_g·h + b_g′)
  const o = ofO!.x.add(ofO!.h).sigmoid(); //  o  = σ(W_o·x + b_o + U_o·h + b_o′)
  const next = f.mul(c).add(i.mul(g)); //     c′ = f ⊙ c + i ⊙ g
  return { h: o.mul(next.tanh()), c: next } as unknown as LstmState<[B, H], D>; //  h′ = o ⊙ tanh(c′)
}

/** `gruCell` as its equations are written: the same result with more operations. */
export function gruEquations<B extends number, K extends number, H extends number, I extends number, D extends DType>(
  x: Inputs<B, K, I, D>,
  state: HiddenState<[NoInfer<B>, H], NoInfer<D>>,
  weights: CellWeights<I, D>,
): HiddenState<[B, H], D> {
  expectStep("gruEquations", ofGru, x, state as unknown as StateRecord, weights);
  const h = state.h as Tensor;
  const [ofR, ofZ, ofN] = [0, 1, 2].map((at) => gate(x as Tensor, h, weights, at));
  const r = ofR!.x.add(ofR!.h).sigmoid(); //        r  = σ(W_r·x + b_r + U_r·h + b_r′)
  const z = ofZ!.x.add(ofZ!.h).sigmoid(); //        z  = σ(W_z·x + b_z + U_z·h + b_z′)
  const n = ofN!.x.add(r.mul(ofN!.h)).tanh(); //    n  = tanh(W_n·x + b_n + r ⊙ (U_n·h + b_n′))
  const one = z.scalar(1);
  return { h: one.sub(z).mul(n).add(z.mul(h)) } as unknown as HiddenState<[B, H], D>; //  h′ = (1 − z) ⊙ n + z ⊙ h
}
