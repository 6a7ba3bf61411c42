/** Recurrent layers and cells against PyTorch's: outputs, states, all gradients; what they refuse. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { beforeEach, describe, expect, test } from "vitest";
import {
  compile,
  decodeWeights,
  encodeWeights,
  fromValues,
  functional,
  gradients,
  gru,
  gruCell,
  init,
  type LstmState,
  linear,
  lstm,
  lstmCell,
  type Module,
  module,
  nodeEngine,
  ones,
  plainEngine,
  randomGenerator,
  rnn,
  rnnCell,
  type Shape,
  scan,
  seed,
  type Tensor,
  tensor,
  useEngine,
  zeros,
} from "../../src/node.ts";

const file = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}`, import.meta.url));

type Named = Readonly<Record<string, number[]>>;

interface Case {
  readonly kind: "rnn" | "lstm" | "gru";
  readonly options: Readonly<Record<string, unknown>>;
  readonly lengths: number[] | null;
  readonly weights: Readonly<Record<string, { readonly shape: number[]; readonly values: number[] }>>;
  readonly x: number[];
  readonly xShape: number[];
  readonly state: Named;
  readonly stateShape: number[];
  readonly w: number[];
  readonly ws: Named;
  readonly outputs: number[];
  readonly outputsShape: number[];
  readonly last: Named;
  readonly gradients: Named;
  readonly dx: number[];
  readonly dstate: Named;
}

interface CellCase extends Pick<Case, "weights" | "x" | "state" | "ws" | "last" | "gradients" | "dx" | "dstate"> {
  readonly kind: "rnnCell" | "lstmCell" | "gruCell";
  readonly bias: boolean;
}

const { cases, cells, network } = JSON.parse(gunzipSync(file("recurrent.json.gz")).toString()) as {
  readonly cases: readonly Case[];
  readonly cells: readonly CellCase[];
  readonly network: { readonly x: number[]; readonly y: number[] };
};

type States = Readonly<Record<string, Tensor>>;
type Layer = Module & ((x: Tensor, input?: object) => { readonly outputs: Tensor; readonly state: States });
type Cell = Module & ((x: Tensor, state: States) => States);

const layers = { rnn, lstm, gru } as unknown as Record<Case["kind"], (...args: unknown[]) => Layer>;
const cellsOf = { rnnCell, lstmCell, gruCell } as unknown as Record<CellCase["kind"], (...args: unknown[]) => Cell>;

const floats = (values: readonly number[], shape: readonly number[]): Tensor =>
  fromValues(Float32Array.from(values), shape) as Tensor;

/** Normal numbers that are there at once. */
async function drawn<const S extends Shape>(key: number, shape: readonly [...S]): Promise<Tensor<S, "float32">> {
  return fromValues(Float32Array.from(await randomGenerator(key).normal(shape).data()), shape);
}

const statesOf = (named: Named, shape: readonly number[]): States =>
  Object.fromEntries(Object.entries(named).map(([name, values]) => [name, floats(values, shape)]));

async function expectValues(have: Tensor, want: readonly number[], what: string): Promise<void> {
  const values = await have.data();
  expect(values.length, what).toBe(want.length);
  const worst = Math.max(
    ...[...values].map((value, i) => Math.abs(value - want[i]!) / Math.max(1, Math.abs(want[i]!))),
  );
  expect(worst, what).toBeLessThan(5e-6);
}

function fill(model: Module, weights: Case["weights"]): void {
  const states = model.namedStates();
  expect([...states.keys()]).toEqual(Object.keys(weights));
  for (const [name, { shape, values }] of Object.entries(weights)) {
    expect(states.get(name)!.shape).toEqual(shape);
    states.get(name)!.write(Float32Array.from(values));
  }
}

/** The parts of a state in the order in which PyTorch has them. */
const partsOf = ({ h, c }: States): Tensor[] => (c ? [h!, c] : [h!]);

const products = (values: States, ws: States): Tensor =>
  Object.entries(values)
    .map(([name, value]) => value.mul(ws[name]!).sum() as Tensor)
    .reduce((a, b) => a.add(b));

const nameOf = ({ kind, options, lengths }: Case): string =>
  `${kind} ${JSON.stringify(options)}${lengths ? " with lengths" : ""}`;

describe.each([plainEngine(), nodeEngine({ threads: 1 })])("on $name", (engine) => {
  beforeEach(() => {
    useEngine(engine);
    seed(1);
  });

  test.each(cases.map((each) => [nameOf(each), each] as const))("%s is PyTorch's", async (_, each) => {
    const { kind, options, lengths, stateShape } = each;
    const model = layers[kind](2, 3, options);
    fill(model, each.weights);
    const parameters = model.parameters();
    const step = compile((x: Tensor, state: States, w: Tensor, ws: States) => {
      const given = { state, ...(lengths && { lengths: tensor(lengths, "int32") }) };
      const { outputs, state: last } = model(x, given);
      const loss = outputs.mul(w).sum().add(products(last, ws));
      return { outputs, last, gradients: gradients(loss, [...parameters, x, ...partsOf(state)]) };
    });
    const ran = step(
      floats(each.x, each.xShape),
      statesOf(each.state, stateShape),
      floats(each.w, each.outputsShape),
      statesOf(each.ws, stateShape),
    );
    await expectValues(ran.outputs, each.outputs, "outputs");
    for (const [name, want] of Object.entries(each.last)) await expectValues(ran.last[name]!, want, `last ${name}`);
    const wanted = [...Object.entries(each.gradients), ["x", each.dx] as const, ...Object.entries(each.dstate)];
    expect(ran.gradients.length).toBe(wanted.length);
    for (const [i, [name, want]] of wanted.entries())
      await expectValues(ran.gradients[i]!, want, `gradient of ${name}`);
  });

  test.each(cells.map((each) => [`${each.kind}${each.bias ? "" : " without biases"}`, each] as const))(
    "%s is PyTorch's, by its equations too",
    async (_, each) => {
      const cell = cellsOf[each.kind](2, 3, each.bias ? {} : { bias: false });
      fill(cell, each.weights);
      const weights = cell as never;
      const equations = {
        rnnCell: (x: Tensor, state: States) => functional.rnnEquations(x as never, state as never, weights),
        lstmCell: (x: Tensor, state: States) => functional.lstmEquations(x as never, state as never, weights),
        gruCell: (x: Tensor, state: States) => functional.gruEquations(x as never, state as never, weights),
      }[each.kind] as (x: Tensor, state: States) => unknown;
      const asFunction = {
        rnnCell: (x: Tensor, state: States) => functional.rnnCell(x as never, state as never, weights),
        lstmCell: (x: Tensor, state: States) => functional.lstmCell(x as never, state as never, weights),
        gruCell: (x: Tensor, state: States) => functional.gruCell(x as never, state as never, weights),
      }[each.kind] as (x: Tensor, state: States) => unknown;
      const parameters = cell.parameters();
      const forms = [cell, equations, asFunction] as readonly ((x: Tensor, state: States) => States)[];
      for (const form of forms) {
        const step = compile((x: Tensor, state: States, ws: States) => {
          const last = form(x, state);
          return {
            last,
            gradients: gradients(products(last, ws), [...parameters, x, ...partsOf(state)]),
          };
        });
        const ran = step(floats(each.x, [3, 2]), statesOf(each.state, [3, 3]), statesOf(each.ws, [3, 3]));
        for (const [name, want] of Object.entries(each.last)) await expectValues(ran.last[name]!, want, name);
        const wanted = [...Object.entries(each.gradients), ["x", each.dx] as const, ...Object.entries(each.dstate)];
        for (const [i, [name, want]] of wanted.entries())
          await expectValues(ran.gradients[i]!, want, `gradient of ${name}`);
      }
    },
  );
});

describe("recurrent layers", () => {
  beforeEach(() => {
    useEngine(nodeEngine({ threads: 1 }));
    seed(1);
  });

  test("take a state_dict of PyTorch's as it is", async () => {
    const [encoder, head] = [lstm(2, 3, { layers: 2, bidirectional: true }), linear(6, 2)];
    const model = module("Network", { encoder, head }, (x: Tensor<[2, 5, 2], "float32">) => head(encoder(x).outputs));
    decodeWeights(model, file("recurrent.safetensors"));
    await expectValues(model(fromValues(Float32Array.from(network.x), [2, 5, 2])), network.y, "y");
    decodeWeights(model, await encodeWeights(model));
  });

  test.each([
    ["rnn", rnn(3, 4, { layers: 2 })],
    ["rnn of relu", rnn(3, 4, { layers: 2, activation: "relu" })],
    ["lstm", lstm(3, 4, { layers: 2 })],
    ["gru", gru(3, 4, { layers: 2 })],
  ] as const)("%s: single steps give what the loop gives, in loops of one's own too", async (_, made) => {
    const model = made as unknown as Layer & { cell: Layer; zeroState(batch: number): States };
    const x = (await drawn(3, [2, 5, 3])) as Tensor;
    const whole = model(x);
    let state = model.zeroState(2);
    const outputs: Tensor[] = [];
    for (let t = 0; t < 5; t++) {
      const stepped = model.cell(x.slice(null, [t, t + 1]).reshape([2, 3]) as Tensor, state) as unknown as {
        readonly output: Tensor;
        readonly state: States;
      };
      state = stepped.state;
      outputs.push(stepped.output);
    }
    const looped = scan(
      (state: States, x: Tensor) => {
        const next = model.cell(x, state) as unknown as { readonly output: Tensor; readonly state: States };
        return [next.state, next.output];
      },
      { init: model.zeroState(2), xs: x.transpose(1, 0, 2) as Tensor },
    );

    const wanted = [...(await whole.outputs.data())];
    for (const [t, output] of outputs.entries()) {
      const at = (row: number): number[] => wanted.slice((row * 5 + t) * 4, (row * 5 + t + 1) * 4);
      await expectValues(output, [...at(0), ...at(1)], `step ${t}`);
    }
    await expectValues(looped.outputs.transpose(1, 0, 2) as Tensor, wanted, "the loop");
    for (const name of Object.keys(state)) {
      await expectValues(state[name]!, [...(await whole.state[name]!.data())], name);
      await expectValues(looped.state[name]!, [...(await whole.state[name]!.data())], name);
    }
  });

  test("a state goes through a compiled function and back, chunk by chunk", async () => {
    const model = lstm(2, 4);
    const x = await drawn(1, [3, 6, 2]);
    const run = compile((x: Tensor<[3, number, 2], "float32">, state: LstmState<[1, 3, 4]>) => model(x, { state }));
    const whole = run(x, model.zeroState(3));
    const first = run(x.slice(null, [0, 2]), model.zeroState(3));
    const second = run(x.slice(null, [2, 6]), first.state);
    await expectValues(second.state.c, [...(await whole.state.c.data())], "c");
    await expectValues(second.outputs, [...(await whole.outputs.slice(null, [2, 6]).data())], "outputs");
  });

  test("a mask is lengths, and padding before and between; what padding holds does not matter", async () => {
    const model = gru(2, 3, { layers: 2, bidirectional: true });
    const x = await (await drawn(1, [2, 4, 2])).data();
    const broken = Float32Array.from(x);
    broken.fill(Number.NaN, 8 + 2 * 2, 16); //  the second example has two steps
    const mask = tensor([
      [true, true, true, true],
      [true, true, false, false],
    ]);
    const wanted = model(fromValues(x as Float32Array, [2, 4, 2]), { lengths: tensor([4, 2], "int32") });
    const target = fromValues(broken, [2, 4, 2]);
    const loss = compile((x: Tensor<[2, 4, 2], "float32">) => {
      const ran = model(x, { mask });
      return { ...ran, gradients: gradients(ran.outputs.square().sum(), [...model.parameters(), x]) };
    })(target);
    await expectValues(loss.outputs, [...(await wanted.outputs.data())], "outputs");
    await expectValues(loss.state.h, [...(await wanted.state.h.data())], "h");
    for (const gradient of loss.gradients) expect([...(await gradient.data())].every(Number.isFinite)).toBe(true);
    // Two real steps with padding around them are those two steps.
    const [alone, around] = [lstm(2, 3, { bidirectional: true }), [false, true, false, true]];
    const spread = floats([9, 9, 1, 2, 9, 9, 3, 4], [1, 4, 2]) as Tensor<[1, 4, 2], "float32">;
    const dense = tensor([
      [
        [1, 2],
        [3, 4],
      ],
    ]);
    const [a, b] = [alone(spread, { mask: tensor([around]) }), alone(dense)];
    await expectValues(a.state.c, [...(await b.state.c.data())], "c");
    const rows = (await a.outputs.array())[0]!;
    expect([rows[1], rows[3]]).toEqual((await b.outputs.array())[0]);
    expect([rows[0], rows[2]]).toEqual([Array(6).fill(0), Array(6).fill(0)]);
  });

  test("examples of no steps and batches of no steps keep their state", async () => {
    const model = lstm(2, 3);
    const state = { h: tensor([[[1, 2, 3]]]), c: tensor([[[4, 5, 6]]]) };
    const none = model(zeros([1, 2, 2]), { state, lengths: tensor([0], "int32") });
    expect(await none.state.c.array()).toEqual([[[4, 5, 6]]]);
    expect(await none.outputs.sum().item()).toBe(0);
    const empty = model(zeros([1, 0, 2]), { state });
    expect(empty.outputs.shape).toEqual([1, 0, 3]);
    expect(await empty.state.h.array()).toEqual([[[1, 2, 3]]]);
  });

  test("dropout lies between layers, in training alone, at its rate, its mean kept", async () => {
    // The first layer gives 1 everywhere, and the second what it gets.
    const generator = randomGenerator(5);
    const options = { layers: 2, activation: "relu", dropout: 0.25, bias: false, generator } as const;
    const model = rnn(1, 512, { ...options, weight: init.zeros, recurrentWeight: init.zeros });
    model.weight_ih_l0.write(new Float32Array(512).fill(1));
    const second = model.weight_ih_l1!;
    second.write(Float32Array.from({ length: 512 * 512 }, (_, i) => Number(i % 513 === 0)));
    const x = ones([2, 8, 1]);
    model.eval();
    expect(new Set(await model(x).outputs.data())).toEqual(new Set([1]));
    model.train();
    const step = compile((x: Tensor<[2, 8, 1], "float32">) => model(x).outputs);
    const [a, b] = [await step(x).data(), await step(x).data()];
    for (const values of [a, b]) {
      const kept = [...values].filter((value) => value !== 0);
      expect(new Set(kept)).toEqual(new Set([Math.fround(4 / 3)]));
      // 8,192 draws: four standard deviations are 0.019.
      expect(Math.abs(kept.length / values.length - 0.75)).toBeLessThan(0.019);
    }
    expect([...a]).not.toEqual([...b]);
    expect([...a.slice(0, 512)]).not.toEqual([...a.slice(512, 1024)]);
    const alone = rnn(1, 8, { dropout: 0.9, activation: "relu", bias: false, weight: init.ones });
    expect((await alone(x).outputs.data()).every((value) => value > 0)).toBe(true);
  });

  test("initial values are PyTorch's by default, or those asked for", async () => {
    const model = gru(2, 16, { layers: 2 });
    for (const parameter of model.parameters()) {
      const values = [...(await parameter.data())];
      expect(Math.max(...values.map(Math.abs)), parameter.label).toBeLessThanOrEqual(0.25);
      expect(Math.max(...values.map(Math.abs)), parameter.label).toBeGreaterThan(0.1);
    }
    const chosen = rnn(2, 2, { recurrentWeight: init.identity, bias: init.zeros, activation: "relu" });
    expect(await chosen.weight_hh_l0.array()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(await chosen.bias_ih_l0!.array()).toEqual([0, 0]);
    expect(rnn(2, 2, { bias: false }).bias_ih_l0).toBeUndefined();
    expect(lstm(3, 8, { layers: 2, bidirectional: true }).summary()).toContain("weight_hh_l1_reverse");
  });
});

test("lengths beyond the sequence stop the run", async () => {
  useEngine(nodeEngine({ threads: 1 }));
  const model = module("Tagger", { encoder: gru(2, 3) }, (lengths: Tensor<[2], "int32">) =>
    model.encoder(zeros([2, 4, 2]), { lengths }),
  ) as unknown as Module & { readonly encoder: Layer } & ((lengths: Tensor<[2], "int32">) => { outputs: Tensor });
  for (const lengths of [
    [5, 1],
    [4, -1],
  ])
    await expect(model(tensor(lengths, "int32") as Tensor<[2], "int32">).outputs.data()).rejects.toThrow(
      /gru: a length is (5, at position 0|-1, at position 1) of the lengths \(int32\[2\]\)\n {2}in: {2}encoder\n {2}fix: give lengths from 0 to 4, the number of steps$/,
    );
  // Lengths that the graph computes are checked by the run.
  await expect(model(tensor([1, 2], "int32").mul(3) as Tensor<[2], "int32">).outputs.data()).rejects.toThrow(
    /gru: a length is 6, at position 1 of the lengths .*\n {2}in: {2}encoder\n {2}fix: give lengths from 0 to 4/,
  );
  const state = compile((lengths: Tensor<[2], "int32">) => model(lengths).outputs);
  expect((await state(tensor([4, 0], "int32")).data()).length).toBe(24);
});

test("what does not fit is told, with the path of the layer", () => {
  const model = module("Tagger", { encoder: lstm(2, 3, { layers: 2 }) }, (x: Tensor, input: object) =>
    (model.encoder as unknown as Layer)(x, input),
  ) as Layer & { readonly encoder: Module & { cell(x: Tensor, state: object): unknown } };
  const both = lstm(2, 3, { bidirectional: true }) as unknown as typeof model.encoder;
  const x = zeros([4, 5, 2]) as Tensor;
  const sentence = (call: () => unknown): string => {
    try {
      call();
    } catch (error) {
      return (error as Error).message;
    }
    return "nothing was thrown";
  };
  const states = (...shape: number[]): States => ({ h: zeros(shape) as Tensor, c: zeros(shape) as Tensor });
  expect([
    sentence(() => model(zeros([4, 5, 3]) as Tensor, {})),
    sentence(() => model(x, { state: states(1, 4, 3) })),
    sentence(() => model(x, { state: { h: zeros([2, 4, 3]) } })),
    sentence(() => model(x, { lengths: zeros([5], "int32") })),
    sentence(() => model(x, { lengths: zeros([4]) })),
    sentence(() => model(x, { lengths: [5, 5, 5, 5] })),
    sentence(() => model(x, { mask: zeros([5, 4], "bool") })),
    sentence(() => model(x, { mask: zeros([4, 5], "bool"), lengths: zeros([4], "int32") })),
    sentence(() => model(x, { length: 3 })),
    sentence(() => model.encoder.cell(zeros([4, 3]) as Tensor, states(2, 4, 3))),
    sentence(() => both.cell(zeros([4, 2]) as Tensor, states(2, 4, 3))),
    sentence(() => lstm(2, 3, { hidden: 3 } as object)),
    sentence(() => lstm(2, 3, { dropout: 1 })),
    sentence(() => lstm(2, 0)),
    sentence(() => lstm(2, 3, { bidirectional: 1 } as object)),
    sentence(() => rnn(2, 3, { activation: "gelu" } as object)),
    sentence(() => functional.lstmCell(zeros([4, 2]), { h: zeros([4, 3]), c: zeros([4, 3]) }, gruCell(2, 3))),
    sentence(() => functional.gruCell(zeros([4, 2]), { h: zeros([4, 3]) }, {} as never)),
  ]).toMatchInlineSnapshot(`
    [
      "lstm: x is [4, 5, 3]
      in:  encoder
      fix: give [batch, time, inputs], and 2 inputs",
      "lstm: the state's h is [1, 4, 3]
      in:  encoder
      fix: give [2, 4, 3], such as the state that came back, or zeroState(batch)",
      "lstm: argument 2 is a record { state }
      fix: give { h, c }, each a tensor for \`state\`, which is a record { h }",
      "lstm: the lengths are int32[5], and x has 4 sequences of 5 steps
      in:  encoder
      fix: give int32[4], how many steps of each sequence are real: tensor(lengths, "int32")",
      "lstm: the lengths are float32[4], and x has 4 sequences of 5 steps
      in:  encoder
      fix: give int32[4], how many steps of each sequence are real: tensor(lengths, "int32")",
      "lstm: argument 2 is a record { lengths }
      fix: give a tensor, made with tensor(values) for \`lengths\`, which is an array",
      "lstm: the mask is bool[5, 4]
      in:  encoder
      fix: give bool[4, 5], true where a step is real",
      "lstm: it is given lengths and a mask
      in:  encoder
      fix: give one of the two",
      "lstm: argument 2 is a record { length }
      fix: there is no option "length": did you mean lengths?; the options are state, lengths, mask",
      "lstm.cell: x is [4, 3]
      fix: give [batch, inputs], and 2 inputs",
      "lstm.cell: a layer that also reads backward has no single steps
      fix: make the layer without \`bidirectional\`, or call it with whole sequences",
      "lstm: the options are a record { hidden }
      fix: there is no option "hidden"; the options are layers, bidirectional, dropout, batchFirst, weight, recurrentWeight, bias, generator",
      "dropout: the rate is 1
      fix: give a number from 0 to below 1",
      "lstm: the sizes are 2, 0, 1
      fix: give whole numbers from 1 on",
      "lstm: argument 3 is a record { bidirectional, dropout, batchFirst, layers }
      fix: give true or false for \`bidirectional\`, which is 1",
      "rnn: the activation is gelu
      fix: give "tanh" or "relu"",
      "lstmCell: weight_ih is [9, 2], weight_hh [9, 3], a bias [9]
      fix: give [4·hidden, inputs], [4·hidden, hidden] and biases [4·hidden]",
      "gruCell: argument 3 is a record {  }
      fix: give { weight_ih, weight_hh, bias_ih, bias_hh }, or a cell such as lstmCell(inputs, hidden)",
    ]
  `);
});
