/** Figures of functions of one or two variables. */
import * as Plot from "@observablehq/plot";
import {
  activationCurve,
  activations,
  adadelta,
  adagrad,
  adam,
  adamW,
  amsgrad,
  compile,
  lbfgs,
  lion,
  nadam,
  type Optimizer,
  type Parameter,
  parameter,
  radam,
  rmsprop,
  schedule,
  sgd,
  type Tensor,
  tensor,
} from "glissade";
import { colours, frame, legend, plain, save, titles } from "./plots.ts";

const float64 = (...values: number[]): Parameter => parameter(tensor(values, "float64"));

type Maker = (parameters: Parameter[]) => Optimizer;
type Height = (x: Tensor, y: Tensor) => Tensor;

/** Positions of a point in the plane, step by step, and the loss at each. */
async function walk(
  start: readonly [number, number],
  height: Height,
  make: Maker,
  steps: number,
): Promise<{ x: number; y: number; loss: number }[]> {
  const position = float64(...start);
  const optimizer = make([position]);
  const step = compile(() => {
    const loss = heightAt(position, height);
    optimizer.minimize(loss);
    return loss;
  });
  const path: { x: number; y: number; loss: number }[] = [];
  for (let i = 0; i < steps; i++) {
    const [x, y] = (await position.data()) as Float64Array;
    path.push({ x: x!, y: y!, loss: await (step() as Tensor<[]>).item() });
  }
  return path;
}

function heightAt(position: Parameter, height: Height): Tensor {
  const [x, y] = position.split([1, 1]) as [Tensor, Tensor];
  return height(x, y).sum();
}

/** ½·(x² + 40·y²) */
const ravine: Height = (x, y) => x.square().add(y.square().mul(40)).mul(0.5);

export async function momentumInARavine(folder: string): Promise<void> {
  const makers: Record<string, Maker> = {
    "no momentum, rate 0.046": (p) => sgd(p, { learningRate: 0.046 }),
    "momentum 0.7, rate 0.03": (p) => sgd(p, { learningRate: 0.03, momentum: 0.7 }),
    "Nesterov's momentum 0.7, rate 0.03": (p) => sgd(p, { learningRate: 0.03, momentum: 0.7, nesterov: true }),
  };
  const points: { name: string; x: number; y: number }[] = [];
  const panels: string[] = [];
  for (const [name, make] of Object.entries(makers)) {
    const path = await walk([-9, 1.6], ravine, make, 46);
    const { x, y } = path.at(-1)!;
    panels.push(`${name}: ${Math.hypot(x, y).toFixed(2)} from the lowest point after 45 steps`);
    console.log(`  ${panels.at(-1)}`);
    points.push(...path.map((each) => ({ name: panels.at(-1)!, x: each.x, y: each.y })));
  }
  await save(folder, "ravine", {
    height: 480,
    x: { label: "x", domain: [-10, 3], labelAnchor: "center" },
    y: { label: "y", domain: [-2, 2], ticks: 3 },
    fy: { axis: null, domain: panels },
    color: { domain: panels },
    marks: [
      Plot.contour({
        x1: -10,
        x2: 3,
        y1: -2,
        y2: 2,
        fill: null,
        stroke: "currentColor",
        strokeOpacity: 0.15,
        value: (x: number, y: number) => Math.sqrt(x * x + 40 * y * y),
        interval: 2,
        pixelSize: 2,
      } as never),
      Plot.line(points, { x: "x", y: "y", stroke: "name", fy: "name" }),
      Plot.dot(points, { x: "x", y: "y", fill: "name", r: 2, fy: "name" }),
      Plot.dot(panels, { x: 0, y: 0, symbol: "plus", stroke: "currentColor", r: 4, fy: (panel: string) => panel }),
      titles(panels, "fy"),
    ],
  });
}

/** The steps that Adagrad and RMSProp make of a gradient that is always 1. */
export async function shrinkingRates(folder: string): Promise<void> {
  const points: { name: string; x: number; y: number }[] = [];
  const makers: Record<string, Maker> = {
    Adagrad: (p) => adagrad(p, { learningRate: 0.1 }),
    "RMSProp, ρ = 0.9": (p) => rmsprop(p, { learningRate: 0.1, decay: 0.9 }),
  };
  for (const [name, make] of Object.entries(makers)) {
    const path = await walk([0, 0], (x, y) => x.add(y.mul(0)), make, 202);
    for (let i = 1; i < path.length; i++) points.push({ name, x: i, y: Math.abs(path[i]!.x - path[i - 1]!.x) });
    console.log(`  ${name}: step 1 of ${points.at(-201)!.y.toFixed(3)}, step 201 of ${points.at(-1)!.y.toFixed(4)}`);
  }
  await save(folder, "shrinking-rates", {
    height: 300,
    x: { label: "step", labelAnchor: "center" },
    y: { label: "length of the step", type: "log", ticks: [0.01, 0.02, 0.05, 0.1, 0.2], tickFormat: plain },
    color: { domain: Object.keys(makers) },
    marks: [
      Plot.gridY([0.01, 0.02, 0.05, 0.1, 0.2]),
      Plot.line(points, { x: "x", y: "y", stroke: "name", strokeWidth: 2 }),
      ...legend(Object.keys(makers)),
    ],
  });
}

/** x² − y² + ¼y⁴: flat in y on the ridge y = 0, with minima of −1 at y = ±√2. */
const saddle: Height = (x, y) => x.square().sub(y.square()).add(y.square().square().mul(0.25));

export async function saddleEscape(folder: string): Promise<void> {
  const [start, low] = [[0.5, 1e-4] as const, -0.5];
  const learningRate = 0.02;
  const makers: Record<string, Maker> = {
    SGD: (p) => sgd(p, { learningRate }),
    momentum: (p) => sgd(p, { learningRate, momentum: 0.9 }),
    Nesterov: (p) => sgd(p, { learningRate, momentum: 0.9, nesterov: true }),
    Adagrad: (p) => adagrad(p, { learningRate }),
    RMSProp: (p) => rmsprop(p, { learningRate }),
    Adadelta: (p) => adadelta(p),
    Adam: (p) => adam(p, { learningRate }),
    AMSGrad: (p) => amsgrad(p, { learningRate }),
    AdamW: (p) => adamW(p, { learningRate }),
    NAdam: (p) => nadam(p, { learningRate }),
    RAdam: (p) => radam(p, { learningRate }),
    Lion: (p) => lion(p, { learningRate }),
  };
  const rows: { name: string; steps: number }[] = [];
  for (const [name, make] of Object.entries(makers)) {
    const path = await walk(start, saddle, make, 400);
    const escaped = path.findIndex(({ loss }) => loss < low);
    if (escaped < 0) throw new Error(`${name} has not escaped from the saddle`);
    rows.push({ name, steps: escaped });
  }
  const position = float64(...start);
  const optimizer = lbfgs([position], () => heightAt(position, saddle), { iterations: 1 });
  let [evaluations, loss] = [0, 0];
  while (loss >= low) {
    const report = await optimizer.step();
    loss = report.loss;
    evaluations += report.evaluations;
  }
  rows.push({ name: "L-BFGS (evaluations)", steps: evaluations });
  console.log(rows.map(({ name, steps }) => `  ${name}: loss below ${low} after ${steps} steps`).join("\n"));
  await save(folder, "saddle", {
    height: 380,
    marginTop: 12,
    marginLeft: 140,
    marginRight: 40,
    x: { label: "steps until the loss is below −0.5", labelAnchor: "center", grid: true },
    y: { label: null },
    marks: [
      Plot.barX(rows, { x: "steps", y: "name", fill: colours[0], sort: { y: "x" } }),
      Plot.text(rows, { x: "steps", y: "name", text: "steps", dx: 5, textAnchor: "start" }),
      Plot.ruleX([0]),
    ],
  });
}

/** A panel for each name, in rows of so many: where a point belongs, and the names themselves. */
function panelsOf(names: readonly string[], inRow: number) {
  const fx = (name: string): number => names.indexOf(name) % inRow;
  const fy = (name: string): number => Math.floor(names.indexOf(name) / inRow);
  return {
    of: { fx: ({ name }: { name: string }) => fx(name), fy: ({ name }: { name: string }) => fy(name) },
    titles: Plot.text(names, {
      frameAnchor: "top-left",
      dx: 6,
      dy: 6,
      fontWeight: "bold",
      fx,
      fy,
      text: (name) => name,
    }),
  };
}

/** The rate at each step under each schedule. */
export async function schedules(folder: string): Promise<void> {
  const steps = 100;
  const rates: Record<string, schedule.Schedule> = {
    "steps(1, { every: 30 })": schedule.steps(1, { every: 30 }),
    "exponential(1, { factor: 0.97 })": schedule.exponential(1, { factor: 0.97 }),
    "cosine(1, { steps: 100 })": schedule.cosine(1, { steps }),
    "warmUp(linear(1, { steps: 80 }), { steps: 20 })": schedule.warmUp(schedule.linear(1, { steps: 80 }), {
      steps: 20,
    }),
    "inverseSquareRoot(1, { warmUpSteps: 20 })": schedule.inverseSquareRoot(1, { warmUpSteps: 20 }),
    "oneCycle(1, { steps: 100 })": schedule.oneCycle(1, { steps }),
  };
  const names = Object.keys(rates);
  const points = names.flatMap((name) =>
    Array.from({ length: steps }, (_, step) => ({ name, x: step, y: rates[name]!(step) })),
  );
  const panels = panelsOf(names, 2);
  await save(folder, "schedules", {
    width: 820,
    height: 420,
    fx: { axis: null },
    fy: { axis: null },
    x: { label: "step", labelAnchor: "center" },
    y: { label: "learning rate", domain: [0, 1.25], ticks: [0, 0.5, 1] },
    marks: [
      frame(),
      Plot.line(points, {
        x: "x",
        y: "y",
        z: "name",
        stroke: colours[0],
        strokeWidth: 2,
        curve: "step-after",
        ...panels.of,
      }),
      panels.titles,
    ],
  });
}

export async function curves(folder: string): Promise<void> {
  const names = Object.keys(activations) as (keyof typeof activations)[];
  const kinds = ["the function", "its slope"] as const;
  const points: { name: string; x: number; y: number; what: string }[] = [];
  for (const name of names) {
    const { x, y, slope } = await activationCurve(name, { points: 321 });
    for (const [i, at] of x.entries()) {
      points.push({ name, x: at, y: y[i]!, what: kinds[0] });
      // A slope that jumps is not a steep line.
      const jumps = i > 0 && Math.abs(slope[i]! - slope[i - 1]!) > 0.1;
      points.push({ name, x: at, y: jumps ? Number.NaN : slope[i]!, what: kinds[1] });
    }
  }
  const panels = panelsOf(names, 5);
  await save(folder, "activations", {
    width: 900,
    height: 560,
    fx: { axis: null },
    fy: { axis: null },
    x: { label: null, ticks: [-4, -2, 0, 2] },
    y: { label: null, domain: [-1.5, 3], ticks: [-1, 0, 1, 2], tickFormat: "d" },
    color: { domain: kinds },
    marks: [
      frame(),
      Plot.ruleY([0], { stroke: "currentColor", strokeOpacity: 0.2 }),
      Plot.ruleX([0], { stroke: "currentColor", strokeOpacity: 0.2 }),
      Plot.line(points, {
        x: "x",
        y: "y",
        z: "what",
        stroke: "what",
        strokeWidth: 2,
        clip: true,
        ...panels.of,
      }),
      panels.titles,
      ...legend(kinds),
    ],
  });
}
