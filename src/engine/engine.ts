/**
 * Engines: they own buffers and run programs over them. `plain` interprets a program; `node` and `web` give its ONNX model to
 * ONNX Runtime. An engine may keep its memory anywhere: in JavaScript, in native memory or on a GPU.
 */
import type { Constant } from "../graph/op.ts";
import type { Filling, Hole, Port, Target } from "../graph/target.ts";
import type { TensorType, Values } from "../graph/types.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import type { Waiting } from "../task.ts";

/** For the position of an output: the position of the input into whose buffer it may be written. */
export type InPlace = ReadonlyMap<number, number>;

/** A graph ready to run: rewritten, with its inputs and outputs in order. */
export interface Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** The number of nodes, if known. For very large programs, sessions are made with other settings. */
  readonly size?: number | undefined;
  /** Outputs that may be written into an input's buffer, because the input has been read by then. Default: none. */
  readonly inPlace?: InPlace | undefined;
  /** The holes, which each run fills with constants; in the model they come after the inputs. Default: none. */
  readonly holes?: readonly Hole[] | undefined;
  /**
   * Values that are part of the program, by name: the engine gets them when it makes the session and may lay them out as its products read
   * them best. The model names them as initializers without values. Only for engines that take constants. Default: none.
   */
  readonly constants?: ReadonlyMap<string, EngineBuffer> | undefined;
  /** The ONNX model, encoded. */
  onnx(): Uint8Array<ArrayBuffer>;
  /** The kernels, guards, draws and lengths that the model calls; only for a target that has kernels. */
  readonly kernels?: readonly AnyKernelOp[] | undefined;
  /** The slow, obvious evaluation in float64: `inputs` in the order of `this.inputs`. */
  evaluate(inputs: readonly Float64Array[]): Float64Array[];
}

/** A program without its graph, as plain data. */
export interface KeptProgram {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** The number of nodes. */
  readonly size: number;
  readonly inPlace: InPlace;
  readonly kernels: readonly AnyKernelOp[];
  /** The ONNX model, encoded. */
  readonly model: Uint8Array<ArrayBuffer>;
}

/** Keeps programs for later processes, which then need not lower the same graph again. None of its methods throws. */
export interface ProgramStore {
  /** Programs of graphs with fewer nodes are not kept. */
  readonly fewestNodes: number;
  /** Returns the program that was kept under a key, a text of any length; undefined if there is none. */
  get(key: string): KeptProgram | undefined;
  /** Keeps a program, if that is possible. */
  put(key: string, program: KeptProgram): void;
  /** Forgets a program of which no session could be made. */
  delete(key: string): void;
}

/** Memory that an engine owns: opaque, of one type, reused from run to run. */
export interface EngineBuffer {
  readonly type: TensorType;
  /** Replaces the contents. */
  write(values: Values): void;
  /** A copy of the contents. */
  read(): Waiting<Values>;
  /** Gives the memory back; the buffer must not be used afterwards. Idempotent. */
  release(): void;
}

/** A program that an engine has made ready to run. */
export interface Session {
  /**
   * Runs once: reads `inputs` and writes into all buffers of `outputs`. A buffer may be an input and an output only if the program's
   * `inPlace` allows it. A program with holes needs a `filling`.
   */
  run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): Waiting<void>;
  release(): void;
}

/** What runs programs: `plainEngine()`, `nodeEngine()`, or one of your own. */
export interface Engine {
  readonly name: string;
  readonly target: Target;
  /**
   * Returns a new buffer with a copy of `values`, or with zeros. With `isOwned` the engine may use that array itself as the buffer's
   * memory. Then no other code may keep the array: if memory is written to, shrunk or given to another thread during a run, the result is
   * wrong or the process crashes.
   */
  buffer(type: TensorType, values?: Values, isOwned?: boolean): EngineBuffer;
  /** Copies constants for a program's holes into the engine's memory. Absent if the engine takes no programs with holes. */
  filling?(constants: readonly Constant[]): Filling;
  /** Where programs are kept for later processes. Default: nowhere. */
  readonly programStore?: ProgramStore | undefined;
  /** Whether it takes programs with constants. Default false. */
  readonly takesConstants?: boolean | undefined;
  /** Makes a program ready to run. A program's constants are read while the session is made, and not afterwards. */
  load(program: Program): Waiting<Session>;
}
