/** An op that stops a run. */
import { EngineError } from "../errors.ts";
import { defineOp, expectType, floats, type Op } from "../graph/op.ts";

interface GuardParams {
  /** Tells the guards of a graph apart. */
  readonly guard: number;
}

/** Why a run was stopped. */
export interface Stop extends GuardParams {
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

/** The first of the indices; a number that nothing else comes to. */
const firstIndex = 1_830_541_000;

/**
 * x, as long as `watched`, one element, is finite. Where it is not, the run fails before anything is computed that depends on
 * the output: what is written in place has not been touched.
 */
export const whileFinite: Op<GuardParams> = defineOp<GuardParams>({
  name: "whileFinite",
  dtype([x, watched]) {
    expectType("whileFinite", watched!, floats, "watches");
    return x!.dtype;
  },
  shape: ([x]) => x!.shape,
  gradient: (_inputs, _y, dy) => [dy, undefined],
  onnx(graph, [x, watched], { inputTypes: [type, watchedType], params: { guard } }) {
    const value = graph.node("Reshape", [watched, graph.integers([])]);
    const index = (reason: number): typeof value =>
      graph.constant("int64", [], [firstIndex + guard * reasons.length + reason]);
    const zero = graph.constant(watchedType!.dtype, [], [0]);
    const infinite = graph.node("Where", [graph.node("Greater", [value, zero]), index(1), index(2)]);
    const reason = graph.node("Where", [graph.node("IsNaN", [value]), index(0), infinite]);
    // ∞ − ∞ is NaN. There is one element to gather: asking for another is the error.
    const isBad = graph.node("IsNaN", [graph.node("Sub", [value, value])]);
    const only = graph.node("Reshape", [x, graph.integers([1, ...type!.shape])]);
    const which = graph.node("Where", [isBad, reason, graph.constant("int64", [], [0])]);
    return graph.node("Gather", [only, which], { axis: 0 });
  },
  evaluate([x, watched], y, { guard }) {
    const value = watched!.values[0]!;
    if (!Number.isFinite(value)) throw new Stopped({ guard, value });
    y.values.set(x!.values);
  },
  samples: (random) => [
    { inputs: [random.real(2, 3), random.real()], params: { guard: 0 } },
    { inputs: [random.real(), random.real(1)], params: { guard: 1 } },
    { inputs: [random.integers(5, 3), random.real()], params: { guard: 0 } },
  ],
});

/** What stopped a run, on any engine; nothing when it failed for another reason. */
export function stopOf(error: unknown): Stop | undefined {
  if (error instanceof Stopped) return error.stop;
  const text = error instanceof EngineError ? /\bidx=(\d+)/.exec(error.message) : undefined;
  const code = Number(text?.[1]) - firstIndex;
  if (!(code >= 0)) return undefined;
  return { guard: Math.floor(code / reasons.length), value: reasons[code % reasons.length]! };
}
