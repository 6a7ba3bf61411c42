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
import { Trail } from "./passes/trail.ts";
import type { GraphProgram } from "./program.ts";
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

/** A graph before the passes. */
export interface Source {
  /** Lowers it. The decisions of the passes are noted in the trail. */
  lower(trail: Trail): GraphProgram;
  /**
   * Lowers it as another graph was; returns undefined if that cannot be done. `isForMany` says whether the function has so many sizes that
   * what fits all is better than what is best for this one.
   */
  lowerAlong(trail: Trail, isForMany: boolean): GraphProgram | undefined;
}

/** A compiled graph with all its nodes; it is compared with later graphs. */
interface Example {
  readonly body: Body;
  readonly inPlace: InPlace;
  readonly nodes: readonly Node[];
  /** The trail that it has made or followed. */
  readonly trail: Trail;
}

function exampleOf({ body, inPlace }: GraphProgram, trail: Trail): Example {
  return { body, inPlace, nodes: nodesOf(body), trail };
}

const textOf = (inPlace: InPlace): string => [...inPlace].join(";");

/** A session for many sizes. */
interface Open<E> {
  readonly opening: Opening;
  readonly engine: Engine;
  readonly program: OpenProgram;
  /** The graphs from which it was made. All have one trail. */
  readonly examples: readonly Example[];
  /** For each node, whether its sizes differ among the examples. */
  readonly isOpen: readonly boolean[];
  executable: E;
}

/** A graph with a session of its own. */
interface Closed {
  readonly engine: Engine;
  readonly source: Source;
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

/**
 * After so many graphs in a row that could share no session, no more are compared with graphs that have their own: each comparison takes as
 * long as a lowering.
 */
const mostFailures = 8;

/** The sessions that were made for the graphs of one compiled function. */
export class Family<E extends { readonly isReleased: boolean }> {
  #open: Open<E>[] = [];
  #closed: Closed[] = [];
  /** How many graphs in a row could share no session. */
  #failures = 0;

  /** Whether it knows of no graph yet. */
  get isEmpty(): boolean {
    return this.#open.length === 0 && this.#closed.length === 0;
  }

  /** Notes a graph whose program came from a store. It is lowered when it is compared with another graph. */
  expect(engine: Engine, source: Source): void {
    let example: Example | undefined;
    this.#close({
      engine,
      source,
      example() {
        const trail = new Trail();
        example ??= exampleOf(source.lower(trail), trail);
        return example;
      },
    });
  }

  #close(closed: Closed): void {
    this.#closed = [closed, ...this.#closed].slice(0, mostClosed);
  }

  /**
   * Returns a session for many sizes that can run a graph, and the constants for that graph; `make` makes a session. If the graph needs
   * its own session, returns its program.
   */
  find(engine: Engine, source: Source, make: (program: OpenProgram) => E): Filled<E> | GraphProgram {
    const { filling } = engine;
    const compares = filling !== undefined && this.#failures < mostFailures;
    // Two sizes, such as that of whole batches and that of the last one, may both have what is best for them.
    const isForMany =
      filling !== undefined && [...this.#open, ...this.#closed].filter((each) => each.engine === engine).length >= 2;
    const lowered = new Map<Trail, Example | undefined>();
    /** The graph, lowered as another one was. */
    const along = (trail: Trail): Example | undefined => {
      if (!lowered.has(trail)) {
        const program = source.lowerAlong(trail, isForMany);
        lowered.set(trail, program && exampleOf(program, trail));
      }
      return lowered.get(trail);
    };
    const filled =
      filling && (this.#openFor(engine, along, make) ?? (compares ? this.#closedLike(engine, along, make) : undefined));
    if (filled) {
      this.#failures = 0;
      return { executable: filled.executable, filling: filling(filled.constants) };
    }
    const trail = new Trail({ isForMany });
    const program = source.lower(trail);
    const own = exampleOf(program, trail);
    if (compares) {
      // Chance may have made an earlier graph a special one. Then it can follow the trail of this one.
      for (const closed of this.#closed.filter((other) => other.engine === engine)) {
        const like = closed.source.lowerAlong(trail, isForMany);
        const made = like && this.#opened(engine, [exampleOf(like, trail), own], make);
        if (!made) continue;
        this.#failures = 0;
        this.#take(made.open, closed);
        return { executable: made.open.executable, filling: filling(made.constants) };
      }
      if (!this.isEmpty) this.#failures++;
    }
    this.#close({ engine, source, example: always(own) });
    return program;
  }

  /** Looks among the sessions for many sizes. One that lacks holes for the graph is replaced by a wider one. */
  #openFor(
    engine: Engine,
    along: (trail: Trail) => Example | undefined,
    make: (program: OpenProgram) => E,
  ): Found<E> | undefined {
    const candidates = this.#open.flatMap((open) => {
      const example = open.engine === engine ? along(open.examples[0]!.trail) : undefined;
      return example && isAlike(example, open.examples[0]!) ? [{ open, example }] : [];
    });
    for (const { open, example } of candidates) {
      const constants = open.opening.fillingFor(example.body);
      if (!constants) continue;
      if (open.executable.isReleased) open.executable = make(open.program);
      return { executable: open.executable, constants };
    }
    for (const { open, example } of candidates) {
      if (open.examples.length >= mostExamples) continue;
      const wider = this.#opened(engine, [...open.examples, example], make, open.isOpen);
      if (!wider) continue;
      this.#open = this.#open.filter((each) => each !== open);
      this.#take(wider.open);
      return { executable: wider.open.executable, constants: wider.constants };
    }
    return undefined;
  }

  /** Makes a session for many sizes of a graph that has its own session and of the graph in hand. */
  #closedLike(
    engine: Engine,
    along: (trail: Trail) => Example | undefined,
    make: (program: OpenProgram) => E,
  ): Found<E> | undefined {
    for (const closed of this.#closed) {
      if (closed.engine !== engine) continue;
      const other = closed.example();
      const example = along(other.trail);
      const made = example && this.#opened(engine, [other, example], make);
      if (!made) continue;
      this.#take(made.open, closed);
      return { executable: made.open.executable, constants: made.constants };
    }
    return undefined;
  }

  #take(open: Open<E>, instead?: Closed): void {
    this.#open.unshift(open);
    this.#closed = this.#closed.filter((each) => each !== instead);
  }

  /** Makes a session for examples, with the constants for the last one; undefined if one model cannot be made of them. */
  #opened(
    engine: Engine,
    examples: readonly Example[],
    make: (program: OpenProgram) => E,
    wasOpen?: readonly boolean[],
  ): { readonly open: Open<E>; readonly constants: readonly Constant[] } | undefined {
    const [first, last] = [examples[0]!, examples.at(-1)!];
    const differs = isAlike(first, last) ? openNodes(last.nodes, first.nodes) : undefined;
    if (!differs) return undefined;
    const isOpen = differs.map((isOpen, i) => isOpen || wasOpen?.[i] === true);
    const bodies = examples.map((each) => each.body);
    const opening = Opening.of(bodies, isOpen, engine.target);
    const constants = opening?.fillingFor(last.body);
    if (!opening || !constants) return undefined;
    const program = new OpenProgram(opening, engine.target, last.inPlace, last.body.nodes.length);
    return { open: { opening, engine, program, examples, isOpen, executable: make(program) }, constants };
  }
}

/** Whether two graphs write the same states in place and have as many nodes. */
const isAlike = (a: Example, b: Example): boolean =>
  textOf(a.inPlace) === textOf(b.inPlace) && a.nodes.length === b.nodes.length;

/** A session for many sizes with the constants for one graph, as they are. */
interface Found<E> {
  readonly executable: E;
  readonly constants: readonly Constant[];
}
