/** Figures of networks that learn the MNIST digits. */
import * as Plot from "@observablehq/plot";
import {
  adam,
  batchNorm,
  compile,
  crossEntropy,
  gradients,
  init,
  linear,
  loader,
  loadMnist,
  type Module,
  module,
  type Optimizer,
  seed,
  sgd,
  smoother,
  type Tensor,
  toTensor,
} from "glissade";
import { frame, legend, level, panelLegend, percent, plain, save, titles } from "./plots.ts";

type Images = Tensor<[number, 784], "float32">;
type Classifier = Module & ((x: Images) => Tensor);

const digits = await loadMnist();
/** What the test images look like to a network: 500 of them. */
const images = (toTensor(digits.test.columns[0]) as Tensor).slice([0, 500]) as Images;
const labels = toTensor(digits.test.columns[1]).slice([0, 500]) as Tensor<[number], "int32">;

/** The loss at each of so many steps of 64 digits; fewer when it was not finite, after which no update is made. */
async function trainOn(model: Classifier, make: (model: Module) => Optimizer, steps: number): Promise<number[]> {
  const optimizer = make(model);
  const step = compile((x: Images, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x) as Tensor<[number, 10], "float32">, y);
    optimizer.minimize(loss);
    return loss;
  });
  const losses: number[] = [];
  for (let epoch = 0; ; epoch++)
    for (const [x, y] of loader(digits.train, { batchSize: 64, shuffle: true, seed: epoch })) {
      if (losses.length === steps) return losses;
      try {
        losses.push(await step(x, y).item());
      } catch {
        return losses;
      }
    }
}

/** The mean of the last twenty losses; undefined when the training broke down or ended no better than guessing. */
function learnt(losses: readonly number[], steps: number): number | undefined {
  const last = losses.slice(-20).reduce((sum, loss) => sum + loss, 0) / 20;
  return losses.length === steps && last < Math.log(10) ? last : undefined;
}

interface Deep {
  readonly model: Classifier;
  readonly layers: readonly { readonly weight: Tensor }[];
  /** What comes out of each hidden layer. */
  readonly hidden: (x: Tensor) => Tensor[];
}

/** `depth` hidden layers of 128 units, and a linear one of ten. */
function deep(
  depth: number,
  activation: (x: Tensor) => Tensor,
  options: { readonly weight?: init.Initializer; readonly normalise?: boolean } = {},
): Deep {
  seed(1);
  const { weight = init.heNormal(), normalise = false } = options;
  const bias = init.zeros;
  const layers = Array.from({ length: depth }, (_, i) => linear(i === 0 ? 784 : 128, 128, { weight, bias }));
  const norms = normalise ? layers.map(() => batchNorm(128)) : [];
  const head = linear(128, 10, { weight: init.xavierNormal, bias });
  const hidden = (x: Tensor): Tensor[] => {
    const outputs: Tensor[] = [];
    for (const [i, layer] of layers.entries()) {
      const z = layer((outputs.at(-1) ?? x) as never);
      outputs.push(activation((norms[i]?.(z) ?? z) as Tensor));
    }
    return outputs;
  };
  const model = module("Deep", { layers, norms, head }, (x: Images) => head(hidden(x).at(-1) as never) as Tensor);
  return { model, layers: layers as unknown as Deep["layers"], hidden };
}

const relu = (x: Tensor): Tensor => x.relu();
const tanh = (x: Tensor): Tensor => x.tanh();
const sigmoid = (x: Tensor): Tensor => x.sigmoid();
const scaled =
  (base: init.Initializer, factor: number): init.Initializer =>
  (shape, random) =>
    base(shape, random).map((value) => value * factor);

interface Point {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

export async function learningRates(folder: string): Promise<void> {
  const steps = 500;
  const rates = { "0.001: too small": 0.001, "0.1: good": 0.1, "2: too large": 2 };
  const points: Point[] = [];
  for (const [name, learningRate] of Object.entries(rates)) {
    const losses = await trainOn(deep(2, relu).model, (p) => sgd(p, { learningRate }), steps);
    points.push(...losses.map(smoother(0.9)).map((y, x) => ({ name, x, y })));
    console.log(`  learning rate ${name}: loss ${points.at(-1)!.y.toFixed(3)} after ${losses.length} steps`);
  }
  await save(folder, "learning-rates", {
    x: { label: "step", labelAnchor: "center" },
    y: { label: "loss, smoothed", domain: [0, 4], ticks: 5 },
    color: { domain: Object.keys(rates) },
    marks: [
      ...level(Math.log(10), "log 10: guessing"),
      Plot.line(points, { x: "x", y: "y", stroke: "name", strokeWidth: 1.5, clip: true }),
      frame(),
      ...legend(Object.keys(rates)),
    ],
  });
}

/** Shares of units that cannot learn, layer by layer. */
export async function saturation(folder: string): Promise<void> {
  const depth = 6;
  const points: (Point & { readonly panel: string })[] = [];
  const note = async (panel: string, name: string, shares: readonly Tensor[]): Promise<void> => {
    for (const [i, share] of shares.entries())
      points.push({ panel, name, x: i + 1, y: await (share as Tensor<[]>).item() });
    console.log(
      `  ${panel}, ${name}: ${points
        .slice(-depth)
        .map(({ y }) => percent(y))
        .join(", ")}`,
    );
  };
  const [left, right] = ["sigmoid: outputs outside 0.01 … 0.99", "relu: units that are 0 for every image"];
  const weights = { "Xavier's weights": 1, "four times as large": 4, "sixteen times as large": 16 };
  for (const [name, factor] of Object.entries(weights)) {
    const { hidden } = deep(depth, sigmoid, { weight: scaled(init.xavierNormal, factor) });
    await note(
      left,
      name,
      hidden(images).map((h) => h.sub(0.5).abs().greater(0.49).cast("float32").mean()),
    );
  }
  const rates = { "Adam, rate 0.001": 0.001, "Adam, rate 0.01": 0.01, "Adam, rate 0.1": 0.1 };
  for (const [name, learningRate] of Object.entries(rates)) {
    const { model, hidden } = deep(depth, relu);
    await trainOn(model, (p) => adam(p, { learningRate }), 300);
    await note(
      right,
      name,
      hidden(images).map((h) => h.max(0).equal(0).cast("float32").mean()),
    );
  }
  await save(folder, "saturation", {
    width: 820,
    marginLeft: 56,
    fx: { label: null, domain: [left, right] },
    x: { label: "layer", tickFormat: "d", labelAnchor: "center" },
    y: { label: null, domain: [0, 1.3], ticks: [0, 0.25, 0.5, 0.75, 1], tickFormat: percent },
    color: { domain: [...Object.keys(weights), ...Object.keys(rates)], range: [...panelColours, ...panelColours] },
    marks: [
      Plot.line(points, { x: "x", y: "y", stroke: "name", fx: "panel", strokeWidth: 2 }),
      Plot.dot(points, { x: "x", y: "y", fill: "name", fx: "panel" }),
      frame(),
      ...panelLegend(Object.keys(weights), left, "top-left"),
      ...panelLegend(Object.keys(rates), right, "top-left"),
    ],
  });
}

const panelColours = ["#2f9e78", "#e08a2c", "#d65a5a"];

/** How large the gradient of each layer's weights is at the start. */
export async function vanishingGradients(folder: string): Promise<void> {
  const kinds = {
    "sigmoid, Xavier": deep(10, sigmoid, { weight: init.xavierNormal }),
    "tanh, Xavier": deep(10, tanh, { weight: init.xavierNormal }),
    "relu, He": deep(10, relu),
  };
  const points: Point[] = [];
  for (const [name, { model, layers }] of Object.entries(kinds)) {
    const loss = crossEntropy(model(images) as Tensor<[number, 10], "float32">, labels);
    const found = gradients(
      loss as Tensor,
      layers.map(({ weight }) => weight),
    );
    for (const [i, g] of found.entries()) points.push({ name, x: i + 1, y: await (g.norm() as Tensor<[]>).item() });
    const [first, last] = [points.at(-10)!.y, points.at(-1)!.y];
    console.log(
      `  ${name}: gradient's norm ${first.toExponential(1)} in layer 1, ${last.toExponential(1)} in layer 10`,
    );
  }
  await save(folder, "vanishing-gradients", {
    height: 320,
    marginLeft: 56,
    x: { label: "layer", tickFormat: "d", labelAnchor: "center" },
    y: {
      label: "norm of the gradient",
      type: "log",
      domain: [1e-6, 1.5],
      ticks: [1, 0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6],
      tickFormat: plain,
    },
    color: { domain: Object.keys(kinds) },
    marks: [
      Plot.line(points, { x: "x", y: "y", stroke: "name", strokeWidth: 2 }),
      Plot.dot(points, { x: "x", y: "y", fill: "name" }),
      frame(),
      ...legend(Object.keys(kinds)),
    ],
  });
}

/** The deviation of what comes out of each layer before any training. */
export async function initialisation(folder: string): Promise<void> {
  const centred = images.sub(images.mean()) as Tensor;
  const schemes = {
    "σ = 0.01": init.normal(0.01),
    "σ = 1": init.normal(1),
    Xavier: init.xavierNormal,
    He: init.heNormal(),
  };
  const points: (Point & { readonly kind: string })[] = [];
  for (const [kind, activation] of Object.entries({ tanh, relu }))
    for (const [name, weight] of Object.entries(schemes)) {
      for (const [layer, h] of deep(10, activation, { weight }).hidden(centred).entries())
        points.push({ kind, name, x: layer + 1, y: await (h.std() as Tensor<[]>).item() });
      console.log(`  ${kind}, ${name}: deviation ${points.at(-1)!.y.toExponential(1)} in layer 10`);
    }
  const names = Object.keys(schemes);
  await save(folder, "initialisation", {
    width: 820,
    marginLeft: 56,
    fx: { axis: null, domain: ["tanh", "relu"] },
    x: { label: "layer", tickFormat: "d", labelAnchor: "center" },
    y: { label: "deviation of the outputs", type: "log", tickFormat: plain, ticks: 10 },
    color: { domain: names },
    marks: [
      Plot.line(points, { x: "x", y: "y", stroke: "name", fx: "kind", strokeWidth: 2 }),
      Plot.dot(points, { x: "x", y: "y", fill: "name", fx: "kind" }),
      frame(),
      titles(["tanh", "relu"], "fx", "left"),
      ...legend(names),
    ],
  });
}

/** The loss after 300 steps at rates from small to absurd, with batch normalisation and without. */
export async function batchNormalisation(folder: string): Promise<void> {
  const steps = 300;
  const names = ["without", "with batch normalisation"];
  const points: (Point & { readonly works: boolean })[] = [];
  for (const name of names)
    for (const learningRate of [0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10]) {
      const { model } = deep(6, relu, { normalise: name !== "without" });
      const loss = learnt(await trainOn(model, (p) => sgd(p, { learningRate }), steps), steps);
      // Those that learnt nothing stand side by side above the rest.
      points.push({ name, x: learningRate, y: loss ?? (name === "without" ? 2.6 : 2.75), works: loss !== undefined });
      console.log(`  ${name}, learning rate ${learningRate}: loss ${loss?.toFixed(3) ?? "no better than guessing"}`);
    }
  const working = points.filter(({ works }) => works);
  await save(folder, "batch-normalisation", {
    x: { label: "learning rate", type: "log", tickFormat: plain, ticks: 4, labelAnchor: "center" },
    y: { label: "loss after 300 steps", domain: [0, 2.9], ticks: [0, 0.5, 1, 1.5, 2] },
    color: { domain: names },
    marks: [
      ...level(Math.log(10), "log 10: guessing; × learnt nothing"),
      Plot.line(working, { x: "x", y: "y", stroke: "name", strokeWidth: 2 }),
      Plot.dot(working, { x: "x", y: "y", fill: "name" }),
      Plot.dot(
        points.filter(({ works }) => !works),
        { x: "x", y: "y", stroke: "name", symbol: "times", strokeWidth: 2 },
      ),
      frame(),
      ...legend(names),
    ],
  });
}
