/** What the compiler says of wrong shapes, as a person reads it: the sentence that is thrown at run time too. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ShapeError } from "../../src/index.ts";
import * as arithmetic from "../../src/ops/arithmetic.ts";
import * as pairs from "../../src/tensor/pairs.ts";

const wrong = path.join(import.meta.dirname, "wrong");

/** The compiler's complaints about wrong/mistakes.ts, each with the number of the mistake that it is about. */
async function complaints(): Promise<{ readonly mistake: number; readonly text: string }[]> {
  const starts = readFileSync(path.join(wrong, "mistakes.ts"), "utf8")
    .split("\n")
    .flatMap((line, i) => (line.startsWith("  () =>") ? [i + 1] : []));
  const compiler = path.join(import.meta.dirname, "../../node_modules/typescript/bin/tsc");
  try {
    await promisify(execFile)(process.execPath, [compiler, "--noEmit", "-p", wrong]);
  } catch (error) {
    return (error as { stdout: string }).stdout
      .trim()
      .split(/\n(?=\S)/)
      .map((text) => {
        const line = Number(/mistakes\.ts\((\d+),/.exec(text)?.[1]);
        return { mistake: starts.filter((start) => start <= line).length - 1, text };
      });
  }
  return expect.fail("wrong code compiled");
}

/** The innermost sentence that names shapes, or what the compiler has to say by itself. */
const sentenceOf = (complaint: string): string =>
  /ShapeMismatch<"((?:[^"\\]|\\.)*)">/.exec(complaint)?.[1]?.replaceAll("\\", "") ??
  complaint.split("\n").at(-1)!.trim();

test("each mistake has its sentence, and the same one is thrown", async () => {
  // Not an import that the compiler sees: the rest of the tests is not wrong.
  const { mistakes, others } = await import(path.join(wrong, "mistakes.ts"));
  const found = await complaints();
  expect(found.map(({ mistake }) => mistake)).toEqual([...[...mistakes, ...others].keys()]);
  const sentences = found.map(({ text }) => sentenceOf(text));
  expect(sentences).toMatchInlineSnapshot(`
    [
      "matmul: [2, 3] @ [4, 5] — inner axes 3 and 4 differ",
      "matmul: [2, 8, 16, 64] @ [2, 8, 16, 64] — inner axes 64 and 16 differ; transpose the right side: .mT()",
      "matmul: [2, 8, 16, 64] @ [3, 8, 64, 16] — leading axes differ",
      "dot: [2] and [3] differ",
      "einsum: ij,jk->ik: j is 3 in one operand and 4 in [4, 5]",
      "einsum: "jk" names 2 axes of [3]",
      "add: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "sub: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "mul: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "div: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "pow: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "maximum: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "minimum: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "remainder: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "fmod: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "atan2: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "hypot: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "floorDivide: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "logAddExp: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "logAddExp2: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "ldexp: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "fmax: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "fmin: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "copySign: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "heaviside: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "prelu: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "bitAnd: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "bitOr: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "bitXor: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "shiftLeft: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "shiftRight: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "equal: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "notEqual: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "less: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "lessEqual: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "greater: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "greaterEqual: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "and: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "or: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "xor: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "where: [2] and [2, 3] do not broadcast — axes 2 and 3 differ",
      "where: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "maskedFill: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "lerp: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "lerp: [2, 3] and [2] do not broadcast — axes 3 and 2 differ",
      "broadcast: [2, 3] and [4] do not broadcast — axes 3 and 4 differ",
      "expand: [3] cannot be repeated to [2, 4]",
      "sumTo: [4] does not broadcast into [2, 3]",
      "transpose: (0, 1) does not name each axis of [2, 3, 4] once",
      "squeeze: axis 0 of float32[2, 4] is not 1",
      "concat: [2, 3] and [4, 4] differ on another axis than 0",
      "stack: [2, 3] and [2, 4] differ",
      "pick: [4, 3] needs one index for each of [4], and got [5]",
      "gather: indices [5] along axis 0 of [4, 3]",
      "scatter: indices [5] along axis 0 of [4, 3]",
      "scatter: updates float32[3, 3] at indices [2, 3] of float32[4, 3]",
      "conv: x [2, 3, 5, 5] has 3 channels, the kernel [8, 4, 3, 3] takes 4",
      "convTranspose: x [2, 3, 5, 5] has 3 channels, the kernel [4, 8, 3, 3] takes 4",
      "linear: x [2, 3] ends in 3, the weight [5, 4] takes 4",
      "layerNorm: x [2, 3] with scale [4] and shift [3]",
      "rmsNorm: x [2, 3] with scale [4]",
      "batchNorm: x [2, 3] with [4]",
      "batchNormInTraining: x [2, 3] with [4]",
      "groupNorm: x [2, 3] with [4]",
      "crossEntropy: logits [10, 1000] need labels [10], and got [11]",
      "negativeLogLikelihood: log-probabilities [10, 1000] need labels [10], and got [11]",
      "softCrossEntropy: [10, 1000] against [10, 100]",
      "meanSquaredError: [2, 3] against [3, 2]",
      "meanAbsoluteError: [2, 3] against [3, 2]",
      "huber: [2, 3] against [3, 2]",
      "smoothL1: [2, 3] against [3, 2]",
      "binaryCrossEntropy: [2, 3] against [3, 2]",
      "binaryCrossEntropyOfProbabilities: [2, 3] against [3, 2]",
      "klDivergence: [2, 3] against [3, 2]",
      "cosineSimilarity: [2, 3] against [3, 2]",
      "cosineDistance: [2, 3] against [3, 2]",
      "Type '28' is not assignable to type '784'.",
      "Type '4' is not assignable to type '3'.",
      "sequential: a layer takes 128, and the one before it gives 256",
      "Type '"float32"' is not assignable to type '"int32"'.",
    ]
  `);
  // Every function of two elements is among them.
  const pairsOfArithmetic = Object.entries(arithmetic).flatMap(([name, op]) => ("pair" in op ? [name] : []));
  for (const name of [...pairsOfArithmetic, ...Object.keys(pairs)])
    expect(
      sentences.some((sentence) => sentence.startsWith(`${name}: `)),
      name,
    ).toBe(true);
  for (const [i, make] of mistakes.entries()) {
    let thrown: unknown;
    try {
      make();
    } catch (error) {
      thrown = error;
    }
    expect(thrown, sentences[i]).toBeInstanceOf(ShapeError);
    const { subject, problem } = thrown as ShapeError;
    // The compiler's sentence has a fix behind it where there is an obvious one.
    expect(sentences[i]!.slice(0, `${subject}: ${problem}`.length)).toBe(`${subject}: ${problem}`);
  }
});
