/**
 * What an engine is: it owns buffers and runs programs over them. `plain` interprets a program, `node` and `web` hand
 * its ONNX form to ONNX Runtime. Nothing here says where the memory lies: in JavaScript, in native memory or on a GPU.
 */
import type { Constant } from "../graph/op.ts";
import type { Filling, Hole, Port, Target } from "../graph/target.ts";
import type { TensorType, Values } from "../graph/types.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import type { Waiting } from "../task.ts";

/** By the position of an output: the position of an input whose buffer it may be written to. */
export type InPlace = ReadonlyMap<number, number>;

/** A graph ready to run: rewritten, with its inputs and outputs in order. */
export interface Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** How many nodes it has, where that is known: sessions of very large ones are made in another way. */
  readonly size?: number | undefined;
  /** Outputs that may be written to an input's buffer, because that will have been read by then. Default: none. */
  readonly inPlace?: InPlace | undefined;
  /** What each run fills, behind the inputs. Default: none. */
  readonly holes?: readonly Hole[] | undefined;
  /** The ONNX model, encoded. */
  onnx(): Uint8Array<ArrayBuffer>;
  /** The kernels, guards, draws and lengths that the model calls; only for a target that has kernels. */
  readonly kernels?: readonly AnyKernelOp[] | undefined;
  /** The slow, obvious evaluation in float64: `inputs` in the order of `this.inputs`. */
  evaluate(inputs: readonly Float64Array[]): Float64Array[];
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

export interface Session {
  /**
   * Runs once: reads `inputs`, writes every one of `outputs` in place. The same buffer may be on both sides only as the program's
   * `inPlace` has it. A program with holes needs their `filling`.
   */
  run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): Waiting<void>;
  release(): void;
}

export interface Engine {
  readonly name: string;
  readonly target: Target;
  /**
   * A new buffer with a copy of `values`, or with zeros. With `isOwned` the engine may keep that very array as the buffer's memory: then
   * nobody else may have it, since memory that is written to, shrunk or given to another thread during a run is a wrong result or the
   * end of the process.
   */
  buffer(type: TensorType, values?: Values, isOwned?: boolean): EngineBuffer;
  /** Puts constants for a program's holes into the engine's memory. Absent where the engine takes no programs with holes. */
  filling?(constants: readonly Constant[]): Filling;
  /** Makes a program ready to run. */
  load(program: Program): Waiting<Session>;
}
