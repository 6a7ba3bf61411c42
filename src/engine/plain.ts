/** The plain engine: readable TypeScript in float64. Slow, obvious, right; the oracle of every other engine. */
import { EngineError } from "../errors.ts";
import { arrayTypes, sizeOf, type TensorType, type Values } from "../graph/types.ts";
import { type Steps, Task } from "../task.ts";
import type { Engine, EngineBuffer, Program, Session } from "./engine.ts";

class PlainBuffer implements EngineBuffer {
  readonly type: TensorType;
  #values: Float64Array | undefined;

  constructor(type: TensorType, values?: Values) {
    this.type = type;
    this.#values = values ? Float64Array.from(values) : new Float64Array(sizeOf(type.shape));
  }

  get values(): Float64Array {
    if (!this.#values)
      throw new EngineError("plain engine", "a buffer was used after its release", "keep it until the run is done");
    return this.#values;
  }

  write(values: Values): void {
    this.values.set(values);
  }

  /** float32 is rounded here, on its way out: inside the engine everything is float64. */
  read(): Task<Values> {
    return Task.done(arrayTypes[this.type.dtype].from(this.values));
  }

  release(): void {
    this.#values = undefined;
  }
}

function* run(program: Program, inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]): Steps<void> {
  const results = program.evaluate(inputs.map((buffer) => (buffer as PlainBuffer).values));
  results.forEach((values, i) => (outputs[i] as PlainBuffer).values.set(values));
}

/** Interprets each node's own `evaluate`, in float64 whatever the dtype. */
export function plainEngine(): Engine {
  return {
    name: "plain",
    target: { contrib: false },
    buffer: (type, values) => new PlainBuffer(type, values),
    load: (program) =>
      Task.done<Session>({ run: (inputs, outputs) => Task.started(run(program, inputs, outputs)), release() {} }),
  };
}
