/**
 * What is native and belongs to one thread is given back when that thread ends, however it ends. A worker that is terminated runs no
 * JavaScript any more, not even finalizers; but Node calls the C functions that were left with it (Node-API's cleanup hooks), the
 * last one first. By then nothing of the thread runs, nor of the threads that it has started.
 */
import { isMainThread } from "node:worker_threads";
import type { Koffi } from "./library.ts";

type Pointer = bigint;

/** C functions to be called with one pointer each when the thread ends. */
export interface ThreadEnd {
  /** @param release address of the function; it must not be called with this pointer in any other way while it is listed */
  add(release: Pointer, pointer: Pointer): void;
  /** Takes off the list what has been given back. Idempotent. */
  remove(release: Pointer, pointer: Pointer): void;
}

const nothing: ThreadEnd = { add() {}, remove() {} };

/** The list of this thread. The main thread has none: when it ends, so does the process. Nor have hosts other than Node. */
export function threadEnd(koffi: Koffi): ThreadEnd {
  if (isMainThread) return nothing;
  try {
    const host = koffi.load(null);
    const parameters = ["void *", "uintptr_t", "uintptr_t"];
    const add = host.func("napi_add_env_cleanup_hook", "int", parameters);
    const remove = host.func("napi_remove_env_cleanup_hook", "int", parameters);
    const { env } = koffi.node;
    return {
      add: (release, pointer) => void add(env, release, pointer),
      remove: (release, pointer) => void remove(env, release, pointer),
    };
  } catch {
    return nothing;
  }
}
