/** An engine under observation. */
import type { Program } from "../../src/engine/engine.ts";
import { type Engine, nodeEngine } from "../../src/node.ts";

/** An engine that notes the programs which it loads. */
export function watched(threads: number = 1): Engine & { readonly programs: Program[] } {
  const engine = nodeEngine({ threads });
  const programs: Program[] = [];
  const load: Engine["load"] = (program) => {
    programs.push(program);
    return engine.load(program);
  };
  return { ...engine, target: engine.target, programs, load };
}
