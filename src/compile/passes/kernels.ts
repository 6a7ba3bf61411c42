/**
 * Makes kernels out of elementwise ops: neighbouring nodes with the same number of elements become one node. It reads each of its inputs
 * once, keeps intermediate values in registers, and writes only the values that other nodes need.
 */
import { applyAll, tensorOf } from "../../graph/apply.ts";
import { Body } from "../../graph/body.ts";
import { collect, inOrder, makeNode, type Node, usersAmong, type Value } from "../../graph/node.ts";
import type { AnyOp } from "../../graph/op.ts";
import { newScope, withScope } from "../../graph/scope.ts";
import { type Shape, sizeOf, type TensorType } from "../../graph/types.ts";
import {
  isStream,
  type Kernel,
  type KernelLimits,
  type KernelValue,
  KernelWriter,
  type Layout,
} from "../../kernel/kernel.ts";
import { fused } from "../../ops/lowered/fused.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Pass } from "./pass.ts";
import type { Trail } from "./trail.ts";

/** Longer kernels gain nothing: their intermediate values no longer fit into registers. */
const mostMembers = 64;
/** Kernels for fewer elements save less than they cost. */
const fewestElements = 2;

/** Nodes that become one kernel. */
interface Group {
  readonly members: Set<Node>;
  /** The position of its last member. Every node that needs the group has a later position, so that no group depends on itself. */
  readonly position: number;
  /** Elements of every member. */
  readonly size: number;
  /** The length of a row; undefined while no input depends on it. */
  width: number | undefined;
  /** The values from outside that it reads, by number. */
  readonly reads: Map<number, Read>;
  /** How many of them are streams. */
  streams: number;
  /** How many members are needed outside the group. */
  outputs: number;
}

/** Makes kernels if the target has them, also in the graphs inside ops such as loops. */
export const kernelPass: Pass = {
  name: "kernels",
  run(graph, target) {
    const { kernels: limits } = target;
    if (!limits) return graph;
    const { roots, trace, trail } = graph;
    return { ...graph, roots: withScope(newScope(trace, trail.table()), () => grouped(roots, { limits, trail })) };
  },
};

/** What all groups of a graph share. */
interface Course {
  readonly limits: KernelLimits;
  readonly trail: Trail;
}

function grouped(roots: readonly Value[], course: Course): Value[] {
  const own = withOwnTruths(roots);
  const graph = new Grouping(own.roots, course);
  return rebuilt(graph, graph.groups(), own.copyOf);
}

/**
 * Gives each node that could be in a kernel a copy of its own of the truth values that it uses, if others use them too. A kernel cannot
 * write truth values, and to compare once more in another kernel costs less than to write them and read them: the mask of a dropout, for
 * instance, is made of the same random bits in the forward pass and in the backward pass. `copyOf` has the original of each copy.
 */
function withOwnTruths(roots: readonly Value[]): { roots: readonly Value[]; copyOf: ReadonlyMap<Node, Node> } {
  const nodes = collect(roots);
  const users = usersAmong(nodes);
  const isRoot = new Set(roots.map(({ node }) => node));
  const isTruth = ({ outputs }: Node): boolean => outputs[0]?.dtype === "bool";
  const isShared = (node: Node): boolean =>
    isTruth(node) && isCandidate(node) && (isRoot.has(node) || (users.get(node)?.length ?? 0) > 1);
  const shared = new Set(nodes.filter(isShared));
  const copyOf = new Map<Node, Node>();
  if (shared.size === 0) return { roots, copyOf };
  const now = new Map<Node, Node>();
  const current = ({ node, index }: Value): Value => ({ node: now.get(node) ?? node, index });
  /** The copy that one user has of a truth value, with all truth values that it is made of; `own` has those of the same user. */
  const copied = (node: Node, own: Map<Node, Node>): Node => {
    const known = own.get(node);
    if (known) return known;
    const inputs = node.inputs.map((input) => {
      const belongs = isTruth(input.node) && isCandidate(input.node);
      return belongs ? { node: copied(input.node, own), index: 0 } : current(input);
    });
    const copy = makeNode({ ...node, inputs });
    own.set(node, copy);
    copyOf.set(copy, node);
    return copy;
  };
  for (const node of nodes) {
    const takes = isCandidate(node) && !isTruth(node);
    const own = new Map<Node, Node>();
    const inputs = node.inputs.map((input) =>
      takes && shared.has(input.node) ? { node: copied(input.node, own), index: 0 } : current(input),
    );
    if (inputs.some((input, i) => input.node !== node.inputs[i]!.node)) now.set(node, makeNode({ ...node, inputs }));
  }
  return { roots: roots.map(current), copyOf };
}

/** The parameters of a node, with kernels in the graphs inside them. */
function withInnerKernels({ op, params }: Node, course: Course): unknown {
  return op.mapBodies ? op.mapBodies(params, ({ leaves, roots }) => new Body(leaves, grouped(roots, course))) : params;
}

class Grouping {
  readonly roots: readonly Value[];
  readonly nodes: readonly Node[];
  readonly course: Course;
  readonly #users: ReadonlyMap<Node, readonly Node[]>;
  readonly #isRoot: ReadonlySet<Node>;
  readonly #candidates: Set<Node>;
  /** An order in which the nodes can run, with candidates as early as possible. */
  readonly #positions: ReadonlyMap<Node, number>;
  readonly #groupOf = new Map<Node, Group>();

  constructor(roots: readonly Value[], course: Course) {
    this.roots = roots;
    this.course = course;
    this.nodes = collect(roots);
    this.#users = usersAmong(this.nodes);
    this.#isRoot = new Set(roots.map(({ node }) => node));
    this.#candidates = new Set(
      this.nodes.filter((node) => node.inputs.length > 0 && course.trail.holds(() => isCandidate(node))),
    );
    this.#positions = this.#ordered();
  }

  /**
   * Returns groups in which every truth value is computed in the group that uses it. If a truth value is outside, because other nodes need
   * it too or because no kernel can compute it, the nodes that use it cannot be in a group, and the groups are made again without them.
   */
  groups(): Group[] {
    for (;;) {
      this.#groupOf.clear();
      const all = this.#groupsOfCandidates();
      const lacking = all.flatMap(({ members }) => [...members].filter((node) => lacksTruth(node, members)));
      if (lacking.length === 0) return all.filter(isWorthwhile);
      for (const node of lacking) this.#candidates.delete(node);
    }
  }

  /** Goes through the nodes from the last to the first. Each joins a group of one of its users if possible, or else starts a group. */
  #groupsOfCandidates(): Group[] {
    const all: Group[] = [];
    for (const [node, position] of [...this.#positions].reverse()) {
      if (!this.#candidates.has(node)) continue;
      const nearest: Group[] = [];
      for (const user of this.#usersOf(node)) {
        const group = this.#groupOf.get(user);
        if (group && !nearest.includes(group)) nearest.push(group);
      }
      if (nearest.length > 1) nearest.sort((a, b) => a.position - b.position);
      if (nearest.some((group) => this.#joins(node, group)) || staysInside(node)) continue;
      const size = elementsOf(node);
      const group: Group = {
        members: new Set(),
        position,
        size,
        width: undefined,
        reads: new Map(),
        streams: 0,
        outputs: 0,
      };
      if (this.#joins(node, group)) all.push(group);
    }
    return all;
  }

  /** The members that are needed outside the group, in the order in which they were made. */
  outputsOf({ members, inOrder: all }: WholeGroup): Node[] {
    return all.filter((node) => this.#isRoot.has(node) || this.#usersOf(node).some((user) => !members.has(user)));
  }

  #usersOf(node: Node): readonly Node[] {
    return this.#users.get(node) ?? [];
  }

  #ordered(): ReadonlyMap<Node, number> {
    const isConstant = (node: Node): boolean => node.source === undefined && node.inputs.length === 0;
    // Constants come first: how many there are depends on chance, since equal ones are one node.
    const constants = this.nodes.filter(isConstant);
    const others = this.nodes.filter((node) => !isConstant(node));
    const needed = ({ inputs }: Node): Node[] => inputs.map(({ node }) => node).filter((node) => !isConstant(node));
    const missing = new Map(others.map((node) => [node, new Set(needed(node)).size]));
    const order = new Map<Node, number>(constants.map((node, i) => [node, i]));
    for (const first of others) {
      const ready = [first];
      for (let node = ready.pop(); node; node = ready.pop()) {
        if (order.has(node)) continue;
        order.set(node, order.size);
        for (const user of new Set(this.#usersOf(node))) {
          const left = missing.get(user)! - 1;
          missing.set(user, left);
          if (left === 0 && this.#candidates.has(user)) ready.push(user);
        }
      }
    }
    return order;
  }

  /**
   * Adds a node to a group, if the group can then still run at its position. Nodes come from the last to the first, so the node reads no
   * member of the group.
   */
  #joins(node: Node, group: Group): boolean {
    return this.course.trail.holds(() => this.#added(node, group));
  }

  #added(node: Node, group: Group): boolean {
    const { members, size, position, reads } = group;
    if (elementsOf(node) !== size || members.size >= mostMembers) return false;
    let isNeeded = this.#isRoot.has(node);
    for (const user of this.#usersOf(node)) {
      if (members.has(user)) continue;
      // All other nodes that need this node must come after the last member.
      if (this.#placeOf(user) <= position) return false;
      isNeeded = true;
    }
    if (isNeeded && staysInside(node)) return false;
    const { limits } = this.course;
    const width = widthWith(node, group, limits);
    if (width === "conflict") return false;
    const own = numberOf({ value: { node, index: 0 }, layout: "full" });
    const isRead = reads.has(own);
    const added = readsAt(node, members).filter(([number], i, all) => {
      return !reads.has(number) && all.findIndex(([other]) => other === number) === i;
    });
    const count = reads.size - Number(isRead) + added.length;
    const streams = added.reduce(
      (sum, [, read]) => sum + Number(isStream(read.layout)),
      group.streams - Number(isRead),
    );
    const outputs = group.outputs + Number(isNeeded);
    if (count > limits.inputs || streams + outputs > limits.streams) return false;
    members.add(node);
    reads.delete(own);
    for (const [number, read] of added) reads.set(number, read);
    group.streams = streams;
    group.outputs = outputs;
    group.width = width;
    this.#groupOf.set(node, group);
    return true;
  }

  /** Where a node runs. */
  #placeOf(node: Node): number {
    return this.#groupOf.get(node)?.position ?? this.#positions.get(node)!;
  }
}

/** Whether an op can write its steps: for ops without parameters whose steps do not depend on types. */
const kernelled = new WeakMap<AnyOp, boolean>();

/** Whether a node could be in a kernel: its types fit, and its op can write its steps. */
function isCandidate(node: Node): boolean {
  const { op, inputs, outputs, params, source } = node;
  const [output] = outputs;
  if (source !== undefined || op.kernel === undefined || outputs.length !== 1 || inputs.length === 0) return false;
  if (elementsOf(node) < fewestElements || (output!.dtype !== "float32" && output!.dtype !== "bool")) return false;
  const types = inputTypesOf(node);
  if (!types.every(({ dtype }) => dtype === "float32" || dtype === "bool")) return false;
  const known = kernelled.get(op);
  if (known !== undefined) return known;
  const write = new KernelWriter();
  const standIn = write.input("full");
  const given = inputs.map(() => standIn);
  const has = op.kernel(write, given, params, types) !== undefined;
  if (params === undefined && op.kernel.length < 4) kernelled.set(op, has);
  return has;
}

function inputTypesOf({ inputs }: Node): TensorType[] {
  return inputs.map(({ node, index }) => node.outputs[index]!);
}

/** Whether a kernel must not write a node's output: it is not float32, or the op only rearranges its input. */
function staysInside({ op, outputs }: Node): boolean {
  return outputs[0]!.dtype !== "float32" || op.rearranges === true;
}

function elementsOf({ outputs }: Node): number {
  return sizeOf(outputs[0]!.shape);
}

/** Whether a node is a constant, which becomes a part of the kernel's code. */
function isConstant({ op, inputs, source }: Node): boolean {
  return source === undefined && op.kernel !== undefined && inputs.length === 0;
}

const full = { layout: "full" } as const;
const scalar = { layout: "scalar" } as const;

/**
 * Returns the layout of a tensor that is widened to another shape, and the length of a row if the layout depends on it. Returns undefined
 * for other repetitions.
 */
function layoutUnder(from: Shape, to: Shape): { readonly layout: Layout; readonly width?: number } | undefined {
  const [size, all] = [sizeOf(from), sizeOf(to)];
  if (size === all) return full;
  if (size === 1) return scalar;
  const axes = [...Array<number>(to.length - from.length).fill(1), ...from];
  const begin = axes.findIndex((axis) => axis !== 1);
  const end = axes.findLastIndex((axis) => axis !== 1) + 1;
  const isWhole = axes.slice(begin, end).every((axis, i) => axis === to[begin + i]);
  if (!isWhole) return undefined;
  if (to.slice(end).every((axis) => axis === 1)) return { layout: "row", width: size };
  if (to.slice(0, begin).every((axis) => axis === 1)) return { layout: "column", width: all / size };
  return undefined;
}

/** The layout of a node's input that is widened to the node's shape. */
function layoutOf({ node: from, index }: Value, { outputs }: Node): ReturnType<typeof layoutUnder> {
  return layoutUnder(from.outputs[index]!.shape, outputs[0]!.shape);
}

/** The length of a group's rows once a node is in it. */
function widthWith(node: Node, group: Group, { rowElements }: KernelLimits): number | undefined | "conflict" {
  let { width } = group;
  for (const input of node.inputs) {
    if (isConstant(input.node)) continue;
    const under = layoutOf(input, node);
    if (!under) return "conflict";
    if (under.width === undefined) continue;
    if ((width !== undefined && width !== under.width) || under.width > rowElements) return "conflict";
    width = under.width;
  }
  return width;
}

/** A value that a group reads, and its layout. */
interface Read {
  readonly value: Value;
  readonly layout: Layout;
}

/** The layouts of what a group reads. */
const layouts: readonly Layout[] = ["full", "row", "column", "scalar"];
/** More outputs than any op has. */
const mostOutputs = 2 ** 10;

/** A number for a value in a layout. */
function numberOf({ value: { node, index }, layout }: Read): number {
  return (node.id * mostOutputs + index) * layouts.length + layouts.indexOf(layout);
}

/** What a member of a group reads at one of its inputs. */
function readAt(value: Value, member: Node): Read {
  return { value, layout: layoutOf(value, member)!.layout };
}

/** The values from outside that a group reads, by number. */
function readsOf({ members }: Group): ReadonlyMap<number, Read> {
  const reads = new Map<number, Read>();
  for (const member of members) for (const [number, read] of readsAt(member, members)) reads.set(number, read);
  return reads;
}

/** The values from outside that a member of a group reads, with their numbers. */
function readsAt(member: Node, members: ReadonlySet<Node>): [number, Read][] {
  const reads: [number, Read][] = [];
  for (const value of member.inputs) {
    if (members.has(value.node) || isConstant(value.node)) continue;
    const read = readAt(value, member);
    reads.push([numberOf(read), read]);
  }
  return reads;
}

/** Whether a member needs a truth value from outside its group: a kernel cannot read truth values. */
function lacksTruth({ inputs }: Node, members: ReadonlySet<Node>): boolean {
  return inputs.some(({ node, index }) => node.outputs[index]!.dtype === "bool" && !members.has(node));
}

/** Whether a kernel pays: it computes several ops, or one op that is several ops in ONNX. For other single ops engines have fast code. */
function isWorthwhile(group: Group): boolean {
  const computed = [...group.members].filter(({ op }) => !op.rearranges);
  return group.reads.size > 0 && (computed.length > 1 || computed.some(({ op }) => op.severalPasses));
}

/** The graph with each group as one node. Of copies of one node that are in no group, only the first stays. */
function rebuilt(graph: Grouping, groups: readonly Group[], copyOf: ReadonlyMap<Node, Node>): Value[] {
  const groupOf = new Map<Node, WholeGroup>();
  const ends = new Set<Node>();
  for (const group of groups) {
    const members = inOrder([...group.members]);
    const whole: WholeGroup = { ...group, inOrder: members, reads: readsOf(group) };
    for (const node of members) groupOf.set(node, whole);
    ends.add(members.at(-1)!);
  }
  const made = new Map<Node, readonly Tensor[]>();
  const firsts = new Map<Node, readonly Tensor[]>();
  const current = ({ node, index }: Value): Tensor => made.get(node)![index]!;

  /** Makes the node, or the kernel, that replaces a node; before it, all that it depends on. */
  const make = (wanted: Node): void => {
    const waiting = [wanted];
    const expect = (input: Value): void => {
      if (!made.has(input.node)) waiting.push(input.node);
    };
    for (let node = waiting.at(-1); node; node = waiting.at(-1)) {
      const group = groupOf.get(node);
      const before = waiting.length;
      if (!made.has(node)) {
        if (group) for (const { value } of group.reads.values()) expect(value);
        else for (const input of node.inputs) expect(input);
      }
      if (waiting.length > before) continue;
      waiting.pop();
      if (made.has(node)) continue;
      if (group) makeKernel(graph, group, made, current);
      else if (firsts.has(copyOf.get(node) ?? node)) made.set(node, firsts.get(copyOf.get(node) ?? node)!);
      else {
        // Every node is copied, so that the order of nodes does not change: ONNX Runtime follows it.
        const params = withInnerKernels(node, graph.course);
        const copy = node.source ? node : makeNode({ ...node, params, inputs: node.inputs.map(current) });
        made.set(
          node,
          copy.outputs.map((_, i) => tensorOf(copy, i)),
        );
        if (copyOf.has(node)) firsts.set(copyOf.get(node)!, made.get(node)!);
      }
    }
  };
  for (const node of graph.nodes) if (!groupOf.has(node) || ends.has(node)) make(node);
  return graph.roots.map(current);
}

/** A complete group. */
interface WholeGroup extends Pick<Group, "members" | "size" | "width"> {
  /** The members as they were made. */
  readonly inOrder: readonly Node[];
  /** In the order in which the kernel takes them. */
  readonly reads: ReadonlyMap<number, Read>;
}

/** Makes the node of a group's kernel. In `made`, its outputs then stand for the members that are needed outside the group. */
function makeKernel(
  graph: Grouping,
  group: WholeGroup,
  made: Map<Node, readonly Tensor[]>,
  current: (value: Value) => Tensor,
): void {
  const { members, size, width = size, reads } = group;
  const write = new KernelWriter();
  const inputs = new Map([...reads].map(([number, { layout }]) => [number, write.input(layout)]));
  const values = new Map<Node, KernelValue>();
  for (const member of group.inOrder) {
    const of = member.inputs.map((input) => {
      const { node } = input;
      if (isConstant(node)) return node.op.kernel!(write, [], node.params, [])!;
      return values.get(node) ?? inputs.get(numberOf(readAt(input, member)))!;
    });
    values.set(member, member.op.kernel!(write, of, member.params, inputTypesOf(member))!);
  }
  const outputs = graph.outputsOf(group);
  const kernel: Kernel = {
    inputs: write.inputs,
    steps: write.steps,
    outputs: outputs.map((node) => values.get(node)!),
    size,
    width,
  };
  const results = applyAll(
    fused,
    [...reads.values()].map(({ value }) => current(value)),
    { kernel, shapes: outputs.map((node) => node.outputs[0]!.shape) },
  );
  for (const member of members) made.set(member, []);
  outputs.forEach((node, i) => void made.set(node, [results[i]!]));
}
