/** Matrix products in machine code of our own against ONNX Runtime's, by their sizes. `npm run products -- --threads 2` */
import { Command } from "commander";
import { compile, type Engine, fromValues, nodeEngine, parameter, type Shape, type Tensor, useEngine } from "glissade";
import { median, positiveInteger } from "./shared.ts";

type Floats = Tensor<Shape, "float32">;

const rounds = 31;
/** A run does about as much as this many multiplications, in several products of different matrices. */
const workOfRun = 2 ** 29;
const mostMatrices = 8;

/** [m, k]·[k, n], count times; the transposed sides are those of linear layers and of the gradients of weights. */
const cases: readonly (readonly [count: number, m: number, n: number, k: number, sides: "" | "Aᵀ" | "Bᵀ"])[] = [
  [1, 2048, 256, 256, ""],
  [1, 2048, 256, 1024, ""],
  [1, 2048, 1024, 256, "Bᵀ"],
  [1, 2048, 256, 1024, "Bᵀ"],
  [1, 256, 1024, 2048, "Aᵀ"],
  [1, 1024, 256, 2048, "Aᵀ"],
  [1, 512, 512, 512, ""],
  [1, 512, 512, 512, "Bᵀ"],
  [1, 256, 784, 128, "Aᵀ"],
  [64, 128, 128, 64, "Bᵀ"],
  [64, 128, 64, 128, ""],
  [64, 128, 64, 128, "Aᵀ"],
];

/** A function that makes several products, and how many. */
function productsOf([count, m, n, k, sides]: (typeof cases)[number]): { run: () => Floats; products: number } {
  const products = Math.max(1, Math.round(workOfRun / (count * m * n * k)));
  const lead = count > 1 ? [count] : [];
  const some = (shape: Shape) =>
    Array.from({ length: Math.min(products, mostMatrices) }, (_, each) =>
      parameter(
        fromValues(
          Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i + each)),
          shape,
        ),
      ),
    );
  const left = some([...lead, ...(sides === "Aᵀ" ? [k, m] : [m, k])]);
  const right = some([...lead, ...(sides === "Bᵀ" ? [n, k] : [k, n])]);
  const run = compile(() =>
    Array.from({ length: products }, (_, i) => {
      const [a, b] = [left[i % left.length]!, right[(i + Math.floor(i / left.length)) % right.length]!] as Floats[];
      const product = (sides === "Aᵀ" ? a!.mT() : a!).matmul(sides === "Bᵀ" ? b!.mT() : b!) as Floats;
      return product.slice([0, 1]).max() as Floats;
    }).reduce((sum, value) => sum.add(value)),
  );
  return { run: () => run(), products };
}

/** Prints a table of products: gigaflops of both, and the ratio of times. Returns the exit code. */
export async function main(): Promise<number> {
  const program = new Command("npm run products --").option(
    "--threads <n>",
    "threads inside an op",
    positiveInteger,
    1,
  );
  const engine = nodeEngine(program.parse().opts<{ threads: number }>());
  const { kernels } = engine.target;
  if (!kernels?.products) {
    console.error("This machine's engine has no products of its own.");
    return 1;
  }
  const stock: Engine = { ...engine, target: { ...engine.target, kernels: { ...kernels, products: undefined } } };
  console.log("products                     ours, GFLOP/s    ONNX Runtime's    ratio of time");
  for (const each of cases) {
    const [count, m, n, k, sides] = each;
    const side = async (on: Engine) => {
      useEngine(on);
      const made = productsOf(each);
      for (let i = 0; i < 3; i++) await made.run().item();
      return { ...made, on, times: [] as number[] };
    };
    const [ours, theirs] = [await side(engine), await side(stock)];
    for (let round = 0; round < rounds; round++)
      for (const { on, run, times } of round % 2 ? [ours, theirs] : [theirs, ours]) {
        useEngine(on);
        const started = performance.now();
        await run().item();
        times.push(performance.now() - started);
      }
    const speed = ({ products, times }: typeof ours): string =>
      ((2e-6 * count * m * n * k * products) / median(times)).toFixed(1);
    const ratio = median(ours.times.map((time, i) => time / theirs.times[i]!));
    const name = `${count > 1 ? `${count} × ` : ""}${m} × ${n} × ${k} ${sides}`;
    console.log(
      `${name.padEnd(26)} ${speed(ours).padStart(15)} ${speed(theirs).padStart(17)} ${ratio.toFixed(2).padStart(16)}`,
    );
  }
  return 0;
}
