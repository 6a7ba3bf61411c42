/** Words of a command line as values. */
import { InvalidArgumentError } from "commander";

export function wholeNumber(from: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < from)
      throw new InvalidArgumentError(`Give a whole number from ${from} on.`);
    return value;
  };
}
