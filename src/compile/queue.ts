/** The queue: runs, and reads of variables, are executed one after the other, in the order in which they were asked for. */
import { sizeInBytes } from "../graph/types.ts";
import { type Steps, Task } from "../task.ts";
import type { Run } from "../tensor/run.ts";
import type { Storage } from "../tensor/storage.ts";

interface Entry {
  readonly run: Run;
  readonly task: Task<unknown>;
  /** The storages that it reads; their values stay in memory while it waits. */
  readonly given: readonly Storage[];
}

/**
 * How many bytes the waiting runs may hold. A call that would exceed this limit first executes waiting runs synchronously, until the
 * rest is below the limit: back-pressure, as with a stream.
 */
export const queueLimit: number = 64 * 2 ** 20;

/** About how many bytes an entry takes beside the values that it reads. With this estimate at most 8192 entries wait. */
const entryBytes = 8192;

const waiting: Entry[] = [];
let bytes = 0;
/** Whether the event loop will execute the waiting runs. */
let isDriven = false;

/**
 * Puts steps into the queue. They begin when all earlier entries have ended, and never before this call returns. A later start does not
 * change their result: what they read and write is fixed when they are queued. `given` are the storages whose values stay in memory
 * until then.
 */
export function enqueue<T>(run: Run, steps: Steps<T>, given: readonly Storage[] = []): Task<T> {
  const task = new Task(steps);
  // A caller that awaits each of its runs finds the queue empty, so it never waits here, however many bytes it passes.
  bytes += entryBytes;
  for (const storage of given) if (storage.uses++ === 0) bytes += sizeInBytes(storage.type);
  if (bytes > queueLimit) workUpTo(queueLimit);
  waiting.push({ run, task, given });
  if (!isDriven) {
    isDriven = true;
    soon.then(drive);
  }
  return task;
}

/** A promise in place of Node's `queueMicrotask`, which creates an async resource at each call: that costs more than all else here. */
const soon = Promise.resolve();

/** Executes the waiting entries in order. When the first one is not done at once, it returns, and continues when that entry is done. */
function drive(): void {
  for (let first = waiting[0]; first; first = waiting[0]) {
    const { task } = first;
    task.start();
    if (!task.isDone) {
      task.whenDone(() => soon.then(drive));
      return;
    }
    leave(first);
  }
  isDriven = false;
}

/** Executes waiting entries synchronously, until at most `limit` bytes wait, or until an engine cannot run synchronously. */
function workUpTo(limit: number): void {
  for (let first = waiting[0]; first && bytes > limit; first = waiting[0]) {
    try {
      if (!first.task.now()) return;
    } catch {
      // `leave` gives the error to the run, which reports it.
    }
    leave(first);
  }
}

function leave(entry: Entry): void {
  if (waiting[0] !== entry) return;
  waiting.shift();
  if (entry.task.failure) entry.run.fail(entry.task.failure.error);
  bytes -= entryBytes;
  for (const storage of entry.given) if (storage.leave()) bytes -= sizeInBytes(storage.type);
}
