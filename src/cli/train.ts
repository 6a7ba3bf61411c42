/** `glissade train`: a recipe with everything that a person wants to see and keep. */
import { constants } from "node:fs";
import { access, mkdir } from "node:fs/promises";
import path from "node:path";
import type { SingleBar } from "cli-progress";
import { currentEngine } from "../compile/runtime.ts";
import { toTensor } from "../data/tensors.ts";
import { exportOnnx } from "../files/export.ts";
import { FileError, writeFileAtomically } from "../files/node/atomic.ts";
import { saveWeights } from "../files/node/model.ts";
import { type MnistResult, trainMnist } from "../recipes/mnist.ts";
import { zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type EpochReport, smoother } from "../train/history.ts";
import { progressBar } from "./bar.ts";
import { besides, bold, colour, dim, drawBar, drawImage, Table } from "./pictures.ts";

export interface TrainOptions {
  readonly epochs: number;
  readonly batchSize: number;
  readonly learningRate: number;
  readonly seed: number;
  /** Folder that the model is saved to. */
  readonly out: string;
  /** One JSON line for each epoch on standard output and nothing else there. */
  readonly json: boolean;
}

const table = new Table([
  { title: "epoch", width: 7 },
  { title: "train loss", width: 10 },
  { title: "test loss", width: 9 },
  { title: "accuracy", width: 8 },
  { title: "images/s", width: 8 },
  { title: "time", width: 7 },
]);

/** Trains the perceptron, shows how it goes, saves what it learnt. Returns the process's exit code. */
export async function trainMnistCommand(options: TrainOptions): Promise<number> {
  await expectWritable(options.out); //  before the work, not after it
  const interrupted = new AbortController();
  const interrupt = (): void => {
    if (interrupted.signal.aborted) process.exit(130); //  the second time it is meant
    interrupted.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  const say = options.json ? () => {} : (text: string) => console.log(text);

  say(bold("A perceptron learns to read digits"));
  say(dim(`784 → 256 → 128 → 10 · 8,000 images to learn, 2,000 to test · Adam · engine ${currentEngine().name}\n`));
  say(table.head());

  const bar = progressBar(options.json, barFormat, { etaBuffer: 200, gracefulExit: false, emptyOnZero: true });
  const smoothed = smoother();
  let accuracy = "–";
  const result = await trainMnist({
    ...options,
    signal: interrupted.signal,
    onStep: ({ step, steps, loss }) => {
      if (step === 1) bar?.start(steps, 0, { loss: "", accuracy, rate: "" });
      bar?.update(step, { loss: smoothed(loss).toFixed(3), accuracy, rate: rateOf(bar, step, options.batchSize) });
    },
    onEpoch: (report) => {
      accuracy = percent(report.testAccuracy);
      if (options.json) console.log(JSON.stringify(report));
      else if (isShown(report, options.epochs) || interrupted.signal.aborted)
        printAbove(bar, epochRow(report, options.epochs));
    },
  });
  bar?.stop();

  const last = result.epochs.at(-1);
  if (last) {
    await save(result, options);
    if (!options.json) await showDigits(result);
    saySaved(options, say);
    if (!options.json && !interrupted.signal.aborted) sayWhatNext(options);
  }
  process.off("SIGINT", interrupt);
  process.off("SIGTERM", interrupt);
  if (!interrupted.signal.aborted) return 0;
  say(colour("yellow", `\nStopped after ${result.steps} steps, as you asked; what was learnt so far is saved.`));
  return 130;
}

const barFormat = "  {bar} {percentage}%  loss {loss}  accuracy {accuracy}  {rate} images/s  {eta_formatted} left";

const startedAt = new WeakMap<SingleBar, number>();

function rateOf(bar: SingleBar | undefined, step: number, batchSize: number): string {
  if (!bar) return "";
  const started = startedAt.get(bar) ?? performance.now();
  startedAt.set(bar, started);
  const seconds = (performance.now() - started) / 1000;
  return seconds > 0 ? Math.round(((step - 1) * batchSize) / seconds).toLocaleString("en-US") : "–";
}

/** A line of the table above the bar, which is drawn again below it. The bar ends where the cursor was saved last. */
function printAbove(bar: SingleBar | undefined, line: string): void {
  bar && process.stderr.write("\r\x1b[2K");
  console.log(line);
  bar && process.stderr.write("\x1b7");
}

/** About ten epochs are enough to see the curve. */
function isShown({ epoch }: EpochReport, epochs: number): boolean {
  return epoch === 1 || epoch === epochs || epoch % Math.max(1, Math.round(epochs / 10)) === 0;
}

function epochRow(report: EpochReport, epochs: number): string {
  return table.row([
    `${report.epoch}/${epochs}`,
    report.trainLoss.toFixed(4),
    report.testLoss.toFixed(4),
    percent(report.testAccuracy),
    Math.round(report.examplesPerSecond).toLocaleString("en-US"),
    `${report.seconds.toFixed(1)} s`,
  ]);
}

const percent = (fraction: number): string => `${(100 * fraction).toFixed(2)}%`;

/** A few test digits with what the network says of them: some that it gets right, and those it is most wrong about. */
async function showDigits({ model, test }: MnistResult): Promise<void> {
  const [images, labels] = [test.columns[0].values, test.columns[1].values];
  const logits = model(toTensor(test.columns[0]) as Tensor<[number, 784], "float32">);
  const probabilities = (await logits.softmax().array()) as number[][];
  const guesses = probabilities.map((row) => row.indexOf(Math.max(...row)));
  const wrong = [...guesses.keys()]
    .filter((i) => guesses[i] !== labels[i])
    .sort((a, b) => probabilities[b]![guesses[b]!]! - probabilities[a]![guesses[a]!]!);
  const right = [...guesses.keys()].filter((i) => guesses[i] === labels[i]);
  const card = (i: number): string[] => {
    const [guess, label] = [guesses[i]!, labels[i]!];
    const second = [...probabilities[i]!.keys()]
      .filter((k) => k !== guess)
      .sort((a, b) => probabilities[i]![b]! - probabilities[i]![a]!)[0]!;
    const verdict = guess === label ? `says ${guess}` : `says ${guess}, is ${label}`;
    const line = (k: number): string =>
      `${k} ${drawBar(probabilities[i]![k]!, 12)} ${(100 * probabilities[i]![k]!).toFixed(1)}%`;
    return [verdict, line(guess), line(second), ...drawImage(images.subarray(i * 784 + 56, (i + 1) * 784 - 56), 28)];
  };
  console.log(`\n${bold("Test digits that it reads")}\n`);
  console.log(besides(right.slice(0, 3).map(card)));
  if (wrong.length === 0) return;
  console.log(`\n${bold(`The ${wrong.length} of ${labels.length} that it gets wrong: the ones it is surest of`)}\n`);
  console.log(besides(wrong.slice(0, 3).map(card)));
}

/** Makes the folder and throws FileError when nothing can be written into it. */
async function expectWritable(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new FileError(
      folder,
      `cannot be written to: ${message}`,
      "choose another folder: --out <folder>",
      code ?? "",
      {
        cause: error,
      },
    );
  }
}

const weightsFile = ({ out }: TrainOptions): string => path.join(out, "model.safetensors");
const networkFile = ({ out }: TrainOptions): string => path.join(out, "model.onnx");

/** Weights as safetensors, the network as ONNX. */
async function save({ model }: MnistResult, options: TrainOptions): Promise<void> {
  await saveWeights(model, weightsFile(options));
  const network = await exportOnnx(
    (images: Tensor<[number, 784], "float32">) => model(images).softmax(),
    [zeros([1, 784])],
    { inputs: ["images"], outputs: ["probabilities"], names: model },
  );
  await writeFileAtomically(networkFile(options), network);
}

function saySaved(options: TrainOptions, say: (text: string) => void): void {
  say(`\n${colour("green", "Saved")} ${weightsFile(options)}  ${dim("weights, in PyTorch's names")}`);
  say(
    `      ${networkFile(options)}         ${dim("pixels in, probabilities out; opens in Netron and any ONNX runtime")}`,
  );
}

function sayWhatNext({ learningRate, seed }: TrainOptions): void {
  console.log(`
${bold("What to try next")}
  npm start -- --epochs 60                      train longer
  npm start -- --learning-rate ${(learningRate * 50).toPrecision(1).padEnd(16)} see what a rate that is too large does
  npm start -- --seed ${String(seed + 1).padEnd(26)} other initial weights, another order
  GLISSADE_DEBUG=2 npm start -- --epochs 1      read the graph of the whole training step`);
}
