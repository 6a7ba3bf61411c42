/** Large safetensors headers, right and wrong: how long each takes to be read or refused. `npm run headers`. */
import { decodeSafetensors } from "../../dist/node.js";

const encoder = new TextEncoder();

/** A file with a header and as many bytes of data as its entries may name. */
function fileOf(text, dataBytes) {
  const header = encoder.encode(text);
  const bytes = new Uint8Array(8 + header.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  return bytes;
}

/** Entries of tensors of one float32 each. */
function entries(count, nameOf) {
  return Array.from(
    { length: count },
    (_, i) => `"${nameOf(i)}":{"dtype":"F32","shape":[1],"data_offsets":[${4 * i},${4 * i + 4}]}`,
  ).join(",");
}

const million = 1e6;
const cases = {
  "10 MB of [": () => fileOf("[".repeat(10 * million), 8),
  "98 MB of nested arrays": () => fileOf(`{"a":${"[".repeat(49 * million)}${"]".repeat(49 * million)}}`, 8),
  "40 MB of keys": () => fileOf(`{${Array.from({ length: 3 * million }, (_, i) => `"k${i}":{}`).join(",")}}`, 8),
  "real entries, wrong at the end": () =>
    fileOf(`{${entries(1.1 * million, (i) => `layers.${i}.w`)},x}`, 4.4 * million),
  "long names, wrong at the end": () => fileOf(`{${entries(1500, (i) => "n".repeat(63_000) + i)},x}`, 6000),
  "names of escapes, wrong at the end": () => fileOf(`{${entries(1500, (i) => "\\u0041".repeat(10_500) + i)},x}`, 6000),
  "one large value of metadata, wrong at the end": () =>
    fileOf(`{"__metadata__":{"a":"${"x".repeat(95 * million)}"},x}`, 8),
  "a million tensors": () => fileOf(`{${entries(million, (i) => `layers.${i}.w`)}}`, 4 * million),
};

for (const [name, make] of Object.entries(cases)) {
  const bytes = make();
  const before = process.cpuUsage();
  const started = performance.now();
  let outcome = "read";
  try {
    decodeSafetensors(bytes);
  } catch (error) {
    outcome = error.constructor.name === "FormatError" ? "refused" : `threw ${error}`;
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = [(performance.now() - started) / 1e3, (user + system) / 1e6].map((value) => value.toFixed(2));
  console.log(
    `${name} (${Math.round(bytes.length / million)} MB): ${outcome}, ${seconds[0]} s, ${seconds[1]} s of CPU`,
  );
}
