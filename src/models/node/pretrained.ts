/** Folders of pre-trained models, as Hugging Face publishes them. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, FormatError, printable, quoted } from "../../errors.ts";
import {
  explained,
  FileError,
  type FileLocation,
  readFileChecked,
  writeFileAtomically,
} from "../../files/node/atomic.ts";
import { decodeSafetensors, encodeSafetensors, type NamedValues } from "../../files/safetensors.ts";
import {
  aFlag,
  aFunction,
  anything,
  aRecord,
  described,
  expectArguments,
  expectOptions,
  type Kind,
  optional,
  options as optionsOf,
} from "../../graph/arguments.ts";
import { sizeInBytes } from "../../graph/types.ts";
import type { Module } from "../../nn/module.ts";
import { loadTokenizer } from "../../text/node/tokenizers.ts";
import { encodeTokenizer, Tokenizer } from "../../text/tokenizer.ts";
import * as tokenizers from "../../text/tokenizers.ts";
import type { Architecture, ConfigJson, PretrainedModel } from "../architecture.ts";
import { filesOfModel, type LoadedModel, modelFromFiles, type PretrainedOptions } from "../pretrained.ts";

/** A model out of a folder, with its tokenizer. */
export interface Pretrained<C extends object, M extends Module> extends LoadedModel<C, M> {
  /** The tokenizer of the folder; undefined if there is none. */
  readonly tokenizer: Tokenizer | undefined;
  /** The content of `config.json`, with all fields. */
  readonly configJson: ConfigJson;
}

const aLocation: Kind = (value) =>
  typeof value === "string" || value instanceof URL ? undefined : "give the path of a folder, or its file: URL";
const anArchitecture: Kind = (value) =>
  typeof value === "function" && "architecture" in value
    ? undefined
    : "give an architecture: bert, bertForMaskedLM, gpt2LMHeadModel";

/**
 * Loads a folder of a pre-trained model as Hugging Face publishes it, such as one that was downloaded from the hub:
 *
 *     const { model, tokenizer } = await loadPretrained(bertForSequenceClassification, "bert-base-uncased", { config: { numLabels: 3 } });
 *
 * The folder holds `config.json`; the weights in `model.safetensors`, or in several files with `model.safetensors.index.json`, as float32,
 * float16 or bfloat16, which become float32; and a tokenizer in `tokenizer.json`, `vocab.txt`, or `vocab.json` and `merges.txt`. The model
 * may have another head than the file: weights that the file lacks keep their initial values, and `report.missing` names them. Throws
 * FileError for a file that cannot be read, FormatError for one that is damaged or of another architecture.
 */
export async function loadPretrained<C extends object, M extends Module>(
  architecture: Architecture<C, M>,
  folder: FileLocation,
  options: PretrainedOptions<C> = {},
): Promise<Pretrained<C, M>> {
  const known = optionsOf({ config: aRecord, ignoreMismatchedSizes: aFlag, generator: anything });
  expectArguments("loadPretrained", [anArchitecture, aLocation, known], [architecture, folder, options]);
  const path = pathOf(folder);
  const configJson = await readConfig(path);
  const weights = await readWeights(path);
  const loaded = modelFromFiles(architecture, configJson, weights, options, {
    config: join(path, "config.json"),
    weights: path,
  });
  return { ...loaded, tokenizer: await readTokenizer(path), configJson };
}

const pathOf = (folder: FileLocation): string => (folder instanceof URL ? fileURLToPath(folder) : folder);

/** Whether a folder holds a pre-trained model. The `config.json` of a run has no `model_type`. */
export async function isPretrainedFolder(folder: string): Promise<boolean> {
  const there = await readIfThere(join(folder, "config.json")).catch(() => undefined);
  return there !== undefined && typeof (await readConfig(folder)).model_type === "string";
}

/** Reads the `config.json` of a folder. */
export async function readConfig(folder: string): Promise<ConfigJson> {
  return readRecord(join(folder, "config.json"));
}

async function readRecord(path: string): Promise<ConfigJson> {
  const text = new TextDecoder().decode(await readFileChecked(path));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    const fix = "download it again";
    throw new FormatError(path, `is no JSON: ${cause instanceof Error ? cause.message : ""}`, fix, "", { cause });
  }
  if (aRecord(json)) throw new FormatError(path, `its content is ${described(json)}`, "give a record");
  return json as ConfigJson;
}

/** Returns the bytes of a file, or undefined if there is no such file. */
async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  try {
    return await readFileChecked(path);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENOENT") return undefined;
    throw error;
  }
}

const singleName = "model.safetensors";
const indexName = "model.safetensors.index.json";
/** The names of several files. A save over files of the same names takes the other series, so that it overwrites none of them. */
const shardNames = /^model(-b)?-\d{5}-of-\d{5}\.safetensors$/;

/** Reads the weights of a folder, in one file or several. */
async function readWeights(folder: string): Promise<ReadonlyMap<string, NamedValues>> {
  const single = join(folder, singleName);
  const bytes = await readIfThere(single);
  if (bytes) return decodeSafetensors(bytes, single).tensors;
  const indexPath = join(folder, indexName);
  if (!(await readIfThere(indexPath))) {
    const isPickle = (await readIfThere(join(folder, "pytorch_model.bin"))) !== undefined;
    throw new FileError(
      "loadPretrained",
      `${printable(folder)} has no model.safetensors${isPickle ? ", only a pytorch_model.bin, which is a pickle" : ""}`,
      "download model.safetensors, or convert the weights: model.save_pretrained(folder, safe_serialization=True)",
      "ENOENT",
    );
  }
  const { weight_map: map } = await readRecord(indexPath);
  if (aRecord(map)) throw new FormatError(indexPath, `weight_map is ${described(map)}`, "download it again");
  const files = new Set(Object.values(map as object));
  const all = new Map<string, NamedValues>();
  for (const file of files) {
    // A name with a slash would lead out of the folder.
    if (typeof file !== "string" || !/^[\w.-]+\.safetensors$/.test(file))
      throw new FormatError(
        indexPath,
        `weight_map names the file ${described(file)}`,
        "give names of safetensors files in the same folder",
      );
    const path = join(folder, file);
    for (const [name, values] of decodeSafetensors(await readFileChecked(path), path).tensors) {
      if (all.has(name))
        throw new FormatError(path, `${quoted(name)} is in another file, too`, "download all files again");
      all.set(name, values);
    }
  }
  for (const name of Object.keys(map as object))
    if (!all.has(name)) throw new FormatError(indexPath, `no file has ${quoted(name)}`, "download all files again");
  return all;
}

/** Reads the tokenizer of a folder, from whichever of its usual files are there. */
export async function readTokenizer(folder: string): Promise<Tokenizer | undefined> {
  const json = join(folder, "tokenizer.json");
  if (await readIfThere(json)) return loadTokenizer(json);
  const words = await readIfThere(join(folder, "vocab.txt"));
  if (words) {
    const settings = join(folder, "tokenizer_config.json");
    const { do_lower_case: lowercase = true } = (await readIfThere(settings)) ? await readRecord(settings) : {};
    return tokenizers.bert(words, { lowercase: lowercase === true, source: join(folder, "vocab.txt") });
  }
  const [vocabulary, merges] = [
    await readIfThere(join(folder, "vocab.json")),
    await readIfThere(join(folder, "merges.txt")),
  ];
  return vocabulary && merges ? tokenizers.gpt2(vocabulary, merges) : undefined;
}

/** The options of `savePretrained`. */
export interface SavePretrainedOptions {
  /** The tokenizer, which is written beside the model. */
  readonly tokenizer?: Tokenizer;
  /** The most bytes of values in one file; more are divided over several files with an index. Default 2 · 10⁹ bytes. */
  readonly maxShardSize?: number;
  /** Fields for `config.json` that models here do not use, such as those of the file that the model came from. */
  readonly configJson?: ConfigJson;
}

/**
 * Writes a model to a folder in Hugging Face's form, which its `from_pretrained` loads: `config.json`, `model.safetensors`, and, with a
 * tokenizer, `tokenizer.json` and `tokenizer_config.json`. The folder is made if there is none. Weights that an earlier save has written
 * there are removed once the new ones are complete: whenever the process stops, the folder has the old ones or the new ones. Throws ConfigError for a module that is not
 * one of the architectures here, FileError when a file cannot be written.
 */
export async function savePretrained(
  model: PretrainedModel,
  folder: FileLocation,
  options: SavePretrainedOptions = {},
): Promise<void> {
  expectArguments("savePretrained", [aFunction, aLocation, optional(aRecord)], [model, folder, options]);
  expectOptions("savePretrained", options, ["tokenizer", "maxShardSize", "configJson"]);
  const { tokenizer, maxShardSize = 2e9, configJson } = options;
  if (tokenizer !== undefined && !(tokenizer instanceof Tokenizer))
    throw new ConfigError("savePretrained", `the tokenizer is ${described(tokenizer)}`, "give a tokenizer");
  if (!(maxShardSize > 0))
    throw new ConfigError("savePretrained", `maxShardSize is ${described(maxShardSize)}`, "give a number of bytes");
  const path = pathOf(folder);
  const { json, weights } = await filesOfModel(model, configJson);
  try {
    await mkdir(path, { recursive: true });
  } catch (cause) {
    throw explained("savePretrained", `the folder ${printable(path)} cannot be made`, cause, {});
  }
  const write = (name: string, content: Uint8Array | string): Promise<void> =>
    writeFileAtomically(join(path, name), content);
  const text = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  // The weights come before the configuration, which says that the folder is whole. Until all of them are written, the folder has the
  // weights that it had: no file of these is overwritten or removed before.
  const shards = sharded(weights, maxShardSize);
  const ofShard = (series: string, i: number): string =>
    `model${series}-${String(i + 1).padStart(5, "0")}-of-${String(shards.length).padStart(5, "0")}.safetensors`;
  const indexNow = new TextDecoder().decode(await readIfThere(join(path, indexName)));
  const series = indexNow.includes(ofShard("", 0)) ? "-b" : "";
  const nameOf = (i: number): string => (shards.length === 1 ? singleName : ofShard(series, i));
  for (const [i, shard] of shards.entries()) await write(nameOf(i), encodeSafetensors(shard, { format: "pt" }));
  if (shards.length > 1) {
    const map = shards.flatMap((shard, i) => [...shard.keys()].map((name) => [name, nameOf(i)] as const));
    const total = [...weights.values()].reduce((sum, type) => sum + sizeInBytes(type), 0);
    await write(indexName, text({ metadata: { total_size: total }, weight_map: Object.fromEntries(map) }));
  }
  await removeReplaced(path, shards.length === 1 ? [singleName] : [indexName, ...shards.map((_, i) => nameOf(i))]);
  if (tokenizer) {
    await write("tokenizer.json", encodeTokenizer(tokenizer));
    await write("tokenizer_config.json", text(tokenizerConfig(tokenizer, model)));
  }
  await write("config.json", text(json));
}

/** Removes the files of weights that earlier saves have written, apart from those of this one. */
async function removeReplaced(folder: string, written: readonly string[]): Promise<void> {
  try {
    const shards = (await readdir(folder)).filter((name) => shardNames.test(name));
    // First what would be loaded in place of the new files, or leads to files that are removed.
    for (const name of [singleName, indexName, ...shards])
      if (!written.includes(name)) await rm(join(folder, name), { force: true });
  } catch (cause) {
    throw explained("savePretrained", `old weights in ${printable(folder)} cannot be removed`, cause, {});
  }
}

/** Divides weights over files of limited size, in their order. */
function sharded(weights: ReadonlyMap<string, NamedValues>, most: number): Map<string, NamedValues>[] {
  const shards: Map<string, NamedValues>[] = [new Map()];
  let size = 0;
  for (const [name, values] of weights) {
    const bytes = sizeInBytes(values);
    if (size > 0 && size + bytes > most) {
      shards.push(new Map());
      size = 0;
    }
    shards.at(-1)!.set(name, values);
    size += bytes;
  }
  return shards;
}

/** The roles of special tokens, as Hugging Face's tokenizers read them. */
function tokenizerConfig({ special, tokens }: Tokenizer, { config }: PretrainedModel): Record<string, unknown> {
  const roles = { pad: "pad", unk: "unk", cls: "cls", sep: "sep", mask: "mask", bos: "bos", eos: "eos" } as const;
  const named = Object.entries(roles).flatMap(([role, name]) => {
    const id = special[role as keyof typeof roles];
    return id === undefined ? [] : [[`${name}_token`, tokens[id]!] as const];
  });
  const { maxPositionEmbeddings } = config as { readonly maxPositionEmbeddings?: number };
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(maxPositionEmbeddings !== undefined && { model_max_length: maxPositionEmbeddings }),
    ...Object.fromEntries(named),
  };
}
