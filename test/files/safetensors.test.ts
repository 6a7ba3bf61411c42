import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FormatError } from "../../src/errors.ts";
import { decodeSafetensors, encodeSafetensors, type NamedValues } from "../../src/files/safetensors.ts";
import { arrayTypes, type DType, sizeOf } from "../../src/graph/types.ts";
import { complaint } from "../support/complaint.ts";

/** A file put together by hand: any header, any data. */
function file(header: string | object, data: ArrayLike<number> = []): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

/** A file with one tensor, `x`, of the given dtype and raw bytes. */
function one(dtype: string, shape: readonly number[], data: ArrayLike<number>): Uint8Array {
  return file({ x: { dtype, shape, data_offsets: [0, data.length] } }, data);
}

const bytesOf = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

const f32 = (shape: readonly number[], ...values: number[]): NamedValues => ({
  shape,
  dtype: "float32",
  values: Float32Array.from(values),
});

/** The message of the FormatError that reading `bytes` ends in. */
const refusal = (bytes: Uint8Array): string =>
  complaint(FormatError, () => decodeSafetensors(bytes, "model.safetensors"));

describe("the format, byte by byte", () => {
  // The example in the documentation of the reference implementation (safetensors, tensor.rs), with its own bytes.
  const published = [
    ..."<\0\0\0\0\0\0\0",
    ...'{"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}',
    ..."\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
  ].map((character) => character.charCodeAt(0));

  test("reads the published example", () => {
    const { tensors, metadata } = decodeSafetensors(Uint8Array.from(published));
    expect([...tensors]).toEqual([["test", { shape: [2, 2], dtype: "int32", values: new Int32Array(4) }]]);
    expect(metadata).toEqual({});
  });

  test("writes each byte where it belongs: large elements first, then by name, the header padded with spaces", () => {
    const bytes = encodeSafetensors(
      new Map<string, NamedValues>([
        ["mask", { shape: [3], dtype: "bool", values: Uint8Array.of(1, 0, 1) }],
        ["2", { shape: [], dtype: "int32", values: Int32Array.of(-2) }],
        ["b", f32([1], 1)],
        ["a", f32([2], 1, -2)],
        ["z", { shape: [1, 1], dtype: "float64", values: Float64Array.of(1) }],
      ]),
      { format: "pt" },
    );
    const header =
      '{"__metadata__":{"format":"pt"},' +
      '"z":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]},' +
      '"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},' +
      '"b":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},' +
      '"2":{"dtype":"I32","shape":[],"data_offsets":[20,24]},' +
      '"mask":{"dtype":"BOOL","shape":[3],"data_offsets":[24,27]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8, " ");
    expect([...bytes]).toEqual([
      ...[padded.length & 0xff, padded.length >> 8, 0, 0, 0, 0, 0, 0],
      ...new TextEncoder().encode(padded),
      ...[0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
      ...[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0],
      ...[0, 0, 0x80, 0x3f],
      ...[0xfe, 0xff, 0xff, 0xff],
      ...[1, 0, 1],
    ]);
  });

  test("no tensors and no metadata make the smallest file there is", () => {
    const bytes = encodeSafetensors(new Map());
    expect([...bytes]).toEqual([8, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode("{}      ")]);
    expect(decodeSafetensors(bytes)).toEqual({ tensors: new Map(), metadata: {} });
  });
});

describe("reading dtypes", () => {
  const values = (bytes: Uint8Array): [DType, number[]] => {
    const { dtype, values } = decodeSafetensors(bytes).tensors.get("x")!;
    return [dtype, [...values]];
  };

  test("F16 becomes float32: ones, subnormals, the largest, infinities, NaN, both zeros", () => {
    const halves = Uint16Array.of(
      0x3c00,
      0xc000,
      0x0001,
      0x83ff,
      0x0400,
      0x7bff,
      0x7c00,
      0xfc00,
      0x7e01,
      0x0000,
      0x8000,
      0x3555,
    );
    const [dtype, numbers] = values(one("F16", [12], bytesOf(halves)));
    expect(dtype).toBe("float32");
    expect(numbers).toEqual([
      ...[1, -2, 2 ** -24, -1023 * 2 ** -24, 2 ** -14, 65504],
      ...[Infinity, -Infinity, NaN, 0, -0, 0x555 * 2 ** -12],
    ]);
  });

  test("every finite F16 is what its bits say", () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const [, numbers] = values(one("F16", [65536], bytesOf(halves)));
    for (let bits = 0; bits < 65536; bits++) {
      const exponent = (bits >> 10) & 31;
      const mantissa = bits & 1023;
      const size = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
      const expected =
        (bits >> 15 ? -1 : 1) * (exponent < 31 ? size : mantissa ? Number.NaN : Number.POSITIVE_INFINITY);
      if (!Object.is(numbers[bits], expected)) expect.fail(`0x${bits.toString(16)}: ${numbers[bits]}, not ${expected}`);
    }
  });

  test("BF16 becomes float32", () => {
    const halves = Uint16Array.of(0x3f80, 0xc000, 0x0001, 0x7f80, 0xff80, 0x7fc0, 0x8000, 0x4049);
    const [dtype, numbers] = values(one("BF16", [8], bytesOf(halves)));
    expect(dtype).toBe("float32");
    expect(numbers).toEqual([1, -2, 2 ** -133, Infinity, -Infinity, NaN, -0, 3.140625]);
  });

  test("I64 becomes int32 up to its limits", () => {
    const [dtype, numbers] = values(one("I64", [4], bytesOf(BigInt64Array.of(0n, -1n, 2147483647n, -2147483648n))));
    expect(dtype).toBe("int32");
    expect(numbers).toEqual([0, -1, 2147483647, -2147483648]);
  });

  test.each([2147483648n, -2147483649n, 2n ** 62n, -(2n ** 63n)])("I64 %s does not fit and is refused", (value) => {
    expect(refusal(one("I64", [2], bytesOf(BigInt64Array.of(7n, value))))).toBe(
      `model.safetensors: tensor "x": I64 is read into int32, and element 1 is ${value}\n` +
        "  fix: store values from -2147483648 to 2147483647",
    );
  });

  test("small integers become int32", () => {
    expect(values(one("U8", [2], [0, 255]))).toEqual(["int32", [0, 255]]);
    expect(values(one("I8", [2], [128, 127]))).toEqual(["int32", [-128, 127]]);
    expect(values(one("I16", [2], [0, 128, 255, 127]))).toEqual(["int32", [-32768, 32767]]);
    expect(values(one("U16", [2], [0, 128, 255, 255]))).toEqual(["int32", [32768, 65535]]);
  });

  test("every array has a buffer of its own, whatever the file lies in", () => {
    const inner = encodeSafetensors(
      new Map([
        ["a", f32([3], 1, 2, 3)],
        ["b", f32([], 4)],
      ]),
      { note: "odd" },
    );
    for (const shift of [0, 1, 3]) {
      const pool = Buffer.alloc(inner.length + 8);
      pool.set(inner, shift);
      const { tensors } = decodeSafetensors(pool.subarray(shift, shift + inner.length));
      pool.fill(0xff);
      expect(tensors.get("a")).toEqual(f32([3], 1, 2, 3));
      for (const { values } of tensors.values()) expect(values.buffer.byteLength).toBe(values.byteLength);
      expect(tensors.get("a")!.values.buffer).not.toBe(tensors.get("b")!.values.buffer);
    }
  });
});

const dtypes: readonly DType[] = ["float32", "float64", "int32", "bool"];

const someTensor: fc.Arbitrary<NamedValues> = fc
  .tuple(fc.constantFrom(...dtypes), fc.array(fc.nat({ max: 4 }), { maxLength: 4 }))
  .chain(([dtype, shape]) => {
    const element =
      dtype === "bool"
        ? fc.nat({ max: 1 })
        : dtype === "int32"
          ? fc.integer()
          : fc.double().map(dtype === "float32" ? Math.fround : (x) => x);
    const size = sizeOf(shape);
    return fc
      .array(element, { minLength: size, maxLength: size })
      .map((values) => ({ shape, dtype, values: arrayTypes[dtype].from(values) }));
  });

const text = fc.string({ unit: "binary" }).filter((name) => name !== "__proto__" && name !== "__metadata__");
const someFile = fc.tuple(
  fc.array(fc.tuple(text, someTensor), { maxLength: 5 }).map((entries) => new Map(entries)),
  fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
);

describe("round trip", () => {
  test("what was written is read again, and written again gives the same bytes", () => {
    fc.assert(
      fc.property(someFile, ([tensors, metadata]) => {
        const bytes = encodeSafetensors(tensors, metadata);
        const read = decodeSafetensors(bytes);
        expect(read.metadata).toEqual(metadata);
        expect(new Set(read.tensors.keys())).toEqual(new Set(tensors.keys()));
        for (const [name, tensor] of tensors) expect(read.tensors.get(name)).toEqual(tensor);
        expect(encodeSafetensors(read.tensors, read.metadata)).toEqual(bytes);
      }),
    );
  });

  test("each tensor starts at a multiple of its element's size", () => {
    fc.assert(
      fc.property(someFile, ([tensors, metadata]) => {
        const bytes = encodeSafetensors(tensors, metadata);
        const length = new DataView(bytes.buffer).getUint32(0, true);
        expect((8 + length) % 8).toBe(0);
        const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<
          string,
          { data_offsets: [number, number] }
        >;
        for (const [name, { values }] of tensors)
          expect(header[name]!.data_offsets[0] % values.BYTES_PER_ELEMENT).toBe(0);
      }),
    );
  });
});

describe("hostile files", () => {
  const entry = (fields: object): Uint8Array =>
    file({ x: { dtype: "F32", shape: [2], data_offsets: [0, 8], ...fields } }, new Uint8Array(8));

  test("shorter than the length of its header", () => {
    expect(refusal(Uint8Array.of(1, 2, 3))).toMatchInlineSnapshot(`
      "model.safetensors: a safetensors file starts with 8 bytes that hold the length of its header, and the file has 3
        fix: check that this is a safetensors file and was downloaded to its end"
    `);
  });

  test("a header over the limit", () => {
    expect(refusal(Uint8Array.of(1, 225, 245, 5, 0, 0, 0, 0))).toMatchInlineSnapshot(`
      "model.safetensors: its first 8 bytes announce a header of 100000001 bytes, where at most 100000000 are accepted
        fix: check that this is a safetensors file, and not a pickle, an archive or a web page"
    `);
    expect(refusal(new Uint8Array(64).fill(0xff))).toMatch("a header of 18446744073709552000 bytes");
  });

  test("a header past the end of the file", () => {
    expect(refusal(Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 123, 125))).toMatchInlineSnapshot(`
      "model.safetensors: its first 8 bytes announce a header of 9 bytes, and only 2 follow
        fix: check that this is a safetensors file and was downloaded to its end"
    `);
  });

  test("a header that is not UTF-8", () => {
    expect(refusal(Uint8Array.of(4, 0, 0, 0, 0, 0, 0, 0, 123, 34, 0xff, 34))).toMatchInlineSnapshot(`
      "model.safetensors: its header is not UTF-8
        fix: check that this is a safetensors file and was written by a tool that keeps to the format"
    `);
  });

  test.each([
    '{"x":',
    "{'x':1}",
    '{"x":{"y":01}}',
    '{"x":{"y":"\\x"}}',
    '{"x":{"y":"a\nb"}}',
    '{"x',
    '{"x":{"y":[1}',
    "{} {}",
    "{,}",
  ])("a header that is not JSON (%#)", (header) => {
    expect(refusal(file(header))).toMatch(
      /^model\.safetensors: its header is not JSON: .*\n {2}fix: check that this is a safetensors file and was written by a tool that keeps to the format$/,
    );
  });

  test.each(["", "\ufeff{}", "[".repeat(200_000), "[]", "null", "3", '"x"', " {}"])(
    "a header that is not an object: %s",
    (header) => {
      expect(refusal(file(header))).toMatch(/^model\.safetensors: its header should be a JSON object, and got "/);
    },
  );

  test("a header that is a list", () => {
    expect(refusal(file("[1, 2]"))).toMatchInlineSnapshot(`
      "model.safetensors: its header should be a JSON object, and got "[1, 2]"
        fix: check that this is a safetensors file and was written by a tool that keeps to the format"
    `);
  });

  test("a name twice", () => {
    const x = '{"dtype":"F32","shape":[],"data_offsets":[0,4]}';
    expect(refusal(file(`{"x":${x},"\\u0078" : ${x}}`, [0, 0, 0, 0]))).toMatchInlineSnapshot(`
      "model.safetensors: its header has the key "x" twice
        fix: check that this is a safetensors file and was written by a tool that keeps to the format"
    `);
  });

  test("a field or a key of the metadata twice", () => {
    expect(refusal(file('{"x":{"dtype":"F32","dtype":"F64","shape":[],"data_offsets":[0,4]}}', [0, 0, 0, 0]))).toMatch(
      'its header has the key "dtype" twice',
    );
    expect(refusal(file('{"__metadata__":{"a\\"b":"1","a\\"b":"2"}}'))).toMatch('its header has the key "a\\"b" twice');
  });

  test("the same string as key in two objects, or as key and as value, is no duplicate", () => {
    const header = '{"__metadata__":{"x":"x","dtype":"{\\"x\\":"},"x":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}';
    expect(decodeSafetensors(file(header, [0, 0, 0, 0])).metadata).toEqual({ x: "x", dtype: '{"x":' });
  });

  test("more than the format has a use for", () => {
    for (const unknown of [`[${"1,".repeat(2_500_000)}`, `{"a":[${'"",'.repeat(2_000_000)}`])
      expect(refusal(file(`{"x":{"note":${unknown}`))).toMatch("more than 4000000 bytes beside dtype, shape and");
    const note = `{"dtype":"F32","shape":[],"note":[${"1,".repeat(100_000)}1],"data_offsets":[0,4]}`;
    expect(decodeSafetensors(file(`{"x":${note}}`, [0, 0, 0, 0])).tensors.size).toBe(1);
    const empty = Array.from({ length: 100_001 }, (_, i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`);
    expect(refusal(file(`{${empty.join()}}`))).toMatch("more than 100000 tensors without elements");
    expect(decodeSafetensors(file(`{${empty.slice(1).join()}}`)).tensors.size).toBe(100_000);
  });

  test("tensors of one shape share it, and nobody can change it", () => {
    const entries = ["a", "b"].map(
      (name, i) => `"${name}":{"dtype":"F32","shape":[1],"data_offsets":[${4 * i},${4 * i + 4}]}`,
    );
    const { tensors } = decodeSafetensors(file(`{${entries.join()}}`, new Array<number>(8).fill(0)));
    expect([...tensors.values()].map(({ shape }) => [shape, Object.isFrozen(shape)])).toEqual([
      [[1], true],
      [[1], true],
    ]);
  });

  test("an entry that is not an object", () => {
    expect(refusal(file({ x: [1, [2], { y: 3 }] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": its entry should be an object with dtype, shape and data_offsets, and got [1, an array, …]
        fix: write the file anew with a tool that keeps to the format"
    `);
    expect(refusal(file(`{"x":${"[".repeat(5000)}${"]".repeat(5000)}}`))).toMatch("and got [an array, …]");
  });

  test("a dtype nobody knows, or none", () => {
    expect(refusal(entry({ dtype: "F8_E4M3" }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": the dtype is "F8_E4M3", and one of F64, F32, F16, BF16, I64, I32, I16, U16, I8, U8, BOOL can be read
        fix: convert it to one of these"
    `);
    expect(refusal(entry({ dtype: undefined }))).toMatch("the dtype is nothing");
    expect(refusal(entry({ dtype: "constructor" }))).toMatch('the dtype is "constructor"');
    expect(refusal(entry({ dtype: { F32: 1 } }))).toMatch("the dtype is an object");
  });

  test.each([
    "[-1]",
    "[2.5]",
    "[9007199254740992]",
    "[1e300]",
    "[1e999]",
    '["2"]',
    "[null]",
    "[[2]]",
    "[-0]",
    "2",
    "null",
    "{}",
  ])("the shape %s", (shape) => {
    const header = `{"x":{"dtype":"F32","shape":${shape},"data_offsets":[0,8]}}`;
    expect(refusal(file(header, new Uint8Array(8)))).toMatch(
      'tensor "x": its shape should be an array of whole numbers, and got ',
    );
  });

  test("a negative size", () => {
    expect(refusal(entry({ shape: [2, -1] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": its shape should be an array of whole numbers, and got [2, -1]
        fix: write the file anew with a tool that keeps to the format"
    `);
  });

  test("a product beyond counting, also where a zero comes after", () => {
    expect(refusal(entry({ shape: [2 ** 27, 2 ** 26] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": the shape [134217728, 67108864] has more elements than can be counted
        fix: check the shape"
    `);
    expect(refusal(entry({ shape: [2 ** 40, 2 ** 40, 0], data_offsets: [0, 0] }))).toMatch(
      "more elements than can be counted",
    );
  });

  test("a shape larger than the file takes no memory", () => {
    expect(refusal(entry({ shape: [2 ** 40] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": F32[1099511627776] takes 4398046511104 bytes, and data_offsets [0, 8] give 8
        fix: write the file anew with a tool that keeps to the format"
    `);
  });

  test.each([[[-8, 0]], [[0.5, 8.5]], [[0, 2 ** 53]], [[0]], [[0, 4, 8]], [["0", "8"]], [null], [8]])(
    "the offsets %j",
    (offsets) => {
      expect(refusal(entry({ data_offsets: offsets }))).toMatch(
        'tensor "x": data_offsets should be two whole numbers, begin and end, and got ',
      );
    },
  );

  test("negative offsets", () => {
    expect(refusal(entry({ data_offsets: [-8, 0] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": data_offsets should be two whole numbers, begin and end, and got [-8, 0]
        fix: write the file anew with a tool that keeps to the format"
    `);
  });

  test("offsets the wrong way round", () => {
    expect(refusal(entry({ data_offsets: [8, 0] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": its data begin at 8 and end before, at 0
        fix: write the file anew with a tool that keeps to the format"
    `);
  });

  test("offsets past the end", () => {
    expect(refusal(entry({ data_offsets: [4, 12] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": its data end at 12, and the file has 8 bytes of data
        fix: check that the file was downloaded to its end"
    `);
  });

  test("offsets that do not go with the shape", () => {
    expect(refusal(entry({ shape: [3] }))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": F32[3] takes 12 bytes, and data_offsets [0, 8] give 8
        fix: write the file anew with a tool that keeps to the format"
    `);
  });

  const two = (a: [number, number], b: [number, number], length: number): Uint8Array =>
    file(
      {
        a: { dtype: "U8", shape: [a[1] - a[0]], data_offsets: a },
        b: { dtype: "U8", shape: [b[1] - b[0]], data_offsets: b },
      },
      new Uint8Array(length),
    );

  test("tensors that overlap", () => {
    expect(refusal(two([0, 4], [3, 8], 8))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "b": its data begin at 3, inside those of "a", which end at 4
        fix: write the file anew with a tool that keeps to the format"
    `);
    expect(refusal(two([0, 4], [0, 4], 4))).toMatch('tensor "b": its data begin at 0, inside those of "a"');
    expect(refusal(two([0, 4], [2, 2], 4))).toMatch('tensor "b": its data begin at 2, inside those of "a"');
  });

  test("a hole between tensors, and before the first", () => {
    expect(refusal(two([0, 4], [5, 8], 8))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "b": its data begin at 5, and bytes 4 to 5 belong to no tensor
        fix: write the file anew with a tool that keeps to the format"
    `);
    expect(refusal(two([4, 8], [2, 4], 8))).toMatch(
      'tensor "b": its data begin at 2, and bytes 0 to 2 belong to no tensor',
    );
  });

  test("data after the last tensor", () => {
    expect(refusal(two([0, 4], [4, 8], 9))).toMatchInlineSnapshot(`
      "model.safetensors: the tensors end at byte 8 of the data, and the file has 9
        fix: write the file anew with a tool that keeps to the format"
    `);
    expect(refusal(file({}, [0]))).toMatch("the tensors end at byte 0 of the data, and the file has 1");
  });

  test("empty tensors lie between others without a hole", () => {
    expect([...decodeSafetensors(two([4, 4], [0, 4], 4)).tensors.keys()]).toEqual(["a", "b"]);
  });

  test("metadata that are not strings", () => {
    expect(refusal(file({ __metadata__: { epoch: 3 } }))).toMatchInlineSnapshot(`
      "model.safetensors: its metadata should be strings, and "epoch" is 3
        fix: give metadata as an object of strings; numbers and lists go in as JSON text"
    `);
    expect(refusal(file({ __metadata__: { nested: { a: "b" } } }))).toMatch('"nested" is an object');
    expect(refusal(file({ __metadata__: ["a"] }))).toMatchInlineSnapshot(`
      "model.safetensors: its metadata should be an object of strings, and got ["a"]
        fix: give metadata as an object of strings; numbers and lists go in as JSON text"
    `);
    expect(refusal(file({ __metadata__: null }))).toMatch("an object of strings, and got null");
  });

  test("names that mean something to JavaScript", () => {
    const x = '{"dtype":"F32","shape":[],"data_offsets":[0,4]}';
    expect(refusal(file(`{"__proto__":${x}}`, [0, 0, 0, 0]))).toMatchInlineSnapshot(`
      "model.safetensors: a tensor is called "__proto__", which has another meaning
        fix: give the tensor another name"
    `);
    expect(refusal(file('{"__metadata__":{"__proto__":"x"}}'))).toMatchInlineSnapshot(`
      "model.safetensors: its metadata have the key "__proto__"
        fix: give the key another name"
    `);
    expect([...decodeSafetensors(file(`{"constructor":${x}}`, [0, 0, 0, 0])).tensors.keys()]).toEqual(["constructor"]);
  });

  test("a name with half a surrogate pair", () => {
    expect(
      refusal(file('{"\\ud800":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}', [0, 0, 0, 0])),
    ).toMatchInlineSnapshot(`
      "model.safetensors: the name of a tensor is not Unicode text: "\\ud800"
        fix: remove the half of a surrogate pair in it"
    `);
  });

  test("a bool that is neither 0 nor 1", () => {
    expect(refusal(one("BOOL", [3], [1, 0, 2]))).toMatchInlineSnapshot(`
      "model.safetensors: tensor "x": a bool is stored as 0 or 1, and element 2 is 2
        fix: store other values than 0 and 1 as U8"
    `);
  });

  test("names of megabytes, and messages that stay short", () => {
    const named = (name: string): string =>
      refusal(file(`{"${name}": {"dtype":"F32","shape":[],"data_offsets":[0,4]}}`));
    expect(named("n".repeat(5_000_000))).toMatchInlineSnapshot(`
      "model.safetensors: the name at byte 1 of its header has 5000000 bytes, where at most 65536 are accepted
        fix: give the tensor a shorter name"
    `);
    const message = named("n".repeat(60_000));
    expect(message.length).toBeLessThan(300);
    expect(message).toMatch(
      /^model\.safetensors: tensor "n{80}…": its data end at 4, and the file has 0 bytes of data/,
    );
  });
});

describe("writing what nobody could read", () => {
  const write = (name: string, tensor: NamedValues, metadata?: Record<string, string>): string =>
    complaint(FormatError, () => encodeSafetensors(new Map([[name, tensor]]), metadata));

  test("is refused", () => {
    expect(write("w", f32([2, 2], 1, 2, 3))).toMatchInlineSnapshot(`
      "encodeSafetensors: tensor "w": float32[2, 2] needs 4 values, and got 3
        fix: make shape and values agree"
    `);
    expect(write("w", { shape: [1], dtype: "int32", values: Float32Array.of(1) })).toMatchInlineSnapshot(`
      "encodeSafetensors: tensor "w": values of int32 should be in Int32Array, and came in Float32Array
        fix: pass the array of the dtype"
    `);
    expect(write("w", { shape: [1], dtype: "bool", values: Uint8Array.of(7) })).toMatch("a bool is stored as 0 or 1");
    expect(write("w", f32([-1]))).toMatch("a shape should be made of whole numbers, and got [-1]");
    expect(write("__metadata__", f32([], 1))).toMatchInlineSnapshot(`
      "encodeSafetensors: a tensor is called "__metadata__", which has another meaning
        fix: give the tensor another name"
    `);
    expect(write("w", f32([], 1), { epoch: 3 as unknown as string })).toMatch(
      'its metadata should be strings, and "epoch" is 3',
    );
  });
});

describe("corruption", () => {
  /** Reads bytes that may be anything: either a FormatError or tensors that the file can hold. */
  function readAnything(bytes: Uint8Array): void {
    try {
      let total = 0;
      for (const { shape, values } of decodeSafetensors(bytes, "fuzz").tensors.values()) {
        expect(values.length).toBe(sizeOf(shape));
        total += values.byteLength;
      }
      // U8 and I8 grow to int32.
      expect(total).toBeLessThanOrEqual(4 * bytes.length);
    } catch (error) {
      expect(error).toBeInstanceOf(FormatError);
    }
  }

  test("flipped and cut bytes give a FormatError or another valid file, and never more memory than the file justifies", () => {
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(someFile, flips, fc.option(fc.nat()), ([tensors, metadata], changes, cut) => {
        const bytes = encodeSafetensors(tensors, metadata);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        readAnything(cut === null ? bytes : bytes.subarray(0, cut % bytes.length));
      }),
      { numRuns: 3000 },
    );
  });

  test("every single bit of a small file", () => {
    const bytes = encodeSafetensors(
      new Map([
        ["weight", f32([2, 1], 1, 2)],
        ["b", f32([0])],
      ]),
      { format: "pt" },
    );
    for (let at = 0; at < bytes.length; at++)
      for (let bit = 0; bit < 8; bit++) {
        bytes[at]! ^= 1 << bit;
        readAnything(bytes);
        bytes[at]! ^= 1 << bit;
      }
    for (let length = 0; length < bytes.length; length++)
      expect(() => decodeSafetensors(bytes.subarray(0, length))).toThrow(FormatError);
  });

  test("bytes at random", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), readAnything), { numRuns: 2000 });
  });
});
