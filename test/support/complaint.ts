/** What is thrown, as a sentence to look at. */
import { expect } from "vitest";
import type { GlissadeError } from "../../src/errors.ts";

/** The message of the error of a class that `run` ends in. Fails when there is none, or one of another class. */
export function complaint(kind: abstract new (...rest: never[]) => GlissadeError, run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(kind);
    return (error as Error).message;
  }
  return expect.fail("nothing was thrown");
}
