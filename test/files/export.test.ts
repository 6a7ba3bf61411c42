/** What an exported model is: its mode, its batch, its operators' version. */
import { fromBinary } from "@bufbuild/protobuf";
import { ModelProtoSchema } from "onnx-buf";
import { expect, test, vi } from "vitest";
import {
  batchNorm,
  ConfigError,
  dropout,
  exportOnnx,
  linear,
  ones,
  sequential,
  sgd,
  type Tensor,
} from "../../src/node.ts";

const graphOf = (bytes: Uint8Array) => fromBinary(ModelProtoSchema, bytes);

test("a model left in training is exported as it evaluates, unless asked, and stays in training", async () => {
  const model = sequential(linear(3, 4), batchNorm(4), dropout(0.5));
  const { graph } = graphOf(
    await exportOnnx((x: Tensor) => model(x as Tensor<[number, 3], "float32">), [ones([2, 3])]),
  );
  expect(graph!.input.map(({ name }) => name)).toEqual(["input0"]);
  expect(graph!.output.map(({ name }) => name)).toEqual(["output0"]);
  expect(graph!.initializer.map(({ name }) => name)).toContain("0.weight");
  expect(model.training).toBe(true);
  const training = graphOf(
    await exportOnnx((x: Tensor) => model(x as Tensor<[number, 3], "float32">), [ones([2, 3])], {
      training: true,
      onFixedBatch: () => {},
    }),
  );
  expect(training.graph!.output.some(({ name }) => name.endsWith(".next"))).toBe(true);
});

test("a training step is exported in the mode that its modules are in", async () => {
  const model = sequential(linear(3, 4), batchNorm(4));
  const optimizer = sgd(model, { learningRate: 0.1 });
  const step = (x: Tensor): Tensor => {
    const loss = (model as unknown as (x: Tensor) => Tensor)(x).square().mean();
    optimizer.minimize(loss);
    return loss;
  };
  const { graph } = graphOf(await exportOnnx(step, [ones([2, 3])], { names: model, onFixedBatch: () => {} }));
  const outputs = graph!.output.map(({ name }) => name);
  expect(outputs).toContain("0.weight.next");
  expect(outputs).toContain("1.running_mean.next");
});

test("says why the batch could not be left open: on standard error, or to who asks", async () => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
  await exportOnnx((x: Tensor) => x.mul(Math.log(x.shape[0]!)), [ones([2, 5, 3])]);
  expect(warn.mock.calls.length).toBe(1);
  expect(String(warn.mock.calls[0])).toMatch(/exportOnnx keeps the examples' batch size, because .*batch/);
  const reasons: string[] = [];
  await exportOnnx((x: Tensor) => x.reshape([2, 3]), [ones([2, 3])], {
    onFixedBatch: (reason) => reasons.push(reason),
  });
  expect(reasons).toEqual(["the function takes no other sizes: reshape: [3, 3] has 9 elements, [2, 3] has 6"]);
  await exportOnnx((x: Tensor) => x.mul(2), [ones([2, 3])]);
  expect(warn.mock.calls.length).toBe(1);
  warn.mockRestore();
});

test("takes an opset, and refuses options and opsets that there are not", async () => {
  const twice = (x: Tensor): Tensor => x.mul(2);
  for (const opset of [20, 21])
    expect(graphOf(await exportOnnx(twice, [ones([2])], { opset })).opsetImport.map(({ version }) => version)).toEqual([
      BigInt(opset),
    ]);
  expect(graphOf(await exportOnnx(twice, [ones([2])])).opsetImport[0]!.version).toBe(21n);
  await expect(exportOnnx(twice, [ones([2])], { opset: 9 })).rejects.toThrow("the opset is 9");
  const misspelt = { op_set: 20 } as object;
  await expect(exportOnnx(twice, [ones([2])], misspelt)).rejects.toThrow("did you mean opset?");
  await expect(exportOnnx(twice, [ones([2])], misspelt)).rejects.toBeInstanceOf(ConfigError);
});
