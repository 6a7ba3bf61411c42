/** Pooling: the largest element or the mean of each window. */
import { ShapeError } from "../errors.ts";
import { type Data, defineOp, expectType, floats, type Op, type Sampler } from "../graph/op.ts";
import { type Shape, sameShape, showShape, showType, sizeOf, type TensorType } from "../graph/types.ts";
import {
  convolutionInput,
  eachProduct,
  type WindowParams,
  windowAttributes,
  windowCounts,
  zeros,
} from "./convolution.ts";
import { gatherElements } from "./indexing.ts";

export interface PoolParams extends WindowParams {
  /** Size of the windows. */
  readonly kernel: Shape;
}

/** Calls `visit` with the position in x and in y of each element of each window, padding left out. */
function eachElement(x: Shape, y: Shape, params: PoolParams, visit: (x: number, y: number) => void): void {
  const [space, places] = [sizeOf(x.slice(2)), sizeOf(y.slice(2))];
  const one = (shape: Shape): Shape => [1, 1, ...shape];
  for (let image = 0; image < x[0]! * x[1]!; image++)
    eachProduct(one(x.slice(2)), one(params.kernel), one(y.slice(2)), { ...params, groups: 1 }, (atX, _, atY) =>
      visit(image * space + atX, image * places + atY),
    );
}

/** Calls `visit` with the position of the first maximum of each window in x, and that of the window in y. */
function eachMaximum(x: Data, y: Shape, params: PoolParams, visit: (x: number, y: number) => void): void {
  const best = new Map<number, number>();
  eachElement(x.shape, y, params, (atX, atY) => {
    const known = best.get(atY);
    if (known === undefined || x.values[atX]! > x.values[known]!) best.set(atY, atX);
  });
  for (const [atY, atX] of best) visit(atX, atY);
}

function poolShape(op: string, x: TensorType, params: PoolParams): Shape {
  const { shape } = x;
  if (shape.length !== params.kernel.length + 2)
    throw new ShapeError(
      op,
      `windows ${showShape(params.kernel)} for ${showType(x)}`,
      "x is [batch, channels, …] with one axis of space for each axis of the windows",
    );
  const counts = windowCounts(shape.slice(2), params.kernel, params);
  const isTooWide = params.padding.some(
    ([before, after], i) => Math.max(before, after) >= params.kernel[i]! * params.dilation[i]!,
  );
  if (counts.some((count) => count < 1) || isTooWide)
    throw new ShapeError(
      op,
      `windows ${showShape(params.kernel)} do not fit into ${showType(x)} with its padding`,
      "use smaller windows, and less padding than their size",
    );
  return [...shape.slice(0, 2), ...counts];
}

const poolAttributes = (params: PoolParams): Record<string, readonly number[]> => ({
  ...windowAttributes(params),
  kernel_shape: params.kernel,
});

/** The largest element of each window. Padding is never the largest. */
export const maxPool: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPool",
  dtypes: floats,
  shape: ([x], params) => poolShape("maxPool", x!, params),
  gradient: ([x], _y, dy, params) => [x!.apply(maxPoolInput, [dy], params)],
  onnx: (graph, [x], { params, outputTypes: [y] }) =>
    sizeOf(y!.shape) === 0 ? zeros(graph, y!) : graph.node("MaxPool", [x], poolAttributes(params)),
  evaluate: ([x], y, params) => eachMaximum(x!, y.shape, params, (atX, atY) => (y.values[atY] = x!.values[atX]!)),
  samples: poolSamples,
});

/** The transpose of `maxPool` as a map that picks elements, from x and dy: dy laid where the windows of x have their first maximum. */
export const maxPoolInput: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPoolInput",
  dtypes: floats,
  shape([x, dy], params) {
    const places = poolShape("maxPoolInput", x!, params);
    if (!sameShape(dy!.shape, places))
      throw new ShapeError(
        "maxPoolInput",
        `${showType(dy!)} for the windows ${showShape(places)} of ${showType(x!)}`,
        "its shape is that of the pooling's result",
      );
    return x!.shape;
  },
  // Where a window's maximum lies does not change with x, almost everywhere.
  gradient([x, dy], _dx, g, params) {
    const positions = x!.apply(maxPoolPositions, [], params).reshape([-1]);
    return [undefined, g.reshape([-1]).apply(gatherElements, [positions], { axis: 0 }).reshape(dy!.shape)];
  },
  onnx(graph, [x, dy], { params, inputTypes, outputTypes: [dx] }) {
    if (sizeOf(inputTypes[1]!.shape) === 0) return zeros(graph, dx!);
    const flat = graph.integers([-1]);
    const [, positions] = graph.nodes("MaxPool", [x], 2, poolAttributes(params));
    const laid = graph.node(
      "ScatterElements",
      [
        zeros(graph, { ...dx!, shape: [sizeOf(dx!.shape)] }),
        graph.node("Reshape", [positions, flat]),
        graph.node("Reshape", [dy, flat]),
      ],
      { axis: 0, reduction: "add" },
    );
    return graph.node("Reshape", [laid, graph.integers(dx!.shape)]);
  },
  evaluate([x, dy], dx, params) {
    eachMaximum(x!, dy!.shape, params, (atX, atY) => (dx.values[atX]! += dy!.values[atY]!));
  },
  samples: (random) =>
    poolSamples(random).map(({ inputs: [x], params }) => ({
      inputs: [x!, random.real(...poolShape("maxPoolInput", x!, params))],
      params,
    })),
});

/** The position of the first maximum of each window in x as one long vector: int32. */
export const maxPoolPositions: Op<PoolParams> = defineOp<PoolParams>({
  name: "maxPoolPositions",
  shape: ([x], params) => poolShape("maxPoolPositions", x!, params),
  dtype([x]) {
    expectType("maxPoolPositions", x!, floats);
    return "int32";
  },
  gradient: () => [undefined],
  onnx: (graph, [x], { params, outputTypes: [y] }) =>
    sizeOf(y!.shape) === 0
      ? zeros(graph, y!)
      : graph.cast(graph.nodes("MaxPool", [x], 2, poolAttributes(params))[1]!, "int32"),
  evaluate: ([x], y, params) => eachMaximum(x!, y.shape, params, (atX, atY) => (y.values[atY] = atX)),
  samples: poolSamples,
  limits: ([x]) => [0, sizeOf(x!.shape) - 1],
});

/** The mean of each window; padding counts as zeros. */
export const averagePool: Op<PoolParams> = defineOp<PoolParams>({
  name: "averagePool",
  dtypes: floats,
  onnxTypes: ["float32"],
  shape: ([x], params) => poolShape("averagePool", x!, params),
  gradient([x], _y, dy, { kernel, ...params }) {
    // Each channel by itself is convolved with windows of 1 / size.
    const images = x!.shape[0]! * x!.shape[1]!;
    const weight = dy.scalar(1 / sizeOf(kernel)).expandTo([1, 1, ...kernel]);
    const spread = dy
      .reshape([images, 1, ...dy.shape.slice(2)])
      .apply(convolutionInput, [weight], { ...params, groups: 1, space: x!.shape.slice(2) });
    return [spread.reshape(x!.shape)];
  },
  onnx: (graph, [x], { params, outputTypes }) =>
    sizeOf(outputTypes[0]!.shape) === 0
      ? zeros(graph, outputTypes[0]!)
      : graph.node("AveragePool", [x], { ...poolAttributes(params), count_include_pad: 1 }),
  evaluate([x], y, params) {
    const share = 1 / sizeOf(params.kernel);
    eachElement(x!.shape, y.shape, params, (atX, atY) => (y.values[atY]! += share * x!.values[atX]!));
  },
  samples: poolSamples,
});

function poolSamples(random: Sampler): { inputs: Data[]; params: PoolParams }[] {
  const make = (x: number[], kernel: number[], params: Partial<PoolParams> = {}) => ({
    inputs: [random.real(...x)],
    params: {
      kernel,
      stride: kernel,
      dilation: kernel.map(() => 1),
      padding: kernel.map(() => [0, 0] as const),
      ...params,
    },
  });
  return [
    make([2, 2, 4, 6], [2, 2]),
    make([1, 2, 5, 5], [3, 2], {
      stride: [1, 2],
      padding: [
        [1, 1],
        [0, 1],
      ],
    }),
    make([2, 1, 7], [2], { stride: [2] }),
    make([0, 2, 4, 4], [2, 2]),
  ];
}
