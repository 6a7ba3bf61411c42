/** `generate`: sequences of tokens from any model that has a step. */
import { ConfigError } from "../errors.ts";
import { aFlag, aNumber, aWhole, expectArguments, type Kind, options as optionsOf } from "../graph/arguments.ts";
import type { Values } from "../graph/types.ts";
import { defaultGenerator } from "../nn/generator.ts";
import { decodingState, expectSeed } from "../random/generator.ts";
import { fromValues, tensor } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Tree } from "../tensor/tree.ts";
import { type BeamRules, Beams, neverContinued } from "./beam-search.ts";
import { type Carried, type Decoder, decoderOf, type Prefix, type StepNumbers, stepsInBlocks } from "./decoder.ts";
import { noToken, noTokenYet, type Rules } from "./sampling.ts";
import { claimState, discardState, expectBatch, type StepModel, type TokenIds } from "./step-model.ts";

/** The options of `generate`. Names, meanings and defaults are those of Hugging Face's `GenerationConfig`. */
export interface GenerateOptions<S = unknown> {
  /**
   * The ids that the model is given first: one prompt, or a list of prompts, which may differ in length. Default: an empty prompt. An empty
   * one becomes `bosTokenId`.
   */
  readonly prompt?: ArrayLike<number> | readonly ArrayLike<number>[];
  /** The most tokens to generate for each sequence. Default 20. */
  readonly maxNewTokens?: number;
  /** How many tokens come before one of `eosTokenId` may be chosen, at most `maxNewTokens`. Default 0. */
  readonly minNewTokens?: number;
  /**
   * Whether tokens are drawn at random; otherwise the most likely one is taken. Default: true if a temperature, topK or topP is given, else
   * false.
   */
  readonly doSample?: boolean;
  /** What the logits are divided by: below 1, likely tokens become more likely. 0, or below 1e-30, takes the most likely token. Default 1. */
  readonly temperature?: number;
  /** Draws from this many most likely tokens. Default: all. */
  readonly topK?: number;
  /**
   * Draws from the fewest most likely tokens whose probabilities sum up to this, above 0 and at most 1. Default 1: all. Without `topK`, the
   * whole vocabulary is sorted at each step.
   */
  readonly topP?: number;
  /** Above 1, makes tokens less likely that the sequence or its prompt holds already. Default 1. */
  readonly repetitionPenalty?: number;
  /** Above 0, no so many tokens in a row occur twice in a sequence, its prompt included: 3 for trigrams. Default 0. */
  readonly noRepeatNgramSize?: number;
  /** The number of beams: above 1, the most likely sequences are searched for, with this many kept at each step. Default 1. */
  readonly numBeams?: number;
  /**
   * Sequences of a beam search are compared by their sum of log probabilities divided by length ^ lengthPenalty: above 0, longer ones are
   * favoured. Default 1.
   */
  readonly lengthPenalty?: number;
  /**
   * When a beam search stops that has found as many sequences as beams: `true` at once, `false` when no beam is likely to become better,
   * `"never"` when none can. Default false.
   */
  readonly earlyStopping?: boolean | "never";
  /** How many sequences are returned for each prompt: at most `numBeams` in a beam search, 1 if the choice is greedy. Default 1. */
  readonly numReturnSequences?: number;
  /** The token, or tokens, at which a sequence ends. Default: none. */
  readonly eosTokenId?: number | readonly number[];
  /** The token that stands for an empty prompt. */
  readonly bosTokenId?: number;
  /** The seed of the draws. Default: drawn from the default generator, so that `seed` makes a whole program reproducible. */
  readonly seed?: number;
  /** The state before the prompts, one row for each: what an encoder gave, or a conversation so far. Default: the model's `startState`. */
  readonly state?: S;
}

/**
 * What was generated: for each prompt `numReturnSequences` sequences, those of the first prompt first. If a beam search finds fewer, because
 * the logits of all other tokens are −∞ or `noRepeatNgramSize` excludes them, the rest are empty, with the score −∞.
 */
export interface Generated {
  /** The new tokens of each sequence, without its prompt and without the token that ended it. */
  readonly sequences: readonly (readonly number[])[];
  /** Whether a token of `eosTokenId` ended the sequence; otherwise it reached `maxNewTokens`. */
  readonly isFinished: readonly boolean[];
  /** The scores of the sequences, best first for each prompt. From a beam search only. */
  readonly scores?: readonly number[];
}

/** A generation: `await` it for all sequences at once, or go through it with `for await`, one step after the other. It begins then. */
export class Generation implements PromiseLike<Generated>, AsyncIterable<readonly (number | undefined)[]> {
  readonly #all: () => Promise<Generated>;
  readonly #steps: () => AsyncGenerator<readonly (number | undefined)[], void, void>;
  #result: Promise<Generated> | undefined;

  constructor(all: () => Promise<Generated>, steps: () => AsyncGenerator<readonly (number | undefined)[], void, void>) {
    this.#all = all;
    this.#steps = steps;
  }

  // biome-ignore lint/suspicious/noThenProperty: a generation is awaited like a promise, and begins only then.
  then<A = Generated, B = never>(
    onFulfilled?: ((generated: Generated) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#result ??= this.#all();
    return this.#result.then(onFulfilled, onRejected);
  }

  /**
   * Yields the new tokens of each step, one for each sequence: `undefined` for those that have ended. Each loop is a generation of its own.
   * Throws ConfigError in a beam search, which knows its sequences only at the end.
   */
  [Symbol.asyncIterator](): AsyncGenerator<readonly (number | undefined)[], void, void> {
    return this.#steps();
  }
}

/**
 * Generates tokens with a model that has a step (see `StepModel`): greedily, by sampling, or by beam search, for several prompts at once.
 * Step and choice are one compiled function; the state stays in the engine.
 *
 *     const { sequences } = await generate(model, { prompt: ids, maxNewTokens: 50, temperature: 0.8, topK: 40 });
 *     for await (const [token] of generate(model, { prompt: ids })) process.stdout.write(tokenizer.decode([token!]));
 *
 * Throws ConfigError for invalid options and for an empty prompt without `bosTokenId`, ShapeError for a model whose state or logits do not
 * have the batch first, DataError for logits that are NaN, or −∞ for every token that `noRepeatNgramSize` allows.
 */
export function generate<S>(model: StepModel<S>, options: GenerateOptions<NoInfer<S>> = {}): Generation {
  expectArguments("generate", [aStepModel, optionsOf(kinds)], [model, options]);
  const request = complete(options);
  const run = new Decoding(model as unknown as StepModel<Tree>, request, options.state as Tree);
  return new Generation(
    () => (request.beams > 1 ? run.search() : run.sampleAll()),
    () => {
      if (request.beams > 1)
        fail("a beam search knows its sequences only at the end", "await it, or leave out numBeams");
      return run.sample();
    },
  );
}

const isStepModel = (value: unknown): boolean =>
  ((typeof value === "object" && value !== null) || typeof value === "function") &&
  "step" in value &&
  typeof value.step === "function" &&
  "startState" in value &&
  typeof value.startState === "function";
const aStepModel: Kind = (value) =>
  isStepModel(value) ? undefined : "give a model with the functions step and startState, such as a languageModel";
const isList = (value: unknown): value is ArrayLike<unknown> =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && "length" in value);
const isIds = (value: unknown): value is ArrayLike<number> =>
  isList(value) && Array.prototype.every.call(value, (id) => Number.isSafeInteger(id) && id >= 0 && id < 2 ** 31);
const aPrompt: Kind = (value) => {
  if (isIds(value) || (Array.isArray(value) && value.every(isIds))) return undefined;
  const given = Array.isArray(value)
    ? value.flatMap((each: unknown) => (isList(each) ? Array.from(each) : [each]))
    : [];
  const wrong = given.find((id) => !isIds([id]));
  const which = typeof wrong === "number" ? `: an id is a whole number from 0 on, which ${wrong} is not;` : "";
  return `give an array of ids, or a list of such arrays${which}`;
};
const someIdsOfEnd: Kind = (value) =>
  isIds([value]) || (Array.isArray(value) && isIds(value)) ? undefined : "give an id, or an array of ids";
const anEarlyStopping: Kind = (value) =>
  value === "never" ? undefined : aFlag(value) && 'give true, false or "never"';

const kinds: Readonly<Record<keyof GenerateOptions, Kind>> = {
  prompt: aPrompt,
  maxNewTokens: aWhole,
  minNewTokens: aWhole,
  doSample: aFlag,
  temperature: aNumber,
  topK: aWhole,
  topP: aNumber,
  repetitionPenalty: aNumber,
  noRepeatNgramSize: aWhole,
  numBeams: aWhole,
  lengthPenalty: aNumber,
  earlyStopping: anEarlyStopping,
  numReturnSequences: aWhole,
  eosTokenId: someIdsOfEnd,
  bosTokenId: aWhole,
  seed: aWhole,
  state: () => undefined,
};

/** Options in which defaults are filled in. */
interface Request {
  readonly prompts: readonly (readonly number[])[];
  /** How many sequences each prompt has, in a beam search its beams. */
  readonly copies: number;
  readonly beams: number;
  readonly returned: number;
  readonly most: number;
  readonly least: number;
  readonly doSample: boolean;
  readonly temperature: number;
  readonly topK: number | undefined;
  readonly topP: number;
  readonly repetitionPenalty: number;
  readonly noRepeatNgramSize: number;
  readonly lengthPenalty: number;
  readonly earlyStopping: boolean | "never";
  readonly ends: readonly number[];
  readonly seed: number | undefined;
}

function fail(problem: string, fix: string): never {
  throw new ConfigError("generate", problem, fix);
}

/** Logits divided by less could become infinite. Long before that, a draw is always the most likely token. */
const coldest = 1e-30;

function complete(options: GenerateOptions): Request {
  const { prompt = [], maxNewTokens = 20, topK, topP = 1, repetitionPenalty = 1, lengthPenalty = 1 } = options;
  const { minNewTokens = 0, noRepeatNgramSize = 0 } = options;
  const { numBeams = 1, numReturnSequences = 1, eosTokenId = [], bosTokenId, seed } = options;
  for (const [name, value] of Object.entries({ maxNewTokens, topK, numBeams, numReturnSequences }))
    if (value !== undefined && value < 1) fail(`${name} is ${value}`, "give a whole number from 1 on");
  for (const [name, value] of Object.entries({ minNewTokens, noRepeatNgramSize }))
    if (value < 0) fail(`${name} is ${value}`, "give a whole number from 0 on; 0 means none");
  if (minNewTokens > maxNewTokens)
    fail(`minNewTokens is ${minNewTokens}, and maxNewTokens ${maxNewTokens}`, "give a larger maxNewTokens");
  if (!(topP > 0 && topP <= 1)) fail(`topP is ${topP}`, "give a number above 0, at most 1");
  const { temperature = 1 } = options;
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    fail(`temperature is ${temperature}`, "give a finite number from 0 on");
  if (!(repetitionPenalty > 0 && Number.isFinite(repetitionPenalty)))
    fail(`repetitionPenalty is ${repetitionPenalty}`, "give a finite number above 0; 1 means none");
  if (!Number.isFinite(lengthPenalty)) fail(`lengthPenalty is ${lengthPenalty}`, "give a finite number");
  if (seed !== undefined) expectSeed("generate", seed);
  if (bosTokenId !== undefined && !isIds([bosTokenId])) fail(`bosTokenId is ${bosTokenId}`, "give an id from 0 on");

  const ofSampling = (["temperature", "topK", "topP"] as const).find((name) => options[name] !== undefined);
  const doSample = (options.doSample ?? ofSampling !== undefined) && temperature > coldest;
  if (options.doSample === false && ofSampling)
    fail(`doSample is false and ${ofSampling} is given, which is for draws`, "leave out one of the two");
  if (numBeams > 1 && (ofSampling || options.doSample))
    fail(
      `numBeams is ${numBeams} and ${ofSampling ?? "doSample"} is given: a beam search draws nothing`,
      "leave out one of the two",
    );
  const ofBeams = (["lengthPenalty", "earlyStopping"] as const).find((name) => options[name] !== undefined);
  if (numBeams === 1 && ofBeams)
    fail(`${ofBeams} is given, which is for a beam search`, "give numBeams: 4, or leave it out");
  if (numBeams > 1 ? numReturnSequences > numBeams : numReturnSequences > 1 && !doSample)
    fail(
      `numReturnSequences is ${numReturnSequences} ${numBeams > 1 ? `of ${numBeams} beams` : "and the choice is greedy, so that all would be equal"}`,
      numBeams > 1 ? "give more beams" : "give a temperature, or numBeams",
    );

  const given: readonly ArrayLike<number>[] = isIds(prompt) ? [prompt] : prompt;
  if (given.length === 0) fail("there is no prompt in the list", "give one at least");
  const prompts = given.map((ids) => {
    if (ids.length > 0) return Array.from(ids);
    if (bosTokenId === undefined) return fail("a prompt is empty", "give bosTokenId, the token that texts begin with");
    return [bosTokenId];
  });
  return {
    prompts,
    copies: numBeams > 1 ? numBeams : numReturnSequences,
    beams: numBeams,
    returned: numReturnSequences,
    most: maxNewTokens,
    least: minNewTokens,
    doSample,
    temperature,
    topK,
    topP,
    repetitionPenalty,
    noRepeatNgramSize,
    lengthPenalty,
    earlyStopping: options.earlyStopping ?? false,
    ends: typeof eosTokenId === "number" ? [eosTokenId] : eosTokenId,
    seed,
  };
}

const ids = (values: readonly number[]): TokenIds => fromValues(Int32Array.from(values), [values.length]) as TokenIds;
const idRows = (rows: readonly (readonly number[])[], length: number): Tensor<[number, number], "int32"> =>
  fromValues(Int32Array.from(rows.flat()), [rows.length, length]) as Tensor<[number, number], "int32">;

/** One request to one model. */
class Decoding {
  readonly #model: StepModel<Tree>;
  readonly #request: Request;
  readonly #state: Tree;

  constructor(model: StepModel<Tree>, request: Request, state: Tree) {
    this.#model = model;
    this.#request = request;
    this.#state = state;
  }

  /** Feeds the prompts up to their last tokens. Returns these, and what the first step takes; each row as often as there are copies. */
  #begin(): { readonly tokens: TokenIds; readonly carried: Carried } {
    const { prompts, copies, most, least, ends, seed } = this.#request;
    const { penalizes, noRepeatNgramSize } = this.#rules;
    const lengths = prompts.map(({ length }) => length - 1);
    const time = Math.max(...lengths);
    const batch = prompts.length;
    const start = expectBatch(this.#state ?? this.#model.startState(batch, time + most), batch);
    const rows = prompts.flatMap((_, row) => Array<number>(copies).fill(row));
    const before = prompts.map((prompt) => prompt.slice(0, -1));
    const filling = (row: number, length: number): number[] => Array<number>(length).fill(prompts[row]![0]!);
    const prefix: Prefix | undefined =
      time > 0
        ? {
            tokens: idRows(
              before.map((tokens, row) => [...tokens, ...filling(row, time - tokens.length)]),
              time,
            ),
            lengths: ids(lengths),
          }
        : undefined;
    const isRagged = lengths.some((length) => length !== time);
    const isNeeded = prefix !== undefined || copies > 1;
    // The steps read both states, and so get the errors of their runs.
    claimState(start);
    const { state } = isNeeded ? this.#decoder.begin(start, ids(rows), prefix, isRagged) : { state: start };
    claimState(state);
    const history =
      penalizes || noRepeatNgramSize > 0
        ? idRows(
            rows.map((row) => [...Array<number>(time + most - lengths[row]!).fill(noTokenYet), ...before[row]!]),
            time + most,
          )
        : undefined;
    const missing = least > 0 && ends.length > 0 ? (ids([least]) as Tensor<[1], "int32">) : undefined;
    const random = fromValues(decodingState(seed ?? defaultGenerator.host.next()), [4]) as Tensor<[4], "int32">;
    return { tokens: ids(rows.map((row) => prompts[row]!.at(-1)!)), carried: { state, random, history, missing } };
  }

  get #rules(): Rules {
    const { repetitionPenalty, noRepeatNgramSize } = this.#request;
    return { penalizes: repetitionPenalty !== 1, noRepeatNgramSize };
  }

  /** The tokens that end a sequence; undefined if there are none. */
  get #ends(): TokenIds | undefined {
    const { ends } = this.#request;
    return ends.length > 0 ? ids(ends) : undefined;
  }

  /** Throws ConfigError if a token that is to end sequences is none of the model's, whose number the first step has told. */
  #expectEnds({ vocabulary = Infinity }: Decoder): void {
    const wrong = this.#request.ends.find((id) => id >= vocabulary);
    if (wrong !== undefined)
      fail(`eosTokenId is ${wrong}, and the model has logits for ${vocabulary} tokens`, `give ids below ${vocabulary}`);
  }

  get #decoder(): Decoder {
    const { prompts, copies } = this.#request;
    return decoderOf(this.#model, prompts.length * copies);
  }

  get #numbers(): StepNumbers {
    const { temperature, topP, repetitionPenalty } = this.#request;
    return { temperature: tensor(temperature), topP: tensor(topP), repetitionPenalty: tensor(repetitionPenalty) };
  }

  /** Yields the tokens of each step; undefined for sequences that have ended. */
  async *sample(): AsyncGenerator<readonly (number | undefined)[], void, void> {
    const { doSample, topK, topP, ends, most, least } = this.#request;
    const decoder = this.#decoder;
    const numbers = this.#numbers;
    const plan = { doSample, topK, hasTopP: doSample && topP < 1, ...this.#rules };
    const endIds = least > 0 ? this.#ends : undefined;
    let { tokens, carried } = this.#begin();
    const given = carried; //  it may be the caller's state
    const step = (): readonly Tensor[] => {
      const before = carried;
      ({ tokens, carried } = decoder.sample(tokens, carried, plan, numbers, endIds));
      if (before !== given) discardState(before);
      return [tokens];
    };
    const open = new Set(tokens.shape[0] === undefined ? [] : Array(tokens.shape[0]).keys());
    for await (const [values] of stepsInBlocks(step, most)) {
      this.#expectEnds(decoder);
      const now = Array.from(values!, (token, row) => {
        if (open.has(row) && ends.includes(token)) open.delete(row);
        if (open.has(row) && token < 0) throw noToken(plan.noRepeatNgramSize > 0);
        return open.has(row) ? token : undefined;
      });
      if (open.size === 0) return;
      yield now;
    }
  }

  async sampleAll(): Promise<Generated> {
    const { prompts, copies, most } = this.#request;
    const sequences = Array.from({ length: prompts.length * copies }, (): number[] => []);
    for await (const tokens of this.sample())
      for (const [row, token] of tokens.entries()) if (token !== undefined) sequences[row]!.push(token);
    return { sequences, isFinished: sequences.map(({ length }) => length < most) };
  }

  async search(): Promise<Generated> {
    const { prompts, beams, ends, most, returned, lengthPenalty, earlyStopping } = this.#request;
    const decoder = this.#decoder;
    const numbers = this.#numbers;
    const plan = { beams, candidates: Math.max(2, 1 + ends.length) * beams, ...this.#rules };
    const excludes = plan.noRepeatNgramSize > 0;
    const rules: BeamRules = { beams, ends: new Set(ends), lengthPenalty, earlyStopping, most, excludes };
    const endIds = this.#ends;
    let { tokens, carried } = this.#begin();
    let scores = fromValues(
      Float32Array.from({ length: prompts.length * beams }, (_, i) => (i % beams === 0 ? 0 : neverContinued)),
      [prompts.length, beams],
    ) as Tensor<[number, number], "float32">;
    const given = carried; //  it may be the caller's state
    const step = (): readonly Tensor[] => {
      const before = carried;
      const made = decoder.search(tokens, scores, carried, plan, numbers, endIds);
      ({ tokens, scores, carried } = made);
      if (before !== given) discardState(before);
      return [made.values, made.parents, made.ids, made.chosen];
    };
    const searches = prompts.map(() => new Beams(rules));
    for await (const found of stepsInBlocks(step, most)) {
      this.#expectEnds(decoder);
      for (const [row, search] of searches.entries()) {
        const own = (values: Values): Values => {
          const width = values.length / prompts.length;
          return values.subarray(row * width, (row + 1) * width);
        };
        search.add(own(found[0]!), own(found[1]!), own(found[2]!), own(found[3]!));
      }
      if (searches.every(({ isDone }) => isDone)) break;
    }
    const best = searches.flatMap((search) => search.best(returned));
    return {
      sequences: best.map((hypothesis) => hypothesis.tokens),
      isFinished: best.map(({ isFinished }) => isFinished),
      scores: best.map(({ score }) => score),
    };
  }
}
