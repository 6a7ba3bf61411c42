/** The runs test: whether a sequence is in random order. */

export interface RunsTest {
  /** The number of runs: stretches of equal values. */
  readonly runs: number;
  /** The mean number of runs in a random order. */
  readonly expected: number;
  /** (runs − expected) in standard deviations: far below 0 for sorted values. */
  readonly z: number;
}

/**
 * Counts runs (Wald and Wolfowitz 1940), with any number of kinds (Barton and David 1957). Returns undefined where every order has the same
 * number of runs: all values equal, or all different.
 */
export function runsTest(kinds: ArrayLike<number>): RunsTest | undefined {
  const n = kinds.length;
  const counts = new Map<number, number>();
  let runs = 0;
  for (let i = 0; i < n; i++) {
    const kind = kinds[i]!;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (i === 0 || kind !== kinds[i - 1]) runs++;
  }
  const powers = (exponent: number): number => [...counts.values()].reduce((sum, k) => sum + k ** exponent, 0);
  const [squares, cubes] = [powers(2), powers(3)];
  const expected = n + 1 - squares / n;
  const variance = (squares * (squares + n * (n + 1)) - 2 * n * cubes - n ** 3) / (n ** 2 * (n - 1));
  return variance > 0 ? { runs, expected, z: (runs - expected) / Math.sqrt(variance) } : undefined;
}
