/** A training that goes on for ever, for processes and workers that end in the middle of it. */
import {
  adam,
  compile,
  crossEntropy,
  fromValues,
  linear,
  nodeEngine,
  relu,
  seed,
  sequential,
  useEngine,
} from "../../dist/node.js";

/**
 * Trains until the thread ends. `started` is called once a first step is done.
 * @param options.threads threads inside an op
 * @param options.onTheSpot as nodeEngine takes it: 0 makes every run on the engine's own thread
 * @param options.width neurons of the first hidden layer
 * @param options.batch examples in a step
 */
export async function trainForEver({ threads = 1, onTheSpot = 0, width = 256, batch = 64 }, started = () => {}) {
  useEngine(nodeEngine({ threads, onTheSpot }));
  seed(0);
  const model = sequential(linear(784, width), relu, linear(width, 128), relu, linear(128, 10));
  const optimizer = adam(model);
  const step = compile((x, y) => {
    const loss = crossEntropy(model(x), y);
    optimizer.minimize(loss);
    return loss;
  });
  const x = fromValues(new Float32Array(batch * 784).fill(0.5), [batch, 784]);
  const y = fromValues(new Int32Array(batch), [batch]);
  await step(x, y).item();
  started();
  for (;;) await step(x, y).item();
}
