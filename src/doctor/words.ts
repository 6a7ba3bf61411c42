/** Formats words and numbers for reports. */

/** Returns a whole number with separators between thousands. */
export const count = (value: number): string => value.toLocaleString("en-US");

/** "1 step", "2 steps". */
export const counted = (value: number, word: string): string => `${count(value)} ${plural(word, value)}`;

export const plural = (word: string, value: number): string => (value === 1 ? word : `${word}s`);

/** Returns a number with the given number of digits, without zeros at its end; very small and very large numbers have an exponent. */
export function show(value: number, digits: number = 4): string {
  if (!Number.isFinite(value) || value === 0) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e6) return String(Number(value.toPrecision(digits)));
  return value
    .toExponential(digits - 1)
    .replace(/\.?0*e/, "e")
    .replace("e+", "e");
}

/** The first five, and how many more there are. */
export function list(items: readonly (string | number)[]): string {
  const shown = items.slice(0, 5).join(", ");
  return items.length > 5 ? `${shown} and ${count(items.length - 5)} more` : shown;
}
