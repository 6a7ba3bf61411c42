/**
 * Sequence to sequence (Sutskever, Vinyals and Le 2014; Cho et al. 2014): an encoder reads the source, and a decoder, which begins with the
 * encoder's final states and a START token, writes the target, token by token, until END. With attention the decoder also looks back at the
 * encoder's outputs, at each step at others (Bahdanau, Cho and Bengio 2015; Luong, Pham and Manning 2015).
 */
import { ConfigError, ShapeError } from "../errors.ts";
import {
  aFlag,
  aNumber,
  anOperand,
  aRecord,
  aTensor,
  aWhole,
  described,
  expectArguments,
  optional,
  options as optionsOf,
} from "../graph/arguments.ts";
import { currentPath } from "../graph/scope.ts";
import { type Shape, sameShape, showType } from "../graph/types.ts";
import * as functional from "../nn/functional.ts";
import { defaultGenerator, type Generator } from "../nn/generator.ts";
import { embedding, linear } from "../nn/layers/basic.ts";
import { gru, lstm } from "../nn/layers/recurrent.ts";
import { type Module, method, module } from "../nn/module.ts";
import { expectRate, expectSizes } from "../nn/parameters.ts";
import { arange, concat, full, where, zeros } from "../tensor/create.ts";
import { scan } from "../tensor/scan.ts";
import { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type AttentionKind, type AttentionScore, bahdanau, luong } from "./alignment.ts";
import { aStateOf } from "./step-model.ts";

type Float = Tensor<Shape, "float32">;
type Ids<S extends Shape = Shape> = Tensor<S, "int32">;

/** The options of `seq2seq`. */
export interface Seq2SeqOptions {
  /** Number of tokens of the source's vocabulary. */
  readonly sourceSize: number;
  /** Number of tokens of the target's vocabulary, START, END and padding included. */
  readonly targetSize: number;
  /** The token that is the decoder's first input. */
  readonly startToken: number;
  /** Default "lstm". */
  readonly kind?: "lstm" | "gru";
  /** Default 64. */
  readonly embeddingSize?: number;
  /** Hidden units of each of the encoder's layers and directions. Default 256. The decoder has as many in each layer as both directions have. */
  readonly hiddenSize?: number;
  /** Layers of the encoder, and of the decoder. Default 1. */
  readonly layers?: number;
  /** Layers of the decoder, which begin with the states of the encoder's upper ones. Default: as many as the encoder has. */
  readonly decoderLayers?: number;
  /** Whether the encoder also reads backward. Default true. */
  readonly bidirectional?: boolean;
  /** The rate of dropout on embeddings, between layers and before the output, in training. Default 0. */
  readonly dropout?: number;
  /** Default "luong". With "none" the decoder sees of the source only the final states. */
  readonly attention?: AttentionKind | "none";
  /** Luong's score. Default "general". */
  readonly score?: AttentionScore;
  /**
   * Whether the attentional vector of a step is also an input of the next one (Luong, Pham and Manning 2015, 3.3). Default false: then all
   * steps of the training are computed at once. Bahdanau's decoder always has the context as an input.
   */
  readonly inputFeeding?: boolean;
  /** Draws initial values, masks of dropout and sampled inputs. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/**
 * What a decoder carries from step to step; the first axis of each tensor is the batch. It is a plain record, which compiled functions take
 * and return.
 */
export interface Seq2SeqState<B extends number = number> {
  /** [batch, layers, hidden] */
  readonly h: Tensor<[B, number, number], "float32">;
  /** An LSTM's cell states. */
  readonly c?: Tensor<[B, number, number], "float32">;
  /** With input feeding: the attentional vector of the step before. */
  readonly fed?: Tensor<[B, number], "float32">;
  /** With attention: the encoder's outputs, [batch, source, width]. */
  readonly memory?: Tensor<[B, number, number], "float32">;
  /** With attention: what scores need of the encoder's outputs. */
  readonly keys?: Tensor<[B, number, number], "float32">;
  /** With attention: which steps of the source are real, [batch, source]. */
  readonly mask?: Tensor<[B, number], "bool">;
}

/** The result of a decoder's step. */
export interface Seq2SeqStep<B extends number = number> {
  /** Scores of the next token: [batch, targetSize]. */
  readonly logits: Tensor<[B, number], "float32">;
  readonly state: Seq2SeqState<B>;
}

/** The arguments of an encoder–decoder model besides sources and targets. */
export interface Seq2SeqInput {
  /** Number of real tokens of each source, int32 [batch]; padding behind them changes nothing. Default: all are real. */
  readonly lengths?: Ids<[number]>;
  /**
   * The probability with which a step is fed the target's token before it; otherwise it is fed a token drawn from what the step before
   * predicted (scheduled sampling, Bengio et al. 2015). A number, or a scalar tensor, such as a variable that falls. Default 1, teacher
   * forcing at each step.
   */
  readonly teacherForcing?: number | Tensor<[], "float32">;
}

/** An encoder and a decoder. Made by `seq2seq`. */
export interface Seq2Seq extends Module {
  /**
   * Computes the scores of all tokens of targets: source int32 [batch, source], targets int32 [batch, target] with END and padding, to logits
   * [batch, target, targetSize]. The loss is `crossEntropy(model(source, targets, { lengths }), targets, { ignore: padding })`.
   */
  <B extends number, T extends number>(
    source: Ids<readonly [B, number]>,
    targets: Ids<readonly [B, T]>,
    input?: Seq2SeqInput,
  ): Tensor<[B, T, number], "float32">;
  /** Encodes sources, and returns the state in which a decoder begins. */
  encode<B extends number>(source: Ids<readonly [B, number]>, input?: Pick<Seq2SeqInput, "lengths">): Seq2SeqState<B>;
  /** Computes one step of the decoder from one token for each sequence, int32 [batch]. */
  step<B extends number>(tokens: Ids<readonly [B]>, state: Seq2SeqState<B>): Seq2SeqStep<B>;
  /** Throws ConfigError: a decoder begins with what `encode` gives. `generate(model, { state: model.encode(source), … })`. */
  startState(batch: number): Seq2SeqState;
  /** The token that is the decoder's first input. */
  readonly startToken: number;
}

const optionNames = {
  sourceSize: aWhole,
  targetSize: aWhole,
  startToken: aWhole,
  kind: oneOf("lstm", "gru"),
  embeddingSize: aWhole,
  hiddenSize: aWhole,
  layers: aWhole,
  decoderLayers: aWhole,
  bidirectional: aFlag,
  dropout: aNumber,
  attention: oneOf("bahdanau", "luong", "none"),
  score: oneOf("dot", "general"),
  inputFeeding: aFlag,
  generator: aRecord,
} as const;

function oneOf(...names: readonly string[]): (value: unknown) => string | undefined {
  return (value) =>
    names.includes(value as string) ? undefined : `give ${names.map((name) => `"${name}"`).join(" or ")}`;
}

/** A recurrent layer of either kind, with time before batch. */
interface Layer {
  (x: Float, input?: object): { readonly outputs: Float; readonly state: Readonly<Record<"h" | "c", Float>> };
  cell(x: Float, state: object): { readonly output: Float; readonly state: Readonly<Record<"h" | "c", Float>> };
}

/** The same with batch before layers, or back. */
const turned = (state: Readonly<Record<string, Float>>): Record<string, Float> =>
  Object.fromEntries(Object.entries(state).map(([part, x]) => [part, x.transpose(1, 0, 2) as Float]));

/**
 * Makes an encoder and a decoder for token ids:
 *
 *     const model = seq2seq({ sourceSize: 28, targetSize: 42, startToken: 1 });
 *     const loss = crossEntropy(model(letters, phones, { lengths }), phones, { ignore: 0, labelSmoothing: 0.1 });
 *
 * `generate` writes targets with its `encode` and `step`. Throws ConfigError for sizes and options that do not fit together.
 */
export function seq2seq(options: Seq2SeqOptions): Seq2Seq {
  expectArguments("seq2seq", [aRecord], [options]);
  expectArguments("seq2seq", [optionsOf(optionNames)], [options]);
  const { sourceSize, targetSize, startToken, embeddingSize = 64, hiddenSize = 256, layers = 1 } = options;
  const { decoderLayers = layers, bidirectional = true, dropout = 0, kind = "lstm" } = options;
  const { attention = "luong", score = "general", inputFeeding = false, generator = defaultGenerator } = options;
  expectSizes("seq2seq", [sourceSize, targetSize, embeddingSize, hiddenSize, layers, decoderLayers]);
  expectRate(dropout);
  if (!(startToken >= 0 && startToken < targetSize))
    throw new ConfigError(
      "seq2seq",
      `startToken is ${startToken}`,
      `give a token of the target, 0 to ${targetSize - 1}`,
    );
  if (decoderLayers > layers)
    throw new ConfigError(
      "seq2seq",
      `the decoder has ${decoderLayers} layers and the encoder ${layers}`,
      "give the decoder as many layers or fewer: each begins with the state of one of the encoder's",
    );
  if (inputFeeding && attention === "none")
    throw new ConfigError("seq2seq", "there is input feeding without attention", 'give attention: "luong"');

  const directions = bidirectional ? 2 : 1;
  const width = directions * hiddenSize;
  const isBahdanau = attention === "bahdanau";
  const fedSize = isBahdanau || inputFeeding ? width : 0;
  const make = (kind === "lstm" ? lstm : gru) as unknown as (i: number, h: number, o: object) => Module & Layer;
  const given = { generator };
  const source = embedding(sourceSize, embeddingSize, given);
  const target = embedding(targetSize, embeddingSize, given);
  const encoder = make(embeddingSize, hiddenSize, { layers, bidirectional, dropout, batchFirst: false, generator });
  const decoder = make(embeddingSize + fedSize, width, {
    layers: decoderLayers,
    dropout,
    batchFirst: false,
    generator,
  });
  const sizes = { query: width, memory: width };
  const align = { bahdanau, luong, none: () => undefined }[attention](sizes, { score, generator });
  const combine = align && linear(2 * width, width, { generator, bias: false });
  const head = linear(width, targetSize, given);
  const children = { source, target, encoder, decoder, ...(align && { attention: align, combine: combine! }), head };

  const thinned = (x: Float): Float =>
    dropout > 0 && self.training ? (functional.dropout(x, dropout, generator) as Float) : x;
  const embedded = (table: typeof source | typeof target, ids: Ids): Float => thinned(table(ids) as Float);

  function encode(ids: Ids, lengths: Ids | undefined): { [name: string]: Float | Tensor } {
    const [batch, time] = ids.shape as [number, number];
    const x = embedded(source, ids.transpose(1, 0) as Ids);
    const { outputs, state } = encoder(x, lengths ? { lengths } : {});
    const begin = Object.fromEntries(
      Object.entries(state).map(([part, all]) => {
        const upper = all.slice([(layers - decoderLayers) * directions, layers * directions]) as Float;
        // [layers · directions, batch, hidden] to [batch, layers, directions · hidden]
        const turned = upper.reshape([decoderLayers, directions, batch, hiddenSize]).transpose(2, 0, 1, 3) as Float;
        return [part, turned.reshape([batch, decoderLayers, width]) as Float];
      }),
    );
    if (!align) return begin;
    const memory = outputs.transpose(1, 0, 2) as Float;
    const mask = lengths ? maskOf(lengths, time) : (full([batch, time], 1, "bool") as Tensor);
    return {
      ...begin,
      ...(fedSize > 0 && !isBahdanau && { fed: zeros([batch, fedSize]) as Float }),
      memory,
      keys: align.keys(memory),
      mask,
    };
  }

  /** Luong's h̃ = tanh(W·[c; h]), and scores of tokens. */
  const read = (h: Float, context: Float | undefined): { readonly vector: Float; readonly logits: Float } => {
    const vector = context ? (combine!(concat([context, h] as never, -1) as never).tanh() as unknown as Float) : h;
    return { vector, logits: head(thinned(vector) as never) as unknown as Float };
  };

  type Parts = { readonly [name: string]: Float };

  /** One step from embedded tokens [batch, embedding], on the part of the state that changes. */
  function advance(
    x: Float,
    { fed, ...before }: Parts,
    { memory, keys, mask }: { readonly [name: string]: Tensor },
  ): { readonly logits: Float; readonly next: Parts } {
    const look = (query: Float): Float =>
      align!(
        query.unsqueeze(1) as Float,
        keys as Float,
        memory as Float,
        mask as Tensor<Shape, "bool">,
      ).context.squeeze(1) as Float;
    if (isBahdanau) {
      const top = before.h!.slice(null, [decoderLayers - 1, decoderLayers]).squeeze(1) as Float;
      const context = look(top); //  from the state before the step
      const { output, state } = decoder.cell(concat([x, context] as never, -1) as never as Float, turned(before));
      return { logits: read(output, context).logits, next: turned(state) };
    }
    const inputs = fed ? (concat([x, fed] as never, -1) as unknown as Float) : x;
    const { output, state } = decoder.cell(inputs, turned(before));
    const { vector, logits } = read(output, align && look(output));
    return { logits, next: { ...turned(state), ...(fed && { fed: vector }) } };
  }

  const split = (state: object): { readonly changing: Parts; readonly fixed: Parts } => {
    const { memory, keys, mask, ...changing } = state as Parts;
    return { changing, fixed: align ? { memory: memory!, keys: keys!, mask: mask! } : {} };
  };

  const self: Module = module("Seq2Seq", children, (ids: Ids, targets: Ids, input: Seq2SeqInput = {}) => {
    expectCall(ids, targets, input);
    const { lengths, teacherForcing = 1 } = input;
    const [batch, time] = targets.shape as [number, number];
    if (time === 0) return zeros([batch, 0, targetSize]);
    const { changing, fixed } = split(encode(ids, lengths));
    const start = full([1, batch], startToken, "int32") as Ids;
    const before = (time > 1
      ? concat([start, targets.transpose(1, 0).slice([0, time - 1])] as never, 0)
      : start) as unknown as Ids;
    const isForced = teacherForcing === 1;
    if (isForced && fedSize === 0) {
      const { outputs } = decoder(embedded(target, before), { state: turned(changing) });
      const h = outputs.transpose(1, 0, 2) as Float;
      const { memory, keys, mask } = fixed;
      return read(h, align?.(h, keys!, memory!, mask as never).context).logits;
    }
    if (isForced) {
      const { outputs } = scan(
        (state: Parts, x: Float) => {
          const { logits, next } = advance(x, state, fixed);
          return [next, logits] as never;
        },
        { init: changing as never, xs: embedded(target, before) as never },
      );
      return (outputs as unknown as Float).transpose(1, 0, 2);
    }
    // The first token is START in any case, since the prediction before it is START too.
    const { outputs } = scan(
      ({ predicted, ...state }: Parts, token: Ids) => {
        const isTrue = generator.uniform([batch]).less(teacherForcing as number) as Tensor<Shape, "bool">;
        const fed = where(isTrue, token, predicted as unknown as Ids) as Ids;
        const { logits, next } = advance(embedded(target, fed), state, fixed);
        return [{ ...next, predicted: generator.categorical(logits.detach() as never) }, logits] as never;
      },
      { init: { ...changing, predicted: start.reshape([batch]) } as never, xs: before as never },
    );
    return (outputs as unknown as Float).transpose(1, 0, 2);
  });

  method(self, "encode", (ids: Ids, input: Pick<Seq2SeqInput, "lengths"> = {}) => {
    expectArguments("Seq2Seq.encode", [aTensor, optionsOf({ lengths: aTensor })], [ids, input]);
    expectIds("Seq2Seq.encode", "sources", ids, 2);
    return encode(ids, input.lengths);
  });
  const aState = aStateOf({
    h: 3,
    ...(kind === "lstm" && { c: 3 }),
    ...(fedSize > 0 && !isBahdanau && { fed: 2 }),
    ...(align && { memory: 3, keys: 3, mask: 2 }),
  });
  method(self, "step", (tokens: Ids, state: object) => {
    expectArguments("Seq2Seq.step", [aTensor, aState], [tokens, state]);
    expectIds("Seq2Seq.step", "tokens", tokens, 1);
    const { changing, fixed } = split(state);
    const { logits, next } = advance(embedded(target, tokens), changing, fixed);
    return { logits, state: { ...next, ...fixed } };
  });
  method(self, "startState", () => {
    throw new ConfigError(
      "Seq2Seq",
      "a decoder has no state of its own to begin with",
      "give it that of its sources: generate(model, { state: model.encode(source, { lengths }), … })",
    );
  });
  Object.defineProperty(self, "startToken", { value: startToken });
  return self as unknown as Seq2Seq;
}

/** The options of `scheduledSampling`. */
export interface ScheduledSamplingOptions {
  /** The rate of the first step. Default 1. */
  readonly start?: number;
  /** The rate after `steps` updates, and from then on. Default 0. */
  readonly end?: number;
  /** Updates until `end`. */
  readonly steps: number;
}

/** A rate of teacher forcing that falls. Made by `scheduledSampling`. */
export class ScheduledSampling {
  readonly #start: number;
  readonly #end: number;
  readonly #steps: number;
  readonly #updates: State<[], "float64">;

  /** Internal: use `scheduledSampling`. */
  constructor({ start = 1, end = 0, steps }: ScheduledSamplingOptions) {
    this.#start = start;
    this.#end = end;
    this.#steps = steps;
    this.#updates = new State({ shape: [] as const, dtype: "float64" }, new Float64Array(1), { name: "updates" });
  }

  /** Returns the rate after the updates so far, a scalar of the graph. */
  rate(): Tensor<[], "float32"> {
    const share = this.#updates.current().div(this.#steps).minimum(1);
    return share
      .mul(this.#end - this.#start)
      .add(this.#start)
      .cast("float32");
  }

  /** Adds to the graph: counts an update. Call it after `optimizer.minimize(loss)`, or as a setup's `afterUpdate`. */
  update(): void {
    this.#updates.assign(this.#updates.current().add(1));
  }

  /** Returns the number of updates as `updates`, which a checkpoint holds: `state: { sampling }` in a setup. */
  namedStates(): Map<string, State> {
    return new Map<string, State>([["updates", this.#updates]]);
  }

  states(): State[] {
    return [this.#updates];
  }
}

/**
 * Makes a rate of teacher forcing that falls along a straight line, from `start` to `end` in so many updates (Bengio et al. 2015, linear
 * decay): `model(source, targets, { teacherForcing: sampling.rate() })`. Throws ConfigError for rates outside of 0 to 1.
 */
export function scheduledSampling(options: ScheduledSamplingOptions): ScheduledSampling {
  expectArguments("scheduledSampling", [aRecord], [options]);
  expectArguments("scheduledSampling", [optionsOf({ start: aNumber, end: aNumber, steps: aWhole })], [options]);
  const { start = 1, end = 0, steps } = options;
  for (const [name, rate] of Object.entries({ start, end }))
    if (!(rate >= 0 && rate <= 1))
      throw new ConfigError("scheduledSampling", `\`${name}\` is ${rate}`, "give a probability from 0 to 1");
  if (!(steps >= 1))
    throw new ConfigError("scheduledSampling", `\`steps\` is ${described(steps)}`, "give a whole number from 1 on");
  return new ScheduledSampling(options);
}

/** Returns which of `time` steps are real, bool [batch, time]. */
function maskOf(lengths: Ids, time: number): Tensor {
  return arange(time)
    .unsqueeze(0)
    .less(lengths.unsqueeze(1) as never) as Tensor;
}

function expectIds(subject: string, name: string, ids: Tensor, rank: number): void {
  if (ids.dtype === "int32" && ids.shape.length === rank) return;
  const wanted = rank === 2 ? "int32 [batch, time]" : "int32 [batch]";
  throw new ShapeError(subject, `the ${name} are ${showType(ids)}`, `give token ids, ${wanted}`, currentPath());
}

function expectCall(ids: Tensor, targets: Tensor, input: Seq2SeqInput): void {
  const known = optionsOf({ lengths: aTensor, teacherForcing: anOperand });
  expectArguments("Seq2Seq", [aTensor, aTensor, optional(known)], [ids, targets, input]);
  expectIds("Seq2Seq", "sources", ids, 2);
  expectIds("Seq2Seq", "targets", targets, 2);
  const { teacherForcing = 1 } = input;
  if (ids.shape[0] !== targets.shape[0])
    throw new ShapeError(
      "Seq2Seq",
      `there are ${ids.shape[0]} sources and ${targets.shape[0]} targets`,
      "give one target for each source",
      currentPath(),
    );
  const isRate =
    typeof teacherForcing === "number"
      ? teacherForcing >= 0 && teacherForcing <= 1
      : teacherForcing.dtype === "float32" && sameShape(teacherForcing.shape, []);
  if (!isRate)
    throw new ConfigError(
      "Seq2Seq",
      `teacherForcing is ${typeof teacherForcing === "number" ? teacherForcing : described(teacherForcing)}`,
      "give a probability from 0 to 1, or a float32 scalar",
      currentPath(),
    );
}
