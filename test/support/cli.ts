/** The command line inside of a test's process. */
import type { Command, OutputConfiguration } from "commander";
import { expect, vi } from "vitest";
import { makeProgram } from "../../src/cli/program.ts";

export interface Outcome {
  /** The exit code: 1 where a command throws. */
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** What was thrown, if anything. */
  readonly error?: unknown;
}

/** Runs `glissade …words` and gives what it writes; without colours, as for no terminal. */
export async function glissade(...words: readonly string[]): Promise<Outcome> {
  const written = { out: "", err: "" };
  const to =
    (stream: "out" | "err") =>
    (text: string = ""): void => {
      written[stream] += text;
    };
  let code = 0;
  const spies = [
    vi.spyOn(console, "log").mockImplementation((text = "") => to("out")(`${text}\n`)),
    vi.spyOn(console, "error").mockImplementation((text = "") => to("err")(`${text}\n`)),
  ];
  const program = makeProgram((given) => {
    code = given;
  });
  inHere(program, { writeOut: to("out"), writeErr: to("err") });
  try {
    await program.parseAsync([...words], { from: "user" });
    return { code, ...written };
  } catch (error) {
    const { exitCode, message } = error as { readonly exitCode?: number; readonly message: string };
    if (exitCode === undefined) to("err")(`${message}\n`);
    return { code: exitCode ?? 1, ...written, error };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** Nothing ends the process, and everything that is written is caught. */
function inHere(command: Command, output: OutputConfiguration): void {
  command.exitOverride().configureOutput(output);
  for (const each of command.commands) inHere(each as Command, output);
}

/** The objects of an output that has one on each line. */
export const jsonLines = (out: string): Record<string, unknown>[] =>
  out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

/** Expects that `glissade …words` is refused with a sentence. */
export async function refused(words: readonly string[], sentence: RegExp): Promise<void> {
  const { code, err } = await glissade(...words);
  expect(err).toMatch(sentence);
  expect(code).toBe(1);
}
