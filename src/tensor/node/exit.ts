/** The end of the process. */
import { untoldErrors } from "../run.ts";

// Once for a process, also when this module is loaded twice.
const kept = globalThis as { [key: symbol]: (() => readonly unknown[])[] | undefined };
const key = Symbol.for("glissade.failures");

/** When the process ends, failed runs that nobody has been told of are told on standard error, and the exit code is 1 instead of 0. */
export function reportAtExit(): void {
  if (!kept[key]) {
    const sources: (() => readonly unknown[])[] = [];
    kept[key] = sources;
    process.on("exit", (code) =>
      report(
        sources.flatMap((errors) => errors()),
        code,
      ),
    );
  }
  kept[key].push(untoldErrors);
}

function report(errors: readonly unknown[], code: number): void {
  if (errors.length === 0) return;
  const count = errors.length === 1 ? "a run failed" : `${errors.length} runs failed`;
  const first = errors.length === 1 ? "" : " The first error:";
  process.stderr.write(
    `glissade: ${count}, and nothing was read afterwards that would have said so.${first}\n${errors[0]}\n`,
  );
  if (code === 0) process.exitCode = 1;
}
