/**
 * The format `tokenizer.json`, in which Hugging Face publishes tokenizers, and its checks. A file from outside may be hostile: everything
 * that the reading library does not check is checked here first.
 */
import { FormatError, quoted } from "../errors.ts";
import { described } from "../graph/arguments.ts";

/** A part of a tokenizer: its type, by name, and its settings. */
export interface TokenizerComponent {
  readonly type: string;
  readonly [setting: string]: unknown;
}

/** A token in addition to the model's tokens. It is found in a text before all other processing. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** Whether the token is not text, such as `[CLS]`. */
  readonly special: boolean;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
}

/** The content of a `tokenizer.json`. */
export interface TokenizerJson {
  readonly version: string;
  readonly truncation: unknown;
  readonly padding: unknown;
  readonly added_tokens: readonly AddedToken[];
  readonly normalizer: TokenizerComponent | null;
  readonly pre_tokenizer: TokenizerComponent | null;
  readonly post_processor: TokenizerComponent | null;
  readonly decoder: TokenizerComponent | null;
  readonly model: TokenizerComponent;
}

/** The most tokens in a vocabulary; the largest published one has 262,144. */
const mostTokens = 2 ** 22;
/** The most UTF-16 units of a token or of a setting. */
const longest = 10_000;
/** The deepest nesting of parts. */
const deepest = 8;

/** Throws FormatError about a part of the file. */
type Fail = (place: string, problem: string, fix?: string) => never;

type Settings = Readonly<Record<string, unknown>>;

/** Throws FormatError unless a parsed JSON value is a `tokenizer.json` whose parts are known and fit together. */
export function expectTokenizerJson(value: unknown, source: string): TokenizerJson {
  const fail: Fail = (place, problem, fix = "give the tokenizer.json of a model, whole and unchanged") => {
    throw new FormatError(source, `${place} ${problem}`, fix);
  };
  if (!isRecord(value)) return fail("the content", `is ${described(value)}, and a record was expected`);
  const model = value.model;
  if (!isRecord(model)) return fail("model", `is ${described(model)}, and a record was expected`);
  const checkedModel = expectModel(model, fail);
  const { added, ids } = expectAdded(value.added_tokens ?? [], checkedModel, fail);
  const component = (name: keyof typeof known): TokenizerComponent | null => {
    const part = value[name] ?? null;
    if (part !== null) expectComponent(name, part, known[name], fail, 0);
    return part as TokenizerComponent | null;
  };
  const json: TokenizerJson = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: component("normalizer"),
    pre_tokenizer: component("pre_tokenizer"),
    post_processor: component("post_processor"),
    decoder: component("decoder"),
    model: checkedModel.model,
  };
  expectTemplate(json.post_processor, ids, fail);
  return json;
}

function isRecord(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function expectText(place: string, value: unknown, fail: Fail): string {
  if (typeof value === "string" && value.length <= longest) return value;
  return fail(
    place,
    typeof value === "string" ? `has ${value.length} characters` : `is ${described(value)}, and a text was expected`,
  );
}

interface CheckedModel {
  readonly model: TokenizerComponent;
  readonly vocabulary: ReadonlyMap<string, number>;
}

function expectModel(model: Settings, fail: Fail): CheckedModel {
  // Older files do not give the type.
  const type = model.type ?? (Array.isArray(model.vocab) ? "Unigram" : model.merges ? "BPE" : "WordPiece");
  const settings = { ...model, type: String(type) };
  for (const name of ["unk_token", "continuing_subword_prefix", "end_of_word_suffix"])
    if (model[name] !== undefined && model[name] !== null) expectText(`model.${name}`, model[name], fail);
  if (type === "Unigram") return { model: settings, vocabulary: expectScores(model, fail) };
  const vocabulary = expectVocabulary(model.vocab, fail);
  switch (type) {
    case "BPE":
      return { model: { ...settings, merges: expectMerges(model, vocabulary, fail) }, vocabulary };
    case "WordPiece": {
      expectText("model.unk_token", model.unk_token, fail);
      const most = model.max_input_chars_per_word ?? 100;
      if (!Number.isSafeInteger(most) || (most as number) < 1 || (most as number) > longest)
        fail("model.max_input_chars_per_word", `is ${described(most)}`);
      const prefix = model.continuing_subword_prefix ?? "##";
      return { model: { ...settings, continuing_subword_prefix: prefix, max_input_chars_per_word: most }, vocabulary };
    }
    case "WordLevel":
      expectText("model.unk_token", model.unk_token, fail);
      return { model: settings, vocabulary };
    default:
      return fail("model.type", `is ${described(type)}, and BPE, WordPiece, WordLevel or Unigram was expected`);
  }
}

function expectVocabulary(vocab: unknown, fail: Fail): ReadonlyMap<string, number> {
  if (!isRecord(vocab)) return fail("model.vocab", `is ${described(vocab)}, and a record of tokens was expected`);
  const entries = Object.entries(vocab);
  if (entries.length === 0 || entries.length > mostTokens)
    fail("model.vocab", `has ${entries.length} tokens, and 1 to ${mostTokens} were expected`);
  const seen = new Map<number, string>();
  for (const [token, id] of entries) {
    expectText(`model.vocab: the token ${quoted(token)}`, token, fail);
    if (!isId(id, entries.length))
      fail("model.vocab", `gives ${quoted(token)} the id ${described(id)}, and ${idsOf(entries.length)} were expected`);
    const other = seen.get(id as number);
    if (other !== undefined) fail("model.vocab", `gives ${quoted(other)} and ${quoted(token)} the id ${id}`);
    seen.set(id as number, token);
  }
  return new Map(entries as [string, number][]);
}

/** Whether a value is a valid id. Files may skip ids, but not most of them, because tables are indexed by ids. */
function isId(id: unknown, tokens: number): boolean {
  return Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < 2 * tokens + 1000;
}

const idsOf = (tokens: number): string => `whole numbers from 0 to ${2 * tokens + 999}`;

function expectScores(model: Settings, fail: Fail): ReadonlyMap<string, number> {
  const { vocab, unk_id: unknown } = model;
  if (!Array.isArray(vocab))
    return fail("model.vocab", `is ${described(vocab)}, and pairs of token and score were expected`);
  if (vocab.length === 0 || vocab.length > mostTokens) fail("model.vocab", `has ${vocab.length} tokens`);
  const vocabulary = new Map<string, number>();
  for (const [id, pair] of vocab.entries()) {
    const [token, score]: unknown[] = Array.isArray(pair) ? pair : [];
    expectText(`model.vocab: token ${id}`, token, fail);
    if (typeof score !== "number" || !Number.isFinite(score))
      fail("model.vocab", `gives token ${id} the score ${described(score)}, and a number was expected`);
    vocabulary.set(token as string, id);
  }
  if (!Number.isSafeInteger(unknown) || (unknown as number) < 0 || (unknown as number) >= vocab.length)
    fail("model.unk_id", `is ${described(unknown)}, and the id of a token was expected`);
  return vocabulary;
}

/** Returns the merges as pairs, from either of the two notations. Both parts of a merge and its result must be tokens. */
function expectMerges(model: Settings, vocabulary: ReadonlyMap<string, number>, fail: Fail): [string, string][] {
  const { merges, continuing_subword_prefix: prefix } = model;
  if (!Array.isArray(merges)) return fail("model.merges", `is ${described(merges)}, and an array was expected`);
  if (merges.length > mostTokens) fail("model.merges", `has ${merges.length} entries`);
  return merges.map((merge: unknown, i): [string, string] => {
    const parts: unknown = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(parts) || parts.length !== 2 || typeof parts[0] !== "string" || typeof parts[1] !== "string")
      return fail("model.merges", `has ${described(merge)} at ${i}, and two tokens were expected`);
    const [left, right] = parts as [string, string];
    const inner = typeof prefix === "string" && right.startsWith(prefix) ? right.slice(prefix.length) : right;
    for (const token of [left, right, left + inner])
      if (!vocabulary.has(token))
        fail("model.merges", `merges ${quoted(left)} and ${quoted(right)}, and ${quoted(token)} is no token`);
    return [left, right];
  });
}

function expectAdded(
  value: unknown,
  { vocabulary }: CheckedModel,
  fail: Fail,
): { added: AddedToken[]; ids: ReadonlyMap<string, number> } {
  if (!Array.isArray(value)) return fail("added_tokens", `is ${described(value)}, and an array was expected`);
  if (value.length > 20_000) fail("added_tokens", `has ${value.length} entries`);
  const ids = new Map(vocabulary);
  const taken = new Map<number, string>([...vocabulary].map(([token, id]) => [id, token]));
  const added = value.map((each: unknown, i): AddedToken => {
    const place = `added_tokens[${i}]`;
    if (!isRecord(each)) return fail(place, `is ${described(each)}, and a record was expected`);
    const content = expectText(`${place}.content`, each.content, fail);
    if (content === "") fail(`${place}.content`, "is empty");
    const { id } = each;
    if (!isId(id, vocabulary.size + value.length))
      fail(`${place}.id`, `is ${described(id)}, and ${idsOf(vocabulary.size + value.length)} were expected`);
    const other = taken.get(id as number);
    if (other !== undefined && other !== content)
      fail(`${place}.id`, `is ${id}, which is the id of ${quoted(other)} already`);
    const known = ids.get(content);
    if (known !== undefined && known !== id)
      fail(place, `gives ${quoted(content)} the id ${id}, and it has the id ${known}`);
    ids.set(content, id as number);
    taken.set(id as number, content);
    const flag = (name: string): boolean => {
      const set = each[name] ?? false;
      return typeof set === "boolean"
        ? set
        : fail(`${place}.${name}`, `is ${described(set)}, and true or false was expected`);
    };
    const special = flag("special");
    return {
      id: id as number,
      content,
      single_word: flag("single_word"),
      lstrip: flag("lstrip"),
      rstrip: flag("rstrip"),
      normalized: each.normalized === undefined ? !special : flag("normalized"),
      special,
    };
  });
  return { added, ids };
}

// Parts

type Check = (place: string, value: unknown, fail: Fail) => void;

const flag: Check = (place, value, fail) => {
  if (value !== undefined && value !== null && typeof value !== "boolean")
    fail(place, `is ${described(value)}, and true or false was expected`);
};
const aText: Check = (place, value, fail) => {
  expectText(place, value, fail);
};
const maybeText: Check = (place, value, fail) => {
  if (value !== undefined && value !== null) expectText(place, value, fail);
};
const count =
  (least: number): Check =>
  (place, value, fail) => {
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > 1_000_000)
      fail(place, `is ${described(value)}, and a whole number from ${least} on was expected`);
  };

/** Checks a text or a pattern; a pattern must not take exponential time. */
const pattern: Check = (place, value, fail: Fail) => {
  if (!isRecord(value)) fail(place, `is ${described(value)}, and { String } or { Regex } was expected`);
  if (typeof value.String === "string" && value.Regex === undefined) {
    if (value.String === "") fail(`${place}.String`, "is empty");
    expectText(`${place}.String`, value.String, fail);
    return;
  }
  const source = expectText(`${place}.Regex`, value.Regex, fail);
  if (mayExplode(source))
    fail(
      `${place}.Regex`,
      `${quoted(source)} repeats a group that has a repetition or a choice inside, which may take for ever`,
      "write the pattern without repetitions inside of repetitions",
    );
};

/** Checks the name and id of a special token. */
const tokenAndId: Check = (place, value, fail: Fail) => {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== "string" || !Number.isSafeInteger(value[1]))
    fail(place, `is ${described(value)}, and a token with its id was expected`);
};

const template: Check = (place, value, fail: Fail) => {
  if (!Array.isArray(value) || value.length > 100) fail(place, `is ${described(value)}, and an array was expected`);
  for (const [i, item] of value.entries()) {
    const part: unknown = isRecord(item) ? (item.SpecialToken ?? item.Sequence) : undefined;
    if (!isRecord(part) || typeof part.id !== "string" || (part.type_id !== 0 && part.type_id !== 1))
      fail(`${place}[${i}]`, "is no special token and no sequence with a type_id of 0 or 1");
    if (isRecord(item) && item.Sequence !== undefined && part.id !== "A" && part.id !== "B")
      fail(`${place}[${i}].Sequence.id`, `is ${quoted(part.id)}, and A or B was expected`);
  }
};

/** The checks of settings, by the types of parts that have them. The setting `parts` holds parts of the same kind. */
type Known = Readonly<Record<string, Readonly<Record<string, Check>>>>;

const flags = (...names: readonly string[]): Readonly<Record<string, Check>> =>
  Object.fromEntries(names.map((name) => [name, flag]));

/** The parts that the reading library knows, with the settings that it does not check. */
const known = {
  normalizer: {
    BertNormalizer: flags("clean_text", "handle_chinese_chars", "strip_accents", "lowercase"),
    Precompiled: {
      precompiled_charsmap: (place, value, fail) =>
        value != null && typeof value !== "string" && fail(place, "is no text"),
    },
    Sequence: {},
    Replace: { pattern, content: aText },
    NFC: {},
    NFD: {},
    NFKC: {},
    NFKD: {},
    Strip: flags("strip_left", "strip_right"),
    StripAccents: {},
    Lowercase: {},
    Prepend: { prepend: aText },
  },
  pre_tokenizer: {
    BertPreTokenizer: {},
    Sequence: {},
    Whitespace: {},
    WhitespaceSplit: {},
    Metaspace: { replacement: aText, prepend_scheme: maybeText, ...flags("add_prefix_space", "split") },
    ByteLevel: flags("add_prefix_space", "trim_offsets", "use_regex"),
    Split: { pattern, behavior: aText, invert: flag },
    Punctuation: { behavior: maybeText },
    Digits: flags("individual_digits"),
    Replace: { pattern, content: aText },
    FixedLength: { length: count(1) },
  },
  post_processor: {
    TemplateProcessing: { single: template, pair: template },
    ByteLevel: flags("add_prefix_space", "trim_offsets", "use_regex"),
    BertProcessing: { sep: tokenAndId, cls: tokenAndId },
    RobertaProcessing: { sep: tokenAndId, cls: tokenAndId, ...flags("add_prefix_space", "trim_offsets") },
    Sequence: {},
  },
  decoder: {
    ByteLevel: flags("add_prefix_space", "trim_offsets", "use_regex"),
    WordPiece: { prefix: aText, cleanup: flag },
    Metaspace: { replacement: aText, prepend_scheme: maybeText, ...flags("add_prefix_space", "split") },
    BPEDecoder: { suffix: aText },
    CTC: { pad_token: aText, word_delimiter_token: aText, cleanup: flag },
    Sequence: {},
    Replace: { pattern, content: aText },
    Fuse: {},
    Strip: { content: aText, start: count(0), stop: count(0) },
    ByteFallback: {},
  },
} satisfies Readonly<Record<string, Known>>;

/** The names of the settings in which a sequence has its parts. */
const listNames = ["normalizers", "pretokenizers", "processors", "decoders"];

function expectComponent(place: string, part: unknown, types: Known, fail: Fail, depth: number): void {
  if (!isRecord(part)) fail(place, `is ${described(part)}, and a record was expected`);
  const type = part.type;
  const settings = typeof type === "string" && Object.hasOwn(types, type) ? types[type] : undefined;
  if (settings === undefined)
    fail(`${place}.type`, `is ${described(type)}, and ${Object.keys(types).join(", ")} are known`);
  for (const [name, check] of Object.entries(settings)) check(`${place}.${name}`, part[name], fail);
  if (type !== "Sequence") return;
  const lists = listNames.filter((name) => part[name] !== undefined);
  const list = lists.length === 1 ? part[lists[0]!] : undefined;
  if (!Array.isArray(list) || list.length > 100) fail(place, "is a sequence without its parts");
  if (depth >= deepest) fail(place, "has sequences inside of sequences, too deep");
  for (const [i, each] of list.entries()) expectComponent(`${place}.${lists[0]}[${i}]`, each, types, fail, depth + 1);
}

/** Throws FormatError when a template names an unknown special token. */
function expectTemplate(part: TokenizerComponent | null, ids: ReadonlyMap<string, number>, fail: Fail): void {
  for (const { type, single, pair, cls, sep } of componentsOf(part)) {
    const named = [
      ...(type === "TemplateProcessing" ? [...(single as TemplateItem[]), ...(pair as TemplateItem[])] : []).flatMap(
        ({ SpecialToken }) => (SpecialToken ? [SpecialToken.id] : []),
      ),
      ...(type === "BertProcessing" || type === "RobertaProcessing"
        ? [cls, sep].map((each) => (each as [string])[0])
        : []),
    ];
    for (const token of named)
      if (!ids.has(token)) fail("post_processor", `puts in ${quoted(token)}, which is no token`);
  }
}

/** One part of a template. */
export interface TemplateItem {
  readonly SpecialToken?: { readonly id: string; readonly type_id: number };
  readonly Sequence?: { readonly id: "A" | "B"; readonly type_id: number };
}

/** Returns a part, or the parts of a sequence. */
export function componentsOf(part: TokenizerComponent | null): readonly TokenizerComponent[] {
  if (part === null) return [];
  if (part.type !== "Sequence") return [part];
  return listNames.flatMap((name) => ((part[name] ?? []) as TokenizerComponent[]).flatMap(componentsOf));
}

/**
 * Returns whether a search for a pattern may take exponential time: whether it repeats a group that itself contains a repetition or a
 * choice. This also matches some harmless patterns, but none of published tokenizers.
 */
export function mayExplode(source: string): boolean {
  /** For each open group, whether it contains an unlimited repetition or a choice. */
  const open: boolean[] = [false];
  let closed: boolean | undefined;
  for (let i = 0; i < source.length; i++) {
    const character = source[i]!;
    const repeats = /^(?:[*+]|\{\d+,\d*\})/.exec(source.slice(i, i + 20))?.[0];
    if (character === "\\") {
      i += /^\\[pPxu]\{/.test(source.slice(i, i + 3)) ? source.slice(i).search(/\}|$/) : 1;
      closed = undefined;
    } else if (character === "[") {
      i = endOfClass(source, i);
      closed = undefined;
    } else if (character === "(") {
      open.push(false);
      closed = undefined;
    } else if (character === ")") {
      closed = open.pop() ?? false;
      if (open.length === 0) open.push(false);
      open[open.length - 1] ||= closed;
    } else if (character === "|") {
      open[open.length - 1] = true;
      closed = undefined;
    } else if (repeats !== undefined) {
      if (closed === true) return true;
      open[open.length - 1] = true;
      i += repeats.length - 1;
    } else closed = undefined;
  }
  return false;
}

/** Returns where a character class ends; classes may be nested. */
function endOfClass(source: string, start: number): number {
  let depth = 0;
  for (let i = start; i < source.length; i++) {
    if (source[i] === "\\") i++;
    else if (source[i] === "[") depth++;
    else if (source[i] === "]" && --depth === 0) return i;
  }
  return source.length;
}
