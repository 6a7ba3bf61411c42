/** Attention and Transformer layers against PyTorch's: outputs, weights, all gradients, under every mask; caches; what they refuse. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import {
  compile,
  concat,
  decodeWeights,
  encodeWeights,
  fromValues,
  functional,
  gradients,
  learnedPositions,
  type Module,
  module,
  multiHeadAttention,
  nodeEngine,
  ones,
  plainEngine,
  randomGenerator,
  rotaryPositions,
  type Shape,
  seed,
  sinusoidalPositions,
  type Tensor,
  tensor,
  transformerDecoder,
  transformerDecoderLayer,
  transformerEncoder,
  transformerEncoderLayer,
  useEngine,
  zeros,
} from "../../src/node.ts";

const file = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));

interface Saved {
  readonly shape: number[];
  readonly values: number[];
}

interface Case {
  readonly kind: "multiHeadAttention" | "transformerEncoderLayer" | "transformerDecoderLayer" | "transformer";
  readonly options: Readonly<Record<string, unknown>>;
  readonly weights: Readonly<Record<string, Saved>>;
  readonly inputs: Readonly<Record<string, Saved>>;
  readonly masks: Readonly<Record<string, Saved | boolean>>;
  readonly w: number[];
  readonly outputs: Saved;
  readonly heads: readonly Saved[];
  readonly gradients: Readonly<Record<string, number[]>>;
}

const cases = JSON.parse(gunzipSync(file("attention.json.gz")).toString()) as readonly Case[];

type Floats<S extends Shape> = Tensor<S, "float32">;
type Named = Readonly<Record<string, Tensor>>;

const floats = ({ shape, values }: Saved): Tensor => fromValues(Float32Array.from(values), shape) as Tensor;
const truths = ({ shape, values }: Saved): Tensor => fromValues(Uint8Array.from(values), shape) as Tensor;
const drawn = async <const S extends Shape>(key: number, shape: readonly [...S]): Promise<Floats<S>> =>
  fromValues(Float32Array.from(await randomGenerator(key).normal(shape).data()), shape);

/** PyTorch's numbers are met to 1e-5, or to 1e-6 of the largest of a tensor. */
async function expectValues(have: Tensor, want: readonly number[], what: string): Promise<void> {
  const values = await have.data();
  expect(values.length, what).toBe(want.length);
  const largest = Math.max(...want.map(Math.abs));
  const worst = Math.max(...[...values].map((value, i) => Math.abs(value - want[i]!)));
  expect(worst, `${what}: ${worst}`).toBeLessThanOrEqual(Math.max(1e-5, 1e-6 * largest));
}

async function expectClose(have: Tensor, want: Tensor, what: string, within: number = 1e-5): Promise<void> {
  expect(have.shape, what).toEqual(want.shape);
  expect(await have.sub(want).abs().max().item(), what).toBeLessThan(within);
}

function fill(model: Module, weights: Case["weights"]): void {
  const states = model.namedStates();
  expect([...states.keys()]).toEqual(Object.keys(weights));
  for (const [name, { shape, values }] of Object.entries(weights)) {
    expect(states.get(name)!.shape).toEqual(shape);
    states.get(name)!.write(Float32Array.from(values));
  }
}

/** PyTorch's nn.Transformer: an encoder and a decoder. */
function transformer(options: object) {
  const [encoder, decoder] = [transformerEncoder(8, 2, options), transformerDecoder(8, 2, options)];
  return module("Transformer", { encoder, decoder }, (source: Sequence, target: Sequence, masks: WholeMasks) => {
    const memory = encoder(source, { keyMask: masks.sourceMask });
    return decoder(target, memory, { keyMask: masks.targetMask, memoryKeyMask: masks.sourceMask });
  });
}
type Sequence = Floats<[number, number, 8]>;
interface WholeMasks {
  readonly sourceMask: Tensor<[number, number], "bool">;
  readonly targetMask: Tensor<[number, number], "bool">;
}

/** The model of a case, and a function that runs it and returns the outputs and, where it has them, the weights of the heads. */
function modelOf({ kind, options, inputs }: Case): {
  readonly model: Module;
  readonly run: (inputs: Named, masks: object) => readonly Tensor[];
} {
  if (kind === "multiHeadAttention") {
    const { bias, ...sizes } = options;
    const model = multiHeadAttention(8, 2, { ...sizes, ...(bias === false && { bias }) });
    return {
      model,
      run: ({ query, ...others }, masks) => {
        const { output, weights } = model.withWeights(query as Sequence, { ...others, ...masks } as object);
        return [output as Tensor, weights as Tensor];
      },
    };
  }
  if (kind === "transformerEncoderLayer") {
    const model = transformerEncoderLayer(8, 2, options);
    return { model, run: ({ x }, masks) => [model(x as Sequence, masks) as Tensor] };
  }
  if (kind === "transformerDecoderLayer") {
    const model = transformerDecoderLayer(8, 2, options);
    return { model, run: ({ x, memory }, masks) => [model(x as Sequence, memory as Sequence, masks) as Tensor] };
  }
  expect(Object.keys(inputs)).toEqual(["source", "target"]);
  const model = transformer(options);
  return {
    model,
    run: ({ source, target }, masks) => [
      model(source as Sequence, target as Sequence, masks as WholeMasks) as unknown as Tensor,
    ],
  };
}

const nameOf = ({ kind, options, inputs, masks }: Case): string =>
  `${kind} ${JSON.stringify(options)} of ${Object.keys(inputs)}, masks ${Object.entries(masks).map(([name, mask]) => (typeof mask === "boolean" ? `${name} ${mask}` : `${name} [${mask.shape}]`))}`;

describe.each([plainEngine(), nodeEngine({ threads: 1 }), nodeEngine({ threads: 1, kernels: false })])(
  "on $name",
  (engine) => {
    beforeEach(() => {
      useEngine(engine);
      seed(1);
    });

    test.each(cases.map((each) => [nameOf(each), each] as const))("%s is PyTorch's", async (_, each) => {
      const { model, run } = modelOf(each);
      fill(model, each.weights);
      const parameters = [...model.namedParameters()];
      const masks = Object.fromEntries(
        Object.entries(each.masks).map(([name, mask]) => [name, typeof mask === "boolean" ? mask : truths(mask)]),
      );
      const step = compile((inputs: Named, w: Tensor) => {
        const [output, ...heads] = run(inputs, masks);
        const loss = output!.mul(w).sum();
        return {
          output: output!,
          heads,
          gradients: gradients(loss, [
            ...parameters.map(([, p]) => p),
            ...Object.keys(each.inputs).map((name) => inputs[name]!),
          ]),
        };
      });
      const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, x]) => [name, floats(x)]));
      const ran = step(inputs, floats({ shape: each.outputs.shape, values: each.w }));
      expect(ran.output.shape).toEqual(each.outputs.shape);
      await expectValues(ran.output, each.outputs.values, "outputs");
      for (const [i, want] of each.heads.entries()) await expectValues(ran.heads[i]!, want.values, `weights ${i}`);
      const names = [...parameters.map(([name]) => name), ...Object.keys(inputs)];
      expect(Object.keys(each.gradients).sort()).toEqual([...names].sort());
      for (const [i, name] of names.entries())
        await expectValues(ran.gradients[i]!, each.gradients[name]!, `gradient of ${name}`);
    });
  },
);

describe("attention", () => {
  beforeEach(() => {
    useEngine(nodeEngine({ threads: 1 }));
    seed(1);
  });

  test("the fast form is the equation's, in value and gradients, and so is attention head by head", async () => {
    const [q, k, v] = [await drawn(1, [2, 3, 5, 4]), await drawn(2, [2, 3, 6, 4]), await drawn(3, [2, 3, 6, 7])];
    const w = await drawn(4, [2, 3, 5, 7]);
    const mask = fromValues(
      Uint8Array.from({ length: 2 * 5 * 6 }, (_, i) => Number(i % 6 === 0 || i % 7 < 4)),
      [2, 1, 5, 6],
    );
    for (const options of [{}, { mask }, { scale: 0.3 }, { bias: (await drawn(5, [3, 5, 6])) as Tensor }]) {
      const [fast, written] = [functional.attention(q, k, v, options), functional.attentionEquation(q, k, v, options)];
      await expectClose(fast as Tensor, written as Tensor, "value");
      const slopes = [fast, written].map((z) => gradients((z as Tensor).mul(w as Tensor).sum(), [q, k, v] as Tensor[]));
      for (const i of [0, 1, 2]) await expectClose(slopes[0]![i]!, slopes[1]![i]!, `gradient ${i}`);
    }
    const layer = multiHeadAttention(6, 3);
    const x = await drawn(6, [2, 4, 6]);
    const part = (at: number, head: number): Tensor => {
      const from = 6 * at + 2 * head;
      const [weight, bias] = [
        layer.in_proj_weight!.slice([from, from + 2]),
        layer.in_proj_bias!.slice([from, from + 2]),
      ];
      return functional.linear(x as Tensor<number[], "float32">, weight as never, bias as never) as Tensor;
    };
    const heads = [0, 1, 2].map((head) => functional.attentionEquation(part(0, head), part(1, head), part(2, head)));
    const all = layer.out_proj(concat(heads as Tensor[], 2) as Floats<[2, 4, 6]>);
    await expectClose(layer(x) as Tensor, all as Tensor, "heads one by one");
  });

  test("a mask means the same everywhere, and broadcasts both ways", async () => {
    const [q, k, v] = [await drawn(1, [3, 4]), await drawn(2, [5, 4]), await drawn(3, [5, 2])];
    const mask = tensor([[[true, true, false, false, true]], [[false, true, false, false, false]]]); // [2, 1, 5]
    const wide = functional.attention(q, k, v, { mask });
    expect(wide.shape).toEqual([2, 3, 2]);
    await expectClose(
      (wide as Tensor).slice([1, 2]),
      v.slice([1, 2]).expand([1, 3, 2]) as Tensor,
      "the one key's value",
    );
    const weights = functional.attentionWeights(q, k, { mask }) as Tensor;
    expect(await weights.sum(-1).sub(1).abs().max().item()).toBeLessThan(1e-6);
    expect(await weights.slice(null, null, [2, 4]).abs().max().item()).toBe(0);
  });

  test("queries without keys give zeros, and gradients of zero, whatever the scores", async () => {
    const [q, k, v] = [await drawn(1, [2, 3, 4]), await drawn(2, [2, 3, 4]), await drawn(3, [2, 3, 4])];
    const mask = tensor([[[false]], [[true]]]);
    for (const factor of [1, 1e4]) {
      const out = functional.attention(q.mul(factor), k, v, { mask });
      const slopes = gradients((out as Tensor).square().sum(), [q, k, v] as Tensor[]);
      for (const each of [out as Tensor, ...slopes]) {
        expect(await each.slice([0, 1]).abs().max().item()).toBe(0);
        expect(Number.isFinite(await each.abs().max().item())).toBe(true);
      }
      const weights = functional.attentionWeights(q, k, { mask }) as Tensor;
      expect(await weights.slice([0, 1]).abs().max().item()).toBe(0);
    }
  });

  test("weights that are asked for are those before dropout, and dropout keeps the expected value", async () => {
    const layer = multiHeadAttention(8, 2, { dropout: 0.4 });
    const x = await drawn(1, [2, 5, 8]);
    const { weights, output } = compile((x: Floats<[2, 5, 8]>) => layer.withWeights(x))(x);
    expect(await weights.sum(-1).sub(1).abs().max().item()).toBeLessThan(1e-5);
    layer.eval();
    const mean = layer(x);
    await expectClose(layer(x) as Tensor, mean as Tensor, "without dropout", 1e-7);
    layer.train();
    expect(await output.sub(mean).abs().max().item()).toBeGreaterThan(1e-3);
    const step = compile((x: Floats<[2, 5, 8]>) => layer(x));
    let sum = zeros([2, 5, 8]) as Tensor;
    for (let i = 0; i < 400; i++) sum = sum.add(tensor(await step(x).array()) as Tensor) as Tensor;
    expect(await sum.div(400).sub(mean).abs().mean().item()).toBeLessThan(0.03);
  });

  test("a state_dict of nn.Transformer loads as it is, and gives PyTorch's numbers", async () => {
    const each = cases.find(({ kind, options }) => kind === "transformer" && options.normFirst)!;
    const { model, run } = modelOf(each);
    decodeWeights(model, file("transformer.safetensors"));
    const inputs = Object.fromEntries(Object.entries(each.inputs).map(([name, x]) => [name, floats(x)]));
    const masks = Object.fromEntries(Object.entries(each.masks).map(([name, mask]) => [name, truths(mask as Saved)]));
    await expectValues(run(inputs, masks)[0]!, each.outputs.values, "outputs");
    decodeWeights(model, await encodeWeights(model));
  });

  test("sinusoidal positions are the paper's, and positions begin where they are told", async () => {
    const table = functional.sinusoidalTable(6, 4);
    const angles = [3, 3 / 100];
    const row = angles.flatMap((angle) => [Math.sin(angle), Math.cos(angle)]);
    await expectValues(table.slice([3, 4]) as Tensor, row, "row 3");
    for (const layer of [sinusoidalPositions(6, 4), learnedPositions(6, 4)]) {
      const all = layer(zeros([1, 6, 4])) as Tensor;
      const late = layer(zeros([2, 2, 4]), tensor([1, 4], "int32")) as Tensor;
      await expectClose(late.slice([0, 1]), all.slice(null, [1, 3]), "from 1");
      await expectClose(late.slice([1, 2]), all.slice(null, [4, 6]), "from 4");
      await expect(layer(zeros([2, 2, 4]), tensor([1, 5], "int32")).array()).rejects.toThrow(/outside|range|index/i);
      expect(() => layer(zeros([1, 7, 4]))).toThrow("a sequence of 7 tokens, and positions for 6");
    }
    expect([...sinusoidalPositions(6, 4).namedParameters().keys()]).toEqual([]);
  });

  test("a rotation leaves products that depend on the distance alone, in both layouts", async () => {
    const [q, k] = [await drawn(1, [1, 1, 1, 8]), await drawn(2, [1, 1, 1, 8])];
    const product = async (turn: (x: typeof q, start: Tensor<[1], "int32">) => typeof q, a: number, b: number) =>
      turn(q, tensor([a], "int32"))
        .mul(turn(k, tensor([b], "int32")))
        .sum()
        .item();
    const found: number[] = [];
    for (const interleaved of [false, true]) {
      const turn = rotaryPositions(32, 8, { interleaved });
      const near = await product(turn, 3, 1);
      expect(await product(turn, 25, 23)).toBeCloseTo(near, 4);
      expect(Math.abs((await product(turn, 25, 13)) - near)).toBeGreaterThan(1e-2);
      found.push(near);
      await expectClose(turn(q) as Tensor, q as Tensor, "position 0", 1e-7);
      const whole = turn(q.expand([1, 1, 5, 8]) as never) as Tensor;
      await expectClose(whole.slice(null, null, [4, 5]), turn(q, tensor([4], "int32")) as Tensor, "position 4");
    }
    expect(found[0]).not.toBeCloseTo(found[1]!, 3);
    // By hand: pair 1 of 4 numbers turns by 5 / 10000^(2/4).
    const turn = rotaryPositions(8, 4);
    const angle = 5 / 100;
    const turned = turn(tensor([[[[0, 1, 0, 0]]]]), tensor([5], "int32")) as Tensor;
    await expectValues(turned, [0, Math.cos(angle), 0, Math.sin(angle)], "by hand");
  });

  test.each([{}, { rotary: rotaryPositions(8, 4) }])(
    "tokens one by one through a cache give what all at once do, %o",
    async (extra) => {
      const options = { layers: 2, dropout: 0, normFirst: true, ...extra };
      const [encoder, decoder] = [transformerEncoder(8, 2, options), transformerDecoder(8, 2, options)];
      const [x, source] = [await drawn(1, [3, 6, 8]), await drawn(2, [3, 5, 8])];
      const memoryKeyMask = tensor([
        [true, true, true, true, true],
        [true, true, false, false, false],
        [true, true, true, false, false],
      ]);
      const all = encoder(x, { causal: true }) as Tensor;
      const translated = decoder(x, source, { memoryKeyMask }) as Tensor;
      const step = compile(
        (x: Floats<[3, number, 8]>, caches: ReturnType<typeof start>, positions: Tensor<[3], "int32">) => {
          const own = encoder.step(x, caches.own, positions);
          const other = decoder.step(x, caches.other, positions, { memoryKeyMask });
          return { outputs: [own.output, other.output], caches: { own: own.cache, other: other.cache } };
        },
      );
      const start = () => ({ own: encoder.zeroCache(3, 7), other: decoder.startCache(source, 7) });
      let caches = start();
      // The first three tokens at once, as a prompt.
      for (const [from, to] of [
        [0, 3],
        [3, 4],
        [4, 5],
        [5, 6],
      ] as const) {
        const ran = step(
          x.slice(null, [from, to]) as Floats<[3, number, 8]>,
          caches,
          tensor([from, from, from], "int32"),
        );
        caches = ran.caches as typeof caches;
        await expectClose(ran.outputs[0] as Tensor, all.slice(null, [from, to]), `encoder ${from}`);
        await expectClose(ran.outputs[1] as Tensor, translated.slice(null, [from, to]), `decoder ${from}`);
      }
    },
  );

  test("each sequence of a batch has its own place in the cache, and padding before it", async () => {
    const layer = transformerEncoderLayer(8, 2, { dropout: 0 });
    const x = await drawn(1, [2, 4, 8]);
    const all = layer(x, { causal: true }) as Tensor;
    // The first example is two tokens ahead of the second.
    let { cache } = layer.step(x, layer.zeroCache(2, 6), tensor([0, 0], "int32"));
    const late = layer.step(x.slice(null, [1, 2]) as Floats<[2, 1, 8]>, cache, tensor([1, 1], "int32"));
    await expectClose(late.output as Tensor, all.slice(null, [1, 2]), "written again");
    const mixed = concat([x.slice([0, 1], [3, 4]), x.slice([1, 2], [1, 2])] as Tensor[], 0) as Floats<[2, 1, 8]>;
    const ran = layer.step(mixed, cache, tensor([3, 1], "int32"));
    await expectClose((ran.output as Tensor).slice([0, 1]), all.slice([0, 1], [3, 4]), "place 3");
    await expectClose((ran.output as Tensor).slice([1, 2]), all.slice([1, 2], [1, 2]), "place 1");
    // Padding of two places before the tokens: they attend to themselves alone.
    cache = layer.zeroCache(2, 6);
    const keyMask = tensor([
      [false, false, true, true, true, true],
      [false, false, true, true, true, true],
    ]);
    const padded = layer.step(
      concat([ones([2, 2, 8]), x] as Tensor[], 1) as Floats<[2, 6, 8]>,
      cache,
      tensor([0, 0], "int32"),
      { keyMask },
    );
    await expectClose((padded.output as Tensor).slice(null, [2, 6]), all, "behind padding");
    await expect(layer.step(x, cache, tensor([0, 3], "int32")).output.array()).rejects.toThrow(
      "for which the cache has room",
    );
  });

  test("weights of every layer come out of stacks", async () => {
    const options = { layers: 3, dropout: 0 };
    const [encoder, decoder] = [transformerEncoder(8, 2, options), transformerDecoder(8, 2, options)];
    const [x, memory] = [await drawn(1, [2, 4, 8]), await drawn(2, [2, 5, 8])];
    const own = encoder.withWeights(x);
    await expectClose(own.output as Tensor, encoder(x) as Tensor, "encoder", 1e-6);
    expect(own.weights.map(({ shape }) => shape)).toEqual(Array(3).fill([2, 2, 4, 4]));
    const both = decoder.withWeights(x, memory);
    await expectClose(both.output as Tensor, decoder(x, memory) as Tensor, "decoder", 1e-6);
    expect(both.memoryWeights.map(({ shape }) => shape)).toEqual(Array(3).fill([2, 2, 4, 5]));
    expect(await (both.weights[0] as Tensor).slice(null, null, [0, 1], [1, 4]).max().item()).toBe(0);
  });

  test("dropout acts in training alone, in each of its places", async () => {
    const layer = transformerEncoderLayer(8, 2, { dropout: 0.5, attentionDropout: 0 });
    const x = await drawn(1, [2, 4, 8]);
    const apart = async () => (await layer(x).sub(layer(x)).abs().max().item()) > 0;
    expect(await apart()).toBe(true);
    layer.eval();
    expect(await apart()).toBe(false);
  });

  test("what does not fit is refused with a sentence that says what does", async () => {
    const layer = multiHeadAttention(8, 2);
    const x = zeros([2, 3, 8]);
    const messages = [
      () => multiHeadAttention(8, 3),
      () => multiHeadAttention(8, 2, { heads: 2 } as object),
      () => layer(zeros([2, 3, 6]) as never),
      () => layer(x, { mask: ones([3, 3]) as never }),
      () => layer(x, { mask: ones([2, 4]).greater(0) as never }),
      () => layer(x, { keyMask: tensor([[true, true, true]]) as never }),
      () => layer(x, { key: zeros([2, 4, 8]), causal: true }),
      () => layer(x, { attn_mask: x } as object),
      () => layer.step(x, layer.zeroCache(3, 5) as never, tensor([0, 0], "int32")),
      () => layer.step(x, layer.zeroCache(2, 5), tensor([0], "int32") as never),
      () => functional.attention(zeros([3, 4]), zeros([2, 5] as number[]) as never, zeros([2, 5] as number[]) as never),
      () =>
        functional.attention(
          zeros([3, 4]),
          zeros([7, 3, 4] as number[]) as never,
          zeros([7, 3, 4] as number[]) as never,
        ),
      () => functional.attention(zeros([3, 4]), zeros([3, 4]), zeros([3, 4]), { mask: zeros([3, 3]) as never }),
      () => rotaryPositions(8, 3),
      () => transformerEncoderLayer(8, 2, { activation: "tanh" as never }),
      () => transformerEncoder(8, 2, { layer: 2 } as object),
      () => transformerEncoder(8, 2, { layers: 1 }).step(x, [] as never, tensor([0, 0], "int32")),
    ].map((call) => {
      try {
        call();
        return "nothing";
      } catch (error) {
        return (error as Error).message;
      }
    });
    expect(messages).toMatchInlineSnapshot(`
      [
        "multiHeadAttention: 3 heads for a width of 8
        fix: give a number of heads that divides it",
        "multiHeadAttention: the options are a record { heads }
        fix: there is no option "heads"; the options are dropout, keySize, valueSize, rotary, weight, bias, generator",
        "multiHeadAttention: the queries are [2, 3, 6]
        fix: give [batch, time, 8]",
        "multiHeadAttention: a mask is float32[3, 3]
        fix: give bool, true where a query may attend to a key: mask.cast("bool")",
        "multiHeadAttention: the mask is bool[2, 4] for 3 queries and 3 keys of 2 examples and 2 heads
        fix: give bool [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys], true where a query may attend",
        "multiHeadAttention: the mask of the keys is bool[1, 3]
        fix: give bool[2, 3], true where a key is a token",
        "multiHeadAttention: a causal mask for 3 queries and 4 keys
        fix: give as many queries as keys, or a mask that says which keys each query sees",
        "multiHeadAttention: argument 2 is a record { attn_mask }
        fix: there is no option "attn_mask"; the options are key, value, mask, keyMask, causal",
        "multiHeadAttention: the keys and values are [3, 2, 5, 4] and [3, 2, 5, 4]
        fix: give [2, 2, keys, 4] for both, as keyValue and zeroCache return",
        "multiHeadAttention: the positions are int32[1]
        fix: give int32[2]",
        "attention: float32[3, 4], float32[2, 5], float32[2, 5] do not fit
        fix: give queries [..., queries, size], keys [..., keys, size] and values [..., keys, values]",
        "attention: the leading axes of float32[7, 3, 4] are more than those of the queries float32[3, 4]
        fix: repeat the queries first: q.expand(shape)",
        "attention: the mask is float32[3, 3]
        fix: give bool, true where a query may attend to a key; numbers to add to the scores are the option bias",
        "rotaryPositions: heads of 3 numbers, which do not form pairs
        fix: give an even size",
        "transformerEncoderLayer: argument 3 is a record { feedForwardSize, dropout, attentionDropout, activation, normFirst }
        fix: give "relu" or "gelu" for \`activation\`, which is "tanh"",
        "transformerEncoder: the options are a record { layer }
        fix: there is no option "layer": did you mean layers?; the options are feedForwardSize, dropout, attentionDropout, activation, normFirst, epsilon, rotary, weight, bias, generator, layers, norm",
        "transformerEncoder.step: 0 caches for 1 layers
        fix: give the caches that came back from the step before",
      ]
    `);
  });
});
