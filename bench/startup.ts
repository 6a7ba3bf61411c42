/**
 * From the start of a process to its first finished training step, 10,000 images read: `npm run startup`. For networks that are named,
 * their first step beside PyTorch's, in processor time and in memory: `npm run startup -- resnet20 encoder12 --threads 1`.
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { median, positiveInteger } from "./shared.ts";
import type { Start } from "./start.ts";

const runs = 15;

/** Milliseconds since the child's process started, by its own clock. */
interface Stages {
  readonly imported: number;
  readonly read: number;
  readonly stepped: number;
}

const run = promisify(execFile);

const networks = ["mlp", "resnet20", "encoder12", "encoder24", "draws", "gpt2"];

interface Options {
  readonly threads: number;
  readonly rounds: number;
  readonly python: string;
}

/** Prints a line for each stage, or for each network. Returns the exit code. */
export async function main(root: string, bundles: string): Promise<number> {
  const command = new Command("startup")
    .argument("[networks...]", `any of ${networks.join(", ")}`)
    .option("--threads <n>", "threads of both sides", positiveInteger, 1)
    .option("--rounds <n>", "processes of each side, in turn", positiveInteger, 5)
    .option("--python <path>", "a Python with PyTorch", "/usr/bin/python3")
    .parse();
  const unknown = command.args.find((name) => !networks.includes(name));
  if (unknown) command.error(`There is no network "${unknown}": give any of ${networks.join(", ")}.`);
  if (command.args.length === 0) return stages(bundles);
  const rows: string[][] = [];
  for (const name of command.args) rows.push(await compared(name, command.opts<Options>(), root, bundles));
  const heads = [
    "network",
    "threads",
    "first step, s",
    "again, s",
    "PyTorch's, s",
    "event loop, ms",
    "again, ms",
    "peak, GB",
    "PyTorch's, GB",
  ];
  for (const row of [heads, heads.map(() => "---"), ...rows]) console.log(`| ${row.join(" | ")} |`);
  return 0;
}

/**
 * A row of the table: medians of processor time from the import to the end of the first step, without what a later step takes; "again" where
 * an earlier process has kept the compiled programs.
 */
async function compared(name: string, { threads, rounds, python }: Options, root: string, bundles: string) {
  const folder = await mkdtemp(path.join(tmpdir(), "glissade-startup-"));
  const ours = (cacheDir: string): readonly [string, readonly string[], Record<string, string>] => [
    process.execPath,
    [path.join(bundles, "start.mjs"), name],
    { GLISSADE_THREADS: `${threads}`, GLISSADE_CACHE_DIR: cacheDir },
  ];
  const sides = {
    new: ours("off"),
    again: ours(folder),
    peer: [
      python,
      [path.join(root, "bench/peers/torch_start.py"), name, `${threads}`],
      { OMP_NUM_THREADS: `${threads}` },
    ],
  } as const;
  const start = async (side: keyof typeof sides): Promise<Start> => {
    const [program, words, env] = sides[side];
    const { stdout } = await run(program, [...words], { env: { ...process.env, ...env } });
    return JSON.parse(stdout) as Start;
  };
  const starts = { new: [] as Start[], again: [] as Start[], peer: [] as Start[] };
  try {
    await start("again"); //  this process keeps what it compiles
    for (let i = 0; i < rounds; i++)
      for (const side of ["new", "again", "peer"] as const) starts[side].push(await start(side));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const of = (side: keyof typeof sides, what: (start: Start) => number): number => median(starts[side].map(what));
  const begun = ({ made, first, later }: Start): number => made + first - later;
  return [
    name,
    `${threads}`,
    of("new", begun).toFixed(2),
    of("again", begun).toFixed(2),
    of("peer", begun).toFixed(2),
    ...(["new", "again"] as const).map((side) => (1000 * of(side, ({ gap = 0 }) => gap)).toFixed(0)),
    (of("new", ({ peak }) => peak) / 1e9).toFixed(2),
    (of("peer", ({ peak }) => peak) / 1e9).toFixed(2),
  ];
}

async function stages(bundles: string): Promise<number> {
  const script = path.join(bundles, "first-step.mjs");
  const rows: Record<string, number[]> = {};
  const note = (stage: string, milliseconds: number): void => {
    rows[stage] ??= [];
    rows[stage].push(milliseconds);
  };
  await run(process.execPath, [script]); // the disk's cache is warm from here on
  for (let i = 0; i < runs; i++) {
    const started = performance.now();
    await run(process.execPath, ["-e", ""]);
    note("Node by itself", performance.now() - started);
    const spawned = performance.now();
    const { stdout } = await run(process.execPath, [script]);
    const all = performance.now() - spawned;
    const { imported, read, stepped } = JSON.parse(stdout) as Stages;
    note("start to Glissade imported", imported);
    note("10,000 images read", read - imported);
    note("model, session and first step", stepped - read);
    note("start to first step", stepped);
    note("start to the end of the process", all);
  }
  for (const [stage, times] of Object.entries(rows))
    console.log(
      `${stage.padEnd(32)} ${median(times).toFixed(0).padStart(4)} ms, ${Math.min(...times).toFixed(0)}–${Math.max(...times).toFixed(0)}`,
    );
  return 0;
}
