/** Whole rows put into a tensor: a scatter whose indices are the same for all elements of a row. */
import { ShapeError } from "../../errors.ts";
import { anyType, defineOp, type Op } from "../../graph/op.ts";
import { sameShape, showShape, sizeOf } from "../../graph/types.ts";
import { rangeNode } from "../movement.ts";

/**
 * Replaces rows of x: rows[i…, j, k…] goes to x[i…, places[i…, j], k…], where j and the places count along `axis`. ONNX Runtime copies each row
 * as a whole, and scattered elements one by one, which takes about ten times as long.
 */
export const putRows: Op<{ readonly axis: number }> = defineOp<{ readonly axis: number }>({
  name: "putRows",
  dtypes: anyType,
  shape([x, places, rows], { axis }) {
    const wanted = [...places!.shape, ...x!.shape.slice(axis + 1)];
    const fits = places!.shape.length === axis + 1 && sameShape(places!.shape.slice(0, -1), x!.shape.slice(0, axis));
    if (!fits || !sameShape(rows!.shape, wanted))
      throw new ShapeError(
        "putRows",
        `rows ${showShape(rows!.shape)} at places ${showShape(places!.shape)} of axis ${axis} of ${showShape(x!.shape)}`,
        "give one place for each row",
      );
    return x!.shape;
  },
  dtype: ([x]) => x!.dtype,
  onnx(graph, [x, places, rows], { params: { axis }, inputTypes }) {
    const { shape } = inputTypes[1]!;
    const listed = graph.node("Unsqueeze", [graph.cast(places!, "int64"), graph.integers([-1])]);
    // The places of a row in the axes before: 0, 1, 2, … along each.
    const before = shape.slice(0, axis).map((size, k) => {
      const along = graph.integers([-1, ...shape.slice(k + 1).map(() => 1), 1]);
      const line = graph.node("Reshape", [rangeNode(graph, "int64", size), along]);
      return graph.node("Expand", [line, graph.integers([...shape.map((each, i) => (i === k ? 1 : each)), 1])]);
    });
    const all = axis === 0 ? listed : graph.node("Concat", [...before, listed], { axis: axis + 1 });
    return graph.node("ScatterND", [x, all, rows]);
  },
  evaluate([x, places, rows], y, { axis }) {
    y.values.set(x!.values);
    const inner = sizeOf(x!.shape.slice(axis + 1));
    const [count, size] = [places!.shape[axis]!, x!.shape[axis]!];
    for (const [at, place] of places!.values.entries())
      for (let k = 0; k < inner; k++)
        y.values[(Math.floor(at / count) * size + place) * inner + k] = rows!.values[at * inner + k]!;
  },
  samples: (random) => [
    {
      inputs: [
        random.real(2, 5, 3),
        { shape: [2, 2], dtype: "int32", values: Float64Array.of(4, 0, 1, 2) },
        random.real(2, 2, 3),
      ],
      params: { axis: 1 },
    },
    {
      inputs: [random.real(4, 2, 2), { shape: [1], dtype: "int32", values: Float64Array.of(3) }, random.real(1, 2, 2)],
      params: { axis: 0 },
    },
  ],
  indices: ([x], { axis }) => ({ input: 1, below: x!.shape[axis]! }),
});
