/** What an engine can do, and how the inputs and outputs of what it runs are named: what lowering needs to know of it. */
import type { Constant } from "./op.ts";
import type { TensorType } from "./types.ts";

/** One input or output of a program. */
export interface Port {
  /** Its name in the ONNX model. */
  readonly name: string;
  /** The sizes of open axes are those of an example. */
  readonly type: TensorType;
  /** The axes whose sizes differ from run to run. Default: none. */
  readonly open?: readonly number[] | undefined;
}

/** What a lowering may use; the compiler asks the engine that will run the program. */
export interface Target {
  /** Ops of ONNX Runtime's own domain (`com.microsoft`), such as FusedMatMul. */
  readonly contrib: boolean;
  /**
   * How many channels ONNX Runtime's convolutions on blocks of channels (`com.microsoft.nchwc`) take side by side on this
   * processor, a power of two. Absent where there are none.
   */
  readonly block?: number | undefined;
  /** Whether the engine turns kernels into code of its own. */
  readonly kernels?: boolean | undefined;
  /** Threads inside an op, where that is known: some nodes are fast on one thread only. */
  readonly threads?: number | undefined;
  /**
   * Whether nodes that compare, order or pool elements forget NaN and infinities, as those of ONNX Runtime on a processor do. Tensors
   * that hold any then go other, slower ways.
   */
  readonly forgetsNaN?: boolean | undefined;
  /** Up to so many elements ScatterND adds on one thread, where that is known: on more it races where indices repeat. */
  readonly serialElements?: number | undefined;
}

/** A constant that each run gives, since it depends on the sizes of open axes. */
export interface Hole {
  /** Its name in the ONNX model. */
  readonly name: string;
  readonly dtype: Constant["dtype"];
  readonly rank: number;
}

/** Constants in an engine's memory, for all holes of a program. Opaque; freed once nobody holds it. */
export interface Filling {
  readonly bytes: number;
}
