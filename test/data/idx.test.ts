/** IDX files: what they hold, and what is none. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeIdx } from "../../src/data/idx.ts";
import { ConfigError, FormatError } from "../../src/errors.ts";
import { complaint } from "../support/complaint.ts";
import { idx } from "../support/idx.ts";

describe("an IDX file", () => {
  test.each([
    [0x08, Uint8Array.of(0, 255, 7, 1, 2, 3)],
    [0x09, Int8Array.of(-128, 127, 0, 1, -1, 5)],
    [0x0b, Int16Array.of(-32768, 32767, 258, 1, 0, -2)],
    [0x0c, Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 16909060, 0, 1, 2)],
    [0x0d, Float32Array.of(0.5, -1e30, Infinity, NaN, 3, -0)],
    [0x0e, Float64Array.of(0.1, 1e300, -Infinity, NaN, 3, -0)],
  ] as const)("of the type %i gives its numbers in the array of their type", (code, values) => {
    expect(decodeIdx(idx(code, [2, 3], values))).toEqual({ shape: [2, 3], values });
  });

  test("may lie anywhere in a buffer", () => {
    const file = idx(0x0d, [2], Float32Array.of(1.5, -2));
    const shifted = new Uint8Array(file.length + 3);
    shifted.set(file, 3);
    expect(decodeIdx(shifted.subarray(3)).values).toEqual(Float32Array.of(1.5, -2));
  });
});

const good = idx(0x08, [2, 3], Uint8Array.of(1, 2, 3, 4, 5, 6));

test.each([
  ["empty", new Uint8Array(0), "it has 0 bytes, which is less than a header"],
  ["cut off in the header", good.subarray(0, 9), "it has 9 bytes, which is less than a header"],
  ["cut off in the values", good.subarray(0, 15), "[2, 3] takes 18 bytes, and there are 15"],
  ["followed by others", Uint8Array.from([...good, 0]), "takes 18 bytes, and there are 19"],
  ["of an unknown type", Uint8Array.of(0, 0, 10, 1, 0, 0, 0, 0), "begins with the bytes 00 00 0a 01"],
  ["without axes", Uint8Array.of(0, 0, 8, 0), "which is no IDX file"],
  ["a text", new TextEncoder().encode("a,b\n1,2\n"), "begins with the bytes 61 2c 62 0a"],
  ["of a size beyond memory", Uint8Array.of(0, 0, 14, 2, ...new Array(8).fill(255)), "GiB"],
  ["of sizes whose product is no number", Uint8Array.of(0, 0, 14, 8, ...new Array(32).fill(255)), "GiB"],
])("a file that is %s is refused", (_, bytes, sentence) => {
  expect(complaint(FormatError, () => decodeIdx(bytes, "file.idx"))).toContain(sentence);
});

test("what is no bytes is refused", () => {
  expect(complaint(ConfigError, () => decodeIdx("file.idx" as never))).toContain("the bytes of a file");
});

test("500 mutated files are read, or refused by an error of ours", () => {
  const read = fc.record({
    code: fc.constantFrom(0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e),
    at: fc.nat(40),
    byte: fc.nat(255),
    cut: fc.nat(60),
    seed: fc.uint8Array({ maxLength: 24 }),
  });
  let refused = 0;
  fc.assert(
    fc.property(read, ({ code, at, byte, cut, seed }) => {
      const bytes = idx(code, [seed.length], new Uint8Array(seed)).slice(0, 8 + cut);
      if (at < bytes.length) bytes[at] = byte;
      try {
        const { shape, values } = decodeIdx(bytes);
        expect(values.length).toBe(shape.reduce((product, axis) => product * axis, 1));
      } catch (error) {
        expect(error).toBeInstanceOf(FormatError);
        refused++;
      }
    }),
    { numRuns: 500 },
  );
  expect(refused).toBeGreaterThan(50);
});
