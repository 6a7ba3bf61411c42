import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import {
  compile,
  diagonalMatrix,
  fromValues,
  gradients,
  read,
  singularValues,
  spectralEstimate,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/index.ts";
import { PhiloxStream } from "../../src/random/stream.ts";
import { Parameter } from "../../src/tensor/state.ts";

const engine = nodeEngine({ threads: 1 });
beforeEach(() => useEngine(engine));

const random = new PhiloxStream(4);
const parameter = (rows: number, columns: number): Parameter<[number, number], "float64"> =>
  new Parameter(
    { shape: [rows, columns], dtype: "float64" },
    Float64Array.from({ length: rows * columns }, () => random.normal()),
  );

describe.each([
  [30, 12],
  [12, 30],
  [1, 5],
  [5, 1],
])("the ends of the spectrum of %i × %i", (rows, columns) => {
  test("are approached from inside, run by run", async () => {
    const w = parameter(rows, columns);
    const estimate = compile(spectralEstimate(w));
    const values = (await singularValues(w).data()) as Float64Array;
    const [largest, smallest] = [values[0]!, values.at(-1)!];
    let last = { largest: 0, smallest: Infinity };
    for (let i = 0; i < 400; i++) {
      const { condition, ...ends } = await read(estimate());
      expect(ends.largest).toBeGreaterThanOrEqual(last.largest - 1e-12);
      expect(ends.largest).toBeLessThanOrEqual(largest + 1e-12);
      expect(ends.smallest).toBeGreaterThanOrEqual(smallest - 1e-12);
      expect(condition).toBeCloseTo(ends.largest / ends.smallest, 12);
      last = ends;
    }
    expect(last.largest / largest).toBeCloseTo(1, 6);
    expect(last.smallest / smallest).toBeCloseTo(1, 2);
  });
});

test("more iterations are more runs at once", async () => {
  const w = parameter(9, 7);
  const [one, five] = [compile(spectralEstimate(w)), compile(spectralEstimate(w, { iterations: 5 }))];
  for (let i = 0; i < 4; i++) await read(one());
  const { largest } = await read(five());
  expect((await read(one())).largest).toBeCloseTo(largest, 12);
});

test("the large end's gradient is u·vᵀ", async () => {
  const w = parameter(6, 4);
  const estimate = spectralEstimate(w, { iterations: 300 });
  const slopes = await read(gradients(estimate().largest, [w])[0]);
  for (const [i, j] of [
    [0, 0],
    [3, 2],
  ] as const) {
    const values = await w.data();
    const at = async (delta: number): Promise<number> => {
      const moved = values.slice();
      moved[4 * i + j]! += delta;
      return (await singularValues(fromValues(moved, [6, 4]) as Tensor<[6, 4]>).data())[0]!;
    };
    expect(slopes[i]![j]).toBeCloseTo(((await at(1e-5)) - (await at(-1e-5))) / 2e-5, 6);
  }
});

test("zeros have the ends 0, a singular matrix no finite condition", async () => {
  expect(await read(spectralEstimate(zeros([3, 2]))())).toEqual({ largest: 0, smallest: 0, condition: Number.NaN });
  const singular = diagonalMatrix(tensor([2, 1, 0])) as Tensor<[3, 3]>;
  const estimate = await read(spectralEstimate(singular, { iterations: 60 })());
  expect(estimate.largest).toBeCloseTo(2, 6);
  expect(estimate.condition).toBeGreaterThan(1e6);
});

test("what cannot be estimated is refused", () => {
  expect(() => spectralEstimate(zeros([2, 3, 4]) as never)).toThrowErrorMatchingInlineSnapshot(`
    [ShapeError: spectralEstimate: float32[2, 3, 4] is no matrix
      fix: reshape it to [rows, columns]]
  `);
  expect(() => spectralEstimate(zeros([2, 3], "int32"))).toThrowErrorMatchingInlineSnapshot(`
    [DTypeError: spectralEstimate: takes float32 or float64, and got int32[2, 3]
      fix: cast it: .cast("float32")]
  `);
  expect(() => spectralEstimate(zeros([0, 3]))).toThrow("is no matrix");
  expect(() => spectralEstimate(zeros([2, 3]), { iterations: 0 })).toThrowErrorMatchingInlineSnapshot(`
    [ConfigError: spectralEstimate: 0 iterations
      fix: give a whole number from 1 on]
  `);
});
