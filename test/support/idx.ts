/** IDX files to read. */

const writers = {
  8: [1, "setUint8"],
  9: [1, "setInt8"],
  11: [2, "setInt16"],
  12: [4, "setInt32"],
  13: [4, "setFloat32"],
  14: [8, "setFloat64"],
} as const;

/** The bytes of an IDX file. */
export function idx(code: number, shape: readonly number[], values: ArrayLike<number>): Uint8Array {
  const [size, write] = writers[code as keyof typeof writers];
  const header = 4 + 4 * shape.length;
  const view = new DataView(new ArrayBuffer(header + size * values.length));
  view.setUint8(2, code);
  view.setUint8(3, shape.length);
  for (const [axis, count] of shape.entries()) view.setUint32(4 + 4 * axis, count);
  for (let i = 0; i < values.length; i++) view[write](header + size * i, values[i]!);
  return new Uint8Array(view.buffer);
}
