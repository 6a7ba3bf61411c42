/**
 * The record that describes an op. Everything that the framework needs to know about an op is a field of this record, so an op is
 * added in one file: passes read the fields and never test which op a node has.
 */

import { DTypeError, GraphError } from "../errors.ts";
import type { Kernel, KernelValue, KernelWriter, RandomOp } from "../kernel/kernel.ts";
import type { ProductOp } from "../kernel/product.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aRecord, described, expectArguments } from "./arguments.ts";
import type { Body } from "./body.ts";
import type { Node, Value } from "./node.ts";
import type { Target } from "./target.ts";
import { arrayTypes, type DType, isFloat, type Shape, showType, type TensorType } from "./types.ts";

/** The values that the plain evaluation reads and writes: row-major float64, whatever the dtype. */
export interface Data extends TensorType {
  readonly values: Float64Array;
}

/** A value inside an ONNX graph, by name. */
export type OnnxValue = string & { readonly brand: "onnx value" };

/** A graph that is an attribute of a node; `OnnxGraph.subgraph` makes it. */
export interface OnnxSubgraph {
  readonly graph: unknown;
  /** Returns a text that differs for any two subgraphs. */
  toJSON(): string;
}

/** The value of an attribute of an ONNX node. A number is an integer; `{ float }` is a floating-point number. */
export type OnnxAttribute = number | string | readonly number[] | { readonly float: number } | OnnxSubgraph;

/** Element types that occur inside a lowered graph but not in a tensor: `int64` shapes, `uint32` and `uint64` bits. */
export type OnnxType = DType | "int64" | "uint32" | "uint64";

/** Returns the elements of a constant as they lie in memory. */
export function elementsOf(
  dtype: OnnxType,
  values: readonly number[] | Float64Array,
): (BigInt64Array | BigUint64Array | Uint32Array | Int32Array | Float32Array | Float64Array | Uint8Array) & {
  readonly buffer: ArrayBuffer;
} {
  switch (dtype) {
    case "int64":
      return BigInt64Array.from(values, BigInt);
    case "uint64":
      return BigUint64Array.from(values, BigInt);
    case "uint32":
      return Uint32Array.from(values);
    case "int32":
      return Int32Array.from(values);
    case "float32":
      return Float32Array.from(values);
    case "float64":
      return Float64Array.from(values);
    case "bool":
      return Uint8Array.from(values);
  }
}

/** The type of a value inside a lowered graph. */
export interface OnnxTensorType {
  readonly dtype: OnnxType;
  readonly shape: Shape;
}

/** A constant of a lowered graph. */
export interface Constant extends OnnxTensorType {
  readonly values: readonly number[] | Float64Array;
}

/** The ONNX graph that ops write their nodes into, in order. Equal constants are shared. */
export interface OnnxGraph {
  readonly target: Target;
  /** Appends a node with one output. A float attribute is written `{ float: 0.5 }`; a plain number is an integer attribute. */
  node(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    attributes?: Readonly<Record<string, OnnxAttribute>>,
    domain?: string,
  ): OnnxValue;
  /** Appends a node with several outputs. */
  nodes(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes?: Readonly<Record<string, OnnxAttribute>>,
  ): OnnxValue[];
  /** Appends a kernel, if the target supports kernels. It has one output for each of the shapes. */
  kernel(kernel: Kernel, shapes: readonly Shape[], inputs: readonly OnnxValue[]): OnnxValue[];
  /** Appends a guard, if the target supports kernels: 1 unless an element is not finite. `sizes`: the number of elements of each value. */
  guard(values: readonly OnnxValue[], sizes: readonly number[]): OnnxValue;
  /** Appends the Euclidean lengths of a float32 value's rows, if the target supports kernels: `shape` has an element for each row. */
  lengths(x: OnnxValue, width: number, shape: Shape): OnnxValue;
  /** Appends float32 matrix products, if the target has products: α·A·B + β·C, with the leading axes of `shape`. */
  product(inputs: readonly OnnxValue[], product: Omit<ProductOp, "name">): OnnxValue;
  /** Appends a draw of random bits from a generator's state, if the target supports kernels. */
  random(state: OnnxValue, draw: Omit<RandomOp, "name">): OnnxValue;
  constant(dtype: OnnxType, shape: Shape, values: readonly number[] | Float64Array): OnnxValue;
  /** A one-dimensional int64 constant, the form in which ONNX takes shapes and axes. */
  integers(values: readonly number[]): OnnxValue;
  cast(value: OnnxValue, to: OnnxType): OnnxValue;
  /**
   * Writes one of several ways to compute a value; `chosen` depends on sizes. Where axes are open, the model contains all ways and each
   * run chooses one. So each way must be correct for any sizes, and the number and kinds of its nodes must not depend on sizes. An exported
   * model with open axes has the first way only.
   */
  choose(chosen: number, type: OnnxTensorType, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue;
  /**
   * For a node of an exported model with a size that is open: the open axes of the node's first input. No run can choose there, so the
   * nodes that an op writes must be right for every size. Undefined for all other nodes.
   */
  readonly open?: ReadonlySet<number> | undefined;
  /** Called for each node before the node is lowered. */
  note?(node: Node, at: Lowering<unknown>): void;
  /** Makes the body of a loop. `build` may use values of the surrounding graph. */
  subgraph(
    inputTypes: readonly OnnxTensorType[],
    outputTypes: readonly OnnxTensorType[],
    build: (graph: OnnxGraph, inputs: readonly OnnxValue[]) => readonly OnnxValue[],
  ): OnnxSubgraph;
}

/** What an op's `onnx` is given about a node. */
export interface Lowering<P> {
  readonly inputs: readonly OnnxValue[];
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  readonly params: P;
}

/** What an op's `gradient` is given about a node. */
export interface Differentiation<P> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** d loss / d output, one for each output that the loss depends on. */
  readonly gradients: readonly (Tensor | undefined)[];
  /** Whether the gradient of each input is needed. */
  readonly needed: readonly boolean[];
  readonly params: P;
  /** Differentiates the graph inside an op, such as the body of a loop. */
  readonly pullBack: PullBack;
}

/**
 * Returns Σ seed · d root / d target for each target, summed over all roots that have a seed; `undefined` for a target that no root
 * depends on differentiably.
 */
export type PullBack = (
  roots: readonly Tensor[],
  seeds: readonly (Tensor | undefined)[],
  targets: readonly Tensor[],
) => (Tensor | undefined)[];

/** Inputs worth testing. */
export interface Sample<P> {
  readonly inputs: readonly Data[];
  readonly params: P;
}

/** Makes the inputs of samples. */
export interface Sampler {
  /** The dtype of all real values. */
  readonly float: "float32" | "float64";
  /** Values in (−2, 2), at least 0.05 from zero and all different, so that no kink or tie is near. */
  real(...shape: number[]): Data;
  /** Values in (0.2, 2). */
  positive(...shape: number[]): Data;
  /** int32 in [0, below). */
  integers(below: number, ...shape: number[]): Data;
  booleans(...shape: number[]): Data;
}

/** Which input of an op holds indices, and their bound. */
export interface IndexBound {
  readonly input: number;
  readonly below: number;
  readonly words?: IndexWords | undefined;
}

/** The words of the message about an index that is out of range, where the user did not give it as an index. */
export interface IndexWords {
  /** The function that was given it: "lstm". */
  readonly subject: string;
  /** What one is, and several are: "length", "lengths". */
  readonly one: string;
  readonly all: string;
  /** What the largest one is: "the number of steps". */
  readonly most: string;
}

/** The ends of an activation's range, at which its slope is 0. */
export interface Plateaus {
  /** The lower end: 0 for relu, −1 for tanh. */
  readonly low?: number | undefined;
  /** The upper end: 1 for tanh. */
  readonly high?: number | undefined;
  /** Whether outputs reach the end, as for relu, or only approach it. */
  readonly reached: boolean;
}

/** The most general record. `defineOp` makes it from the simpler records that users write. */
export interface Op<P = unknown> {
  readonly name: string;
  /** Returns the shape and dtype of every output. Throws a ShapeError or DTypeError that says what to change. */
  type(inputs: readonly TensorType[], params: P): readonly TensorType[];
  /**
   * Returns d loss / d input for each input; `undefined` for inputs whose gradient is always zero (indices, masks). Written with tensor
   * methods, so it can be differentiated again. If `gradient` is absent, differentiating through the op is an error when the graph is
   * built.
   */
  gradient?(at: Differentiation<P>): readonly (Tensor | undefined)[];
  /** Writes the op in ONNX and returns one value for each output. */
  onnx(graph: OnnxGraph, at: Lowering<P>): readonly OnnxValue[];
  /** The plain evaluation: slow, but simple. Every other way to run the op is tested against it. Outputs are filled with zeros before. */
  evaluate(inputs: readonly Data[], outputs: readonly Data[], params: P): void;
  /** Inputs for tests, including empty and scalar ones. The conformance test checks every field above on each. */
  samples(random: Sampler): readonly Sample<P>[];
  /** Names the input that holds indices, and the number that each index, from 0 on, must be below. Every run checks the indices. */
  indices?(inputs: readonly TensorType[], params: P): IndexBound;
  /** Names the input in which no element may be 0. Every run checks it. */
  divisor?(inputs: readonly TensorType[], params: P): number | undefined;
  /** The smallest and the largest element that an output can have, if they follow from the parameters and the inputs' types. */
  limits?(
    inputs: readonly TensorType[],
    params: P,
    output: number,
  ): readonly [least: number, largest: number] | undefined;
  /** Returns the parameters with each graph in them replaced: so the compiler applies its rules inside loops. */
  mapBodies?(params: P, replace: (body: Body) => Body): P;
  /** Returns chosen values of the graph inside the op as tensors outside of it: the values of all steps, stacked. */
  expose?(inputs: readonly Tensor[], params: P, choose: (body: Body) => readonly Value[]): readonly Tensor[];
  /** Where the output no longer changes with the input. For activations that can die or saturate. */
  plateaus?(params: P): Plateaus | undefined;
  /** Set if each output element depends only on the inputs' elements at the same position, once the inputs are widened to the first. */
  readonly elementwise?: true;
  /**
   * Writes the kernel steps that compute one float32 of the output from the inputs' elements at the same position, once the inputs are
   * widened to the output or reshaped; without inputs the result is a constant. Returns `undefined` if these parameters and types cannot
   * be written as such steps. A truth value is a mask.
   */
  kernel?(
    write: KernelWriter,
    inputs: readonly KernelValue[],
    params: P,
    inputTypes: readonly TensorType[],
  ): KernelValue | undefined;
  /** Set if the ONNX form passes over memory several times, so that a kernel for this op alone is faster. */
  readonly severalPasses?: true;
  /** Set if the output consists only of the elements of the single input: in another order or shape, or repeated. */
  readonly rearranges?: true;
  /** Set if the op stops gradients on purpose, although its derivative is not zero. */
  readonly endsGradient?: true;
  /** Dtypes of the first input that ONNX Runtime supports, if they are fewer than those that `type` accepts. */
  readonly onnxTypes?: readonly DType[] | undefined;
}

// TypeScript compares method parameters bivariantly, so an Op<P> of any P is an AnyOp without a cast.
/** An op, whatever its parameters are. */
export type AnyOp = Op<unknown>;

const defined = new Map<string, AnyOp>();

/** Every op, by name, in order of definition. */
export const registry: ReadonlyMap<string, AnyOp> = defined;

/** Adds an op to the registry. Throws when the name is taken. */
export function register<P>(op: Op<P>): Op<P> {
  if (defined.has(op.name)) throw new Error(`the op "${op.name}" is defined twice: rename one of the two`);
  defined.set(op.name, op);
  return op;
}

/** An op with one output. */
export interface SingleOp<P> extends Omit<Op<P>, "type" | "gradient" | "onnx" | "evaluate"> {
  shape(inputs: readonly TensorType[], params: P): Shape;
  readonly types?: undefined;
  /** Dtypes that every input may have. All inputs must have the same dtype unless `dtype` is given. Default: float32, float64, int32. */
  readonly dtypes?: readonly DType[];
  /** Returns the output's dtype, if it is not that of the inputs. This function must check the inputs' dtypes itself. */
  dtype?(inputs: readonly TensorType[], params: P): DType;
  /** y = f(x…) ⇒ dx…, given x…, y and dy. */
  readonly gradient?: (
    inputs: readonly Tensor[],
    output: Tensor,
    dOutput: Tensor,
    params: P,
  ) => readonly (Tensor | undefined)[];
  onnx(graph: OnnxGraph, inputs: readonly OnnxValue[], at: Lowering<P>): OnnxValue;
  evaluate(inputs: readonly Data[], output: Data, params: P): void;
}

/** An op with several outputs, such as values and their positions. */
export interface SeveralOp<P> extends Omit<Op<P>, "type" | "gradient" | "onnx" | "evaluate"> {
  /** Returns the shape and dtype of each output. Throws a ShapeError or DTypeError that says what to change. */
  types(inputs: readonly TensorType[], params: P): readonly TensorType[];
  readonly shape?: undefined;
  readonly dtypes?: undefined;
  readonly dtype?: undefined;
  /**
   * y₀, y₁, … = f(x…) ⇒ dx…, given x…, y… and dy…. For a real output that the loss does not depend on, dy is zeros; for an output of
   * whole numbers or truth values, dy is `undefined`.
   */
  readonly gradient?: (
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    dOutputs: readonly (Tensor | undefined)[],
    params: P,
  ) => readonly (Tensor | undefined)[];
  /** Writes the op in ONNX and returns a value for each output. */
  onnx(graph: OnnxGraph, inputs: readonly OnnxValue[], at: Lowering<P>): readonly OnnxValue[];
  /** Fills the values of each output, which are zeros before. */
  evaluate(inputs: readonly Data[], outputs: readonly Data[], params: P): void;
}

export const numeric: readonly DType[] = ["float32", "float64", "int32"];
export const floats: readonly DType[] = ["float32", "float64"];
export const anyType: readonly DType[] = ["float32", "float64", "int32", "bool"];

const anOp = (value: unknown): string | undefined => {
  const rule = value as Readonly<Record<string, unknown>>;
  const isWhole = aRecord(value) === undefined && typeof rule.name === "string";
  const has = (part: string): boolean => typeof rule[part] === "function";
  return isWhole && (has("shape") || has("types")) && has("onnx") && has("evaluate")
    ? undefined
    : "give { name, shape, onnx, evaluate }, or types in place of shape for several outputs, as docs/internals.md shows";
};

/** Registers an op with one output (a record with `shape`) or with several (with `types`). Throws ConfigError for anything else. */
export function defineOp<P = undefined>(rule: SingleOp<P> | SeveralOp<P>): Op<P> {
  expectArguments("defineOp", [anOp], [rule]);
  return register<P>(rule.types ? several(rule) : single(rule));
}

function single<P>(rule: SingleOp<P>): Op<P> {
  const { shape, types: _, dtype, dtypes = numeric, gradient, onnx, evaluate, ...rest } = rule;
  return {
    ...rest,
    type(inputs, params) {
      const result = dtype ? dtype(inputs, params) : commonType(rule.name, inputs, dtypes);
      return [{ shape: shape(inputs, params), dtype: result }];
    },
    ...(gradient && {
      gradient: ({ inputs, outputs, gradients, params }: Differentiation<P>) =>
        gradient(inputs, outputs[0]!, gradients[0]!, params),
    }),
    onnx: (graph, at) => [onnx(graph, at.inputs, at)],
    evaluate: (inputs, outputs, params) => evaluate(inputs, outputs[0]!, params),
  };
}

function several<P>(rule: SeveralOp<P>): Op<P> {
  const { types, shape: _, dtype: __, dtypes: ___, gradient, onnx, evaluate, ...rest } = rule;
  const expectEach = (what: string, given: unknown, wanted: number): void => {
    if (Array.isArray(given) && given.length === wanted) return;
    const came = Array.isArray(given) ? `${given.length} for` : `${described(given)} for`;
    throw new GraphError(
      rule.name,
      `its \`${what}\` gives ${came} ${wanted} ${wanted === 1 ? "output" : "outputs"}`,
      "give one for each output",
    );
  };
  return {
    ...rest,
    type(inputs, params) {
      const outputs = types(inputs, params);
      if (!Array.isArray(outputs) || outputs.length === 0)
        throw new GraphError(
          rule.name,
          `its \`types\` gives ${described(outputs)}`,
          "give { shape, dtype } for each output",
        );
      // `types` may return the inputs themselves, which are tensors where the op is applied.
      return outputs.map(({ shape, dtype }) => ({ shape, dtype }));
    },
    ...(gradient && {
      gradient({ inputs, outputs, gradients, params }: Differentiation<P>) {
        const dOutputs = outputs.map(
          (y, i) => gradients[i] ?? (isFloat(y.dtype) ? y.scalar(0).expand(y.shape) : undefined),
        );
        return gradient(inputs, outputs, dOutputs, params);
      },
    }),
    onnx(graph, at) {
      const values = onnx(graph, at.inputs, at);
      expectEach("onnx", values, at.outputTypes.length);
      return values;
    },
    evaluate,
  };
}

/** Returns the common dtype of all inputs. Throws DTypeError when the dtypes differ or are not among `allowed`. */
export function commonType(op: string, inputs: readonly TensorType[], allowed: readonly DType[]): DType {
  const first = inputs[0]!;
  const other = inputs.find((input) => input.dtype !== first.dtype);
  if (other)
    throw new DTypeError(
      op,
      `${showType(first)} and ${showType(other)} have different dtypes`,
      `cast one of them: .cast("${isFloat(other.dtype) && !isFloat(first.dtype) ? other.dtype : first.dtype}")`,
    );
  expectType(op, first, allowed);
  return first.dtype;
}

/** Throws DTypeError when a number given with a tensor is not a value of its dtype: a fraction for int32, 2 for bool. */
export function expectElement(op: string, value: number, dtype: DType): void {
  const fits = dtype === "int32" ? (value | 0) === value : dtype !== "bool" || value === 0 || value === 1;
  if (!fits)
    throw new DTypeError(
      op,
      `${value} is no ${dtype}`,
      'give a number of the tensor\'s dtype, or .cast("float32") first',
    );
}

/** Throws DTypeError for a name that is not a dtype: JavaScript callers are not checked by TypeScript. */
export function expectDType(op: string, dtype: DType): void {
  if (!Object.hasOwn(arrayTypes, dtype))
    throw new DTypeError(op, `there is no dtype ${dtype}`, `use one of ${Object.keys(arrayTypes).join(", ")}`);
}

/** Throws DTypeError when a tensor's dtype is not among `allowed`. */
export function expectType(op: string, input: TensorType, allowed: readonly DType[], what: string = "takes"): void {
  if (!allowed.includes(input.dtype))
    throw new DTypeError(
      op,
      `${what} ${allowed.join(" or ")}, and got ${showType(input)}`,
      `cast it: .cast("${allowed[0]}")`,
    );
}
