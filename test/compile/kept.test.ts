/** Programs that are kept for later processes: the same numbers as without, and nothing that is not the same graph. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Engine, KeptProgram, ProgramStore } from "../../src/engine/engine.ts";
import {
  adam,
  compile,
  defineOp,
  fromValues,
  linear,
  nodeEngine,
  plainEngine,
  relu,
  type Shape,
  seed,
  sequential,
  type Tensor,
  tensor,
  useEngine,
} from "../../src/node.ts";

afterEach(() => useEngine(plainEngine()));

/** A store in memory. */
class Memory implements ProgramStore {
  fewestNodes = 0;
  readonly programs = new Map<string, KeptProgram>();

  get(key: string): KeptProgram | undefined {
    return structuredClone(this.programs.get(key));
  }

  put(key: string, program: KeptProgram): void {
    this.programs.set(key, structuredClone(program));
  }

  delete(key: string): void {
    this.programs.delete(key);
  }
}

/** An engine as a new process would have it, with a store of earlier processes; `sessions` counts the sessions made. */
function engineWith(programStore: ProgramStore | undefined, options: object = {}): Engine & { sessions: number } {
  const engine = nodeEngine({ threads: 1, ...options });
  const made = {
    ...engine,
    sessions: 0,
    programStore,
    load: (program: Parameters<Engine["load"]>[0]) => {
      made.sessions++;
      return engine.load(program);
    },
  };
  useEngine(made);
  return made;
}

const wave = (rows: number): Tensor<Shape, "float32"> =>
  fromValues(
    Float32Array.from({ length: rows * 8 }, (_, i) => Math.sin(i * 0.37)),
    [rows, 8] as Shape,
  ) as Tensor<Shape, "float32">;

/** Trains a small network on batches of these sizes, from the same start. Returns the losses and all weights. */
async function trained(sizes: readonly number[]): Promise<number[]> {
  seed(3);
  const model = sequential(linear(8, 16), relu, linear(16, 1));
  const optimizer = adam(model, { learningRate: 0.01 });
  const step = compile(function train(x: Tensor<Shape, "float32">) {
    const loss = model(x as never)
      .square()
      .mean() as Tensor<[], "float32">;
    optimizer.minimize(loss);
    return loss;
  });
  const losses: number[] = [];
  for (const size of sizes) losses.push(await step(wave(size)).item());
  for (const parameter of model.parameters()) losses.push(...(await parameter.data()));
  return losses;
}

describe("kept programs", () => {
  test("another process takes them, with the same bits, for many sizes too", async () => {
    const sizes = [12, 12, 20, 7, 31, 12];
    const without = engineWith(undefined);
    const expected = await trained(sizes);
    const store = new Memory();
    const put = vi.spyOn(store, "put");
    const first = engineWith(store);
    expect(await trained(sizes)).toEqual(expected);
    expect(put).toHaveBeenCalled();
    expect(first.sessions).toBe(without.sessions);
    put.mockClear();
    const second = engineWith(store);
    expect(await trained(sizes)).toEqual(expected);
    expect(put).not.toHaveBeenCalled();
    expect(second.sessions).toBe(without.sessions);
  });

  test("a program is for one target", async () => {
    const store = new Memory();
    engineWith(store);
    const expected = await trained([12, 12]);
    const kept = store.programs.size;
    engineWith(store, { kernels: false });
    const without = await trained([12, 12]);
    expect(store.programs.size).toBe(2 * kept);
    expect(without.map((value) => value.toFixed(4))).toEqual(expected.map((value) => value.toFixed(4)));
  });

  test("small graphs are not kept", async () => {
    const store = new Memory();
    store.fewestNodes = 10_000;
    engineWith(store);
    await trained([12]);
    expect(store.programs.size).toBe(0);
  });

  test("a graph with an op that a user has defined is not kept", async () => {
    const twice = defineOp({
      name: "keptTestTwice",
      shape: ([x]) => x!.shape,
      onnx: (graph, [x]) => graph.node("Add", [x, x]),
      evaluate: ([x], y) => x!.values.forEach((value, i) => y.values.fill(2 * value, i, i + 1)),
      samples: (random) => [{ inputs: [random.real(2)], params: undefined }],
    });
    const store = new Memory();
    engineWith(store);
    const double = compile((x: Tensor<[3], "float32">) => x.apply(twice, [], undefined));
    expect(await double(tensor([1, 2, 3])).array()).toEqual([2, 4, 6]);
    const looped = compile((x: Tensor<[3], "float32">) => x.add(1));
    expect(await looped(tensor([1, 2, 3])).array()).toEqual([2, 3, 4]);
    expect([...store.programs.keys()].filter((key) => key.includes("keptTestTwice"))).toEqual([]);
    expect(store.programs.size).toBeGreaterThan(0);
  });

  test("one of which no session can be made is forgotten", async () => {
    const store = new Memory();
    engineWith(store);
    const add = (): ((x: Tensor<[3], "float32">) => Tensor) => compile((x: Tensor<[3], "float32">) => x.add(5));
    await add()(tensor([1, 2, 3])).array();
    for (const [key, program] of store.programs)
      store.programs.set(key, { ...program, model: program.model.slice(0, program.model.length >> 1) });
    engineWith(store);
    await expect(add()(tensor([1, 2, 3])).array()).rejects.toThrow();
    engineWith(store);
    expect(await add()(tensor([1, 2, 3])).array()).toEqual([6, 7, 8]);
  });
});
