/**
 * Releases the native objects of a thread when that thread ends, however it ends. A worker that is terminated runs no more JavaScript, not
 * even finalizers; but Node calls the C functions that were registered as Node-API cleanup hooks, the last one first. By then neither the
 * thread nor the threads that it has started are running.
 */
import { isMainThread } from "node:worker_threads";
import type { Koffi } from "./library.ts";

type Pointer = bigint;

/** C functions to be called with one pointer each when the thread ends. */
export interface ThreadEnd {
  /** @param release address of the function; it must not be called with this pointer in any other way while it is listed */
  add(release: Pointer, pointer: Pointer): void;
  /** Removes from the list a pointer that has been released. Idempotent. */
  remove(release: Pointer, pointer: Pointer): void;
}

const nothing: ThreadEnd = { add() {}, remove() {} };

/**
 * Returns the list of this thread. The list ignores what is added on the main thread, whose end is the end of the process, and on hosts
 * other than Node.
 */
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
