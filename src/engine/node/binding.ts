/** The fallback: onnxruntime-node's own JavaScript binding, for platforms where the C API cannot be reached. */
import type { Tensor as OrtTensor, TensorConstructor } from "onnxruntime-node";
import { EngineError } from "../../errors.ts";
import { allocate, type DType, sameShape, showType, type TensorType, type Values } from "../../graph/types.ts";
import type { Engine, EngineBuffer, Port, Program, Session } from "../engine.ts";

class BindingBuffer implements EngineBuffer {
  readonly type: TensorType;
  #values: Values | undefined;

  constructor(type: TensorType, values: Values) {
    this.type = type;
    this.#values = values;
  }

  get values(): Values {
    if (!this.#values)
      throw new EngineError("node engine", `a buffer of ${showType(this.type)} was used after its release`, "keep it until its last use");
    return this.#values;
  }

  write(values: Values): void {
    if (values.length !== this.values.length)
      throw new EngineError("node engine", `${values.length} values for a buffer of ${showType(this.type)}`, "give one for each element");
    this.values.set(values);
  }

  async read(): Promise<Values> {
    return this.values.slice();
  }

  release(): void {
    this.#values = undefined;
  }
}

function bound(buffers: readonly EngineBuffer[], ports: readonly Port[], side: string): BindingBuffer[] {
  if (buffers.length !== ports.length)
    throw new EngineError("node engine", `${buffers.length} ${side}s for a program with ${ports.length}`, "give one for each");
  return buffers.map((buffer, i) => {
    const { name, type } = ports[i]!;
    if (!(buffer instanceof BindingBuffer))
      throw new EngineError("node engine", `${side} ${name} is a buffer of another engine`, "make it with this engine's buffer()");
    if (buffer.type.dtype !== type.dtype || !sameShape(buffer.type.shape, type.shape))
      throw new EngineError(
        "node engine",
        `${side} ${name} is ${showType(type)}, and got ${showType(buffer.type)}`,
        "bind a buffer of the port's type",
      );
    return buffer;
  });
}

const ortTypes: Readonly<Record<DType, "float32" | "float64" | "int32" | "bool">> = {
  float32: "float32",
  float64: "float64",
  int32: "int32",
  bool: "bool",
};

/**
 * ONNX Runtime through its JavaScript binding. Runs block the event loop, outputs are copied, and denormal floats are not
 * flushed: the binding runs on JavaScript's own thread, whose arithmetic must stay as it is.
 */
export function bindingEngine({ threads, profile }: { readonly threads: number; readonly profile?: string | undefined }): Engine {
  return {
    name: "node-binding",
    target: { contrib: true },
    buffer: (type, values) => new BindingBuffer(type, values ?? allocate(type)),
    async load(program: Program): Promise<Session> {
      // Loaded here, so that a process that never needs the binding never loads it.
      const ort = await attempt("loading onnxruntime-node", () => import("onnxruntime-node"));
      const session = await attempt("making a session", () =>
        ort.InferenceSession.create(program.onnx(), {
          intraOpNumThreads: threads,
          interOpNumThreads: 1,
          logSeverityLevel: 3,
          ...(profile && { enableProfiling: true, profileFilePrefix: profile }),
        }),
      );
      let released = false;
      return {
        async run(inputs, outputs) {
          if (released) throw new EngineError("node engine", "a session was run after its release", "keep it until its last use");
          const given = bound(inputs, program.inputs, "input");
          const wanted = bound(outputs, program.outputs, "output");
          const feeds = Object.fromEntries(program.inputs.map((port, i) => [port.name, ortTensor(ort.Tensor, given[i]!)]));
          const results = await attempt("the run", () => session.run(feeds));
          program.outputs.forEach(({ name }, i) => wanted[i]!.values.set(results[name]!.data as Values));
        },
        release() {
          if (!released) void session.release();
          released = true;
        },
      };
    },
  };
}

function ortTensor(Tensor: TensorConstructor, buffer: BindingBuffer): OrtTensor {
  return new Tensor(ortTypes[buffer.type.dtype], buffer.values as never, [...buffer.type.shape]);
}

async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new EngineError("ONNX Runtime", `${what} failed: ${message}`, "print the graph with GLISSADE_DEBUG=3", "", { cause: error });
  }
}
