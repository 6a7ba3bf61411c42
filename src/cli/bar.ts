/** The progress bar of every command. */
import { type Options, SingleBar } from "cli-progress";

/** A bar on standard error, when that is a terminal and no program reads along. */
export function progressBar(json: boolean, format: string, options: Options = {}): SingleBar | undefined {
  if (json || !process.stderr.isTTY) return undefined;
  return new SingleBar({
    format,
    barCompleteChar: "━",
    barIncompleteChar: "─",
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    fps: 12,
    ...options,
  });
}
