/** The plain engine: readable TypeScript in float64. It is slow and simple; tests compare every other engine with it. */
import { EngineError } from "../errors.ts";
import { arrayTypes, sizeOf, type TensorType, type Values } from "../graph/types.ts";
import { type Steps, Task } from "../task.ts";
import { type Bindable, bind, expectProgram, expectType, expectValues, failReleased } from "./bind.ts";
import type { Engine, EngineBuffer, Program, Session } from "./engine.ts";

const subject = "plain engine";

class PlainBuffer implements Bindable {
  readonly type: TensorType;
  #values: Float64Array | undefined;
  lastRun = 0;
  lastWritten = 0;

  /** Accepts a Float64Array for every dtype, because the engine computes in float64. */
  constructor(type: TensorType, values?: Values) {
    expectType(subject, type);
    if (values !== undefined) expectValues(subject, type, values, Float64Array);
    this.type = type;
    this.#values = values ? Float64Array.from(values) : new Float64Array(sizeOf(type.shape));
  }

  get values(): Float64Array {
    if (!this.#values)
      throw new EngineError(subject, "a buffer was used after its release", "keep it until the run is done");
    return this.#values;
  }

  write(values: Values): void {
    expectValues(subject, this.type, values, Float64Array);
    this.values.set(values);
  }

  /** Returns a copy in the buffer's dtype. float32 values are rounded only here: inside the engine everything is float64. */
  read(): Task<Values> {
    return Task.done(arrayTypes[this.type.dtype].from(this.values));
  }

  release(): void {
    this.#values = undefined;
  }
}

class PlainSession implements Session {
  readonly #program: Program;
  #isReleased = false;

  constructor(program: Program) {
    this.#program = program;
  }

  run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]): Task<void> {
    return Task.started(this.#run(inputs, outputs));
  }

  *#run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]): Steps<void> {
    if (this.#isReleased) failReleased(subject);
    const values = bind(subject, PlainBuffer, this.#program, inputs, outputs).map((buffer) => buffer.values);
    const results = this.#program.evaluate(values.slice(0, inputs.length));
    results.forEach((result, i) => values[inputs.length + i]!.set(result));
  }

  release(): void {
    this.#isReleased = true;
  }
}

/** Returns the plain engine, which calls the `evaluate` of each node's op, in float64 for every dtype. */
export function plainEngine(): Engine {
  return {
    name: "plain",
    target: { contrib: false },
    buffer: (type, values) => new PlainBuffer(type, values),
    load(program) {
      expectProgram(subject, program);
      return Task.done<Session>(new PlainSession(program));
    },
  };
}
