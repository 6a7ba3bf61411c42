/** Where a step's time goes, node type by node type, from ONNX Runtime's own profiler: `npm run profile -- transformer --threads 2`. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { Command } from "commander";
import { nodeEngine, useEngine } from "glissade";
import { workloads } from "./ours.ts";
import { median, positiveInteger } from "./shared.ts";

/** An event of Chrome's tracing format, as ONNX Runtime writes it. */
interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  /** Microseconds. */
  readonly dur: number;
  readonly args?: {
    readonly op_name?: string;
    readonly input_type_shape?: readonly Record<string, readonly number[]>[];
  };
}

const steps = 12;

/** Prints a table of node types with the medians of their nodes' times added up. Returns the exit code. */
export async function main(): Promise<number> {
  const program = new Command("npm run profile --")
    .argument("<workload>", Object.keys(workloads).join(", "))
    .option("--threads <n>", "threads inside an op", positiveInteger, 1);
  program.parse();
  const [name] = program.args as [string];
  const workload = workloads[name];
  if (!workload) {
    console.error(`There is no workload named ${name}. There are: ${Object.keys(workloads).join(", ")}.`);
    return 2;
  }
  const folder = await mkdtemp(path.join(os.tmpdir(), "glissade-profile-"));
  try {
    const engine = nodeEngine({ ...program.opts<{ threads: number }>(), profile: path.join(folder, "trace") });
    useEngine(engine);
    const step = await workload();
    for (let i = 0; i < steps; i++) await step();
    const files = await engine.endProfiling();
    const traces = await Promise.all(
      files.map(async (file) => JSON.parse(await readFile(file, "utf8")) as TraceEvent[]),
    );
    // The step is the session that took longest.
    const total = (trace: readonly TraceEvent[]): number => trace.reduce((sum, { dur }) => sum + (dur ?? 0), 0);
    print(traces.reduce((a, b) => (total(b) > total(a) ? b : a)));
    return 0;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The op of a node; for a product also the shapes of its sides, and for one of ours no number. */
function typeOf({ op_name = "", input_type_shape = [] }: NonNullable<TraceEvent["args"]>): string {
  if (!/^product|Gemm|MatMul/.test(op_name)) return op_name;
  const sides = input_type_shape.slice(0, 2).flatMap((side) => Object.values(side).map((shape) => shape.join("×")));
  return `${op_name.replace(/\d+$/, "")} ${sides.join(" · ")}`;
}

function print(trace: readonly TraceEvent[]): void {
  const nodes = new Map<string, { readonly type: string; readonly times: number[] }>();
  for (const { cat, name, dur, args } of trace) {
    if (cat !== "Node" || !name.endsWith("_kernel_time") || !args?.op_name) continue;
    const isKernel = /^kernel\d+$/.test(args.op_name);
    const node = nodes.get(name) ?? { type: isKernel ? "compiled kernels" : typeOf(args), times: [] };
    node.times.push(dur / 1000);
    nodes.set(name, node);
  }
  const types = new Map<string, { count: number; time: number }>();
  for (const { type, times } of nodes.values()) {
    const entry = types.get(type) ?? { count: 0, time: 0 };
    entry.count++;
    entry.time += median(times);
    types.set(type, entry);
  }
  const rows = [...types].sort(([, a], [, b]) => b.time - a.time);
  const all = rows.reduce((sum, [, { time }]) => sum + time, 0);
  console.log("node type                                    nodes         ms      share");
  for (const [type, { count, time }] of rows)
    console.log(
      `${type.padEnd(43)} ${String(count).padStart(6)} ${time.toFixed(3).padStart(10)} ${((100 * time) / all).toFixed(1).padStart(9)}%`,
    );
  console.log(`${"all".padEnd(43)} ${String(nodes.size).padStart(6)} ${all.toFixed(3).padStart(10)}`);
}
