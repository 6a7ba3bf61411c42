/** Several elementwise ops as one op. The compiler makes it where the engine has code for kernels. */

import {
  commonType,
  type Data,
  floats,
  type OnnxGraph,
  type OnnxValue,
  type Op,
  register,
  type Sample,
  type Sampler,
} from "../../graph/op.ts";
import type { DType, Shape } from "../../graph/types.ts";
import { argumentsOf, type Kernel, KernelWriter, type Operation, runKernel } from "../../kernel/kernel.ts";

export interface FusedParams {
  readonly kernel: Kernel;
  /** One shape for each output; each has as many elements as the kernel. */
  readonly shapes: readonly Shape[];
}

/** The outputs of a kernel. */
export const fused: Op<FusedParams> = register<FusedParams>({
  name: "fused",
  type(inputs, { shapes }) {
    const dtype = commonType("fused", inputs, floats);
    return shapes.map((shape) => ({ shape, dtype }));
  },
  onnx(graph, { inputs, inputTypes, params: { kernel, shapes } }) {
    const { dtype } = inputTypes[0]!;
    if (graph.target.kernels && dtype === "float32") return graph.kernel(kernel, shapes, inputs);
    return unfused(graph, kernel, shapes, inputs, dtype);
  },
  evaluate: (inputs, outputs, { kernel }) =>
    runKernel(
      kernel,
      inputs.map(({ values }) => values),
      outputs.map(({ values }) => values),
    ),
  samples: (random) => [
    sample(random, 3, 5),
    sample(random, 40, 1),
    sample(random, 1, 19),
    partsSample(random, 3, 5),
    partsSample(random, 1, 9),
  ],
});

/** How ONNX computes a step: the name of an op, or a function that writes nodes. */
type Form = string | ((graph: OnnxGraph, of: readonly OnnxValue[], dtype: DType) => OnnxValue);

const forms: Readonly<Record<Operation, Form>> = {
  add: "Add",
  sub: "Sub",
  mul: "Mul",
  div: "Div",
  min: "Min",
  max: "Max",
  sqrt: "Sqrt",
  fma: (graph, [a, b, c]) => graph.node("Add", [graph.node("Mul", [a, b]), c]),
  round: "Round",
  power: (graph, [a], dtype) => graph.node("Pow", [graph.constant(dtype, [], [2]), a]),
  scale(graph, [a, b], dtype) {
    // In two factors, since float32 cannot hold 2¹²⁸.
    const half = graph.node("Floor", [graph.node("Mul", [b, graph.constant(dtype, [], [0.5])])]);
    const power = (n: OnnxValue): OnnxValue => graph.node("Pow", [graph.constant(dtype, [], [2]), n]);
    return graph.node("Mul", [graph.node("Mul", [a, power(half)]), power(graph.node("Sub", [b, half]))]);
  },
  neg: "Neg",
  abs: "Abs",
  equal: "Equal",
  less: "Less",
  lessEqual: "LessOrEqual",
  unordered: (graph, of) =>
    graph.node(
      "Or",
      of.map((value) => graph.node("IsNaN", [value])),
    ),
  select: "Where",
};

/**
 * Writes the steps one by one, over rows. Compiled programs never use this form: the conformance test compares kernels with it. Here a NaN
 * on the left of `min` and `max` stays NaN.
 */
function unfused(
  graph: OnnxGraph,
  { inputs: layouts, steps, outputs, takeTurns, size, width }: Kernel,
  shapes: readonly Shape[],
  inputs: readonly OnnxValue[],
  dtype: DType,
): OnnxValue[] {
  const rows = size / width;
  const under = { full: [rows, width], row: [1, width], column: [rows, 1], scalar: [] };
  const shaped = (value: OnnxValue, shape: Shape): OnnxValue => graph.node("Reshape", [value, graph.integers(shape)]);
  const values = layouts.map((layout, i) => {
    if (typeof layout === "string") return shaped(inputs[i]!, under[layout]);
    const { part, of } = layout;
    return graph.node("Gather", [shaped(inputs[i]!, [rows, of, width]), graph.constant("int64", [], [part])], {
      axis: 1,
    });
  });
  for (const step of steps) {
    if (typeof step === "number") values.push(graph.constant(dtype, [], [step]));
    else {
      const of = argumentsOf(step).map((value) => values[value]!);
      const form = forms[step[0]];
      values.push(typeof form === "string" ? graph.node(form, of) : form(graph, of, dtype));
    }
  }
  const written = outputs.map((value) => values[value]!);
  if (!takeTurns) return written.map((value, i) => shaped(value, shapes[i]!));
  const parts = written.map((value) => shaped(value, [rows, 1, width]));
  return [shaped(graph.node("Concat", parts, { axis: 1 }), shapes[0]!)];
}

/** A kernel that reads two parts of the rows of one tensor, and writes all rows of another. */
function partsSample(random: Sampler, rows: number, width: number): Sample<FusedParams> {
  const write = new KernelWriter();
  const [a, b, c] = [write.input({ part: 0, of: 2 }), write.input({ part: 1, of: 2 }), write.input("full")];
  const outputs = [write.apply("sub", a, b), write.apply("mul", b, c), write.apply("add", a, c)];
  const shapes = [[rows, 3, width]];
  const kernel: Kernel = {
    inputs: write.inputs,
    steps: write.steps,
    outputs,
    takeTurns: true,
    size: rows * width,
    width,
  };
  const x = random.real(rows, 2, width);
  return { inputs: [x, x, random.real(rows, width)], params: { kernel, shapes } };
}

/** A kernel with every operation and every layout. */
function sample(random: Sampler, rows: number, width: number): Sample<FusedParams> {
  const write = new KernelWriter();
  const [x, y, row, column, scalar] = (["full", "full", "row", "column", "scalar"] as const).map((layout) =>
    write.input(layout),
  ) as [number, number, number, number, number];
  const scaled = write.apply("mul", write.apply("sub", x, column), row);
  const root = write.apply("sqrt", write.apply("abs", write.apply("div", scaled, write.constant(3))));
  const clipped = write.apply("max", write.apply("min", write.apply("add", root, y), scalar), write.apply("neg", y));
  const chosen = write.apply("select", write.apply("less", x, y), clipped, row);
  const other = write.apply("select", write.apply("lessEqual", chosen, scaled), column, root);
  const whole = write.apply("round", write.apply("fma", x, y, scalar));
  const third = write.apply("select", write.apply("equal", x, y), x, write.apply("scale", other, whole));
  const fourth = write.apply("mul", third, write.apply("power", whole));
  const last = write.apply("select", write.apply("unordered", fourth, x), y, fourth);
  const shapes: Shape[] = [[rows, width], [rows * width]];
  const kernel: Kernel = {
    inputs: write.inputs,
    steps: write.steps,
    outputs: [clipped, last],
    size: rows * width,
    width,
  };
  const inputs: Data[] = [
    random.real(rows, width),
    random.real(rows * width),
    random.real(width),
    random.real(rows, 1),
    random.real(),
  ];
  return { inputs, params: { kernel, shapes } };
}
