/** Compares training steps with those of other frameworks: bursts in turn, medians over all steps, and their ratio. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify, styleText } from "node:util";
import { Command } from "commander";
import { median, positiveInteger } from "./shared.ts";
import { Conversation, glissade, progress, type Side, start } from "./sides.ts";

/** A framework that we compare with. */
interface Peer extends Side {
  /** What is special about the way it runs, for its name in the results; empty if nothing. */
  readonly remark: string;
  /** How to install it. */
  readonly installation: string;
  isInstalled(): Promise<boolean>;
}

/** What one side did in all its bursts. */
interface Measurement {
  /** Name and version. */
  readonly peer: string;
  readonly notes: readonly string[];
  readonly times: number[];
  /** Milliseconds of a processor for a step, in each burst; empty where the side does not say. */
  readonly processor: number[];
  first: number;
  last: number;
}

/** Ours against one peer; either is missing where it does not have the workload. */
interface Comparison {
  readonly workload: string;
  readonly threads: number;
  readonly ours: Measurement | undefined;
  readonly peer: Measurement | undefined;
}

interface Options {
  /** Default: one and two, one after the other. */
  readonly threads?: number;
  readonly rounds: number;
  /** Whether ours also competes with itself, run op by op. */
  readonly withoutKernels: boolean;
  readonly json: boolean;
}

/** Runs the command line. `root` is the repository, `bundles` the folder of the servers. Returns the exit code. */
export async function main(root: string, bundles: string): Promise<number> {
  const program = new Command("npm run bench --")
    .description("Times training steps against PyTorch and TensorFlow.js, at equal numbers of threads.")
    .argument("[workload...]", "which; default: all")
    .option("--threads <n>", "on how many threads; default: 1, then 2", positiveInteger)
    .option("--rounds <n>", "how often each side has its turn", positiveInteger, 7)
    .option("--without-kernels", "compare with ours as well, its ops run one by one", false)
    .option("--json", "one JSON line for each workload and peer; use `npm run --silent bench`", false)
    .showHelpAfterError();
  program.parse();
  const options = program.opts<Options>();

  const ours = glissade(root, bundles, "on");
  const unfused: Peer = {
    ...glissade(root, bundles, "off"),
    remark: "without kernels",
    installation: "",
    isInstalled: async () => true,
  };
  const allPeers = [...torch(root), tensorflow(root, bundles), ...(options.withoutKernels ? [unfused] : [])];
  const known = [...new Set([ours, ...allPeers].flatMap((side) => side.workloads))];
  const wanted = program.args.length > 0 ? program.args : known;
  const unknown = wanted.filter((workload) => !known.includes(workload));
  if (unknown.length > 0) {
    console.error(`Nobody has a workload named ${unknown.join(", ")}. There are: ${known.join(", ")}.`);
    return 2;
  }

  const installed = await Promise.all(allPeers.map((peer) => peer.isInstalled()));
  const peers = allPeers.filter((_, i) => installed[i]);
  // Standard output belongs to the JSON lines where they are asked for.
  const say = options.json ? console.error : console.log;
  const missing = allPeers.filter((_, i) => !installed[i]);
  for (const text of new Set(
    missing.map(({ name, installation }) => `${name} is not here. To compare with it: ${installation}`),
  ))
    say(text);
  const [load] = os.loadavg();
  say(`${os.cpus()[0]?.model.trim()}, ${os.availableParallelism()} threads at once · Node ${process.versions.node}`);
  if (load! > 0.5) say(`The machine is busy (load ${load!.toFixed(1)}): expect noise.`);

  const report = options.json ? printJson : new Table().print;
  const notes = new Set<string>();
  let failures = 0;
  for (const workload of wanted)
    for (const threads of options.threads ? [options.threads] : [1, 2]) {
      const sides = [ours, ...peers].filter((side) => side.workloads.includes(workload));
      const { measurements, errors } = await compare(sides, workload, threads, options.rounds);
      for (const error of errors) console.error(error);
      failures += errors.length;
      const our = measurements.get(ours);
      const theirs = peers.flatMap((peer) => {
        const measured = measurements.get(peer);
        return measured ? [{ ...measured, peer: `${measured.peer} ${peer.remark}`.trim() }] : [];
      });
      if (theirs.length === 0 && our) report({ workload, threads, ours: our, peer: undefined });
      for (const peer of theirs) report({ workload, threads, ours: our, peer });
      for (const { notes: found } of measurements.values()) for (const note of found) notes.add(note);
    }
  for (const note of notes) say(note);
  return failures > 0 ? 1 : 0;
}

/** What makes OpenBLAS use other kernels than the best for this processor. */
const openBlasLimits = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"];

/**
 * PyTorch from the system's packages, with OpenBLAS and tcmalloc where they are: the peer at its best. Where the environment
 * limits OpenBLAS, once without the limits, and once more as the environment has it.
 */
function torch(root: string): Peer[] {
  const python = "/usr/bin/python3";
  const tcmalloc = ["x86_64", "aarch64"]
    .map((machine) => `/usr/lib/${machine}-linux-gnu/libtcmalloc_minimal.so.4`)
    .find((file) => existsSync(file));
  const isInstalled = promisify(execFile)(python, ["-c", "import torch"]).then(
    () => true,
    () => false,
  );
  const limits = openBlasLimits.filter((name) => process.env[name]).map((name) => `${name}=${process.env[name]}`);
  const peer = (remark: string, env: Record<string, string | undefined>): Peer => ({
    name: "PyTorch",
    remark,
    workloads: [
      "mlp",
      "mlp_bn",
      "conv",
      "lstm",
      "seq2seq",
      "transformer",
      "transformer_dropout",
      "bert_mini",
      "bert_mini_dropout",
      "translate",
      "translate_dropout",
    ],
    installation: "apt install python3-torch libopenblas0-openmp libtcmalloc-minimal4",
    isInstalled: () => isInstalled,
    serve: (workload, threads) =>
      start(python, ["bench/peers/torch_steps.py", workload, String(threads)], root, {
        OMP_NUM_THREADS: String(threads),
        LD_PRELOAD: tcmalloc,
        ...env,
      }),
  });
  const unlimited = peer("", Object.fromEntries(openBlasLimits.map((name) => [name, undefined])));
  return limits.length > 0 ? [unlimited, peer(limits.join(" "), {})] : [unlimited];
}

/** TensorFlow.js from our development dependencies. */
function tensorflow(root: string, bundles: string): Peer {
  const { resolve } = createRequire(path.join(root, "package.json"));
  return {
    name: "TensorFlow.js",
    remark: "",
    workloads: ["mlp", "conv"],
    installation: "npm ci",
    isInstalled: async () => {
      try {
        return Boolean(resolve("@tensorflow/tfjs") && resolve("@tensorflow/tfjs-backend-wasm"));
      } catch {
        return false;
      }
    },
    serve: (workload, threads) =>
      start(process.execPath, [path.join(bundles, "tfjs-steps.mjs"), workload, String(threads)], root),
  };
}

/**
 * Lets the sides take turns: ours, a peer, ours, the next peer, and so on. Only one computes at a time. A side that fails is
 * left out of the rest, and why is among the errors.
 */
async function compare(
  sides: readonly Side[],
  workload: string,
  threads: number,
  rounds: number,
): Promise<{ measurements: Map<Side, Measurement>; errors: string[] }> {
  const measurements = new Map<Side, Measurement>();
  const conversations = new Map<Side, Conversation>();
  const errors: string[] = [];
  const attempt = async (side: Side, action: () => Promise<void>): Promise<void> => {
    try {
      await action();
    } catch (error) {
      errors.push(`${side.name} failed at ${workload} on ${threads} threads: ${(error as Error).message}`);
      conversations.get(side)?.stop();
      conversations.delete(side);
      measurements.delete(side);
    }
  };
  try {
    for (const side of sides)
      await attempt(side, async () => {
        progress(`${workload}, ${threads} threads: ${side.name} warms up`);
        const conversation = new Conversation(side, workload, threads);
        conversations.set(side, conversation);
        measurements.set(side, {
          ...(await conversation.ready()),
          times: [],
          processor: [],
          first: Number.NaN,
          last: Number.NaN,
        });
      });
    for (let round = 1; round <= rounds; round++)
      for (const side of turns(sides)) {
        const conversation = conversations.get(side);
        if (!conversation) continue;
        await attempt(side, async () => {
          progress(`${workload}, ${threads} threads: round ${round} of ${rounds}, ${side.name}`);
          await pause(20); // threads of the side before may still spin
          const { times, processor, first, last } = await conversation.run();
          const measurement = measurements.get(side)!;
          measurement.times.push(...times);
          if (processor !== undefined) measurement.processor.push(processor);
          Object.assign(measurement, { first, last });
        });
      }
  } finally {
    for (const conversation of conversations.values()) conversation.stop();
    progress("");
  }
  return { measurements, errors };
}

/** Ours before each peer. */
function turns([ours, ...peers]: readonly Side[]): readonly Side[] {
  return peers.length === 0 ? [ours!] : peers.flatMap((peer) => [ours!, peer]);
}

/** Our median by the peer's: below 1 we are faster. */
function ratio({ ours, peer }: Comparison): number | undefined {
  return ours && peer ? median(ours.times) / median(peer.times) : undefined;
}

/** The same for the processor's time, which neighbours on the machine lengthen less. */
function processorRatio({ ours, peer }: Comparison): number | undefined {
  if (!ours || !peer || ours.processor.length === 0 || peer.processor.length === 0) return undefined;
  return median(ours.processor) / median(peer.processor);
}

function printJson(comparison: Comparison): void {
  const { workload, threads, ours, peer } = comparison;
  const rounded = (value: number | undefined): number | null => (value === undefined ? null : Number(value.toFixed(4)));
  const line = {
    workload,
    peer: peer?.peer ?? null,
    threads,
    medianMs: rounded(ours && median(ours.times)),
    peerMedianMs: rounded(peer && median(peer.times)),
    ratio: rounded(ratio(comparison)),
    processorRatio: rounded(processorRatio(comparison)),
  };
  console.log(JSON.stringify(line));
}

/** The comparisons as rows, under a head that comes with the first. */
class Table {
  #printed = false;

  readonly print = (comparison: Comparison): void => {
    if (!this.#printed) {
      const head = row("workload", "threads", "ours", "theirs", "ratio", "processor", "our loss", "their loss", "peer");
      console.log(`\n${styled("bold", head)}`);
    }
    this.#printed = true;
    const { workload, threads, ours, peer } = comparison;
    const quotient = ratio(comparison);
    const cells = [workload, String(threads), time(ours), time(peer), quotient?.toFixed(2) ?? "–"];
    cells.push(processorRatio(comparison)?.toFixed(2) ?? "–");
    const style = quotient !== undefined && quotient <= 1 ? "green" : "reset";
    console.log(styled(style, row(...cells, loss(ours), loss(peer), peer?.peer ?? "–")));
  };
}

function row(...cells: readonly string[]): string {
  const widths = [-20, 7, 11, 11, 6, 9, -15, -15, -18];
  return cells
    .map((cell, i) => (widths[i]! < 0 ? cell.padEnd(-widths[i]!) : cell.padStart(widths[i]!)))
    .join("  ")
    .trimEnd();
}

function time(side: Measurement | undefined): string {
  return side ? `${median(side.times).toFixed(2)} ms` : "–";
}

/** Loss at the first and at the last step of a burst. */
function loss(side: Measurement | undefined): string {
  return side ? `${side.first.toFixed(3)} → ${side.last.toFixed(3)}` : "–";
}

function styled(style: Parameters<typeof styleText>[0], text: string): string {
  return process.stdout.isTTY && !process.env.NO_COLOR ? styleText(style, text) : text;
}
