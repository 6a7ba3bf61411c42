/** The engine of Node: ONNX Runtime's native library. */
import { ConfigError } from "../../errors.ts";
import type { Engine } from "../engine.ts";
import { bindingEngine } from "./binding.ts";
import { directEngine } from "./direct.ts";
import { expectImplementation, expectThreads, type Implementation, readEnvironment } from "./environment.ts";
import { libraryFile } from "./library.ts";

export interface NodeEngineOptions {
  /** Threads inside an op, a positive integer. Default: GLISSADE_THREADS, or as many as the machine runs at once. */
  readonly threads?: number;
  /** How ONNX Runtime is reached. Default: GLISSADE_ENGINE, or "direct" with "binding" where that does not load. */
  readonly implementation?: Implementation;
  /**
   * Makes each session write how long its nodes took, in Chrome's tracing format, to `<profile>-<process>-<session>_<time>.json`.
   * Default: no profile.
   */
  readonly profile?: string;
  /**
   * Runs known to take less than so many milliseconds are made on JavaScript's own thread, because handing one over costs
   * about 0.1 ms; the event loop turns at least every 4 ms between them. 0 hands over every run. Default 2.
   */
  readonly onTheSpot?: number;
  /**
   * Whether runs of elementwise ops become one pass over memory each, in machine code made for them: on Linux on x64 with AVX2;
   * elsewhere, and through the binding, ops are run one by one in any case. Default: GLISSADE_KERNELS, or true.
   */
  readonly kernels?: boolean;
}

export interface NodeEngine extends Engine {
  /** `"node"`, or `"node-binding"` for the fallback. */
  readonly name: string;
  /**
   * Ends profiling in every session that is not released; releasing a session ends its profiling too.
   * @returns the paths of the files written so far; none without the option `profile`
   */
  endProfiling(): Promise<readonly string[]>;
}

let noticed = false;

/**
 * The native engine. It reaches ONNX Runtime through its C API ("direct"); where koffi does not load it says so once on
 * standard error and goes through onnxruntime-node's binding. ONNX Runtime's telemetry is switched off either way. Throws ConfigError
 * for options and environment variables out of range, EngineError where the library is missing or incomplete, and when "direct" was
 * asked for by name and does not load.
 */
export function nodeEngine(options: NodeEngineOptions = {}): NodeEngine {
  const environment = readEnvironment();
  const threads = options.threads === undefined ? environment.threads : expectThreads("nodeEngine", options.threads);
  const implementation = expectImplementation("nodeEngine", options.implementation) ?? environment.implementation;
  const { profile, onTheSpot = 2, kernels = environment.kernels } = options;
  if (!(onTheSpot >= 0))
    throw new ConfigError("nodeEngine", `onTheSpot is ${onTheSpot}`, "give milliseconds, 0 to hand over every run");
  if (profile === "")
    throw new ConfigError("nodeEngine", "the prefix of profiles is empty", "give a path, such as traces/step");
  libraryFile(); //  without it neither way works
  if (implementation === "binding") return bindingEngine({ threads, profile, onTheSpot });
  try {
    return directEngine({ threads, profile, onTheSpot, kernels });
  } catch (error) {
    if (implementation === "direct") throw error;
    if (!noticed) {
      const reason = (error as Error).message.split("\n")[0];
      process.stderr.write(`glissade: using onnxruntime-node's binding, slower and blocking, because: ${reason}\n`);
    }
    noticed = true;
    return bindingEngine({ threads, profile, onTheSpot });
  }
}
