/** Checks of the arguments that engines get, and the binding of buffers to a program. */
import { EngineError } from "../errors.ts";
import { described } from "../graph/arguments.ts";
import type { Port } from "../graph/target.ts";
import { arrayTypes, expectRoom, sameShape, showType, sizeOf, type TensorType, type Values } from "../graph/types.ts";
import type { EngineBuffer, Program } from "./engine.ts";

/** A buffer that knows the last runs in which it took part. */
export interface Bindable extends EngineBuffer {
  /** The memory itself. Throws EngineError after the release. */
  readonly values: Values;
  /** The last run that it was bound to. */
  lastRun: number;
  /** The last run that wrote to it. */
  lastWritten: number;
}

/** The number of the last run in this process; 0 before the first. */
let run = 0;

/** Throws EngineError if `type` is not the type of a tensor, or if its values do not fit into memory. */
export function expectType(subject: string, type: TensorType): void {
  const isType =
    typeof type === "object" &&
    type !== null &&
    Object.hasOwn(arrayTypes, type.dtype) &&
    Array.isArray(type.shape) &&
    type.shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!isType)
    throw new EngineError(
      subject,
      `a buffer was asked for with the type ${described(type)}`,
      `give { shape, dtype }: an array of sizes from 0 on, and one of ${Object.keys(arrayTypes).join(", ")}`,
    );
  expectRoom(type);
}

/** Throws EngineError for values that do not fit the type; `another` is a kind of array that is accepted too. */
export function expectValues(subject: string, type: TensorType, values: Values, another?: typeof Float64Array): void {
  const wanted = sizeOf(type.shape);
  const kind = arrayTypes[type.dtype];
  if ((values instanceof kind || (another && values instanceof another)) && values.length === wanted) return;
  const given = ArrayBuffer.isView(values)
    ? `${values.constructor.name} of length ${values.length}`
    : described(values);
  throw new EngineError(
    subject,
    `a buffer of ${showType(type)} was given ${given}`,
    `give ${kind.name} of length ${wanted}`,
  );
}

/** Throws EngineError if `program` is not a program. */
export function expectProgram(subject: string, program: Program): void {
  const { inputs, outputs, onnx, evaluate } = (program ?? {}) as Partial<Program>;
  const isProgram =
    Array.isArray(inputs) && Array.isArray(outputs) && typeof onnx === "function" && typeof evaluate === "function";
  if (!isProgram)
    throw new EngineError(
      subject,
      `it was given ${described(program)} to load`,
      "give a program: { inputs, outputs, onnx, evaluate }",
    );
}

/** Throws EngineError for a run of a session that was released. */
export function failReleased(subject: string): never {
  throw new EngineError(subject, "a session was run after its release", "release it after its last run");
}

/** Throws EngineError: the constants do not fit the program's holes. */
export function failFilling(subject: string, holes: number): never {
  throw new EngineError(
    subject,
    `a run did not come with constants for the program's ${holes} holes`,
    "give the filling that this engine made for the program",
  );
}

/**
 * Returns the buffers of one run: inputs, then outputs. Throws EngineError, with the name of the port, when they do not fit the program:
 * a wrong number or type, a buffer of another engine, a released buffer, or a buffer that would be both read and written where the
 * program does not allow this.
 */
export function bind<B extends Bindable>(
  subject: string,
  kind: abstract new (...args: never[]) => B,
  program: Pick<Program, "inputs" | "outputs" | "inPlace">,
  inputs: readonly EngineBuffer[],
  outputs: readonly EngineBuffer[],
): B[] {
  run++;
  const bound: B[] = [];
  const add = (side: "input" | "output", ports: readonly Port[], buffers: readonly EngineBuffer[]): void => {
    if (!Array.isArray(buffers) || buffers.length !== ports.length)
      throw new EngineError(
        subject,
        `the program has ${ports.length} ${side}s and the run was given ${Array.isArray(buffers) ? buffers.length : described(buffers)}`,
        `give one buffer for each of ${ports.map(({ name }) => name).join(", ") || "none"}`,
      );
    for (let i = 0; i < ports.length; i++) {
      const buffer = fit(subject, kind, side, ports[i]!, buffers[i]!);
      if (side === "output") {
        const replaced = program.inPlace?.get(i);
        expectFree(subject, buffer, ports[i]!, replaced === undefined ? undefined : inputs[replaced]);
      }
      buffer.lastRun = run;
      bound.push(buffer);
    }
  };
  add("input", program.inputs, inputs);
  add("output", program.outputs, outputs);
  return bound;
}

function fit<B extends Bindable>(
  subject: string,
  kind: abstract new (...args: never[]) => B,
  side: "input" | "output",
  { name, type, open }: Port,
  buffer: EngineBuffer,
): B {
  if (!(buffer instanceof kind))
    throw new EngineError(
      subject,
      `${side} ${name} is a buffer of another engine`,
      "make it with this engine's buffer()",
    );
  const { dtype, shape } = buffer.type;
  const closed = open ? shape.map((size, axis) => (open.includes(axis) ? type.shape[axis]! : size)) : shape;
  if (dtype !== type.dtype || !sameShape(closed, type.shape))
    throw new EngineError(
      subject,
      `${side} ${name} is ${showType(type)} and was given ${showType(buffer.type)}`,
      "give a buffer of the port's type",
    );
  void buffer.values; //  throws after a release
  return buffer;
}

/** Throws if the run already uses an output's buffer, unless it is the input that this output may be written into. */
function expectFree(subject: string, buffer: Bindable, { name }: Port, replaced: EngineBuffer | undefined): void {
  const isFree = buffer.lastRun !== run || (buffer === replaced && buffer.lastWritten !== run);
  if (!isFree)
    throw new EngineError(
      subject,
      `output ${name} was given a buffer that this run also reads, or writes as another output`,
      "give each output a buffer of its own: keep two sets and swap them after the run",
    );
  buffer.lastWritten = run;
}
