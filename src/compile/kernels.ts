/**
 * Kernels out of elementwise ops: neighbours in the graph that work on as many elements become one node, which reads each of its
 * inputs once, keeps what is between them in registers, and writes only what others need.
 */
import { applyAll, tensorOf } from "../graph/apply.ts";
import { Body } from "../graph/body.ts";
import { type Kernel, KernelWriter, type Layout } from "../graph/kernel.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import { newScope, withScope } from "../graph/scope.ts";
import { type Shape, sizeOf } from "../graph/types.ts";
import { fused } from "../ops/fused.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** How many tensors a kernel reads or writes element by element: one register each. */
const mostStreams = 10;
/** The same with what is repeated. */
const mostInputs = 24;
/** Longer kernels gain nothing: what is between their steps no longer fits into registers. */
const mostMembers = 64;
/** Kernels for fewer elements save less than they cost. */
const fewestElements = 2;

/** Ops that go into one kernel. */
interface Group {
  /** In reverse order. */
  readonly members: Set<Node>;
  /** Where the last of them stands: the kernel runs there. */
  readonly position: number;
  /** Elements of every member. */
  readonly size: number;
  /** The length of a row, once something depends on it. */
  width: number | undefined;
}

/** The same values as `roots`, with kernels, also inside the ops that hold graphs. */
export function withKernels(roots: readonly Value[], trace: object | undefined): Value[] {
  return withScope(newScope(trace, true), () => grouped(roots));
}

function grouped(roots: readonly Value[]): Value[] {
  const graph = new Grouping(roots);
  return rebuilt(graph, graph.groups().filter(isWorthwhile));
}

/** An op's parameters, with kernels in the graphs that it holds. */
function withInnerKernels({ op, params }: Node): unknown {
  return op.mapBodies ? op.mapBodies(params, ({ leaves, roots }) => new Body(leaves, grouped(roots))) : params;
}

class Grouping {
  readonly roots: readonly Value[];
  readonly nodes: readonly Node[];
  readonly users: ReadonlyMap<Node, readonly Node[]>;
  readonly isRoot: ReadonlySet<Node>;
  readonly #positions: ReadonlyMap<Node, number>;
  readonly #groupOf = new Map<Node, Group>();

  constructor(roots: readonly Value[]) {
    this.roots = roots;
    this.nodes = collect(roots);
    this.users = usersAmong(this.nodes);
    this.isRoot = new Set(roots.map(({ node }) => node));
    this.#positions = new Map(elementwiseFirst(this.nodes, this.users).map((node, i) => [node, i]));
  }

  /** From the last op to the first, each goes to a group of its users if it can, or begins one. */
  groups(): Group[] {
    const all: Group[] = [];
    const order = [...this.#positions.keys()].reverse();
    for (const node of order) {
      if (!isCandidate(node)) continue;
      const users = this.users.get(node) ?? [];
      const near = [...new Set(users.flatMap((user) => this.#groupOf.get(user) ?? []))];
      const chosen = near.sort((a, b) => a.position - b.position).find((group) => this.#joins(node, group));
      if (chosen) continue;
      if (staysInside(node)) continue;
      const group: Group = {
        members: new Set(),
        position: this.#positions.get(node)!,
        size: elementsOf(node),
        width: undefined,
      };
      if (this.#joins(node, group)) all.push(group);
    }
    return all;
  }

  /** Takes a node into a group, if the group can then still run at its place. */
  #joins(node: Node, group: Group): boolean {
    if (elementsOf(node) !== group.size || group.members.size >= mostMembers) return false;
    const outside = (this.users.get(node) ?? []).filter((user) => !group.members.has(user));
    if (staysInside(node) && (outside.length > 0 || this.isRoot.has(node))) return false;
    // Kernels run in the order of their last members: whoever else needs this one has to come behind that.
    if (outside.some((user) => this.#placeOf(user) <= group.position)) return false;
    const width = widthWith(node, group);
    if (width === "conflict") return false;
    group.members.add(node);
    if (!this.#fits(group)) {
      group.members.delete(node);
      return false;
    }
    group.width = width;
    this.#groupOf.set(node, group);
    return true;
  }

  /** Where a node runs. */
  #placeOf(node: Node): number {
    return this.#groupOf.get(node)?.position ?? this.#positions.get(node)!;
  }

  #fits(group: Group): boolean {
    const { full, repeated } = externalInputs(group);
    const streams = full + this.outputsOf(group).length;
    return streams <= mostStreams && full + repeated <= mostInputs;
  }

  /** Members that others need. */
  outputsOf({ members }: Group): Node[] {
    return [...members].filter(
      (node) => this.isRoot.has(node) || this.users.get(node)!.some((user) => !members.has(user)),
    );
  }
}

function usersAmong(nodes: readonly Node[]): ReadonlyMap<Node, readonly Node[]> {
  const users = new Map<Node, Node[]>();
  for (const node of nodes)
    for (const { node: used } of node.inputs) {
      const known = users.get(used);
      if (known) known.push(node);
      else users.set(used, [node]);
    }
  return users;
}

/** The nodes in an order in which they can run, with what is elementwise as early as possible. */
function elementwiseFirst(nodes: readonly Node[], users: ReadonlyMap<Node, readonly Node[]>): Node[] {
  const missing = new Map(nodes.map((node) => [node, new Set(node.inputs.map((input) => input.node)).size]));
  const order: Node[] = [];
  const seen = new Set<Node>();
  for (const first of nodes) {
    const ready = [first];
    for (let node = ready.pop(); node; node = ready.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      order.push(node);
      for (const user of new Set(users.get(node))) {
        const left = missing.get(user)! - 1;
        missing.set(user, left);
        if (left === 0 && isCandidate(user)) ready.push(user);
      }
    }
  }
  return order;
}

function isCandidate({ op, inputs, outputs, params, source }: Node): boolean {
  const [output] = outputs;
  if (source !== undefined || op.kernel === undefined || outputs.length !== 1 || inputs.length === 0) return false;
  if (sizeOf(output!.shape) < fewestElements || (output!.dtype !== "float32" && output!.dtype !== "bool")) return false;
  // A truth value is never in memory for a kernel: it is made inside.
  const types = inputs.map(({ node, index }) => node.outputs[index]!.dtype);
  const isMade = ({ node }: Value): boolean => node.op.kernel !== undefined && node.inputs.length > 0;
  if (!types.every((dtype, i) => dtype === "float32" || (dtype === "bool" && isMade(inputs[i]!)))) return false;
  const write = new KernelWriter();
  const x = write.input("full");
  const mask = (): number => write.apply("equal", x, x);
  return (
    op.kernel(
      write,
      types.map((dtype) => (dtype === "bool" ? mask() : x)),
      params,
    ) !== undefined
  );
}

/** What is no float32, or no value of its own, is not written. */
function staysInside({ op, outputs }: Node): boolean {
  return outputs[0]!.dtype !== "float32" || op.rearranges === true;
}

function elementsOf({ outputs }: Node): number {
  return sizeOf(outputs[0]!.shape);
}

/** How a tensor lies under another that it is widened to, and the length of a row where that matters. Nothing if it repeats in another way. */
function layoutUnder(from: Shape, to: Shape): { readonly layout: Layout; readonly width?: number } | undefined {
  const [size, all] = [sizeOf(from), sizeOf(to)];
  if (size === all) return { layout: "full" };
  if (size === 1) return { layout: "scalar" };
  const axes = [...Array<number>(to.length - from.length).fill(1), ...from];
  const begin = axes.findIndex((axis) => axis !== 1);
  const end = axes.findLastIndex((axis) => axis !== 1) + 1;
  const isWhole = (i: number, j: number): boolean => axes.slice(i, j).every((axis, k) => axis === to[i + k]);
  const ones = (i: number, j: number): boolean => to.slice(i, j).every((axis) => axis === 1);
  if (!isWhole(begin, end)) return undefined;
  if (ones(end, to.length)) return { layout: "row", width: size };
  if (ones(0, begin)) return { layout: "column", width: all / size };
  return undefined;
}

function widthWith(node: Node, group: Group): number | undefined | "conflict" {
  let { width } = group;
  for (const { node: from, index } of node.inputs) {
    if (isConstant(from)) continue;
    const { shape } = from.outputs[index]!;
    const under = layoutUnder(shape, layoutShape(node));
    if (!under) return "conflict";
    if (under.width === undefined) continue;
    if (width !== undefined && width !== under.width) return "conflict";
    width = under.width;
  }
  return width;
}

/** The shape that a node's inputs are widened to. */
function layoutShape({ outputs }: Node): Shape {
  return outputs[0]!.shape;
}

const key = ({ node, index }: Value): string => `${node.id}.${index}`;

/** A constant is written into the kernel. */
function isConstant({ op, inputs, source }: Node): boolean {
  return source === undefined && op.kernel !== undefined && inputs.length === 0;
}

function externalInputs({ members }: Group): { readonly full: number; readonly repeated: number } {
  const seen = new Map<string, boolean>();
  for (const node of members)
    for (const input of node.inputs) {
      if (members.has(input.node) || isConstant(input.node)) continue;
      const layout = layoutUnder(input.node.outputs[input.index]!.shape, layoutShape(node))!.layout;
      seen.set(`${key(input)} ${layout}`, layout === "full" || layout === "row");
    }
  const full = [...seen.values()].filter(Boolean).length;
  return { full, repeated: seen.size - full };
}

/** A kernel of one op is that op, and engines have their own code for it. One that lacks a truth value cannot be. */
function isWorthwhile({ members }: Group): boolean {
  const given = [...members].flatMap(({ inputs }) =>
    inputs.filter(({ node }) => !members.has(node) && !isConstant(node)),
  );
  const isWhole = given.every(({ node, index }) => node.outputs[index]!.dtype === "float32");
  return isWhole && given.length > 0 && [...members].filter(({ op }) => !op.rearranges).length > 1;
}

/** The graph with each group as one node. */
function rebuilt(graph: Grouping, groups: readonly Group[]): Value[] {
  const groupOf = new Map(groups.flatMap((group) => [...group.members].map((node) => [node, group] as const)));
  const lastOf = new Map(groups.map((group) => [group, Math.max(...[...group.members].map(({ id }) => id))]));
  const isLast = (node: Node): boolean => {
    const group = groupOf.get(node);
    return group === undefined || lastOf.get(group) === node.id;
  };
  const made = new Map<Node, readonly Tensor[]>();
  const current = ({ node, index }: Value): Tensor => made.get(node)![index]!;

  /** Makes a node's stand-in; whatever it depends on first. */
  const make = (wanted: Node): void => {
    const waiting = [wanted];
    for (let node = waiting.at(-1); node; node = waiting.at(-1)) {
      if (made.has(node)) {
        waiting.pop();
        continue;
      }
      const group = groupOf.get(node);
      const inputs = group
        ? [...group.members].flatMap((member) =>
            member.inputs.filter((input) => !group.members.has(input.node) && !isConstant(input.node)),
          )
        : node.inputs;
      const missing = inputs.filter((input) => !made.has(input.node));
      if (missing.length > 0) {
        waiting.push(...missing.map((input) => input.node));
        continue;
      }
      waiting.pop();
      if (group) makeKernel(graph, group, made, current);
      else {
        // Every node gets a copy, so that their order stays: ONNX Runtime goes by it.
        const params = withInnerKernels(node);
        const copy = node.source ? node : makeNode({ ...node, params, inputs: node.inputs.map(current) });
        made.set(
          node,
          copy.outputs.map((_, i) => tensorOf(copy, i)),
        );
      }
    }
  };
  for (const node of graph.nodes) if (isLast(node)) make(node);
  return graph.roots.map(current);
}

function makeKernel(
  graph: Grouping,
  group: Group,
  made: Map<Node, readonly Tensor[]>,
  current: (value: Value) => Tensor,
): void {
  const { members, size, width = size } = group;
  const write = new KernelWriter();
  const inputs: Tensor[] = [];
  const given = new Map<string, number>();
  const inOrder = [...members].sort((a, b) => a.id - b.id);
  const nameOf = (node: Node, input: Value): string => {
    const { layout } = layoutUnder(input.node.outputs[input.index]!.shape, layoutShape(node))!;
    return `${key(input)} ${layout}`;
  };
  for (const node of inOrder)
    for (const input of node.inputs) {
      const name = nameOf(node, input);
      if (members.has(input.node) || isConstant(input.node) || given.has(name)) continue;
      given.set(name, write.input(name.split(" ")[1] as Layout));
      inputs.push(current(input));
    }
  const values = new Map<Node, number>();
  for (const node of inOrder) {
    const of = node.inputs.map((input) =>
      isConstant(input.node)
        ? input.node.op.kernel!(write, [], input.node.params)!
        : (values.get(input.node) ?? given.get(nameOf(node, input))!),
    );
    values.set(node, node.op.kernel!(write, of, node.params)!);
  }
  const outputs = graph.outputsOf(group).sort((a, b) => a.id - b.id);
  const kernel: Kernel = {
    inputs: write.inputs,
    steps: write.steps,
    outputs: outputs.map((node) => values.get(node)!),
    size,
    width,
  };
  const shapes = outputs.map((node) => node.outputs[0]!.shape);
  const results = applyAll(fused, inputs, { kernel, shapes });
  for (const node of members) made.set(node, []);
  outputs.forEach((node, i) => made.set(node, [results[i]!]));
}
