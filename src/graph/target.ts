/** What lowering needs to know about an engine: what it can do, and the inputs and outputs of the programs that it runs. */
import type { KernelLimits } from "../kernel/kernel.ts";
import type { Constant } from "./op.ts";
import type { TensorType } from "./types.ts";

/** One input or output of a program. */
export interface Port {
  /** Its name in the ONNX model. */
  readonly name: string;
  /** The port's type. For open axes, it holds the sizes of an example. */
  readonly type: TensorType;
  /** The open axes, whose sizes differ from run to run. Default: none. */
  readonly open?: readonly number[] | undefined;
}

/** What a lowering may use; the compiler asks the engine that will run the program. */
export interface Target {
  /** Ops of ONNX Runtime's own domain (`com.microsoft`), such as FusedMatMul. */
  readonly contrib: boolean;
  /**
   * The number of channels in a block of ONNX Runtime's packed convolutions (`com.microsoft.nchwc`) on this processor, a power of two.
   * Absent where there are no such convolutions.
   */
  readonly block?: number | undefined;
  /** The largest kernels that the engine compiles itself. Absent where it compiles none. */
  readonly kernels?: KernelLimits | undefined;
  /** The number of threads inside an op, where known: some nodes are fast on one thread only. */
  readonly threads?: number | undefined;
  /**
   * Whether nodes that compare, order or pool elements lose NaN and infinities, as ONNX Runtime's do on a CPU. Tensors that contain
   * NaN or infinities are then computed in another, slower way.
   */
  readonly forgetsNaN?: boolean | undefined;
  /** Whether the model is for many sizes at once: rules then decide nothing by sizes. Only exported models are. */
  readonly manySizes?: boolean | undefined;
  /** The most elements that ScatterND adds on one thread, where known. With more, its threads race where indices repeat. */
  readonly serialElements?: number | undefined;
}

/** A constant that each run fills, since it depends on the sizes of open axes. */
export interface Hole {
  /** Its name in the ONNX model. */
  readonly name: string;
  readonly dtype: Constant["dtype"];
  readonly rank: number;
}

/** The constants for all holes of a program, in an engine's memory. Opaque; freed once nothing refers to it. */
export interface Filling {
  readonly bytes: number;
}
