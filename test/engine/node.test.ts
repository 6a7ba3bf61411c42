import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { build } from "esbuild";
import koffi from "koffi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Engine, EngineBuffer, Program } from "../../src/engine/engine.ts";
import { readEnvironment } from "../../src/engine/node/environment.ts";
import { type NodeEngine, nodeEngine } from "../../src/engine/node/index.ts";
import { ConfigError, EngineError } from "../../src/errors.ts";
import type { Port } from "../../src/graph/target.ts";
import type { Values } from "../../src/graph/types.ts";
import { compile, fromValues, type Tensor, useEngine } from "../../src/index.ts";
import { port, powerProgram, tinyProgram } from "./tiny-model.ts";

const floats = (...values: number[]) => Float32Array.from(values);
const integers = (...values: number[]) => Int32Array.from(values);

function buffersFor(engine: Engine, ports: readonly Port[], values: readonly Values[] = []): EngineBuffer[] {
  return ports.map(({ type }, i) => engine.buffer(type, values[i]));
}

/** Loads, runs once, releases; gives the outputs. */
async function evaluate(engine: Engine, program: Program, inputs: readonly Values[]): Promise<Values[]> {
  const session = await engine.load(program);
  const given = buffersFor(engine, program.inputs, inputs);
  const wanted = buffersFor(engine, program.outputs);
  await session.run(given, wanted);
  const results = await Promise.all(wanted.map((buffer) => buffer.read()));
  for (const it of [session, ...given, ...wanted]) it.release();
  return results;
}

/** The error's message. Fails when there is none, or one of another class. */
async function messageOf(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError);
    return (error as Error).message;
  }
  return expect.unreachable("no error");
}

/** Whether this thread computes denormal floats; the numbers hide from constant folding. */
function keepsDenormals(): boolean {
  const [tiny, one] = new Float64Array([Number.MIN_VALUE, 1]);
  return tiny! * one! > 0 && Number.MIN_VALUE > 0;
}

const denormals = powerProgram([2 ** 18]);
const denormalInputs = () => [new Float32Array(2 ** 18).fill(1e-30), floats(1e-10)];

describe.each(["direct", "binding"] as const)("%s", (implementation) => {
  const engine = nodeEngine({ implementation, threads: 2 });

  test("says what it is", () => {
    expect(engine.name).toBe(implementation === "direct" ? "node" : "node-binding");
    expect(engine.target.contrib).toBe(true);
    expect([undefined, 8, 16]).toContain(engine.target.block);
  });

  test.each([
    ["float32", floats(1, 2, 3), floats(10, 20, 30), floats(11, 22, 33)],
    ["float64", Float64Array.of(1, 2, 3), Float64Array.of(0.1, 0.2, 0.3), Float64Array.of(1.1, 2.2, 3.3)],
    ["int32", integers(1, -2, 2 ** 30), integers(1, 1, 1), integers(2, -1, 2 ** 30 + 1)],
  ] as const)("adds %s", async (dtype, a, b, sum) => {
    const [x, y, z] = ["x", "y", "z"].map((name) => port(name, dtype, [3]));
    const program = tinyProgram([x!, y!], [z!], [["Add", ["x", "y"], ["z"]]]);
    expect(await evaluate(engine, program, [a.slice(), b.slice()])).toEqual([sum]);
  });

  test("reads and writes bool", async () => {
    const [x, y, z] = ["x", "y", "z"].map((name) => port(name, "bool", [4]));
    const program = tinyProgram([x!, y!], [z!], [["And", ["x", "y"], ["z"]]]);
    expect(await evaluate(engine, program, [Uint8Array.of(0, 0, 1, 1), Uint8Array.of(0, 1, 0, 1)])).toEqual([
      Uint8Array.of(0, 0, 0, 1),
    ]);
  });

  test("takes scalars and tensors without elements", async () => {
    expect(await evaluate(engine, powerProgram([]), [floats(6), floats(7)])).toEqual([floats(42)]);
    expect(await evaluate(engine, powerProgram([2, 0, 3]), [floats(), floats(7)])).toEqual([floats()]);
  });

  test("gives several outputs, and takes one buffer for two inputs", async () => {
    const shape = [2];
    const program = tinyProgram(
      [port("x", "float32", shape), port("y", "float32", shape)],
      [port("sum", "float32", shape), port("less", "bool", shape)],
      [
        ["Add", ["x", "y"], ["sum"]],
        ["Less", ["x", "y"], ["less"]],
      ],
    );
    expect(await evaluate(engine, program, [floats(1, 2), floats(2, 1)])).toEqual([floats(3, 3), Uint8Array.of(1, 0)]);
    const session = await engine.load(program);
    const [x] = buffersFor(engine, program.inputs, [floats(4, 5)]);
    const outputs = buffersFor(engine, program.outputs);
    await session.run([x!, x!], outputs);
    expect(await outputs[0]!.read()).toEqual(floats(8, 10));
  });

  test("keeps the array that is handed over, and copies what is given, written and read", async () => {
    const program = powerProgram([2]);
    const session = await engine.load(program);
    const [x, y] = buffersFor(engine, program.inputs, [floats(1, 2), floats(3)]);
    const adopted = floats(0, 0);
    const z = engine.buffer(program.outputs[0]!.type, adopted, true);
    await session.run([x!, y!], [z]);
    expect(adopted).toEqual(floats(3, 6));

    const written = floats(5, 6);
    x!.write(written);
    written.fill(0);
    await session.run([x!, y!], [z]);
    const read = await z.read();
    expect(read).toEqual(floats(15, 18));
    read.fill(0);
    expect(adopted).toEqual(floats(15, 18));
  });

  test("given memory may be taken away at any time; memory that was handed over is missed before a run", async () => {
    const program = powerProgram([2 ** 16], 40);
    const session = await engine.load(program);
    const given = new Float32Array(2 ** 16).fill(1);
    const [x, y] = buffersFor(engine, program.inputs, [given, floats(1)]);
    const z = engine.buffer(program.outputs[0]!.type);
    const running = session.run([x!, y!], [z]);
    structuredClone(given.buffer, { transfer: [given.buffer] });
    await running;
    expect((await z.read()).every((value) => value === 1)).toBe(true);

    const owned = new Float32Array(2 ** 16);
    const target = engine.buffer(program.outputs[0]!.type, owned, true);
    structuredClone(owned.buffer, { transfer: [owned.buffer] });
    expect(await messageOf(() => session.run([x!, y!], [target]))).toMatchInlineSnapshot(`
      "node engine: the memory of a buffer of float32[65536] was taken away: its array has 0 elements left
        fix: do not hand an array over that is transferred to another thread afterwards; let the engine copy it"
    `);

    // The compiler's library does not know of it yet.
    const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
    const resizable = new Float32Array(new Resizable(8, { maxByteLength: 16 }));
    expect(
      await messageOf(() => engine.buffer({ dtype: "float32", shape: [2] }, resizable, true)),
    ).toMatchInlineSnapshot(`
      "node engine: the memory of the values for float32[2] can be resized
        fix: give an array of fixed size, or let the engine copy it"
    `);
    expect(await engine.buffer({ dtype: "float32", shape: [2] }, resizable).read()).toEqual(floats(0, 0));
  });

  test("takes a part of a larger array, and shared memory", async () => {
    const whole = floats(0, 0, 0, 1, 2);
    const shared = new Float32Array(new SharedArrayBuffer(4)).fill(3);
    const inputs = implementation === "direct" ? [whole.subarray(3), shared] : [whole.subarray(3), floats(3)];
    expect(await evaluate(engine, powerProgram([2]), inputs)).toEqual([floats(3, 6)]);
  });

  test("runs in the order of the calls, without waiting in between", async () => {
    const program = powerProgram([1000]);
    const session = await engine.load(program);
    const [a, two] = buffersFor(engine, program.inputs, [new Float32Array(1000).fill(1), floats(2)]);
    const b = engine.buffer(program.outputs[0]!.type);
    const [first, second] = [session.run([a!, two!], [b]), session.run([b, two!], [a!])];
    await Promise.all([first, second, session.run([a!, two!], [b])]);
    expect((await b.read())[999]).toBe(8);
  });

  test("refuses what does not fit the program, and names the port", async () => {
    const program = powerProgram([2]);
    const session = await engine.load(program);
    const [x, y] = buffersFor(engine, program.inputs);
    const [z] = buffersFor(engine, program.outputs);
    const whole = engine.buffer({ dtype: "int32", shape: [2] });
    const other = nodeEngine({ implementation: implementation === "direct" ? "binding" : "direct" });
    expect(await messageOf(() => session.run([whole, y!], [z!]))).toMatchInlineSnapshot(`
      "node engine: input x is float32[2] and was given int32[2]
        fix: give a buffer of the port's type"
    `);
    expect(await messageOf(() => session.run([x!, y!], [y!]))).toMatchInlineSnapshot(`
      "node engine: output z is float32[2] and was given float32[]
        fix: give a buffer of the port's type"
    `);
    expect(await messageOf(() => session.run([x!, y!], [x!]))).toMatchInlineSnapshot(`
      "node engine: output z was given a buffer that this run also reads, or writes as another output
        fix: give each output a buffer of its own: keep two sets and swap them after the run"
    `);
    expect(await messageOf(() => session.run([x!], [z!]))).toMatchInlineSnapshot(`
      "node engine: the program has 2 inputs and the run was given 1
        fix: give one buffer for each of x, y"
    `);
    expect(await messageOf(() => session.run([other.buffer(x!.type), y!], [z!]))).toMatchInlineSnapshot(`
      "node engine: input x is a buffer of another engine
        fix: make it with this engine's buffer()"
    `);
    expect(await messageOf(() => engine.buffer({ dtype: "float32", shape: [2, 3] }, floats(1)))).toMatchInlineSnapshot(`
      "node engine: a buffer of float32[2, 3] was given Float32Array of length 1
        fix: give Float32Array of length 6"
    `);
    expect(await messageOf(() => x!.write(integers(1, 2)))).toMatchInlineSnapshot(`
      "node engine: a buffer of float32[2] was given Int32Array of length 2
        fix: give Float32Array of length 2"
    `);
    await session.run([x!, y!], [z!]);
  });

  test("reports a failed run in readable words and goes on", async () => {
    const program = tinyProgram(
      [port("table", "float32", [3]), port("index", "int32", [2])],
      [port("z", "float32", [2])],
      [["Gather", ["table", "index"], ["z"], "lookup"]],
    );
    const session = await engine.load(program);
    const [table, index] = buffersFor(engine, program.inputs, [floats(1, 2, 3), integers(0, 7)]);
    const [z] = buffersFor(engine, program.outputs);
    expect(await messageOf(() => session.run([table!, index!], [z!]))).toMatchInlineSnapshot(`
      "ONNX Runtime: the run failed: Gather node "lookup": indices element out of data bounds, idx=7 must be within the inclusive range [-3,2]
        fix: an index lies outside of the axis it points into: check labels and token ids"
    `);
    index!.write(integers(2, 0));
    await session.run([table!, index!], [z!]);
    expect(await z!.read()).toEqual(floats(3, 1));
  });

  test("reports a model that cannot be loaded, and a program that lies about its model", async () => {
    const [x, z] = [port("x", "float32", [3]), port("z", "float32", [3])];
    expect(await messageOf(() => engine.load(tinyProgram([x], [z], [["Nope", ["x"], ["z"]]])))).toContain(
      'making a session failed: This is an invalid model. In Node, ("", Nope,',
    );
    expect(
      await messageOf(() => engine.load({ ...powerProgram([1]), onnx: () => new Uint8Array(9).fill(255) })),
    ).toContain("making a session failed: Failed to load model because protobuf parsing failed");
    const honest = tinyProgram([x], [z], [["Neg", ["x"], ["z"]]]);
    for (const lie of [port("z", "float64", [3]), port("z", "float32", [2]), port("w", "float32", [3])])
      expect(await messageOf(() => evaluate(engine, { ...honest, outputs: [lie] }, []))).toContain("the run failed");
  });

  test("releases once, also during a run, and refuses to be used afterwards", async () => {
    const program = powerProgram([2 ** 16], 20);
    const session = await engine.load(program);
    const [x, y] = buffersFor(engine, program.inputs, [new Float32Array(2 ** 16).fill(1), floats(-1)]);
    const target = new Float32Array(2 ** 16);
    const z = engine.buffer(program.outputs[0]!.type, target, true);
    const running = session.run([x!, y!], [z]);
    for (const it of [session, session, x!, x!, y!, z, z]) it.release();
    await running;
    expect(target.every((value) => value === 1)).toBe(true);
    expect(await messageOf(() => z.read())).toMatchInlineSnapshot(`
      "node engine: a buffer of float32[65536] was used after its release
        fix: release it after its last use"
    `);
    expect(await messageOf(() => y!.write(floats(1)))).toContain("used after its release");
    expect(await messageOf(() => session.run([x!, y!], [z]))).toContain("a session was run after its release");
    const again = await engine.load(program);
    expect(await messageOf(() => again.run([x!, y!], [z]))).toContain("used after its release");
  });

  test("leaves JavaScript's denormal floats alone", async () => {
    await evaluate(engine, denormals, denormalInputs());
    expect(keepsDenormals()).toBe(true);
  });

  test("sees a float64 constant near 0 or 1 for what it is", async () => {
    useEngine(engine);
    const f = compile((x: Tensor<[2], "float64">) => {
      const square = x.mul(x);
      return [
        square.add(1e-50).mul(1e50),
        square
          .mul(1 + 1e-9)
          .sub(1)
          .mul(1e9),
      ];
    });
    const [sum, product] = f(fromValues(Float64Array.of(0, 1), [2])) as [Tensor, Tensor];
    expect((await sum.data())[0]).toBeCloseTo(1, 12);
    expect((await product.data())[1]).toBeCloseTo(1, 6);
  });

  test("writes a profile for each session", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "glissade-"));
    const profiled: NodeEngine = nodeEngine({ implementation, profile: path.join(folder, "traces/step") });
    const program = powerProgram([2], 3);
    const [released, kept] = [await profiled.load(program), await profiled.load(program)];
    for (const session of [released, kept])
      await session.run(buffersFor(profiled, program.inputs), buffersFor(profiled, program.outputs));
    released.release();
    const files = await profiled.endProfiling();
    expect(files).toHaveLength(2);
    for (const file of files) {
      const events = JSON.parse(readFileSync(file, "utf8")) as {
        name: string;
        dur: number;
        args?: { op_name?: string };
      }[];
      expect(events.filter(({ args }) => args?.op_name === "Mul").length).toBeGreaterThanOrEqual(3);
    }
    expect(await profiled.endProfiling()).toEqual(files);
    rmSync(folder, { recursive: true });
  });
});

describe("direct only", () => {
  const direct = (threads: number) => nodeEngine({ implementation: "direct", threads });

  test("the event loop stays free during a run", async () => {
    const shape = [768, 768];
    const nodes = Array.from(
      { length: 12 },
      (_, i) => ["MatMul", [i ? `t${i}` : "x", "x"], [i < 11 ? `t${i + 1}` : "z"]] as const,
    );
    const program = tinyProgram([port("x", "float32", shape)], [port("z", "float32", shape)], nodes);
    const engine = direct(1);
    const session = await engine.load(program);
    const [inputs, outputs] = [buffersFor(engine, program.inputs), buffersFor(engine, program.outputs)];
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const start = performance.now();
    await session.run(inputs, outputs);
    const elapsed = performance.now() - start;
    clearInterval(timer);
    expect(elapsed).toBeGreaterThan(20);
    expect(ticks).toBeGreaterThan(elapsed / 10);
  });

  test.runIf(process.arch === "x64").each([1, 2, 3])(
    "denormal floats are zero in runs with %d threads",
    async (threads) => {
      // Node's own threads: any C function computes on them when koffi calls it asynchronously.
      const product = koffi
        .load(process.platform === "win32" ? "ucrtbase.dll" : "libm.so.6")
        .func("double fma(double, double, double)");
      const elsewhere = () =>
        new Promise<number>((resolve, reject) => {
          product.async(Number.MIN_VALUE, 1, 0, (error: unknown, value: number) =>
            error ? reject(error) : resolve(value),
          );
        });
      for (let i = 0; i < 4; i++) {
        const [z] = await evaluate(direct(threads), denormals, denormalInputs());
        expect(z!.every((value) => value === 0)).toBe(true);
        expect(keepsDenormals()).toBe(true);
        expect(await Promise.all(Array.from({ length: 8 }, elsewhere))).toEqual(new Array(8).fill(Number.MIN_VALUE));
      }
    },
  );
});

describe("options", () => {
  test("environment variables are validated", () => {
    expect(readEnvironment({}).implementation).toBeUndefined();
    expect(readEnvironment({}).threads).toBeGreaterThan(0);
    expect(readEnvironment({}).kernels).toBe(true);
    expect(readEnvironment({ GLISSADE_KERNELS: "0" }).kernels).toBe(false);
    const given = { GLISSADE_THREADS: "3", GLISSADE_ENGINE: "binding", GLISSADE_KERNELS: "off" };
    expect(readEnvironment(given)).toEqual({ threads: 3, implementation: "binding", kernels: false });
    for (const GLISSADE_THREADS of ["0", "-1", "1.5", "two", "", "1e9"])
      expect(() => readEnvironment({ GLISSADE_THREADS })).toThrow(ConfigError);
    expect(() => readEnvironment({ GLISSADE_ENGINE: "gpu" })).toThrowErrorMatchingInlineSnapshot(`
      [ConfigError: GLISSADE_ENGINE: there is no implementation "gpu"
        fix: use "direct" or "binding", or leave it out]
    `);
    expect(() => readEnvironment({ GLISSADE_KERNELS: "yes" })).toThrowErrorMatchingInlineSnapshot(`
      [ConfigError: GLISSADE_KERNELS: "yes" is neither on nor off
        fix: use "on" or "off", or leave it out]
    `);
  });

  test("so are options", () => {
    for (const threads of [0, 1.5, Number.NaN]) expect(() => nodeEngine({ threads })).toThrow(ConfigError);
    expect(() => nodeEngine({ implementation: "gpu" as "direct" })).toThrow(ConfigError);
    expect(() => nodeEngine({ profile: "" })).toThrow(ConfigError);
  });
});

describe("in a process of its own", () => {
  // Where its imports find node_modules.
  const program = path.resolve(`node_modules/.cache/glissade/node-child-${process.pid}.mjs`);

  beforeAll(async () => {
    const entry = path.join(import.meta.dirname, "node-child.ts");
    await build({
      entryPoints: [entry],
      outfile: program,
      bundle: true,
      platform: "node",
      format: "esm",
      packages: "external",
    });
  });

  afterAll(() => rmSync(program, { force: true }));

  const run = (scenario: string) => promisify(execFile)(process.execPath, ["--expose-gc", program, scenario]);

  test.concurrent.each([
    ["thousands of sessions, buffers and runs, released or forgotten: right numbers, flat memory", "soak"],
    ["direct after the binding has made the environment", "binding-first"],
    ["an idle engine does not keep the process", "idle"],
  ])("%s", async (_, scenario) => {
    expect(await run(scenario)).toEqual({ stdout: "", stderr: "" });
  });

  test("without koffi the binding steps in and says so once", async () => {
    expect((await run("without-koffi")).stderr).toMatchInlineSnapshot(`
      "glissade: using onnxruntime-node's binding, slower and blocking, because: node engine: koffi does not load: Cannot find module 'koffi'
      "
    `);
  });

  test("leaving during a run is no crash", async () => {
    await expect(run("exit-in-run")).rejects.toMatchObject({ code: 7, signal: null });
  });
});
