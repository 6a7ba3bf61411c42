/** The compiled functions that decode a model, and the queue of their steps. */
import { type Compiled, type CompileOptions, compile } from "../compile/compile.ts";
import { claim, valuesOf } from "../compile/evaluate.ts";
import { sizeInBytes, type Values } from "../graph/types.ts";
import { inMode, isModule } from "../nn/module.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Tree } from "../tensor/tree.ts";
import { type BeamOutput, type BeamPlan, beamStep } from "./beam-search.ts";
import {
  choose,
  type Logits,
  penalized,
  type Rules,
  remembered,
  type SamplingNumbers,
  type SamplingPlan,
  withoutEnds,
  withoutRepeats,
} from "./sampling.ts";
import { feed, type StepModel, stepOf, type TokenIds, takeRows } from "./step-model.ts";

/** What goes from step to step. It stays in the engine. */
export interface Carried {
  readonly state: Tree;
  readonly random: Tensor<[4], "int32">;
  /** The tokens that were fed, if the rules need them: [batch, length], with `noTokenYet` at the beginning where there are fewer. */
  readonly history: Tensor<[number, number], "int32"> | undefined;
  /** How many tokens are to come before a sequence may end, [1]; undefined if it may end at once. */
  readonly missing: Tensor<[1], "int32"> | undefined;
}

/** Numbers that a step takes as tensors, so that other values are not another graph. */
export interface StepNumbers extends SamplingNumbers {
  readonly repetitionPenalty: Tensor<[], "float32">;
}

/** A model's compiled functions. */
export interface Decoder {
  /** The number of tokens that the model has logits for, once a step was traced. */
  vocabulary?: number | undefined;
  /** Repeats each row `copies` times, after having fed the tokens before the last one, if there are any. */
  readonly begin: Compiled<
    [state: Tree, copies: TokenIds, prefix: Prefix | undefined, isRagged: boolean],
    { readonly state: Tree }
  >;
  readonly sample: Compiled<
    [tokens: TokenIds, carried: Carried, plan: SamplingPlan, numbers: StepNumbers, ends: TokenIds | undefined],
    { readonly tokens: TokenIds; readonly carried: Carried }
  >;
  readonly search: Compiled<
    [
      tokens: TokenIds,
      scores: Tensor<[number, number], "float32">,
      carried: Carried,
      plan: BeamPlan,
      numbers: StepNumbers,
      ends: TokenIds | undefined,
    ],
    BeamOutput & { readonly carried: Carried }
  >;
}

/** The tokens of each prompt before its last one: [batch, time], of which the first `lengths` of each row are real. */
export interface Prefix {
  readonly tokens: Tensor<[number, number], "int32">;
  readonly lengths: TokenIds;
}

/** The most bytes of weights that are constants of the steps of a single sequence: for larger ones it gains little, and takes much memory. */
const mostBytesOfOne = 2 ** 26;

/** Whether the weights are constants of a model's steps: steps are many, and have few rows, one for each sequence. */
function holdsWeights(model: object, rows: number): boolean {
  const parameters = isModule(model) ? model.parameters() : [];
  return rows > 1 || parameters.reduce((bytes, each) => bytes + sizeInBytes(each), 0) <= mostBytesOfOne;
}

/** The compiled functions of each model: those with constant weights, and those without. */
const decoders = [new WeakMap<object, Decoder>(), new WeakMap<object, Decoder>()] as const;

/** Returns the compiled functions of a model for this many sequences, the same ones for the same object. */
export function decoderOf(model: StepModel<Tree>, rows: number): Decoder {
  const constantWeights = holdsWeights(model, rows);
  const known = decoders[constantWeights ? 1 : 0];
  const made = known.get(model) ?? decoder(model, { constantWeights });
  known.set(model, made);
  return made;
}

function decoder(model: StepModel<Tree>, options: CompileOptions): Decoder {
  /** Makes a step, and applies the rules to `scoresOf` its logits, in the order of Hugging Face's `generate`. */
  const scored = (
    tokens: TokenIds,
    { state, history, missing }: Carried,
    { penalizes, noRepeatNgramSize }: Rules,
    numbers: StepNumbers,
    ends: TokenIds | undefined,
    scoresOf: (logits: Logits) => Logits,
  ) => {
    const output = stepOf(model, tokens, state);
    made.vocabulary = output.logits.shape[1];
    const seen = history && remembered(history, tokens);
    let scores = scoresOf(output.logits);
    if (seen && penalizes) scores = penalized(scores, seen, numbers.repetitionPenalty);
    if (seen && noRepeatNgramSize > 0) scores = withoutRepeats(scores, seen, noRepeatNgramSize);
    if (ends && missing) scores = withoutEnds(scores, ends, missing);
    return { scores, state: output.state, history: seen, missing: missing?.sub(1) };
  };
  const made: Decoder = {
    begin: compile((state: Tree, copies: TokenIds, prefix: Prefix | undefined, isRagged: boolean) =>
      inMode(false, () => {
        const fed = prefix ? feed(model, prefix.tokens, prefix.lengths, state, isRagged) : state;
        return { state: takeRows(fed, copies) };
      }),
    ),
    sample: compile(
      (tokens: TokenIds, carried: Carried, plan: SamplingPlan, numbers: StepNumbers, ends: TokenIds | undefined) =>
        inMode(false, () => {
          // −1 is no token: the caller, who reads it later, stops.
          const made = scored(tokens.maximum(0), carried, plan, numbers, ends, (logits) => logits);
          const choice = choose(made.scores, carried.random, plan, numbers);
          const { state, history, missing } = made;
          return { tokens: choice.tokens, carried: { state, random: choice.random, history, missing } };
        }),
      options,
    ),
    search: compile(
      (
        tokens: TokenIds,
        scores: Tensor<[number, number], "float32">,
        carried: Carried,
        plan: BeamPlan,
        numbers: StepNumbers,
        ends: TokenIds | undefined,
      ) =>
        inMode(false, () => {
          const made = scored(tokens, carried, plan, numbers, ends, (logits) => logits.logSoftmax(-1));
          const output = beamStep(made.scores, scores, plan, ends);
          const after: Carried = {
            state: takeRows(made.state, output.rows),
            random: carried.random,
            history: made.history?.take(output.rows),
            missing: made.missing,
          };
          return { ...output, carried: after };
        }),
      options,
    ),
  };
  return made;
}

/** A block is made longer until waiting for it takes this many milliseconds. */
const blockTime = 10;
const longestBlock = 64;

/**
 * Queues `count` steps and yields the values of what each of them returns. Steps are queued in blocks, each while the block before is read,
 * so that neither side waits for the other at every token. Whoever stops early has caused at most two blocks of steps too many, whose errors
 * nobody is told of.
 */
export async function* stepsInBlocks(
  step: () => readonly Tensor[],
  count: number,
): AsyncGenerator<readonly Values[], void, void> {
  let made = 0;
  let size = 1;
  const block = (): (readonly Tensor[])[] => {
    const steps = Math.min(size, count - made);
    made += steps;
    return Array.from({ length: steps }, () => claim(step()));
  };
  for (let next = block(); next.length > 0; ) {
    const began = performance.now();
    const now = next;
    next = block();
    const values = await valuesOf(now.flat());
    if (performance.now() - began < blockTime) size = Math.min(2 * size, longestBlock);
    const width = now[0]!.length;
    for (let at = 0; at < values.length; at += width) yield values.slice(at, at + width);
  }
}
