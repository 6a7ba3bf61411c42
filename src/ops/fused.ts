/** Several elementwise ops as one: what the compiler makes of them where the engine has code for kernels. */
import { type Data, type OnnxGraph, type OnnxValue, type Op, register, type Sample, type Sampler } from "../graph/op.ts";
import { type Kernel, KernelWriter, type Layout, type Operation, runKernel } from "../graph/kernel.ts";
import type { Shape } from "../graph/types.ts";

export interface FusedParams {
  readonly kernel: Kernel;
  /** By output; each has as many elements as the kernel. */
  readonly shapes: readonly Shape[];
}

/** The outputs of a kernel, all float32. */
export const fused: Op<FusedParams> = register<FusedParams>({
  name: "fused",
  type: (_, { shapes }) => shapes.map((shape) => ({ shape, dtype: "float32" })),
  onnx(graph, { inputs, params: { kernel, shapes } }) {
    return graph.target.kernels ? graph.kernel(kernel, shapes, inputs) : unfused(graph, kernel, shapes, inputs);
  },
  evaluate: (inputs, outputs, { kernel }) =>
    runKernel(
      kernel,
      inputs.map(({ values }) => values),
      outputs.map(({ values }) => values),
    ),
  samples: (random) => [sample(random, 3, 5), sample(random, 40, 1), sample(random, 1, 19)],
});

const onnxNames: Readonly<Record<Operation, string>> = {
  add: "Add",
  sub: "Sub",
  mul: "Mul",
  div: "Div",
  min: "Min",
  max: "Max",
  sqrt: "Sqrt",
  neg: "Neg",
  abs: "Abs",
  equal: "Equal",
  less: "Less",
  lessEqual: "LessOrEqual",
  unordered: "Or",
  select: "Where",
};

/** The steps one by one, over rows. */
function unfused(
  graph: OnnxGraph,
  { inputs: layouts, steps, outputs, size, width }: Kernel,
  shapes: readonly Shape[],
  inputs: readonly OnnxValue[],
): OnnxValue[] {
  const rows = size / width;
  const under: Readonly<Record<Layout, Shape>> = { full: [rows, width], row: [1, width], column: [rows, 1], scalar: [] };
  const values = layouts.map((layout, i) => graph.node("Reshape", [inputs[i], graph.integers(under[layout])]));
  for (const step of steps) {
    if ("constant" in step) values.push(graph.constant("float32", [], [step.constant]));
    else {
      const of = step.of.map((value) => values[value]!);
      const given = step.operation === "unordered" ? of.map((value) => graph.node("IsNaN", [value])) : of;
      values.push(graph.node(onnxNames[step.operation], given));
    }
  }
  return outputs.map((value, i) => graph.node("Reshape", [values[value], graph.integers(shapes[i]!)]));
}

/** Every operation and every layout. */
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
  const third = write.apply("select", write.apply("equal", x, y), x, other);
  const last = write.apply("select", write.apply("unordered", third, x), y, third);
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
