/** BERT and GPT-2 against PyTorch modules with Hugging Face's names: outputs, gradients, and folders as they are published. */

import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Architecture,
  adamW,
  bert,
  bertForMaskedLM,
  bertForNextSentencePrediction,
  bertForPreTraining,
  bertForSequenceClassification,
  bertForTokenClassification,
  classifyText,
  compile,
  crossEntropy,
  decodeSafetensors,
  encodeSafetensors,
  fillMask,
  fromValues,
  gpt2,
  gpt2LMHeadModel,
  gradients,
  linear,
  loadPretrained,
  type Module,
  nodeEngine,
  type PretrainedModel,
  plainEngine,
  savePretrained,
  seed,
  type Tensor,
  tensor,
  tokenizers,
  useEngine,
} from "../../src/node.ts";

const fixtures = fileURLToPath(new URL("../fixtures/", import.meta.url));
const bertFolder = path.join(fixtures, "pretrained/bert");
const gpt2Folder = path.join(fixtures, "pretrained/gpt2");

interface Values {
  readonly shape: number[];
  readonly values: number[];
}

interface Case {
  readonly architecture: string;
  readonly ids: Values;
  readonly mask: Values | null;
  readonly segments: Values | null;
  readonly weights: Readonly<Record<string, Values>>;
  readonly outputs: Readonly<Record<string, Values & { readonly w: number[] }>>;
  readonly gradients: Readonly<Record<string, number[]>>;
}

const { cases } = JSON.parse(gunzipSync(readFileSync(path.join(fixtures, "pretrained.json.gz"))).toString()) as {
  readonly cases: readonly Case[];
};

const all = [
  bert,
  bertForPreTraining,
  bertForMaskedLM,
  bertForNextSentencePrediction,
  bertForSequenceClassification,
  bertForTokenClassification,
  gpt2LMHeadModel,
] as unknown as readonly Architecture[];

type Output = Readonly<Record<string, Tensor | readonly Tensor[]>>;
type Called = Module & PretrainedModel & ((ids: Tensor, input: object) => Output);

const small = {
  vocabSize: 20,
  hiddenSize: 8,
  numHiddenLayers: 2,
  numAttentionHeads: 2,
  intermediateSize: 16,
  maxPositionEmbeddings: 12,
} as const;
const smallGpt2 = { ...small, vocabSize: 258, intermediateSize: 32 } as const;

const ints = ({ shape, values }: Values): Tensor => fromValues(Int32Array.from(values), shape) as Tensor;
const floats = (values: readonly number[], shape: readonly number[]): Tensor =>
  fromValues(Float32Array.from(values), shape) as Tensor;

/** The model of a case, in evaluation, with the case's weights. */
function modelOf({ architecture, weights }: Case): Called {
  const make = all.find((each) => each.architecture === architecture)!;
  const isGpt2 = architecture.startsWith("GPT2");
  const labels = architecture.endsWith("ForSequenceClassification") || architecture.endsWith("ForTokenClassification");
  const model = make({ ...(isGpt2 ? smallGpt2 : small), ...(labels && { numLabels: 3 }) }) as Called;
  const states = model.namedStates();
  expect([...states.keys()].sort()).toEqual(Object.keys(weights).sort());
  for (const [name, state] of states) {
    expect(state.shape, name).toEqual(weights[name]!.shape);
    state.write(Float32Array.from(weights[name]!.values));
  }
  return model.eval();
}

function outputsOf(model: Called, { ids, mask, segments, outputs }: Case): Map<string, Tensor> {
  const needsDetails = Object.keys(outputs).some((name) => name.includes("."));
  const result = model(ints(ids), {
    ...(mask && { attentionMask: ints(mask) }),
    ...(segments && { tokenTypeIds: ints(segments) }),
    ...(needsDetails && { outputAttentions: true, outputHiddenStates: true }),
  });
  return new Map(
    Object.keys(outputs).map((name) => {
      const [first, index] = name.split(".");
      const part = result[first!]!;
      return [name, index === undefined ? (part as Tensor) : (part as readonly Tensor[])[Number(index)]!];
    }),
  );
}

async function expectNear(
  have: Tensor,
  want: readonly number[],
  what: string,
  rows?: readonly number[],
): Promise<void> {
  const values = await have.data();
  expect(values.length, what).toBe(want.length);
  const largest = want.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const most = Math.max(1e-5, 1e-6 * largest);
  for (let i = 0; i < want.length; i++)
    if (rows?.[i] !== 0) expect(Math.abs(values[i]! - want[i]!), `${what}, element ${i}`).toBeLessThan(most);
}

const engines = [nodeEngine(), plainEngine()];

describe.each(engines.map((engine) => [engine.name, engine] as const))("on the engine %s", (_, engine) => {
  beforeEach(() => useEngine(engine));

  test.each(cases.map((each, i) => [`${i}: ${each.architecture}${each.mask ? ", with a mask" : ""}`, each] as const))(
    "outputs and all gradients, %s",
    async (_name, each) => {
      const model = modelOf(each);
      const states = model.namedParameters();
      const run = compile(() => {
        const outputs = outputsOf(model, each);
        const terms = [...outputs].map(([name, y]) =>
          y.mul(floats(each.outputs[name]!.w, each.outputs[name]!.shape)).sum(),
        );
        const loss = terms.reduce((sum, term) => sum.add(term) as never) as Tensor;
        return [...outputs.values(), ...gradients(loss, [...states.values()])] as Tensor[];
      });
      const results = run();
      const names = Object.keys(each.outputs);
      for (const [i, name] of names.entries())
        await expectNear(results[i]!, each.outputs[name]!.values, name, maskOf(each, name));
      for (const [i, name] of [...states.keys()].entries())
        await expectNear(results[names.length + i]!, each.gradients[name]!, `the gradient of ${name}`);
    },
  );
});

/** 0 for the elements of an output that belong to padding. */
function maskOf({ mask, outputs }: Case, name: string): number[] | undefined {
  const { shape } = outputs[name]!;
  if (!mask || shape.length < 3) return undefined;
  const [batch, time] = mask.shape as [number, number];
  const [, heads] = shape.length === 4 ? shape : [0, 1];
  const width = shape.at(-1)!;
  return Array.from({ length: batch * heads! * time * width }, (_, i) => {
    const token = Math.floor(i / width) % time;
    const row = Math.floor(i / (width * time * heads!));
    return mask.values[row * time + token]!;
  });
}

describe("folders", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "glissade-pretrained-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  beforeEach(() => {
    useEngine(nodeEngine());
    seed(1);
  });
  const fresh = async (name: string, from?: string): Promise<string> => {
    const to = path.join(folder, name);
    if (from) await cp(from, to, { recursive: true });
    else await mkdir(to);
    return to;
  };

  const bertCase = cases[0]!;
  const gpt2Case = cases.find(({ architecture }) => architecture === "GPT2LMHeadModel")!;

  test("a BERT folder loads as it is published: old names, a buffer, no weights of the tied output", async () => {
    const { model, tokenizer, report, configJson } = await loadPretrained(bertForPreTraining, bertFolder);
    expect(report.missing).toEqual([]);
    expect(report.unexpected).toEqual([]);
    expect(configJson.transformers_version).toBe("4.6.0.dev0");
    expect(model.config).toMatchObject({ ...small, hiddenAct: "gelu", layerNormEps: 1e-12 });
    const outputs = outputsOf(model.eval() as unknown as Called, bertCase);
    for (const [name, y] of outputs) await expectNear(y, bertCase.outputs[name]!.values, name, maskOf(bertCase, name));
    expect(tokenizer!.encode("The cats sat", { pair: "a hat" }).tokens).toEqual(
      "[CLS] the cat ##s sat [SEP] a hat [SEP]".split(" "),
    );
  });

  test("a GPT-2 folder loads as it is published: no prefix, masks as buffers; two files, float16 and bfloat16", async () => {
    const { model, tokenizer, report } = await loadPretrained(gpt2LMHeadModel, gpt2Folder);
    expect(report).toMatchObject({ missing: [], unexpected: [], mismatched: [] });
    const outputs = outputsOf(model.eval() as unknown as Called, gpt2Case);
    for (const [name, y] of outputs) await expectNear(y, gpt2Case.outputs[name]!.values, name);
    expect(tokenizer!.decode(tokenizer!.ids("the thing"))).toBe("the thing");
    expect(tokenizer!.idOf("th")).toBe(256);
  });

  test("other heads: a body alone, a body into a head, a head that is new", async () => {
    const body = await loadPretrained(bert, bertFolder);
    expect(body.report.missing).toEqual([]);
    expect(body.report.unexpected).toContain("cls.seq_relationship.weight");
    const text = await loadPretrained(bertForSequenceClassification, bertFolder, { config: { numLabels: 3 } });
    expect(text.report.missing).toEqual(["classifier.weight", "classifier.bias"]);
    expect(text.model.classifier.weight.shape).toEqual([3, 8]);
    expect(await text.model.bert.pooler.dense.weight.array()).toEqual(await body.model.pooler.dense.weight.array());
    const words = await loadPretrained(bertForTokenClassification, bertFolder, {
      config: { id2label: ["O", "PER", "LOC"] },
    });
    expect(words.model.config.numLabels).toBe(3);
    await savePretrained(body.model, await fresh("body"));
    const whole = await loadPretrained(bertForMaskedLM, path.join(folder, "body"));
    expect(whole.report.missing).toContain("cls.predictions.transform.dense.weight");
    expect(await whole.model.bert.embeddings.word_embeddings.weight.array()).toEqual(
      await body.model.embeddings.word_embeddings.weight.array(),
    );
    const gpt = await loadPretrained(gpt2, gpt2Folder);
    expect(gpt.report).toMatchObject({ missing: [], unexpected: [] });
  });

  test("written and read again, a model is the same, with its tokenizer and the fields of its config.json", async () => {
    const { model, tokenizer, configJson } = await loadPretrained(bertForMaskedLM, bertFolder);
    const to = path.join(folder, "made/by/us");
    await savePretrained(model, to, { tokenizer: tokenizer!, configJson });
    expect((await readdir(to)).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
    ]);
    const json = JSON.parse(await readFile(path.join(to, "config.json"), "utf8")) as Record<string, unknown>;
    expect(json).toMatchObject({ ...configJson, architectures: ["BertForMaskedLM"] });
    const { tensors, metadata } = decodeSafetensors(await readFile(path.join(to, "model.safetensors")));
    expect(metadata).toEqual({ format: "pt" }); //  without it, Hugging Face's loader refuses the file
    expect([...tensors.keys()]).not.toContain("cls.predictions.decoder.weight");
    expect(JSON.parse(await readFile(path.join(to, "tokenizer_config.json"), "utf8"))).toMatchObject({
      mask_token: "[MASK]",
      model_max_length: 12,
    });
    const again = await loadPretrained(bertForMaskedLM, new URL(`file://${to}`));
    expect(again.tokenizer!.encode("the cats").tokens).toEqual(tokenizer!.encode("the cats").tokens);
    for (const [name, state] of again.model.namedStates())
      expect(await state.data(), name).toEqual(await model.namedStates().get(name)!.data());
  });

  const firstOf = async (model: ReturnType<typeof bert>): Promise<readonly number[]> => [
    ...(await model.embeddings.word_embeddings.weight.data()).slice(16, 20),
  ];
  const saved = async (name: string, model: ReturnType<typeof bert>, maxShardSize: number): Promise<string> => {
    const to = await fresh(name);
    await savePretrained(model, to, { maxShardSize });
    return to;
  };

  test("labels keep their names; large models are divided over files", async () => {
    const id2label = ["negative", "positive", "neither"];
    const model = bertForSequenceClassification({ ...small, id2label });
    const to = await fresh("shards");
    await savePretrained(model, to, { maxShardSize: 2000 });
    const names = (await readdir(to)).filter((name) => name.endsWith(".safetensors"));
    expect(names.length).toBeGreaterThan(3);
    const json = JSON.parse(await readFile(path.join(to, "config.json"), "utf8")) as Record<string, unknown>;
    expect(json.id2label).toEqual({ 0: "negative", 1: "positive", 2: "neither" });
    expect(json.label2id).toEqual({ negative: 0, positive: 1, neither: 2 });
    const { model: again, tokenizer } = await loadPretrained(bertForSequenceClassification, to);
    expect(again.config.id2label).toEqual(id2label);
    expect(tokenizer).toBeUndefined();
    for (const [name, state] of again.namedStates())
      expect(await state.data(), name).toEqual(await model.namedStates().get(name)!.data());
    await expect(loadPretrained(bertForSequenceClassification, to, { config: { numLabels: 2 } })).rejects.toThrow(
      "classifier.weight is [3, 8], and [2, 8] in the model",
    );
    const other = await loadPretrained(bertForSequenceClassification, to, {
      config: { numLabels: 2 },
      ignoreMismatchedSizes: true,
    });
    expect(other.report.mismatched.map(({ name }) => name)).toEqual(["classifier.weight", "classifier.bias"]);
  });

  test("a save replaces the weights of the one before, in one file or several", async () => {
    const to = await fresh("replaced");
    const others = ["model-best.safetensors", "adapter_model.safetensors", "model-00001-of-00002.safetensors.bak"];
    for (const name of others) await writeFile(path.join(to, name), "mine");
    const counts: number[] = [];
    for (const [i, maxShardSize] of [2e9, 1000, 1000, 2e9, 2000, 1000, 1000, 1000, 2e9].entries()) {
      const model = bert(small);
      await savePretrained(model, to, { maxShardSize });
      expect(await firstOf((await loadPretrained(bert, to)).model), `save ${i}`).toEqual(await firstOf(model));
      const names = (await readdir(to)).filter((name) => name.startsWith("model") && !others.includes(name)).sort();
      if (maxShardSize === 2e9) expect(names).toEqual(["model.safetensors"]);
      else expect(names).toHaveLength(Number(/of-(\d+)/.exec(names[0]!)![1]) + 1);
      counts.push(names.length);
    }
    expect(counts[2]).toBe(counts[1]);
    for (const name of others) expect(await readFile(path.join(to, name), "utf8")).toBe("mine");
  });

  test("a save that stops before all weights are written leaves those that were there", async () => {
    const count = (await readdir(await saved("counted", bert(small), 1000))).length - 2;
    const shard = (series: string): string => `model${series}-00003-of-${String(count).padStart(5, "0")}.safetensors`;
    for (const [before, after, blocked] of [
      [2e9, 1000, shard("")],
      [2e9, 1000, "model.safetensors.index.json"],
      [1000, 2e9, "model.safetensors"],
      [1000, 1000, shard("-b")],
      [2000, 1000, shard("")],
    ] as const) {
      const [old, model] = [bert(small), bert(small)];
      const to = await saved(`stopped at ${blocked} after ${before}`, old, before);
      await mkdir(path.join(to, blocked)); //  a folder in the place of a file, which stops the save
      await expect(savePretrained(model, to, { maxShardSize: after })).rejects.toThrow("a folder");
      await rm(path.join(to, blocked), { recursive: true });
      expect(await firstOf((await loadPretrained(bert, to)).model)).toEqual(await firstOf(old));
      await savePretrained(model, to, { maxShardSize: after });
      expect(await firstOf((await loadPretrained(bert, to)).model)).toEqual(await firstOf(model));
    }
  });

  test("pipelines refuse models of another kind", async () => {
    const { tokenizer } = await loadPretrained(bert, bertFolder);
    for (const make of [bertForTokenClassification, bertForMaskedLM, bertForPreTraining, bert])
      await expect(classifyText(make(small) as never, tokenizer!, ["the cat"])).rejects.toThrow("such as bertForSeq");
    for (const make of [bertForTokenClassification, bertForSequenceClassification, bertForNextSentencePrediction, bert])
      await expect(fillMask(make(small) as never, tokenizer!, "the [MASK]")).rejects.toThrow(
        "predicts no masked tokens",
      );
    for (const make of [bertForMaskedLM, bertForPreTraining])
      expect(await fillMask(make(small) as never, tokenizer!, "the [MASK]")).toHaveLength(1);
  });

  test("a loaded model trains on", async () => {
    const { model, tokenizer } = await loadPretrained(bertForSequenceClassification, bertFolder, {
      config: { hiddenDropoutProb: 0, attentionProbsDropoutProb: 0 },
    });
    const { ids, mask } = tokenizer!.encodeBatch(["the cat sat on the mat", "a dog ran", "the hat", "a big dog sat"]);
    expect(ids.shape[0]).toBe(4);
    const rows = ["the cat sat", "a dog ran", "the hat sat", "a big dog"].map((text) => [...tokenizer!.ids(text)]);
    const [inputs, labels] = [tensor(rows, "int32"), tensor([0, 1, 0, 1], "int32")];
    expect(mask.dtype).toBe("bool");
    const optimizer = adamW(model, { learningRate: 0.01 });
    const step = compile(() => {
      const loss = crossEntropy(model(inputs as Tensor<[number, number], "int32">).logits, labels);
      optimizer.minimize(loss);
      return loss;
    });
    const before = await step().item();
    for (let i = 0; i < 30; i++) step();
    expect(await step().item()).toBeLessThan(before / 10);
  });

  test("what is wrong is said", async () => {
    await expect(loadPretrained(gpt2LMHeadModel, bertFolder)).rejects.toThrow('its model_type is "bert"');
    await expect(loadPretrained(bert, path.join(folder, "nowhere"))).rejects.toThrow("cannot be read");
    const edited = async (name: string, change: (json: Record<string, unknown>) => object): Promise<string> => {
      const to = await fresh(name, bertFolder);
      const config = path.join(to, "config.json");
      await writeFile(config, JSON.stringify(change(JSON.parse(await readFile(config, "utf8")))));
      return to;
    };
    await expect(
      loadPretrained(bert, await edited("relative", (json) => ({ ...json, position_embedding_type: "relative_key" }))),
    ).rejects.toThrow('position_embedding_type is "relative_key"');
    await expect(
      loadPretrained(bert, await edited("deep", (json) => ({ ...json, num_hidden_layers: 3 }))),
    ).rejects.toThrow("it lacks encoder.layer.2.attention.self.query.weight");
    await expect(loadPretrained(bert, await edited("wide", (json) => ({ ...json, vocab_size: 21 })))).rejects.toThrow(
      "is [20, 8], and [21, 8] in the model",
    );
    await expect(loadPretrained(bert, await edited("odd", (json) => ({ ...json, hidden_size: "8" })))).rejects.toThrow(
      'hidden_size is "8"',
    );
    for (const sizes of [
      { num_hidden_layers: 1e9 },
      { vocab_size: 1e12 },
      { max_position_embeddings: 1e9 },
      { type_vocab_size: 1e9 },
      { intermediate_size: 1e9 },
      { hidden_size: 1e9 },
      { num_labels: 1e12, id2label: undefined },
    ]) {
      const [[name, size]] = Object.entries(sizes) as [[string, number]];
      const load = loadPretrained(
        bertForSequenceClassification,
        await edited(`huge ${name}`, (json) => ({ ...json, ...sizes })),
      );
      await expect(load).rejects.toThrow(`${name} ${size}`);
      await expect(load).rejects.toThrow("config.json: these sizes are of a model that is too large");
    }
    const manyLabels = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [i, `${i}`]));
    const { model: labelled } = await loadPretrained(
      bertForSequenceClassification,
      await edited("labelled", (json) => ({ ...json, id2label: manyLabels })),
    );
    expect(labelled.config.numLabels).toBe(50_000);
    const pointer = await edited("pointer", (json) => json);
    const lines = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 440473133\n";
    await writeFile(path.join(pointer, "model.safetensors"), lines);
    await expect(loadPretrained(bert, pointer)).rejects.toThrow("it is a pointer of Git LFS");
    const pickled = await edited("pickled", (json) => json);
    await rm(path.join(pickled, "model.safetensors"));
    await writeFile(path.join(pickled, "pytorch_model.bin"), "PK");
    await expect(loadPretrained(bert, pickled)).rejects.toThrow("only a pytorch_model.bin, which is a pickle");
    const leading = await fresh("leading", gpt2Folder);
    await writeFile(
      path.join(leading, "model.safetensors.index.json"),
      JSON.stringify({ weight_map: { wte: "../bert/model.safetensors" } }),
    );
    await expect(loadPretrained(gpt2, leading)).rejects.toThrow("weight_map names the file");
    const partial = await fresh("partial", gpt2Folder);
    const first = path.join(partial, "model-00001-of-00002.safetensors");
    const { tensors } = decodeSafetensors(await readFile(first));
    tensors.delete("wte.weight");
    await writeFile(first, encodeSafetensors(tensors));
    await expect(loadPretrained(gpt2, partial)).rejects.toThrow('no file has "wte.weight"');
    await expect(savePretrained(linear(2, 3) as never, folder)).rejects.toThrow("a module without an architecture");
    expect(() => bert({ hiddenSize: 10, numAttentionHeads: 3 })).toThrow("3 attention heads share a hidden size of 10");
    expect(() => bert({ hidden_size: 8 } as never)).toThrow("did you mean hiddenSize?");
    expect(() => bert({ hiddenAct: "geluu" as never })).toThrow('`hiddenAct` is "geluu"');
    expect(() => bertForSequenceClassification({ ...small, numLabels: 3, id2label: ["a"] })).toThrow(
      "1 names in id2label",
    );
    const model = bert(small);
    expect(() => model(tensor([1, 2], "int32") as never)).toThrow("give [batch, tokens]");
    expect(() => model(tensor([Array(13).fill(1)], "int32") as never)).toThrow("13 tokens, and positions for 12");
    expect(() => model(tensor([[1, 2]], "int32"), { attentionMask: tensor([[1]], "int32") as never })).toThrow(
      "attentionMask is [1, 1]",
    );
  });
});

describe("BERT", () => {
  beforeEach(() => useEngine(nodeEngine()));

  test("logits at some positions are those at all positions", async () => {
    const model = bertForPreTraining(small).eval();
    const ids = tensor(
      [
        [2, 5, 6, 7, 3],
        [2, 8, 9, 3, 0],
      ],
      "int32",
    );
    const whole = (await model(ids).predictionLogits.array()) as number[][][];
    const some = (await model(ids, {
      predictionPositions: tensor(
        [
          [3, 1],
          [2, 2],
        ],
        "int32",
      ),
    }).predictionLogits.array()) as number[][][];
    const wanted = [
      [whole[0]![3], whole[0]![1]],
      [whole[1]![2], whole[1]![2]],
    ] as number[][][];
    for (const [i, row] of some.flat(2).entries()) expect(row).toBeCloseTo(wanted.flat(2)[i]!, 5);
  });

  test("begins as published: normal weights, zeros for padding; dropout in training only", async () => {
    const model = bert({ ...small, hiddenSize: 64 });
    const words = (await model.embeddings.word_embeddings.weight.array()) as number[][];
    expect(words[0]!.every((value) => value === 0)).toBe(true);
    const others = words.slice(1).flat();
    const deviation = Math.sqrt(others.reduce((sum, value) => sum + value ** 2, 0) / others.length);
    expect(deviation).toBeGreaterThan(0.018);
    expect(deviation).toBeLessThan(0.022);
    const ids = tensor([[2, 5, 6, 3]], "int32");
    const twice = async (): Promise<boolean> => {
      const [a, b] = [await model(ids).poolerOutput.array(), await model(ids).poolerOutput.array()];
      return JSON.stringify(a) === JSON.stringify(b);
    };
    expect(await twice()).toBe(false);
    model.eval();
    expect(await twice()).toBe(true);
  });

  test("a tokenizer's batch fits the model", async () => {
    const tokenizer = tokenizers.bert(await readFile(path.join(bertFolder, "vocab.txt"), "utf8"));
    const encoding = tokenizer.encode("the cat", { pair: "a dog" });
    const model = bert(small).eval();
    const { lastHiddenState, attentions } = model(tensor([[...encoding.ids]], "int32"), {
      tokenTypeIds: tensor([[...encoding.typeIds]], "int32"),
      outputAttentions: true,
    });
    expect(lastHiddenState.shape).toEqual([1, encoding.ids.length, 8]);
    expect(attentions!.map(({ shape }) => shape)).toEqual(Array(2).fill([1, 2, 7, 7]));
  });
});
