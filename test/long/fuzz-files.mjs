/**
 * Files from outside, mutated: `npm run fuzz -- [share]`. Each is read within a second or refused by an error of ours; nothing else may
 * be thrown. `share` makes the numbers of files smaller, as in `npm run fuzz -- 0.01`. Prints what came, and exits with 1 for a fault.
 */
import {
  decodeIdx,
  decodeSafetensors,
  decodeWeights,
  encodeSafetensors,
  encodeWeights,
  fitPreparation,
  GlissadeError,
  linear,
  parseCsv,
  parseJsonLines,
  preparation,
  standardizer,
} from "../../dist/node.js";

const share = Number(process.argv[2] ?? 1);
let state = Number(process.argv[3] ?? 1);
/** A whole number below `limit` (xorshift). */
function below(limit) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % limit;
}
const pick = (list) => list[below(list.length)];

function mutated(bytes) {
  const copy = Buffer.from(bytes);
  for (let i = 1 + below(6); i > 0; i--)
    copy[below(copy.length)] = pick([below(256), 0, 0xff, 0x22, 0x5b, 0x7b, 0x30 + below(10)]);
  const cut = below(4) === 0 ? copy.subarray(0, below(copy.length)) : copy;
  return new Uint8Array(below(8) === 0 ? Buffer.concat([cut, copy.subarray(0, below(copy.length))]) : cut);
}

const parts = [
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  '"',
  '"x"',
  '"dtype"',
  '"F32"',
  '"BOOL"',
  '"shape"',
  '"data_offsets"',
  '"__metadata__"',
  "[2]",
  "[0,8]",
  "-1",
  "1e9",
  "9007199254740993",
  "null",
  '"\\u0078"',
  '"\\ud800"',
  " ",
  "{}",
  '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}',
];

function header() {
  const text =
    below(2) === 0
      ? `{"x":${Array.from({ length: 1 + below(12) }, () => pick(parts)).join("")}}`
      : Array.from({ length: below(30) }, () => pick(parts)).join("");
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(8);
  length.writeUInt32LE(bytes.length + (below(10) === 0 ? below(5) : 0));
  return new Uint8Array(Buffer.concat([length, bytes, Buffer.alloc(8)]));
}

const some = encodeSafetensors(
  new Map([
    ["layers.0.weight", { shape: [2, 3], dtype: "float32", values: Float32Array.of(1, 2, 3, 4, 5, 6) }],
    ["steps", { shape: [], dtype: "int32", values: Int32Array.of(7) }],
    ["mask", { shape: [3], dtype: "bool", values: Uint8Array.of(1, 0, 1) }],
    ["empty", { shape: [0, 4], dtype: "float64", values: new Float64Array(0) }],
  ]),
  { format: "pt", note: "größer" },
);
const model = linear(3, 2);
const weights = await encodeWeights(model);
const statistics = JSON.stringify({ mean: [1, 2], deviation: [1, 0.5], kept: [0, 1] });

const csv = 'age,city,note,bought\n31,Rome,"a ""quote"", é",yes\r\n22,Paris,,no\n45,"New\nYork",x,yes\n';
const jsonLines = '{"age": 31, "city": "Rome"}\n{"age": null, "city": "Paris", "new": true}\n';
const people = parseCsv(csv, { label: "bought" });
const prepared = JSON.stringify(fitPreparation(people, { missing: "median" }));
const idx = new Uint8Array([0, 0, 0x0b, 2, 0, 0, 0, 2, 0, 0, 0, 3, ...Array(12).keys()]);
/** A mutated text; what is no UTF-8 becomes a sign for that. */
const text = (of) => new TextDecoder().decode(mutated(Buffer.from(of)));

const kinds = {
  "mutated safetensors files": [100_000, () => decodeSafetensors(mutated(some))],
  "headers of their parts": [20_000, () => decodeSafetensors(header())],
  "mutated checkpoints": [10_000, () => decodeWeights(model, mutated(weights))],
  "mutated statistics": [
    10_000,
    () => {
      let parsed;
      try {
        parsed = JSON.parse(Buffer.from(mutated(Buffer.from(statistics))).toString());
      } catch {
        return; //  whoever parses hears of it
      }
      standardizer(parsed);
    },
  ],
  "mutated CSV": [100_000, () => parseCsv(text(csv)).report()],
  "mutated JSON lines": [50_000, () => parseJsonLines(text(jsonLines)).report()],
  "mutated IDX files": [50_000, () => decodeIdx(mutated(idx))],
  "mutated preparations": [50_000, () => preparation(text(prepared)).apply([{ age: 1, city: "Rome", note: "x" }])],
};

let faults = 0;
for (const [name, [count, run]] of Object.entries(kinds)) {
  const total = Math.round(count * share);
  let [read, refused, slowest] = [0, 0, 0];
  for (let i = 0; i < total; i++) {
    const seed = state;
    const started = performance.now();
    try {
      run();
      read++;
    } catch (error) {
      if (error instanceof GlissadeError) refused++;
      else if (faults++ < 5) console.error(`${name}, state ${seed}:`, error);
    }
    slowest = Math.max(slowest, performance.now() - started);
  }
  if (slowest > 1000) faults++;
  console.log(`${name}: ${total}, read ${read}, refused ${refused}, slowest ${slowest.toFixed(1)} ms`);
}
process.exit(faults > 0 ? 1 : 0);
