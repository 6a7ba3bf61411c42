/** ELMo: what each direction may see, its loss by the definition, the sampled softmax against plain TypeScript, the mixture of layers. */
import { describe, expect, test } from "vitest";
import {
  adam,
  compile,
  crossEntropy,
  elmo,
  init,
  parameter,
  randomGenerator,
  sampledCrossEntropy,
  scalarMix,
  type Tensor,
  tensor,
} from "../../src/node.ts";

const vocabulary = 9;
const hiddenSize = 4;
const make = (options = {}) => elmo(vocabulary, { hiddenSize, dropout: 0, generator: randomGenerator(2), ...options });
const words = (rows: number[][]): Tensor<[number, number], "int32"> => tensor(rows, "int32");
const lengths = (...each: number[]): Tensor<[number], "int32"> => tensor(each, "int32");

async function vectors(layer: Tensor<[number, number, number], "float32">): Promise<number[][][]> {
  return layer.array();
}

describe.each(["words", "characters"])("ELMo over %s", (kind) => {
  const isWords = kind === "words";
  const model = make(
    isWords
      ? {}
      : {
          characters: 12,
          filters: [
            [1, 3],
            [2, 5],
          ],
        },
  );
  /** Words as the model takes them: a word's characters follow from its id. */
  const input = (rows: number[][]) =>
    isWords
      ? words(rows)
      : (tensor(
          rows.map((row) => row.map((id) => (id === 0 ? [0, 0, 0] : [id, (id % 4) + 1, 0]))),
          "int32",
        ) as Tensor<[number, number, number], "int32">);

  test("gives the words and a pair of directions for each layer", async () => {
    const layers = model(input([[1, 2, 3]]), lengths(3));
    expect(layers.map(({ shape }) => shape)).toEqual(Array(3).fill([1, 3, 2 * hiddenSize]));
    expect(model.layerCount).toBe(3);
    const first = (await vectors(layers[0]!))[0]![0];
    expect(first!.slice(0, hiddenSize)).toEqual(first!.slice(hiddenSize));
  });

  test("reads forward without the words behind, and backward without the words before", async () => {
    const before = await vectors(model(input([[1, 2, 3, 4]]), lengths(4)).at(-1)!);
    const after = await vectors(model(input([[1, 2, 3, 8]]), lengths(4)).at(-1)!);
    const first = await vectors(model(input([[7, 2, 3, 4]]), lengths(4)).at(-1)!);
    for (let t = 0; t < 3; t++) {
      expect(after[0]![t]!.slice(0, hiddenSize)).toEqual(before[0]![t]!.slice(0, hiddenSize));
      expect(after[0]![t]!.slice(hiddenSize)).not.toEqual(before[0]![t]!.slice(hiddenSize));
      expect(first[0]![t + 1]!.slice(hiddenSize)).toEqual(before[0]![t + 1]!.slice(hiddenSize));
      expect(first[0]![t + 1]!.slice(0, hiddenSize)).not.toEqual(before[0]![t + 1]!.slice(0, hiddenSize));
    }
  });

  test("padding changes nothing", async () => {
    const alone = await vectors(model(input([[1, 2, 3]]), lengths(3)).at(-1)!);
    const padded = await vectors(
      model(
        input([
          [1, 2, 3, 0, 0],
          [5, 6, 7, 8, 1],
        ]),
        lengths(3, 5),
      ).at(-1)!,
    );
    for (let t = 0; t < 3; t++)
      for (let i = 0; i < 2 * hiddenSize; i++) expect(padded[0]![t]![i]).toBeCloseTo(alone[0]![t]![i]!, 6);
  });

  test("its loss is the mean over both directions of all real words", async () => {
    const rows = [
      [1, 2, 3, 0],
      [5, 6, 7, 8],
    ];
    const [real, layers] = [[3, 4], model(input(rows), lengths(3, 4))];
    const last = await vectors(layers.at(-1)!);
    const [weight, bias] = [
      (await (model as never as { softmax: { weight: Tensor } }).softmax.weight.array()) as number[][],
      0,
    ];
    let [sum, count] = [0, 0];
    const add = (vector: number[], label: number): void => {
      const logits = weight.map((row) => row.reduce((dot, w, i) => dot + w * vector[i]!, bias));
      sum += Math.log(logits.reduce((all, x) => all + Math.exp(x), 0)) - logits[label]!;
      count++;
    };
    for (const [b, length] of real.entries())
      for (let t = 0; t + 1 < length; t++) {
        add(last[b]![t]!.slice(0, hiddenSize), rows[b]![t + 1]!);
        add(last[b]![t + 1]!.slice(hiddenSize), rows[b]![t]!);
      }
    expect(count).toBe(10);
    expect(await model.loss(input(rows), words(rows), lengths(3, 4)).item()).toBeCloseTo(sum / count, 5);
  });

  test("learns a text in which each word says what is on both sides of it", async () => {
    const own = make(
      isWords
        ? {}
        : {
            characters: 12,
            filters: [
              [1, 3],
              [2, 5],
            ],
          },
    );
    const optimizer = adam(own, { learningRate: 0.03 });
    const rows = [
      [1, 2, 3, 4, 5],
      [5, 4, 3, 2, 1],
    ];
    const step = compile(() => {
      const loss = own.loss(input(rows), words(rows), lengths(5, 5), { samples: 12 });
      optimizer.minimize(loss);
      return loss;
    });
    for (let i = 0; i < 200; i++) step();
    expect(await own.loss(input(rows), words(rows), lengths(5, 5)).item()).toBeLessThan(0.6);
  });
});

describe("the sampled softmax", () => {
  test("compares each label with the tokens that were drawn, corrected by how often they are", async () => {
    const [rows, width, samples] = [3, 4, 5];
    const generator = randomGenerator(5);
    const [x, weight, bias] = [
      parameter([rows, width], init.normal(1), generator),
      parameter([vocabulary, width], init.normal(1), generator),
      parameter([vocabulary], init.normal(1), generator),
    ];
    const labels = [0, 4, 8];
    const loss = sampledCrossEntropy(x, weight, bias, tensor(labels, "int32"), tensor([1, 1, 0]), {
      samples,
      generator: randomGenerator(11),
    });
    const found = await loss.item();
    const uniform = await randomGenerator(11).uniform([samples]).array();
    const drawn = uniform.map((u) => Math.min(vocabulary - 1, Math.floor((vocabulary + 1) ** u) - 1));
    const [xs, ws, bs] = [await x.array(), await weight.array(), await bias.array()];
    const expected = (id: number): number => (samples * Math.log((id + 2) / (id + 1))) / Math.log(vocabulary + 1);
    const score = (row: number, id: number): number =>
      xs[row]!.reduce((dot, value, i) => dot + value * ws[id]![i]!, bs[id]!);
    const each = labels.slice(0, 2).map((label, row) => {
      const own = Math.exp(score(row, label));
      const others = drawn.filter((id) => id !== label).map((id) => Math.exp(score(row, id)) / expected(id));
      return Math.log(others.reduce((a, b) => a + b, own)) - Math.log(own);
    });
    expect(found).toBeCloseTo((each[0]! + each[1]!) / 2, 4);
  });

  test("comes close to the whole softmax with many samples", async () => {
    const generator = randomGenerator(6);
    const [x, weight] = [
      parameter([40, 8], init.normal(1), generator),
      parameter([vocabulary, 8], init.normal(0.5), generator),
    ];
    const bias = parameter([vocabulary], init.zeros, generator);
    const labels = tensor(
      Array.from({ length: 40 }, (_, i) => i % vocabulary),
      "int32",
    );
    const whole = await crossEntropy(x.matmul(weight.mT()).add(bias), labels).item();
    const sampled = await sampledCrossEntropy(x, weight, bias, labels, tensor(Array<number>(40).fill(1)), {
      samples: 20_000,
      generator,
    }).item();
    expect(Math.abs(sampled - whole)).toBeLessThan(0.02);
  });
});

test("a mixture is the sum of layers by a softmax, times γ", async () => {
  const mix = scalarMix(3);
  const layers = [1, 2, 6].map((value) => tensor([[[value, -value]]])) as unknown as Tensor<
    [number, number, number],
    "float32"
  >[];
  expect(await mix(layers).array()).toEqual([[[3, -3]]]);
  mix.weight.write(Float32Array.of(0, Math.log(2), Math.log(5)));
  mix.gamma.write(Float32Array.of(0.5));
  const [[[value]]] = (await mix(layers).array()) as [[[number]]];
  expect(value).toBeCloseTo(0.5 * ((1 + 2 * 2 + 5 * 6) / 8), 5);
  expect(() => mix(layers.slice(1))).toThrow(/2 layers/);
});
