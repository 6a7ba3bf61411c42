/** What looking costs: an mlp step with and without a report, and singular values. `npm run lens` */
import {
  adam,
  compile,
  crossEntropy,
  type Engine,
  fromValues,
  linear,
  nodeEngine,
  observe,
  read,
  relu,
  sequential,
  singularValues,
  spectralEstimate,
  type Tensor,
  useEngine,
} from "glissade";
import { below, normal } from "./ours.ts";
import { median } from "./shared.ts";

type Images = Tensor<[128, 784], "float32">;
type Labels = Tensor<[128], "int32">;

/** Steps of the mlp workload's network, each returning when its results are in JavaScript. */
function steps(): Record<string, () => Promise<unknown>> {
  const first = linear(784, 256);
  const model = sequential(first, relu, linear(256, 128), relu, linear(128, 10));
  const optimizer = adam(model, { learningRate: 1e-3 });
  const x = fromValues(normal(128 * 784), [128, 784]);
  const y = fromValues(below(10, 128), [128]);
  const plain = compile((x: Images, y: Labels) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const observed = compile((x: Images, y: Labels, look: boolean) => {
    const seen = observe(model, () => model(x));
    const loss = crossEntropy(seen.result, y);
    optimizer.minimize(loss);
    return { loss, report: look ? seen.report(loss) : undefined };
  });
  const estimate = spectralEstimate(first.weight);
  const estimated = compile((x: Images, y: Labels) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return { loss, ...estimate() };
  });
  return {
    "a step of mlp, without the lens": () => read(plain(x, y)),
    "observed, without a report": () => read(observed(x, y, false)),
    "observed, with a report": () => read(observed(x, y, true)),
    "with spectralEstimate of its [256, 784]": () => read(estimated(x, y)),
  };
}

/** A run's median time, and the time in which the session was made. */
async function timeSingularValues(
  engine: Engine,
  x: Tensor<[number, number]>,
): Promise<[run: number, session: number]> {
  let session = 0;
  useEngine({
    ...engine,
    async load(program: Parameters<Engine["load"]>[0]) {
      const started = performance.now();
      const loaded = await engine.load(program);
      session = performance.now() - started;
      return loaded;
    },
  });
  const values = compile((x: Tensor<[number, number]>) => singularValues(x));
  const times: number[] = [];
  for (let i = 0; i < 12; i++) {
    const started = performance.now();
    await values(x).data();
    times.push(performance.now() - started);
  }
  return [median(times.slice(1)), session];
}

/** Prints a table. Returns the exit code. */
export async function main(): Promise<number> {
  console.log("| what | threads | ms | steps | session, ms |\n| --- | --- | --- | --- | --- |");
  for (const threads of [1, 2]) {
    const engine = nodeEngine({ threads });
    useEngine(engine);
    const forms = Object.entries(steps());
    const times = new Map(forms.map(([name]) => [name, [] as number[]]));
    for (let round = 0; round < 12; round++)
      for (const [name, step] of forms)
        for (let i = -5; i < 50; i++) {
          const started = performance.now();
          await step();
          if (i >= 0) times.get(name)!.push(performance.now() - started);
        }
    const base = median([...times.values()][0]!);
    const print = (what: string, time: number, session = ""): void =>
      console.log(`| ${what} | ${threads} | ${time.toFixed(2)} | ${(time / base).toFixed(2)} | ${session} |`);
    for (const [name, all] of times) print(name, median(all));
    for (const shape of shapes)
      for (const dtype of ["float32", "float64"] as const) {
        const x = fromValues(normal(shape[0] * shape[1]), shape).cast(dtype);
        const [run, session] = await timeSingularValues(engine, x);
        print(`singular values, ${dtype} [${shape.join(", ")}]`, run, session.toFixed(0));
      }
  }
  return 0;
}

const shapes: readonly (readonly [number, number])[] = [
  [256, 784],
  [1024, 256],
];
