/** The engine of Node: ONNX Runtime's native library. */
import { ConfigError } from "../../errors.ts";
import type { Engine } from "../engine.ts";
import { bindingEngine } from "./binding.ts";
import { directEngine } from "./direct.ts";
import {
  expectFolder,
  expectImplementation,
  expectThreads,
  type Implementation,
  readEnvironment,
} from "./environment.ts";
import { libraryFile } from "./library.ts";
import { programsIn } from "./programs.ts";

/** Options of `nodeEngine`. */
export interface NodeEngineOptions {
  /** Threads inside an op, a positive integer. Default: GLISSADE_THREADS, or as many as the machine runs at once. */
  readonly threads?: number;
  /** How ONNX Runtime is called. Default: GLISSADE_ENGINE, or "direct", and "binding" if "direct" does not load. */
  readonly implementation?: Implementation;
  /**
   * Makes each session write how long its nodes took, in Chrome's tracing format, to `<profile>-<process>-<session>_<time>.json`.
   * Default: no profile.
   */
  readonly profile?: string;
  /**
   * Runs known to take less than this many milliseconds are executed on JavaScript's own thread, because handing a run over to another
   * thread costs about 0.1 ms; also runs of up to twice as long, unless JavaScript has other work to do meanwhile. Between such runs the
   * event loop turns at least every 4 ms. With 0 every run is handed over. Default 2.
   */
  readonly onTheSpot?: number;
  /**
   * Whether sequences of elementwise ops become kernels: machine code that makes one pass over memory. This works on Linux on x64 with
   * AVX2; on other machines, and with "binding", ops are run one by one in any case. Default: GLISSADE_KERNELS, or true.
   */
  readonly kernels?: boolean;
  /**
   * The folder where compiled programs are kept, so that later processes need not lower the same graphs again; false for none. It holds
   * 256 MB at most. Default: GLISSADE_CACHE_DIR, or `glissade` in the system's folder for caches, such as ~/.cache.
   */
  readonly cacheDir?: string | false;
}

/** The engine that `nodeEngine` makes: ONNX Runtime in Node. */
export interface NodeEngine extends Engine {
  /** `"node"`, or `"node-binding"` for the implementation "binding". */
  readonly name: string;
  /**
   * Ends profiling in every session that is not released; releasing a session ends its profiling too.
   * @returns the paths of the files written so far; an empty list without the option `profile`
   */
  endProfiling(): Promise<readonly string[]>;
}

let noticed = false;

/**
 * Returns the native engine. It calls ONNX Runtime through its C API ("direct"). If koffi does not load, it says so once on standard
 * error and uses onnxruntime-node's binding. ONNX Runtime's telemetry is switched off in both cases. Throws ConfigError for options and
 * environment variables out of range. Throws EngineError if the library is missing or incomplete, and if "direct" was asked for by name
 * and does not load.
 */
export function nodeEngine(options: NodeEngineOptions = {}): NodeEngine {
  const environment = readEnvironment();
  const threads = options.threads === undefined ? environment.threads : expectThreads("nodeEngine", options.threads);
  const implementation = expectImplementation("nodeEngine", options.implementation) ?? environment.implementation;
  const { profile, onTheSpot = 2, kernels = environment.kernels, cacheDir = environment.cacheDir } = options;
  if (!(onTheSpot >= 0))
    throw new ConfigError("nodeEngine", `onTheSpot is ${onTheSpot}`, "give milliseconds, 0 to hand over every run");
  if (profile === "")
    throw new ConfigError("nodeEngine", "the prefix of profiles is empty", "give a path, such as traces/step");
  if (typeof cacheDir === "string") expectFolder("nodeEngine", cacheDir);
  // Not enumerable: an engine that is made of this one, with a `load` or a target of its own, keeps nothing in this one's folder.
  const keeping = (engine: NodeEngine): NodeEngine =>
    Object.defineProperty(engine, "programStore", { value: programsIn(cacheDir, engine.name) });
  libraryFile(); //  both implementations need the library: throws if it is missing
  if (implementation === "binding") return keeping(bindingEngine({ threads, profile, onTheSpot }));
  try {
    return keeping(directEngine({ threads, profile, onTheSpot, kernels }));
  } catch (error) {
    if (implementation === "direct") throw error;
    if (!noticed) {
      const reason = (error as Error).message.split("\n")[0];
      process.stderr.write(`glissade: using onnxruntime-node's binding, slower and blocking, because: ${reason}\n`);
    }
    noticed = true;
    return keeping(bindingEngine({ threads, profile, onTheSpot }));
  }
}
