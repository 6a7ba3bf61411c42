/** The contract of models that write a sequence token by token, which `generate` decodes. */
import { claim } from "../compile/evaluate.ts";
import { ConfigError, ShapeError } from "../errors.ts";
import { aRecord, described, type Kind } from "../graph/arguments.ts";
import { sameShape, showShape, showType } from "../graph/types.ts";
import { arange, where } from "../tensor/create.ts";
import { scan } from "../tensor/scan.ts";
import type { Storage } from "../tensor/storage.ts";
import { Tensor } from "../tensor/tensor.ts";
import { flatten } from "../tensor/tree.ts";

/** Ids of tokens, one for each sequence of a batch. */
export type TokenIds = Tensor<[number], "int32">;

/** The result of a step. */
export interface StepOutput<S> {
  /** What the model expects next: unnormalised log probabilities of all tokens, [batch, vocabulary]. */
  readonly logits: Tensor<[number, number], "float32">;
  /** The state after the step, with the shapes and dtypes of the state before it. */
  readonly state: S;
}

/**
 * A model that is fed one token per sequence at a time: a recurrent language model, a transformer with a key–value cache, the decoder of an
 * encoder–decoder model. `generate` calls these methods inside compiled functions and in evaluation mode, and keeps the compiled functions
 * as long as the model object exists.
 *
 * **The first axis of every tensor of a state is the batch**, so that a beam search can reorder states by `take`, and rows can be repeated. A
 * state is a tensor, or arrays and records of tensors, as compiled functions take and return.
 */
export interface StepModel<S> {
  /**
   * Returns the state before the first token of `batch` sequences. At most `length` tokens will be fed to each: a model with a cache makes
   * room for them.
   */
  startState(batch: number, length: number): S;
  /** Feeds one token to each sequence, and returns what the model expects next. */
  step(tokens: TokenIds, state: S): StepOutput<S>;
  /**
   * Feeds several tokens to each sequence at once: tokens [batch, time], of which the first `lengths` of each row are real. Returns the
   * state after them; what follows them must not change it. Default: `step`, token by token.
   */
  prefill?(tokens: Tensor<[number, number], "int32">, lengths: TokenIds, state: S): S;
}

/** Returns a state whose tensors are `change` of those of another, in the same arrays and records. */
export function mapState<S>(state: S, change: (part: Tensor) => Tensor): S {
  const parts: Tensor[] = [];
  const rebuild = flatten("generate", state, parts, "the state holds a");
  return rebuild(parts.map(change)) as S;
}

/** Returns the rows of a state at the indices, in their order. */
export function takeRows<S>(state: S, rows: TokenIds): S {
  return mapState(state, (part) => part.take(rows) as Tensor);
}

/** Says that the values of a state are of no more use once the steps that were called with them are done: later steps use its memory. */
export function discardState(state: unknown): void {
  const parts: Tensor[] = [];
  flatten("generate", state, parts);
  for (const { node } of parts) if (node.source?.kind === "host") (node.source.storage as Storage).discard();
}

/** Says that the caller's steps read a state: an error of the runs that compute it is reported to no other caller. */
export function claimState(state: unknown): void {
  const parts: Tensor[] = [];
  flatten("generate", state, parts);
  claim(parts);
}

/** Throws ShapeError unless the first axis of every tensor of a state is the batch. */
export function expectBatch<S>(state: S, batch: number): S {
  return mapState(state, (part) => {
    if (part.shape[0] === batch) return part;
    throw new ShapeError(
      "generate",
      `a tensor of the state is ${showType(part)}, and there are ${batch} sequences`,
      "make the batch the first axis of every tensor of the state",
    );
  });
}

/**
 * Returns the kind of a state whose parts are tensors with so many axes: `{ h: 3, c: 3 }`. `more` says whether other conditions hold. For
 * the steps of models, whose states come from outside.
 */
export function aStateOf(
  parts: Readonly<Record<string, number>>,
  more: (state: Readonly<Record<string, unknown>>) => boolean = () => true,
  others: readonly string[] = [],
): Kind {
  const names = [...others, ...Object.keys(parts)];
  return (value) => {
    const state = aRecord(value) ? undefined : (value as Readonly<Record<string, unknown>>);
    const isWhole = state && Object.entries(parts).every(([name, rank]) => hasAxes(state[name], rank));
    return isWhole && more(state) ? undefined : `give { ${names.join(", ")} }, the state before the step,`;
  };
}

/** Whether a value is a tensor with so many axes. */
export const hasAxes = (value: unknown, rank: number): boolean =>
  value instanceof Tensor && value.shape.length === rank;

/** Makes a step, and checks what it returns. */
export function stepOf<S>(model: StepModel<S>, tokens: TokenIds, state: S): StepOutput<S> {
  const output = model.step(tokens, state);
  if (aRecord(output) || !(output.logits instanceof Tensor))
    throw new ConfigError(
      "generate",
      `the step returned ${(output as unknown) instanceof Promise ? "a promise" : described(output)}`,
      "return { logits, state } at once: logits is a tensor, and state what the next step gets",
    );
  const { shape, dtype } = output.logits;
  const [batch] = tokens.shape;
  if (shape.length !== 2 || shape[0] !== batch || shape[1] === 0 || dtype !== "float32")
    throw new ShapeError(
      "generate",
      `the step's logits for ${batch} tokens are ${showType(output.logits)}`,
      `return float32${showShape([batch!])} with one more axis, the vocabulary`,
    );
  expectKept("a step", state, output.state);
  return output;
}

/** Throws ShapeError unless a state has the parts that it had before. */
function expectKept(what: string, state: unknown, after: unknown): void {
  const [before, now]: [Tensor[], Tensor[]] = [[], []];
  flatten("generate", state, before);
  flatten("generate", after, now, `the state after ${what} holds a`);
  for (let at = 0; at < Math.max(before.length, now.length); at++) {
    const [own, part] = [before[at], now[at]];
    if (own && part && part.dtype === own.dtype && sameShape(part.shape, own.shape)) continue;
    const shown = (each: Tensor | undefined): string => (each ? showType(each) : "missing");
    throw new ShapeError(
      "generate",
      `a tensor of the state is ${shown(own)} before ${what} and ${shown(part)} after it`,
      "return each part of the state with the shape and dtype that it came with",
    );
  }
}

/** Feeds the first `lengths` tokens of each row; `isRagged` says whether the rows differ in length. */
export function feed<S>(
  model: StepModel<S>,
  tokens: Tensor<[number, number], "int32">,
  lengths: TokenIds,
  state: S,
  isRagged: boolean,
): S {
  if (model.prefill) {
    const after = model.prefill(tokens, lengths, state);
    expectKept("prefill", state, after);
    return after;
  }
  const [batch, time] = tokens.sizes();
  const isReal = arange(time)
    .reshape([time, 1])
    .less(lengths.reshape([1, batch]));
  const cell = (
    before: S,
    now: { readonly token: TokenIds; readonly isReal: Tensor<[number], "bool"> },
  ): [S, undefined] => {
    const { state: after } = stepOf(model, now.token, before);
    if (!isRagged) return [after, undefined];
    const kept: Tensor[] = [];
    flatten("generate", before, kept);
    let at = 0;
    return [
      mapState(after, (part) => {
        const rows = now.isReal.reshape([batch, ...part.shape.slice(1).map(() => 1)]);
        return where(rows, part as Tensor<readonly number[]>, kept[at++]!) as Tensor;
      }),
      undefined,
    ];
  };
  return scan(cell as never, { init: state, xs: { token: tokens.transpose(1, 0), isReal } } as never).state as S;
}
