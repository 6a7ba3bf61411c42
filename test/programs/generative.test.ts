/** Networks that make things up: each program whole, small, without a cast. */
import { beforeEach, expect, test } from "vitest";
import {
  adam,
  binaryCrossEntropy,
  compile,
  conv2d,
  convTranspose2d,
  defaultGenerator,
  flatten,
  gradients,
  leakyRelu,
  linear,
  meanSquaredError,
  module,
  ones,
  relu,
  seed,
  sequential,
  sigmoid,
  type Tensor,
  tensor,
  zeros,
} from "../../src/node.ts";

type Floats<S extends readonly number[]> = Tensor<S, "float32">;

beforeEach(() => seed(2));

/** Images of 8 × 8 with one bright row each. */
const rows = tensor(
  Array.from({ length: 8 }, (_, n) => Array.from({ length: 64 }, (_, i) => Number(Math.floor(i / 8) === n))),
);

test("an autoencoder of convolutions cleans up noise", async () => {
  const model = sequential(
    conv2d(1, 4, 3, { stride: 2, padding: 1 }),
    relu,
    convTranspose2d(4, 1, 4, { stride: 2, padding: "same" }),
    sigmoid,
  );
  const optimizer = adam(model, { learningRate: 0.02 });
  const step = compile((x: Floats<[8, 64]>) => {
    const images = x.reshape([8, 1, 8, 8]);
    const loss = meanSquaredError(model(images.add(defaultGenerator.normal([8, 1, 8, 8]).mul(0.2))), images);
    optimizer.minimize(loss);
    return loss;
  });
  const first = await step(rows).item();
  for (let i = 0; i < 150; i++) step(rows);
  expect(await step(rows).item()).toBeLessThan(first / 2);
});

test("a variational autoencoder", async () => {
  const encoder = sequential(linear(64, 32), relu, linear(32, 4));
  const decoder = sequential(linear(2, 32), relu, linear(32, 64));
  const model = module("Vae", { encoder, decoder }, (x: Floats<[number, 64]>) => {
    const [mean, logVariance] = encoder(x).split([2, 2]);
    const noise = defaultGenerator.normal([8, 2]);
    const z = mean.add(noise.mul(logVariance.mul(0.5).exp()));
    const divergence = mean.square().add(logVariance.exp()).sub(logVariance).sub(1).sum(-1).mul(0.5);
    return { logits: decoder(z), divergence };
  });
  const optimizer = adam(model, { learningRate: 0.005 });
  const step = compile((x: Floats<[8, 64]>) => {
    const { logits, divergence } = model(x);
    const reconstruction = binaryCrossEntropy(logits, x, { reduction: "none" }).sum(-1);
    const loss = reconstruction.add(divergence.mul(0.1)).mean();
    optimizer.minimize(loss);
    return { loss, reconstruction: reconstruction.mean(), divergence: divergence.mean() };
  });
  const first = await step(rows).loss.item();
  for (let i = 0; i < 200; i++) step(rows);
  expect(await step(rows).loss.item()).toBeLessThan(first / 3);
});

test("a generator and a discriminator, each with an optimizer of its own", async () => {
  const generator = sequential(linear(2, 16), relu, linear(16, 1));
  const discriminator = sequential(linear(1, 16), leakyRelu, linear(16, 1));
  const ofGenerator = adam(generator, { learningRate: 0.005, betas: [0.5, 0.999] });
  const ofDiscriminator = adam(discriminator, { learningRate: 0.005, betas: [0.5, 0.999] });
  const noise = (): Floats<[64, 2]> => defaultGenerator.normal([64, 2]);
  const judge = compile(() => {
    const real = defaultGenerator.normal([64, 1]).mul(0.2).add(3);
    const made = generator(noise()).detach();
    const loss = binaryCrossEntropy(discriminator(real), ones([64, 1])).add(
      binaryCrossEntropy(discriminator(made), zeros([64, 1])),
    );
    ofDiscriminator.minimize(loss);
    return loss;
  });
  const make = compile(() => {
    const loss = binaryCrossEntropy(discriminator(generator(noise())), ones([64, 1]));
    ofGenerator.minimize(loss);
    return loss;
  });
  for (let i = 0; i < 400; i++) {
    judge();
    make();
  }
  expect(
    await generator(defaultGenerator.normal([500, 2]))
      .mean()
      .item(),
  ).toBeGreaterThan(1.5);
});

test("a critic with a gradient penalty: second derivatives inside the step", async () => {
  const critic = sequential(linear(2, 16), leakyRelu, linear(16, 1));
  const optimizer = adam(critic, { learningRate: 0.01 });
  const step = compile((real: Floats<[32, 2]>, made: Floats<[32, 2]>) => {
    const between = real.lerp(made, defaultGenerator.uniform([32, 1]));
    const [slope] = gradients(critic(between).sum(), [between]);
    const penalty = slope.norm(-1).sub(1).square().mean();
    const loss = critic(made).mean().sub(critic(real).mean()).add(penalty.mul(10));
    optimizer.minimize(loss);
    return { loss, penalty };
  });
  const real = defaultGenerator.normal([32, 2]);
  const made = defaultGenerator.normal([32, 2]).add(4);
  for (let i = 0; i < 150; i++) step(real, made);
  const { loss, penalty } = step(real, made);
  expect(await penalty.item()).toBeLessThan(0.2);
  expect(await loss.item()).toBeLessThan(-2);
});

test("a normalising flow of affine coupling layers learns a shifted density", async () => {
  const layers = Array.from({ length: 4 }, () => sequential(linear(1, 16), relu, linear(16, 2)));
  const flow = module("Flow", { layers }, (x: Floats<[number, 2]>) => {
    let [a, b] = x.split([1, 1]);
    let logDeterminant = zeros([1, 1]).add(a.mul(0));
    for (const layer of layers) {
      const [scale, shift] = layer(a).split([1, 1]);
      const bounded = scale.tanh();
      [a, b] = [b.mul(bounded.exp()).add(shift), a];
      logDeterminant = logDeterminant.add(bounded);
    }
    return { a, b, logDeterminant };
  });
  const optimizer = adam(flow, { learningRate: 0.01 });
  const step = compile((x: Floats<[64, 2]>) => {
    const { a, b, logDeterminant } = flow(x);
    const loss = a.square().add(b.square()).mul(0.5).sub(logDeterminant).mean();
    optimizer.minimize(loss);
    return loss;
  });
  const x = defaultGenerator
    .normal([64, 2])
    .mul(tensor([0.3, 2]))
    .add(tensor([3, -1]));
  const first = await step(x).item();
  for (let i = 0; i < 150; i++) step(x);
  expect(await step(x).item()).toBeLessThan(first - 1);
});

test("diffusion: noise is predicted at a random time", async () => {
  const model = sequential(linear(3, 32), relu, linear(32, 2));
  const optimizer = adam(model, { learningRate: 0.01 });
  const step = compile((x: Floats<[64, 2]>) => {
    const time = defaultGenerator.uniform([64, 1]);
    const noise = defaultGenerator.normal([64, 2]);
    const mixed = x.mul(tensor(1).sub(time).sqrt()).add(noise.mul(time.sqrt()));
    const loss = meanSquaredError(
      model(
        mixed
          .pad([
            [0, 0],
            [0, 1],
          ])
          .add(time.mul(tensor([0, 0, 1]))),
      ),
      noise,
    );
    optimizer.minimize(loss);
    return loss;
  });
  const x = defaultGenerator.normal([64, 2]).mul(0.1).add(2);
  const first = await step(x).item();
  for (let i = 0; i < 200; i++) step(x);
  expect(await step(x).item()).toBeLessThan(first);
});

test("flatten is a step between images and vectors", () => {
  expect(flatten(zeros([4, 3, 2, 2])).shape).toEqual([4, 12]);
});
