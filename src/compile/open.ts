/**
 * Open axes. A function is traced anew for each size and each number, since it may look at them; but what it computes is seldom another
 * graph. From the second size on the graphs are compared once they are lowered (recording.ts), and one session serves all that differ in
 * sizes and constants alone: it takes these as further inputs. A graph that differs otherwise gets a session of its own.
 */
import type { Engine, InPlace, Program } from "../engine/engine.ts";
import type { Body } from "../graph/body.ts";
import type { Node } from "../graph/node.ts";
import type { OnnxValue } from "../graph/op.ts";
import type { Filling, Hole, Port, Target } from "../graph/target.ts";
import type { AnyKernelOp } from "../kernel/kernel.ts";
import { encodeModel, OnnxBuilder } from "../onnx/model.ts";
import { nodesOf, Opening, openNodes, type Recording, record } from "./recording.ts";

/** A program that takes any sizes for which the graph is the same. */
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

  onnx(): Uint8Array<ArrayBuffer> {
    const builder = new OnnxBuilder(this.#target, this.holes);
    const results = this.#opening.write(
      builder,
      this.inputs.map(({ name }) => name as OnnxValue),
    );
    this.#kernels = builder.kernels;
    return encodeModel(builder.model(this.inputs, this.outputs, results));
  }

  get kernels(): readonly AnyKernelOp[] {
    if (!this.#kernels) this.onnx();
    return this.#kernels!;
  }

  /** The lowered graph. */
  text(): string {
    return this.#opening.text;
  }

  evaluate(): never {
    throw new Error(
      "a program with holes has no meaning without their constants: an engine without `filling` gets none",
    );
  }
}

/** A graph of the function's that has been compiled, ready to be run. */
export interface Compiled {
  readonly body: Body;
  readonly inPlace: InPlace;
}

/** A graph that was compiled, with all its nodes. */
interface Example extends Compiled {
  readonly nodes: readonly Node[];
}

/** A session for many sizes. */
interface Open<E> {
  readonly opening: Opening;
  readonly engine: Engine;
  readonly inPlace: string;
  readonly program: OpenProgram;
  /** The graphs that it was made for first. */
  readonly examples: readonly Example[];
  /** By node whether it has sizes that differ. */
  readonly isOpen: readonly boolean[];
  executable: E;
}

/** A graph with a session of its own. */
interface Closed {
  readonly engine: Engine;
  readonly inPlace: string;
  readonly example: Example;
}

/** What a run of an open session is made of. */
interface Filled<E> {
  readonly executable: E;
  readonly filling: Filling;
}

/** Graphs with sessions of their own that are kept to be compared with those to come. */
const mostClosed = 4;

/** A session is made anew for so many sizes that turn out to need more holes: what differs again and again is not worth more. */
const mostExamples = 6;

/** All that has been compiled for one function. */
export class Family<E extends { readonly isReleased: boolean }> {
  #open: Open<E>[] = [];
  #closed: Closed[] = [];

  /** The session for many sizes that serves a graph, with the constants that it needs; `make` makes one. Nothing where it needs its own. */
  find(engine: Engine, { body, inPlace }: Compiled, make: (program: OpenProgram) => E): Filled<E> | undefined {
    if (!engine.filling) return undefined;
    const written = [...inPlace].join(";");
    const example: Example = { body, inPlace, nodes: nodesOf(body) };
    const recordings = new Map<string, Recording>();
    const recorded = (isOpen: readonly boolean[]): Recording => {
      const key = isOpen.map(Number).join("");
      const recording = recordings.get(key) ?? record(body, engine.target, isOpen);
      recordings.set(key, recording);
      return recording;
    };
    const isLike = (other: { readonly engine: Engine; readonly inPlace: string }): boolean =>
      other.engine === engine && other.inPlace === written;
    const opened = (examples: readonly Example[], isOpen: readonly boolean[]): Open<E> | undefined => {
      const others = examples.map((each) => record(each.body, engine.target, isOpen));
      const opening = Opening.of(...others, recorded(isOpen));
      if (!opening) return undefined;
      const program = new OpenProgram(opening, engine.target, inPlace, body.nodes.length);
      const all = [...examples, example];
      return { opening, engine, inPlace: written, program, examples: all, isOpen, executable: make(program) };
    };
    const filled = ({ opening, executable, isOpen }: Open<E>): Filled<E> => ({
      executable,
      filling: engine.filling!(opening.fillingFor(recorded(isOpen))!),
    });

    const candidates = this.#open.filter(
      ({ isOpen, ...open }) => isLike(open) && isOpen.length === example.nodes.length,
    );
    for (const open of candidates) {
      if (!open.opening.fillingFor(recorded(open.isOpen))) continue;
      if (open.executable.isReleased) open.executable = make(open.program);
      return filled(open);
    }
    for (const open of candidates) {
      const differs = openNodes(example.nodes, open.examples[0]!.nodes);
      if (!differs || open.examples.length >= mostExamples) continue;
      const wider = opened(
        open.examples,
        open.isOpen.map((isOpen, i) => isOpen || differs[i]!),
      );
      if (!wider) continue;
      this.#open = [wider, ...this.#open.filter((each) => each !== open)];
      return filled(wider);
    }
    for (const closed of this.#closed.filter(isLike)) {
      const differs = openNodes(example.nodes, closed.example.nodes);
      const open = differs && opened([closed.example], differs);
      if (!open) continue;
      this.#open.unshift(open);
      this.#closed = this.#closed.filter((each) => each !== closed);
      return filled(open);
    }
    this.#closed = [{ engine, inPlace: written, example }, ...this.#closed].slice(0, mostClosed);
    return undefined;
  }
}
