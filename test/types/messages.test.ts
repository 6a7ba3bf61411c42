/** What the compiler says of wrong shapes, as a person reads it: the sentence that is thrown at run time too. */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { type Tensor, zeros } from "../../src/index.ts";

/** The compiler's output for wrong/mistakes.ts: the line, and the innermost sentence that names shapes. */
async function complaints(): Promise<string[]> {
  const root = path.join(import.meta.dirname, "../..");
  const compiler = path.join(root, "node_modules/typescript/bin/tsc");
  try {
    await promisify(execFile)(process.execPath, [compiler, "--noEmit", "-p", path.join(import.meta.dirname, "wrong")]);
  } catch (error) {
    return (error as { stdout: string }).stdout.trim().split(/\n(?=\S)/);
  }
  return expect.fail("wrong code compiled");
}

test("each mistake has its sentence, and the one of matmul is also thrown", async () => {
  const messages = await complaints();
  const lines = messages.map((message) => Number(/mistakes\.ts\((\d+),/.exec(message)?.[1]));
  expect(lines).toEqual([4, 5, 6, 7, 8, 9, 10]);
  const sentences = messages.map(
    (message) => /ShapeMismatch<"(.*?)">/.exec(message)?.[1] ?? message.split("\n").at(-1)!.trim(),
  );
  expect(sentences).toMatchInlineSnapshot(`
    [
      "matmul: [2, 3] @ [4, 5] — inner axes 3 and 4 differ",
      "matmul: [2, 8, 16, 64] @ [2, 8, 16, 64] — inner axes 64 and 16 differ; transpose the right side: .mT()",
      "add: [32] does not broadcast into [32, 128]",
      "add: [10, 32, 128] does not broadcast into [32, 128] — swap the operands",
      "Type '28' is not assignable to type '784'.",
      "sequential: a layer takes 128, and the one before it gives 256",
      "Type '"float32"' is not assignable to type '"int32"'.",
    ]
  `);
  try {
    (zeros([2, 3]) as Tensor).matmul(zeros([4, 5]));
    expect.fail("nothing was thrown");
  } catch (error) {
    expect(String(error)).toContain(sentences[0]);
  }
});
