/** Draws every figure of docs/training.md from runs made here: `npm run figures`. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { nodeEngine, plainEngine, useEngine } from "glissade";
import * as networks from "./networks.ts";
import * as planes from "./planes.ts";

/** Draws into the folder beside this script's source. Returns the exit code. */
export async function main(root: string): Promise<number> {
  const folder = path.join(root, "docs/figures");
  await mkdir(folder, { recursive: true });
  // Problems of two numbers run fastest without an engine's session.
  useEngine(plainEngine());
  for (const draw of Object.values(planes)) await draw(folder);
  // On one thread sums have one order, and the figures come out the same.
  useEngine(nodeEngine({ threads: 1 }));
  for (const draw of Object.values(networks)) await draw(folder);
  return 0;
}
