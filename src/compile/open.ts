/**
 * Sessions for many sizes. A function is traced again for each size and each number, since it may look at them; but the graphs seldom
 * differ otherwise. From the second size on, the lowered graphs are compared (recording.ts), and one session runs all graphs that differ
 * only in sizes and constants: it takes the constants as further inputs, its holes. A graph that differs otherwise gets its own session.
 */
import type { Engine, InPlace, Program } from "../engine/engine.ts";
import type { Body } from "../graph/body.ts";
import type { Node } from "../graph/node.ts";
import type { Constant, OnnxValue } from "../graph/op.ts";
import type { Filling, Hole, Port, Target } from "../graph/target.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import { encodeModel, OnnxBuilder, type Weights } from "../onnx/model.ts";
import { Opening } from "./opening.ts";
import { nodesOf, openNodes } from "./recording.ts";

/** A program with open sizes: it runs every graph that differs from the others only in sizes and constants. */
export class OpenProgram implements Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly inPlace: InPlace;
  readonly size: number;
  readonly #opening: Opening;
  readonly #target: Target;
  #kernels: readonly AnyKernelOp[] | undefined;

  /** @param size number of operations */
  constructor(opening: Opening, target: Target, inPlace: InPlace, size: number) {
    this.#opening = opening;
    this.#target = target;
    this.inputs = opening.ports("input");
    this.outputs = opening.ports("output");
    this.inPlace = inPlace;
    this.size = size;
  }

  get holes(): readonly Hole[] {
    return this.#opening.holes;
  }

  onnx(weights?: Weights): Uint8Array<ArrayBuffer> {
    const builder = new OnnxBuilder(this.#target, this.holes);
    const results = this.#opening.write(
      builder,
      this.inputs.map(({ name }) => name as OnnxValue),
    );
    this.#kernels = builder.kernels;
    return encodeModel(builder.model(this.inputs, this.outputs, results, weights));
  }

  get kernels(): readonly AnyKernelOp[] {
    if (!this.#kernels) this.onnx();
    return this.#kernels!;
  }

  /** The lowered graph as text. */
  text(): string {
    return this.#opening.text;
  }

  evaluate(): never {
    throw new Error(
      "a program with holes has no meaning without their constants: an engine without `filling` gets none",
    );
  }
}

/** A graph that has been through the passes, and its states that are written in place. */
export interface Compiled {
  readonly body: Body;
  readonly inPlace: InPlace;
}

/** A compiled graph with all its nodes; it is compared with later graphs. */
interface Example extends Compiled {
  readonly nodes: readonly Node[];
}

/** A session for many sizes. */
interface Open<E> {
  readonly opening: Opening;
  readonly engine: Engine;
  readonly inPlace: string;
  readonly program: OpenProgram;
  /** The graphs from which it was made. */
  readonly examples: readonly Example[];
  /** For each node, whether its sizes differ among the examples. */
  readonly isOpen: readonly boolean[];
  executable: E;
}

/** A graph with a session of its own. */
interface Closed {
  readonly engine: Engine;
  readonly inPlace: string;
  /** Returns the compiled graph. If its program came from a store, it is lowered when this is called first. */
  example(): Example;
}

/** A session for many sizes with the constants for one graph. */
interface Filled<E> {
  readonly executable: E;
  readonly filling: Filling;
}

// A function of its own, because all closures that one function makes keep alive what any of them uses.
const always =
  <T>(value: T): (() => T) =>
  () =>
    value;

/** How many graphs with their own session are kept, to compare later graphs with. */
const mostClosed = 4;

/**
 * The most examples of one session. A graph that needs more holes causes a new, wider session with one example more. Graphs that keep
 * differing in new ways are not worth more attempts than this.
 */
const mostExamples = 6;

/** The sessions that were made for the graphs of one compiled function. */
export class Family<E extends { readonly isReleased: boolean }> {
  #open: Open<E>[] = [];
  #closed: Closed[] = [];

  /** Whether it knows of no graph yet. */
  get isEmpty(): boolean {
    return this.#open.length === 0 && this.#closed.length === 0;
  }

  /** Notes a graph whose program came from a store; `lowered` lowers it, when it is compared with another graph. */
  expect(engine: Engine, inPlace: InPlace, lowered: () => Body): void {
    let example: Example | undefined;
    this.#close(engine, inPlace, () => {
      if (!example) {
        const body = lowered();
        example = { body, inPlace, nodes: nodesOf(body) };
      }
      return example;
    });
  }

  #close(engine: Engine, inPlace: InPlace, example: Closed["example"]): void {
    this.#closed = [{ engine, inPlace: [...inPlace].join(";"), example }, ...this.#closed].slice(0, mostClosed);
  }

  /**
   * Returns a session for many sizes that can run a graph, and the constants for that graph; `make` makes a session. Returns undefined if
   * the graph needs its own session.
   */
  find(engine: Engine, { body, inPlace }: Compiled, make: (program: OpenProgram) => E): Filled<E> | undefined {
    if (!engine.filling) return undefined;
    const written = [...inPlace].join(";");
    const example: Example = { body, inPlace, nodes: nodesOf(body) };
    const isLike = (other: { readonly engine: Engine; readonly inPlace: string }): boolean =>
      other.engine === engine && other.inPlace === written;
    const opened = (
      examples: readonly Example[],
      isOpen: readonly boolean[],
    ): { readonly open: Open<E>; readonly constants: readonly Constant[] } | undefined => {
      const all = [...examples, example];
      const bodies = all.map((each) => each.body);
      const opening = Opening.of(bodies, isOpen, engine.target);
      const constants = opening?.fillingFor(body);
      if (!opening || !constants) return undefined;
      const program = new OpenProgram(opening, engine.target, inPlace, body.nodes.length);
      const open = { opening, engine, inPlace: written, program, examples: all, isOpen, executable: make(program) };
      return { open, constants };
    };
    const filled = ({ executable }: Open<E>, constants: readonly Constant[]): Filled<E> => ({
      executable,
      filling: engine.filling!(constants),
    });

    const candidates = this.#open.filter(
      ({ isOpen, ...open }) => isLike(open) && isOpen.length === example.nodes.length,
    );
    for (const open of candidates) {
      const constants = open.opening.fillingFor(body);
      if (!constants) continue;
      if (open.executable.isReleased) open.executable = make(open.program);
      return filled(open, constants);
    }
    for (const open of candidates) {
      const differs = openNodes(example.nodes, open.examples[0]!.nodes);
      if (!differs || open.examples.length >= mostExamples) continue;
      const wider = opened(
        open.examples,
        open.isOpen.map((isOpen, i) => isOpen || differs[i]!),
      );
      if (!wider) continue;
      this.#open = [wider.open, ...this.#open.filter((each) => each !== open)];
      return filled(wider.open, wider.constants);
    }
    for (const closed of this.#closed.filter(isLike)) {
      const other = closed.example();
      const differs = openNodes(example.nodes, other.nodes);
      const made = differs && opened([other], differs);
      if (!made) continue;
      this.#open.unshift(made.open);
      this.#closed = this.#closed.filter((each) => each !== closed);
      return filled(made.open, made.constants);
    }
    this.#close(engine, inPlace, always(example));
    return undefined;
  }
}
