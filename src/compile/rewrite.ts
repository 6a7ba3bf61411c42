/** Rewriting: rules that replace a node by something that computes the same for less. Each rule is one record. */
import type { Target } from "../engine/engine.ts";
import { applyAll, tensorOf } from "../graph/apply.ts";
import { Body } from "../graph/body.ts";
import { collect, type Node, usersAmong, type Value } from "../graph/node.ts";
import type { Op } from "../graph/op.ts";
import { newScope, withScope } from "../graph/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a rule sees: a node whose inputs have been rewritten already. */
export interface Match {
  readonly node: Node;
  readonly inputs: readonly Tensor[];
  readonly target: Target;
  /** How many places of the graph use a value; 1 means that folding it away costs nothing. */
  uses(value: Value): number;
  /** Applications of an op among the nodes that the pass has come to. */
  all<P>(op: Op<P>): readonly Tensor[];
  /** The node as it was before the pass, and the users it then had: what is still to come can be seen there. */
  readonly original: Node;
  usersOf(value: Value): readonly Node[];
}

export interface Rule {
  /** For the debug print. */
  readonly name: string;
  /** What stands in for the node's outputs, or nothing when the rule does not apply. */
  rewrite(match: Match): readonly Tensor[] | undefined;
}

/** Rules that are tried together, on each node once its inputs are done. */
export interface Pass {
  readonly rules: readonly Rule[];
  /** Whether they are tried inside the ops that hold graphs too. */
  readonly insideBodies: boolean;
}

/** A rule for one op, given the node's inputs and parameters. */
export function ruleFor<P>(
  name: string,
  op: Op<P>,
  rewrite: (inputs: readonly Tensor[], params: P, match: Match) => Tensor | undefined,
): Rule {
  return {
    name,
    rewrite(match) {
      if ((match.node.op as unknown) !== op) return undefined;
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

const key = ({ node, index }: Value): string => `${node.id}.${index}`;

/** The same values as `roots`, computed by the graph that the passes make of it. Equal nodes become one. */
export function rewrite(
  roots: readonly Value[],
  passes: readonly Pass[],
  target: Target,
  trace: object | undefined,
): Value[] {
  return withScope(newScope(trace, true), () =>
    passes.reduce<Value[]>((values, pass) => rewriteOnce(values, pass, target), [...roots]),
  );
}

/** How many rules may follow one another at one node; a guard against two rules that undo each other. */
const mostRewrites = 20;

function rewriteOnce(roots: readonly Value[], pass: Pass, target: Target): Value[] {
  const nodes = collect(roots);
  const oldUses = new Map<string, number>();
  const oldUsers = usersAmong(nodes);
  const count = (value: Value): void => void oldUses.set(key(value), (oldUses.get(key(value)) ?? 0) + 1);
  for (const node of nodes) node.inputs.forEach(count);
  roots.forEach(count);

  const uses = new Map<string, number>();
  const applications = new Map<unknown, Tensor[]>();
  const replaced = new Map<Node, readonly Tensor[]>();
  const fresh = ({ node, index }: Value): Tensor => replaced.get(node)![index]!;
  const context = {
    target,
    uses: (value: Value) => uses.get(key(value)) ?? 1,
    all: (op: unknown) => applications.get(op) ?? [],
    usersOf: (value: Value) => oldUsers.get(value.node) ?? [],
  };
  for (const node of nodes) {
    let outputs: readonly Tensor[] = node.source
      ? [tensorOf(node)]
      : rebuilt(node, node.inputs.map(fresh), pass, target);
    for (let i = 0; i < mostRewrites; i++) {
      const next = applyFirst(outputs, node, pass.rules, context);
      if (!next) break;
      outputs = next;
    }
    replaced.set(node, outputs);
    outputs.forEach((value, index) => {
      uses.set(key(value), (uses.get(key(value)) ?? 0) + (oldUses.get(key({ node, index })) ?? 0));
    });
    const [made] = outputs;
    if (made) applications.set(made.node.op, [...(applications.get(made.node.op) ?? []), made]);
  }
  return roots.map(fresh);
}

/** The node with other inputs, and with the rules applied to the graphs that it holds; the very same node when nothing changed. */
function rebuilt({ op, params }: Node, inputs: readonly Tensor[], pass: Pass, target: Target): readonly Tensor[] {
  const inside = ({ leaves, roots }: Body): Body => new Body(leaves, rewriteOnce(roots, pass, target));
  return applyAll(op, inputs, op.mapBodies && pass.insideBodies ? op.mapBodies(params, inside) : params);
}

function applyFirst(
  outputs: readonly Tensor[],
  original: Node,
  rules: readonly Rule[],
  context: Omit<Match, "node" | "inputs" | "original">,
): readonly Tensor[] | undefined {
  const { node } = outputs[0]!;
  if (node.source || outputs.length !== node.outputs.length) return undefined;
  const match: Match = {
    ...context,
    node,
    original,
    inputs: node.inputs.map(({ node: from, index }) => tensorOf(from, index)),
  };
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
