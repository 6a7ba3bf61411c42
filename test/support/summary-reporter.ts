/** A line that scripts can read at the very end of a test run: `N passed, N failed`. */
import type { Reporter, SerializedError, TestModule } from "vitest/node";

/** How many tests passed, and how many things failed. */
export interface Summary {
  readonly passed: number;
  /** Tests, and besides them files and suites that could not be collected or set up, and errors outside of any test. */
  readonly failed: number;
}

/** Counts what a run came to. */
export function summarize(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): Summary {
  let passed = 0;
  let failed = unhandledErrors.length;
  for (const module of modules) {
    for (const test of module.children.allTests()) {
      const { state } = test.result();
      if (state === "passed") passed++;
      if (state === "failed") failed++;
    }
    for (const group of [module, ...module.children.allSuites()]) if (group.errors().length > 0) failed++;
  }
  return { passed, failed };
}

/** Prints the summary when the process ends, after everything else; a run without any finished test fails. */
export class SummaryReporter implements Reporter {
  #summary: Summary = { passed: 0, failed: 0 };

  onInit(): void {
    process.on("exit", () => {
      const { passed, failed } = this.#summary;
      if (passed + failed === 0) process.exitCode = 1;
      process.stdout.write(`${passed} passed, ${failed} failed\n`);
    });
  }

  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    this.#summary = summarize(modules, unhandledErrors);
  }
}
