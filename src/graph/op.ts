/**
 * What an op is. Everything the framework ever asks about an op is a field of this record, so that adding an op touches
 * one file: passes read fields and never ask which op they hold.
 */

import { DTypeError, GraphError } from "../errors.ts";
import type { Kernel, KernelValue, KernelWriter, RandomOp } from "../kernel/kernel.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { aRecord, described, expectArguments } from "./arguments.ts";
import type { Body } from "./body.ts";
import type { Node, Value } from "./node.ts";
import type { Target } from "./target.ts";
import { arrayTypes, type DType, isFloat, type Shape, showType, type TensorType } from "./types.ts";

/** Plain storage, row-major, whatever the dtype: what the reference evaluation reads and writes. */
export interface Data extends TensorType {
  readonly values: Float64Array;
}

/** A value inside an ONNX graph, by name. */
export type OnnxValue = string & { readonly brand: "onnx value" };

/** A graph inside a node, as `OnnxGraph.subgraph` makes it. */
export interface OnnxSubgraph {
  readonly graph: unknown;
  /** Different for any two subgraphs. */
  toJSON(): string;
}

export type OnnxAttribute = number | string | readonly number[] | { readonly float: number } | OnnxSubgraph;

/** Element types that occur inside a lowered graph but not in a tensor: `int64` shapes, `uint32` and `uint64` bits. */
export type OnnxType = DType | "int64" | "uint32" | "uint64";

/** The elements of a constant, as they lie in memory. */
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

/** What an op's ONNX form is written with: nodes in order, constants shared. */
export interface OnnxGraph {
  readonly target: Target;
  /** Appends a node with one output. A float attribute is given as `{ float: 0.5 }`, a number is an integer. */
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
  /** Appends a kernel, where the target has them: one output for each of the shapes. */
  kernel(kernel: Kernel, shapes: readonly Shape[], inputs: readonly OnnxValue[]): OnnxValue[];
  /** Appends a guard, where the target has kernels: the number 1, unless an element of values with so many elements is not finite. */
  guard(values: readonly OnnxValue[], sizes: readonly number[]): OnnxValue;
  /** Appends the lengths of the rows of a float32 value, where the target has kernels: in `shape`, with an element for each row. */
  lengths(x: OnnxValue, width: number, shape: Shape): OnnxValue;
  /** Appends a draw of random bits from a generator's state, where the target has kernels. */
  random(state: OnnxValue, draw: Omit<RandomOp, "name">): OnnxValue;
  constant(dtype: OnnxType, shape: Shape, values: readonly number[] | Float64Array): OnnxValue;
  /** A one-dimensional int64 constant, as ONNX wants shapes and axes. */
  integers(values: readonly number[]): OnnxValue;
  cast(value: OnnxValue, to: OnnxType): OnnxValue;
  /**
   * One of several ways to compute a value, `chosen` by sizes. Where sizes stay open, all of them are in the model and each run takes its
   * own: each must be written with any sizes, by nodes whose number and kinds do not depend on these.
   */
  choose(chosen: number, type: OnnxTensorType, ways: readonly ((graph: OnnxGraph) => OnnxValue)[]): OnnxValue;
  /** Told of each node before it lowers itself. */
  note?(node: Node, at: Lowering<unknown>): void;
  /** The body of a loop. What it builds may use values of the graph around it. */
  subgraph(
    inputTypes: readonly OnnxTensorType[],
    outputTypes: readonly OnnxTensorType[],
    build: (graph: OnnxGraph, inputs: readonly OnnxValue[]) => readonly OnnxValue[],
  ): OnnxSubgraph;
}

/** What is known of a node while it is lowered. */
export interface Lowering<P> {
  readonly inputs: readonly OnnxValue[];
  readonly inputTypes: readonly TensorType[];
  readonly outputTypes: readonly TensorType[];
  readonly params: P;
}

/** What is known of a node while it is differentiated. */
export interface Differentiation<P> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** d loss / d output, one for each output that the loss depends on. */
  readonly gradients: readonly (Tensor | undefined)[];
  /** Whether anybody asks for the gradient of an input. */
  readonly needed: readonly boolean[];
  readonly params: P;
  /** Differentiates the inside of an op that holds a graph. */
  readonly pullBack: PullBack;
}

/**
 * Σ seed · d root / d target for each target, over all roots that have a seed; `undefined` for a target that no root depends
 * on smoothly.
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

/** Where an op has indices. */
export interface IndexBound {
  readonly input: number;
  readonly below: number;
}

/** The ends of an activation's range at which its slope is 0. */
export interface Plateaus {
  /** relu's 0, tanh's −1. */
  readonly low?: number | undefined;
  /** tanh's 1. */
  readonly high?: number | undefined;
  /** Whether outputs get there, as relu's do, or only come near. */
  readonly reached: boolean;
}

/** The most general record; `defineOp` makes one of what users write. */
export interface Op<P = unknown> {
  readonly name: string;
  /** The shape and dtype of every output, or a ShapeError or DTypeError that says what to change. */
  type(inputs: readonly TensorType[], params: P): readonly TensorType[];
  /**
   * d loss / d input for each input, `undefined` where it is zero by nature (indices, masks). Written in tensor methods, so
   * that it can be differentiated again. Absent where nobody has written it: differentiating through the op is then an
   * error when the graph is built.
   */
  gradient?(at: Differentiation<P>): readonly (Tensor | undefined)[];
  /** The op in ONNX, one value for each output. */
  onnx(graph: OnnxGraph, at: Lowering<P>): readonly OnnxValue[];
  /** Slow, obvious, right: the yardstick for every other way to run the op. Outputs come zeroed. */
  evaluate(inputs: readonly Data[], outputs: readonly Data[], params: P): void;
  /** Inputs worth testing, empty and scalar ones included; the conformance test runs every field above on each. */
  samples(random: Sampler): readonly Sample<P>[];
  /** An input that holds indices, from 0 on, and the number that each must stay below: every run checks it. */
  indices?(inputs: readonly TensorType[], params: P): IndexBound;
  /** An input of which no element may be 0: every run checks it. */
  divisor?(inputs: readonly TensorType[], params: P): number | undefined;
  /** The least and the largest element that an output can have, where the parameters and the inputs' types alone decide it. */
  limits?(
    inputs: readonly TensorType[],
    params: P,
    output: number,
  ): readonly [least: number, largest: number] | undefined;
  /** The parameters with each graph that they hold replaced: how the compiler's rules get into an op that is a loop. */
  mapBodies?(params: P, replace: (body: Body) => Body): P;
  /** Chosen values of the graph that the op holds as tensors outside of it: those of all steps, stacked. */
  expose?(inputs: readonly Tensor[], params: P, choose: (body: Body) => readonly Value[]): readonly Tensor[];
  /** Where the op stops answering to its input; activations that can die or saturate have it. */
  plateaus?(params: P): Plateaus | undefined;
  /** Set where an element of the output depends on the inputs' elements at the same place alone, the inputs widened to the first. */
  readonly elementwise?: true;
  /**
   * One float32 of the output, as steps of a kernel, from the inputs' elements at the same place, once they are widened to the output
   * or reshaped; a constant where there are no inputs. Nothing where these parameters and types have no such steps. A truth value is a mask.
   */
  kernel?(
    write: KernelWriter,
    inputs: readonly KernelValue[],
    params: P,
    inputTypes: readonly TensorType[],
  ): KernelValue | undefined;
  /** Set where the op is several passes over memory in ONNX, so that a kernel of it alone is worth while. */
  readonly severalPasses?: true;
  /** Set where the output holds the elements of the one input and no others: in another order or shape, or repeated. */
  readonly rearranges?: true;
  /** Set where gradients end on purpose, although the derivative is not zero. */
  readonly endsGradient?: true;
  /** Dtypes of the first input for which ONNX Runtime has kernels, when they are fewer than those that `type` accepts. */
  readonly onnxTypes?: readonly DType[] | undefined;
}

// Method parameters are compared bivariantly, so an Op<P> of any P is an AnyOp without a cast.
export type AnyOp = Op<unknown>;

const defined = new Map<string, AnyOp>();

/** Every op, by name, in order of definition. */
export const registry: ReadonlyMap<string, AnyOp> = defined;

/** Puts an op on the register. Throws when the name is taken. */
export function register<P>(op: Op<P>): Op<P> {
  if (defined.has(op.name)) throw new Error(`the op "${op.name}" is defined twice: rename one of the two`);
  defined.set(op.name, op);
  return op;
}

/** An op with one output. */
export interface SingleOp<P> extends Omit<Op<P>, "type" | "gradient" | "onnx" | "evaluate"> {
  shape(inputs: readonly TensorType[], params: P): Shape;
  readonly types?: undefined;
  /** Dtypes that every input may have; they must all be the same one unless `dtype` is given. Default: float32, float64, int32. */
  readonly dtypes?: readonly DType[];
  /** The output's dtype where it is not the inputs'. A rule given here checks the inputs' dtypes itself. */
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
  /** The shape and dtype of each output, or a ShapeError or DTypeError that says what to change. */
  types(inputs: readonly TensorType[], params: P): readonly TensorType[];
  readonly shape?: undefined;
  readonly dtypes?: undefined;
  readonly dtype?: undefined;
  /**
   * y₀, y₁, … = f(x…) ⇒ dx…, given x…, y… and dy…: zeros for a real output that the loss does not depend on, and nothing for one of
   * whole numbers or truth values.
   */
  readonly gradient?: (
    inputs: readonly Tensor[],
    outputs: readonly Tensor[],
    dOutputs: readonly (Tensor | undefined)[],
    params: P,
  ) => readonly (Tensor | undefined)[];
  /** A value for each output. */
  onnx(graph: OnnxGraph, inputs: readonly OnnxValue[], at: Lowering<P>): readonly OnnxValue[];
  /** Fills the values of each output, which come zeroed. */
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

/** Registers an op with one output, or with several: `types` in place of `shape` says which. Throws ConfigError for anything else. */
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
      // The inputs themselves may be among them, and are tensors where the op is applied.
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

/** The one dtype of all inputs. Throws DTypeError when they differ or when it is none of `allowed`. */
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

/** Throws DTypeError when a number given with a tensor is no element of its dtype: a fraction among int32, 2 among bool. */
export function expectElement(op: string, value: number, dtype: DType): void {
  const fits = dtype === "int32" ? (value | 0) === value : dtype !== "bool" || value === 0 || value === 1;
  if (!fits)
    throw new DTypeError(
      op,
      `${value} is no ${dtype}`,
      'give a number of the tensor\'s dtype, or .cast("float32") first',
    );
}

/** Throws DTypeError for a dtype that there is not: where no compiler has looked. */
export function expectDType(op: string, dtype: DType): void {
  if (!Object.hasOwn(arrayTypes, dtype))
    throw new DTypeError(op, `there is no dtype ${dtype}`, `use one of ${Object.keys(arrayTypes).join(", ")}`);
}

/** Throws DTypeError when a tensor's dtype is none of `allowed`. */
export function expectType(op: string, input: TensorType, allowed: readonly DType[], what: string = "takes"): void {
  if (!allowed.includes(input.dtype))
    throw new DTypeError(
      op,
      `${what} ${allowed.join(" or ")}, and got ${showType(input)}`,
      `cast it: .cast("${allowed[0]}")`,
    );
}
