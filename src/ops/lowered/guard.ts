/** The op `guard`, which stops a run. */
import { EngineError } from "../../errors.ts";
import { type Condition, flawIn } from "../../graph/check.ts";
import { type Data, defineOp, expectType, floats, type OnnxGraph, type OnnxValue, type Op } from "../../graph/op.ts";
import { sizeOf, type TensorType } from "../../graph/types.ts";

export interface GuardParams {
  /** One condition for each input. */
  readonly conditions: readonly Condition[];
}

/**
 * Returns 1 if every element of every input meets the input's condition. Otherwise the run fails before anything is computed that depends
 * on the output. A computation that is multiplied by the output therefore waits for the guard.
 */
export const guard: Op<GuardParams> = defineOp<GuardParams>({
  name: "guard",
  dtype(inputs, { conditions }) {
    for (const [i, input] of inputs.entries())
      expectType("guard", input, conditions[i]!.kind === "finite" ? floats : ["int32"], "looks at");
    return "float32";
  },
  shape: () => [],
  gradient: (inputs) => inputs.map(() => undefined),
  onnx(graph, inputs, { inputTypes, params: { conditions } }) {
    const marks = inputs.flatMap((input, i) => marksOf(graph, input, inputTypes[i]!, conditions[i]!));
    const one = graph.constant("float32", [1], [1]);
    if (marks.length === 0) return graph.node("Reshape", [one, graph.integers([])]);
    if (graph.target.kernels) return guarded(graph, graph.target.kernels.inputs, marks);
    const all =
      marks.length === 1
        ? marks[0]!.value
        : graph.node(
            "Concat",
            marks.map(({ value }) => value),
            { axis: 0 },
          );
    const flaw = graph.node("MatMul", [
      all,
      zeros(
        graph,
        "float32",
        marks.reduce((sum, { size }) => sum + size, 0),
      ),
    ]);
    // There is one element to gather. If a mark is not finite, the index is 1, which is out of range: this error stops the run.
    return graph.node("Gather", [one, graph.cast(graph.node("IsNaN", [flaw]), "int64")], { axis: 0 });
  },
  evaluate(inputs, y, { conditions }) {
    for (const [i, input] of inputs.entries())
      if (flawIn(rounded(input), input, conditions[i]!))
        throw new EngineError("the run", "it was stopped by a guard", "look at what was checked");
    y.values[0] = 1;
  },
  samples: (random) => [
    { inputs: [random.real()], params: { conditions: [{ kind: "finite" }] } },
    {
      inputs: [random.real(3), random.real(), random.real(40, 50), random.real(7, 1, 211), random.real(0, 2)],
      params: { conditions: Array<Condition>(5).fill({ kind: "finite" }) },
    },
    {
      inputs: [
        random.integers(4, 2, 3),
        random.integers(1),
        { ...random.integers(3, 2), values: Float64Array.of(-1, 7) },
      ],
      params: { conditions: [{ kind: "index", below: 4 }, { kind: "index", below: 1 }, { kind: "divisor" }] },
    },
    { inputs: [random.integers(1, 0)], params: { conditions: [{ kind: "index", below: 0 }] } },
  ],
});

/**
 * Writes the engine's own guards. A guard takes at most `mostInputs` values, so there may be several, each of which waits for the one
 * before it. They begin with the last values, because the gradients of the last parameters are known first.
 */
function guarded(graph: OnnxGraph, mostInputs: number, marks: readonly Marks[]): OnnxValue {
  const inOrder = marks.toReversed();
  let passed = graph.guard(...inputsOf(inOrder.splice(0, mostInputs)));
  while (inOrder.length > 0)
    passed = graph.guard(...inputsOf([{ value: passed, size: 1 }, ...inOrder.splice(0, mostInputs - 1)]));
  return passed;
}

const inputsOf = (marks: readonly Marks[]): [OnnxValue[], number[]] => [
  marks.map(({ value }) => value),
  marks.map(({ size }) => size),
];

/**
 * The reference evaluation computes in float64. Values of float32 are rounded before they are checked, as they will be when they are read.
 */
const rounded = ({ values, dtype }: Data): Float64Array => (dtype === "float32" ? values.map(Math.fround) : values);

/** Values of float32. One of them is NaN or infinite exactly if an element of the input does not meet the condition. */
interface Marks {
  readonly value: OnnxValue;
  readonly size: number;
}

const zeros = (graph: OnnxGraph, dtype: "float32" | "float64", size: number): OnnxValue =>
  graph.constant(dtype, [size], new Float64Array(size));

function marksOf(graph: OnnxGraph, x: OnnxValue, type: TensorType, condition: Condition): readonly Marks[] {
  const size = sizeOf(type.shape);
  if (size === 0) return [];
  switch (condition.kind) {
    case "finite":
      return [finiteMarks(graph, x, type)];
    case "index":
      return [{ value: indexMarks(graph, asVector(graph, x, type), condition.below), size }];
    case "divisor":
      return [{ value: graph.node("Reciprocal", [graph.cast(asVector(graph, x, type), "float32")]), size }];
  }
}

const asVector = (graph: OnnxGraph, x: OnnxValue, { shape }: TensorType): OnnxValue =>
  shape.length === 1 ? x : graph.node("Reshape", [x, graph.integers([sizeOf(shape)])]);

/** Inputs of up to this many elements are not reduced first: the last product reads them, together with the results for all others. */
const fewElements = 1024;

/**
 * Zero times an element is NaN if the element is NaN or infinite. So a product with zeros checks a matrix. It reads the matrix once, at the
 * speed of memory.
 */
function finiteMarks(graph: OnnxGraph, x: OnnxValue, type: TensorType): Marks {
  const { shape, dtype } = type;
  const float = dtype as "float32" | "float64";
  const single = (value: OnnxValue): OnnxValue => (float === "float32" ? value : graph.cast(value, "float32"));
  const size = sizeOf(shape);
  if (graph.target.kernels && float === "float32") return { value: x, size };
  if (size <= fewElements && float === "float32") return { value: asVector(graph, x, type), size };
  const columns = columnsOf(shape);
  const rows = size / columns;
  const isMatrix = shape.length === 2 && shape[1] === columns;
  const matrix = isMatrix ? x : graph.node("Reshape", [x, graph.integers([rows, columns])]);
  // The zeros are a row on the left: ONNX Runtime's code for a matrix and a column takes twenty times as long.
  return { value: single(graph.node("MatMul", [zeros(graph, float, rows), matrix])), size: columns };
}

/**
 * Returns the number of columns that make a matrix of a tensor, such that rows and columns together are few. The matrix follows the axes if
 * they allow it; otherwise the columns are any divisor of the size.
 */
function columnsOf(shape: readonly number[]): number {
  const size = sizeOf(shape);
  const sides = (columns: number): number => columns + size / columns;
  const byAxes = shape.map((_, axis) => sizeOf(shape.slice(axis)));
  const best = byAxes.reduce((a, b) => (sides(b) < sides(a) ? b : a), size);
  if (sides(best) * 8 <= size) return best;
  for (let divisor = Math.floor(Math.sqrt(size)); divisor > 1; divisor--) if (size % divisor === 0) return divisor;
  return size;
}

/** √(i · (n − 1 − i)), which is NaN for i < 0 and for i ≥ n. */
function indexMarks(graph: OnnxGraph, indices: OnnxValue, below: number): OnnxValue {
  if (below === 0) {
    const nothing = graph.node("Mul", [graph.cast(indices, "float32"), graph.constant("float32", [], [0])]);
    return graph.node("Reciprocal", [nothing]); //  every index is outside
  }
  const float = below < 2 ** 24 ? "float32" : "float64"; //  the dtype in which n is exact
  const i = graph.cast(indices, float);
  const rest = graph.node("Sub", [graph.constant(float, [], [below - 1]), i]);
  const root = graph.node("Sqrt", [graph.node("Mul", [i, rest])]);
  return float === "float32" ? root : graph.cast(root, "float32");
}
