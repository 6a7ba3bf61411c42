/** The checks that the ops of a graph ask for: no index out of range, no int32 division by 0. */
import { DataError, type GlissadeError } from "../errors.ts";
import { tensorOf } from "../graph/apply.ts";
import { type Check, type Condition, type Flaw, flawIn } from "../graph/check.ts";
import { collect, type Node, type StoredValues, traceOf, type Value, withoutMoves } from "../graph/node.ts";
import type { IndexWords } from "../graph/op.ts";
import { newScope, unobserved, withScope } from "../graph/scope.ts";
import { showType, sizeOf, type TensorType } from "../graph/types.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { extendsLoop } from "./passes/loops.ts";

/** A check of a leaf, which JavaScript makes before a run. */
export interface LeafCheck {
  readonly leaf: Node;
  readonly condition: Condition;
  /** Returns the error for an element that fails the condition. `what` names the tensor. Default: its role in the op, as "the indices". */
  failure(flaw: Flaw, what: string | undefined): GlissadeError;
}

export interface GraphChecks {
  /** Checks of arguments, and of values that came from JavaScript or from an earlier run. */
  readonly leaves: readonly LeafCheck[];
  /** Checks of all other values: each run makes them itself. */
  readonly computed: readonly Check<Tensor>[];
}

/** A condition that one node sets for one of its inputs. */
interface Demand {
  readonly value: Value;
  readonly condition: Condition;
  readonly op: string;
  readonly path: string;
  /** The name of the value in the message. */
  readonly what: string;
  /** What an index is called in the message, if it was not given as an index. */
  readonly words?: IndexWords | undefined;
}

const typeOf = ({ node, index }: Value): TensorType => node.outputs[index]!;

/** Returns the checks of a graph, without those that hold for all values. */
export function checksOf(roots: readonly Value[]): GraphChecks {
  const demands = withScope(newScope(traceOf(roots)), () => unobserved(() => demandsOf(roots)));
  const leaves: LeafCheck[] = [];
  const computed: Check<Tensor>[] = [];
  const seen = new Set<string>();
  for (const demand of demands) {
    const { value, condition, op, what } = demand;
    const key = `${value.node.id}.${value.index} ${conditionKey(condition)}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const { source } = value.node;
    if (source && source.kind !== "state")
      leaves.push({ leaf: value.node, condition, failure: (flaw, name = what) => failureOf(demand, flaw, name) });
    else
      computed.push({
        value: tensorOf(value.node, value.index),
        condition,
        subject: op,
        failure: (flaw) => failureOf(demand, flaw, what),
      });
  }
  return { leaves, computed };
}

const conditionKey = (condition: Condition): string =>
  condition.kind === "index" ? `below ${condition.below}` : condition.kind;

/** The demands of all nodes of a graph, inputs before users. Values inside loops are made outputs of the loop, and checked there. */
function demandsOf(roots: readonly Value[]): Demand[] {
  const nodes = collect(roots);
  const holders = nodes.filter(({ op }) => op.expose);
  return nodes
    .flatMap((node) => {
      if (!node.op.expose) return ownDemands(node);
      // If another loop is this one with more outputs, its demands include those of this one.
      return holders.some((other) => extendsLoop(other, node)) ? [] : demandsInside(node);
    })
    .filter(({ value, condition }) => !isProven(value, condition));
}

function ownDemands({ op, inputs, params, path }: Node): Demand[] {
  const types = inputs.map(typeOf);
  const bound = op.indices?.(types, params);
  const divisor = op.divisor?.(types, params);
  const demand = (input: number, condition: Condition, what: string, words?: IndexWords): Demand => ({
    value: withoutMoves(inputs[input]!),
    condition,
    op: words?.subject ?? op.name,
    path,
    what,
    words,
  });
  const ofIndices = (words: IndexWords | undefined): string => `the ${words?.all ?? "indices"}`;
  return [
    ...(bound ? [demand(bound.input, { kind: "index", below: bound.below }, ofIndices(bound.words), bound.words)] : []),
    ...(divisor !== undefined ? [demand(divisor, { kind: "divisor" }, "the divisor")] : []),
  ];
}

function demandsInside({ op, inputs, params }: Node): Demand[] {
  const inside: Demand[] = [];
  const outside = op.expose!(
    inputs.map(({ node, index }) => tensorOf(node, index)),
    params,
    (body) => {
      inside.push(...demandsOf(body.roots));
      return inside.map(({ value }) => value);
    },
  );
  return inside.map((demand, i) => ({
    ...demand,
    value: withoutMoves(outside[i]!),
    what: demand.what.replace(/( of all steps)?$/, " of all steps"),
  }));
}

/** Whether a condition holds for all values that a run may have. */
function isProven({ node, index }: Value, condition: Condition): boolean {
  if (sizeOf(typeOf({ node, index }).shape) === 0) return true;
  const limits = node.op.limits?.(node.inputs.map(typeOf), node.params, index);
  if (!limits) return false;
  const [least, largest] = limits;
  if (condition.kind === "index") return least >= 0 && largest < condition.below;
  return condition.kind === "divisor" && (least > 0 || largest < 0);
}

function failureOf(
  { condition, op, path, words }: Demand,
  { value, position, type }: Flaw,
  what: string,
): GlissadeError {
  if (condition.kind === "index" && words)
    return new DataError(
      op,
      `a ${words.one} is ${value}, at position ${position} of ${what} (${showType(type)})`,
      `give ${words.all} from 0 to ${condition.below - 1}, ${words.most}`,
      path,
    );
  if (condition.kind === "index")
    return new DataError(
      op,
      `index ${value} at position ${position} of ${what} (${showType(type)}) is outside 0 … ${condition.below - 1}`,
      `give labels and ids below ${condition.below}, or make the table or the output layer larger`,
      path,
    );
  return new DataError(
    op,
    `a division of int32 by 0, at position ${position} of ${what} (${showType(type)})`,
    "keep 0 out of the divisor, with where or maximum, or cast both sides to float32",
    path,
  );
}

const known = new WeakMap<StoredValues, Set<string>>();

/** Throws the error of a check when the values of a storage fail it. A storage that met a condition once is not checked for it again. */
export function expectMet(
  storage: StoredValues,
  values: ArrayLike<number>,
  check: LeafCheck,
  what: string | undefined,
): void {
  const key = conditionKey(check.condition);
  const met = known.get(storage) ?? new Set();
  if (met.has(key)) return;
  const flaw = flawIn(values, storage.type, check.condition);
  if (flaw) throw check.failure(flaw, what);
  known.set(storage, met.add(key));
}
