/** What users write first: each program whole, small, without a cast, and learning. */
import { beforeEach, expect, test } from "vitest";
import {
  adam,
  adamW,
  batchNorm,
  binaryCrossEntropy,
  compile,
  conv2d,
  cosineSimilarity,
  crossEntropy,
  dataset,
  defaultGenerator,
  dropout,
  embedding,
  fitStandardizer,
  flatten,
  gradients,
  init,
  klDivergence,
  layerNorm,
  linear,
  loader,
  maxPool2d,
  meanSquaredError,
  module,
  ones,
  parameter,
  relu,
  type Shape,
  seed,
  sequential,
  sgd,
  smoothL1,
  type Tensor,
  tensor,
  toTensor,
  where,
  zeros,
} from "../../src/node.ts";

type Floats<S extends Shape> = Tensor<S, "float32">;

beforeEach(() => seed(1));

/** Two rings of points, one inside the other. */
function rings(count: number): { readonly x: number[][]; readonly y: number[] } {
  const y = Array.from({ length: count }, (_, i) => i % 2);
  const x = y.map((label, i) => {
    const angle = (2 * Math.PI * i) / count;
    return [(1 + label) * Math.cos(angle), (1 + label) * Math.sin(angle)];
  });
  return { x, y };
}

test("tabular classification: standardised columns, batches, accuracy on a held-out part", async () => {
  const { x, y } = rings(240);
  const [train, held] = dataset(
    { shape: [240, 2], dtype: "float32", values: Float32Array.from(x.flat()) },
    { shape: [240], dtype: "int32", values: Int32Array.from(y) },
  ).split(200, 3);
  const standardizer = fitStandardizer(train.columns[0]);
  const batches = loader(dataset(standardizer.apply(train.columns[0]), train.columns[1]), {
    batchSize: 32,
    shuffle: true,
    dropLast: true,
  });
  const model = sequential(linear(2, 16), relu, dropout(0.05), linear(16, 2));
  const optimizer = adamW(model, { learningRate: 0.02 });
  const step = compile((x: Floats<[number, 2]>, y: Tensor<[number], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss, { clipNorm: 1 });
    return loss;
  });
  for (let epoch = 0; epoch < 15; epoch++) for (const [x, y] of batches) step(x, y);
  model.eval();
  const guesses = model(toTensor(standardizer.apply(held.columns[0]))).argmax();
  expect(await guesses.equal(toTensor(held.columns[1])).cast("float32").mean().item()).toBeGreaterThan(0.9);
});

test("regression with a robust loss", async () => {
  const x = tensor(Array.from({ length: 32 }, (_, i) => [i / 16 - 1]));
  const y = x
    .mul(3)
    .add(1)
    .add(where(x.greater(0.9), ones([32, 1]).mul(50), 0));
  const model = linear(1, 1);
  const optimizer = sgd(model, { learningRate: 0.3 });
  const step = compile(() => {
    const loss = smoothL1(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  for (let i = 0; i < 300; i++) step();
  expect(await model.weight.item()).toBeCloseTo(3, 0);
});

test("logistic regression by gradients alone, without an optimizer", async () => {
  const { x, y } = rings(64);
  const points = tensor(x);
  const [features, labels] = [points.square(), tensor(y.map((label) => [label]))];
  const w = parameter([2, 1], init.zeros);
  const b = parameter([1], init.zeros);
  const step = compile(() => {
    const loss = binaryCrossEntropy(features.matmul(w).add(b), labels);
    const [dw, db] = gradients(loss, [w, b]);
    w.assign(w.sub(dw.mul(0.5)));
    b.assign(b.sub(db.mul(0.5)));
    return loss;
  });
  let loss = step();
  for (let i = 0; i < 300; i++) loss = step();
  expect(await loss.item()).toBeLessThan(0.2);
});

test("a convolutional network tells rows from columns", async () => {
  const images = Array.from({ length: 32 }, (_, n) =>
    Array.from({ length: 8 }, (_, i) =>
      Array.from({ length: 8 }, (_, j) => Number((n % 2 ? i : j) === Math.floor(n / 2) % 8)),
    ),
  );
  const x = tensor(images).reshape([32, 1, 8, 8]);
  const y = tensor(
    Array.from({ length: 32 }, (_, n) => n % 2),
    "int32",
  );
  const model = sequential(
    conv2d(1, 8, 3, { padding: "same", bias: false }),
    batchNorm(8),
    relu,
    maxPool2d(2),
    conv2d(8, 8, 3, { padding: "same" }),
    relu,
    flatten,
    linear(128, 2),
  );
  const optimizer = adam(model, { learningRate: 0.01 });
  const step = compile((x: Floats<[32, 1, 8, 8]>, y: Tensor<[32], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  let loss = step(x, y);
  for (let i = 0; i < 40; i++) loss = step(x, y);
  expect(await loss.item()).toBeLessThan(0.05);
});

test("a residual network of any depth", async () => {
  const block = <const D extends number>(width: D) => {
    const [norm, up, down] = [layerNorm(width), linear(width, 32), linear(32, width)];
    return module("Block", { norm, up, down }, <L extends Shape>(x: Floats<[...L, D]>) =>
      x.add(down(up(norm(x)).relu())),
    );
  };
  const { x, y } = rings(64);
  const [points, labels] = [tensor(x), tensor(y, "int32")];
  const model = sequential(linear(2, 8), ...Array.from({ length: 6 }, () => block(8)), linear(8, 2));
  const optimizer = adam(model, { learningRate: 0.003 });
  const step = compile(() => {
    const loss = crossEntropy(model(points), labels);
    optimizer.minimize(loss);
    return loss;
  });
  let loss = step();
  for (let i = 0; i < 100; i++) loss = step();
  expect(await loss.item()).toBeLessThan(0.1);
});

test("a siamese network brings pairs together and others apart", async () => {
  const encoder = sequential(linear(4, 16), relu, linear(16, 2));
  const optimizer = adam(encoder, { learningRate: 0.01 });
  const step = compile((a: Floats<[number, 4]>, b: Floats<[number, 4]>, same: Floats<[number]>) => {
    const distance = encoder(a).sub(encoder(b)).square().sum(-1).add(1e-6).sqrt();
    const apart = distance.neg().add(1).relu().square();
    const loss = same.mul(distance.square()).add(tensor(1).sub(same).mul(apart)).mean();
    optimizer.minimize(loss);
    return loss;
  });
  const a = tensor([
    [1, 0, 0, 0],
    [0, 1, 0, 0],
    [1, 0, 0, 0],
    [0, 1, 0, 0],
  ]);
  const b = tensor([
    [0.9, 0.1, 0, 0],
    [0, 0.8, 0.1, 0],
    [0, 1, 0, 0],
    [1, 0, 0, 0.1],
  ]);
  const same = tensor([1, 1, 0, 0]);
  let loss = step(a, b, same);
  for (let i = 0; i < 150; i++) loss = step(a, b, same);
  expect(await loss.item()).toBeLessThan(0.02);
});

test("contrastive learning: every other example of the batch is a negative", async () => {
  const encoder = linear(6, 4);
  const optimizer = adam(encoder, { learningRate: 0.05 });
  const unit = (x: Floats<[8, 4]>): Floats<[8, 4]> => x.div(x.norm(-1, { keepDims: true }));
  const labels = tensor([0, 1, 2, 3, 4, 5, 6, 7], "int32");
  const step = compile(() => {
    const x = defaultGenerator.normal([8, 6]);
    const [a, b] = [x, x.add(defaultGenerator.normal([8, 6]).mul(tensor([0, 0, 0, 3, 3, 3])))].map((view) =>
      unit(encoder(view)),
    );
    const loss = crossEntropy(a!.matmul(b!.mT()).mul(10), labels);
    optimizer.minimize(loss);
    return loss;
  });
  const losses = await Promise.all(Array.from({ length: 150 }, () => step().item()));
  const mean = (part: readonly number[]): number => part.reduce((sum, loss) => sum + loss, 0) / part.length;
  expect(mean(losses.slice(-20))).toBeLessThan(mean(losses.slice(0, 20)) / 2);
});

test("matrix factorisation of ratings, with weight decay for the factors alone", async () => {
  const [users, items] = [embedding(6, 3), embedding(5, 3)];
  const optimizer = adam([{ parameters: [users, items], weightDecay: 1e-4 }], { learningRate: 0.05 });
  const step = compile((user: Tensor<[number], "int32">, item: Tensor<[number], "int32">, rating: Floats<[number]>) => {
    const loss = meanSquaredError(users(user).mul(items(item)).sum(-1), rating);
    optimizer.minimize(loss);
    return loss;
  });
  const all = Array.from({ length: 30 }, (_, i) => [Math.floor(i / 5), i % 5, ((i * 7) % 5) + 1] as const);
  const [user, item] = [
    tensor(
      all.map(([u]) => u),
      "int32",
    ),
    tensor(
      all.map(([, i]) => i),
      "int32",
    ),
  ];
  const rating = tensor(all.map(([, , r]) => r));
  let loss = step(user, item, rating);
  for (let i = 0; i < 300; i++) loss = step(user, item, rating);
  expect(await loss.item()).toBeLessThan(0.3);
});

test("knowledge distillation: a student follows a teacher that stays as it is", async () => {
  const teacher = sequential(linear(2, 32), relu, linear(32, 3)).freeze();
  const student = linear(2, 3);
  const optimizer = adam(student, { learningRate: 0.05 });
  const x = defaultGenerator.normal([64, 2]);
  const step = compile((x: Floats<[64, 2]>) => {
    const loss = klDivergence(student(x).div(2).logSoftmax(), teacher(x).div(2).softmax());
    optimizer.minimize(loss);
    return loss;
  });
  const first = await step(x).item();
  for (let i = 0; i < 100; i++) step(x);
  expect(await step(x).item()).toBeLessThan(first / 3);
});

test("a mixture density network gives three answers to one question", async () => {
  const trunk = sequential(linear(1, 16), relu);
  const [weights, means, spreads] = [linear(16, 3), linear(16, 3), linear(16, 3)];
  const network = module("Mixture", { trunk, weights, means, spreads }, (x: Floats<[number, 1]>) => {
    const h = trunk(x);
    return { logWeights: weights(h).logSoftmax(), mean: means(h), logSpread: spreads(h) };
  });
  const optimizer = adam(network, { learningRate: 0.01 });
  const step = compile((x: Floats<[number, 1]>, y: Floats<[number, 1]>) => {
    const { logWeights, mean, logSpread } = network(x);
    const z = y.sub(mean).div(logSpread.exp());
    const loss = logWeights.sub(z.square().mul(0.5)).sub(logSpread).logSumExp(-1).mean().neg();
    optimizer.minimize(loss);
    return loss;
  });
  const x = tensor(Array.from({ length: 60 }, (_, i) => [i / 30 - 1]));
  const y = tensor(Array.from({ length: 60 }, (_, i) => [(i % 3) - 1]));
  const first = await step(x, y).item();
  for (let i = 0; i < 200; i++) step(x, y);
  expect(await step(x, y).item()).toBeLessThan(first - 0.5);
});

test("an adversarial example by the gradient of the input", async () => {
  const { x, y } = rings(64);
  const model = sequential(linear(2, 16), relu, linear(16, 2));
  const optimizer = adam(model, { learningRate: 0.02 });
  const labels = tensor(y, "int32");
  const step = compile((x: Floats<[number, 2]>) => {
    const loss = crossEntropy(model(x), labels);
    optimizer.minimize(loss);
    return loss;
  });
  for (let i = 0; i < 100; i++) step(tensor(x));
  const points = tensor(x);
  const clean = crossEntropy(model(points), labels);
  const [dx] = gradients(clean, [points]);
  const attacked = crossEntropy(model(points.add(dx.sign().mul(0.6))), labels);
  expect(await attacked.item()).toBeGreaterThan((await clean.item()) + 0.5);
});

test("one-shot retrieval by cosine similarity", async () => {
  const shelf = tensor([
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ]);
  const question = tensor([
    [0.1, 0.9, 0.2],
    [0.9, 0, 0.1],
  ]);
  const similarity = question
    .reshape([2, 1, 3])
    .mul(shelf)
    .sum(-1)
    .div(question.norm(-1, { keepDims: true }));
  expect(await similarity.argmax().array()).toEqual([1, 0]);
  expect(await cosineSimilarity(shelf, zeros([3, 3]).add(1)).array()).toHaveLength(3);
});
