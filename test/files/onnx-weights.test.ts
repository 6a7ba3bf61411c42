/** Weights out of ONNX models: those that we write, a real detector's, and files that are broken. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from "onnx-buf";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import {
  compile,
  conv1d,
  decodeOnnxWeights,
  exportOnnx,
  fromValues,
  type LstmState,
  linear,
  lstmCell,
  type Module,
  module,
  nodeEngine,
  plainEngine,
  randomGenerator,
  seed,
  type Tensor,
  useEngine,
  zeros,
} from "../../src/node.ts";

/** Silero's voice activity detector, version 5 (MIT licence), in an ISC-licensed package. */
const detector = (): Uint8Array => {
  const entry = createRequire(import.meta.url).resolve("@ricky0123/vad-web/package.json");
  return readFileSync(path.join(path.dirname(entry), "dist/silero_vad_v5.onnx"));
};

/** The names of what the detector does at 16 kHz. */
const prefix = "If_0_then_branch__Inline_0__";

function load(model: Module, weights: ReturnType<typeof decodeOnnxWeights>, rename: (name: string) => string): void {
  for (const [name, state] of model.namedStates()) {
    const from = weights.get(`${prefix}${rename(name)}`)!;
    expect(from.shape, name).toEqual(state.shape);
    state.write(from.values);
  }
}

/** The detector out of our layers: a Fourier transform as a convolution, four convolutions, an LSTM cell, one unit. */
function detectorOf(bytes: Uint8Array) {
  const weights = decodeOnnxWeights(bytes);
  const transform = conv1d(1, 258, 256, { stride: 128, bias: false });
  const encoder = [
    conv1d(129, 128, 3, { padding: 1 }),
    conv1d(128, 64, 3, { stride: 2, padding: 1 }),
    conv1d(64, 64, 3, { stride: 2, padding: 1 }),
    conv1d(64, 128, 3, { padding: 1 }),
  ] as const;
  const rnn = lstmCell(128, 128);
  const head = conv1d(128, 1, 1);
  load(transform, weights, () => "stft.forward_basis_buffer");
  for (const [i, layer] of encoder.entries()) load(layer, weights, (name) => `encoder.${i}.reparam_conv.${name}`);
  load(rnn, weights, (name) => `decoder.rnn.${name}`);
  load(head, weights, (name) => `decoder.decoder.2.${name}`);
  return module(
    "Detector",
    { transform, encoder, rnn, head },
    (sound: Tensor<[1, 576], "float32">, state: LstmState<[1, 128]>) => {
      const waves = transform(
        sound
          .pad(
            [
              [0, 0],
              [0, 64],
            ],
            { mode: "reflect" },
          )
          .reshape([1, 1, 640]),
      );
      const [real, imaginary] = waves.split([129, 129], 1);
      let h = real.square().add(imaginary.square()).sqrt() as Tensor<[1, number, number], "float32">;
      for (const layer of encoder) h = (layer as (x: typeof h) => typeof h)(h).relu();
      const next = rnn(h.reshape([1, 128]), state);
      const speech = head(next.h.relu().reshape([1, 128, 1]))
        .sigmoid()
        .reshape([1]);
      return { speech, state: next };
    },
  );
}

test.each([plainEngine(), nodeEngine({ threads: 1 })])(
  "a real detector's LSTM, in our layers on $name, gives ONNX Runtime's numbers over 100 steps",
  async (engine) => {
    useEngine(engine);
    const bytes = detector();
    const theirs = await InferenceSession.create(bytes, { intraOpNumThreads: 1, graphOptimizationLevel: "disabled" });
    const ours = detectorOf(bytes);
    const step = compile((sound: Tensor<[1, 576], "float32">, state: LstmState<[1, 128]>) => ours(sound, state));
    // A voice of sorts: harmonics of a pitch that rises, with pauses, in some noise.
    const noise = await randomGenerator(1)
      .normal([100 * 512 + 64])
      .data();
    const sound = Float32Array.from(noise, (value, i) => {
      const time = i / 16000;
      const isVoice = Math.floor(time * 2) % 2 === 0;
      const pitch = 2 * Math.PI * (120 + 30 * time) * time;
      const voice = [1, 2, 3, 4, 5].reduce((sum, k) => sum + Math.sin(k * pitch) / k, 0);
      return 0.02 * value + (isVoice ? 0.3 * voice * (1 + Math.sin(2 * Math.PI * 4 * time)) : 0);
    });
    const rate = new OrtTensor("int64", [16000n]);
    let state: LstmState<[1, 128]> = { h: zeros([1, 128]), c: zeros([1, 128]) };
    let theirState = new OrtTensor("float32", new Float32Array(256), [2, 1, 128]);
    let worst = 0;
    let largest = 0;
    const heard: number[] = [];
    for (let at = 0; at < 100; at++) {
      const part = sound.slice(512 * at, 512 * at + 576);
      const results = await theirs.run({
        input: new OrtTensor("float32", part, [1, 576]),
        state: theirState,
        sr: rate,
      });
      theirState = results.stateN as typeof theirState;
      const ran = step(fromValues(part, [1, 576]), state);
      state = ran.state;
      const [mine, expected] = [await ran.speech.data(), results.output!.data as Float32Array];
      const both = [...(await state.h.data()), ...(await state.c.data())];
      // What the cell remembers is as large as 50; of that as many digits.
      const away = both.map((x, i) => {
        const other = theirState.data[i] as number;
        return Math.abs(x - other) / Math.max(1, Math.abs(other));
      });
      worst = Math.max(worst, Math.abs(mine[0]! - expected[0]!), ...away);
      largest = Math.max(largest, ...both.map(Math.abs));
      heard.push(expected[0]!);
    }
    expect(worst).toBeLessThan(1e-5);
    expect(largest).toBeGreaterThan(10);
    expect(Math.max(...heard) - Math.min(...heard)).toBeGreaterThan(0.9); //  it hears the voice, and the pauses
  },
);

test("what we export comes back by name", async () => {
  useEngine(plainEngine());
  seed(1);
  const model = linear(3, 2);
  const bytes = await exportOnnx(model, [zeros([4, 3])]);
  const weights = decodeOnnxWeights(bytes);
  for (const [name, state] of model.namedStates()) {
    expect(weights.get(name)!.shape).toEqual(state.shape);
    expect(weights.get(name)!.values).toEqual(await state.data());
  }
});

/** A model of one tensor. */
const modelOf = (parts: Parameters<typeof create<typeof TensorProtoSchema>>[1]): Uint8Array =>
  toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      graph: create(GraphProtoSchema, { initializer: [create(TensorProtoSchema, { name: "w", ...parts })] }),
    }),
  );

test("values in any of the format's ways", () => {
  const w = (parts: Parameters<typeof modelOf>[0]): unknown => decodeOnnxWeights(modelOf(parts)).get("w");
  const shape = [2];
  expect(w({ dataType: 1, dims: [2n], floatData: [1, 0.5] })).toEqual({
    shape,
    dtype: "float32",
    values: Float32Array.of(1, 0.5),
  });
  expect(w({ dataType: 11, dims: [2n], rawData: new Uint8Array(Float64Array.of(1, 0.1).buffer) })).toEqual({
    shape,
    dtype: "float64",
    values: Float64Array.of(1, 0.1),
  });
  expect(w({ dataType: 6, dims: [2n], int32Data: [1, -2] })).toEqual({
    shape,
    dtype: "int32",
    values: Int32Array.of(1, -2),
  });
  expect(w({ dataType: 9, dims: [2n], rawData: Uint8Array.of(1, 0) })).toEqual({
    shape,
    dtype: "bool",
    values: Uint8Array.of(1, 0),
  });
  expect(w({ dataType: 1, dims: [0n, 3n] })).toEqual({ shape: [0, 3], dtype: "float32", values: new Float32Array() });
  expect(w({ dataType: 7, dims: [1n], int64Data: [1n] })).toBeUndefined();
});

test("broken files are told of", () => {
  const sentence = (bytes: Uint8Array): string => {
    try {
      decodeOnnxWeights(bytes, "model.onnx");
    } catch (error) {
      return `${(error as Error).name}: ${(error as Error).message}`;
    }
    return "nothing was thrown";
  };
  const whole = modelOf({ dataType: 1, dims: [2n], floatData: [1, 2] });
  expect([
    sentence(new Uint8Array(0)),
    sentence(Uint8Array.of(255, 255, 255)),
    sentence(whole.slice(0, -3)),
    sentence(modelOf({ dataType: 1, dims: [3n], floatData: [1, 2] })),
    sentence(modelOf({ dataType: 1, dims: [2n], rawData: new Uint8Array(7) })),
    sentence(modelOf({ dataType: 1, dims: [-1n], floatData: [1] })),
    sentence(modelOf({ dataType: 1, dims: [2n ** 40n, 2n ** 40n] })),
    sentence(modelOf({ dataType: 1, dims: [2n], dataLocation: 1 })),
  ]).toMatchInlineSnapshot(`
    [
      "FormatError: model.onnx: it holds no graph
      fix: give a model in the ONNX format",
      "FormatError: model.onnx: its bytes are no protobuf of a model
      fix: give a model in the ONNX format, the whole of it",
      "FormatError: model.onnx: its bytes are no protobuf of a model
      fix: give a model in the ONNX format, the whole of it",
      "FormatError: model.onnx, "w": its shape [3] has 3 elements, and there are 2
      fix: export the model again: the file is not whole",
      "FormatError: model.onnx, "w": its shape [2] has 2 elements, and there are 1.75
      fix: export the model again: the file is not whole",
      "FormatError: model.onnx, "w": its shape is [-1]
      fix: export the model again",
      "FormatError: model.onnx, "w": its shape is [1099511627776, 1099511627776]
      fix: export the model again",
      "FormatError: model.onnx, "w": its values lie in a file beside the model
      fix: save the model as one file",
    ]
  `);
});
