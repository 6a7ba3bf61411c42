/** Draws every figure of docs/training.md from runs made here: `npm run figures`. */
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import * as Plot from "@observablehq/plot";
import {
  activationCurve,
  activations,
  adadelta,
  adagrad,
  adam,
  batchNorm,
  compile,
  crossEntropy,
  init,
  lbfgs,
  linear,
  lion,
  loader,
  loadMnist,
  type Module,
  module,
  nadam,
  nodeEngine,
  type Optimizer,
  Parameter,
  plainEngine,
  radam,
  rmsprop,
  seed,
  sgd,
  type Tensor,
  toTensor,
  useEngine,
} from "glissade";
import { parseHTML } from "linkedom";

const { document } = parseHTML("<html><body></body></html>");
const style = { background: "white", color: "#222", fontFamily: "system-ui, sans-serif", fontSize: "12px" };

/** Writes a plot as SVG, with its legend drawn as marks so that one file holds all. */
async function save(folder: string, name: string, options: Plot.PlotOptions): Promise<void> {
  const svg = Plot.plot({ document: document as unknown as Document, width: 640, height: 360, style, ...options });
  const text = (svg as unknown as { outerHTML: string }).outerHTML.replace(
    "<svg",
    '<svg xmlns="http://www.w3.org/2000/svg"',
  );
  await writeFile(path.join(folder, `${name}.svg`), `${text}\n`);
  console.log(`${name}.svg`);
}

interface Point {
  readonly x: number;
  readonly y: number;
  readonly name: string;
}

/** Lines with their names at their ends. */
function lines(points: readonly Point[], more: Plot.LineYOptions = {}): Plot.Markish[] {
  return [
    Plot.line(points, { x: "x", y: "y", stroke: "name", ...more }),
    Plot.text(
      points,
      Plot.selectLast({ x: "x", y: "y", z: "name", fill: "name", text: "name", dx: 6, textAnchor: "start" }),
    ),
  ];
}

/** The name of each panel inside it. */
function titles(names: readonly string[], facet: "fx" | "fy"): Plot.Markish {
  return Plot.text(names, {
    frameAnchor: "top-right",
    dx: -6,
    dy: 5,
    fontWeight: "bold",
    text: (name: string) => name,
    [facet]: (name: string) => name,
  });
}

/** 0.001 and 100 rather than 1m and 0.1k. */
const plain = (value: number): string => (value >= 1e4 || value < 1e-3 ? value.toExponential(0) : String(value));

const float64 = (...values: number[]): Parameter =>
  new Parameter({ shape: [values.length], dtype: "float64" }, Float64Array.from(values));

/** Positions of a point in the plane, step by step, and the loss at each. */
async function walk(
  start: readonly [number, number],
  loss: (x: Tensor, y: Tensor) => Tensor,
  optimizer: (parameters: Parameter[]) => Optimizer,
  steps: number,
): Promise<{ x: number; y: number; loss: number }[]> {
  const position = float64(...start);
  const chosen = optimizer([position]);
  const step = compile(() => {
    const [x, y] = position.split([1, 1]) as [Tensor, Tensor];
    const value = loss(x, y).sum();
    chosen.minimize(value);
    return value;
  });
  const path: { x: number; y: number; loss: number }[] = [];
  for (let i = 0; i < steps; i++) {
    const [x, y] = (await position.data()) as Float64Array;
    path.push({ x: x!, y: y!, loss: await (step() as Tensor<[]>).item() });
  }
  return path;
}

/** ½·(x² + 40·y²) */
const ravine = (x: Tensor, y: Tensor): Tensor => x.square().add(y.square().mul(40)).mul(0.5);

async function momentumInARavine(folder: string): Promise<void> {
  const start = [-9, 1.6] as const;
  const paths = {
    "no momentum": await walk(start, ravine, (p) => sgd(p, { learningRate: 0.046 }), 45),
    "momentum 0.7": await walk(start, ravine, (p) => sgd(p, { learningRate: 0.03, momentum: 0.7 }), 45),
    Nesterov: await walk(start, ravine, (p) => sgd(p, { learningRate: 0.03, momentum: 0.7, nesterov: true }), 45),
  };
  const points = Object.entries(paths).flatMap(([name, path]) => path.map(({ x, y }) => ({ name, x, y })));
  await save(folder, "ravine", {
    height: 420,
    x: { label: "x", domain: [-10, 3] },
    y: { label: "y" },
    fy: { axis: null },
    color: { domain: Object.keys(paths) },
    marks: [
      Plot.contour({
        x1: -10,
        x2: 3,
        y1: -2,
        y2: 2,
        fill: null,
        stroke: "#ddd",
        value: (x: number, y: number) => Math.sqrt(x * x + 40 * y * y),
        interval: 2,
        pixelSize: 6,
      } as never),
      Plot.line(points, { x: "x", y: "y", stroke: "name", fy: "name" }),
      Plot.dot(points, { x: "x", y: "y", fill: "name", r: 2, fy: "name" }),
      titles(Object.keys(paths), "fy"),
    ],
  });
}

/** The step that Adagrad and RMSProp make of a gradient that is always 1, with noise. */
async function shrinkingRates(folder: string): Promise<void> {
  const points: Point[] = [];
  const makers: Record<string, (p: Parameter[]) => Optimizer> = {
    Adagrad: (p) => adagrad(p, { learningRate: 0.1 }),
    "RMSProp, ρ = 0.9": (p) => rmsprop(p, { learningRate: 0.1, decay: 0.9 }),
  };
  for (const [name, make] of Object.entries(makers)) {
    const path = await walk([0, 0], (x, y) => x.add(y.mul(0)), make, 202);
    for (let i = 1; i < path.length; i++) points.push({ name, x: i, y: Math.abs(path[i]!.x - path[i - 1]!.x) });
  }
  await save(folder, "shrinking-rates", {
    marginRight: 130,
    x: { label: "step" },
    y: { label: "length of the step", type: "log", tickFormat: plain, ticks: 4 },
    marks: lines(points),
  });
}

/** x² − y² + ¼y⁴, from a point almost on the ridge: flat in y at first, with minima at y = ±√2. */
const saddle = (x: Tensor, y: Tensor): Tensor => x.square().sub(y.square()).add(y.square().square().mul(0.25));

async function saddleEscape(folder: string): Promise<void> {
  const makers: Record<string, (p: Parameter[]) => Optimizer> = {
    SGD: (p) => sgd(p, { learningRate: 0.02 }),
    momentum: (p) => sgd(p, { learningRate: 0.02, momentum: 0.9 }),
    Nesterov: (p) => sgd(p, { learningRate: 0.02, momentum: 0.9, nesterov: true }),
    Adagrad: (p) => adagrad(p, { learningRate: 0.02 }),
    RMSProp: (p) => rmsprop(p, { learningRate: 0.02 }),
    Adadelta: (p) => adadelta(p),
    Adam: (p) => adam(p, { learningRate: 0.02 }),
    NAdam: (p) => nadam(p, { learningRate: 0.02 }),
    RAdam: (p) => radam(p, { learningRate: 0.02 }),
    Lion: (p) => lion(p, { learningRate: 0.02 }),
  };
  const rows: { name: string; steps: number }[] = [];
  for (const [name, make] of Object.entries(makers)) {
    const path = await walk([0.5, 1e-4], saddle, make, 400);
    const escaped = path.findIndex(({ loss }) => loss < -0.5);
    rows.push({ name, steps: escaped < 0 ? 400 : escaped });
  }
  const position = float64(0.5, 1e-4);
  const optimizer = lbfgs(
    [position],
    () => {
      const [x, y] = position.split([1, 1]) as [Tensor, Tensor];
      return saddle(x, y).sum();
    },
    { iterations: 1 },
  );
  let evaluations = 0;
  for (let loss = 0; loss >= -0.5; ) {
    const report = await optimizer.step();
    ({ loss } = report);
    evaluations += report.evaluations;
  }
  rows.push({ name: "L-BFGS (evaluations)", steps: evaluations });
  console.log(rows.map(({ name, steps }) => `  ${name}: loss below −0.5 after ${steps} steps`).join("\n"));
  await save(folder, "saddle", {
    marginLeft: 140,
    marginRight: 40,
    x: { label: "steps until the loss is below −0.5" },
    y: { label: null },
    marks: [
      Plot.barX(rows, { x: "steps", y: "name", fill: "#4269d0", sort: { y: "x" } }),
      Plot.text(rows, { x: "steps", y: "name", text: "steps", dx: 4, textAnchor: "start" }),
      Plot.ruleX([0]),
    ],
  });
}

type Images = Tensor<[number, 784], "float32">;
type Classifier = Module & ((x: Images) => Tensor);

/** The loss at each of so many steps of 64 digits. */
async function trainOn(
  model: Classifier,
  optimizer: (model: Module) => Optimizer,
  steps: number,
): Promise<{ readonly losses: number[] }> {
  const { train } = await loadMnist();
  const chosen = optimizer(model);
  const step = compile((x: Images, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x) as Tensor<[number, 10], "float32">, y);
    chosen.minimize(loss);
    return loss;
  });
  const losses: number[] = [];
  for (let epoch = 0; losses.length < steps; epoch++)
    for (const [x, y] of loader(train, { batchSize: 64, shuffle: true, seed: epoch })) {
      if (losses.length === steps) break;
      try {
        losses.push(await step(x, y).item());
      } catch {
        return { losses }; //  the loss was not finite: the update was refused, and nothing better will come
      }
    }
  return { losses };
}

/** Means of twenty losses. */
const smoothed = (losses: readonly number[]): { x: number; y: number }[] =>
  Array.from({ length: Math.floor(losses.length / 20) }, (_, i) => ({
    x: 20 * i + 10,
    y: losses.slice(20 * i, 20 * i + 20).reduce((sum, loss) => sum + loss, 0) / 20,
  }));

interface Deep {
  readonly model: Classifier;
  /** What comes out of each hidden layer. */
  readonly hidden: (x: Tensor) => Tensor[];
}

/** `depth` hidden layers of 128 units, and a linear one of ten. */
function deep(
  depth: number,
  activation: (x: Tensor) => Tensor,
  options: { readonly weight?: init.Initializer; readonly normalise?: boolean } = {},
): Deep {
  const { weight = init.heNormal(), normalise = false } = options;
  const bias = init.zeros;
  const layers = Array.from({ length: depth }, (_, i) => linear(i === 0 ? 784 : 128, 128, { weight, bias }));
  const norms = normalise ? layers.map(() => batchNorm(128)) : [];
  const head = linear(128, 10, { weight: init.xavierNormal, bias });
  const hidden = (x: Tensor): Tensor[] => {
    const outputs: Tensor[] = [];
    let h = x;
    for (const [i, layer] of layers.entries()) {
      const z = layer(h as never) as Tensor;
      h = activation(norms[i] ? (norms[i](z as Tensor<number[], "float32">) as Tensor) : z);
      outputs.push(h);
    }
    return outputs;
  };
  const model = module("Deep", { layers, norms, head }, (x: Images) => head(hidden(x).at(-1) as never) as Tensor);
  return { model, hidden };
}

async function learningRates(folder: string): Promise<void> {
  const points: Point[] = [];
  for (const [name, rate] of Object.entries({ "0.001: too small": 0.001, "0.1: good": 0.1, "2: too large": 2 })) {
    seed(1);
    const { losses } = await trainOn(deep(2, (x) => x.relu()).model, (p) => sgd(p, { learningRate: rate }), 500);
    points.push(...smoothed(losses).map(({ x, y }) => ({ name, x, y })));
    console.log(`  learning rate ${name}: loss ${points.at(-1)!.y.toFixed(3)} after ${losses.length} steps`);
  }
  await save(folder, "learning-rates", {
    marginRight: 110,
    x: { label: "step" },
    y: { label: "loss", domain: [0, 3.5], clamp: true },
    marks: [Plot.ruleY([Math.log(10)], { stroke: "#aaa", strokeDasharray: "3" }), ...lines(points)],
  });
}

/** Fractions of units that no longer learn, layer by layer, at the start and after training, by the scale of the weights. */
async function saturation(folder: string): Promise<void> {
  const depth = 6;
  const { test } = await loadMnist();
  const images = (toTensor(test.columns[0]) as Tensor).slice([0, 500]);
  const rows: { layer: number; share: number; panel: string }[] = [];
  const note = async (panel: string, shares: readonly Tensor[]): Promise<void> => {
    for (const [i, share] of shares.entries())
      rows.push({ layer: i + 1, share: await (share as Tensor<[]>).item(), panel });
    const percent = rows.slice(-shares.length).map(({ share }) => `${(100 * share).toFixed(0)} %`);
    console.log(`  ${panel}, layer by layer: ${percent.join(", ")}`);
  };
  const scaled =
    (base: init.Initializer, factor: number): init.Initializer =>
    (shape, random) =>
      base(shape, random).map((value) => value * factor);
  for (const factor of [1, 16]) {
    seed(1);
    const { hidden } = deep(depth, (x) => x.sigmoid(), { weight: scaled(init.xavierNormal, factor) });
    const saturated = hidden(images).map((h) => h.sub(0.5).abs().greater(0.49).cast("float32").mean());
    await note(`sigmoid, Xavier's weights${factor > 1 ? ` × ${factor}` : ""}: outputs outside 0.01 … 0.99`, saturated);
  }
  for (const factor of [1, 4]) {
    seed(1);
    const { model, hidden } = deep(depth, (x) => x.relu(), { weight: scaled(init.heNormal(), factor) });
    await trainOn(model, (p) => sgd(p, { learningRate: 0.05 }), 200);
    const dead = hidden(images).map((h) => h.max(0).equal(0).cast("float32").mean());
    await note(
      `relu, He's weights${factor > 1 ? ` × ${factor}` : ""}, trained: units that are 0 for every image`,
      dead,
    );
  }
  const panels = [...new Set(rows.map(({ panel }) => panel))];
  await save(folder, "saturation", {
    height: 480,
    marginLeft: 60,
    fy: { axis: null, domain: panels },
    x: { label: "layer", tickFormat: "d" },
    y: {
      label: "share",
      domain: [0, 1.3],
      ticks: 3,
      tickFormat: (share: number) => (share <= 1 ? `${100 * share} %` : ""),
    },
    marks: [
      Plot.barY(rows, { x: "layer", y: "share", fy: "panel", fill: "#4269d0" }),
      Plot.ruleY([0]),
      Plot.frame({ stroke: "#ddd" }),
      titles(panels, "fy"),
    ],
  });
}

/** The deviation of what comes out of each layer before any training. */
async function initialisation(folder: string): Promise<void> {
  const { test } = await loadMnist();
  const images = (toTensor(test.columns[0]) as Tensor).slice([0, 500]);
  const centred = images.sub(images.mean());
  const points: (Point & { readonly kind: string })[] = [];
  const schemes = {
    "σ = 0.01": init.normal(0.01),
    "σ = 1": init.normal(1),
    Xavier: init.xavierNormal,
    He: init.heNormal(),
  };
  for (const [kind, activation] of Object.entries({
    tanh: (x: Tensor) => x.tanh(),
    relu: (x: Tensor) => x.relu(),
  }))
    for (const [name, weight] of Object.entries(schemes)) {
      seed(1);
      for (const [layer, h] of deep(10, activation, { weight }).hidden(centred).entries()) {
        const deviation = await (h.standardDeviation() as Tensor<[]>).item();
        points.push({ kind, name, x: layer + 1, y: Math.max(deviation, 1e-12) });
      }
      console.log(`  ${kind}, ${name}: deviation ${points.at(-1)!.y.toExponential(1)} in layer 10`);
    }
  await save(folder, "initialisation", {
    width: 760,
    marginRight: 60,
    fx: { label: null },
    x: { label: "layer", tickFormat: "d" },
    y: { label: "deviation of the outputs", type: "log", tickFormat: plain },
    marks: [
      Plot.line(points, { x: "x", y: "y", stroke: "name", fx: "kind" }),
      ...Object.keys(schemes).map((name, i) =>
        Plot.text(
          points.filter((point) => point.name === name),
          Plot.selectLast({
            x: "x",
            y: "y",
            z: "kind",
            fx: "kind",
            fill: "name",
            text: "name",
            dx: 6,
            dy: 9 * (i - 1.5),
            textAnchor: "start",
          }),
        ),
      ),
      Plot.frame({ stroke: "#ddd" }),
    ],
  });
}

/** The loss after 300 steps at rates from small to absurd, with batch normalisation and without. */
async function batchNormalisation(folder: string): Promise<void> {
  const points: Point[] = [];
  for (const normalise of [false, true]) {
    const name = normalise ? "with batch normalisation" : "without";
    for (const rate of [0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]) {
      seed(1);
      const { model } = deep(6, (x) => x.relu(), { normalise });
      const { losses } = await trainOn(model, (p) => sgd(p, { learningRate: rate }), 300);
      const y = losses.length < 300 ? 2.6 : Math.min(2.6, smoothed(losses).at(-1)!.y);
      points.push({ name, x: rate, y });
      console.log(`  ${name}, learning rate ${rate}: loss ${y.toFixed(3)}`);
    }
  }
  await save(folder, "batch-normalisation", {
    marginRight: 170,
    x: { label: "learning rate", type: "log", tickFormat: plain, ticks: 4 },
    y: { label: "loss after 300 steps", domain: [0, 2.6] },
    marks: [
      Plot.ruleY([Math.log(10)], { stroke: "#aaa", strokeDasharray: "3" }),
      Plot.dot(points, { x: "x", y: "y", fill: "name" }),
      ...lines(points),
    ],
  });
}

async function curves(folder: string): Promise<void> {
  const points: { name: string; x: number; y: number; what: string }[] = [];
  for (const name of Object.keys(activations) as (keyof typeof activations)[]) {
    const { x, y, slope } = await activationCurve(name);
    x.forEach((at, i) =>
      points.push({ name, x: at, y: y[i]!, what: "f" }, { name, x: at, y: slope[i]!, what: "slope" }),
    );
  }
  const names = Object.keys(activations);
  const column = (name: string): number => names.indexOf(name) % 5;
  const row = (name: string): number => Math.floor(names.indexOf(name) / 5);
  await save(folder, "activations", {
    width: 900,
    height: 480,
    fx: { axis: null },
    fy: { axis: null },
    x: { label: null, ticks: 5 },
    y: { label: null, domain: [-1.5, 3], clamp: true },
    marks: [
      Plot.frame({ stroke: "#ddd" }),
      Plot.ruleY([0], { stroke: "#ddd" }),
      Plot.ruleX([0], { stroke: "#ddd" }),
      Plot.line(points, {
        x: "x",
        y: "y",
        z: "what",
        stroke: "what",
        fx: (each: { name: string }) => column(each.name),
        fy: (each: { name: string }) => row(each.name),
      }),
      Plot.text(names, {
        frameAnchor: "top-left",
        dx: 4,
        dy: 4,
        fontWeight: "bold",
        fx: (name: string) => column(name),
        fy: (name: string) => row(name),
        text: (name: string) => name,
      }),
    ],
  });
}

/** Draws into the folder beside this script's source. Returns the exit code. */
export async function main(root: string): Promise<number> {
  const folder = path.join(root, "docs/figures");
  await mkdir(folder, { recursive: true });
  // Problems of two numbers run fastest without an engine's session.
  useEngine(plainEngine());
  await momentumInARavine(folder);
  await shrinkingRates(folder);
  await saddleEscape(folder);
  await curves(folder);
  useEngine(nodeEngine());
  await learningRates(folder);
  await saturation(folder);
  await initialisation(folder);
  await batchNormalisation(folder);
  return 0;
}
