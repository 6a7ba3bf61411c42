/** Where the sessions of an executable come from: one for all its runs, or one for each value of the weights that are constants of it. */
import type { Engine, EngineBuffer, InPlace, Program, Session } from "../engine/engine.ts";
import { Task, type Waiting } from "../task.ts";
import type { Version } from "../tensor/state.ts";
import type { Storage } from "../tensor/storage.ts";
import type { OpenProgram } from "./open.ts";
import type { GraphProgram } from "./program.ts";
import type { WeightChanges } from "./retraces.ts";

/** The values that a run reads, in the order of the program's inputs. */
export type Sources = readonly (Storage | Version)[];

/** Leaves that are constants of the sessions of one function. */
export interface Constants {
  /** The function's own text: other functions with the same graph have other weights. */
  readonly owner: string;
  readonly positions: ReadonlySet<number>;
  /** The function's count of sessions that were made anew. */
  readonly changes: WeightChanges;
}

/** The sessions of one program. */
export interface Sessions {
  /** Returns the session for a run that reads these values. */
  for(sources: Sources, inputs: readonly EngineBuffer[]): Waiting<Session>;
  /** Returns those of a run's buffers that the session takes as inputs. */
  inputs(all: readonly EngineBuffer[]): readonly EngineBuffer[];
  release(): void;
}

const free = (session: Waiting<Session>): void =>
  void session.then(
    (made) => made.release(),
    () => {}, //  the session could not be made
  );

/** One session for all runs, made at once. */
export class OneSession implements Sessions {
  readonly session: Waiting<Session>;

  constructor(session: Waiting<Session>) {
    this.session = session;
  }

  for(): Waiting<Session> {
    return this.session;
  }

  inputs(all: readonly EngineBuffer[]): readonly EngineBuffer[] {
    return all;
  }

  release(): void {
    free(this.session);
  }
}

/**
 * Sessions that hold some variables as constants. ONNX Runtime then lays out the weights of products once, not in each run: for few rows
 * that takes longer than the product itself. When one of the variables has another value, the next run makes a new session.
 */
export class SessionsWithConstants implements Sessions {
  readonly #engine: Engine;
  readonly #program: GraphProgram | OpenProgram;
  /** The positions of the inputs that are constants. */
  readonly #positions: ReadonlySet<number>;
  readonly #changes: WeightChanges;
  /** The model, which is the same for all values. */
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #made: { readonly versions: Sources; readonly session: Waiting<Session> } | undefined;

  constructor(engine: Engine, program: GraphProgram | OpenProgram, { positions, changes }: Constants) {
    this.#engine = engine;
    this.#program = program;
    this.#positions = positions;
    this.#changes = changes;
  }

  for(sources: Sources, inputs: readonly EngineBuffer[]): Waiting<Session> {
    const versions = sources.filter((_, i) => this.#positions.has(i));
    if (this.#made) {
      const isSame = this.#made.versions.every((version, i) => version === versions[i]);
      this.#changes.note(!isSame);
      if (isSame) return this.#made.session;
    }
    this.release();
    const session = this.#engine.load(this.#withConstants(inputs));
    const made = { versions, session };
    this.#made = made;
    session.then(undefined, () => {
      if (this.#made === made) this.#made = undefined;
    });
    return session;
  }

  inputs(all: readonly EngineBuffer[]): readonly EngineBuffer[] {
    return all.filter((_, i) => !this.#positions.has(i));
  }

  release(): void {
    if (this.#made) free(this.#made.session);
    this.#made = undefined;
  }

  #withConstants(buffers: readonly EngineBuffer[]): Program {
    const program = this.#program;
    const [ports, positions] = [program.inputs, this.#positions];
    const left = [...ports.keys()].filter((i) => !positions.has(i));
    const weights = new Map([...positions].map((i) => [ports[i]!, "elsewhere"] as const));
    this.#bytes ??= program.onnx(weights);
    const bytes = this.#bytes;
    const inPlace: InPlace = new Map(
      [...program.inPlace].flatMap(([output, input]) =>
        positions.has(input) ? [] : [[output, left.indexOf(input)] as const],
      ),
    );
    return {
      inputs: left.map((i) => ports[i]!),
      outputs: program.outputs,
      size: program.size,
      inPlace,
      holes: (program as Program).holes,
      kernels: program.kernels,
      constants: new Map([...positions].map((i) => [ports[i]!.name, buffers[i]!])),
      onnx: () => bytes,
      evaluate: () => {
        throw new Error("only ONNX Runtime takes programs with constants");
      },
    };
  }
}

/** The session of a function that gives nothing and writes no state: engines do not take an empty graph. */
export const noWork: Session = { run: () => Task.done(undefined), release() {} };
