/**
 * Programs that are kept for later processes. To lower a large graph takes a second and longer. A process that builds a graph which an
 * earlier process has lowered takes the program from the engine's store instead.
 */
import type { Engine, InPlace, KeptProgram, Program, ProgramStore } from "../engine/engine.ts";
import type { Port } from "../graph/target.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import { registry } from "../ops/lowered/index.ts";
import type { GraphProgram } from "./program.ts";

/** The names of this package's ops. They are registered by this file's imports, before a user can define an op. */
const ours: ReadonlySet<string> = new Set(registry.keys());

/** The place of a graph's program in a store. */
export interface Place {
  readonly store: ProgramStore;
  readonly key: string;
}

/**
 * Returns the place for the program of a graph, which is given as its canonical text with the number of its nodes. Returns undefined for an
 * engine without a store, for a small graph, and for one with an op that a user has defined: the next process may define it in another way.
 */
export function placeFor({ programStore: store, target }: Engine, text: string, nodes: number): Place | undefined {
  if (!store || nodes === 0 || nodes < store.fewestNodes) return undefined;
  for (const name of registry.keys()) if (!ours.has(name) && text.includes(` = ${name}(`)) return undefined;
  // What the engine finds out when it is asked, such as the width of blocks, follows from the processor.
  const parts = Object.entries(Object.getOwnPropertyDescriptors(target)).map(([name, { value }]) => [name, value]);
  return { store, key: `${JSON.stringify(parts)}\n${text}` };
}

/** A program whose model is encoded: it was kept by an earlier process, or can be kept. */
export class EncodedProgram implements Program {
  readonly kept: KeptProgram;
  readonly #program: GraphProgram | undefined;

  /** @param program the same program with its graph, where it is known */
  constructor(kept: KeptProgram, program?: GraphProgram) {
    this.kept = kept;
    this.#program = program;
  }

  static of(program: GraphProgram): EncodedProgram {
    const model = program.onnx();
    const { inputs, outputs, size, inPlace, kernels } = program;
    return new EncodedProgram({ inputs, outputs, size, inPlace, kernels, model }, program);
  }

  get inputs(): readonly Port[] {
    return this.kept.inputs;
  }

  get outputs(): readonly Port[] {
    return this.kept.outputs;
  }

  get size(): number {
    return this.kept.size;
  }

  get inPlace(): InPlace {
    return this.kept.inPlace;
  }

  get kernels(): readonly AnyKernelOp[] {
    return this.kept.kernels;
  }

  onnx(): Uint8Array<ArrayBuffer> {
    return this.kept.model;
  }

  text(): string {
    return (
      this.#program?.text() ?? "(an earlier process has lowered the graph: GLISSADE_CACHE_DIR=off lowers it again)"
    );
  }

  evaluate(inputs: readonly Float64Array[]): Float64Array[] {
    if (!this.#program) throw new Error("a program that an earlier process has kept is without its graph");
    return this.#program.evaluate(inputs);
  }
}
