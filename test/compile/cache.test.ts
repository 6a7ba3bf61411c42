/** What is compiled takes no more than a limit, comes back when it is needed, and says so when it is needed too often. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Cache, type Cached } from "../../src/compile/cache.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { ConfigError } from "../../src/errors.ts";
import { compile, linear, plainEngine, relu, type Tensor, tensor, useEngine, zeros } from "../../src/index.ts";

const entry = (bytes: number): Cached & { isReleased: boolean } => ({
  bytes,
  lastUse: 0,
  isReleased: false,
  release() {
    this.isReleased = true;
  },
});

describe("the cache", () => {
  test("releases what was used least recently, down to its limit", () => {
    const cache = new Cache(100);
    const [a, b, c, d] = [entry(40), entry(40), entry(40), entry(40)];
    cache.add("a", a);
    cache.add("b", b);
    a.lastUse = b.lastUse + 0.5; //  a is used
    cache.add("c", c);
    expect(["a", "b", "c"].map((key) => cache.get(key) !== undefined)).toEqual([true, false, true]);
    cache.add("d", d);
    expect([a, b, c, d].map(({ isReleased }) => isReleased)).toEqual([true, true, false, false]);
  });

  test("keeps what was added last, however large, beside what fits", () => {
    const cache = new Cache(100);
    const [small, large] = [entry(10), entry(1000)];
    cache.add("small", small);
    cache.add("large", large);
    expect([small.isReleased, large.isReleased]).toEqual([false, false]);
    expect(cache.get("large")).toBe(large);
    const larger = entry(200);
    cache.add("larger", larger);
    expect([small.isReleased, large.isReleased, larger.isReleased]).toEqual([true, true, false]);
  });

  test("refuses a limit that is no number of megabytes", () => {
    for (const limit of ["-1", "1.5", "much", ""]) {
      vi.stubEnv("GLISSADE_CACHE", limit);
      expect(() => new Cache()).toThrow(ConfigError);
    }
    vi.unstubAllEnvs();
  });
});

/** An engine that counts its sessions, in use from now on; its cache has room for few. */
function counting(engine: Engine): { made: number; released: number } {
  const counter = { made: 0, released: 0 };
  useEngine({
    ...engine,
    load(program) {
      counter.made++;
      const loading = engine.load(program);
      const load = async () => {
        const session = await loading;
        const release = session.release.bind(session);
        session.release = () => {
          counter.released++;
          release();
        };
        return session;
      };
      return load();
    },
  });
  return counter;
}

const engines: readonly [string, () => Engine][] = [
  ["plain", plainEngine],
  ["node", () => nodeEngine({ threads: 1 })],
];

describe.each(engines)("on the %s engine", (_, engine) => {
  beforeEach(() => {
    vi.stubEnv("GLISSADE_CACHE", "1");
    vi.spyOn(console, "error").mockImplementation(() => {});
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.restoreAllMocks();
  });

  test("a function that takes more than the limit stays while its arguments are computed", async () => {
    const sessions = counting(engine());
    const layers = Array.from({ length: 60 }, () => linear(3, 3));
    const network = compile((x: Tensor<[number, 3]>) => layers.reduce((y, layer) => relu(layer(y)), x).sum(1));
    for (let round = 0; round < 4; round++) {
      const x = zeros([2, 3]).add(0) as Tensor<[number, 3]>; //  computed by a graph of its own, at each call
      expect((await network(x).data()).length).toBe(2);
    }
    expect(sessions.made).toBe(2);
    expect(sessions.released).toBe(0);
  });

  test("evicted sessions are released at once, runs that wait for them are made, and they come back", async () => {
    const { filling: _, ...closed } = engine(); //  each size has a session of its own
    const sessions = counting(closed);
    const layers = Array.from({ length: 12 }, () => linear(3, 3));
    const network = compile((x: Tensor<[number, 3]>) => layers.reduce((y, layer) => relu(layer(y)), x).sum(1));
    const sizes = Array.from({ length: 12 }, (_, i) => i + 1);
    for (let round = 0; round < 2; round++) {
      // Nothing is awaited in between: sessions are evicted before their runs are made.
      const results = sizes.map((size) => network(zeros([size, 3]) as Tensor<[number, 3]>));
      const shapes = await Promise.all(results.map(async (result) => (await result.data()).length));
      expect(shapes).toEqual(sizes);
    }
    expect(sessions.made).toBeGreaterThan(sizes.length);
    expect(sessions.made - sessions.released).toBeLessThan(9); //  a megabyte has room for some
  });
});

describe("the tenth retrace", () => {
  let lines: string[];
  beforeEach(() => {
    useEngine(plainEngine());
    lines = [];
    vi.spyOn(console, "error").mockImplementation((line: string) => void lines.push(line));
  });
  afterEach(() => vi.restoreAllMocks());

  test("says which argument varies along which axis, once", async () => {
    const step = compile(function step(batch: { x: Tensor<[number, 2]>; mask: Tensor }, y: Tensor) {
      return batch.x.sum().add(batch.mask.sum()).add(y.sum());
    });
    for (let size = 1; size <= 14; size++) {
      const x = zeros([size, 2]) as Tensor<[number, 2]>;
      await step({ x, mask: zeros([2, size]) }, tensor([1])).item();
      expect(lines.length).toBe(size > 10 ? 1 : 0);
    }
    expect(lines[0]).toBe(
      "glissade: step has been compiled anew 10 times, each time at a cost: argument 0.mask, float32[2, 11], varies along axis 1, " +
        "argument 0.x, float32[11, 2], varies along axis 0; " +
        "fix: give few sizes: leave out a last, smaller batch, and pad sequences to some lengths",
    );
  });

  test("says which number varies", async () => {
    const scaled = compile((x: Tensor, factor: number) => x.mul(factor).sum());
    for (let i = 0; i < 12; i++) await scaled(tensor([1]), i / 10).item();
    expect(lines).toEqual([
      "glissade: a compiled function has been compiled anew 10 times, each time at a cost: argument 1 is 0, 0.1, 0.2, …; " +
        "fix: give a number that varies as tensor(number)",
    ]);
  });

  test("says nothing of functions that are called often with the same shapes, or that few times", async () => {
    const f = compile((x: Tensor) => x.sum());
    for (let i = 0; i < 40; i++) await f(zeros([1 + (i % 10)])).item();
    expect(lines).toEqual([]);
  });
});
