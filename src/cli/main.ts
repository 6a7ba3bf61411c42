#!/usr/bin/env node
/** The command line. */
import "../node.ts";
import { makeProgram } from "./program.ts";
import { isOurs, whatWasThrown } from "./subject.ts";

// Whoever reads the output may stop reading: `glissade … | head` ends quietly.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});

/** Says what went wrong; what is no error of ours with the places in the user's files, or its stack where there are none. */
function report(error: unknown): void {
  const { name, message, places, stack } = whatWasThrown(error);
  if (isOurs(error)) console.error(`${name}: ${message}`);
  else for (const line of places.length > 0 ? [`${name}: ${message}`, ...places] : stack) console.error(line);
}

// A module of the user's may let a promise fail that nobody waits for, or throw from a timer.
process.on("uncaughtException", (error) => {
  report(error);
  process.exit(1);
});

const program = makeProgram((code) => {
  process.exitCode = code;
});
try {
  await program.parseAsync();
} catch (error) {
  report(error);
  // At once: what a module of the user's has left running would keep the process alive.
  process.exit(1);
}
