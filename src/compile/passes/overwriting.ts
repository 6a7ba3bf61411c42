/**
 * Results that a run may write where one of its inputs is, such as the cache of keys and values of a decoder: a step puts one token's rows
 * into it, and to copy all others would take longer than the step's products.
 *
 * A run does so only where nobody needs the input's values any more, which is known when it begins (`Storage.yieldBufferOn`).
 */
import { collect, type Node, usersAmong } from "../../graph/node.ts";
import { type ScatterParams, scatter } from "../../ops/indexing.ts";
import { putRows } from "../../ops/lowered/rows.ts";
import type { Pass } from "./pass.ts";

/** Adds to what may be written in place the results of scatters whose input nothing else reads. */
export const overwriting: Pass = {
  name: "overwriting",
  run(graph) {
    const { leaves, roots, plan } = graph;
    const states = new Set(plan.states.map(([output]) => output));
    const rootNodes = roots.map(({ node }) => node);
    const found = roots.flatMap(({ node }, output): [number, number][] => {
      if (states.has(output) || !puts(node)) return [];
      const from = node.inputs[0]!.node;
      const input = leaves.indexOf(from);
      const isAlone = rootNodes.filter((each) => each === node).length === 1 && !rootNodes.includes(from);
      return input >= 0 && isAlone ? [[output, input]] : [];
    });
    if (found.length === 0) return graph;
    const users = usersAmong(collect([...roots, ...graph.watched]));
    const alone = found.filter(([, input]) => users.get(leaves[input]!)?.length === 1);
    return { ...graph, inPlace: new Map([...graph.inPlace, ...alone]) };
  },
};

/** Whether a node replaces elements of its first input and leaves the others as they are. */
const puts = ({ op, params }: Node): boolean =>
  op === putRows || (op === scatter && (params as ScatterParams).reduction === "none");
