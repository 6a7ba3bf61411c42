/** Reverse-mode differentiation: gradients are more nodes of the same graph. */

import { DTypeError, GraphError, ShapeError } from "../errors.ts";
import { tensorOf } from "../graph/apply.ts";
import { aTensor, expectArguments, optional, tensors } from "../graph/arguments.ts";
import { collect, type Node } from "../graph/node.ts";
import type { PullBack } from "../graph/op.ts";
import { isFloat, sameShape, showShape, showType } from "../graph/types.ts";
import { full } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Returns d loss / d x for each x of `wrt`, as tensors of the same shapes. They are lazy, and can be differentiated again. The loss is a
 * scalar. If it is not, give a `seed`, which is propagated back in place of 1 (a vector–Jacobian product).
 *
 * Throws ShapeError if the loss is not a scalar and no seed is given, or if the seed has another shape or dtype than the loss; DTypeError
 * if the loss is not float32 or float64; GraphError if an op between an x and the loss has no gradient, or if the loss does not depend on
 * an x.
 */
export function gradients<const T extends readonly Tensor[]>(
  loss: Tensor,
  wrt: T,
  seed?: Tensor,
): { [K in keyof T]: T[K] } {
  expectArguments("gradients", [aTensor, tensors, optional(aTensor)], [loss, wrt, seed]);
  return partialGradients(loss, wrt, seed).map((gradient, i) => {
    if (gradient) return gradient;
    throw new GraphError(
      "gradients",
      `the loss does not depend on tensor ${i} of ${wrt.length}, ${nameOf(wrt[i]!)}`,
      "leave it out, or check that the forward pass uses it (and that it was not assigned to in between)",
    );
  }) as { [K in keyof T]: T[K] };
}

/** As `gradients`, but returns undefined for each x that the loss does not depend on. */
export function partialGradients(loss: Tensor, wrt: readonly Tensor[], seed?: Tensor): (Tensor | undefined)[] {
  const root = loss.current();
  if (!isFloat(root.dtype))
    throw new DTypeError("gradients", `the loss is ${showType(root)}`, "differentiate a float32 or float64 tensor");
  if (!seed && root.shape.length > 0)
    throw new ShapeError(
      "gradients",
      `the loss has the shape ${showShape(root.shape)}`,
      "reduce it to a scalar: .mean() or .sum()",
    );

  if (seed && !(sameShape(seed.shape, root.shape) && seed.dtype === root.dtype))
    throw new ShapeError(
      "gradients",
      `the seed is ${showType(seed)}, the loss ${showType(root)}`,
      "give a seed of the loss's shape and dtype",
    );
  const targets = wrt.map((x) => x.current());
  const found = pullBack([root], [seed ?? full([], 1, root.dtype)], targets);
  const nodes = new Set(collect([root]));
  return targets.map((x, i) => {
    if (found[i]) return found[i];
    // Zeros if the loss depends on x only through ops whose derivative is 0.
    return nodes.has(x.node) ? full(x.shape, 0, x.dtype) : undefined;
  });
}

const pullBack: PullBack = (roots, seeds, targets) => {
  const seeded = roots.flatMap((root, i) => (seeds[i] ? [{ root, seed: seeds[i] }] : []));
  const nodes = collect(seeded.map(({ root }) => root));
  const needed = dependents(nodes, targets);
  const found = new Map<Node, (Tensor | undefined)[]>();
  const add = (to: Tensor, part: Tensor): void => {
    const parts = found.get(to.node) ?? [];
    const sum = parts[to.index];
    parts[to.index] = sum ? sum.add(part) : part;
    found.set(to.node, parts);
  };
  for (const { root, seed } of seeded) add(root, seed);
  for (const node of nodes.reverse()) {
    const outputs = found.get(node);
    if (!outputs || !needed.has(node) || node.inputs.length === 0) continue;
    if (!node.op.gradient)
      throw new GraphError(
        node.op.name,
        "has no gradient, and the loss depends on a parameter through it",
        "stop the gradient before it with .detach(), or choose a differentiable op",
        node.path,
      );
    const inputs = node.inputs.map(({ node: from, index }) => tensorOf(from, index));
    const isNeeded = inputs.map((input) => needed.has(input.node) && isFloat(input.dtype));
    const parts = node.op.gradient({
      inputs,
      outputs: node.outputs.map((_, index) => tensorOf(node, index)),
      gradients: node.outputs.map((_, index) => outputs[index]),
      needed: isNeeded,
      params: node.params,
      pullBack,
    });
    inputs.forEach((input, i) => {
      const part = parts[i];
      if (part && isNeeded[i]) add(input, part);
    });
  }
  return targets.map((x) => found.get(x.node)?.[x.index]);
};

function nameOf(x: Tensor): string {
  const label = "label" in x && typeof x.label === "string" ? `${x.label}, ` : "";
  return `${label}${showType(x)}`;
}

/** Returns the nodes that depend on the targets. No other node needs a gradient. */
function dependents(nodes: readonly Node[], targets: readonly Tensor[]): Set<Node> {
  const needed = new Set(targets.map((x) => x.node));
  for (const node of nodes) if (node.inputs.some((input) => needed.has(input.node))) needed.add(node);
  return needed;
}
