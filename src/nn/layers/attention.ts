/** Attention of several heads. Names and layouts of the parameters are PyTorch's, so PyTorch's checkpoints load unchanged. */
import { ConfigError, DTypeError, ShapeError } from "../../errors.ts";
import {
  aFlag,
  aNumber,
  aTensor,
  aWhole,
  expectArguments,
  expectOptions,
  type Kind,
  optional,
  options,
} from "../../graph/arguments.ts";
import { currentPath } from "../../graph/scope.ts";
import { type Shape, sameShape, showShape, showType } from "../../graph/types.ts";
import { zeros } from "../../tensor/create.ts";
import { affine } from "../../tensor/matrices.ts";
import type { Parameter } from "../../tensor/state.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { attendWithWeights, pastOf, type Scoring, writtenTo } from "../attention.ts";
import { defaultGenerator, type Generator } from "../generator.ts";
import { constant, type Initializer, uniform, xavierUniform } from "../initializers.ts";
import { isModule, type Module, method, module } from "../module.ts";
import { type BiasOption, expectRate, expectSizes, parameter } from "../parameters.ts";
import { type Linear, linear } from "./basic.ts";
import { placesFrom, type RotaryPositions } from "./positions.ts";

type Float<S extends Shape> = Tensor<S, "float32">;

/** The options of `multiHeadAttention`. */
export interface MultiHeadAttentionOptions {
  /** The rate of dropout on the weights, in training. Default 0. */
  readonly dropout?: number;
  /** The width of the keys' inputs, for attention to something of another width. Default that of the queries. */
  readonly keySize?: number;
  /** The width of the values' inputs. Default that of the queries. */
  readonly valueSize?: number;
  /** Rotates queries and keys by their positions. Default none. */
  readonly rotary?: RotaryPositions;
  /** How all weights begin. Default as in PyTorch: Xavier's for the inputs, uniform in ±1/√width for the output. */
  readonly weight?: Initializer;
  /** How the biases begin, or `false` for none. Default zeros, as in PyTorch. */
  readonly bias?: BiasOption;
  /** Draws the initial values and the masks of dropout. Default `defaultGenerator`. */
  readonly generator?: Generator;
}

/** Which keys a query attends to. In every mask, true means that it may. */
export interface AttentionMasks<B extends number = number> {
  /**
   * Where a query may attend to a key: true where it may. [queries, keys] is for all examples and heads, [batch, queries, keys] for all
   * heads, [batch, heads, queries, keys] for one each; an axis of size 1 stands for all.
   */
  readonly mask?: Tensor<Shape, "bool">;
  /** Which keys are tokens and not padding: true where a key is a token. Bool [batch, keys], such as `sequenceMask` gives. */
  readonly keyMask?: Tensor<[B, number], "bool">;
  /** Whether each query attends only to keys at its own place and before. Default false. */
  readonly causal?: boolean;
}

/** What `multiHeadAttention` takes besides the queries. */
export interface AttentionInput<B extends number = number> extends AttentionMasks<B> {
  /** What the keys are made of, [batch, keys, width]. Default the queries: self-attention. */
  readonly key?: Float<[B, number, number]>;
  /** What the values are made of, [batch, keys, width]. Default what the keys are made of. */
  readonly value?: Float<[B, number, number]>;
}

/** Keys and values of all heads, each [batch, heads, keys, size]. */
export interface KeyValue<B extends number = number> {
  readonly key: Float<[B, number, number, number]>;
  readonly value: Float<[B, number, number, number]>;
}

/** Attention of several heads (Vaswani et al. 2017) over vectors of E numbers. */
export interface MultiHeadAttention<E extends number> extends Module {
  /**
   * Attends with queries [batch, queries, width] to keys and values, by default those of the same tokens. Returns [batch, queries, width].
   * A query that may attend to no key gets the output's bias alone. Throws ShapeError when shapes do not fit together.
   */
  <B extends number, T extends number>(query: Float<[B, T, E]>, input?: AttentionInput<NoInfer<B>>): Float<[B, T, E]>;
  /** The same, with the weights of each head before dropout, [batch, heads, queries, keys]; PyTorch's are their mean over the heads. */
  withWeights<B extends number, T extends number>(
    query: Float<[B, T, E]>,
    input?: AttentionInput<NoInfer<B>>,
  ): { readonly output: Float<[B, T, E]>; readonly weights: Float<[B, number, T, number]> };
  /** Returns keys and values made of [batch, keys, width], for `attendTo`: once for a memory that many queries attend to. */
  keyValue<B extends number>(key: Float<[B, number, number]>, value?: Float<[NoInfer<B>, number, number]>): KeyValue<B>;
  /** Attends with queries [batch, queries, width] to keys and values that `keyValue` has made. */
  attendTo<B extends number, T extends number>(
    query: Float<[B, T, E]>,
    keyValue: KeyValue<NoInfer<B>>,
    masks?: AttentionMasks<NoInfer<B>>,
  ): Float<[B, T, E]>;
  /** Returns an empty cache for sequences of up to `longest` tokens: zeros [batch, heads, longest, size]. */
  zeroCache<B extends number>(batch: B, longest: number): KeyValue<B>;
  /**
   * Computes causal self-attention for the next tokens of each sequence, x [batch, tokens, width], usually one. `positions`, int32 [batch],
   * are the places of their first; keys and values are written there, and each token attends to the places up to its own. `keyMask`, bool
   * [batch, longest], says which places of the cache hold tokens, for sequences with padding before them. A position beyond the cache
   * fails the run.
   */
  step<B extends number, T extends number>(
    x: Float<[B, T, E]>,
    cache: KeyValue<NoInfer<B>>,
    positions: Tensor<[NoInfer<B>], "int32">,
    masks?: Pick<AttentionMasks<NoInfer<B>>, "keyMask">,
  ): { readonly output: Float<[B, T, E]>; readonly cache: KeyValue<B> };
  /** The weights of queries, keys and values, one below the other. Undefined where keys or values have another width. */
  readonly in_proj_weight: Parameter<[number, E], "float32"> | undefined;
  /** The weights of the queries, where keys or values have another width. */
  readonly q_proj_weight: Parameter<[E, E], "float32"> | undefined;
  readonly k_proj_weight: Parameter<[E, number], "float32"> | undefined;
  readonly v_proj_weight: Parameter<[E, number], "float32"> | undefined;
  /** The biases of queries, keys and values. Undefined with `bias: false`. */
  readonly in_proj_bias: Parameter<[number], "float32"> | undefined;
  readonly out_proj: Linear<E, E, boolean>;
}

const aModule: Kind = (value) => (isModule(value) ? undefined : "give rotaryPositions(longest, size)");
export const maskKinds: Readonly<Record<"mask" | "keyMask" | "causal", Kind>> = {
  mask: aTensor,
  keyMask: aTensor,
  causal: aFlag,
};

const aKeyValue: Kind = (value) => {
  const { key, value: values } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return aTensor(key) || aTensor(values) ? "give { key, value }, as keyValue and zeroCache return" : undefined;
};

interface Given {
  readonly key?: Tensor;
  readonly value?: Tensor;
  readonly mask?: Tensor;
  readonly keyMask?: Tensor;
  readonly causal?: boolean;
}

type Pair = { readonly key: Tensor; readonly value: Tensor };

/**
 * Makes attention of `heads` heads over vectors of `width` numbers (Vaswani et al. 2017): softmax(Q·Kᵀ/√d)·V in each head, of d = width /
 * heads numbers, and a linear layer over all heads. x and what comes back are [batch, time, width]; PyTorch's need `batch_first=True` for
 * that. Throws ConfigError when the heads do not divide the width.
 */
export function multiHeadAttention<const E extends number>(
  width: E,
  heads: number,
  given: MultiHeadAttentionOptions = {},
): MultiHeadAttention<E> {
  const subject = "multiHeadAttention";
  expectOptions(subject, given, ["dropout", "keySize", "valueSize", "rotary", "weight", "bias", "generator"]);
  const { dropout: rate = 0, keySize = width, valueSize = width, rotary, generator = defaultGenerator } = given;
  expectArguments(
    subject,
    [aWhole, aWhole, options({ dropout: aNumber, keySize: aWhole, valueSize: aWhole, rotary: aModule })],
    [width, heads, { dropout: rate, keySize, valueSize, ...(rotary && { rotary }) }],
  );
  expectSizes(subject, [width, heads, keySize, valueSize]);
  expectRate(rate);
  if (width % heads !== 0)
    throw new ConfigError(subject, `${heads} heads for a width of ${width}`, "give a number of heads that divides it");
  const size = width / heads;
  const { weight = xavierUniform, bias = constant(0) } = given;
  const own = keySize === width && valueSize === width;
  const inputs = own
    ? { in_proj_weight: parameter([3 * width, width], weight, generator) }
    : {
        q_proj_weight: parameter([width, width], weight, generator),
        k_proj_weight: parameter([width, keySize], weight, generator),
        v_proj_weight: parameter([width, valueSize], weight, generator),
      };
  const biases = bias === false ? {} : { in_proj_bias: parameter([3 * width], bias, generator) };
  const output = { weight: given.weight ?? uniform(1 / Math.sqrt(width)), bias, generator };
  const out_proj = linear(width, width, output) as unknown as Module & ((x: Tensor) => Tensor);
  const children = { ...inputs, ...biases, out_proj, ...(rotary && { rotary }) };

  /** The part of the weights or biases for queries (0), keys (1) and values (2). */
  const partOf = (all: Parameter | undefined, from: number, to: number): Tensor | undefined =>
    all && ((from === 0 && to === 3 ? all : all.slice([from * width, to * width])) as Tensor);
  /** Queries (0), keys (1) and values (2) made of x: [batch, time, (to − from)·width]. */
  const project = (x: Tensor, from: number, to: number): Tensor => {
    const { q_proj_weight, k_proj_weight, v_proj_weight, in_proj_weight } = inputs as Readonly<
      Record<string, Parameter>
    >;
    const weights = in_proj_weight
      ? partOf(in_proj_weight, from, to)
      : ([q_proj_weight, k_proj_weight, v_proj_weight][from] as unknown as Tensor);
    return affine(x, weights!, partOf(biases.in_proj_bias as unknown as Parameter, from, to));
  };
  const split = (x: Tensor): Tensor => {
    const [batch, time] = x.shape as unknown as [number, number];
    return x.reshape([batch, time, heads, size]).transpose(0, 2, 1, 3) as Tensor;
  };
  const joined = (x: Tensor): Tensor => {
    const [batch, , time] = x.shape as unknown as [number, number, number];
    return x.transpose(0, 2, 1, 3).reshape([batch, time, width]) as Tensor;
  };
  const turned = (x: Tensor, start?: Tensor): Tensor =>
    rotary ? (rotary(x as Float<[number, number, number, number]>, start as never) as Tensor) : x;
  const inThirds = (x: Tensor): Tensor[] =>
    project(x, 0, 3)
      .split([width, width, width])
      .map((part) => split(part as Tensor));
  const keyValueOf = (key: Tensor, value: Tensor): Pair => {
    if (own && key === value) {
      const [k, v] = project(key, 1, 3).split([width, width]) as [Tensor, Tensor];
      return { key: turned(split(k)), value: split(v) };
    }
    return { key: turned(split(project(key, 1, 2))), value: split(project(value, 2, 3)) };
  };

  const scored = (q: Tensor, { key, value }: Pair, scoring: Scoring) => {
    const dropped = rate > 0 && self.training ? { dropout: rate, generator } : {};
    const { output, weights } = attendWithWeights(subject, q, key, value, { ...scoring, ...dropped });
    return { output: out_proj(joined(output)), weights };
  };

  const forward = (query: Tensor, input: Given = {}): { readonly output: Tensor; readonly weights: () => Tensor } => {
    expectArguments(
      subject,
      [aTensor, optional(options({ key: aTensor, value: aTensor, ...maskKinds }))],
      [query, input],
    );
    expectTokens(subject, "the queries are", query, width);
    const { key = query, value = key } = input;
    const batch = query.shape[0]!;
    expectTokens(subject, "the keys are made of", key, keySize, batch);
    expectTokens(subject, "the values are made of", value, valueSize, batch);
    if (value.shape[1] !== key.shape[1])
      throw new ShapeError(
        subject,
        `${key.shape[1]} keys and ${value.shape[1]} values`,
        "give a value for each key",
        currentPath(),
      );
    const scoring = scoringOf(subject, input, [batch, heads, query.shape[1]!, key.shape[1]!]);
    if (own && key === query && value === query) {
      const [q, k, v] = inThirds(query) as [Tensor, Tensor, Tensor];
      return scored(turned(q), { key: turned(k), value: v }, scoring);
    }
    return scored(turned(split(project(query, 0, 1))), keyValueOf(key, value), scoring);
  };

  const self: Module = module(
    "MultiHeadAttention",
    children,
    (query: Tensor, input?: Given) => forward(query, input).output,
  );
  method(self, "withWeights", (query: Tensor, input?: Given) => {
    const { output, weights } = forward(query, input);
    return { output, weights: weights() };
  });
  method(self, "keyValue", (key: Tensor, value: Tensor = key) => {
    expectArguments(`${subject}.keyValue`, [aTensor, aTensor], [key, value]);
    expectTokens(subject, "the keys are made of", key, keySize);
    expectTokens(subject, "the values are made of", value, valueSize, key.shape[0]!);
    return keyValueOf(key, value);
  });
  method(self, "attendTo", (query: Tensor, keyValue: Pair, masks: Given = {}) => {
    expectArguments(
      `${subject}.attendTo`,
      [aTensor, aKeyValue, optional(options(maskKinds))],
      [query, keyValue, masks],
    );
    expectTokens(subject, "the queries are", query, width);
    const [batch, , keys] = keyValue.key.shape;
    expectKeyValue(subject, keyValue, [query.shape[0]!, heads, keys ?? 0, size]);
    const scoring = scoringOf(subject, masks, [batch!, heads, query.shape[1]!, keys!]);
    return scored(turned(split(project(query, 0, 1))), keyValue, scoring).output;
  });
  method(self, "zeroCache", (batch: number, longest: number) => {
    expectSizes(`${subject}.zeroCache`, [batch, longest]);
    const empty = zeros([batch, heads, longest, size]);
    return { key: empty, value: empty };
  });
  method(self, "step", (x: Tensor, cache: Pair, positions: Tensor, masks: Given = {}) => {
    expectArguments(
      `${subject}.step`,
      [aTensor, aKeyValue, aTensor, optional(options({ keyMask: aTensor }))],
      [x, cache, positions, masks],
    );
    expectTokens(subject, "x is", x, width);
    const [batch, time] = x.shape as unknown as [number, number];
    const longest = cache.key.shape[2] ?? 0;
    expectKeyValue(subject, cache, [batch, heads, longest, size]);
    const places = placesFrom(subject, positions, batch, time);
    const [q, k, v] = (own ? inThirds(x) : [0, 1, 2].map((part) => split(project(x, part, part + 1)))) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    const indices = places.reshape([batch, 1, time, 1]).expand([batch, heads, time, size]) as Tensor<Shape, "int32">;
    const written = (old: Tensor, now: Tensor): Tensor => writtenTo(old, subject, indices as Tensor, now);
    const next = { key: written(cache.key, turned(k, positions)), value: written(cache.value, v) };
    const past = pastOf(positions, time, longest);
    const { mask } = scoringOf(subject, masks, [batch, heads, time, longest]);
    const scoring = mask
      ? { mask: (past as Tensor<Shape, "bool">).and(mask as Tensor<Shape, "bool">) as Tensor }
      : { mask: past, everyQueryAttends: true };
    return { output: scored(turned(q, positions), next, scoring).output, cache: next };
  });
  return self as MultiHeadAttention<E>;
}

/** Throws ShapeError unless x is [batch, time, width], with the given batch if there is one. */
export function expectTokens(subject: string, what: string, x: Tensor, width: number, batch?: number): void {
  const [own] = x.shape;
  if (x.shape.length === 3 && x.shape[2] === width && (batch === undefined || own === batch)) return;
  throw new ShapeError(
    subject,
    `${what} ${showShape(x.shape)}`,
    `give [${batch ?? "batch"}, time, ${width}]`,
    currentPath(),
  );
}

function expectKeyValue(subject: string, { key, value }: Pair, wanted: Shape): void {
  for (const part of [key, value])
    if (!sameShape(part.shape, wanted))
      throw new ShapeError(
        subject,
        `the keys and values are ${showShape(key.shape)} and ${showShape(value.shape)}`,
        `give [${wanted[0]}, ${wanted[1]}, keys, ${wanted[3]}] for both, as keyValue and zeroCache return`,
        currentPath(),
      );
}

/** The masks of a layer as one mask that broadcasts to [batch, heads, queries, keys]. */
function scoringOf(
  subject: string,
  { mask, keyMask, causal = false }: Given,
  [batch, heads, queries, keys]: readonly [number, number, number, number],
): Scoring {
  for (const given of [mask, keyMask])
    if (given && given.dtype !== "bool")
      throw new DTypeError(
        subject,
        `a mask is ${showType(given)}`,
        'give bool, true where a query may attend to a key: mask.cast("bool")',
        currentPath(),
      );
  if (keyMask && !sameShape(keyMask.shape, [batch, keys]))
    throw new ShapeError(
      subject,
      `the mask of the keys is ${showType(keyMask)}`,
      `give bool[${batch}, ${keys}], true where a key is a token`,
      currentPath(),
    );
  const [first, ...rest] = mask?.shape ?? [];
  const ofHeads = mask && rest.length === 2 ? (mask.reshape([first!, 1, ...rest]) as Tensor) : mask;
  const wanted = [batch, heads, queries, keys];
  const sizes = ofHeads?.shape ?? [];
  const fits = sizes.every((axis, i) => axis === 1 || axis === wanted[i + 4 - sizes.length]);
  if (mask && (sizes.length < 2 || sizes.length > 4 || !fits))
    throw new ShapeError(
      subject,
      `the mask is ${showType(mask)} for ${queries} queries and ${keys} keys of ${batch} examples and ${heads} heads`,
      "give bool [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys], true where a query may attend",
      currentPath(),
    );
  const ofKeys = keyMask && (keyMask.reshape([batch, 1, 1, keys]) as Tensor);
  const both =
    ofHeads && ofKeys ? (ofHeads as Tensor<Shape, "bool">).and(ofKeys as Tensor<Shape, "bool">) : (ofHeads ?? ofKeys);
  return { mask: both as Tensor | undefined, causal };
}
