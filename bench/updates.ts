/**
 * What the optimizers' updates cost of the transformer's step: `npm run updates -- --threads 2`. Each update alone, on parameters and gradients of
 * the same shapes; and for some, whole steps against the step that ends with the gradients. All take turns.
 */
import { Command } from "commander";
import {
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  compile,
  fromValues,
  gradients,
  lion,
  type Module,
  nadam,
  nodeEngine,
  type Optimizer,
  type Parameter,
  parameter,
  radam,
  rmsprop,
  sgd,
  type Tensor,
  useEngine,
  zeros,
} from "glissade";
import { type Learner, transformer } from "./ours.ts";
import { median, positiveInteger } from "./shared.ts";

type Maker = (parameters: readonly Parameter[]) => Optimizer;

const makers: Readonly<Record<string, Maker>> = {
  SGD: (p) => sgd(p, { learningRate: 1e-3 }),
  "SGD with momentum": (p) => sgd(p, { learningRate: 1e-3, momentum: 0.9 }),
  Adagrad: (p) => adagrad(p),
  RMSProp: (p) => rmsprop(p),
  Adadelta: (p) => adadelta(p),
  Adam: (p) => adam(p),
  AdamW: (p) => adamW(p),
  AMSGrad: (p) => amsgrad(p),
  NAdam: (p) => nadam(p),
  RAdam: (p) => radam(p),
  Lion: (p) => lion(p),
};

/** Those that are measured in whole steps as well. */
const inSteps = ["SGD with momentum", "RMSProp", "Adam", "AdamW"];

const rounds = 40;

/** Writes the gradients into variables, and no more. */
const gradientsOnly: Learner = (model) => {
  const parameters = model.parameters();
  const kept = parameters.map(likeZeros);
  return (loss) => {
    for (const [i, g] of gradients(loss, parameters).entries()) kept[i]!.assign(g);
  };
};

const likeZeros = ({ shape }: Parameter): Parameter => parameter(zeros([...shape]));

/** The update alone; it resolves when it is done. */
function updateOf(make: Maker, like: readonly Parameter[]): () => Promise<void> {
  const parameters = like.map(likeZeros);
  const optimizer = make(parameters);
  const given = like.map(({ shape, size }) =>
    fromValues(
      Float32Array.from({ length: size }, () => (Math.random() - 0.5) / 100),
      [...shape],
    ),
  ) as Tensor[];
  const update = compile((loss: Tensor, ...g: Tensor[]) => void optimizer.apply(parameters, g, { loss }));
  const loss = fromValues(Float32Array.of(1), []) as Tensor; //  is finite: so states are written in place, as in a step
  return () => {
    update(loss, ...given);
    return update.finished();
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Prints a table. Returns the exit code. */
export async function main(): Promise<number> {
  const program = new Command("npm run updates --").option("--threads <n>", "threads inside an op", positiveInteger, 1);
  program.parse();
  // An engine of its own for each number of threads, in a process of its own: a second one in this process would be slower.
  const { threads } = program.opts<{ threads: number }>();
  useEngine(nodeEngine({ threads }));
  let model: Module | undefined;
  const runs = new Map<string, () => Promise<unknown>>();
  runs.set(
    "gradients",
    await transformer((built) => {
      model = built;
      return gradientsOnly(built);
    }),
  );
  for (const name of inSteps)
    runs.set(
      `${name}, step`,
      await transformer((built) => {
        const optimizer = makers[name]!(built.parameters());
        return (loss) => void optimizer.minimize(loss);
      }),
    );
  const like = model!.parameters();
  for (const [name, make] of Object.entries(makers)) runs.set(name, updateOf(make, like));

  const times = new Map([...runs.keys()].map((name) => [name, [] as number[]]));
  for (const run of runs.values()) await run();
  const order = [...runs];
  for (let round = 0; round < rounds; round++) {
    order.push(order.shift()!); //  nobody always comes behind the same one
    for (const [name, run] of order) {
      const started = performance.now();
      await run();
      times.get(name)!.push(performance.now() - started);
    }
  }

  const took = (name: string): number => median(times.get(name)!);
  const [whole, ending] = [took("Adam, step"), took("gradients")];
  const count = like.reduce((sum, { size }) => sum + size, 0).toLocaleString("en-US");
  console.log(`${count} parameters, ${threads} thread${threads > 1 ? "s" : ""}`);
  console.log(`step with Adam ${whole.toFixed(1)} ms, with the gradients alone ${ending.toFixed(1)} ms\n`);
  console.log("optimizer           update, ms   of the step   step longer by");
  for (const name of Object.keys(makers)) {
    const longer = inSteps.includes(name) ? percent(took(`${name}, step`) / ending - 1) : "";
    const cells = [took(name).toFixed(2).padStart(10), percent(took(name) / whole).padStart(11), longer.padStart(14)];
    console.log(`${name.padEnd(18)}  ${cells.join("   ")}`.trimEnd());
  }
  return 0;
}
