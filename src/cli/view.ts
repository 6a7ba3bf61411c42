/** What a person sees of a training: a table of epochs, and a bar below it where there is a terminal. */
import type { SingleBar } from "cli-progress";
import type { EpochEvent, EvaluationEvent, ProgressEvent, StartEvent, TrainingEvent } from "../train/events.ts";
import { smoother } from "../train/history.ts";
import { jsonOf } from "../train/node/layout.ts";
import { progressBar } from "./bar.ts";
import { colour, Table } from "./pictures.ts";

/** About so many rows are enough to see the curve. */
const mostRows = 12;

/** Shows the events of one training. */
export class TrainingView {
  readonly #json: boolean;
  readonly #things: string;
  readonly #smoothed = smoother();
  #start: StartEvent | undefined;
  #bar: SingleBar | undefined;
  /** Made with the first row: only then it is known which metrics are numbers. */
  #table: Table | undefined;
  #metrics: readonly string[] = [];
  #hasEvaluations = false;
  #evaluation: EvaluationEvent | undefined;
  #latest = "";
  /** The last epoch, where it was not shown. */
  #unshown: EpochEvent | undefined;

  /** `things` is what examples are called. */
  constructor(json: boolean, things: string = "examples") {
    this.#json = json;
    this.#things = things;
  }

  /** Takes an event; the option `onEvent` of `fit`. */
  readonly show = (event: TrainingEvent): void => {
    if (this.#json) {
      if (event.type !== "progress") console.log(jsonOf(event));
      if (event.type === "warning") warn(event.message);
      return;
    }
    if (event.type === "start") this.#start = event;
    else if (event.type === "progress") this.#advance(event);
    else if (event.type === "evaluation") this.#noteEvaluation(event);
    else if (event.type === "epoch") this.#endEpoch(event);
    else if (event.type === "warning") this.#above(() => warn(event.message));
    else if (event.type === "end") this.#end();
  };

  /** Takes the bar away: also where no end was told. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }

  #advance({ step, loss, examplesPerSecond, secondsLeft, steps }: ProgressEvent): void {
    if (steps === undefined) return;
    const shown = {
      loss: this.#smoothed(loss).toFixed(4),
      latest: this.#latest,
      rate: examplesPerSecond > 0 ? rounded(examplesPerSecond) : "–",
      left: secondsLeft ? duration(secondsLeft) : "–",
    };
    if (!this.#bar) {
      this.#bar = progressBar(false, "  {bar} {percentage}%  loss {loss}{latest}  {rate}/s  {left} left", {
        gracefulExit: false,
        emptyOnZero: true,
      });
      this.#bar?.start(steps, step, shown);
    }
    this.#bar?.update(step, shown);
  }

  #noteEvaluation(event: EvaluationEvent): void {
    this.#evaluation = event;
    const [first] = numbersIn(event);
    if (first) this.#latest = `  ${first[0]} ${metricText(...first)}`;
  }

  #endEpoch(event: EpochEvent): void {
    const epoch = Math.round(event.epoch);
    const { epochs } = this.#start ?? {};
    const every = Math.max(1, Math.round((epochs ?? 10) / 10));
    if (epoch === 1 || epoch === epochs || epoch % every === 0 || (epochs ?? 0) <= mostRows) this.#row(event);
    else this.#unshown = event;
  }

  #row(event: EpochEvent): void {
    this.#unshown = undefined;
    this.#table ??= this.#newTable();
    const table = this.#table;
    const { epoch, loss, examplesPerSecond, seconds, step } = event;
    const { epochs } = this.#start ?? {};
    const evaluation = this.#evaluation?.step === step ? this.#evaluation : undefined;
    const metricCells = this.#metrics.map((name) => {
      const value = evaluation?.metrics[name];
      return typeof value === "number" ? metricText(name, value) : "–";
    });
    const cells = [
      `${Math.round(epoch)}${epochs === undefined ? "" : `/${epochs}`}`,
      loss.toFixed(4),
      ...(this.#hasEvaluations ? [evaluation ? evaluation.loss.toFixed(4) : "–", ...metricCells] : []),
      rounded(examplesPerSecond),
      duration(seconds),
    ];
    this.#above(() => console.log(table.row(cells)));
  }

  #newTable(): Table {
    this.#hasEvaluations = this.#evaluation !== undefined;
    this.#metrics = this.#evaluation ? numbersIn(this.#evaluation).map(([name]) => name) : [];
    const table = new Table([
      { title: "epoch", width: 7 },
      { title: "train loss", width: 10 },
      ...(this.#hasEvaluations ? [{ title: "val loss", width: 9 }] : []),
      ...this.#metrics.map((title) => ({ title, width: Math.max(8, title.length) })),
      { title: `${this.#things}/s`, width: this.#things.length + 2 },
      { title: "time", width: 8 },
    ]);
    this.#above(() => console.log(table.head()));
    return table;
  }

  #end(): void {
    if (this.#unshown) this.#row(this.#unshown);
    this.stop();
  }

  /** Writes above the bar, which is drawn again below it. The bar ends where the cursor was saved last. */
  #above(write: () => void): void {
    if (this.#bar) process.stderr.write("\r\x1b[2K");
    write();
    if (this.#bar) process.stderr.write("\x1b7");
  }
}

/** A warning, on standard error. */
export function warn(message: string): void {
  console.error(colour("yellow", `warning: ${message}`));
}

const rounded = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toPrecision(3);

/** "8.3 s", "4 m 05 s", "2 h 03 m". */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (value: number): string => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
}

/** The metrics of an evaluation that are one number each. */
function numbersIn({ metrics }: EvaluationEvent): [string, number][] {
  return Object.entries(metrics).filter((entry): entry is [string, number] => typeof entry[1] === "number");
}

const isShare = (name: string): boolean => name === "accuracy" || name === "f1" || /^top\d+Accuracy$/.test(name);

/** A metric's value: shares as percent. */
export const metricText = (name: string, value: number): string =>
  isShare(name) ? `${(100 * value).toFixed(2)}%` : Number.isFinite(value) ? value.toFixed(4) : String(value);
