/** The fallback: onnxruntime-node's own JavaScript binding, for platforms where the C API cannot be called. */
import path from "node:path";
import type { InferenceSession, Tensor, TensorConstructor } from "onnxruntime-node";
import { type Constant, elementsOf } from "../../graph/op.ts";
import type { Filling } from "../../graph/target.ts";
import { sameShape, showShape, showType, type Values } from "../../graph/types.ts";
import { bind, expectProgram, failFilling, failReleased } from "../bind.ts";
import type { EngineBuffer, Program, Session } from "../engine.ts";
import { NodeBuffer, subject } from "./buffers.ts";
import type { DirectOptions } from "./direct.ts";
import type { NodeEngine } from "./index.ts";
import { expectWhole, type Koffi, libraryFile, loadKoffi } from "./library.ts";
import { disabledOptimizers, isOptimized, isPatterned } from "./optimizers.ts";
import { requirePackage } from "./packages.ts";
import { Profiles } from "./profiles.ts";
import { runtimeError } from "./runtime-error.ts";
import { serialElements } from "./serial.ts";
import { switchTelemetryOff } from "./telemetry.ts";

/** A separate class, so that buffers of the two implementations can be told apart. */
class BindingBuffer extends NodeBuffer {}

class BindingFilling implements Filling {
  readonly constants: readonly Constant[];
  readonly bytes: number;

  constructor(constants: readonly Constant[]) {
    this.constants = constants;
    this.bytes = constants.reduce((total, { values }) => total + 8 * values.length, 0);
  }
}

class BindingSession implements Session {
  readonly #session: InferenceSession;
  readonly #tensor: TensorConstructor;
  readonly #program: Pick<Program, "inputs" | "outputs" | "inPlace" | "holes">;
  #runs = 0;
  #released = false;

  constructor(session: InferenceSession, tensor: TensorConstructor, { inputs, outputs, inPlace, holes }: Program) {
    this.#session = session;
    this.#tensor = tensor;
    this.#program = { inputs, outputs, inPlace, holes };
  }

  async run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[], filling?: Filling): Promise<void> {
    if (this.#released) failReleased(subject);
    const buffers = bind(subject, BindingBuffer, this.#program, inputs, outputs);
    const { holes = [] } = this.#program;
    const constants = filling === undefined ? [] : filling instanceof BindingFilling ? filling.constants : undefined;
    if (constants?.length !== holes.length) failFilling(subject, holes.length);
    const feeds: Record<string, Tensor> = {};
    for (const [i, { name }] of this.#program.inputs.entries()) {
      const { type, values } = buffers[i]!;
      feeds[name] = new this.#tensor(type.dtype, values as never, type.shape);
    }
    for (const [i, { dtype, shape, values }] of constants.entries())
      feeds[holes[i]!.name] = new this.#tensor(dtype, elementsOf(dtype, values) as never, shape);
    for (const buffer of buffers) buffer.hold();
    const targets = buffers.slice(inputs.length).map(({ values }) => values);
    this.#runs++;
    try {
      const names = this.#program.outputs.map(({ name }) => name);
      const results = await attempt("the run", () => this.#session.run(feeds, names));
      for (const [i, { name }] of this.#program.outputs.entries()) {
        const { type } = buffers[inputs.length + i]!;
        const { type: dtype, dims: shape, data } = results[name]!;
        if (dtype !== type.dtype || !sameShape(shape, type.shape))
          throw runtimeError(
            "the run",
            `output ${name} came as ${dtype}${showShape(shape)}, expected ${showType(type)}`,
          );
        targets[i]!.set(data as Values);
      }
    } finally {
      for (const buffer of buffers) buffer.unhold();
      this.#runs--;
      await this.#freeWhenIdle();
    }
  }

  endProfiling(): void {
    if (!this.#released) this.#session.endProfiling();
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    void this.#freeWhenIdle();
  }

  async #freeWhenIdle(): Promise<void> {
    if (this.#released && this.#runs === 0) await this.#session.release();
  }
}

/**
 * The engine over onnxruntime-node's binding. Runs block the event loop and outputs are copied. Denormal floats are not
 * flushed to zero: the binding computes on JavaScript's own thread, whose arithmetic must stay as it is.
 */
export function bindingEngine({ threads, profile }: Omit<DirectOptions, "kernels">): NodeEngine {
  const profiles = profile === undefined ? undefined : new Profiles(profile);
  const profiled = new Set<BindingSession>();
  return {
    name: "node-binding",
    target: { contrib: true, forgetsNaN: true, threads, serialElements: serialElements(threads) },
    buffer: (type, values, isOwned) => new BindingBuffer(type, values, isOwned),
    filling: (constants) => new BindingFilling(constants),
    async load(program) {
      expectProgram(subject, program);
      expectWhole(path.join(path.dirname(libraryFile()), "onnxruntime_binding.node"));
      switchTelemetryOff(koffiIfThere());
      const ort = await attempt("loading onnxruntime-node", async () => loadBinding());
      const options: InferenceSession.SessionOptions = {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        graphOptimizationLevel: isOptimized(program) ? "all" : "disabled",
        enableMemPattern: isPatterned(program),
        extra: { optimization: { disable_specified_optimizers: disabledOptimizers } },
        logSeverityLevel: 4, //  fatal only: all lesser errors are thrown as exceptions, and need not be printed too
        ...(profiles && { enableProfiling: true, profileFilePrefix: profiles.next() }),
      };
      const native = await attempt("making a session", () => ort.InferenceSession.create(program.onnx(), options));
      const session = new BindingSession(native, ort.Tensor, program);
      if (profiles) profiled.add(session);
      return session;
    },
    async endProfiling() {
      for (const session of profiled) session.endProfiling();
      profiled.clear();
      return profiles?.files() ?? [];
    },
  };
}

/** Not an import: a process that never needs the binding should not load it, and a bundler should not look for its native parts. */
function loadBinding(): typeof import("onnxruntime-node") {
  return requirePackage("onnxruntime-node") as typeof import("onnxruntime-node");
}

function koffiIfThere(): Koffi | undefined {
  try {
    return loadKoffi();
  } catch {
    return undefined;
  }
}

async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw runtimeError(what, error instanceof Error ? error.message : String(error), error);
  }
}
