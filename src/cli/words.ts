/** Small things of all commands: words as values, names of folders. */
import { stat } from "node:fs/promises";
import { InvalidArgumentError } from "commander";

export function wholeNumber(from: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < from)
      throw new InvalidArgumentError(`Give a whole number from ${from} on.`);
    return value;
  };
}

/** A number as a word; its bounds are checked by what takes it. */
export function anyNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Give a number.");
  return value;
}

/** "best", "last" or a step. */
export function whichCheckpoint(text: string): "best" | "last" | number {
  if (text === "best" || text === "last") return text;
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Give best, last or a step.");
  return Number(text);
}

export const isThere = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** The time, to the second, as folders are named by it. */
export function stamp(): string {
  const now = new Date();
  const two = (value: number): string => String(value).padStart(2, "0");
  const day = `${now.getFullYear()}-${two(now.getMonth() + 1)}-${two(now.getDate())}`;
  return `${day}-${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("")}`;
}
