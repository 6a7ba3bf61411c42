/** Rewriting: rules that replace a node by nodes that compute the same at less cost. Each rule is one record. */

import { applyAgain, applyAll, tensorOf } from "../../graph/apply.ts";
import { Body } from "../../graph/body.ts";
import { collect, type Node, usersAmong, type Value } from "../../graph/node.ts";
import type { AnyOp, Op } from "../../graph/op.ts";
import { atPath, newScope, withScope } from "../../graph/scope.ts";
import type { Target } from "../../graph/target.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { LeftTrail, Trail } from "./trail.ts";

/** What a rule sees: a node whose inputs have been rewritten already. */
export interface Match {
  readonly node: Node;
  readonly inputs: readonly Tensor[];
  readonly target: Target;
  /** How many places of the graph use a value; 1 means that folding it away costs nothing. */
  uses(value: Value): number;
  /** The nodes that read a value, among those that the pass has visited already; given by their first outputs. */
  readersOf(value: Value): readonly Tensor[];
  /** The node as it was before the pass, and the users it had then: with these a rule can look at nodes that are not visited yet. */
  readonly original: Node;
  usersOf(value: Value): readonly Node[];
  /** Whether a rule pays that could be applied in any case. Among many sizes, it is applied for all once it has been (`Trail.pays`). */
  pays(test: () => boolean): boolean;
  /** A number that a rule may choose; among many sizes, the one that fits all (`Trail.number`). */
  number(best: () => number, fitsAll: number): number;
  /** Returns what the rules of this pass know of the graph as it was before the pass; at first, what the analysis starts with. */
  known<T>(analysis: Analysis<T>): T;
}

/** Something that rules find out about a graph, and keep for the other nodes of the same pass. */
export interface Analysis<T> {
  start(): T;
}

export interface RewriteRule {
  /** For the debug print. */
  readonly name: string;
  /** The one op whose applications the rule is tried on. Default: any. */
  readonly op?: unknown;
  /**
   * Whether it compares sizes, other than to find out whether it is right. A graph that follows a trail on which the rule was not applied
   * leaves it where the rule applies: its results would have other bits, or take longer.
   */
  readonly looksAtSizes?: boolean;
  /** Returns replacements for the node's outputs; undefined when the rule does not apply. */
  rewrite(match: Match): readonly Tensor[] | undefined;
}

/** Rules that are tried together, on each node once its inputs are done. */
export interface RuleSet {
  readonly rules: readonly RewriteRule[];
  /** Whether they are tried inside the ops that hold graphs too. */
  readonly insideBodies: boolean;
  /** The pass is skipped for a graph that has none of these ops. Default: it is never skipped. */
  readonly needs?: readonly unknown[];
  /** Whether the pass is skipped for a target. Default: it is never skipped. */
  isFor?(target: Target): boolean;
}

/** A rule for one op, given the node's inputs and parameters. */
export function ruleFor<P>(
  name: string,
  op: Op<P>,
  rewrite: (inputs: readonly Tensor[], params: P, match: Match) => Tensor | undefined,
): RewriteRule {
  return {
    name,
    op,
    rewrite(match) {
      const result = rewrite(match.inputs, match.node.params as P, match);
      return result && [result];
    },
  };
}

/** A rule for one op that compares sizes (`looksAtSizes`). */
export function bySize<P>(...args: Parameters<typeof ruleFor<P>>): RewriteRule {
  return { ...ruleFor(...args), looksAtSizes: true };
}

/** The parameters and inputs of the node behind a tensor, if it is an application of `op`; undefined otherwise. */
export function paramsOf<P>(
  tensor: Value,
  op: Op<P>,
): { readonly params: P; readonly inputs: readonly Tensor[] } | undefined {
  if ((tensor.node.op as unknown) !== op) return undefined;
  return { params: tensor.node.params as P, inputs: inputsOf(tensor.node) };
}

function inputsOf({ inputs }: Node): Tensor[] {
  const tensors: Tensor[] = [];
  for (let i = 0; i < inputs.length; i++) tensors.push(tensorOf(inputs[i]!.node, inputs[i]!.index));
  return tensors;
}

/** A number for each value. */
class Counts {
  readonly #counts = new Map<Node, number | number[]>();

  of({ node, index }: Value): number | undefined {
    const counts = this.#counts.get(node);
    return typeof counts === "object" ? counts[index] : counts;
  }

  add({ node, index }: Value, count: number): void {
    const counts = this.#counts.get(node);
    if (node.outputs.length === 1) this.#counts.set(node, ((counts as number | undefined) ?? 0) + count);
    else if (typeof counts === "object") counts[index]! += count;
    else
      this.#counts.set(
        node,
        Array.from(node.outputs, (_, i) => (i === index ? count : 0)),
      );
  }
}

/**
 * The nodes that the passes have made so far. While its inputs do not change, such a node need not be built again to find equal nodes.
 * The number of each node has one bit for each rule for its op. A set bit means that the rule was tried and does not apply, whatever
 * surrounds the node: it is not tried again.
 */
type Made = Map<Node, number>;

/** Applies passes to a graph, and returns its rewritten roots, which have the same values. Equal nodes become one. */
export function rewrite(
  roots: readonly Value[],
  passes: readonly RuleSet[],
  target: Target,
  trace: object | undefined,
  trail: Trail = new Trail(),
): Value[] {
  const course: Course = { target, trail, made: new Map() };
  return withScope(newScope(trace, trail.table()), () =>
    passes.reduce<Value[]>((values, pass) => rewriteOnce(values, pass, course), [...roots]),
  );
}

/** What all passes over a graph share. */
interface Course {
  readonly target: Target;
  readonly trail: Trail;
  readonly made: Made;
}

/** The choice of no rule. */
const noRule = -1;

/** How many rules may be applied to one node in a row; the limit stops two rules that undo each other. */
const mostRewrites = 20;

function rewriteOnce(roots: readonly Value[], pass: RuleSet, course: Course): Value[] {
  if (pass.isFor?.(course.target) === false) return [...roots];
  const nodes = collect(roots);
  if (pass.needs && !nodes.some(({ op }) => pass.needs!.includes(op) || (pass.insideBodies && op.mapBodies)))
    return [...roots];
  return new Rewriting(roots, nodes, pass, course).run();
}

/** One pass over a graph, or over one inside an op. */
class Rewriting {
  readonly #roots: readonly Value[];
  readonly #nodes: readonly Node[];
  readonly #pass: RuleSet;
  readonly #course: Course;
  readonly #made: Made;
  readonly #trail: Trail;
  /** The new outputs of the nodes that were replaced. */
  readonly #replaced = new Map<Node, readonly Tensor[]>();
  /** The nodes that were visited and not replaced. */
  readonly #kept = new Set<Node>();
  readonly #oldUses = new Counts();
  /** The uses that values took over from the values that they replaced; values of kept nodes also have their old uses. */
  readonly #newUses = new Counts();
  #oldUsers: ReadonlyMap<Node, readonly Node[]> | undefined;
  /** The readers of each node; undefined until a rule asks for them. */
  #readers: Map<Node, Tensor[]> | undefined;
  /** How many nodes the pass has visited. */
  #done = 0;
  readonly #context: MatchContext;

  constructor(roots: readonly Value[], nodes: readonly Node[], pass: RuleSet, course: Course) {
    this.#roots = roots;
    this.#nodes = nodes;
    this.#pass = pass;
    this.#course = course;
    this.#made = course.made;
    this.#trail = course.trail;
    this.#context = new MatchContext(
      course,
      (value) => this.#usesOf(value),
      (value) => this.#readersOf(value),
      ({ node }) => {
        this.#oldUsers ??= usersAmong(nodes);
        return this.#oldUsers.get(node) ?? [];
      },
    );
  }

  run(): Value[] {
    for (const node of this.#nodes) for (const input of node.inputs) this.#oldUses.add(input, 1);
    for (const root of this.#roots) this.#oldUses.add(root, 1);
    for (const node of this.#nodes) {
      const next = atPath(node.path, () => {
        const rebuilt = this.#rebuilt(node);
        return node.inputs.length === 0 ? rebuilt : this.#simplest(node, rebuilt);
      });
      if (next) this.#replace(node, next);
      else this.#kept.add(node);
      this.#done++;
      if (this.#readers) addReader(this.#readers, next?.[0] ?? tensorOf(node));
    }
    return this.#roots.map((root) => this.#fresh(root));
  }

  #fresh({ node, index }: Value): Tensor {
    return this.#replaced.get(node)?.[index] ?? tensorOf(node, index);
  }

  #replace(node: Node, outputs: readonly Tensor[]): void {
    this.#replaced.set(node, outputs);
    for (let index = 0; index < outputs.length; index++) {
      const value = outputs[index]!;
      this.#newUses.add(value, this.#oldUses.of({ node, index }) ?? 0);
      if (!this.#made.has(value.node)) this.#made.set(value.node, 0);
    }
  }

  /** Applies rules to a node, which may have been rebuilt, and returns its new outputs; undefined if the node does not change. */
  #simplest(original: Node, rebuilt: readonly Tensor[] | undefined): readonly Tensor[] | undefined {
    let outputs = rebuilt;
    for (let i = 0; i < mostRewrites; i++) {
      const next = this.#applyFirst(outputs ? outputs[0]!.node : original, outputs, original);
      if (!next) break;
      outputs = next;
    }
    return outputs;
  }

  /** Returns the outputs of the node with its new inputs, and with rules applied to the graphs inside it; undefined if nothing changed. */
  #rebuilt(node: Node): readonly Tensor[] | undefined {
    const { op, params, inputs } = node;
    const mapBodies = this.#pass.insideBodies ? op.mapBodies : undefined;
    if (node.source) return undefined;
    if (!mapBodies && !this.#changes(node)) return undefined;
    const inside = ({ leaves, roots }: Body): Body => new Body(leaves, rewriteOnce(roots, this.#pass, this.#course));
    const given = inputs.map((input) => this.#fresh(input));
    return mapBodies ? applyAll(op, given, mapBodies(params, inside)) : applyAgain(node, given);
  }

  /** Whether a node is built again, as on the trail. One that stays as it was computes the same. */
  #changes(node: Node): boolean {
    const isConstant = node.inputs.length === 0;
    if (this.#trail.followed && !isConstant) return this.#trail.next() === 1;
    const changes = !this.#made.has(node) || node.inputs.some((input) => this.#replaced.has(input.node));
    if (!isConstant) this.#trail.note(Number(changes));
    return changes;
  }

  /** Applies the first rule that fits. `outputs` are those of `node`; undefined if it is the original node. */
  #applyFirst(node: Node, outputs: readonly Tensor[] | undefined, original: Node): readonly Tensor[] | undefined {
    if (node.source || (outputs && outputs.length !== node.outputs.length)) return undefined;
    const rules = rulesFor(this.#pass, node.op);
    if (rules.length === 0) return undefined;
    if (this.#trail.followed) return this.#applySame(rules, node, outputs, original);
    let settled = this.#made.get(node) ?? 0;
    let match: NodeMatch | undefined;
    for (const [i, { rule, bit }] of rules.entries()) {
      if ((settled & bit) !== 0) continue;
      match ??= new NodeMatch(this.#context, node, original);
      this.#context.isAsked = false;
      this.#trail.begin(i);
      const result = this.#rewritten(rule, match, outputs, original);
      if (result) return result;
      this.#trail.forget();
      if (!this.#context.isAsked) settled |= bit;
    }
    this.#trail.note(noRule);
    if (match) this.#made.set(node, settled);
    return undefined;
  }

  /** Applies the rule that was applied on the trail. */
  #applySame(
    rules: readonly RuleOfOp[],
    node: Node,
    outputs: readonly Tensor[] | undefined,
    original: Node,
  ): readonly Tensor[] | undefined {
    const choice = this.#trail.next();
    const match = new NodeMatch(this.#context, node, original);
    if (choice === noRule) {
      const applies = ({ rule }: RuleOfOp): boolean =>
        rule.looksAtSizes === true && this.#rewritten(rule, match, outputs, original) !== undefined;
      if (rules.some(({ rule }) => rule.looksAtSizes) && this.#trail.probed(() => rules.some(applies)))
        throw new LeftTrail();
      return undefined;
    }
    const result = rules[choice] && this.#rewritten(rules[choice].rule, match, outputs, original);
    if (!result) throw new LeftTrail();
    return result;
  }

  /** The replacements that a rule gives; undefined if there are none, or if they are the node itself. */
  #rewritten(
    rule: RewriteRule,
    match: NodeMatch,
    outputs: readonly Tensor[] | undefined,
    original: Node,
  ): readonly Tensor[] | undefined {
    const result = rule.rewrite(match);
    const isOther = result?.some((value, i) => {
      const index = outputs ? outputs[i]!.index : i;
      return value.node !== match.node || value.index !== index;
    });
    if (!isOther) return undefined;
    result!.forEach((value, i) => expectSameType(rule, original, value, i));
    return result;
  }

  #usesOf(value: Value): number {
    const fresh = this.#newUses.of(value);
    if (!this.#kept.has(value.node)) return fresh ?? 1;
    return (this.#oldUses.of(value) ?? 0) + (fresh ?? 0);
  }

  #readersOf({ node, index }: Value): readonly Tensor[] {
    if (!this.#readers) {
      this.#readers = new Map();
      for (const each of this.#nodes.slice(0, this.#done))
        addReader(this.#readers, this.#fresh({ node: each, index: 0 }));
    }
    return (this.#readers.get(node) ?? []).filter((reader) =>
      reader.node.inputs.some((input) => input.node === node && input.index === index),
    );
  }
}

function addReader(readers: Map<Node, Tensor[]>, reader: Tensor): void {
  for (const input of new Set(reader.node.inputs.map((value) => value.node))) {
    const known = readers.get(input);
    if (known) known.push(reader);
    else readers.set(input, [reader]);
  }
}

/** The surroundings of a node in the graph; `isAsked` says whether a rule has looked at them. */
class MatchContext {
  isAsked = false;
  readonly target: Target;
  readonly pays: Match["pays"];
  readonly number: Match["number"];
  readonly uses: Match["uses"];
  readonly readersOf: Match["readersOf"];
  readonly usersOf: Match["usersOf"];
  readonly #known = new Map<Analysis<unknown>, unknown>();

  constructor(
    { target, trail }: Course,
    uses: Match["uses"],
    readersOf: Match["readersOf"],
    usersOf: Match["usersOf"],
  ) {
    this.target = target;
    this.pays = (test) => trail.pays(test);
    this.number = (best, fitsAll) => trail.number(best, fitsAll);
    this.uses = (value) => {
      this.isAsked = true;
      return uses(value);
    };
    this.readersOf = (value) => {
      this.isAsked = true;
      return readersOf(value);
    };
    this.usersOf = (value) => {
      this.isAsked = true;
      return usersOf(value);
    };
  }

  known<T>(analysis: Analysis<T>): T {
    this.isAsked = true;
    const known = (this.#known.get(analysis) as T | undefined) ?? analysis.start();
    this.#known.set(analysis, known);
    return known;
  }
}

class NodeMatch implements Match {
  readonly node: Node;
  readonly target: Target;
  readonly uses: Match["uses"];
  readonly readersOf: Match["readersOf"];
  readonly usersOf: Match["usersOf"];
  readonly pays: Match["pays"];
  readonly number: Match["number"];
  readonly #original: Node;
  readonly #context: MatchContext;
  #inputs: readonly Tensor[] | undefined;

  constructor(context: MatchContext, node: Node, original: Node) {
    this.node = node;
    this.target = context.target;
    this.uses = context.uses;
    this.readersOf = context.readersOf;
    this.usersOf = context.usersOf;
    this.pays = context.pays;
    this.number = context.number;
    this.#context = context;
    this.#original = original;
  }

  get inputs(): readonly Tensor[] {
    this.#inputs ??= inputsOf(this.node);
    return this.#inputs;
  }

  known<T>(analysis: Analysis<T>): T {
    return this.#context.known(analysis);
  }

  get original(): Node {
    this.#context.isAsked = true;
    return this.#original;
  }
}

/** A rule for an op, with its bit among all rules for the op; 0 if no bit is left. */
interface RuleOfOp {
  readonly rule: RewriteRule;
  readonly bit: number;
}

const rulesByOp = new WeakMap<RuleSet, Map<unknown, readonly RuleOfOp[]>>();
const bits = new Map<unknown, Map<RewriteRule, number>>();

/** The rules of a pass that are tried on an op. */
function rulesFor(pass: RuleSet, op: AnyOp): readonly RuleOfOp[] {
  const known = rulesByOp.get(pass) ?? new Map<unknown, readonly RuleOfOp[]>();
  rulesByOp.set(pass, known);
  const rules =
    known.get(op) ??
    pass.rules
      .filter((rule) => rule.op === undefined || rule.op === op)
      .map((rule) => ({ rule, bit: bitOf(rule, op) }));
  known.set(op, rules);
  return rules;
}

function bitOf(rule: RewriteRule, op: AnyOp): number {
  const ofOp = bits.get(op) ?? new Map<RewriteRule, number>();
  bits.set(op, ofOp);
  const bit = ofOp.get(rule) ?? (ofOp.size < 31 ? 1 << ofOp.size : 0);
  ofOp.set(rule, bit);
  return bit;
}

function expectSameType(rule: RewriteRule, node: Node, value: Value, index: number): void {
  const was = node.outputs[index]!;
  const is = value.node.outputs[value.index]!;
  if (was.dtype !== is.dtype || `${was.shape}` !== `${is.shape}`)
    throw new Error(
      `rule "${rule.name}" changed ${node.op.name} from ${was.dtype}[${was.shape}] to ${is.dtype}[${is.shape}]`,
    );
}
