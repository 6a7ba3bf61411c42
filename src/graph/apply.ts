/** Makes nodes from tensors, the only place that does: it resolves variables, infers types and shares equal nodes. */
import { DTypeError, GlissadeError, GraphError, ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { frozen, makeNode, type Node } from "./node.ts";
import type { Op } from "./op.ts";
import { currentObserver, currentPath, currentScope } from "./scope.ts";
import { type Shape, showShape } from "./types.ts";

let makeTensor: (node: Node, index: number) => Tensor;

/** Called once by tensor.ts, which imports this file: gives access to the class Tensor without a circular import. */
export function setTensorMaker(maker: (node: Node, index: number) => Tensor): void {
  makeTensor = maker;
}

export function tensorOf(node: Node, index: number = 0): Tensor {
  return makeTensor(node, index);
}

/**
 * Applies an op and returns all its outputs, which are lazy. Throws the op's ShapeError or DTypeError with the path of the module
 * being called, GraphError when an input belongs to another trace.
 */
export function applyAll<P>(op: Op<P>, given: readonly Tensor[], params: P): Tensor[] {
  return applied(op, given, params);
}

/** Applies a node's op to other inputs of the same types, so that the outputs keep their types. */
export function applyAgain({ op, params, outputs }: Node, given: readonly Tensor[]): Tensor[] {
  return applied(op, given, params, outputs);
}

function applied<P>(op: Op<P>, given: readonly Tensor[], options: P, types?: Node["outputs"]): Tensor[] {
  const scope = currentScope();
  const inputs: Tensor[] = [];
  let trace: object | undefined;
  for (let i = 0; i < given.length; i++) {
    const input = given[i]!.current();
    inputs.push(input);
    const { node } = input;
    if (node.trace === undefined) continue;
    trace = node.trace;
    if (trace !== scope.trace) failForTrace(op.name, scope.trace);
  }
  const params = frozen(options) as P;
  const table = scope.nodes;
  const key = table?.keyOf(op, inputs, params);
  let node = key === undefined ? undefined : table!.get(key);
  if (!node) {
    const path = currentPath();
    const outputs = types ?? inferred(op, inputs, params, path);
    node = makeNode({ op, inputs, params, outputs, path, trace: trace ?? scope.trace, source: undefined });
    if (key !== undefined) table!.set(key, node);
  }
  const outputs: Tensor[] = [];
  for (let i = 0; i < node.outputs.length; i++) outputs.push(makeTensor(node, i));
  currentObserver()?.applied(outputs[0]!);
  return outputs;
}

function failForTrace(name: string, here: object | undefined): never {
  throw new GraphError(
    name,
    here
      ? "mixes a tensor of this trace with one that was made in another trace"
      : "uses a tensor that was made inside a compiled function, outside of that function",
    here
      ? "pass the other tensor in as an argument of the compiled function"
      : "return it from the compiled function; what comes back holds values and can be used anywhere",
    currentPath(),
  );
}

/** Applies an op with one output. */
export function apply<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor {
  return applyAll(op, inputs, params)[0]!;
}

function inferred<P>(op: Op<P>, inputs: readonly Tensor[], params: P, path: string): Node["outputs"] {
  try {
    const outputs = op.type(inputs, params);
    for (const { shape } of outputs) expectSizes(op.name, shape);
    return outputs;
  } catch (error) {
    if (path === "" || !(error instanceof GlissadeError) || error.path !== "") throw error;
    const { subject, problem, fix } = error;
    if (error instanceof ShapeError) throw new ShapeError(subject, problem, fix, path);
    if (error instanceof DTypeError) throw new DTypeError(subject, problem, fix, path);
    throw error;
  }
}

function expectSizes(name: string, shape: Shape): void {
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw new ShapeError(
      name,
      `the result would be ${showShape(shape)}`,
      "give sizes that are whole numbers from 0 on",
    );
}
