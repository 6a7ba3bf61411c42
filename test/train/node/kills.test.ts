/** A training that is killed at random moments, also while it writes a checkpoint, ends as one that was not. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { killOften, outcome, runWhole } from "./kills.mjs";

test("twenty times SIGKILL: the same weights bit for bit, the same metrics line for line", {
  timeout: 600_000,
}, async () => {
  const folder = await mkdtemp(join(tmpdir(), "glissade-kills-"));
  try {
    await runWhole(join(folder, "whole"));
    const whole = outcome(join(folder, "whole"));
    let runs = 0;
    const done = await killOften(
      20,
      1,
      () => join(folder, `run-${runs++}`),
      (run) => expect(outcome(run)).toEqual(whole),
    );
    expect(done.kills).toBe(20);
    expect(whole.metrics.length).toBeGreaterThan(50);
  } finally {
    await rm(folder, { recursive: true });
  }
});
