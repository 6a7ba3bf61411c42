/** Checks the arguments of a tensor's methods, by one table of kinds, before the method is called. */
import {
  aFlag,
  aFunction,
  aNumber,
  anOperand,
  anything,
  aTensor,
  aText,
  aWhole,
  axes,
  expectArguments,
  type Kind,
  oneOf,
  optional,
  options,
  pairs,
  sizes,
  tensors,
} from "../graph/arguments.ts";
import { Tensor } from "./tensor.ts";

const keepDims = { keepDims: aFlag };
const axis = optional(aWhole);
const number = optional(aNumber);
const reduction = [optional(axes), options(keepDims)];

/** The kind of a range of `slice`: null for a whole axis, or [from, to, step]. */
const range: Kind = (value) => {
  const isPart = Array.isArray(value) && value.every((part) => part === undefined || Number.isSafeInteger(part));
  return value === null || value === undefined || (isPart && value.length <= 3)
    ? undefined
    : "give null for a whole axis, or [from, to] or [from, to, step]; x.slice([0, 1]).squeeze(0) takes the first part";
};

const operands =
  "add sub mul div pow maximum minimum equal notEqual less greater lessEqual greaterEqual remainder fmod atan2 hypot bitAnd bitOr bitXor shiftLeft shiftRight floorDivide logAddExp logAddExp2 ldexp fmax fmin copySign heaviside prelu";

/** Names of methods that take the same kinds of arguments, and these kinds. Methods without arguments are not listed. */
const table: readonly (readonly [methods: string, wanted: readonly Kind[]])[] = [
  [operands, [anOperand]],
  ["and or xor matmul dot pick", [aTensor]],
  ["lerp", [anOperand, anOperand]],
  ["maskedFill", [aTensor, aNumber]],
  ["scalar", [aNumber]],
  ["apply applyAll", [isOp, tensors, anything]],
  ["clip hardTanh", [number, number]],
  ["nanToNum", [number, number, number]],
  ["elu celu leakyRelu hardShrink softShrink", [number]],
  ["tril triu diagonal", [axis]],
  ["threshold", [aNumber, aNumber]],
  ["softmax logSoftmax softmin glu cumprod cummax cummin logCumSumExp argmax argmin", [axis]],
  ["cumsum", [axis, options({ reverse: aFlag, exclusive: aFlag })]],
  ["sum mean max min prod any all countNonZero logSumExp", reduction],
  ["variance std", [optional(axes), options({ ...keepDims, correction: aNumber })]],
  ["norm", [optional(axes), options({ ...keepDims, order: aNumber })]],
  ["sumTo expand reshape tile", [sizes]],
  ["swapAxes roll repeat", [aWhole, aWhole]],
  ["flatten", [axis, axis]],
  ["squeeze", [optional(axes)]],
  ["flip", [axes]],
  ["unsqueeze oneHot", [aWhole]],
  ["pad", [pairs, options({ mode: oneOf("constant", "reflect", "edge", "circular"), value: aNumber })]],
  ["split", [sizes, axis]],
  ["take", [aTensor, axis]],
  ["gather", [aTensor, aWhole]],
  ["scatter", [aTensor, aTensor, aWhole, options({ reduction: oneOf("none", "add", "max", "min") })]],
  ["topK", [aWhole, axis, options({ smallest: aFlag })]],
  ["sort argsort", [axis, options({ descending: aFlag })]],
  ["cast", [aText]],
];

function isOp(value: unknown): string | undefined {
  return typeof value === "object" && value !== null && "type" in value && aFunction(value.type) === undefined
    ? undefined
    : "give an op, made with defineOp";
}

type Method = (this: Tensor, ...given: unknown[]) => unknown;
const prototype = Tensor.prototype as unknown as Record<string, Method>;

function install(name: string, value: Method): void {
  Object.defineProperty(prototype, name, { configurable: true, writable: true, value });
}

for (const [names, wanted] of table)
  for (const name of names.split(" ")) {
    const method = prototype[name]!;
    install(name, function (...given) {
      expectArguments(name, wanted, given);
      return method.apply(this, given);
    });
  }

// Methods that take one argument for each axis.
for (const [name, wanted] of [
  ["slice", range],
  ["transpose", aWhole],
] as const) {
  const method = prototype[name]!;
  install(name, function (...given) {
    expectArguments(
      name,
      given.map(() => wanted),
      given,
    );
    return method.apply(this, given);
  });
}
