/**
 * What `fit` takes of a step beside what a loop by hand takes, in processor time: the mlp on an engine whose runs do nothing, so that only
 * JavaScript is measured, with a run folder, an event function and the loss of every step, and of every tenth. Then what training steps take
 * where the model is evaluated between them, beside steps without evaluations. `npm run loop`
 */
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  adam,
  type BatchSource,
  compile,
  crossEntropy,
  type EngineBuffer,
  fit,
  fromValues,
  linear,
  nodeEngine,
  read,
  relu,
  seed,
  sequential,
  type Tensor,
  useEngine,
} from "glissade";
import { arrayTypes } from "../src/graph/types.ts";

type X = Tensor<[number, 784], "float32">;
type Y = Tensor<[number], "int32">;

const [steps, rounds] = [2000, 11];

/** Prints medians over rounds, in microseconds. Returns the exit code. */
export async function main(): Promise<number> {
  const engine = nodeEngine({ threads: 1 });
  useEngine(engine);
  const whole = await stepOfMlp();
  // The loss must be finite, or the step is refused.
  const answer = (buffer: EngineBuffer): void => {
    if (buffer.type.shape.length === 0) buffer.write(arrayTypes[buffer.type.dtype].of(1));
  };
  useEngine({
    name: "idle",
    target: engine.target,
    buffer: (type, values) => engine.buffer(type, values),
    load: async () => ({ run: async (_inputs, outputs) => outputs.forEach(answer), release() {} }),
  });
  for (const loggingSteps of [1, 10]) {
    const [byHand, ours] = await measure(loggingSteps);
    const cost = ours - byHand;
    console.log(
      `loss of every ${loggingSteps === 1 ? "step" : `${loggingSteps}th step`}: by hand ${byHand.toFixed(1)} µs a step, fit ${ours.toFixed(1)} µs: ` +
        `${cost.toFixed(1)} µs more, ${((100 * cost) / whole).toFixed(1)} % of mlp's step on one thread, ${(whole / 1000).toFixed(2)} ms here and now`,
    );
  }
  useEngine(engine);
  const [without, between] = await stepsAroundEvaluations();
  console.log(
    `training steps of mlp: ${without.toFixed(0)} µs without evaluations, ${between.toFixed(0)} µs with one after each ${evalSteps} steps: ` +
      `ratio ${(between / without).toFixed(3)}`,
  );
  return 0;
}

const evalSteps = 50;

/** Processor time of a training step in `fit`, in microseconds: without evaluations, and with one on 20 batches after each 50 steps. */
async function stepsAroundEvaluations(): Promise<[number, number]> {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < 2 * rounds; round++) {
    const evaluates = round % 2 === 1;
    const { train, ...setup } = training();
    let [evaluating, evaluationBegan] = [0, 0];
    let [began, counted] = [0, 0];
    /** Tells when the evaluation is over: when the next batch to learn from is drawn. */
    const learnt = seenBy(train, () => {
      if (evaluationBegan > 0) evaluating += processorTime() - evaluationBegan;
      evaluationBegan = 0;
      if (++counted === evalSteps + 2) [began, evaluating] = [processorTime(), 0]; //  both functions are compiled
    });
    const validation = seenBy(limited(training().train, 20), () => {
      if (evaluationBegan === 0) evaluationBegan = processorTime();
    });
    await fit(
      { ...setup, train: learnt, ...(evaluates ? { validation } : {}) },
      { maxSteps: 501, loggingSteps: 50, ...(evaluates ? { evalStrategy: "steps", evalSteps } : {}) },
    );
    const ended = evaluationBegan > 0 ? evaluationBegan : processorTime();
    times[evaluates ? 1 : 0].push((ended - began - evaluating) / (counted - evalSteps - 2));
  }
  return [medianOf(times[0]), medianOf(times[1])];
}

/** Processor time of this process so far, in microseconds. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

const medianOf = (of: readonly number[]): number => of.slice(1).sort((a, b) => a - b)[(of.length - 1) >> 1]!;

/** A source that tells before each of its batches. */
function seenBy(source: BatchSource, tell: () => void): BatchSource {
  return {
    ...source,
    *[Symbol.iterator]() {
      for (const batch of source as Iterable<readonly Tensor[]>) {
        tell();
        yield batch;
      }
    },
  } as BatchSource;
}

/** The first batches of a source, as an epoch. */
function limited(source: BatchSource, batches: number): BatchSource {
  return {
    ...source,
    batches,
    *[Symbol.iterator]() {
      let count = 0;
      for (const batch of source as Iterable<readonly Tensor[]>) {
        if (count++ === batches) return;
        yield batch;
      }
    },
  } as BatchSource;
}

/** Processor time of a whole step, in microseconds, on one thread: what is beside it on the machine slows both it and the loop. */
async function stepOfMlp(): Promise<number> {
  const { loss, optimizer, train } = training();
  const step = compile((x: X, y: Y) => {
    const value = loss(x, y);
    optimizer.minimize(value);
    return value;
  });
  const times: number[] = [];
  let started = process.cpuUsage();
  let count = 0;
  for (const [x, y] of train as Iterable<readonly [X, Y]>) {
    await step(x, y).item();
    if (++count % 50 > 0) continue;
    const { user, system } = process.cpuUsage(started);
    times.push((user + system) / 50);
    started = process.cpuUsage();
    if (times.length > 12) break;
  }
  return times.slice(1).sort((a, b) => a - b)[6]!;
}

/** Processor time of a step by hand and in `fit`, which take turns. */
async function measure(loggingSteps: number): Promise<[number, number]> {
  const [hand, ours] = [training(), training()];
  const step = compile((x: X, y: Y) => {
    const loss = hand.loss(x, y);
    hand.optimizer.minimize(loss);
    return loss;
  });
  /** Losses are read where `fit` reads them; a few steps may wait. */
  const epochByHand = async (): Promise<void> => {
    let [before, now]: [Tensor[], Tensor[]] = [[], []];
    for (const [x, y] of hand.train as Iterable<readonly [X, Y]>) {
      now.push(step(x, y));
      if (now.length < 8) continue;
      await read(before);
      [before, now] = [now, []];
    }
    await read([...before, ...now]);
  };
  const times: { hand: number[]; ours: number[] } = { hand: [], ours: [] };
  let started = process.cpuUsage();
  const note = (of: number[]): void => {
    const { user, system } = process.cpuUsage(started);
    of.push((user + system) / steps);
  };
  const folder = path.join(tmpdir(), `glissade-loop-${process.pid}`);
  await epochByHand();
  await fit(ours, {
    epochs: rounds + 2,
    loggingSteps,
    outputDir: folder,
    saveStrategy: "no",
    onEvent: async ({ type }) => {
      if (type !== "epoch") return;
      note(times.ours);
      started = process.cpuUsage();
      await epochByHand();
      note(times.hand);
      started = process.cpuUsage();
    },
  });
  rmSync(folder, { recursive: true });
  const median = (of: readonly number[]): number => of.slice(2).sort((a, b) => a - b)[rounds >> 1]!;
  return [median(times.hand), median(times.ours)];
}

function training() {
  seed(0);
  const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
  const x = fromValues(
    Float32Array.from({ length: 128 * 784 }, (_, i) => (i % 100) / 100),
    [128, 784],
  );
  const y = fromValues(
    Int32Array.from({ length: 128 }, (_, i) => i % 10),
    [128],
  );
  return { model, optimizer: adam(model), loss: (a: X, b: Y) => crossEntropy(model(a), b), train: repeated([x, y]) };
}

/** The same batch again and again, which costs nothing. */
function repeated(batch: readonly Tensor[]): BatchSource {
  let next = { epoch: 0, batch: 0 };
  return {
    batches: steps,
    state: () => next,
    resume(state) {
      next = state;
    },
    *[Symbol.iterator]() {
      for (let i = 1; i <= steps; i++) {
        next = i < steps ? { epoch: next.epoch, batch: i } : { epoch: next.epoch + 1, batch: 0 };
        yield batch;
      }
    },
  };
}
