/** States written where they are read: the same numbers in less memory, and nothing lost by a loss that is not finite. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Sandbox } from "../../src/compile/sandbox.ts";
import type { Program } from "../../src/engine/engine.ts";
import { discardState } from "../../src/models/step-model.ts";
import {
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  batchNorm,
  compile,
  concat,
  crossEntropy,
  type Engine,
  type EngineBuffer,
  embedding,
  fromValues,
  init,
  linear,
  lion,
  type Module,
  module,
  nadam,
  nodeEngine,
  type Optimizer,
  type Parameter,
  parameter,
  plainEngine,
  radam,
  read,
  relu,
  rmsprop,
  type State,
  seed,
  sequential,
  sgd,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";

type X = Tensor<[number, 40], "float32">;
type Y = Tensor<[number], "int32">;

const batch = 8;
const x = tensor(
  Array.from({ length: batch }, (_, i) => Array.from({ length: 40 }, (_, j) => Math.sin(i * 40 + j))),
) as X;
const y = tensor([0, 1, 2, 3, 0, 1, 2, 3], "int32") as Y;

const engines: [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 2 })],
  ["node's binding", () => nodeEngine({ threads: 2, implementation: "binding" })],
];

const network = () => sequential(linear(40, 32), batchNorm(32), relu, linear(32, 40), relu, linear(40, 4));

/** A network, its optimizer, and the step that trains it. */
function training(make: (model: Module) => Optimizer = adam) {
  seed(3);
  const model = network();
  const optimizer = make(model);
  const step = compile((inputs: X, labels: Y) => {
    const loss = crossEntropy(model(inputs), labels);
    optimizer.minimize(loss);
    return loss;
  });
  const states = [...model.states(), ...optimizer.states()];
  return { model, optimizer, step, states };
}

const valuesOf = (states: readonly State[]): Promise<unknown[]> => Promise.all(states.map((state) => state.data()));

interface Watched {
  /** Buffers made so far. */
  buffers: number;
  /** The last training step that was run, and for each of its outputs whether it was written to an input's buffer. */
  program: Program | undefined;
  shared: boolean[];
}

/** An engine whose runs write no input: what is to be written in place is written elsewhere and brought over when the run is done. */
function apart(engine: Engine): Engine {
  return {
    name: engine.name,
    target: engine.target,
    buffer: (type, values) => engine.buffer(type, values),
    async load(program) {
      const session = await engine.load(program);
      return {
        async run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]) {
          const own = outputs.map((output) => (inputs.includes(output) ? engine.buffer(output.type) : output));
          await session.run(inputs, own);
          for (const [i, output] of outputs.entries()) if (output !== own[i]) output.write(await own[i]!.read());
        },
        release: () => session.release(),
      };
    },
  };
}

/** An engine under watch, in use from now on. `after` sees each run that has been made. */
function watch(engine: Engine, after: () => void = () => {}): Watched {
  const watched: Watched = { buffers: 0, program: undefined, shared: [] };
  useEngine({
    name: engine.name,
    target: engine.target,
    buffer(type, values) {
      watched.buffers++;
      return engine.buffer(type, values);
    },
    async load(program) {
      const session = await engine.load(program);
      return {
        async run(inputs: readonly EngineBuffer[], outputs: readonly EngineBuffer[]) {
          if (outputs.length > 2) {
            watched.program = program;
            watched.shared = outputs.map((output) => inputs.includes(output));
          }
          await session.run(inputs, outputs);
          after();
        },
        release: () => session.release(),
      };
    },
  });
  return watched;
}

/** Elements of the outputs that were written in place, and of all that are large. */
function elements({ program, shared }: Watched): { readonly shared: number; readonly large: number } {
  const sizes = program!.outputs.map(({ type }) => type.shape.reduce((a, b) => a * b, 1));
  const sum = (chosen: (size: number, i: number) => boolean): number => sizes.filter(chosen).reduce((a, b) => a + b, 0);
  return { shared: sum((_, i) => shared[i]!), large: sum((size) => size >= 1024) };
}

describe.each(engines)("on the %s engine", (_, engine) => {
  test("moments are, and weights, which nothing reads once all gradients are known; from the first step on", async () => {
    const watched = watch(engine());
    const { step } = training();
    const first = await step(x, y).item();
    expect(elements(watched)).toEqual({ shared: 6 * 1280, large: 6 * 1280 });
    await step(x, y).item();
    const before = watched.buffers;
    for (let i = 0; i < 20; i++) await step(x, y).item();
    expect(watched.buffers).toBe(before);
    expect(await step(x, y).item()).toBeLessThan(0.9 * first);
  });

  test("initial values that somebody else holds are not written to: a reader, a fork, the array that a variable was made of", async () => {
    useEngine(engine());
    const { step, states } = training();
    const [read, forked, other] = states.filter(({ size }) => size >= 1024) as [State, State, State];
    const given = Float32Array.from({ length: other.size }, (_, i) => Math.sin(i));
    other.write(given);
    const [seen, fork] = [await read.data(), forked.fork()];
    const [wasSeen, wasForked, wasGiven] = [seen.slice(), await forked.data(), given.slice()];
    for (let i = 0; i < 2; i++) await step(x, y).item();
    expect([seen, given]).toEqual([wasSeen, wasGiven]);
    expect(await fork.data()).toEqual(wasForked);
    expect(await read.data()).not.toEqual(wasSeen);
  });

  test.each([
    ["NaN", Number.NaN],
    ["Infinity", Number.POSITIVE_INFINITY],
  ])("a loss that an input makes %s changes nothing, and says so", async (shown, value) => {
    useEngine(engine());
    const { step, states } = training();
    for (let i = 0; i < 3; i++) await step(x, y).item();
    const before = await valuesOf(states);
    const rows = await x.array();
    rows[5]![7] = value;
    await expect(step(tensor(rows) as X, y).item()).rejects.toThrow(
      `argument 0 (float32[8, 40]) holds ${shown} at [5, 7]`,
    );
    expect(await valuesOf(states)).toEqual(before);
    const next = await step(x, y).item();
    expect(next).toBeGreaterThan(0);
    const undisturbed = training();
    for (let i = 0; i < 3; i++) await undisturbed.step(x, y).item();
    expect(await undisturbed.step(x, y).item()).toBe(next);
  });

  test.each([
    ["Infinity", 3e38],
    ["-Infinity", -3e38],
  ])("a loss that overflows to %s is told as what it is", async (shown, bias) => {
    useEngine(engine());
    const model = network();
    const optimizer = adam(model);
    const step = compile((inputs: X, labels: Y) => {
      const loss = crossEntropy(model(inputs), labels).add(bias).add(bias);
      optimizer.minimize(loss);
      return loss;
    });
    await expect(step(x, y).item()).rejects.toThrow(`adam.minimize: the loss is ${shown}, so the update was not made`);
  });

  test("a read that was asked for before a step gives the value before it", async () => {
    useEngine(engine());
    const { model, step } = training();
    await step(x, y).item();
    const [weight] = model.parameters();
    const expected = await weight!.data();
    const asked = weight!.data();
    const loss = step(x, y);
    expect(await asked).toEqual(expected);
    await loss.item();
    expect(await weight!.data()).not.toEqual(expected);
  });

  test("a sandbox keeps the values it began with while training goes on outside", async () => {
    useEngine(engine());
    const { model, optimizer, step } = training();
    for (let i = 0; i < 2; i++) await step(x, y).item();
    const trial = (await Sandbox.open()).compile((inputs: X, labels: Y) => {
      const loss = crossEntropy(model(inputs), labels);
      optimizer.minimize(loss);
      return loss;
    });
    const [inside, outside] = [trial(x, y), step(x, y)];
    expect(await inside.item()).toBe(await outside.item());
    const ahead = [await step(x, y).item(), await step(x, y).item()];
    expect([await trial(x, y).item(), await trial(x, y).item()]).toEqual(ahead);
  });

  test("a loss that overflows after some steps changes nothing either", async () => {
    useEngine(engine());
    seed(3);
    const model = network();
    const optimizer = adam(model);
    const step = compile((inputs: X, labels: Y, factor: Tensor<[], "float32">) => {
      const loss = crossEntropy(model(inputs), labels).mul(factor);
      optimizer.minimize(loss);
      return loss;
    });
    for (let i = 0; i < 3; i++) await step(x, y, tensor(1)).item();
    const states = [...model.states(), ...optimizer.states()];
    const before = await valuesOf(states);
    await expect(step(x, y, tensor(3.3e38)).item()).rejects.toThrow("adam.minimize: the loss is Infinity");
    expect(await valuesOf(states)).toEqual(before);
  });

  test("of two losses in a step the one that is not finite is named, and neither update is made", async () => {
    useEngine(engine());
    seed(3);
    const [one, two] = [network(), network()];
    const [first, second] = [adam(one), sgd(two, { learningRate: 0.1, momentum: 0.9 })];
    const step = compile((inputs: X, labels: Y, offset: Tensor<[], "float32">) => {
      first.minimize(crossEntropy(one(inputs), labels));
      const loss = crossEntropy(two(inputs), labels).add(offset.mul(offset));
      second.minimize(loss);
      return loss;
    });
    const states = [one, two, first, second].flatMap((each) => [...each.states()]);
    for (let i = 0; i < 3; i++) await step(x, y, tensor(0)).item();
    const before = await valuesOf(states);
    await expect(step(x, y, tensor(1e30)).item()).rejects.toThrow("sgd.minimize: the loss is Infinity");
    expect(await valuesOf(states)).toEqual(before);
    await step(x, y, tensor(0)).item();
  });

  test("a run that fails on the way costs what it was writing, which says so until it gets a value again", async () => {
    let fails = false;
    watch(engine(), () => {
      if (fails) throw new Error("out of memory");
    });
    const { model, optimizer, step } = training();
    for (let i = 0; i < 2; i++) await step(x, y).item();
    const saved = await valuesOf([...model.states(), ...optimizer.states()]);
    fails = true;
    await expect(step(x, y).item()).rejects.toThrow("out of memory");
    fails = false;
    const [first] = model.parameters();
    const told = "it failed while it was writing 0.weight, whose value is lost (Error: out of memory)";
    await expect(first!.data()).rejects.toThrow(told);
    await expect(step(x, y).item()).rejects.toThrow("whose value is lost");
    for (const [i, state] of [...model.states(), ...optimizer.states()].entries()) state.write(saved[i] as never);
    const again = await step(x, y).item();
    const undisturbed = training();
    for (let i = 0; i < 2; i++) await undisturbed.step(x, y).item();
    expect(await undisturbed.step(x, y).item()).toBe(again);
  });
});

// The plain engine makes a run whole before it writes anything.
describe.each(engines.slice(1))("on the %s engine, bit for bit", (_, engine) => {
  test.each<[string, (model: Module) => Optimizer, number]>([
    ["sgd", (model) => sgd(model, { learningRate: 0.05 }), 2],
    ["momentum", (model) => sgd(model, { learningRate: 0.05, momentum: 0.9 }), 4],
    ["nesterov", (model) => sgd(model, { learningRate: 0.05, momentum: 0.9, nesterov: true }), 4],
    ["rmsprop", (model) => rmsprop(model, { learningRate: 0.01 }), 4],
    ["adagrad", (model) => adagrad(model, { learningRate: 0.05 }), 2],
    ["adadelta", (model) => adadelta(model), 6],
    ["adam", (model) => adam(model), 6],
    ["adamW", (model) => adamW(model), 6],
    ["amsgrad", (model) => amsgrad(model), 8],
    ["nadam", (model) => nadam(model), 6],
    ["radam", (model) => radam(model), 6],
    ["lion", (model) => lion(model), 2],
  ])("%s takes the same steps as with two buffers for each state", async (_name, make, count) => {
    const native = engine();
    const watched = watch(native);
    const [inPlace, byTwo] = [training(make), training(make)];
    const losses: number[] = [];
    for (let i = 0; i < 6; i++) losses.push(await inPlace.step(x, y).item());
    expect(elements(watched).shared).toBe(count * 1280);
    const expected = await valuesOf(inPlace.states);
    useEngine(apart(native));
    for (let i = 0; i < 6; i++) expect(await byTwo.step(x, y).item()).toBe(losses[i]);
    expect(await valuesOf(byTwo.states)).toEqual(expected);
  });
});

/** Ways to come from a parameter of some shape to a matrix of `side` rows and columns; ONNX Runtime leaves many of them out. */
const side = 36;
const square = [side, side];
const views: Readonly<Record<string, readonly [shape: readonly number[], view: (w: Tensor) => Tensor]>> = {
  itself: [square, (w) => w],
  transposed: [square, (w) => w.mT()],
  "a long row": [[side * side], (w) => w.reshape(square)],
  "views of views": [[side * side], (w) => w.reshape([side, 1, side]).transpose(2, 1, 0).reshape(square)],
  heads: [[6, 6, side], (w) => w.reshape(square)],
  "heads turned": [[6, 6, side], (w) => w.transpose(2, 0, 1).reshape(square)],
  "a cast there and back": [square, (w) => w.cast("float64").cast("float32")],
  "axes of size 1": [[1, side, side], (w) => w.squeeze(0)],
  "a mean over one": [[...square, 1], (w) => w.mean(-1)],
  repeated: [
    square,
    (w) =>
      w
        .unsqueeze(0)
        .expand([1, ...square])
        .reshape(square),
  ],
  "in one part": [square, (w) => concat([w], 0)],
  "in two parts": [square, (w) => concat([w.slice([0, 10]), w.slice([10, side])], 0)],
  backwards: [square, (w) => w.flip(0)],
  scaled: [square, (w) => w.mul(0.7)],
  centred: [square, (w) => w.sub(w.mean(0))],
  normalised: [square, (w) => w.div(w.square().sum(0).add(1).sqrt())],
  "through softmax": [square, (w) => w.softmax()],
};

test("random networks whose weights are looked at in any way: the same bits as with two buffers for each state", async () => {
  const network = fc.record({
    weights: fc.array(fc.constantFrom(...Object.keys(views)), { minLength: 2, maxLength: 4 }),
    optimizer: fc.constantFrom<(weights: Parameter[]) => Optimizer>(
      (weights) => sgd(weights, { learningRate: 0.1, weightDecay: 0.01 }),
      (weights) => sgd(weights, { learningRate: 0.05, momentum: 0.9, nesterov: true }),
      (weights) => adam(weights, { learningRate: 0.01 }),
      (weights) => adamW(weights, { learningRate: 0.01 }),
    ),
    usesFirstAgain: fc.boolean(),
    isPenalised: fc.boolean(),
    looksAtLast: fc.boolean(),
    rows: fc.constantFrom(4, 40),
    threads: fc.constantFrom(1, 2),
  });
  const engines = [1, 2].map((threads) => nodeEngine({ threads }));
  const inputs = (rows: number): Tensor<[number, 36], "float32"> =>
    fromValues(
      Float32Array.from({ length: rows * side }, (_, i) => Math.sin(i)),
      [rows, side],
    );
  let inPlace = 0;
  await fc.assert(
    fc.asyncProperty(network, async (made) => {
      const engine = engines[made.threads - 1]!;
      const train = async (): Promise<unknown[]> => {
        seed(7);
        const weights = made.weights.map(
          (name) => parameter(views[name]![0], init.normal(0.2)) as unknown as Parameter,
        );
        const optimizer = made.optimizer(weights);
        const used = [...weights.entries(), ...(made.usesFirstAgain ? [[0, weights[0]!] as const] : [])];
        const step = compile((x: Tensor<[number, 36], "float32">) => {
          let h = x;
          for (const [i, weight] of used)
            h = h.matmul(views[made.weights[i]!]![1](weight) as Tensor<[36, 36], "float32">).tanh();
          let loss: Tensor = h.square().mean();
          if (made.isPenalised) loss = loss.add(weights[0]!.square().mean());
          optimizer.minimize(loss);
          return made.looksAtLast ? [loss, weights.at(-1)!.current().abs().mean()] : [loss];
        });
        const found: unknown[] = [];
        for (let i = 0; i < 4; i++) found.push(await read(step(inputs(made.rows))));
        return [...found, ...(await valuesOf(weights))];
      };
      const watched = watch(engine);
      const found = await train();
      if (watched.shared.includes(true)) inPlace++;
      useEngine(apart(engine));
      expect(found).toEqual(await train());
    }),
    { numRuns: 60, seed: 5 },
  );
  expect(inPlace).toBeGreaterThan(50);
}, 60_000);

test("a run that fails before the guard costs nothing", async () => {
  const watched = watch(nodeEngine({ threads: 1 }));
  seed(2);
  const [table, head] = [embedding(64, 32), linear(32, 4)];
  const model = module("Lookup", { table, head }, (ids: Tensor<[number], "int32">) => head(table(ids)));
  const optimizer = adam(model);
  const step = compile((ids: Tensor<[number], "int32">, labels: Y) => {
    const loss = crossEntropy(model(ids.add(1)), labels);
    optimizer.minimize(loss);
    return loss;
  });
  const good = tensor([0, 1, 2, 3, 4, 5, 6, 7], "int32");
  for (let i = 0; i < 2; i++) await step(good, y).item();
  expect(elements(watched).shared).toBe(3 * 64 * 32);
  const states = [...model.states(), ...optimizer.states()];
  const before = await valuesOf(states);
  for (const id of [63, 2 ** 31 - 2, 1_830_541_000]) {
    const bad = tensor([0, 1, 2, 3, 4, 5, 6, id], "int32");
    await expect(step(bad, y).item()).rejects.toThrow(
      `index ${(id + 1) | 0} at position 7 of the indices (int32[8]) is outside 0 … 63`,
    );
    expect(await valuesOf(states)).toEqual(before);
  }
  await step(good, y).item();
});

test("indices that only a metric uses stop the run before anything is written", async () => {
  const watched = watch(nodeEngine({ threads: 1 }));
  const model = network();
  const optimizer = adam(model);
  const step = compile((inputs: X, labels: Y, at: Tensor<[1], "int32">) => {
    const logits = model(inputs) as Tensor<[number, 4], "float32">;
    optimizer.minimize(crossEntropy(logits, labels));
    return logits.take(at.mul(2).sub(1)).mean();
  });
  const at = (place: number) => tensor([place], "int32") as Tensor<[1], "int32">;
  for (let i = 0; i < 2; i++) await step(x, y, at(1)).item();
  expect(elements(watched).shared).toBe(6 * 1280);
  const states = [...model.states(), ...optimizer.states()];
  const before = await valuesOf(states);
  for (const [place, index] of [
    [0, -1],
    [7, 13],
  ] as const) {
    await expect(step(x, y, at(place)).item()).rejects.toThrow(
      `index ${index} at position 0 of the indices (int32[1]) is outside 0 … 7`,
    );
    expect(await valuesOf(states)).toEqual(before);
  }
  await step(x, y, at(2)).item();
});

test("what is returned, or looked at afterwards, keeps its value", async () => {
  const watched = watch(nodeEngine({ threads: 1 }));
  const model = network();
  const optimizer = adam(model);
  const [weight] = model.parameters();
  const step = compile((inputs: X, labels: Y) => {
    const before = weight!.current();
    const loss = crossEntropy(model(inputs), labels);
    optimizer.minimize(loss);
    return [loss, before, before.mul(2)] as const;
  });
  await step(x, y)[0].item();
  const known = await weight!.data();
  const [loss, before, doubled] = step(x, y);
  await loss.item();
  expect(watched.shared.filter(Boolean)).toHaveLength(5); //  the moments, and the other weight
  expect(await before.data()).toEqual(known);
  expect(await doubled.data()).toEqual(known.map((value) => 2 * value));
});

test.runIf(nodeEngine().target.kernels)(
  "the gradient that is made last is looked at at once, and its parameter updated first",
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "glissade-order-"));
    const engine = nodeEngine({ threads: 1, profile: path.join(folder, "trace") });
    useEngine(engine);
    const model = sequential(linear(40, 96), relu, linear(96, 64), relu, linear(64, 32));
    const optimizer = adam(model);
    const step = compile((x: X, y: Y) => {
      const loss = crossEntropy(model(x) as Tensor<[number, 32], "float32">, y);
      optimizer.minimize(loss);
      return loss;
    });
    await step(x, y).item();
    const traces = await Promise.all((await engine.endProfiling()).map((file) => readFile(file, "utf8")));
    await rm(folder, { recursive: true });
    interface Event {
      readonly name: string;
      readonly args?: {
        readonly op_name?: string;
        readonly output_type_shape?: readonly Record<string, readonly number[]>[];
      };
    }
    const nodes = traces
      .map((trace) => JSON.parse(trace) as Event[])
      .find((events) => events.some(({ args }) => args?.op_name?.startsWith("guard")))!
      .filter(({ name, args }) => name.endsWith("_kernel_time") && args?.op_name !== undefined)
      .map(({ args }) => ({ op: args!.op_name!, shape: Object.values(args!.output_type_shape![0]!)[0] }));
    const at = nodes.findIndex(({ op }) => op.startsWith("guard"));
    expect(nodes[at - 1]).toEqual({ op: "Gemm", shape: [96, 40] });
    const weights = nodes.filter(({ op, shape }, i) => i > at && op.startsWith("kernel") && shape?.length === 2);
    expect(weights.map(({ shape }) => shape)).toEqual([
      [96, 40],
      [64, 96],
      [32, 64],
    ]);
  },
);

describe.each(engines)("arguments, on the %s engine", (_, engine) => {
  type Rows = Tensor<[4, 600], "float32">;
  const start = (): Rows =>
    fromValues(
      Float32Array.from({ length: 2400 }, (_, i) => Math.cos(i)),
      [4, 600],
    ) as Rows;
  const places = (column: number) => tensor([[column], [column], [column], [column]], "int32");
  const now = tensor([[1], [2], [3], [4]]);
  /** What `count` steps make of the rows, in JavaScript. */
  const expected = (count: number): Float32Array =>
    Float32Array.from({ length: 2400 }, (_, i) => (i % 600 < count ? Math.floor(i / 600) + 1 : Math.cos(i)));
  /** Puts a column into rows; two more results, so that the run is watched. */
  const writer = () =>
    compile((rows: Rows, column: ReturnType<typeof places>) => {
      const next = rows.scatter(column, now, 1) as Rows;
      return { next, sum: next.sum(), most: next.max() };
    });

  test("that were discarded are written, and others are not", async () => {
    const watched = watch(engine());
    const put = writer();
    const first = start();
    let { next } = put(first, places(0));
    expect(await next.data()).toEqual(expected(1));
    expect(watched.shared).toEqual([false, false, false]);
    const kept = next;
    ({ next } = put(next, places(1)));
    await next.data();
    expect(watched.shared).toEqual([false, false, false]);
    for (let i = 2; i < 9; i++) {
      const before = next;
      ({ next } = put(next, places(i)));
      discardState(before);
      await put.finished();
      expect(watched.shared).toEqual([false, true, false]);
    }
    expect(await next.data()).toEqual(expected(9));
    expect(await kept.data()).toEqual(expected(1));
    expect(await first.data()).toEqual(expected(0));
  });

  test("of many queued steps take no further memory", async () => {
    const watched = watch(engine());
    const put = writer();
    let { next } = put(start(), places(0));
    await put.finished();
    const before = watched.buffers;
    for (let i = 1; i < 30; i++) {
      const old = next;
      ({ next } = put(next, places(i)));
      discardState(old);
    }
    expect(await next.data()).toEqual(expected(30));
    // Two for the small results, and one for the places of each step.
    expect(watched.buffers - before).toBeLessThanOrEqual(29 + 2);
  });

  test("are not written that are given twice, are read besides, or come back", async () => {
    const watched = watch(engine());
    const twice = compile((a: Rows, b: Rows, column: ReturnType<typeof places>) => {
      const next = a.scatter(column, now, 1) as Rows;
      return { next, sum: next.sub(b).abs().sum(), most: next.max() };
    });
    const read = compile((rows: Rows, column: ReturnType<typeof places>) => {
      const next = rows.scatter(column, now, 1) as Rows;
      return { next, sum: next.sub(rows).abs().sum(), most: next.max() };
    });
    const back = compile((rows: Rows, column: ReturnType<typeof places>) => {
      const next = rows.scatter(column, now, 1) as Rows;
      return { next, rows, most: next.max() };
    });
    const put = writer();
    for (const run of [(rows: Rows) => twice(rows, rows, places(1)), (rows: Rows) => read(rows, places(1))]) {
      const { next: rows } = put(start(), places(0));
      const result = run(rows);
      discardState(rows);
      expect(await result.sum.item()).toBeCloseTo(
        expected(1).reduce((sum, value, i) => sum + Math.abs(expected(2)[i]! - value), 0),
        3,
      );
      expect(await result.next.data()).toEqual(expected(2));
      expect(watched.shared).toEqual([false, false, false]);
    }
    const { next: rows } = put(start(), places(0));
    const result = back(rows, places(1));
    discardState(rows);
    expect(await result.rows.data()).toEqual(expected(1));
    expect(await result.next.data()).toEqual(expected(2));
  });

  test("of a variable stay its own, whatever is assigned from them", async () => {
    useEngine(engine());
    const [one, other] = [parameter([4, 600], init.zeros), parameter([4, 600], init.ones)];
    const step = compile((column: ReturnType<typeof places>) => {
      other.assign(one.scatter(column, now, 1) as Rows);
      return one.sum();
    });
    await step(places(0)).item();
    expect(await one.data()).toEqual(new Float32Array(2400));
    expect((await other.data()).filter((value: number) => value !== 0)).toEqual(Float32Array.of(1, 2, 3, 4));
    // A place that is not there stops the run, and nothing is lost.
    expect(() => step(places(600))).toThrow(/600/);
    expect(await one.data()).toEqual(new Float32Array(2400));
    expect((await other.data()).filter((value: number) => value !== 0)).toEqual(Float32Array.of(1, 2, 3, 4));
  });
});

test.runIf(process.platform === "linux")(
  "later steps of a large network hold no more memory than the first",
  async () => {
    useEngine(nodeEngine({ threads: 1 }));
    const model = sequential(
      linear(1024, 1024),
      relu,
      linear(1024, 1024),
      relu,
      linear(1024, 1024),
      relu,
      linear(1024, 4),
    );
    const optimizer = adam(model);
    const step = compile((inputs: Tensor<[number, 1024], "float32">, labels: Y) => {
      const loss = crossEntropy(model(inputs), labels);
      optimizer.minimize(loss);
      return loss;
    });
    const rows = 4096;
    const inputs = fromValues(new Float32Array(rows * 1024), [rows, 1024]);
    const labels = fromValues(new Int32Array(rows), [rows]);
    const resident = process.memoryUsage.rss;
    await step(inputs, labels).item();
    const after = resident();
    for (let i = 0; i < 3; i++) await step(inputs, labels).item();
    // A run takes some 200 MB, which a second piece would double.
    expect((resident() - after) / 1e6).toBeLessThan(60);
  },
);
