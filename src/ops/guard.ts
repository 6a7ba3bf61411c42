/** An op that stops a run. */
import { EngineError } from "../errors.ts";
import { defineOp, expectType, floats, type OnnxGraph, type OnnxValue, type Op } from "../graph/op.ts";
import type { TensorType } from "../graph/types.ts";

/** Why a run was stopped. */
export interface Stop {
  /** Which of the values that were looked at, by position. */
  readonly input: number;
  /** NaN or an infinity. */
  readonly value: number;
}

class Stopped extends EngineError {
  readonly stop: Stop;

  constructor(stop: Stop) {
    super("the run", `a guard has seen ${stop.value}`, "look for it in the inputs");
    this.stop = stop;
  }
}

/** What a guard may see, in the order of the indices that ONNX Runtime then complains of. */
const reasons = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY] as const;

/** The first of the indices, behind all that int32 has. */
const firstIndex = 2 ** 40;

/**
 * 1, as long as every input, of one element each, is finite. Where one is not, the run fails before anything is computed that depends on
 * the output. Multiplying by it puts a computation behind the guard.
 */
export const allFinite: Op<undefined> = defineOp<undefined>({
  name: "allFinite",
  dtype(inputs) {
    for (const input of inputs) expectType("allFinite", input, floats, "looks at");
    return "float32";
  },
  shape: () => [],
  gradient: (inputs) => inputs.map(() => undefined),
  onnx: (graph, inputs, { inputTypes }) =>
    inputs.reduce(
      (passed, input, i) => behind(graph, passed, input, inputTypes[i]!, i),
      graph.constant("float32", [], [1]),
    ),
  evaluate(inputs, y) {
    for (const [input, { values, dtype }] of inputs.entries()) {
      const value = dtype === "float32" ? Math.fround(values[0]!) : values[0]!;
      if (!Number.isFinite(value)) throw new Stopped({ input, value });
    }
    y.values[0] = 1;
  },
  samples: (random) => [
    { inputs: [random.real()], params: undefined },
    { inputs: [random.real(1), random.real(), random.real(1, 1)], params: undefined },
  ],
});

/** x, a scalar, once a value has turned out to be finite. */
function behind(graph: OnnxGraph, x: OnnxValue, watched: OnnxValue, { dtype }: TensorType, input: number): OnnxValue {
  const value = graph.node("Reshape", [watched, graph.integers([])]);
  const index = (reason: number): OnnxValue =>
    graph.constant("int64", [], [firstIndex + input * reasons.length + reason]);
  const infinite = graph.node("Where", [
    graph.node("Greater", [value, graph.constant(dtype, [], [0])]),
    index(1),
    index(2),
  ]);
  const reason = graph.node("Where", [graph.node("IsNaN", [value]), index(0), infinite]);
  // ∞ − ∞ is NaN. There is one element to gather: asking for another is the error.
  const isBad = graph.node("IsNaN", [graph.node("Sub", [value, value])]);
  const which = graph.node("Where", [isBad, reason, graph.constant("int64", [], [0])]);
  return graph.node("Gather", [graph.node("Reshape", [x, graph.integers([1])]), which], { axis: 0 });
}

/** What stopped a run, on any engine; nothing when it failed for another reason. */
export function stopOf(error: unknown): Stop | undefined {
  if (error instanceof Stopped) return error.stop;
  const text = error instanceof EngineError ? /\bidx=(\d+)/.exec(error.message) : undefined;
  const code = Number(text?.[1]) - firstIndex;
  if (!(code >= 0)) return undefined;
  return { input: Math.floor(code / reasons.length), value: reasons[code % reasons.length]! };
}
