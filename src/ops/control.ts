/** The op `scan`, the only loop. */
import { ShapeError } from "../errors.ts";
import { apply, applyAll, tensorOf } from "../graph/apply.ts";
import { Body } from "../graph/body.ts";
import { input } from "../graph/leaf.ts";
import { collect, makeNode, type Node, type Value } from "../graph/node.ts";
import { type Data, type Differentiation, type Op, register, type Sample, type Sampler } from "../graph/op.ts";
import { currentObserver, currentScope, observedBy, unobserved } from "../graph/scope.ts";
import { isFloat, sameShape, showType, sizeOf, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { add, mul, sub } from "./arithmetic.ts";
import { neg } from "./elementwise.ts";
import { scatterAdd } from "./indexing.ts";
import { matmul } from "./matmul.ts";
import { full, reshape, transpose } from "./movement.ts";
import { sum } from "./reduce.ts";
import { longestRow } from "./sums.ts";

export interface ScanParams {
  /**
   * One step. Its arguments are the states, one slice of each sequence, and the values that the loop uses from outside, in this order. It
   * returns the new states and then one slice of each output.
   */
  readonly body: Body;
  /** How many of the arguments and results are states. */
  readonly states: number;
  /** How many of the arguments are slices. */
  readonly sequences: number;
  /** Number of steps. */
  readonly length: number;
  /** Whether the loop runs from the last slice to the first. Each output lies at the position of the slice that it was made from. */
  readonly reverse: boolean;
}

/**
 * A loop over the first axis of its sequences. Inputs: initial states, sequences, values from outside; outputs: final states,
 * then every step's outputs stacked along a new first axis.
 */
export const scan: Op<ScanParams> = register<ScanParams>({
  name: "scan",
  type(inputs, { body, states, sequences, length }) {
    inputs.forEach((given, i) => {
      const isSequence = i >= states && i < states + sequences;
      const { shape, dtype } = body.inputTypes[i]!;
      const wanted = isSequence ? [length, ...shape] : shape;
      if (dtype !== given.dtype || !sameShape(wanted, given.shape))
        throw new ShapeError(
          "scan",
          `${showType(given)} was given where the step was built for ${showType({ shape: wanted, dtype })}`,
          "give every sequence the same first axis, and states of the type that the step takes",
        );
    });
    body.outputTypes.slice(0, states).forEach((next, i) => {
      const state = body.inputTypes[i]!;
      if (next.dtype !== state.dtype || !sameShape(next.shape, state.shape))
        throw new ShapeError(
          "scan",
          `state ${i} begins as ${showType(state)} and the cell gives ${showType(next)}`,
          "return each state with the shape and dtype that it came with",
        );
    });
    return body.outputTypes.map(({ shape, dtype }, i) => ({ shape: i < states ? shape : [length, ...shape], dtype }));
  },
  gradient: differentiateOnce,
  onnx(graph, { inputs, outputTypes, params: { body, states, sequences, length, reverse } }) {
    if (length === 0)
      return outputTypes.map(({ shape, dtype }, i) =>
        i < states
          ? graph.node("Identity", [inputs[i]])
          : graph.node("Expand", [graph.constant(dtype, [], [0]), graph.integers(shape)]),
      );
    const own = states + sequences;
    const subgraph = graph.subgraph(body.inputTypes.slice(0, own), body.outputTypes, (inner, given) =>
      body.lower(inner, [...given, ...inputs.slice(own)]),
    );
    const outputs = body.roots.length - states;
    const direction = Number(reverse);
    return graph.nodes("Scan", inputs.slice(0, own), body.roots.length, {
      body: subgraph,
      num_scan_inputs: sequences,
      scan_input_directions: Array<number>(sequences).fill(direction),
      ...(outputs > 0 && { scan_output_directions: Array<number>(outputs).fill(direction) }),
    });
  },
  evaluate(inputs, outputs, { body, states, sequences, length, reverse }) {
    let current = inputs.slice(0, states);
    const steps = [...Array(length).keys()];
    for (const step of reverse ? steps.reverse() : steps) {
      const slices = inputs.slice(states, states + sequences).map((sequence) => sliceOf(sequence, step));
      const results = body.evaluate([...current, ...slices, ...inputs.slice(states + sequences)]);
      current = results.slice(0, states);
      results.slice(states).forEach((result, i) => sliceOf(outputs[states + i]!, step).values.set(result.values));
    }
    current.forEach((state, i) => outputs[i]!.values.set(state.values));
  },
  mapBodies: (params, replace) => ({ ...params, body: replace(params.body) }),
  expose(inputs, params, choose) {
    const { body, states } = params;
    const values = choose(body);
    const given = values.map(({ node }) => body.leaves.indexOf(node));
    // A value that is a slice becomes its sequence. States and values that a step computes become further outputs.
    const inside = values.filter((_, i) => given[i]! < states).map(({ node, index }) => tensorOf(node, index));
    if (inside.length === 0) return given.map((i) => inputs[i]!);
    const extended = applyAll(scan, inputs, { ...params, body: new Body(body.leaves, [...body.roots, ...inside]) });
    const stacks = extended.slice(body.roots.length);
    return given.map((i) => (i < states ? stacks.shift()! : inputs[i]!));
  },
  samples,
});

function sliceOf(sequence: Data, step: number): Data {
  const shape = sequence.shape.slice(1);
  const size = sizeOf(shape);
  return { shape, dtype: sequence.dtype, values: sequence.values.subarray(step * size, (step + 1) * size) };
}

/** Makes an argument of a body. */
export function bodyLeaf(type: TensorType, position: number): Tensor {
  return tensorOf(
    makeNode({
      op: input,
      inputs: [],
      params: undefined,
      outputs: [{ shape: [...type.shape], dtype: type.dtype }],
      path: "",
      trace: currentScope().trace,
      source: { kind: "argument", position },
    }),
  );
}

/** Returns an expression in which other values replace the outputs of some nodes. */
function substituted(
  roots: readonly Value[],
  isReplaced: (node: Node) => boolean,
  replacement: (value: Value) => Tensor,
): Tensor[] {
  const done = new Map<Node, readonly Tensor[]>();
  const at = (value: Value): Tensor =>
    isReplaced(value.node) ? replacement(value) : done.get(value.node)![value.index]!;
  for (const node of collect(roots, isReplaced))
    if (!isReplaced(node))
      done.set(
        node,
        node.source ? [tensorOf(node)] : unobserved(() => applyAll(node.op, node.inputs.map(at), node.params)),
      );
  return roots.map(at);
}

/** Returns the results of a body for given inputs, as expressions outside of the body. */
export function inlined({ leaves, roots }: Body, inputs: readonly Tensor[]): Tensor[] {
  const given = new Map(leaves.map((leaf, i) => [leaf, inputs[i]!]));
  return substituted(
    roots,
    (node) => given.has(node),
    ({ node }) => given.get(node)!,
  );
}

/**
 * Makes a body of expressions. `arguments_` stay its arguments, and every value from outside becomes one more argument. Constants that need
 * nothing from outside are taken inside. Returns the body, and the values from outside as `captured`.
 */
export function closed(
  roots: readonly Tensor[],
  arguments_: readonly Tensor[],
): { readonly body: Body; readonly captured: readonly Tensor[] } {
  const inside = new Set(arguments_.map(({ node }) => node));
  const constant = new Set<Node>();
  for (const node of collect(roots, (node) => inside.has(node))) {
    if (node.inputs.some((from) => inside.has(from.node))) inside.add(node);
    else if (node.source === undefined && node.inputs.every((from) => constant.has(from.node))) constant.add(node);
  }
  const captured = new Map<string, { readonly outside: Tensor; readonly leaf: Tensor }>();
  const isOutside = (node: Node): boolean => !inside.has(node) && !constant.has(node);
  const results = substituted(roots, isOutside, ({ node, index }) => {
    const key = `${node.id}.${index}`;
    const known = captured.get(key);
    if (known) return known.leaf;
    const leaf = bodyLeaf(node.outputs[index]!, arguments_.length + captured.size);
    captured.set(key, { outside: tensorOf(node, index), leaf });
    return leaf;
  });
  const taken = [...captured.values()];
  return {
    body: new Body(
      [...arguments_, ...taken.map(({ leaf }) => leaf)].map(({ node }) => node),
      results,
    ),
    captured: taken.map(({ outside }) => outside),
  };
}

export interface LoopOptions {
  readonly length: number;
  readonly reverse?: boolean;
}

/**
 * Makes a loop of a function `step`, which takes the states and one slice of each sequence, and returns the next states and then outputs.
 * Returns the last states and then all outputs, each stacked over the steps. No observer
 * sees what the step does.
 */
export function loop(
  states: readonly Tensor[],
  sequences: readonly Tensor[],
  options: LoopOptions,
  step: (leaves: readonly Tensor[]) => readonly Tensor[],
): Tensor[] {
  return unobserved(() => observedLoop(states, sequences, options, step).results);
}

/**
 * The same for an observer, who is told by `tell` what was seen in all steps. That is another loop over the same body with more outputs,
 * which nobody computes unless somebody asks for them, and then the two become one.
 */
export function observedLoop(
  states: readonly Tensor[],
  sequences: readonly Tensor[],
  { length, reverse = false }: LoopOptions,
  step: (leaves: readonly Tensor[]) => readonly Tensor[],
): { readonly results: Tensor[]; tell(): void } {
  const slices = sequences.map(({ shape, dtype }) => ({ shape: shape.slice(1), dtype }));
  const leaves = [...states, ...slices].map(bodyLeaf);
  const observer = currentObserver()?.inside();
  const results = observedBy(observer, () => step(leaves));
  const { body, captured } = closed([...results, ...(observer?.seen ?? [])], leaves);
  const given = [...states, ...sequences, ...captured];
  const params = { states: states.length, sequences: sequences.length, length, reverse };
  const roots = body.roots.slice(0, results.length);
  const used = new Set(collect(roots));
  const kept = body.leaves.map((leaf, i) => i < leaves.length || used.has(leaf));
  const own = new Body(
    body.leaves.filter((_, i) => kept[i]),
    roots,
  );
  return {
    results: applyAll(
      scan,
      given.filter((_, i) => kept[i]),
      { body: own, ...params },
    ),
    tell() {
      if (!observer || observer.seen.length === 0) return;
      const stacks = applyAll(scan, given, { body, ...params });
      // What only passes through is what it was outside.
      const outside = new Map(body.leaves.map((leaf, i) => [leaf, i < leaves.length ? undefined : given[i]]));
      observer.tell(
        body.roots.slice(roots.length).map(({ node }, i) => outside.get(node) ?? stacks[roots.length + i]!),
      );
    },
  };
}

/** Gradients that have been asked for, by the body of their loop and what they were made of. */
const known = new WeakMap<Body, Map<string, (Tensor | undefined)[]>>();

/**
 * The same question again, as when a report asks for what an optimizer has asked for, has the same answer: built anew, the steps back would be
 * equal but in another order, which nobody would recognise as one loop.
 */
function differentiateOnce(at: Differentiation<ScanParams>): (Tensor | undefined)[] {
  const name = (tensor: Tensor | undefined): string => (tensor ? `${tensor.node.id}.${tensor.index}` : "");
  const key = [...at.inputs, ...at.gradients].map(name).concat(at.needed.map(String)).join();
  const { body } = at.params;
  const answers = known.get(body) ?? new Map<string, (Tensor | undefined)[]>();
  known.set(body, answers);
  const answer = answers.get(key) ?? differentiate(at);
  answers.set(key, answer);
  return answer;
}

/**
 * Back-propagation through time: one more loop, in the opposite direction. A backward step needs values of the forward step, so the loop is
 * run with these as further outputs (the compiler makes one loop of this one and the original). The gradient of a weight is a sum over all
 * steps of a product: it is computed after the loop, as one product over all steps.
 */
function differentiate({
  inputs,
  gradients,
  needed,
  params,
  pullBack,
}: Differentiation<ScanParams>): (Tensor | undefined)[] {
  const { body, states, sequences, length, reverse } = params;
  const leaves = body.leaves.map((node) => tensorOf(node));
  const roots = body.roots.map(({ node, index }) => tensorOf(node, index));
  if (length === 0) return inputs.map((_, i) => (i < states ? gradients[i] : undefined));

  // One backward step. Its inputs are d(new states) and d(outputs), its results d(states), d(slices) and d(values from outside). Every
  // float state takes part, even if the gradient of its initial value is not asked for.
  const isCarried = leaves.map((leaf, i) => i < states && isFloat(leaf.dtype));
  const targets = leaves.flatMap((_, i) => (isCarried[i] || (i >= states && needed[i]) ? [i] : []));
  const seeds = roots.map((root, i) =>
    i < states ? (isCarried[i] ? bodyLeaf(root, 0) : undefined) : gradients[i] && bodyLeaf(root, 0),
  );
  const parts = pullBack(
    roots,
    seeds,
    targets.map((i) => leaves[i]!),
  );
  const partOf = new Map(targets.map((target, at) => [target, parts[at]]));

  // The values of the forward step that the backward step uses. The forward loop stacks them.
  const forward = new Set(body.nodes);
  const isConstant = constants(body);
  const saved: Tensor[] = [];
  const stateLeaves = new Set(body.leaves.slice(0, states));
  const isSaved = (node: Node): boolean => stateLeaves.has(node) || (forward.has(node) && !isConstant.has(node));
  const wanted = [...partOf.values()].filter((part) => part !== undefined);
  const slots = new Map<string, number>();
  const save = ({ node, index }: Value): number => {
    const key = `${node.id}.${index}`;
    const known = slots.get(key);
    if (known !== undefined) return known;
    slots.set(key, saved.length);
    return saved.push(tensorOf(node, index)) - 1;
  };
  for (const part of wanted) if (isSaved(part.node)) save(part);
  for (const node of collect(wanted, isSaved))
    if (!isSaved(node)) for (const from of node.inputs) if (isSaved(from.node)) save(from);
  const extended = applyAll(scan, inputs, { ...params, body: new Body(body.leaves, [...body.roots, ...saved]) });
  const stackOfSaved = extended.slice(roots.length);

  // Arguments of the backward loop: d(new states); then slices: d(outputs), saved values, the forward loop's own slices.
  const carried = leaves.flatMap((_, i) => (isCarried[i] ? [i] : []));
  const outer = new Map<Node, Tensor>(); //  from each slice to its sequence
  seeds.forEach((seed, i) => {
    if (seed && i >= states) outer.set(seed.node, gradients[i]!);
  });
  const savedLeaves = saved.map((value, i) => {
    const leaf = bodyLeaf(value, 0);
    outer.set(leaf.node, stackOfSaved[i]!);
    return leaf;
  });
  for (let i = states; i < states + sequences; i++) outer.set(leaves[i]!.node, inputs[i]!);
  const outside = new Map(leaves.flatMap((leaf, i) => (i >= states + sequences ? [[leaf.node, inputs[i]!]] : [])));
  const local = substituted(
    wanted,
    (node) => isSaved(node) || outside.has(node),
    ({ node, index }) => outside.get(node) ?? savedLeaves[slots.get(`${node.id}.${index}`)!]!,
  );
  const localPart = new Map<number, Tensor>();
  let next = 0;
  for (const [target, part] of partOf) if (part) localPart.set(target, local[next++]!);

  // Results of the backward loop: d(states); sums of the gradients that have to be added up in the loop; d(slices); and the factors of the
  // gradients that are computed after the loop.
  const zero = (i: number): Tensor => full0(inputs[i]!);
  const sums: { readonly leaf: Tensor; readonly total: Tensor; readonly target: number }[] = [];
  const stacked: Tensor[] = [];
  const stack = (value: Tensor): (() => Tensor) => {
    const source = withoutReshape(value);
    const sequence = outer.get(source.node);
    if (sequence) return () => sequence;
    const at = stacked.push(source) - 1;
    return () => result(sums.length + carried.length + at);
  };
  let back: readonly Tensor[] = [];
  const result = (i: number): Tensor => back[i]!;
  const finish = new Map<number, () => Tensor>();
  carried.forEach((i, at) => finish.set(i, () => result(at)));
  for (const [target, part] of localPart) {
    if (target < states) continue;
    if (target < states + sequences) {
      finish.set(target, stack(part));
      continue;
    }
    const moved = afterLoop(part, stack);
    if (moved) {
      finish.set(target, moved);
      continue;
    }
    // Over many steps, a float32 sum would lose digits.
    const dtype = part.dtype === "float32" && length > longestRow ? "float64" : part.dtype;
    const leaf = bodyLeaf({ shape: part.shape, dtype }, 0);
    const at = sums.push({ leaf, total: leaf.add(part.cast(dtype)), target }) - 1;
    finish.set(target, () => result(carried.length + at).cast(part.dtype));
  }
  const nextGradients = carried.map((i) => localPart.get(i) ?? full0(leaves[i]!));
  const slices = [...outer.keys()].map((node) => tensorOf(node));
  const arguments_ = [...carried.map((i) => seeds[i]!), ...sums.map(({ leaf }) => leaf), ...slices];
  const backward = closed([...nextGradients, ...sums.map(({ total }) => total), ...stacked], arguments_);
  const initial = [
    ...carried.map((i) => gradients[i] ?? zero(i)),
    ...sums.map(({ leaf, target }) => zero(target).cast(leaf.dtype)),
  ];
  back = applyAll(scan, [...initial, ...outer.values(), ...backward.captured], {
    body: backward.body,
    states: initial.length,
    sequences: slices.length,
    length,
    reverse: !reverse,
  });
  return inputs.map((_, i) => (needed[i] ? finish.get(i)?.() : undefined));
}

/** Nodes of a body that depend on none of its arguments. */
function constants(body: Body): Set<Node> {
  const found = new Set<Node>();
  for (const node of body.nodes) if (node.inputs.every((from) => found.has(from.node))) found.add(node);
  return found;
}

const full0 = ({ shape, dtype }: TensorType): Tensor => apply(full, [], { shape: [...shape], value: 0, dtype });

/** Skips reshapes that do not change the shape. */
function withoutReshape(x: Tensor): Tensor {
  const [from] = x.node.inputs;
  if ((x.node.op as unknown) !== reshape || !sameShape(x.shape, from!.node.outputs[from!.index]!.shape)) return x;
  return withoutReshape(tensorOf(from!.node, from!.index));
}

/**
 * Returns a function that computes the sum of a value over all steps after the loop, from stacks of what the value is made of. Returns
 * undefined if the loop should add up the value itself.
 */
function afterLoop(value: Tensor, stack: (part: Tensor) => () => Tensor): (() => Tensor) | undefined {
  const { node } = value;
  const { op, params } = node;
  const inputs = node.inputs.map(({ node: from, index }) => tensorOf(from, index));
  const [a, b] = inputs;
  const is = (other: unknown): boolean => (op as unknown) === other;
  const passed = (f: (total: Tensor) => Tensor): (() => Tensor) | undefined => {
    const inner = afterLoop(a!, stack);
    return inner && (() => f(inner()));
  };
  if (is(reshape)) return passed((total) => total.reshape(value.shape));
  if (is(transpose)) return passed((total) => apply(transpose, [total], params as never));
  if (is(neg)) return passed((total) => total.neg());
  if (is(mul) && (b!.node.op as unknown) === full) return passed((total) => total.mul(b!));
  if ((is(add) || is(sub)) && sameShape(a!.shape, b!.shape)) {
    const [left, right] = [afterLoop(a!, stack), afterLoop(b!, stack)];
    return left && right && (() => apply(op as Op<undefined>, [left(), right()], undefined));
  }
  if (is(scatterAdd) && (params as { axis: number }).axis === 0) {
    const [updates, indices] = [stack(a!), stack(b!)];
    return () => updates().apply(scatterAdd, [indices()], params as { axis: number; size: number });
  }
  if (is(sum)) {
    const { axes, keepDims } = params as { axes: readonly number[]; keepDims: boolean };
    const stacked = stack(a!);
    return () => {
      const steps = stacked();
      const all = steps.reshape([steps.shape[0]!, ...a!.shape]).sum([0, ...axes.map((axis) => axis + 1)]);
      return keepDims ? all.reshape(value.shape) : all;
    };
  }
  if (is(matmul) && value.shape.length === 2 && (a!.node.op as unknown) === transpose) {
    const [from] = a!.node.inputs;
    const [left, right] = [stack(tensorOf(from!.node, from!.index)), stack(b!)];
    // Σ AᵀB over the steps: one product of the stacks, each as one long matrix.
    const long = (steps: Tensor): Tensor => steps.reshape([steps.shape[0]! * steps.shape[1]!, steps.shape[2]!]);
    return () => long(left()).mT().matmul(long(right())) as Tensor;
  }
  return undefined;
}

/** Makes a body for the samples: expressions of its arguments. */
function bodyOf(types: readonly TensorType[], build: (...leaves: Tensor[]) => readonly Tensor[]): Body {
  const leaves = types.map(bodyLeaf);
  return new Body(
    leaves.map(({ node }) => node),
    build(...leaves),
  );
}

function samples(random: Sampler): Sample<ScanParams>[] {
  const dtype = random.float;
  const type = (...shape: number[]): TensorType => ({ shape, dtype });
  const cell = (h: Tensor, x: Tensor, w: Tensor, b: Tensor): Tensor => x.add(h.matmul(w)).add(b).tanh();
  const recurrent = bodyOf([type(2, 3), type(2, 3), type(3, 3), type(3)], (h, x, w, b) => {
    const next = cell(h!, x!, w!, b!);
    return [next, next.mul(x!).sum(1)];
  });
  const two = bodyOf([type(2), type(2), type(2), type(2), type(2)], (a, b, x, y, c) => [
    a!.add(x!.mul(c!)),
    b!.mul(y!).add(a!),
    a!.mul(b!).add(c!.mul(c!)),
  ]);
  const counting = bodyOf([{ shape: [], dtype: "int32" }, type(2), type(2)], (n, h, x) => [
    n!.add(1),
    h!.mul(x!).add(n!.cast(dtype)),
  ]);
  const inputs = (steps: number): Data[] => [
    random.real(2, 3),
    random.real(steps, 2, 3),
    random.real(3, 3),
    random.real(3),
  ];
  return [
    { inputs: inputs(4), params: { body: recurrent, states: 1, sequences: 1, length: 4, reverse: false } },
    { inputs: inputs(3), params: { body: recurrent, states: 1, sequences: 1, length: 3, reverse: true } },
    { inputs: inputs(0), params: { body: recurrent, states: 1, sequences: 1, length: 0, reverse: false } },
    {
      inputs: [random.real(2), random.real(2), random.real(3, 2), random.real(3, 2), random.real(2)],
      params: { body: two, states: 2, sequences: 2, length: 3, reverse: false },
    },
    {
      inputs: [random.integers(3), random.real(2), random.real(3, 2)],
      params: { body: counting, states: 2, sequences: 1, length: 3, reverse: false },
    },
  ];
}
