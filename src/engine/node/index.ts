/** The engine of Node: ONNX Runtime's native library. */
import type { Engine } from "../engine.ts";
import { bindingEngine } from "./binding.ts";
import { directEngine } from "./direct.ts";
import { expectThreads, type Implementation, readEnvironment } from "./environment.ts";

export interface NodeEngineOptions {
  /** Threads inside an op. Default: GLISSADE_THREADS, or as many as the machine runs at once. */
  readonly threads?: number;
  /** Default: GLISSADE_ENGINE, or "direct" with "binding" as fallback. */
  readonly implementation?: Implementation;
  /** Path without ending to which each session writes a trace of its nodes' times. */
  readonly profile?: string;
}

let noticed = false;

/**
 * The native engine. It reaches ONNX Runtime through its C API ("direct"); where that does not load it says so once on
 * standard error and goes through onnxruntime-node's binding. Throws ConfigError for options out of range, EngineError when
 * an implementation was asked for by name and does not load.
 */
export function nodeEngine(options: NodeEngineOptions = {}): Engine {
  const environment = readEnvironment();
  const threads = options.threads === undefined ? environment.threads : expectThreads("nodeEngine", options.threads);
  const implementation = options.implementation ?? environment.implementation;
  const { profile } = options;
  if (implementation === "binding") return bindingEngine({ threads, profile });
  try {
    return directEngine({ threads, profile });
  } catch (error) {
    if (implementation === "direct") throw error;
    if (!noticed) console.error(`glissade: using onnxruntime-node's slower binding, because ${(error as Error).message}`);
    noticed = true;
    return bindingEngine({ threads, profile });
  }
}
