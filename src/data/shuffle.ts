/** Shuffling: permutations that depend on their random bits and on nothing else. */

/** A source of random uint32, such as a PhiloxStream. */
export interface RandomBits {
  next(): number;
}

// Streams of a seed that serve data. Generators number theirs from 0, so these start far above.

/** The stream that draws splits. */
export const splitStream: number = 2 ** 29;

/** The stream that orders epoch 0 of a loader; epoch e takes the e-th after it. */
export const firstEpochStream: number = 2 ** 30;

/** How many epochs have a stream of their own: a stream of the JavaScript side is a whole number below 2³¹. */
export const mostEpochs: number = 2 ** 30;

/** A whole number from 0 to `bound` − 1, each equally likely. `bound` goes from 1 to 2³². */
export function drawIndex(bound: number, random: RandomBits): number {
  // The 2³² mod bound numbers at the top would make the small remainders likelier: draw again.
  const limit = 2 ** 32 - (2 ** 32 % bound);
  let drawn = random.next();
  while (drawn >= limit) drawn = random.next();
  return drawn % bound;
}

/** The numbers 0 to `length` − 1 in random order, every order equally likely (Fisher and Yates; Durstenfeld 1964). */
export function permutation(length: number, random: RandomBits): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    const chosen = drawIndex(last + 1, random);
    const index = order[last]!;
    order[last] = order[chosen]!;
    order[chosen] = index;
  }
  return order;
}
