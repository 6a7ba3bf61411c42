/** Finds the op that produced a NaN or an infinity: the first one that made it from finite inputs. */
import { valuesOf } from "../compile/evaluate.ts";
import { Sandbox } from "../compile/sandbox.ts";
import { DataError } from "../errors.ts";
import { tensorOf } from "../graph/apply.ts";
import { collect, type Node, type Value } from "../graph/node.ts";
import { isFloat, showPlace, showType, sizeOf } from "../graph/types.ts";
import { inMode } from "../nn/module.ts";
import type { State } from "../tensor/state.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { CompleteSetup } from "./setup.ts";

/** A step's graph without its update: all values that may be NaN. */
interface StepGraph {
  /** The loss, then the gradients. */
  readonly roots: readonly Value[];
  /** All outputs of nodes that hold floating-point numbers. */
  readonly watched: readonly Value[];
  /** Nodes of the forward pass. */
  readonly forward: ReadonlySet<Node>;
  /** The names of the variables that are read. */
  readonly states: ReadonlyMap<Node, string>;
}

/**
 * Runs a failed step again, on copies of all variables, and checks every value in it. Returns an error that names the op, with the
 * step's error as its cause; or the step's error itself, if no such op is found.
 */
export async function explainAnomaly(setup: CompleteSetup, batch: readonly Tensor[], cause: unknown): Promise<unknown> {
  if (!(cause instanceof DataError)) return cause;
  const sandbox = await Sandbox.open();
  let graph: StepGraph | undefined;
  const isSound = sandbox.compile((...tensors: readonly Tensor[]): Tensor[] => {
    graph = stepGraph(setup, tensors);
    return graph.watched.map(({ node, index }) => tensorOf(node, index).isFinite().all().cast("float32") as Tensor);
  });
  const flags = await valuesOf(isSound(...batch));
  const { roots, watched, forward, states } = graph!;
  const unsound = new Set(watched.filter((_, i) => flags[i]![0] === 0).map(keyOf));
  const origin = originOf(roots, unsound);
  if (!origin) return cause;
  const { node } = origin;
  const at = watched.findIndex((value) => keyOf(value) === keyOf(origin));
  const look = sandbox.compile((...tensors: readonly Tensor[]): Tensor[] => {
    const { watched: again } = stepGraph(setup, tensors); //  the same graph, node by node
    const own = again[at]!;
    return [own, ...own.node.inputs].map((value) => tensorOf(value.node, value.index));
  });
  const [made, ...inputs] = await valuesOf(look(...batch));
  const position = made!.findIndex((value) => !Number.isFinite(value));
  const type = node.outputs[origin.index]!;
  const element = `${made![position]} at ${showPlace(type.shape, position)}`;
  const leaf = node.source && (states.get(node) ?? "an input");
  const from = node.inputs.map((input, i) => `${showType(input.node.outputs[input.index]!)} ${rangeOf(inputs[i]!)}`);
  const where = forward.has(node) ? "" : ", in the gradient";
  return new DataError(
    "fit",
    leaf
      ? `the first NaN or infinity is in ${leaf}, ${showType(type)}: ${element}`
      : `the first NaN or infinity was made by \`${node.op.name}\`${where}, of ${from.join(" and ")}: ${element} of ${showType(type)}`,
    leaf
      ? "clean it before training"
      : "keep what goes into it where its result and its slope are finite: clip it, or lower the rate",
    pathOf(node),
    { cause },
  );
}

function stepGraph(setup: CompleteSetup, batch: readonly Tensor[]): StepGraph {
  const mode = setup.model.training ? undefined : true;
  return inMode(mode, () => {
    const loss = setup.loss(...batch).current();
    const forward = new Set(collect([loss]));
    const { gradients } = setup.optimizer.gradients(loss);
    const roots = [loss, ...gradients.map((gradient) => gradient.current())];
    const watched = collect(roots).flatMap((node) =>
      node.outputs.flatMap((type, index) => (isFloat(type.dtype) && sizeOf(type.shape) > 0 ? [{ node, index }] : [])),
    );
    const named = setup.model.namedStates();
    const states = new Map([...named].map(([name, state]) => [(state as State).current().node, name]));
    return { roots, watched, forward, states };
  });
}

const keyOf = ({ node, index }: Value): string => `${node.id}.${index}`;

/** Starts at the first root that is not finite and follows inputs that are not finite, up to a value whose inputs are all finite. */
function originOf(roots: readonly Value[], unsound: ReadonlySet<string>): Value | undefined {
  let value = roots.find((root) => unsound.has(keyOf(root)));
  for (let next: Value | undefined = value; next; next = next.node.inputs.find((input) => unsound.has(keyOf(input))))
    value = next;
  return value;
}

/** Returns the path of the module that an op belongs to. For an op of the gradient: the path of the nearest forward op before it. */
function pathOf(node: Node): string {
  let level: readonly Node[] = [node];
  for (let depth = 0; depth < 4 && level.length > 0; depth++) {
    const named = level.find(({ path }) => path !== "");
    if (named) return named.path;
    level = level.flatMap(({ inputs }) => inputs.map((input) => input.node));
  }
  return "";
}

function rangeOf(values: ArrayLike<number>): string {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < values.length; i++) {
    least = Math.min(least, values[i]!);
    most = Math.max(most, values[i]!);
  }
  const show = (value: number): string => String(Number(value.toPrecision(4)));
  return values.length === 1 ? `${show(least)}` : `from ${show(least)} to ${show(most)}`;
}
