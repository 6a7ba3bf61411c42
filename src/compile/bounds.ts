/** Indices out of range, found before a run where their values are known. */
import { DataError } from "../errors.ts";
import { collect, type Node, type Storage, type Value } from "../graph/node.ts";
import { showType } from "../graph/types.ts";

/** A leaf whose elements an op uses as indices, as they are or rearranged: they must be in [0, below). */
export interface Bound {
  readonly leaf: Node;
  readonly below: number;
  readonly op: string;
  readonly path: string;
}

/** The bounds of a graph's leaves. */
export function boundsOf(roots: readonly Value[]): Bound[] {
  const bounds: Bound[] = [];
  for (const node of collect(roots)) {
    const limit = node.op.indices?.(
      node.inputs.map(({ node: from, index }) => from.outputs[index]!),
      node.params,
    );
    if (!limit) continue;
    let leaf = node.inputs[limit.input]!.node;
    while (leaf.op.rearranges) leaf = leaf.inputs[0]!.node;
    if (leaf.source) bounds.push({ leaf, below: limit.below, op: node.op.name, path: node.path });
  }
  return bounds;
}

/** Looks at the indices that came with a graph. Throws DataError for one that is out of range. */
export function expectIndicesInBounds(bounds: readonly Bound[]): void {
  for (const bound of bounds)
    if (bound.leaf.source?.kind === "host") expectInBounds(bound.leaf.source.storage, bound, "the indices");
}

const checked = new WeakMap<Storage, number>();

/** Throws DataError when JavaScript has the values and one is out of range; `what` says which tensor it is. */
export function expectInBounds(storage: Storage, { below, op, path }: Omit<Bound, "leaf">, what: string): void {
  const { values } = storage;
  if (!values || (checked.get(storage) ?? Infinity) <= below) return;
  const bad = values.findIndex((value) => value < 0 || value >= below);
  if (bad >= 0)
    throw new DataError(
      op,
      `index ${values[bad]} at position ${bad} of ${what} (${showType(storage.type)}) is outside 0 … ${below - 1}`,
      `give labels and ids below ${below}, or make the table or the output layer larger`,
      path,
    );
  checked.set(storage, below);
}
