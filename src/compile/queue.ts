/** The queue: runs, and looks at variables, are made one after the other, in the order in which they were asked for. */
import { sizeInBytes } from "../graph/types.ts";
import { type Steps, Task } from "../task.ts";
import type { Run } from "../tensor/run.ts";
import type { Storage } from "../tensor/storage.ts";

interface Entry {
  readonly run: Run;
  readonly task: Task<unknown>;
  /** What was given for it, and stays in memory while it waits. */
  readonly given: readonly Storage[];
}

/**
 * How many bytes may wait. A call that asks for more first makes, on the spot, the runs that are in its way, as writing to a stream
 * would wait.
 */
export const queueLimit: number = 64 * 2 ** 20;

/** What an entry takes beside the values that were given for it, by a rough measure: at most 8192 of them wait. */
const entryBytes = 8192;

const waiting: Entry[] = [];
let bytes = 0;
/** Whether the event loop is to make what waits. */
let isDriven = false;

/**
 * Puts steps into the queue. They begin when everything before them has ended, and not before the caller has gone on: what they need was
 * settled when they were asked for, so a later beginning changes nothing. `given` are the values that stay in memory meanwhile.
 */
export function enqueue<T>(run: Run, steps: Steps<T>, given: readonly Storage[] = []): Task<T> {
  const task = new Task(steps);
  // A caller who awaits its runs finds the queue empty and never waits here, however much it gives.
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

/** Node's `queueMicrotask` makes a resource for its observers each time, which costs more than all else here. */
const soon = Promise.resolve();

/** Makes what waits, and goes on when the event loop says that the first in line is done. */
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

/** Makes what waits while the caller waits, until no more than so many bytes are left, or an engine cannot. */
function workUpTo(limit: number): void {
  for (let first = waiting[0]; first && bytes > limit; first = waiting[0]) {
    try {
      if (!first.task.now()) return;
    } catch {
      // Whoever waits for it learns of it.
    }
    leave(first);
  }
}

function leave(entry: Entry): void {
  if (waiting[0] !== entry) return;
  waiting.shift();
  if (entry.task.failure) entry.run.fail(entry.task.failure.error);
  bytes -= entryBytes;
  for (const storage of entry.given) if (--storage.uses === 0) bytes -= sizeInBytes(storage.type);
}
