/** Random programs of arithmetic on edges: the first few hundred here; `npm run programs` runs a hundred thousand. */
import { expect, test } from "vitest";
import { nodeEngine } from "../../src/node.ts";
import { programOf, runPrograms, show, shrunk } from "./programs.ts";

const wanted = Number(process.env.PROGRAMS ?? 300);
const inOneGraph = 100;

test(`${wanted} random programs: every step is right on ONNX Runtime, with kernels`, {
  timeout: 3_600_000,
}, async () => {
  const engine = nodeEngine({ threads: 1 });
  let compared = 0;
  const sentences: string[] = [];
  for (let from = 0; from < wanted && sentences.length < 20; from += inOneGraph) {
    const programs = Array.from({ length: Math.min(inOneGraph, wanted - from) }, (_, i) => programOf(from + i));
    const outcome = await runPrograms(programs, engine);
    compared += outcome.compared;
    if ((from + inOneGraph) % 10_000 === 0) console.log(`${from + inOneGraph} programs, ${compared} numbers compared`);
    for (const { program } of outcome.problems.slice(0, 5)) {
      const smallest = await shrunk(program, engine);
      sentences.push(`${smallest.sentence}\n${show(smallest.program)}`);
    }
  }
  console.log(`programs: ${wanted}, ${compared} numbers compared`);
  expect(sentences.join("\n\n")).toBe("");
  expect(compared).toBeGreaterThan(20 * wanted);
});
