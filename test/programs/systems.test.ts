/** Training beside other work: a server that answers meanwhile, a worker. Each program whole. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { adam, compile, crossEntropy, linear, relu, seed, sequential, type Tensor, tensor } from "../../src/node.ts";

test("a server predicts while the model it serves is trained", async () => {
  seed(5);
  const model = sequential(linear(2, 64), relu, linear(64, 2));
  const optimizer = adam(model, { learningRate: 0.01 });
  const step = compile((x: Tensor<[4, 2], "float32">, y: Tensor<[4], "int32">) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const predict = compile((x: Tensor<[1, 2], "float32">) => model(x).softmax());
  const server = createServer(async (request, response) => {
    const query = new URL(request.url!, "http://localhost").searchParams;
    const [probabilities] = await predict(tensor([[Number(query.get("a")), Number(query.get("b"))]])).array();
    response.end(JSON.stringify(probabilities));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = async (a: number, b: number): Promise<number[]> =>
    (await (await fetch(`http://127.0.0.1:${port}/?a=${a}&b=${b}`)).json()) as number[];

  const [x, y] = [
    tensor([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]),
    tensor([0, 1, 1, 0], "int32"),
  ];
  let answers = 0;
  let isTraining = true;
  const asking = (async () => {
    while (isTraining) {
      const [no, yes] = await ask(1, 0);
      expect(no! + yes!).toBeCloseTo(1, 4);
      answers++;
    }
  })();
  for (let i = 0; i < 300; i++) await step(x, y).item();
  isTraining = false;
  await asking;
  expect(answers).toBeGreaterThan(3);
  expect((await ask(1, 0))[1]).toBeGreaterThan(0.8);
  server.close();
});

test("a worker trains and hands over the weights", async () => {
  const main = path.join(import.meta.dirname, "../../dist/node.js");
  const code = `
    const { parentPort } = require("node:worker_threads");
    import(${JSON.stringify(main)}).then(async ({ compile, encodeWeights, linear, meanSquaredError, seed, sgd, tensor }) => {
      seed(6);
      const model = linear(1, 1);
      const optimizer = sgd(model, { learningRate: 0.1 });
      const x = tensor([[0], [1], [2]]);
      const step = compile(() => {
        const loss = meanSquaredError(model(x), x.mul(2).add(1));
        optimizer.minimize(loss);
        return loss;
      });
      for (let i = 0; i < 200; i++) step();
      parentPort.postMessage(await encodeWeights(model));
    });`;
  const worker = new Worker(code, { eval: true });
  const [bytes] = (await once(worker, "message")) as [Uint8Array];
  await once(worker, "exit");
  const { decodeWeights } = await import("../../src/node.ts");
  const model = linear(1, 1);
  decodeWeights(model, bytes);
  expect(await model.weight.item()).toBeCloseTo(2, 2);
  expect(await model.bias.item()).toBeCloseTo(1, 2);
});
