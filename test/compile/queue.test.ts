/** The order of things: runs, writes and reads take effect in the order in which they are written, awaited or not. */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { enqueue, queueLimit } from "../../src/compile/queue.ts";
import { Sandbox } from "../../src/compile/sandbox.ts";
import {
  adam,
  type Compiled,
  compile,
  decodeSafetensors,
  decodeWeights,
  defaultGenerator,
  dropout,
  type Engine,
  encodeWeights,
  evaluate,
  exportOnnx,
  fromValues,
  linear,
  meanSquaredError,
  nodeEngine,
  plainEngine,
  randomGenerator,
  read,
  relu,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/node.ts";
import type { Steps } from "../../src/task.ts";
import { Run } from "../../src/tensor/run.ts";
import { Parameter, State } from "../../src/tensor/state.ts";

const native = nodeEngine({ threads: 1 });
const handedOver = nodeEngine({ threads: 1, onTheSpot: 0 });

const engines: readonly [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => native],
  ["node, every run on the thread", () => handedOver],
  ["node's binding", () => nodeEngine({ threads: 1, implementation: "binding" })],
];

/** Parameters, one of which is large enough to be written in place, momentum, and a step that moves them by a rate. */
function descent() {
  const large = new Parameter({ shape: [2048], dtype: "float32" }, new Float32Array(2048), { name: "large" });
  const small = new Parameter({ shape: [], dtype: "float32" }, Float32Array.of(0), { name: "small" });
  const optimizer = sgd([large, small], { learningRate: 1, momentum: 0.5 });
  const step = compile((slope: Tensor<[], "float32">) => {
    const loss = large.sum().add(small).mul(slope);
    optimizer.minimize(loss);
    return loss;
  });
  return { large, small, optimizer, step };
}

type Descent = ReturnType<typeof descent>;

describe.each(engines)("on the %s engine", (_, engine) => {
  test("a rate that is written between two calls is the rate of the second", async () => {
    useEngine(engine());
    const w = new Parameter({ shape: [], dtype: "float32" }, Float32Array.of(0));
    const optimizer = sgd([w], { learningRate: 0.5 });
    const step = compile(() => void optimizer.minimize(w.mul(1)));
    for (const rate of [1, 0.1, 0.01, 0.001]) {
      optimizer.learningRate = rate;
      step();
    }
    expect(await w.item()).toBeCloseTo(-1.111, 6);
  });

  test("a file that is read and a factor that is set between two calls are those of the second", async () => {
    useEngine(engine());
    const [a, b] = [new Parameter({ shape: [], dtype: "float32" }, Float32Array.of(0)), linear(1, 1)];
    const optimizer = sgd([{ parameters: [a] }, { parameters: b, rateFactor: 0 }], { learningRate: 1 });
    const step = compile(() => void optimizer.minimize(a.add(b(tensor([[1]])).sum() as Tensor<[], "float32">)));
    b.weight.write(Float32Array.of(5));
    const file = await encodeWeights(b);
    step();
    optimizer.groups[1]!.rateFactor = 2;
    step();
    const weight = b.weight.item(); //  5 − 2
    decodeWeights(b, file);
    const loaded = b.weight.item();
    step();
    expect(await Promise.all([weight, loaded, b.weight.item(), a.item()])).toEqual([3, 5, 3, -3]);
  });

  test("a read sees what was there when it was asked for, an expression too", async () => {
    useEngine(engine());
    const { large, small, step } = descent();
    const seen: Promise<number>[] = [];
    for (let i = 0; i < 4; i++) {
      seen.push(small.item(), large.sum().item());
      step(tensor(1));
    }
    expect(await Promise.all(seen)).toEqual([0, 0, -1, -2048, -2.5, -5120, -4.25, -8704]);
  });

  test("what waits at the top comes before a call", async () => {
    useEngine(engine());
    const { small, step } = descent();
    small.assign(small.add(10));
    step(tensor(1));
    small.assign(small.mul(2));
    step(tensor(0));
    expect(await small.item()).toBe(17.5);
  });

  test("a seed that is set between two calls is that of the second", async () => {
    useEngine(engine());
    const generator = randomGenerator(1);
    const draw = compile(() => generator.uniform([3]));
    const first = draw();
    generator.seed(1);
    const second = draw();
    const third = draw();
    expect(await second.array()).toEqual(await first.array());
    expect(await third.array()).not.toEqual(await first.array());
  });

  test("what is saved, read or exported together is one point of the queue", async () => {
    useEngine(engine());
    const cells = Array.from(
      { length: 12 },
      (_, i) => new State({ shape: [i % 2 ? 1500 : 1], dtype: "float32" }, new Float32Array(i % 2 ? 1500 : 1)),
    );
    const count = compile(() => {
      for (const cell of cells) cell.assign(cell.add(1));
    });
    const saved = { namedStates: () => new Map(cells.map((cell, i) => [`cell${i}`, cell as State])) };
    const files: Promise<Uint8Array>[] = [];
    const reads: Promise<number[]>[] = [];
    for (let i = 0; i < 50; i++) {
      count();
      count();
      files.push(encodeWeights({ saved }));
      reads.push(
        read(cells.map((cell, at) => (at % 3 ? cell.mean() : cell.max()))) as Promise<unknown> as Promise<number[]>,
      );
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve)); //  training goes on meanwhile
    }
    for (const [i, file] of (await Promise.all(files)).entries())
      for (const { values } of decodeSafetensors(file).tensors.values()) expect(values[0]).toBe(2 * i + 2);
    for (const [i, values] of (await Promise.all(reads)).entries())
      expect(new Set(values)).toEqual(new Set([2 * i + 2]));
  });

  test("a failed run that nobody waited for is told to whoever reads next, once, and nothing else is lost", async () => {
    useEngine(engine());
    const { large, small, optimizer, step } = descent();
    const bad = tensor(Number.NaN);
    const told = "argument 0 (float32[]) holds NaN";
    for (let i = 0; i < 20; i++) step(i < 3 ? tensor(1) : bad);
    await expect(encodeWeights({ optimizer })).rejects.toThrow(told);
    expect(await small.item()).toBe(-4.25);
    step(bad);
    await expect(large.array()).rejects.toThrow(told);
    step(bad);
    await expect(evaluate()).rejects.toThrow(told);
    step(bad);
    await expect(step.finished()).rejects.toThrow(told);
    step(bad);
    await expect(read({ small })).rejects.toThrow(told);
    step(bad);
    await expect(exportOnnx((x: Tensor<[], "float32">) => x.mul(small), [tensor(1)])).rejects.toThrow(told);
    const [failed, good] = [step(bad), step(tensor(1))];
    await expect(good.item()).rejects.toThrow(told); //  it comes after
    expect(Number.isFinite(await good.item())).toBe(true);
    await expect(failed.item()).rejects.toThrow(told);
    expect(await small.item()).toBe(-6.125);
    await step.finished();
  });

  test("a run on what a failed run should have made fails with it, and it is told once", async () => {
    useEngine(engine());
    const { step } = descent();
    const double = compile((x: Tensor) => x.mul(2));
    const twice = double(step(tensor(Number.NaN)));
    await expect(twice.item()).rejects.toThrow("holds NaN");
    await evaluate();
  });
});

test.each(engines)("on the %s engine a function that gives nothing does nothing", async (_, engine) => {
  useEngine(engine());
  const [nothing, list, record] = [compile((x: Tensor) => void x.mul(2)), compile(() => []), compile(() => ({}))];
  expect([nothing(tensor([1])), list(), record()]).toEqual([undefined, [], {}]);
  await evaluate();
});

test.each<[string, () => Engine]>([
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 1 })],
  ["node, every run on the thread", () => nodeEngine({ threads: 1, onTheSpot: 0 })],
])("on the %s engine no more than the limit waits: a call makes what is in its way", async (_, engine) => {
  const made: number[] = [];
  let most = 0;
  let waiting = 0;
  // biome-ignore lint/correctness/useYield: steps that wait for nothing.
  function* note(i: number): Steps<void> {
    made.push(i);
    waiting--;
  }
  useEngine(engine());
  const sum = compile((x: Tensor) => x.slice([0, 4]).sum());
  const sums: Promise<number>[] = [];
  for (let i = 0; i < 60; i++) {
    if (i === 30) await new Promise((resolve) => setImmediate(resolve)); //  a run is under way now
    waiting++;
    sums.push(sum(fromValues(new Float32Array(2 ** 20).fill(i), [2 ** 20])).item() as Promise<number>);
    const run = new Run();
    run.done = enqueue(run, note(i));
    most = Math.max(most, waiting);
  }
  expect(most).toBeLessThanOrEqual(queueLimit / (4 * 2 ** 20) + 1);
  expect(made.length).toBeGreaterThan(40);
  expect(await Promise.all(sums)).toEqual(Array.from({ length: 60 }, (_, i) => 4 * i));
  expect(made).toEqual([...Array(60).keys()]);
});

test("the end of the process tells of failed runs that nobody has been told of", () => {
  const program = `
    import { compile, parameter, sgd, tensor } from "./dist/node.js";
    const w = parameter(tensor(0));
    const optimizer = sgd([w], { learningRate: 1 });
    const step = compile((x) => void optimizer.minimize(w.mul(x)));
    for (let i = 0; i < 5; i++) step(tensor(NaN));
  `;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "--eval", program], {
    encoding: "utf8",
  });
  expect(stderr).toMatchInlineSnapshot(`
    "glissade: 5 runs failed, and nothing was read afterwards that would have said so. The first error:
    DataError: compiled function: argument 0 (float32[]) holds NaN at []
      fix: clean the data before training; the update was not made and all parameters keep their values
    "
  `);
  expect(status).toBe(1);
});

test("training with dropout goes on from a file with the same numbers, bit for bit", async () => {
  useEngine(native);
  const x = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const make = (start: number) => {
    seed(start);
    const model = sequential(linear(3, 16), relu, dropout(0.5), linear(16, 1));
    const optimizer = adam(model);
    const step = compile(() => {
      const loss = meanSquaredError(model(x), zeros([2, 1]));
      optimizer.minimize(loss);
      return loss;
    });
    return { saved: { model, optimizer, generator: defaultGenerator }, step };
  };
  const { saved, step } = make(3);
  for (let i = 0; i < 5; i++) step();
  defaultGenerator.host.next();
  const file = await encodeWeights(saved);
  const losses = await read([step(), step(), step()]);
  const host = [1, 2, 3, 4, 5].map(() => defaultGenerator.host.next());
  const part = defaultGenerator.split("part").host.next();

  const other = make(77);
  other.step();
  decodeWeights(other.saved, file);
  expect(await read([other.step(), other.step(), other.step()])).toEqual(losses);
  expect([1, 2, 3, 4, 5].map(() => defaultGenerator.host.next())).toEqual(host);
  expect(defaultGenerator.split("part").host.next()).toBe(part);
});

/** What a random program does next. */
type Action =
  | { readonly kind: "step" | "trial"; readonly slope: number }
  | { readonly kind: "rate" | "write" | "writeLarge"; readonly value: number }
  | { readonly kind: "read" | "save" | "load" | "sum" | "assign" | "fork" | "seed" | "draw" | "turn" };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("step" as const), slope: fc.constantFrom(1, -2, 0.5, Number.NaN) }),
  },
  fc.record({ kind: fc.constant("trial" as const), slope: fc.constantFrom(1, -2, 0.5, Number.NaN) }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("rate" as const, "write" as const, "writeLarge" as const),
      value: fc.constantFrom(0, 0.25, 1, 3),
    }),
  },
  {
    weight: 4,
    arbitrary: fc
      .constantFrom("read", "save", "load", "sum", "assign", "fork", "seed", "draw", "turn")
      .map((kind) => ({ kind }) as Action),
  },
);

/** Takes a program's actions, with or without waiting for each; returns everything that it saw. */
async function perform(program: readonly Action[], waits: boolean): Promise<unknown[]> {
  const made: Descent = descent();
  const { large, small, optimizer, step } = made;
  const generator = randomGenerator(9);
  const draw = compile(() => generator.uniform([2]));
  const saved = {
    weights: {
      namedStates: () =>
        new Map<string, State>([
          ["large", large],
          ["small", small],
        ]),
    },
    optimizer,
    generator,
  };
  let trial: Compiled<[Tensor<[], "float32">], Tensor> | undefined;
  let file: Uint8Array | undefined;
  const seen: Promise<unknown>[] = [];
  const watch = (promise: Promise<unknown>): void =>
    void seen.push(promise.catch((error: Error) => error.message.split("\n")[0]));
  for (const next of program) {
    switch (next.kind) {
      case "step":
        watch(step(tensor(next.slope)).item());
        break;
      case "trial":
        if (trial) watch(trial(tensor(next.slope)).item());
        break;
      case "rate":
        optimizer.learningRate = next.value;
        break;
      case "write":
        small.write(Float32Array.of(next.value));
        break;
      case "writeLarge":
        large.write(new Float32Array(2048).fill(next.value));
        break;
      case "read":
        watch(read({ small, large: large.slice([5, 7]), loss: large.sum().add(small) }));
        break;
      case "save":
        watch(encodeWeights(saved).then((bytes) => `${bytes}`));
        if (!file) {
          // Both kinds of program go on with the same file.
          file = await encodeWeights(saved);
        }
        break;
      case "load":
        if (file) decodeWeights(saved, file);
        break;
      case "sum":
        watch(large.mean().mul(small).item());
        break;
      case "assign":
        small.assign(small.mul(0.5).add(1));
        break;
      case "fork":
        if (!trial) {
          const sandbox = await Sandbox.open();
          trial = sandbox.compile((slope: Tensor<[], "float32">) => {
            const loss = large.sum().add(small).mul(slope);
            optimizer.minimize(loss);
            return loss;
          });
        }
        break;
      case "seed":
        generator.seed(4);
        break;
      case "draw":
        watch(draw().array());
        break;
      case "turn":
        await new Promise((resolve) => setImmediate(resolve));
    }
    if (waits) await Promise.all(seen);
  }
  watch(encodeWeights(saved).then((bytes) => `${bytes}`));
  return Promise.all(seen);
}

test("random programs of runs, writes, reads, files, trials and failures see the same whether they wait or not", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 5, maxLength: 25 }),
      fc.constantFrom(plainEngine(), native, handedOver),
      async (program, engine) => {
        useEngine(engine);
        expect(await perform(program, false)).toEqual(await perform(program, true));
      },
    ),
    { numRuns: 40, seed: 7 },
  );
}, 60_000);
