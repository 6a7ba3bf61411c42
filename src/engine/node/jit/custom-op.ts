/**
 * Makes kernels custom ops of ONNX Runtime: fills its struct OrtCustomOp (onnxruntime_c_api.h). The functions in the struct are machine
 * code too, because any thread may call them; a generator of code writes them.
 */

import type { Shape } from "../../../graph/types.ts";
import { firstSize } from "../../../kernel/kernel.ts";
import type { OrtApi, Pointer } from "../ort-api.ts";

/** The positions of fields, in 64-bit words: all fields of OrtCustomOp, also those that stay 0, then fields for the functions below. */
export const fields = {
  version: 0,
  CreateKernel: 1,
  GetName: 2,
  GetExecutionProviderType: 3,
  GetInputType: 4,
  GetInputTypeCount: 5,
  GetOutputType: 6,
  GetOutputTypeCount: 7,
  KernelCompute: 8,
  KernelDestroy: 9,
  GetInputCharacteristic: 10,
  GetOutputCharacteristic: 11,
  GetInputMemoryType: 12,
  GetVariadicInputMinArity: 13,
  GetVariadicInputHomogeneity: 14,
  GetVariadicOutputMinArity: 15,
  GetVariadicOutputHomogeneity: 16,
  CreateKernelV2: 17,
  KernelComputeV2: 18,
  InferOutputShapeFn: 19,
  GetStartVersion: 20,
  GetEndVersion: 21,
  GetMayInplace: 22,
  ReleaseMayInplace: 23,
  GetAliasMap: 24,
  ReleaseAliasMap: 25,
  // The following fields are not part of OrtCustomOp.
  name: 26,
  inputs: 27,
  outputs: 28,
  /** Address of the kernel's function. */
  code: 29,
  /** The input that has the sizes of a run. If the sizes are always the same, the number of inputs, which is no input. */
  sizesInput: 30,
  /** Address of the sizes, if they are always the same. `given` says how they begin. */
  sizes: 31,
  /** Address of the outputs' shapes: for each output, the offset of its dimensions in the sizes, in bytes, and their number. */
  shapes: 32,
  contextInput: 33,
  contextOutput: 34,
  tensorData: 35,
  parallelFor: 36,
  createStatus: 37,
  /** ONNXTensorElementDataType of all inputs but the sizes, and of all outputs. */
  inputType: 38,
  outputType: 39,
} as const;

export type Field = keyof typeof fields;

export const wordBytes = 8;

/** The first numbers of an op's sizes, as in `sizesOf`: how many units there are, how many units a part has, and how many parts. */
export const given = { units: 0, unitsInPart: 1, parts: 2 } as const;

/** The version of OrtCustomOp that has these fields. */
const structVersion = 18;
/** ONNXTensorElementDataType */
export const elementTypes = { float32: 1, int32: 6, int64: 7 } as const;
/** The offset in bytes, from a function's `addresses`, of the word that the function sets to make the run fail. */
export const flawAt: number = -wordBytes;

/** The description of one custom op. */
export interface CustomOp {
  readonly name: string;
  /** Number of inputs, without the sizes. */
  readonly inputs: number;
  /** The shape of each output; only the ranks matter. */
  readonly shapes: readonly Shape[];
  /** As `sizesOf`, `guardSizes`, `lengthsSizes`, `productSizes` or `randomSizes` returns them; undefined if each run gives them as one more input. */
  readonly sizes: readonly number[] | undefined;
  readonly inputType: keyof typeof elementTypes;
  readonly outputType: keyof typeof elementTypes;
  /** The address of its function. */
  readonly code: Pointer;
  /** The address of its function GetMayInplace. */
  readonly mayInplace: Pointer;
}

/** The struct in memory, with all memory that it points to. This object must live as long as the sessions that use it. */
export interface CustomOpStruct {
  readonly address: Pointer;
  readonly memory: readonly unknown[];
}

/** Makes and fills the struct; `functions` are the addresses of the functions that all custom ops share, by their fields. */
export function customOp(
  ort: OrtApi,
  functions: ReadonlyMap<string, Pointer>,
  { name, inputs, shapes, sizes, inputType, outputType, code, mayInplace }: CustomOp,
): CustomOpStruct {
  const { koffi } = ort;
  const text = new TextEncoder().encode(`${name}\0`);
  const fixed = BigInt64Array.from(sizes ?? [0], BigInt);
  let next = firstSize;
  const table = BigUint64Array.from(
    shapes.flatMap(({ length }) => {
      const at = next * wordBytes;
      next += length;
      return [at, length];
    }),
    BigInt,
  );
  const words = new BigUint64Array(Object.keys(fields).length);
  const set = (name: Field, value: Pointer | number): void => {
    words[fields[name]] = BigInt(value);
  };
  set("version", structVersion);
  for (const [name, address] of functions) set(name as Field, address);
  set("GetMayInplace", mayInplace);
  set("name", koffi.address(text));
  set("inputs", sizes ? inputs : inputs + 1);
  set("outputs", shapes.length);
  set("code", code);
  set("sizesInput", inputs);
  set("sizes", koffi.address(fixed));
  set("shapes", koffi.address(table));
  set("contextInput", ort.address("KernelContext_GetInput"));
  set("contextOutput", ort.address("KernelContext_GetOutput"));
  set("tensorData", ort.address("GetTensorMutableData"));
  set("parallelFor", ort.address("KernelContext_ParallelFor"));
  set("inputType", elementTypes[inputType]);
  set("outputType", elementTypes[outputType]);
  set("createStatus", ort.address("CreateStatus"));
  return { address: koffi.address(words), memory: [words, text, fixed, table] };
}
