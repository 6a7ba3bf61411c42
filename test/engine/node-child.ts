/** What must happen in a process of its own: bundled and run by node.test.ts with the scenario's name. Throws on failure. */
import assert from "node:assert/strict";
import Module from "node:module";
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import type { Engine, EngineBuffer, Session } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { powerProgram } from "./tiny-model.ts";

async function once(engine: Engine): Promise<void> {
  const program = powerProgram([3], 2);
  const session = await engine.load(program);
  const [x, y, z] = [Float32Array.of(1, 2, 3), Float32Array.of(3), undefined].map((values, i) =>
    engine.buffer([...program.inputs, ...program.outputs][i]!.type, values),
  );
  await session.run([x!, y!], [z!]);
  assert.deepEqual([...(await z!.read())], [9, 18, 27]);
}

/** A session and how it is used: several runs in the air, half of everything released, half left to the collector. */
async function useAndDrop(engine: Engine, round: number): Promise<void> {
  const size = 1 + ((round * 37) % 5000); //  from a few bytes, which V8 may move, to several pages
  const k = 1 + (round % 4);
  const program = powerProgram([size], k);
  const session: Session = await engine.load(program);
  const y = engine.buffer(program.inputs[1]!.type, Float32Array.of(2));
  const made: EngineBuffer[] = [y];
  const runs = Array.from({ length: 6 }, async (_, i) => {
    const x = engine.buffer(program.inputs[0]!.type, new Float32Array(size).fill(round + i));
    const z = engine.buffer(program.outputs[0]!.type);
    made.push(x, z);
    const done = session.run([x, y], [z]);
    if (i % 3 === 0) x.release(); //  takes effect when the run is done
    await done;
    const values = await z.read();
    assert.ok(values.every((value) => value === (round + i) * 2 ** k));
  });
  gc!();
  if (round % 3 === 0) session.release(); //  while it runs
  await Promise.all(runs);
  if (round % 2 === 0) for (const buffer of made) buffer.release();
}

async function soak(engine: Engine): Promise<void> {
  const residents: number[] = [];
  for (let round = 0; round < 600; round++) {
    await Promise.all([useAndDrop(engine, round), useAndDrop(engine, round + 1)]);
    if (round % 100 === 99) {
      for (let i = 0; i < 4; i++) {
        gc!();
        await turn(); //  finalizers run between turns
      }
      residents.push(process.memoryUsage().rss / 2 ** 20);
    }
  }
  const [, settled, ...later] = residents;
  const grown = Math.max(...later) - settled!;
  assert.ok(grown < 24, `resident memory grew by ${grown} MiB: ${residents.join(", ")}`);
}

const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  soak: () => soak(nodeEngine({ implementation: "direct", threads: 2 })),

  /** The binding makes ONNX Runtime's environment without the thread pool that sessions would share. */
  async "binding-first"() {
    await once(nodeEngine({ implementation: "binding" }));
    await once(nodeEngine({ implementation: "direct", threads: 2 }));
    await once(nodeEngine({ implementation: "direct", threads: 1 }));
  },

  async "without-koffi"() {
    const loader = Module as unknown as { _load(request: string, ...rest: unknown[]): unknown };
    const load = loader._load;
    loader._load = (request, ...rest) => {
      if (request === "koffi") throw new Error("Cannot find module 'koffi'\nRequire stack: …");
      return load.call(loader, request, ...rest);
    };
    assert.throws(() => nodeEngine({ implementation: "direct" }), /koffi does not load: Cannot find module 'koffi'/);
    const engines = [nodeEngine(), nodeEngine()];
    for (const engine of engines) assert.equal(engine.name, "node-binding");
    await once(engines[0]!);
  },

  /** An engine that nobody uses does not keep the process. */
  async idle() {
    nodeEngine({ implementation: "direct" });
  },

  async "exit-in-run"() {
    const program = powerProgram([2 ** 22], 200);
    const engine = nodeEngine({ implementation: "direct", threads: 2 });
    const session = await engine.load(program);
    const [x, y, z] = [...program.inputs, ...program.outputs].map(({ type }) => engine.buffer(type));
    void session.run([x!, y!], [z!]);
    await sleep(10);
    process.exit(7);
  },
};

await scenarios[process.argv[2]!]!();
