/** Rewriting: rules that replace a node by something that computes the same for less. Each rule is one record. */

import { applyAll, tensorOf } from "../../graph/apply.ts";
import { Body } from "../../graph/body.ts";
import { collect, type Node, usersAmong, type Value } from "../../graph/node.ts";
import type { Op } from "../../graph/op.ts";
import { newScope, withScope } from "../../graph/scope.ts";
import type { Target } from "../../graph/target.ts";
import type { Tensor } from "../../tensor/tensor.ts";

/** What a rule sees: a node whose inputs have been rewritten already. */
export interface Match {
  readonly node: Node;
  readonly inputs: readonly Tensor[];
  readonly target: Target;
  /** How many places of the graph use a value; 1 means that folding it away costs nothing. */
  uses(value: Value): number;
  /** What reads a value among the nodes that the pass has come to: the first output of each. */
  readersOf(value: Value): readonly Tensor[];
  /** The node as it was before the pass, and the users it then had: what is still to come can be seen there. */
  readonly original: Node;
  usersOf(value: Value): readonly Node[];
}

export interface Rule {
  /** For the debug print. */
  readonly name: string;
  /** The one op whose applications the rule is tried on. Default: any. */
  readonly op?: unknown;
  /** What stands in for the node's outputs, or nothing when the rule does not apply. */
  rewrite(match: Match): readonly Tensor[] | undefined;
}

/** Rules that are tried together, on each node once its inputs are done. */
export interface Pass {
  readonly rules: readonly Rule[];
  /** Whether they are tried inside the ops that hold graphs too. */
  readonly insideBodies: boolean;
  /** Ops without any of which the pass changes nothing. Default: it is made in any case. */
  readonly needs?: readonly unknown[];
}

/** A rule for one op, given the node's inputs and parameters. */
export function ruleFor<P>(
  name: string,
  op: Op<P>,
  rewrite: (inputs: readonly Tensor[], params: P, match: Match) => Tensor | undefined,
): Rule {
  return {
    name,
    op,
    rewrite(match) {
      const result = rewrite(match.inputs, match.node.params as P, match);
      return result && [result];
    },
  };
}

/** The parameters of the node behind a tensor when it is an application of `op`. */
export function paramsOf<P>(
  tensor: Value,
  op: Op<P>,
): { readonly params: P; readonly inputs: readonly Tensor[] } | undefined {
  if ((tensor.node.op as unknown) !== op) return undefined;
  return {
    params: tensor.node.params as P,
    inputs: tensor.node.inputs.map(({ node, index }) => tensorOf(node, index)),
  };
}

/** Numbers by value. */
class Counts {
  readonly #counts = new Map<Node, number[]>();

  of({ node, index }: Value): number | undefined {
    return this.#counts.get(node)?.[index];
  }

  add({ node, index }: Value, count: number): void {
    const counts = this.#counts.get(node) ?? Array<number>(node.outputs.length).fill(0);
    counts[index]! += count;
    this.#counts.set(node, counts);
  }
}

/** The same values as `roots`, computed by the graph that the passes make of it. Equal nodes become one. */
export function rewrite(
  roots: readonly Value[],
  passes: readonly Pass[],
  target: Target,
  trace: object | undefined,
): Value[] {
  const made = new Set<Node>();
  return withScope(newScope(trace, true), () =>
    passes.reduce<Value[]>((values, pass) => rewriteOnce(values, pass, target, made), [...roots]),
  );
}

/** How many rules may follow one another at one node; a guard against two rules that undo each other. */
const mostRewrites = 20;

/** `made` are nodes that the passes have made so far: such a node with its inputs unchanged is the node that equal ones become. */
function rewriteOnce(roots: readonly Value[], pass: Pass, target: Target, made: Set<Node>): Value[] {
  const nodes = collect(roots);
  if (pass.needs && !nodes.some(({ op }) => pass.needs!.includes(op) || (pass.insideBodies && op.mapBodies)))
    return [...roots];
  const oldUses = new Counts();
  const oldUsers = usersAmong(nodes);
  for (const node of nodes) for (const input of node.inputs) oldUses.add(input, 1);
  for (const root of roots) oldUses.add(root, 1);

  const uses = new Counts();
  const readers = new Map<Node, Tensor[]>();
  const replaced = new Map<Node, readonly Tensor[]>();
  const fresh = ({ node, index }: Value): Tensor => replaced.get(node)![index]!;
  const context: Context = {
    target,
    uses: (value) => uses.of(value) ?? 1,
    readersOf: ({ node, index }) =>
      (readers.get(node) ?? []).filter((reader) =>
        reader.node.inputs.some((input) => input.node === node && input.index === index),
      ),
    usersOf: (value) => oldUsers.get(value.node) ?? [],
  };
  for (const node of nodes) {
    let outputs = rebuilt(node, fresh, pass, target, made);
    for (let i = 0; i < mostRewrites; i++) {
      const next = applyFirst(outputs, node, pass, context);
      if (!next) break;
      outputs = next;
    }
    replaced.set(node, outputs);
    outputs.forEach((value, index) => {
      uses.add(value, oldUses.of({ node, index }) ?? 0);
      made.add(value.node);
    });
    const [first] = outputs;
    for (const input of new Set(first?.node.inputs.map((value) => value.node))) {
      const known = readers.get(input);
      if (known) known.push(first!);
      else readers.set(input, [first!]);
    }
  }
  return roots.map(fresh);
}

/** The node with other inputs, and with the rules applied to the graphs that it holds; the very same node when nothing changed. */
function rebuilt(
  node: Node,
  fresh: (value: Value) => Tensor,
  pass: Pass,
  target: Target,
  made: Set<Node>,
): readonly Tensor[] {
  const { op, params, inputs } = node;
  const mapBodies = pass.insideBodies ? op.mapBodies : undefined;
  const isSame = ({ node: from, index }: Value): boolean => {
    const now = fresh({ node: from, index });
    return now.node === from && now.index === index;
  };
  if (node.source || (!mapBodies && made.has(node) && inputs.every(isSame)))
    return node.outputs.map((_, index) => tensorOf(node, index));
  const inside = ({ leaves, roots }: Body): Body => new Body(leaves, rewriteOnce(roots, pass, target, made));
  return applyAll(op, inputs.map(fresh), mapBodies ? mapBodies(params, inside) : params);
}

type Context = Pick<Match, "target" | "uses" | "readersOf" | "usersOf">;

const rulesByOp = new WeakMap<Pass, Map<unknown, readonly Rule[]>>();

/** The rules of a pass that are tried on an op. */
function rulesFor(pass: Pass, op: unknown): readonly Rule[] {
  const known = rulesByOp.get(pass) ?? new Map<unknown, readonly Rule[]>();
  rulesByOp.set(pass, known);
  const rules = known.get(op) ?? pass.rules.filter((rule) => rule.op === undefined || rule.op === op);
  known.set(op, rules);
  return rules;
}

function applyFirst(
  outputs: readonly Tensor[],
  original: Node,
  pass: Pass,
  context: Context,
): readonly Tensor[] | undefined {
  const { node } = outputs[0]!;
  if (node.source || outputs.length !== node.outputs.length) return undefined;
  const rules = rulesFor(pass, node.op);
  if (rules.length === 0) return undefined;
  const inputs = node.inputs.map(({ node: from, index }) => tensorOf(from, index));
  const match: Match = { ...context, node, original, inputs };
  for (const rule of rules) {
    const result = rule.rewrite(match);
    if (result?.some((value, i) => value.node !== outputs[i]!.node || value.index !== outputs[i]!.index)) {
      result.forEach((value, i) => expectSameType(rule, original, value, i));
      return result;
    }
  }
  return undefined;
}

function expectSameType(rule: Rule, node: Node, value: Value, index: number): void {
  const was = node.outputs[index]!;
  const is = value.node.outputs[value.index]!;
  if (was.dtype !== is.dtype || `${was.shape}` !== `${is.shape}`)
    throw new Error(
      `rule "${rule.name}" changed ${node.op.name} from ${was.dtype}[${was.shape}] to ${is.dtype}[${is.shape}]`,
    );
}
