/** The op of leaves. It computes nothing: the values come from outside of the graph. */
import type { Op } from "./op.ts";

/** Not in the registry: a leaf is an input of the program and is never lowered or evaluated. */
export const input: Op<undefined> = {
  name: "input",
  type: () => [],
  gradient: () => [],
  onnx: () => [],
  evaluate: () => {},
  samples: () => [],
};
