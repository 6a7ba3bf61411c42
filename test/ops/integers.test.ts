/** int32 arithmetic wraps around as two's complement does, whatever the engine, and no input of a division ends the process. */
import { describe, expect, test } from "vitest";
import { apply } from "../../src/graph/apply.ts";
import { type Op, registry } from "../../src/graph/op.ts";
import {
  compile,
  type Engine,
  nodeEngine,
  plainEngine,
  read,
  scan,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";
import { sampler } from "../support/conformance.ts";

const engines: [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 2 })],
  ["node without kernels", () => nodeEngine({ threads: 2, kernels: false })],
  ["node's binding", () => nodeEngine({ threads: 2, implementation: "binding" })],
];

const smallest = -(2 ** 31);
const largest = 2 ** 31 - 1;
const edges = [smallest, smallest + 1, -65537, -46341, -32, -3, -2, -1, 0, 1, 2, 3, 31, 33, 46341, 65536, largest];
const pairs = edges.flatMap((a) => edges.map((b) => [a, b] as const));
const divisible = pairs.filter(([, b]) => b !== 0);

const wrapped = (value: bigint): number => Number(BigInt.asIntN(32, value));
const sign = (value: bigint): bigint => (value > 0n ? 1n : value < 0n ? -1n : 0n);
const size = (value: bigint): bigint => value * sign(value);
const floored = (a: bigint, b: bigint): bigint => a / b - (a % b !== 0n && sign(a) !== sign(b) ? 1n : 0n);
const truth = (holds: boolean): bigint => (holds ? 1n : 0n);
const places = (b: bigint): bigint => BigInt.asUintN(5, b);

/** What each elementwise op of int32 elements gives, in whole numbers of any size. */
const unary: Readonly<Record<string, (a: bigint) => bigint>> = { neg: (a) => -a, abs: size, sign };
const binary: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  remainder: (a, b) => a - b * floored(a, b),
  fmod: (a, b) => a % b,
  maximum: (a, b) => BigInt(Math.max(Number(a), Number(b))),
  minimum: (a, b) => BigInt(Math.min(Number(a), Number(b))),
  equal: (a, b) => truth(a === b),
  less: (a, b) => truth(a < b),
  greater: (a, b) => truth(a > b),
  lessEqual: (a, b) => truth(a <= b),
  greaterEqual: (a, b) => truth(a >= b),
  bitAnd: (a, b) => a & b,
  bitOr: (a, b) => a | b,
  bitXor: (a, b) => a ^ b,
  shiftLeft: (a, b) => a << places(b),
  shiftRight: (a, b) => a >> places(b),
};

/** Elementwise ops without parameters that take so many int32 inputs, all of one type. */
function integerOps(inputs: number): string[] {
  const type = { shape: [2], dtype: "int32" } as const;
  return [...registry.values()].flatMap(({ name, elementwise, type: typeOf, samples, ...op }) => {
    if (!elementwise) return [];
    const [first] = samples(sampler("float32"));
    if (first?.params !== undefined || first?.inputs.length !== inputs || op.plateaus) return [];
    try {
      typeOf(Array(inputs).fill(type), undefined);
      return [name];
    } catch {
      return []; //  not for int32
    }
  });
}

const opOf = (name: string): Op<undefined> => registry.get(name)! as Op<undefined>;
const integers = (values: readonly number[]): Tensor => tensor([...values], "int32");

test("the tables below have every op of integers", () => {
  expect(integerOps(1).sort()).toEqual(Object.keys(unary).sort());
  expect(integerOps(2).sort()).toEqual(Object.keys(binary).sort());
});

describe.each(engines)("on the %s engine", (_, engine) => {
  test.each(Object.entries(unary))("%s", async (name, f) => {
    useEngine(engine());
    const found = await apply(opOf(name), [integers(edges)], undefined).data();
    expect([...found]).toEqual(edges.map((a) => wrapped(f(BigInt(a)))));
  });

  test.each(Object.entries(binary))("%s", async (name, f) => {
    useEngine(engine());
    const op = opOf(name);
    const chosen = op.divisor ? divisible : pairs;
    const inputs = [integers(chosen.map(([a]) => a)), integers(chosen.map(([, b]) => b))];
    const expected = chosen.map(([a, b]) => wrapped(f(BigInt(a), BigInt(b))));
    expect([...(await apply(op, inputs, undefined).data())]).toEqual(expected);
    // With a number for the right side, and with both numbers known, which the compiler works out.
    for (const b of edges.filter((value) => !op.divisor || value !== 0)) {
      const byNumber = apply(op, [integers(edges), tensor(b, "int32")], undefined);
      expect([...(await byNumber.data())]).toEqual(edges.map((a) => wrapped(f(BigInt(a), BigInt(b)))));
    }
  });

  test("constants are worked out by the same rule", async () => {
    useEngine(engine());
    for (const [name, f] of Object.entries(binary)) {
      const op = opOf(name);
      const left = tensor(0, "int32");
      const found = [smallest, largest].flatMap((a) =>
        [-1, 3].map((b) => apply(op, [left.scalar(a), left.scalar(b)], undefined)),
      );
      const values = (await read(found)).map(Number);
      const expected = [smallest, largest].flatMap((a) => [-1n, 3n].map((b) => wrapped(f(BigInt(a), b))));
      expect(values, name).toEqual(expected);
    }
  });

  test("the quotient rounded down", async () => {
    useEngine(engine());
    const found = await integers(divisible.map(([a]) => a))
      .floorDivide(integers(divisible.map(([, b]) => b)))
      .data();
    expect([...found]).toEqual(divisible.map(([a, b]) => wrapped(floored(BigInt(a), BigInt(b)))));
  });

  test("divisions in a loop, and by what the graph works out", async () => {
    useEngine(engine());
    const run = compile((a: Tensor<[2], "int32">, b: Tensor<[3, 2], "int32">) => {
      const { state, outputs } = scan(
        (x: Tensor<[2], "int32">, y: Tensor<[2], "int32">) => [x.div(y), x.remainder(y.mul(-1).mul(-1))],
        { init: a, xs: b },
      );
      return [state as Tensor, outputs as Tensor, a.div(b.slice([0, 1]).reshape([2]).neg().neg())];
    });
    const by = [
      [-1, -1],
      [-1, 2],
      [1, -1],
    ];
    const [state, outputs, quotient] = await read(
      run(tensor([smallest, largest], "int32"), tensor(by, "int32") as never),
    );
    expect(state).toEqual([smallest, 1073741823]);
    expect(outputs).toEqual([
      [0, 0],
      [0, 1],
      [0, 0],
    ]);
    expect(quotient).toEqual([smallest, -largest]);
  });
});
