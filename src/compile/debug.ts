/** The debug ladder: GLISSADE_DEBUG=0 nothing, 1 a line for each compilation, 2 the graph as well, 3 also what the rules made of it. */

import type { Engine, Session } from "../engine/engine.ts";
import { ConfigError } from "../errors.ts";
import { tensorOf } from "../graph/apply.ts";
import type { Value } from "../graph/node.ts";
import type { Waiting } from "../task.ts";
import type { GraphProgram } from "./program.ts";
import { printGraph } from "./text.ts";

interface Compilation {
  readonly engine: Engine;
  readonly program: Pick<GraphProgram, "size" | "text">;
  /** Whether an earlier process has lowered the graph. */
  readonly isKept: boolean;
  readonly roots: readonly Value[];
  /** Nodes before the rules, leaves included. */
  readonly before: number;
  /** Milliseconds. */
  readonly rewriting: number;
  /** Absent if it is made with the first run. */
  readonly session?: Waiting<Session> | undefined;
}

function readLevel(): number {
  const given =
    (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env?.GLISSADE_DEBUG ?? "0";
  if (!/^[0-3]$/.test(given))
    throw new ConfigError(
      "GLISSADE_DEBUG",
      `the level is "${given}"`,
      "use 0 (nothing), 1 (a line for each compilation), 2 or 3 (graphs)",
    );
  return Number(given);
}

let level: number | undefined;

export const debug: { compiled(compilation: Compilation): void } = {
  compiled({ engine, program, isKept, roots, before, rewriting, session }) {
    level ??= readLevel();
    if (level === 0) return;
    const started = performance.now();
    const report = (): void => {
      const creating = performance.now() - started;
      console.error(
        `glissade: ${before} nodes → ${program.size}${isKept ? ", kept by an earlier process," : ""} in ${rewriting.toFixed(1)} ms, session on ${engine.name} in ${creating.toFixed(1)} ms`,
      );
    };
    session?.then(report, () => {});
    if (level! >= 2) console.error(printGraph(...roots.map(({ node, index }) => tensorOf(node, index))));
    if (level! >= 3) console.error(program.text());
  },
};
