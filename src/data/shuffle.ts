/** Shuffling: permutations that depend only on the random bits. */

/** A source of random uint32 numbers, such as a PhiloxStream. */
export interface RandomBits {
  next(): number;
}

/** Draws a whole number from 0 to `bound` − 1, each equally likely. `bound` is from 1 to 2³². */
export function drawIndex(bound: number, random: RandomBits): number {
  // The highest 2³² mod bound numbers would make small remainders more likely, so they are drawn again.
  const limit = 2 ** 32 - (2 ** 32 % bound);
  let drawn = random.next();
  while (drawn >= limit) drawn = random.next();
  return drawn % bound;
}

/** Returns the numbers 0 to `length` − 1 in random order, every order equally likely (Fisher and Yates; Durstenfeld 1964). */
export function permutation(length: number, random: RandomBits): Uint32Array {
  const order = new Uint32Array(length);
  for (let index = 0; index < length; index++) order[index] = index;
  for (let last = length - 1; last > 0; last--) {
    const chosen = drawIndex(last + 1, random);
    const index = order[last]!;
    order[last] = order[chosen]!;
    order[chosen] = index;
  }
  return order;
}
