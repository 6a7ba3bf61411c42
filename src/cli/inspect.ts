/** `glissade inspect`: what is in a checkpoint, a safetensors file or an ONNX model: layers, shapes, statistics. */
import { stat } from "node:fs/promises";
import path from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema, type TensorProto, TensorProto_DataType, type ValueInfoProto } from "onnx-buf";
import { show } from "../doctor/words.ts";
import { ConfigError, FormatError, printable } from "../errors.ts";
import { readFileChecked } from "../files/node/atomic.ts";
import { decodeSafetensors } from "../files/safetensors.ts";
import { jsonOf, pathsIn } from "../train/node/layout.ts";
import { stepOfCheckpoint } from "./checkpoint.ts";
import { bold, colour, dim, Table } from "./pictures.ts";

/** A tensor in a file, and what its numbers are like. */
interface Inspected {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly number[];
  readonly statistics?: Statistics;
}

interface Statistics {
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
  /** NaN and infinities, which the others leave out. */
  readonly nonFinite: number;
}

export async function inspectCommand(subject: string, { json }: { readonly json?: boolean }): Promise<number> {
  const file = await fileOf(subject);
  const bytes = await readFileChecked(file);
  if (/\.onnx$/i.test(file)) inspectOnnx(bytes, file, json ?? false);
  else if (/\.safetensors$/i.test(file)) {
    const { tensors, metadata } = decodeSafetensors(bytes, file);
    const all = [...tensors].map(([name, { dtype, shape, values }]) => ({
      name,
      type: dtype,
      shape,
      statistics: statisticsOf(values),
    }));
    const notes = Object.entries(metadata).map(([name, value]) => `${printable(name)}: ${printable(value)}`);
    if (json) console.log(jsonOf({ file, metadata, tensors: all }));
    else sayTensors(file, notes, all);
  } else
    throw new ConfigError(
      printable(subject),
      "it is no file that can be inspected",
      "give a run or checkpoint folder, or a file ending in .safetensors or .onnx",
    );
  return 0;
}

/** A file itself; of a checkpoint its weights; of a run those of its best checkpoint. */
async function fileOf(subject: string): Promise<string> {
  const found = await stat(subject).catch(() => undefined);
  if (!found?.isDirectory()) return subject;
  const isRun = await stat(path.join(subject, "config.json")).then(
    () => true,
    () => false,
  );
  const folder = isRun ? pathsIn(subject).checkpoint(await stepOfCheckpoint(subject, "best")) : subject;
  return path.join(folder, "model.safetensors");
}

function inspectOnnx(bytes: Uint8Array, file: string, json: boolean): void {
  let model: ReturnType<typeof fromBinary<typeof ModelProtoSchema>>;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw new FormatError(file, "is no ONNX model", "export it again", "", { cause });
  }
  const { graph, opsetImport, producerName } = model;
  if (!graph) throw new FormatError(file, "has no graph", "export it again");
  const counts = new Map<string, number>();
  for (const { opType } of graph.node) counts.set(opType, (counts.get(opType) ?? 0) + 1);
  const ops = Object.fromEntries([...counts].sort(([, a], [, b]) => b - a));
  const inside = new Set(graph.initializer.map(({ name }) => name));
  const ports = (all: readonly ValueInfoProto[]): { name: string; type: string }[] =>
    all.filter(({ name }) => !inside.has(name)).map((port) => ({ name: port.name, type: typeOfPort(port) }));
  const [inputs, outputs] = [ports(graph.input), ports(graph.output)];
  const tensors = graph.initializer.map(inspectedInitializer);
  const opset = opsetImport.map(({ domain, version }) => `${domain || "ai.onnx"} ${version}`).join(", ");
  if (json) {
    console.log(jsonOf({ file, opset, producer: producerName, inputs, outputs, ops, tensors }));
    return;
  }
  const list = (title: string, all: readonly { name: string; type: string }[]): string[] =>
    all.slice(0, 12).map(({ name, type }, i) => `${(i === 0 ? title : "").padEnd(8)} ${printable(name)}: ${type}`);
  const more = (all: readonly unknown[]): string[] => (all.length > 12 ? [`         and ${all.length - 12} more`] : []);
  const opTexts = Object.entries(ops).map(([op, count]) => `${printable(op)} × ${count}`);
  sayTensors(
    file,
    [
      `opset    ${printable(opset)}`,
      ...list("inputs", inputs),
      ...more(inputs),
      ...list("outputs", outputs),
      ...more(outputs),
      `ops      ${opTexts.join(", ")}`,
    ],
    tensors,
  );
}

/** The names and types of what an ONNX model takes. */
export function inputsOf(model: Uint8Array): string {
  const { graph } = fromBinary(ModelProtoSchema, model);
  return graph!.input.map((port) => `${printable(port.name)} ${typeOfPort(port)}`).join(", ");
}

function typeOfPort({ type }: ValueInfoProto): string {
  if (type?.value.case !== "tensorType") return type?.value.case ?? "unknown";
  const { elemType, shape } = type.value.value;
  const dims = shape?.dim.map(({ value }) => (value.case === undefined ? "?" : printable(String(value.value)))) ?? [
    "…",
  ];
  return `${nameOfType(elemType)}[${dims.join(", ")}]`;
}

const nameOfType = (code: number): string => (TensorProto_DataType[code] ?? `type ${code}`).toLowerCase();

function inspectedInitializer({ name, dataType, dims, rawData, floatData }: TensorProto): Inspected {
  const shape = dims.map(Number);
  const isFloat = dataType === TensorProto_DataType.FLOAT;
  const values =
    isFloat && rawData.length > 0 && rawData.length % 4 === 0
      ? new Float32Array(rawData.slice().buffer)
      : isFloat && floatData.length > 0
        ? Float32Array.from(floatData)
        : undefined;
  return { name, type: nameOfType(dataType), shape, ...(values && { statistics: statisticsOf(values) }) };
}

function statisticsOf(values: ArrayLike<number>): Statistics {
  let [sum, count, min, max] = [0, 0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!Number.isFinite(value)) continue;
    sum += value;
    count++;
    if (value < min) min = value;
    if (value > max) max = value;
  }
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (Number.isFinite(value)) squares += (value - mean) ** 2;
  }
  return { mean, std: Math.sqrt(squares / count), min, max, nonFinite: values.length - count };
}

function sayTensors(file: string, notes: readonly string[], tensors: readonly Inspected[]): void {
  const total = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  console.log(bold(printable(file)));
  for (const note of notes) console.log(dim(note));
  if (tensors.length === 0) {
    console.log("\nIt holds no tensors.");
    return;
  }
  const names = tensors.map(({ name }) => printable(name, 60));
  const types = tensors.map(({ type, shape }) => `${type}[${shape.join(", ")}]`);
  const widest = (all: readonly string[], least: number): number => Math.max(least, ...all.map((each) => each.length));
  const table = new Table([
    { title: "name", width: widest(names, 4) },
    { title: "type", width: widest(types, 4) },
    ...["mean", "std", "min", "max"].map((title) => ({ title, width: 10 })),
  ]);
  console.log(`\n${table.head()}`);
  for (const [i, { statistics: s }] of tensors.entries()) {
    const numbers = s
      ? [s.mean, s.std, s.min, s.max].map((value) => (Number.isFinite(value) ? show(value, 3) : "–"))
      : [];
    const row = table.row([names[i]!, types[i]!, ...numbers]);
    console.log(s && s.nonFinite > 0 ? `${row}  ${colour("red", `${s.nonFinite} not finite`)}` : row);
  }
  console.log(dim(`\n${tensors.length} tensors, ${total.toLocaleString("en-US")} elements`));
}
