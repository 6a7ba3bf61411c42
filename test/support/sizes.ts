/** Runs of compiled functions over many sizes: with sessions for all of them, and with a session for each. */
import { expect } from "vitest";
import type { Engine } from "../../src/engine/engine.ts";
import { seed, useEngine } from "../../src/index.ts";

/** Makes a step for a size, and for a number where the program takes one; it returns what it has computed. */
export type Program = () => (n: number, number?: number) => Promise<readonly number[]>;

/** An engine that counts its sessions, and may take no program with holes: then each size gets a session of its own. */
function counting(engine: Engine, isOpen: boolean): { readonly sessions: number } {
  const counter = { sessions: 0 };
  const { filling, ...rest } = engine;
  useEngine({
    ...rest,
    ...(isOpen && filling && { filling }),
    load(program) {
      counter.sessions++;
      return engine.load(program);
    },
  });
  return counter;
}

/** Runs a program over sizes and numbers, open and closed: the same bits, or digits. Gives the number of sessions. */
export async function bothWays(
  program: Program,
  sizes: readonly number[],
  engine: Engine,
  { given = [], digits }: { readonly given?: readonly number[]; readonly digits?: number | undefined } = {},
): Promise<{ readonly open: number; readonly closed: number }> {
  const run = async (isOpen: boolean): Promise<readonly [readonly (readonly number[])[], number]> => {
    const counter = counting(engine, isOpen);
    seed(3);
    const step = program();
    const results: (readonly number[])[] = [];
    for (const [i, n] of sizes.entries()) results.push(await step(n, given[i % given.length]));
    return [results, counter.sessions];
  };
  const [closed, closedSessions] = await run(false);
  const [open, openSessions] = await run(true);
  for (const [i, n] of sizes.entries())
    for (const [at, value] of closed[i]!.entries())
      if (digits === undefined) expect(open[i]![at], `size ${n}`).toBe(value);
      else expect(open[i]![at], `size ${n}`).toBeCloseTo(value, digits);
  return { open: openSessions, closed: closedSessions };
}
