/** Messages between a worker thread that trains and the thread that started it. */
import * as errors from "../../errors.ts";
import { FileError } from "../../files/node/atomic.ts";
import type { TrainingEvent } from "../events.ts";
import type { FitResult } from "../fit.ts";
import type { RunOptions } from "./options.ts";

/** The data that a worker is started with. */
export interface WorkerTask {
  /** URL of the module that makes the setup. */
  readonly module: string;
  readonly data: unknown;
  readonly options: Omit<RunOptions, "signal" | "onEvent">;
  readonly wantsEvents: boolean;
  /** Whether the signal was aborted before the worker began. */
  readonly isStopped: boolean;
}

/** A message from the worker. */
export type WorkerMessage =
  | { readonly type: "event"; readonly event: TrainingEvent }
  | { readonly type: "done"; readonly result: FitResult; readonly weights: Uint8Array }
  | { readonly type: "failed"; readonly error: ThrownThere };

/** An error in the form in which it is sent. */
export interface ThrownThere {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly subject?: string;
  readonly problem?: string;
  readonly fix?: string;
  readonly path?: string;
  readonly code?: string;
}

export function sendable(error: unknown): ThrownThere {
  if (!(error instanceof Error)) return { name: "Error", message: String(error), stack: "" };
  const base = { name: error.name, message: error.message, stack: error.stack ?? "" };
  if (!(error instanceof errors.GlissadeError)) return base;
  const { subject, problem, fix, path } = error;
  return { ...base, subject, problem, fix, path, ...(error instanceof FileError && { code: error.code }) };
}

/** Returns a received error, of its own class if that is one of Glissade's. The error as thrown in the worker is its cause. */
export function received({ name, message, stack, subject, problem, fix, path, code }: ThrownThere): Error {
  const cause = Object.assign(new Error(message), { name, stack });
  if (subject === undefined || problem === undefined || fix === undefined)
    return Object.assign(new Error(message, { cause }), { name });
  if (name === "FileError") return new FileError(subject, problem, fix, code ?? "", { cause });
  const known: Readonly<Record<string, unknown>> = errors;
  const own = known[name];
  const Known = isErrorClass(own) ? own : errors.GlissadeError;
  return new Known(subject, problem, fix, path, { cause });
}

type ErrorClass = new (
  subject: string,
  problem: string,
  fix: string,
  path?: string,
  options?: ErrorOptions,
) => errors.GlissadeError;

const isErrorClass = (value: unknown): value is ErrorClass =>
  typeof value === "function" && value.prototype instanceof errors.GlissadeError;
