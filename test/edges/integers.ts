/** Arithmetic of int32 by its definition, in whole numbers of any size: results wrap around. */
export const integerEdges: readonly number[] = [
  -(2 ** 31),
  -(2 ** 31) + 1,
  -65536,
  -3,
  -1,
  0,
  1,
  2,
  31,
  65535,
  2 ** 31 - 2,
  2 ** 31 - 1,
];

const floorOf = (a: bigint, b: bigint): bigint => a / b - BigInt(a % b !== 0n && a < 0n !== b < 0n);
/** Math.max and Math.min do not take whole numbers of any size. */
function largest(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
function smallest(a: bigint, b: bigint): bigint {
  if (a < b) return a;
  return b;
}
const truth = (is: boolean): bigint => BigInt(is);

/** By name; only for divisors that are not 0, and shifts from 0 to 31. */
export const integerPairs: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  floorDivide: floorOf,
  remainder: (a, b) => a - b * floorOf(a, b),
  fmod: (a, b) => a % b,
  maximum: largest,
  minimum: smallest,
  fmax: largest,
  fmin: smallest,
  bitAnd: (a, b) => a & b,
  bitOr: (a, b) => a | b,
  bitXor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << b,
  shiftRight: (a, b) => a >> b,
  equal: (a, b) => truth(a === b),
  notEqual: (a, b) => truth(a !== b),
  less: (a, b) => truth(a < b),
  greater: (a, b) => truth(a > b),
  lessEqual: (a, b) => truth(a <= b),
  greaterEqual: (a, b) => truth(a >= b),
  heaviside: (a, b) => (a === 0n ? b : truth(a > 0n)),
};
export const takesDivisor = (name: string): boolean => ["div", "floorDivide", "remainder", "fmod"].includes(name);
export const shifts = (name: string): boolean => name.startsWith("shift");

export const integerUnary: Readonly<Record<string, (a: bigint) => bigint>> = {
  neg: (a) => -a,
  abs: (a) => (a < 0n ? -a : a),
  sign: (a) => BigInt(Math.sign(Number(a))),
  bitNot: (a) => ~a,
  square: (a) => a * a,
  signBit: (a) => truth(a < 0n),
  isFinite: () => 1n,
  isInf: () => 0n,
  isNaN: () => 0n,
};

const sumOf = (values: readonly bigint[]): bigint => values.reduce((sum, value) => sum + value, 0n);

/** Functions of an array: their results. */
export const integerArrays: Readonly<Record<string, (x: readonly bigint[]) => readonly bigint[]>> = {
  sum: (x) => [sumOf(x)],
  prod: (x) => [x.reduce((product, value) => product * value, 1n)],
  cumsum: (x) => x.map((_, i) => sumOf(x.slice(0, i + 1))),
  cumprod: (x) => x.map((_, i) => x.slice(0, i + 1).reduce((product, value) => product * value, 1n)),
  max: (x) => [x.reduce(largest)],
  min: (x) => [x.reduce(smallest)],
  cummax: (x) => x.map((_, i) => x.slice(0, i + 1).reduce(largest)),
  cummin: (x) => x.map((_, i) => x.slice(0, i + 1).reduce(smallest)),
  argmax: (x) => [BigInt(x.indexOf(x.reduce(largest)))],
  argmin: (x) => [BigInt(x.indexOf(x.reduce(smallest)))],
  any: (x) => [truth(x.some((value) => value !== 0n))],
  all: (x) => [truth(x.every((value) => value !== 0n))],
  countNonZero: (x) => [BigInt(x.filter((value) => value !== 0n).length)],
};

export const wrapped = (value: bigint): number => Number(BigInt.asIntN(32, value));
