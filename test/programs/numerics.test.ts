/** Programs that are no networks, or not only: each whole, small, without a cast. */
import { beforeEach, expect, test } from "vitest";
import {
  adam,
  compile,
  concat,
  defaultGenerator,
  embedding,
  gradients,
  init,
  lbfgs,
  linear,
  linspace,
  module,
  parameter,
  type Shape,
  scan,
  seed,
  sequential,
  sgd,
  type Tensor,
  tanh,
  tensor,
  where,
  zeros,
} from "../../src/node.ts";
import { State } from "../../src/tensor/state.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;

beforeEach(() => seed(4));

test("a network that obeys a differential equation: u″ = −π²·sin(πx), with second derivatives in the loss", async () => {
  const network = sequential(linear(1, 24), tanh, linear(24, 1));
  const optimizer = adam(network, { learningRate: 0.01 });
  const x = linspace(0, 1, 33).reshape([33, 1]);
  const step = compile((x: Floats<[33, 1]>) => {
    const u = network(x).mul(x).mul(x.neg().add(1));
    const [du] = gradients(u.sum(), [x]);
    const [d2u] = gradients(du.sum(), [x]);
    const loss = d2u
      .add(
        x
          .mul(Math.PI)
          .sin()
          .mul(Math.PI ** 2),
      )
      .square()
      .mean();
    optimizer.minimize(loss);
    return loss;
  });
  const first = await step(x).item();
  for (let i = 0; i < 400; i++) step(x);
  expect(await step(x).item()).toBeLessThan(first / 100);
  const middle = network(tensor([[0.5]])).mul(0.25);
  expect(await middle.item()).toBeCloseTo(1, 1);
});

test("policy gradient: actions are sampled, rewards weigh their log-probabilities", async () => {
  const policy = linear(2, 3);
  const optimizer = adam(policy, { learningRate: 0.05 });
  const rewards = tensor([
    [1, 0, 0],
    [0, 0, 1],
  ]);
  const situations = tensor(Array.from({ length: 32 }, (_, i) => (i % 2 ? [1, 0] : [0, 1])));
  const step = compile((situations: Floats<[32, 2]>) => {
    const logProbabilities = policy(situations).logSoftmax();
    const noise = defaultGenerator.uniform([32, 3]).maximum(1e-7).log().neg().log().neg();
    const actions = logProbabilities.detach().add(noise).argmax().oneHot(3);
    const reward = situations.matmul(rewards).mul(actions).sum(-1);
    const advantage = reward.sub(reward.mean());
    const loss = logProbabilities.mul(actions).sum(-1).mul(advantage.detach()).mean().neg();
    optimizer.minimize(loss);
    return reward.mean();
  });
  for (let i = 0; i < 150; i++) step(situations);
  expect(await step(situations).item()).toBeGreaterThan(0.8);
});

test("Q-learning with a target network that follows slowly", async () => {
  const [online, target] = [linear(4, 2), linear(4, 2)];
  const optimizer = sgd(online, { learningRate: 0.2 });
  const step = compile(
    (state: Floats<[4, 4]>, next: Floats<[4, 4]>, action: Tensor<[4], "int32">, reward: Floats<[4]>) => {
      const goal = reward.add(target(next).max(-1).mul(0.5)).detach();
      const value = online(state).mul(action.oneHot(2)).sum(-1);
      const loss = value.sub(goal).square().mean();
      optimizer.minimize(loss);
      target.weight.assign(target.weight.lerp(online.weight.current(), 0.05));
      target.bias.assign(target.bias.lerp(online.bias.current(), 0.05));
      return loss;
    },
  );
  const state = tensor([
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 1],
  ]);
  const next = tensor([
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 1],
    [0, 0, 0, 1],
  ]);
  const [action, reward] = [tensor([0, 1, 0, 1], "int32"), tensor([0, 0, 1, 0])];
  for (let i = 0; i < 500; i++) step(state, next, action, reward);
  expect(await step(state, next, action, reward).item()).toBeLessThan(0.02);
});

test("k-means", async () => {
  const points = tensor([
    [0, 0],
    [0.1, 0],
    [5, 5],
    [5.1, 5],
    [9, 0],
    [9, 0.2],
  ]);
  const centres = new State({ shape: [3, 2], dtype: "float32" }, Float32Array.of(0, 0, 5, 4, 8, 1));
  const step = compile(() => {
    const distances = points.unsqueeze(1).sub(centres).square().sum(-1);
    const member = distances.argmin().oneHot(3);
    centres.assign(member.mT().matmul(points).div(member.sum(0).unsqueeze(-1).maximum(1)));
    return distances.min(-1).mean();
  });
  for (let i = 0; i < 5; i++) step();
  expect(await step().item()).toBeLessThan(0.02);
});

test("power iteration finds the largest eigenvalue, in a loop of one graph", async () => {
  const a = tensor([
    [4, 1, 0],
    [1, 3, 1],
    [0, 1, 2],
  ]);
  const { state } = scan(
    (v: Floats<[3, 1]>) => {
      const w = a.matmul(v);
      return [w.div(w.norm()), w.norm()];
    },
    { init: tensor([[1], [1], [1]]), length: 60 },
  );
  expect(await state.mT().matmul(a).matmul(state).item()).toBeCloseTo(4.7321, 3);
});

test("an average of the weights over the steps is kept beside them", async () => {
  const model = linear(2, 1);
  const average = parameter([1, 2], init.zeros);
  const optimizer = sgd(model, { learningRate: 0.1 });
  const step = compile((x: Floats<[4, 2]>, y: Floats<[4, 1]>) => {
    const loss = model(x).sub(y).square().mean();
    optimizer.minimize(loss);
    average.assign(average.mul(0.9).add(model.weight.current().mul(0.1)));
    return loss;
  });
  const x = tensor([
    [1, 0],
    [0, 1],
    [1, 1],
    [2, 1],
  ]);
  for (let i = 0; i < 300; i++) step(x, x.matmul(tensor([[2], [-1]])));
  const [weights] = await average.array();
  expect(weights![0]).toBeCloseTo(2, 1);
});

test("learning to learn: the gradient goes through an inner step", async () => {
  const w = parameter([1, 1], init.constant(0.1));
  const optimizer = adam([w], { learningRate: 0.05 });
  const step = compile((slope: Floats<[1, 1]>) => {
    const x = tensor([[1], [2]]);
    const inner = x.matmul(w).sub(x.matmul(slope)).square().mean();
    const [dw] = gradients(inner, [w]);
    const adapted = w.sub(dw.mul(0.1));
    const loss = x.matmul(adapted).sub(x.matmul(slope)).square().mean();
    optimizer.minimize(loss);
    return loss;
  });
  for (let i = 0; i < 200; i++) step(tensor([[i % 2 ? 1 : 3]]));
  expect(await w.item()).toBeCloseTo(2, 0);
});

test("least squares by L-BFGS", async () => {
  const x = tensor([
    [1, 0],
    [1, 1],
    [1, 2],
    [1, 3],
  ]);
  const y = tensor([[1], [3], [5], [7]]);
  const w = parameter([2, 1], init.zeros);
  const optimizer = lbfgs([w], () => x.matmul(w).sub(y).square().mean());
  for (let i = 0; i < 10; i++) await optimizer.step();
  const values = await w.array();
  expect(values.flat().map((value) => Math.round(1000 * value) / 1000)).toEqual([1, 2]);
});

test("a differential equation solved by a network's own step", async () => {
  const field = sequential(linear(2, 16), tanh, linear(16, 2));
  const optimizer = adam(field, { learningRate: 0.02 });
  const solve = (start: Floats<[1, 2]>): Floats<[number, 1, 2]> =>
    scan(
      (x: Floats<[1, 2]>) => {
        const next = x.add(field(x).mul(0.1));
        return [next, next];
      },
      { init: start, length: 20 },
    ).outputs;
  const angles = linspace(0.1, 2, 20).reshape([20, 1, 1]);
  const circle = concat([angles.cos(), angles.sin()], -1);
  const step = compile((start: Floats<[1, 2]>) => {
    const loss = solve(start).sub(circle).square().mean();
    optimizer.minimize(loss);
    return loss;
  });
  const first = await step(tensor([[1, 0]])).item();
  for (let i = 0; i < 200; i++) step(tensor([[1, 0]]));
  expect(await step(tensor([[1, 0]])).item()).toBeLessThan(first / 10);
});

test("a graph network sums over neighbours", async () => {
  const edges = tensor([
    [0, 1, 0, 0],
    [1, 0, 1, 0],
    [0, 1, 0, 1],
    [0, 0, 1, 0],
  ]);
  const [first, second] = [linear(4, 8), linear(8, 2)];
  const normal = edges.div(edges.sum(-1, { keepDims: true }));
  const model = module("Gcn", { first, second }, (x: Floats<[4, 4]>) =>
    second(normal.matmul(first(normal.matmul(x)).relu())).logSoftmax(),
  );
  const optimizer = adam(model, { learningRate: 0.05 });
  const labels = tensor([0, 0, 1, 1], "int32").oneHot(2);
  const step = compile((x: Floats<[4, 4]>) => {
    const loss = model(x).mul(labels).sum(-1).mean().neg();
    optimizer.minimize(loss);
    return loss;
  });
  const features = tensor([
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [0, 0, 1, 0],
    [0, 0, 0, 1],
  ]);
  for (let i = 0; i < 100; i++) step(features);
  expect(await step(features).item()).toBeLessThan(0.1);
});

test("word vectors from pairs, with negative samples", async () => {
  const [words, contexts] = [embedding(6, 4), embedding(6, 4)];
  const optimizer = adam([words, contexts], { learningRate: 0.05 });
  const step = compile((word: Tensor<[6], "int32">, context: Tensor<[6], "int32">) => {
    const wrong = defaultGenerator.integers([6, 3], 0, 6);
    const right = words(word).mul(contexts(context)).sum(-1);
    const others = words(word).unsqueeze(1).mul(contexts(wrong)).sum(-1);
    const loss = right.logSigmoid().add(others.neg().logSigmoid().mean(-1)).mean().neg();
    optimizer.minimize(loss);
    return loss;
  });
  const [word, context] = [tensor([0, 1, 2, 3, 4, 5], "int32"), tensor([1, 0, 3, 2, 5, 4], "int32")];
  const first = await step(word, context).item();
  for (let i = 0; i < 100; i++) step(word, context);
  expect(await step(word, context).item()).toBeLessThan(first);
});

test("the game of life, and a Mandelbrot set: no gradient anywhere", async () => {
  const board = tensor([
    [0, 0, 0, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 1, 0, 0],
    [0, 0, 0, 0, 0],
  ]);
  let around: Floats<[5, 5]> = zeros([5, 5]);
  for (const dx of [-1, 0, 1])
    for (const dy of [-1, 0, 1]) if (dx || dy) around = around.add(board.roll(dx, 0).roll(dy, 1));
  const next = around.equal(3).or(around.equal(2).and(board.equal(1)));
  expect((await next.cast("int32").array())[2]).toEqual([0, 1, 1, 1, 0]);
  const [re, im] = [linspace(-2, 1, 7), linspace(-1, 1, 5).unsqueeze(-1)];
  const { state } = scan(
    ({ a, b, count }: { readonly a: Floats<[5, 7]>; readonly b: Floats<[5, 7]>; readonly count: Floats<[5, 7]> }) => {
      const isInside = a.square().add(b.square()).less(4);
      const next = {
        a: where(isInside, a.square().sub(b.square()).add(re), a),
        b: where(isInside, a.mul(b).mul(2).add(im), b),
        count: count.add(isInside.cast("float32")),
      };
      return [next, next.count.sum()];
    },
    { init: { a: zeros([5, 7]), b: zeros([5, 7]), count: zeros([5, 7]) }, length: 20 },
  );
  expect((await state.count.array())[2]![3]).toBe(20);
});
