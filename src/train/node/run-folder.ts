/** The folder of a run, with its configuration, records and checkpoints. */
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { threadId } from "node:worker_threads";
import { encode } from "fast-png";
import { ConfigError, printable } from "../../errors.ts";
import { AppendFile } from "../../files/node/append.ts";
import {
  explained,
  FileError,
  flushFolder,
  host,
  readFileChecked,
  startOf,
  writeFileAtomically,
} from "../../files/node/atomic.ts";
import type { Checkpoint, RunDescription, RunStore } from "../checkpoint.ts";
import type { EvaluationEvent, TrainingEvent, TrainingPlace } from "../events.ts";
import type { Notes, Pixels } from "../notes.ts";
import { describeRun } from "./about.ts";
import { Checkpoints, type LoadedCheckpoint, loadCheckpoint } from "./checkpoints.ts";
import { decodeStatus } from "./formats.ts";
import {
  jsonOf,
  type MetricRecord,
  pathsIn,
  type RecordMark,
  type RunPaths,
  type RunState,
  type RunStatus,
} from "./layout.ts";
import type { CompleteRunOptions } from "./options.ts";
import { EventFiles } from "./tensorboard.ts";

type Warn = (message: string) => Promise<void>;

const encoder = new TextEncoder();

/** Folders that this thread trains into. The process in `status.json` does not tell, if a run could not write its final status. */
const active = new Set<string>();

/** Keeps a run in a folder. */
export class RunFolder implements RunStore {
  readonly #folder: string;
  readonly #paths: RunPaths;
  readonly #options: CompleteRunOptions;
  readonly #given: { readonly [name: string]: unknown };
  readonly #checkpoints: Checkpoints;
  #metrics: AppendFile | undefined;
  #events: EventFiles | undefined;
  #warn: Warn = async () => {};
  /** Operations whose failure was reported, until they succeed again. */
  readonly #failing = new Set<string>();
  #status: RunStatus | undefined;
  /** The place of the last event. */
  #place: TrainingPlace | undefined;
  #secondsBefore = 0;
  readonly #started = performance.now();

  /** `given` are the options as the user gave them. */
  constructor(folder: string, options: CompleteRunOptions, given: { readonly [name: string]: unknown }) {
    this.#folder = folder;
    this.#paths = pathsIn(folder);
    this.#options = options;
    this.#given = given;
    this.#checkpoints = new Checkpoints(folder);
  }

  readonly encodeImage = ({ width, height, channels, data }: Pixels): Uint8Array =>
    encode({ width, height, channels, data, depth: 8 });

  async open(run: RunDescription, warn: Warn): Promise<Checkpoint | undefined> {
    this.#warn = warn;
    const before = await this.#statusBefore();
    const isThere = before !== undefined || (await exists(this.#paths.config));
    if (before) expectIdle(this.#folder, before);
    const { resumeFromCheckpoint: resume, overwriteOutputDir } = this.#options;
    if (isThere && resume === false && !overwriteOutputDir)
      throw new ConfigError(
        "fit",
        `${printable(this.#folder)} holds a run already`,
        "go on with it: resumeFromCheckpoint: true; replace it: overwriteOutputDir: true; or choose another folder",
      );
    const isOwn = resume === true || (typeof resume === "string" && this.#isOwn(resume));
    active.add(resolve(this.#folder));
    const checkpoint =
      resume === true ? await this.#checkpoints.last(warn) : resume ? await checkpointAt(resume, warn) : undefined;
    const goesOn = isThere && isOwn;
    await this.#guarded("the folder", async () => {
      await makeFolder(this.#folder);
      await this.#checkpoints.open();
      if (!goesOn) await this.#clear();
      this.#secondsBefore = goesOn ? (before?.seconds ?? 0) : 0;
      const mark = goesOn && checkpoint ? checkpoint.mark : { metrics: 0, events: {} };
      if (!goesOn || !(await exists(this.#paths.config))) {
        const config = await describeRun(run, this.#given);
        await writeFileAtomically(this.#paths.config, `${jsonOf(config, 2)}\n`);
      }
      this.#metrics = await this.#openMetrics(mark);
      this.#events = this.#options.tensorboard ? await EventFiles.open(this.#folder, mark.events) : undefined;
      await flushFolder(this.#folder);
      const now = new Date().toISOString();
      this.#status = {
        format: 1,
        state: "running",
        step: checkpoint?.trainer.step ?? 0,
        epoch: checkpoint?.trainer.epochs ?? 0,
        steps: run.steps ?? null,
        started: now,
        updated: now,
        seconds: this.#secondsBefore,
        best: null,
        error: null,
        process: { host: host(), pid: process.pid, started: startOf(process.pid) ?? 0, thread: threadId },
      };
      await this.#writeStatus({});
    });
    return checkpoint && { ...checkpoint, isOfAnotherRun: !isOwn };
  }

  /** Opens the metrics file and truncates it to a mark. If the file is shorter than the mark, gives a warning and continues. */
  async #openMetrics({ metrics }: RecordMark): Promise<AppendFile> {
    const { metrics: path } = this.#paths;
    const size = await stat(path).then(
      (found) => found.size,
      () => 0,
    );
    if (size < metrics)
      await this.#warn(`${printable(path)} has ${size} bytes, and ${metrics} were written: lines at its end are lost`);
    return AppendFile.open(path, Math.min(size, metrics));
  }

  #isOwn(path: string): boolean {
    return join(path, "..") === join(this.#paths.checkpoints) || join(path) === join(this.#folder);
  }

  async #statusBefore(): Promise<RunStatus | undefined> {
    const { status } = this.#paths;
    if (!(await exists(status))) return undefined;
    try {
      return decodeStatus(new TextDecoder().decode(await readFileChecked(status)), status);
    } catch (error) {
      await this.#warn(`${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** Removes the files of an earlier run, and no other files. */
  async #clear(): Promise<void> {
    const { config, status, metrics } = this.#paths;
    await this.#checkpoints.clear();
    for (const file of [config, status, metrics]) await rm(file, { force: true });
  }

  async record(event: TrainingEvent): Promise<void> {
    if (!this.#status) return;
    const { type } = event;
    this.#place = event;
    if (type === "evaluation") this.#noteBest(event);
    if (type === "end")
      await this.#guarded("status.json", () => this.#writeStatus({ state: event.reason as RunState }));
    if (type !== "log" && type !== "evaluation" && type !== "epoch") return;
    const time = Date.now() / 1000;
    await this.#append({ ...event, time }, type === "evaluation");
    await this.#guarded("the event file", () => this.#events?.record(event, time));
  }

  async note({ step, epoch }: TrainingPlace, { scalars, summaries }: Notes): Promise<void> {
    if (!this.#status) return;
    const time = Date.now() / 1000;
    if (Object.keys(scalars).length > 0) await this.#append({ type: "own", step, epoch, values: scalars, time });
    await this.#guarded("the event file", () => this.#events?.write(time, step, summaries));
  }

  /** Appends a line to the metrics. */
  #append(record: MetricRecord, flush: boolean = false): Promise<void> {
    return this.#guarded("metrics.jsonl", () => {
      const full = this.#metrics?.append(encoder.encode(`${jsonOf(record)}\n`));
      return flush ? this.#metrics?.flush() : full;
    });
  }

  #noteBest({ isBest, step, loss, metrics }: EvaluationEvent): void {
    const { metricForBestModel: metric } = this.#options;
    const value = metric === "loss" ? loss : metrics[metric];
    if (isBest && typeof value === "number") this.#status = { ...this.#status!, best: { step, metric, value } };
  }

  async mark(): Promise<RecordMark> {
    // Records must be on the disk before a checkpoint that refers to them.
    await this.#guarded("metrics.jsonl", async () => this.#metrics?.sync());
    await this.#guarded("the event file", async () => this.#events?.sync());
    return { metrics: this.#metrics?.length ?? 0, events: this.#events?.lengths ?? {} };
  }

  async save(checkpoint: Checkpoint, mark: unknown, isBest: boolean): Promise<string> {
    if (!this.#status) await this.#checkpoints.open(); //  tries again, since the folder could not be made at the start
    const path = await this.#checkpoints.save(checkpoint, mark as RecordMark, isBest);
    await this.#checkpoints.prune(this.#options.saveTotalLimit, checkpoint.trainer.step);
    await this.#guarded("status.json", () => this.#writeStatus({}));
    return path;
  }

  modelAt(step: number): Promise<Uint8Array> {
    return this.#checkpoints.modelAt(step);
  }

  async close(failure?: unknown): Promise<void> {
    active.delete(resolve(this.#folder));
    if (!this.#status) return;
    await this.#guarded("metrics.jsonl", async () => this.#metrics?.close());
    await this.#guarded("the event file", async () => this.#events?.close());
    if (failure === undefined) return;
    const error = failure instanceof Error ? failure.message : String(failure);
    // An error while writing the status is ignored: the caller must get the failure itself.
    await this.#writeStatus({ state: "failed", error }).catch(() => {});
  }

  async #writeStatus(change: Partial<RunStatus>): Promise<void> {
    if (!this.#status) return;
    const seconds = this.#secondsBefore + (performance.now() - this.#started) / 1000;
    const { step, epoch } = this.#place ?? this.#status;
    this.#status = { ...this.#status, step, epoch, ...change, updated: new Date().toISOString(), seconds };
    await writeFileAtomically(this.#paths.status, `${jsonOf(this.#status, 2)}\n`);
  }

  /** Does file work. If it fails with FileError, gives a warning and continues, or throws if `onSaveError` is "stop". */
  async #guarded(what: string, work: () => Promise<unknown> | undefined): Promise<void> {
    try {
      const under = work();
      if (under) await under;
      this.#failing.delete(what);
    } catch (error) {
      if (this.#options.onSaveError === "stop" || !(error instanceof FileError)) throw error;
      if (this.#failing.has(what)) return;
      this.#failing.add(what);
      await this.#warn(`${error.problem}; training goes on`);
    }
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw explained("fit", `${printable(folder)} cannot be made`, cause, {});
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Loads the checkpoint in a folder, or the last checkpoint if it is a run's folder. */
async function checkpointAt(path: string, warn: Warn): Promise<LoadedCheckpoint> {
  const isRun = await readdir(pathsIn(path).checkpoints).then(
    () => true,
    () => false,
  );
  const found = isRun ? await new Checkpoints(path).last(warn) : await loadCheckpoint(path);
  if (found) return found;
  throw new ConfigError("fit", `${printable(path)} has no checkpoint`, "name a run that has one, or begin anew");
}

/** Throws ConfigError while this process or another one trains into the folder. */
function expectIdle(folder: string, status: RunStatus): void {
  const { host: machine, pid, thread } = status.process;
  const isOurs = machine === host() && pid === process.pid && thread === threadId;
  if (isOurs ? !active.has(resolve(folder)) : stateOf(status) !== "running") return;
  throw new ConfigError(
    "fit",
    `process ${pid} is training into ${printable(folder)}`,
    "wait for its end, or choose another folder",
  );
}

/** Returns the state of a run: "interrupted" if its process no longer exists. For another machine, returns the state in the file. */
export function stateOf({ state, process: by }: RunStatus): RunState {
  if (state !== "running" || by.host !== host()) return state;
  return startOf(by.pid) === by.started ? "running" : "interrupted";
}
