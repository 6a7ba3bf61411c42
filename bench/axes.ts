/**
 * Steps whose sizes vary: how many sessions they make, what a step takes beside that of a session for one size, and memory; also beside
 * PyTorch's (`peers/torch_axes.py`). Each measurement has a process of its own, on one thread. `npm run axes`, `npm run axes -- lstm`.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import {
  adam,
  compile,
  conv2d,
  crossEntropy,
  type Engine,
  flatten,
  fromValues,
  layerNorm,
  linear,
  lstm,
  maxPool2d,
  module,
  nodeEngine,
  relu,
  type Shape,
  seed,
  sequential,
  type Tensor,
  useEngine,
} from "glissade";
import { median } from "./shared.ts";

type Floats = Tensor<Shape, "float32">;
type Ids = Tensor<Shape, "int32">;

/** A step for one size, or one number. */
type Step = (size: number) => Promise<unknown>;

interface Network {
  readonly what: string;
  readonly sizes: readonly number[];
  /** Sizes at which steps are timed. */
  readonly timed: readonly number[];
  build(): Step;
}

const waves = (...shape: number[]): Floats =>
  fromValues(
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
    shape as Shape,
  );
const labels = (classes: number, count: number): Ids =>
  fromValues(
    Int32Array.from({ length: count }, (_, i) => (i * 7) % classes),
    [count],
  ) as Ids;

/** Makes the arguments of a size once. */
function remembered<T>(make: (size: number) => T): (size: number) => T {
  const known = new Map<number, T>();
  return (size) => {
    const value = known.get(size) ?? make(size);
    known.set(size, value);
    return value;
  };
}

/** A training step with Adam of a model that gives a row of classes for each label. */
function training(model: (x: Floats) => Floats, parts: Parameters<typeof adam>[0], classes: number) {
  const optimizer = adam(parts, { learningRate: 1e-3 });
  return compile((x: Floats, y: Ids) => {
    const loss = crossEntropy(model(x).reshape([y.shape[0]!, classes]), y as Tensor<[number], "int32">);
    optimizer.minimize(loss);
    return loss;
  });
}

const networks: Readonly<Record<string, Network>> = {
  mlp: {
    what: "perceptron 784-256-128-10, 100 batch sizes 3 … 399",
    sizes: Array.from({ length: 100 }, (_, i) => 3 + 4 * i),
    timed: [67, 131, 255, 399],
    build() {
      const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
      const step = training((x) => model(x as never) as Floats, model, 10);
      const given = remembered((n) => [waves(n, 784), labels(10, n)] as const);
      return (n) => step(...given(n)).item();
    },
  },
  lstm: {
    what: "two LSTM layers of 128, batches of 16, 100 lengths 5 … 255",
    sizes: Array.from({ length: 100 }, (_, i) => 5 + Math.round((i * 250) / 99)),
    timed: [30, 80, 156, 255],
    build() {
      const [body, head] = [lstm(32, 128, { layers: 2, batchFirst: false }), linear(128, 10)];
      const model = module("Lstm", { body, head }, (x: Floats) => head(body(x as never).outputs as never) as Floats);
      const step = training((x) => model(x), model, 10);
      const given = remembered((n) => [waves(n, 16, 32), labels(10, 16 * n)] as const);
      return (n) => step(...given(n)).item();
    },
  },
  encoder: {
    what: "two encoder layers of 128, 32 tokens, 100 batch sizes 2 … 101",
    sizes: Array.from({ length: 100 }, (_, i) => 2 + i),
    timed: [7, 31, 64, 101],
    build() {
      const [width, heads, time] = [128, 4, 32];
      const blocks = Array.from({ length: 2 }, () => ({
        norm1: layerNorm(width),
        norm2: layerNorm(width),
        query: linear(width, width),
        key: linear(width, width),
        value: linear(width, width),
        out: linear(width, width),
        up: linear(width, 4 * width),
        down: linear(4 * width, width),
      }));
      const head = linear(width, 10);
      const model = module("Encoder", { blocks, head }, (x: Floats): Floats => {
        const n = x.shape[0]!;
        const split = (y: Floats): Floats => y.reshape([n, time, heads, width / heads]).transpose(0, 2, 1, 3) as Floats;
        let h = x;
        for (const block of blocks) {
          const y = block.norm1(h as never) as Floats;
          const [q, k, v] = [block.query, block.key, block.value].map((of) => split(of(y as never) as Floats)) as [
            Floats,
            Floats,
            Floats,
          ];
          const weights = (q.matmul(k.mT()) as Floats).mul(1 / Math.sqrt(width / heads)).softmax();
          const attended = (weights.matmul(v) as Floats).transpose(0, 2, 1, 3).reshape([n, time, width]);
          h = h.add(block.out(attended as never) as Floats);
          h = h.add(block.down((block.up(block.norm2(h as never) as never) as Floats).gelu() as never) as Floats);
        }
        return head(h as never) as Floats;
      });
      const step = training((x) => model(x), model, 10);
      const given = remembered((n) => [waves(n, time, width), labels(10, n * time)] as const);
      return (n) => step(...given(n)).item();
    },
  },
  conv: {
    what: "two convolutions with pooling, 28 × 28 pixels, 100 batch sizes 1 … 100",
    sizes: Array.from({ length: 100 }, (_, i) => 1 + i),
    timed: [7, 31, 64, 99],
    build() {
      const model = sequential(
        conv2d(1, 16, 3),
        relu,
        maxPool2d(2),
        conv2d(16, 32, 3),
        relu,
        flatten,
        linear(3872, 10),
      );
      const step = training((x) => (model as (x: Floats) => unknown)(x) as Floats, model, 10);
      const given = remembered((n) => [waves(n, 1, 28, 28), labels(10, n)] as const);
      return (n) => step(...given(n)).item();
    },
  },
  numbers: {
    what: "perceptron, batches of 64, 400 rates given as numbers",
    sizes: Array.from({ length: 400 }, (_, i) => 0.1 / (i + 1)),
    timed: [0.01, 0.007],
    build() {
      const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
      const [x, y] = [waves(64, 784), labels(10, 64) as Tensor<[number], "int32">];
      const optimizer = adam(model, { learningRate: 1e-3 });
      const step = compile((rate: number) => {
        const loss = crossEntropy(model(x as never) as Tensor<[number, number], "float32">, y);
        optimizer.minimize(loss.mul(rate) as never);
        return loss;
      });
      return (rate) => step(rate).item();
    },
  },
};

/** What a process measures. */
interface Measured {
  readonly sessions: number;
  /** Milliseconds of processor time of a step with a size that is new, by the order of sizes. */
  readonly first: readonly number[];
  /** Milliseconds of a step with a size that has been there before: medians, by the timed sizes. */
  readonly later: readonly number[];
  /** Most memory that was resident, in megabytes. */
  readonly memory: number;
}

type Mode = "one" | "many" | "closed";

/** The most that was resident, as Linux counts it. */
function peak(): number {
  const [, kilobytes] = /VmHWM:\s*(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))!;
  return Number(kilobytes) / 1024;
}

const processorTime = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

async function timedStep(step: Step, size: number): Promise<number> {
  const started = processorTime();
  await step(size);
  return processorTime() - started;
}

/** In this process: "one" size, the largest; "many", in a fixed disorder; or the timed ones, each with a session of its own. */
async function measure({ sizes, timed, build }: Network, mode: Mode): Promise<Measured> {
  const { filling, ...engine } = nodeEngine({ threads: 1 });
  let sessions = 0;
  const counting: Engine = {
    ...engine,
    ...(mode !== "closed" && filling && { filling }),
    load(program) {
      sessions++;
      return engine.load(program);
    },
  };
  useEngine(counting);
  seed(1);
  const step = build();
  const all = mode === "many" ? sizes.map((_, i) => sizes[(i * 37 + 11) % sizes.length]!) : timed.slice(-1);
  const first: number[] = [];
  for (const size of mode === "closed" ? timed : all) first.push(await timedStep(step, size));
  const made = sessions;
  if (mode === "one") for (let i = 0; i < 20; i++) await step(all[0]!);
  if (mode === "many") for (const size of all) await step(size); //  again, in the same disorder
  const memory = peak();
  const later: number[] = [];
  for (const size of mode === "one" ? [] : timed) {
    await step(size);
    const times: number[] = [];
    for (let i = 0; i < 15; i++) times.push(await timedStep(step, size));
    later.push(median(times));
  }
  return { sessions: made, first, later, memory };
}

const run = promisify(execFile);
const torchSide = path.resolve("bench/peers/torch_axes.py");

async function inProcess(name: string, mode: Mode): Promise<Measured> {
  const script = `import { child } from ${JSON.stringify(import.meta.url)}; await child(${JSON.stringify(name)}, ${JSON.stringify(mode)})`;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", script]);
  return JSON.parse(stdout) as Measured;
}

/** What a process of its own does. */
export async function child(name: string, mode: Mode): Promise<void> {
  console.log(JSON.stringify(await measure(networks[name]!, mode)));
  process.exit(0);
}

interface Torch {
  readonly one: number;
  readonly many: number;
}

async function torch(name: string): Promise<Torch | undefined> {
  if (!existsSync(torchSide)) return undefined;
  try {
    const memory = async (mode: string): Promise<number> => {
      const env = { ...process.env, OMP_NUM_THREADS: "1" };
      return (
        JSON.parse((await run("/usr/bin/python3", [torchSide, name, mode], { env })).stdout) as { memory: number }
      ).memory;
    };
    return { one: await memory("one"), many: await memory("many") };
  } catch {
    return undefined; //  not installed
  }
}

const geometricMean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);

export async function main(): Promise<number> {
  const [name] = process.argv.slice(2);
  for (const [each, { what }] of Object.entries(networks)) {
    if (name && name !== each) continue;
    const [one, many] = [await inProcess(each, "one"), await inProcess(each, "many")];
    const ratios: number[] = [];
    for (let round = 0; round < 3; round++) {
      const [closed, open] = [await inProcess(each, "closed"), round === 0 ? many : await inProcess(each, "many")];
      ratios.push(geometricMean(open.later.map((time, i) => time / closed.later[i]!)));
    }
    const peers = await torch(each);
    console.log(
      `${what}\n  ${many.sessions} sessions; a step with a new size ${median(many.first.slice(3)).toFixed(1)} ms, with a known one ` +
        `${geometricMean(many.later).toFixed(1)} ms, ${median(ratios).toFixed(2)} × that of a session of its own (${ratios
          .map((ratio) => ratio.toFixed(2))
          .join(", ")})\n  most memory ${many.memory.toFixed(0)} MB, with one size ${one.memory.toFixed(0)} MB: ` +
        `${(many.memory / one.memory).toFixed(2)} ×${
          peers ? `; PyTorch ${peers.many.toFixed(0)} MB, with one size ${peers.one.toFixed(0)} MB` : ""
        }`,
    );
  }
  return 0;
}
