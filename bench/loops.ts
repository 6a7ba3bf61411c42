/** An LSTM as a loop against the same unrolled: time of a step with gradients, and of making its session. `npm run loops` */
import {
  compile,
  concat,
  type Engine,
  fromValues,
  gradients,
  nodeEngine,
  type Parameter,
  parameter,
  scan,
  type Tensor,
  useEngine,
  zeros,
} from "glissade";
import { median } from "./shared.ts";

const [batch, width, size] = [32, 256, 256];

function normal(...shape: number[]): Float32Array {
  const count = shape.reduce((a, b) => a * b, 1);
  return Float32Array.from({ length: count }, () => (Math.random() + Math.random() + Math.random() - 1.5) / 10);
}

function variable(...shape: number[]): Parameter {
  return parameter(fromValues(normal(...shape), shape));
}

/** Gates i, f, g, o from what comes in and the last output; PyTorch's equations. */
function cell(gates: Tensor, c: Tensor): [h: Tensor, c: Tensor] {
  const [i, f, g, o] = gates.split([size, size, size, size], 1) as [Tensor, Tensor, Tensor, Tensor];
  const next = f.sigmoid().mul(c).add(i.sigmoid().mul(g.tanh()));
  return [o.sigmoid().mul(next.tanh()), next];
}

type Form = (xs: Tensor, w: Tensor, u: Tensor, b: Tensor) => Tensor;

const forms: Record<string, Form> = {
  loop: (xs, w, u, b) =>
    scan(
      ([h, c], x) => {
        const next = cell((x as Tensor).matmul(w).add(h.matmul(u)).add(b), c);
        return [next, next[0]];
      },
      { init: [zeros([batch, size]), zeros([batch, size])] as [Tensor, Tensor], xs },
    ).outputs as Tensor,
  unrolled(xs, w, u, b) {
    let state = [zeros([batch, size]), zeros([batch, size])] as [Tensor, Tensor];
    const outputs: Tensor[] = [];
    for (let t = 0; t < xs.shape[0]!; t++) {
      const x = xs.slice([t, t + 1]).reshape([batch, width]);
      state = cell(x.matmul(w).add(state[0].matmul(u)).add(b), state[1]);
      outputs.push(state[0].reshape([1, batch, size]));
    }
    return concat(outputs, 0) as Tensor;
  },
};

interface Prepared {
  readonly step: () => Promise<number>;
  /** Milliseconds in which the engine made the session. */
  readonly session: number;
  readonly size: number;
}

/** A compiled step: the loss and the gradients of all weights, as variables that the run writes. */
async function prepare(form: Form, steps: number, threads: number): Promise<Prepared> {
  const engine = nodeEngine({ threads });
  let session = 0;
  let bytes = 0;
  useEngine({
    ...engine,
    async load(program: Parameters<Engine["load"]>[0]) {
      bytes = program.onnx().length;
      const started = performance.now();
      const loaded = await engine.load(program);
      session = performance.now() - started;
      return loaded;
    },
  });
  const xs = fromValues(normal(steps, batch, width), [steps, batch, width]) as Tensor;
  const weights = [variable(width, 4 * size), variable(size, 4 * size), variable(4 * size)];
  const results = weights.map(({ shape }) => variable(...shape));
  const compiled = compile((x: Tensor) => {
    const loss = form(x, ...(weights as unknown as [Tensor, Tensor, Tensor]))
      .square()
      .mean();
    for (const [i, gradient] of gradients(loss, weights).entries()) results[i]!.assign(gradient);
    return loss;
  });
  const step = (): Promise<number> => (compiled(xs) as Tensor<[], "float32">).item();
  await step();
  return { step, session, size: bytes };
}

/** Prints a table. Returns the exit code. */
export async function main(): Promise<number> {
  for (const threads of [1, 2]) {
    const prepared = new Map<string, Prepared>();
    for (const [name, form] of Object.entries(forms)) prepared.set(name, await prepare(form, 64, threads));
    const times = new Map([...prepared.keys()].map((name) => [name, [] as number[]]));
    for (let round = 0; round < 15; round++)
      for (const [name, { step }] of prepared) {
        const started = performance.now();
        await step();
        times.get(name)!.push(performance.now() - started);
      }
    for (const [name, { session, size: bytes }] of prepared)
      console.log(
        `64 steps, ${threads} thread${threads > 1 ? "s" : ""}, ${name}: ${median(times.get(name)!).toFixed(1)} ms a step; session ${session.toFixed(0)} ms for ${bytes} bytes`,
      );
    console.log(`ratio ${(median(times.get("loop")!) / median(times.get("unrolled")!)).toFixed(3)}`);
  }
  const long = await prepare(forms.loop!, 1000, 1);
  console.log(`1000 steps, loop: session ${long.session.toFixed(0)} ms for ${long.size} bytes`);
  return 0;
}
