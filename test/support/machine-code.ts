/** A few kernel ops whose machine code is held byte by byte: what each part of the code generator writes. */
import { x64 } from "../../src/engine/node/jit/x64/index.ts";
import type { AnyKernelOp, Kernel } from "../../src/kernel/kernel.ts";

const adam: Kernel = {
  // Parameter, gradient, both moments, then the rate: m ← 0.9·m + 0.1·g, v ← 0.999·v + 0.001·g², p ← p − rate·m / (√v + ε).
  inputs: ["full", "full", "full", "full", "scalar"],
  steps: [
    0.8999999761581421,
    ["mul", 2, 5],
    0.10000000149011612,
    ["mul", 1, 7],
    ["add", 6, 8],
    ["mul", 1, 1],
    0.0010000000474974513,
    ["mul", 10, 11],
    0.9990000128746033,
    ["mul", 3, 13],
    ["add", 14, 12],
    ["sqrt", 15],
    9.99999993922529e-9,
    ["add", 16, 17],
    ["mul", 9, 4],
    ["div", 19, 18],
    ["sub", 0, 20],
  ],
  outputs: [21, 9, 15],
  size: 100_000,
  width: 100_000,
};

/** A bias by columns, a scale by rows, and a relu whose mask is a comparison. */
const rows: Kernel = {
  inputs: ["full", "row", "column"],
  steps: [["add", 0, 1], ["mul", 3, 2], 0, ["less", 5, 4], ["select", 6, 4, 5]],
  outputs: [7],
  size: 64 * 100,
  width: 100,
};

/** The gates of a recurrent cell: three parts of one tensor's rows. */
const parts: Kernel = {
  inputs: [
    { part: 0, of: 3 },
    { part: 1, of: 3 },
    { part: 2, of: 3 },
  ],
  steps: [
    ["fma", 0, 1, 2],
    ["max", 0, 3],
    ["neg", 4],
    ["abs", 5],
    ["round", 6],
  ],
  outputs: [7],
  size: 4 * 32,
  width: 32,
};

export const heldOps: Readonly<Record<string, AnyKernelOp>> = {
  adam: { name: "adam", kernel: adam, shapes: [[100_000], [100_000], [100_000]] },
  rows: { name: "rows", kernel: rows, shapes: [[64, 100]] },
  parts: { name: "parts", kernel: parts, shapes: [[4, 32]] },
  guard: { name: "guard", sizes: [1000, 10] },
  lengths: { name: "lengths", width: 1000, shape: [8] },
  product: {
    name: "product",
    form: { transposeA: true, transposeB: true, alpha: 0.5, added: { layout: "row", beta: 1 } },
    of: { count: 1, m: 100, n: 200, k: 300, sharesB: false },
    shape: [100, 200],
  },
  random: { name: "random", shape: [1000], size: 1000, bits: 24, dtype: "float32" },
};

/** The bytes of an op's code alone, and those of the functions that all ops share. */
export function heldCode(): ReadonlyMap<string, Uint8Array> {
  const code = new Map([["shared", x64.shared().bytes]]);
  for (const [name, op] of Object.entries(heldOps))
    code.set(name, x64.program([{ op, key: name, inPlace: [] }], 0).bytes);
  return code;
}
