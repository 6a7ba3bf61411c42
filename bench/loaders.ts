/**
 * What a loader costs: processor time for a batch of 64 MNIST images, plain, shuffled and with random changes, beside a step of the
 * perceptron on it. Medians of rounds.
 */
import {
  adam,
  compile,
  crossEntropy,
  dataset,
  linear,
  loader,
  loadMnist,
  relu,
  seed,
  sequential,
  stream,
  type Tensor,
} from "glissade";

const rounds = 7;
const epochs = 3;
const batchSize = 64;

export async function main(): Promise<number> {
  seed(1);
  const { train } = await loadMnist();
  const model = sequential(linear(784, 256), relu, linear(256, 128), relu, linear(128, 10));
  const optimizer = adam(model);
  const step = compile((x: Tensor<[number, 784], "float32">, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });

  /** Mirrors an image and adds noise: as an augmentation might. */
  function change(image: Float32Array, random: { uniform(): number }): void {
    if (random.uniform() < 0.5) for (let row = 0; row < 784; row += 28) image.subarray(row, row + 28).reverse();
    const [from, to] = [Math.floor(20 * random.uniform()), Math.floor(20 * random.uniform())];
    for (let row = 0; row < 8; row++) image.fill(0, 28 * (from + row) + to, 28 * (from + row) + to + 8);
  }

  const images = dataset(train.columns[0], train.columns[1]);
  const options = { batchSize, dropLast: true };
  const sources: Record<string, () => Iterable<unknown> | AsyncIterable<unknown>> = {
    "in order": () => loader(images, options),
    shuffled: () => loader(images, { ...options, shuffle: true }),
    "shuffled, an example changed (mirror, erase)": () =>
      loader(images, { ...options, shuffle: true, mapExample: ([image], random) => change(image, random) }),
    "drawn with weights": () => loader(images, { ...options, sample: { weights: "balanced" } }),
    "streamed through a buffer of 2000": () =>
      stream(
        [
          { shape: [784], dtype: "float32" },
          { shape: [], dtype: "int32" },
        ],
        function* () {
          for (const part of loaderParts()) yield part;
        },
        { ...options, shuffleBuffer: 2000 },
      ),
  };

  function* loaderParts(): Generator<[Float32Array, Int32Array]> {
    const [pixels, labels] = train.columns;
    for (let at = 0; at < train.length; at += 500)
      yield [
        pixels.values.slice(784 * at, 784 * (at + 500)) as Float32Array,
        labels.values.slice(at, at + 500) as Int32Array,
      ];
  }

  /** Microseconds of processor time for a batch. */
  async function cost(source: () => Iterable<unknown> | AsyncIterable<unknown>): Promise<number> {
    const before = process.cpuUsage();
    let batches = 0;
    for (let epoch = 0; epoch < epochs; epoch++) for await (const _ of source()) batches++;
    const { user, system } = process.cpuUsage(before);
    return (user + system) / batches;
  }

  async function stepCost(): Promise<number> {
    const [[x, y] = []] = loader(images, options);
    for (let i = 0; i < 20; i++) await step(x!, y!).item();
    const before = process.cpuUsage();
    for (let i = 0; i < 100; i++) await step(x!, y!).item();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 100;
  }

  const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;
  const times = new Map<string, number[]>(["a training step", ...Object.keys(sources)].map((name) => [name, []]));
  for (const source of Object.values(sources)) await cost(source); //  until its code is compiled
  for (let round = 0; round < rounds; round++) {
    for (const [name, source] of Object.entries(sources)) times.get(name)!.push(await cost(source));
  }
  // Afterwards: the engine's threads look out for work a while after each run, which would count as the loaders'.
  for (let round = 0; round < rounds; round++) times.get("a training step")!.push(await stepCost());
  const whole = median(times.get("a training step")!);
  for (const [name, list] of times)
    console.log(
      `${name.padEnd(46)} ${median(list).toFixed(0).padStart(6)} µs  ${((100 * median(list)) / whole).toFixed(1).padStart(6)} %`,
    );
  return 0;
}
