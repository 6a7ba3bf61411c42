/** The op of leaves: nothing is computed, the values come from outside. */
import type { Op } from "./op.ts";

/** Not on the register: a leaf is an input of the program and is never lowered or evaluated. */
export const input: Op<undefined> = {
  name: "input",
  type: () => [],
  gradient: () => [],
  onnx: () => [],
  evaluate: () => {},
  samples: () => [],
};
