/**
 * Trails: what the passes decided for a graph, in order. Graphs of one function with other sizes follow the trail of the first one, so that
 * they become the same nodes and can share a session. Without it, chance would make them different: a number that is 1 for one size, two
 * axes of the same length by accident, a limit from which on a rule pays.
 *
 * Each rule still tests its conditions on the graph in hand. A graph leaves the trail where one of them does not hold that held before, and
 * where a rule applies now that compares sizes, such as to find out whether it pays. Other rules that were not applied are not tried: they
 * change neither bits nor much of the time.
 */
import type { Node, Value } from "../../graph/node.ts";
import type { AnyOp } from "../../graph/op.ts";
import { currentScope, newScope, withScope } from "../../graph/scope.ts";
import { type NodeKey, type NodeTable, SharedNodes, textOfApplication } from "../../graph/table.ts";

/** Thrown when a graph cannot follow a trail. */
export class LeftTrail extends Error {}

const isConstant = ({ inputs }: Node): boolean => inputs.length === 0;

/** The decisions of the passes for one graph: its own ones, or those of another graph which it follows. */
export class Trail {
  /** The trail that is followed; undefined where decisions are made and noted. */
  readonly followed: Trail | undefined;
  readonly #choices: number[] = [];
  /** For each application of an op, the id of the node that it gave, and the op. Constants are left out: they are equal by chance. */
  readonly #ids: number[] = [];
  readonly #ops: AnyOp[] = [];
  /** How much there was when something was tried. */
  readonly #begun = { choices: 0, applications: 0 };
  /** The nodes of the pass under way, and the keys of those that were made since something was tried. */
  #shared: SharedNodes | undefined;
  readonly #tried: NodeKey[] = [];
  /** How many choices and applications of the followed trail have been repeated. */
  readonly #repeated = { choices: 0, applications: 0 };
  /** The nodes that stand for those of the followed trail, by id. */
  readonly #nodes = new Map<number, Node>();
  /** Whether the function has so many sizes that one session for all is worth more than the best one for each. */
  readonly #isForMany: boolean;
  #isProbing = false;

  constructor({ followed, isForMany = false }: { readonly followed?: Trail; readonly isForMany?: boolean } = {}) {
    this.followed = followed;
    this.#isForMany = isForMany;
  }

  /** Notes a choice. */
  note(choice: number): void {
    this.#choices.push(choice);
  }

  /** The next choice on the followed trail. */
  next(): number {
    const choice = this.followed!.#choices[this.#repeated.choices++];
    if (choice === undefined) throw new LeftTrail();
    return choice;
  }

  /** Whether a condition holds, and held on the trail. */
  holds(test: () => boolean): boolean {
    if (!this.followed) {
      const is = test();
      this.note(Number(is));
      return is;
    }
    if (this.next() === 0) return false;
    if (!test()) throw new LeftTrail();
    return true;
  }

  /** Whether something pays that is right in any case. If there are many sizes, and it was done for one, it is done for all. */
  pays(test: () => boolean): boolean {
    if (this.#isProbing) return test();
    if (!this.followed) return this.holds(test);
    const did = this.next() === 1;
    if (did && this.#isForMany) return true;
    if (did !== test()) throw new LeftTrail();
    return did;
  }

  /** A number to be chosen: the best one for this graph; or the one that fits every graph, if there are many sizes. */
  number(best: () => number, fitsAll: number): number {
    if (this.#isProbing) return best();
    if (!this.followed) {
      const number = this.#isForMany ? fitsAll : best();
      this.note(number);
      return number;
    }
    const number = this.next();
    if (number === fitsAll && this.#isForMany) return number;
    if (number !== best()) throw new LeftTrail();
    return number;
  }

  /** Returns what `test` returns, which makes nodes to no purpose, and takes no part in the trail. */
  probed(test: () => boolean): boolean {
    this.#isProbing = true;
    try {
      return withScope(newScope(currentScope().trace), test);
    } finally {
      this.#isProbing = false;
    }
  }

  /** Notes that one of several things is tried. */
  begin(choice: number): void {
    this.#begun.choices = this.#choices.length;
    this.#begun.applications = this.#ids.length;
    this.#tried.length = 0;
    this.note(choice);
  }

  /**
   * Forgets all that was noted since `begin`. The nodes that were made to no purpose are not found later: they would stand before nodes that
   * were made after them, and a graph that follows does not make them.
   */
  forget(): void {
    for (const key of this.#tried) this.#shared?.delete(key);
    this.#tried.length = 0;
    this.#choices.length = this.#begun.choices;
    this.#ids.length = this.#begun.applications;
    this.#ops.length = this.#begun.applications;
  }

  /** Returns a table for the nodes of one pass. */
  table(): NodeTable {
    return this.followed ? this.#tableAlong(this.followed) : this.#notingTable();
  }

  #notingTable(): NodeTable {
    const shared = new SharedNodes();
    this.#shared = shared;
    const noted = (node: Node): void => {
      if (isConstant(node)) return;
      this.#ids.push(node.id);
      this.#ops.push(node.op);
    };
    return {
      keyOf: (op, inputs, params) => shared.keyOf(op, inputs, params),
      get: (key) => {
        const node = shared.get(key);
        if (node) noted(node);
        return node;
      },
      set: (key, node) => {
        shared.set(key, node);
        this.#tried.push(key);
        noted(node);
      },
    };
  }

  #tableAlong(followed: Trail): NodeTable {
    const constants = new SharedNodes();
    return {
      keyOf: (op, inputs, params) => {
        if (inputs.length === 0) return constants.keyOf(op, inputs, params);
        const at = this.#repeated.applications++;
        if (followed.#ops[at] !== op) throw new LeftTrail();
        const id = followed.#ids[at]!;
        const known = this.#nodes.get(id);
        if (known && !isApplication(known, op, inputs, params)) throw new LeftTrail();
        return id;
      },
      get: (key: NodeKey) => (typeof key === "number" ? this.#nodes.get(key) : constants.get(key)),
      set: (key: NodeKey, node) => {
        if (typeof key === "number") this.#nodes.set(key, node);
        else constants.set(key, node);
      },
    };
  }
}

function isApplication(node: Node, op: AnyOp, inputs: readonly Value[], params: unknown): boolean {
  return textOfApplication(node.op, node.inputs, node.params) === textOfApplication(op, inputs, params);
}
