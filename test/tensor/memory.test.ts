/** What a tensor is made of is its own: neither a user's arrays nor a user's shapes can change it, or break what is compiled. */
import { describe, expect, test } from "vitest";
import {
  compile,
  fromValues,
  full,
  nodeEngine,
  plainEngine,
  type Tensor,
  tensor,
  toTensor,
  useEngine,
  zeros,
} from "../../src/node.ts";
import { Parameter, State } from "../../src/tensor/state.ts";

const takeAway = ({ buffer }: Float32Array): void => void structuredClone(buffer, { transfer: [buffer] });

/** An array whose memory can be shrunk; the compiler's library does not know of it yet. */
function resizable(values: readonly number[]): { readonly array: Float32Array; shrink(): void } {
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(bytes: number): void };
  const buffer = new Resizable(4 * values.length, { maxByteLength: 8 * values.length });
  const array = new Float32Array(buffer);
  array.set(values);
  return { array, shrink: () => buffer.resize(4) };
}

describe.each([
  ["plain", () => plainEngine()],
  ["node", () => nodeEngine({ threads: 1, onTheSpot: 0 })],
] as const)("on the %s engine", (_, engine) => {
  test("a user's array may be written to, transferred or shrunk at any time", async () => {
    useEngine(engine());
    const double = compile((x: Tensor) => x.mul(2).sum());
    const make: readonly ((values: Float32Array) => Tensor)[] = [
      (values) => toTensor({ shape: [4096], dtype: "float32", values }),
      (values) => fromValues(values, [4096]),
      (values) => new Parameter({ shape: [4096], dtype: "float32" }, values),
      (values) => {
        const state = new State({ shape: [4096], dtype: "float32" }, new Float32Array(4096));
        state.write(values);
        return state;
      },
    ];
    for (const from of make) {
      const ones = (): number[] => Array<number>(4096).fill(1);
      const [written, taken, shrunk] = [Float32Array.from(ones()), Float32Array.from(ones()), resizable(ones())];
      const sums = [written, taken, shrunk.array].map((values) => double(from(values)));
      written.fill(Number.NaN);
      takeAway(taken);
      shrunk.shrink();
      const later = double(from(Float32Array.from(ones()))); //  the runs above are under way
      expect(await Promise.all([...sums, later].map((sum) => sum.item()))).toEqual([8192, 8192, 8192, 8192]);
    }
  });

  test("a view of a larger memory is copied, a Buffer's too", async () => {
    useEngine(engine());
    const bytes = Buffer.from([1, 0, 1]);
    const mask = toTensor({ shape: [3], dtype: "bool", values: bytes });
    const other = fromValues(bytes, [3]);
    bytes.fill(0);
    expect(await mask.array()).toEqual([true, false, true]);
    expect(await other.array()).toEqual([true, false, true]);
  });

  test("shapes and parameters of ops cannot be changed, and the compiled function goes on", async () => {
    useEngine(engine());
    const shape: [number, number] = [2, 3];
    const f = compile((x: Tensor<[2, 3], "float32">) => ({
      y: x.mul(2),
      z: x.transpose(1, 0).sum(0, { keepDims: true }),
    }));
    const x = zeros(shape);
    const state = new State({ shape, dtype: "float32" }, new Float32Array(6));
    shape[0] = 99; //  the user's own
    const { y, z } = f(x as Tensor<[2, 3], "float32">);
    for (const made of [x, y, z, state, tensor([[1, 2]]), full([2], 1), y.reshape([3, 2]), state.current()]) {
      const sizes = made.shape as number[];
      expect(() => (sizes[0] = 5)).toThrow(TypeError);
      expect(() => sizes.push(1)).toThrow(TypeError);
      expect(Object.isFrozen(made.node.params ?? made.node.outputs)).toBe(true);
    }
    expect(x.shape).toEqual([2, 3]);
    expect(await f(x as Tensor<[2, 3], "float32">).y.array()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });
});

test("an array of another kind or length is refused", () => {
  const wrong = { shape: [4], dtype: "float32" as const };
  expect(() => toTensor({ ...wrong, values: new Float32Array(3) })).toThrowErrorMatchingInlineSnapshot(`
    [DataError: toTensor: float32[4] needs 4 values, and got 3
      fix: make shape and values agree]
  `);
  expect(() => toTensor({ ...wrong, values: new Float64Array(4) })).toThrowErrorMatchingInlineSnapshot(`
    [DataError: toTensor: values of float32 should be in Float32Array, and came in Float64Array
      fix: pass the array of the dtype, or name the dtype of the array]
  `);
  const taken = new Float32Array(4);
  takeAway(taken);
  expect(() => toTensor({ ...wrong, values: taken })).toThrow("needs 4 values, and got 0");
  const state = new State(wrong, new Float32Array(4), { name: "w" });
  expect(() => state.write(new Float64Array(4))).toThrowErrorMatchingInlineSnapshot(`
    [DTypeError: write: a Float64Array for w, float32[4]
      fix: give a Float32Array]
  `);
  expect(() => new State(wrong, taken)).toThrow("0 values");
});
