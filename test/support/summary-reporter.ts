/** Closes a run with one line that a program can read: `N passed, N failed`. */
import type { Reporter, SerializedError, TestModule } from "vitest/node";

export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    let passed = 0;
    let failed = errors.length;
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      // A file that could not be collected has no tests to fail.
      if (tests.length === 0 && module.state() === "failed") failed++;
      for (const test of tests) {
        const { state } = test.result();
        if (state === "passed") passed++;
        if (state === "failed") failed++;
      }
    }
    if (passed + failed === 0) process.exitCode = 1;
    process.on("exit", () => console.log(`${passed} passed, ${failed} failed`));
  }
}
