/**
 * Tokens a second that a GPT writes with a cache, or an LSTM, beside PyTorch's: `npm run decode`, `npm run decode -- --network lstm`. Both sides
 * have the same sizes; GPT is greedy, the LSTM draws each token; the first generation, which compiles, is left out. Rounds of both sides take turns in processes of their own.
 */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { compile, fromValues, generate, gpt2LMHeadModel, recurrentLanguageModel, scan, type Tensor } from "glissade";
import { median, positiveInteger } from "./shared.ts";

const run = promisify(execFile);

interface Sizes {
  readonly layers: number;
  readonly width: number;
  /** 0 for an LSTM. */
  readonly heads: number;
  readonly vocabulary: number;
}

const networks: Readonly<Record<string, Sizes>> = {
  small: { layers: 4, width: 256, heads: 4, vocabulary: 8000 },
  lstm: { layers: 2, width: 256, heads: 0, vocabulary: 100 },
  "gpt2-small": { layers: 12, width: 768, heads: 12, vocabulary: 50257 },
};

interface Round {
  readonly seconds: number;
  readonly cpu: number;
}

interface Options {
  readonly network: string;
  readonly batch: readonly number[];
  readonly prompt: number;
  readonly tokens: number;
  readonly rounds: number;
  readonly threads: number;
  readonly python: string;
  readonly ours?: boolean;
  readonly oneGraph?: boolean;
}

/** Prints a line for each batch size. Returns the exit code. */
export async function main(root: string, bundles: string): Promise<number> {
  const command = new Command("decode")
    .option("--network <name>", `any of ${Object.keys(networks).join(", ")}`, "small")
    .option("--batch <sizes>", "sizes of batches", (text) => text.split(",").map(Number), [1, 16])
    .option("--prompt <n>", "tokens of the prompt", positiveInteger, 32)
    .option("--tokens <n>", "new tokens", positiveInteger, 128)
    .option("--rounds <n>", "generations of each side", positiveInteger, 5)
    .option("--threads <n>", "threads of both sides", positiveInteger, 1)
    .option("--python <path>", "a Python with PyTorch", "/usr/bin/python3")
    .option("--one-graph", "an LSTM's tokens in one graph beside one run for each: our side only")
    .option("--ours", "only our side, one JSON line for each round")
    .parse();
  const options = command.opts<Options>();
  const sizes = networks[options.network] ?? command.error(`There is no network "${options.network}".`);
  if (!sizes)
    command.error(`There is no network "${options.network}": give any of ${Object.keys(networks).join(", ")}.`);
  if (options.ours) {
    await rounds(sizes, options);
    return 0;
  }
  if (options.oneGraph) {
    await inOneGraph(options.tokens, options.rounds);
    return 0;
  }
  const heads = ["batch", "tokens/s", "PyTorch's", "ratio", "by processor time"];
  for (const row of [heads, heads.map(() => "---")]) console.log(`| ${row.join(" | ")} |`);
  const { prompt, tokens, threads } = options;
  for (const batch of options.batch) {
    const { layers, width, heads: count, vocabulary } = sizes;
    const words = [layers, width, count, vocabulary, batch, prompt, tokens, 2].map(String);
    const own = ["--network", options.network, "--prompt", prompt, "--tokens", tokens, "--threads", threads].map(
      String,
    );
    const ours: Round[] = [];
    const theirs: Round[] = [];
    for (let i = 0; i < options.rounds; i++) {
      const us = [path.join(bundles, "decode-ours.mjs"), ...own, "--batch", String(batch), "--rounds", "2", "--ours"];
      ours.push(...(await roundsOf(process.execPath, us, { GLISSADE_THREADS: `${threads}` })));
      const them = [path.join(root, "bench/peers/torch_decode.py"), ...words];
      theirs.push(...(await roundsOf(options.python, them, { OMP_NUM_THREADS: `${threads}` })));
    }
    const rate = (each: Round[], of: keyof Round): number => (batch * tokens) / median(each.map((round) => round[of]));
    const ratio = (of: keyof Round): string => (rate(ours, of) / rate(theirs, of)).toFixed(2);
    const row = [`${batch}`, rate(ours, "seconds").toFixed(0), rate(theirs, "seconds").toFixed(0), ratio("seconds")];
    console.log(`| ${[...row, ratio("cpu")].join(" | ")} |`);
  }
  return 0;
}

async function roundsOf(program: string, words: readonly string[], env: Record<string, string>): Promise<Round[]> {
  const { stdout } = await run(program, [...words], { env: { ...process.env, ...env } });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Round);
}

/** Our side: a generation that compiles, then those that are measured. */
async function rounds({ layers, width, heads, vocabulary }: Sizes, options: Options): Promise<void> {
  const [batch = 1] = options.batch;
  const isLstm = heads === 0;
  const model = isLstm
    ? recurrentLanguageModel(vocabulary, { layers, hiddenSize: width, tied: false })
    : gpt2LMHeadModel({
        vocabSize: vocabulary,
        hiddenSize: width,
        numHiddenLayers: layers,
        numAttentionHeads: heads,
        maxPositionEmbeddings: options.prompt + options.tokens,
        activationFunction: "gelu",
      });
  const prompt = Array.from({ length: batch }, (_, row) =>
    Array.from({ length: options.prompt }, (_, i) => (7919 * (row * options.prompt + i)) % vocabulary),
  );
  for (let i = 0; i <= options.rounds; i++) {
    const [wall, cpu] = [performance.now(), process.cpuUsage()];
    const { sequences } = await generate<unknown>(model, { prompt, maxNewTokens: options.tokens, doSample: isLstm });
    if (sequences[0]?.length !== options.tokens) throw new Error(`${sequences[0]?.length} tokens`);
    const { user, system } = process.cpuUsage(cpu);
    if (i > 0) console.log(JSON.stringify({ seconds: (performance.now() - wall) / 1e3, cpu: (user + system) / 1e6 }));
  }
}

/** The likeliest tokens of an LSTM of 2 × 256, all in one graph and one run for each; prints milliseconds a token. */
async function inOneGraph(tokens: number, rounds: number): Promise<void> {
  const { layers, width, vocabulary } = networks.lstm!;
  const model = recurrentLanguageModel(vocabulary, { layers, hiddenSize: width, tied: false });
  type Ids = Tensor<[number], "int32">;
  const all = compile((token: Ids, state: ReturnType<typeof model.startState>) => {
    const { outputs } = scan(
      (before: { readonly token: Ids; readonly state: typeof state }) => {
        const { logits, state: after } = model.step(before.token, before.state);
        const best = logits.argmax(-1) as Ids;
        return [{ token: best, state: after }, best] as const;
      },
      { init: { token, state }, length: tokens },
    );
    return outputs;
  });
  const first = fromValues(Int32Array.of(1), [1]) as Ids;
  const start = model.startState(1, tokens + 1);
  const ways = {
    "in one graph": async () => [...(await all(first, start).data())],
    "one run for each": async () => (await generate(model, { prompt: [1], maxNewTokens: tokens })).sequences[0]!,
  };
  const times = new Map<string, number[]>();
  const found = new Set<string>();
  for (let i = 0; i <= rounds; i++)
    for (const [name, way] of Object.entries(ways)) {
      const started = performance.now();
      found.add(`${await way()}`);
      if (i > 0) times.set(name, [...(times.get(name) ?? []), (performance.now() - started) / tokens]);
    }
  if (found.size !== 1) throw new Error("the two ways write other tokens");
  for (const [name, each] of times) console.log(`${name}: ${median(each).toFixed(3)} ms a token`);
}
