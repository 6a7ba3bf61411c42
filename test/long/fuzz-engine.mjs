/**
 * Random calls of engines and of what is built on them: `npm run fuzz:engine -- [calls] [seed]`, 100,000 calls unless said otherwise. Buffers,
 * programs, sessions, variables and compiled functions are made, used, used wrongly, released twice, used after that and dropped, mostly
 * without waiting for what is under way, while engines change and the garbage collector is forced. Each outcome has to be the right value
 * or an error of ours, within a second of processor time. Prints what came, and exits with 1 for a fault.
 */
import {
  compile,
  encodeWeights,
  evaluate,
  fromValues,
  GlissadeError,
  linear,
  nodeEngine,
  plainEngine,
  read,
  state,
  tensor,
  useEngine,
  zeros,
} from "../../dist/node.js";

const calls = Number(process.argv[2] ?? 100_000);
let random = Number(process.argv[3] ?? 1);
/** A whole number below `limit` (xorshift). */
function below(limit) {
  random ^= random << 13;
  random ^= random >>> 17;
  random ^= random << 5;
  return (random >>> 0) % limit;
}
const pick = (list) => list[below(list.length)];
const oneIn = (count) => below(count) === 0;

const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };
const sizeOf = (shape) => shape.reduce((size, axis) => size * axis, 1);
/** Small whole numbers: sums of them are exact in every dtype. */
const valuesFor = ({ shape, dtype }) => arrays[dtype].from({ length: sizeOf(shape) }, () => below(2));

const engines = [
  nodeEngine({ implementation: "direct", threads: 1 }),
  nodeEngine({ implementation: "direct", threads: 2, onTheSpot: 0 }),
  nodeEngine({ implementation: "direct", threads: 1, kernels: false }),
  nodeEngine({ implementation: "direct", threads: 2, kernels: false }),
  nodeEngine({ implementation: "binding", threads: 1 }),
  plainEngine(),
];

// What is checked

const counts = { right: 0, refused: 0, unchecked: 0 };
const refusals = new Map();
let faults = 0;
function fault(what, problem) {
  if (faults++ < 20) console.error(`call ${call}, ${what}:`, problem);
}
let call = 0;

/** Notes an error: one of ours, or a fault. */
function refused(what, error) {
  if (!(error instanceof GlissadeError)) return fault(what, error);
  counts.refused++;
  refusals.set(what, (refusals.get(what) ?? 0) + 1);
}

/** Compares values with what they have to be; `undefined` where several are right. */
function compare(what, got, wanted) {
  if (wanted === undefined) {
    counts.unchecked++;
    return;
  }
  const isNear = (a, b) => Object.is(a, b) || a === b || Math.abs(a - b) <= 1e-5 * (1 + Math.abs(b));
  const rounded = got instanceof Float32Array ? Float32Array.from(wanted) : wanted;
  if (got.length === rounded.length && rounded.every((value, i) => isNear(got[i], value))) counts.right++;
  else fault(what, `wrong values: ${[...got].slice(0, 8)} instead of ${[...wanted].slice(0, 8)}`);
}

/** What nobody has waited for yet. */
let underWay = [];
/** Goes on when `work` is done, while other calls are made. */
function later(what, work, done = () => {}) {
  underWay.push(
    Promise.resolve(work)
      .then(done)
      .catch((error) => refused(what, error)),
  );
}

// Engines: buffers, programs, sessions

const programs = [];
/** Programs as the compiler makes them for an engine, by watching what it loads. */
async function programsOf(engine) {
  const found = [];
  useEngine({
    ...engine,
    name: engine.name,
    get target() {
      return engine.target;
    },
    load: (program) => {
      found.push(program);
      return engine.load(program);
    },
  });
  const variable = state(zeros([3, 4]));
  await compile((x, y) => [x.matmul(y), x.add(1).mul(2).relu()])(tensor([[1, 2]]), tensor([[1], [2]]))[0].array();
  await compile((x) => x.exp().sum([0]).add(x.tanh().mul(x)))(
    tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  ).array();
  await compile((i) => i.add(i).mul(3))(tensor([1, 2, 3], "int32")).array();
  await compile((x) => void variable.assign(variable.add(x).mul(0.5)))(tensor([1, 2, 3, 4]));
  await read(variable);
  return found;
}

const noMore = 40;
const buffers = [];
const sessions = [];
function keep(list, item) {
  list.push(item);
  if (list.length > noMore) list.splice(below(list.length), 1); //  dropped without a release
}

const wrongTypes = [
  { shape: [2], dtype: "float16" },
  { shape: [-1], dtype: "float32" },
  { shape: [1.5], dtype: "int32" },
  { shape: [Number.NaN], dtype: "bool" },
  { shape: [1e6, 1e6], dtype: "float64" },
  { shape: "2", dtype: "float32" },
  { shape: [2], dtype: "constructor" },
  { dtype: "float32" },
  null,
  undefined,
];
const wrongValues = [
  new Float32Array(5),
  new Float64Array(2),
  new Uint8Array(0),
  new BigInt64Array(2),
  [1, 2],
  null,
  "12",
  7,
];
const wrongPrograms = [
  null,
  undefined,
  {},
  { inputs: [], outputs: [], onnx: () => new Uint8Array(0), evaluate: () => [] },
  { inputs: [], outputs: [], onnx: () => Uint8Array.of(8, 10, 255, 255, 3, 1), evaluate: () => [] },
  { inputs: [], outputs: [], onnx: () => "model", evaluate: () => [] },
];

function makeBuffer(engine, type) {
  const values = oneIn(4) ? undefined : valuesFor(type);
  const buffer = engine.buffer(type, values);
  const made = {
    engine,
    buffer,
    type,
    values: values ? Float64Array.from(values) : new Float64Array(sizeOf(type.shape)),
  };
  Object.assign(made, { released: false, users: 0, changes: 0 });
  if (values && oneIn(2)) structuredClone(values.buffer, { transfer: [values.buffer] }); //  the engine has its own copy
  keep(buffers, made);
  return made;
}

/** A buffer for a port: most of the time one that fits. */
function bufferFor(engine, type) {
  if (oneIn(25)) return pick(buffers);
  const fitting = buffers.filter(
    (known) =>
      known.engine === engine &&
      !known.released &&
      known.type.dtype === type.dtype &&
      `${known.type.shape}` === `${type.shape}`,
  );
  return fitting.length > 0 && !oneIn(3) ? pick(fitting) : makeBuffer(engine, type);
}

function run(session) {
  const { engine, program } = session;
  const inputs = program.inputs.map(({ type }) => bufferFor(engine, type));
  const outputs = program.outputs.map(({ type }, i) => {
    const replaced = program.inPlace?.get(i);
    return replaced !== undefined && oneIn(2) ? inputs[replaced] : bufferFor(engine, type);
  });
  const all = [...new Set([...inputs, ...outputs])];
  const [given, taken] = [inputs, outputs].map((list) => list.map((known) => known?.buffer));
  if (oneIn(30)) pick([given, taken]).pop();
  if (oneIn(60)) pick([given, taken]).push(pick([undefined, null, {}, 3]));
  const isAlone = all.every((known) => known && known.users === 0 && known.values !== undefined && !known.released);
  let wanted;
  if (isAlone && inputs.every(({ type }, i) => sizeOf(type.shape) === sizeOf(program.inputs[i].type.shape)))
    wanted = program.evaluate(inputs.map(({ values }) => values));
  for (const known of all) known.users++;
  for (const known of outputs) known.changes++;
  const before = all.map(({ changes }) => changes);
  const work = session.session.run(...(oneIn(100) ? [undefined, taken] : [given, taken]));
  const isStill = () => wanted !== undefined && all.every(({ changes }, i) => changes === before[i]);
  underWay.push(
    Promise.resolve(work).then(
      () => {
        for (const known of all) known.users--;
        const known = isStill();
        for (const [i, output] of outputs.entries()) output.values = known ? wanted[i] : undefined;
      },
      (error) => {
        for (const known of all) known.users--;
        for (const output of outputs) if (!isStill()) output.values = undefined;
        refused("run", error);
      },
    ),
  );
}

const engineCalls = {
  buffer: () =>
    void makeBuffer(
      pick(engines),
      oneIn(2)
        ? pick(pick(programs).program.inputs).type
        : { shape: [below(3), below(4)], dtype: pick(Object.keys(arrays)) },
    ),
  "wrong buffer": () =>
    void pick(engines).buffer(
      ...(oneIn(2) ? [pick(wrongTypes)] : [{ shape: [2], dtype: "float32" }, pick(wrongValues) ?? "none", oneIn(2)]),
    ),
  write: () => {
    const known = pick(buffers);
    const values = valuesFor(known.type);
    known.buffer.write(values);
    known.changes++;
    known.values = known.users === 0 ? Float64Array.from(values) : undefined;
  },
  "wrong write": () => {
    const known = pick(buffers);
    const values = pick(wrongValues);
    const isRightKind =
      values instanceof arrays[known.type.dtype] || (values instanceof Float64Array && known.engine.name === "plain");
    if (isRightKind && values.length === sizeOf(known.type.shape)) return;
    known.buffer.write(values);
    fault("wrong write", "values that do not fit were taken");
  },
  read: () => {
    const known = pick(buffers);
    const wanted = known.users === 0 && !known.released ? known.values : undefined;
    later("read", known.buffer.read(), (values) => compare("read", values, wanted));
    if (known.released) fault("read", "a buffer was read after its release");
  },
  release: () => {
    const known = pick(buffers);
    known.buffer.release();
    known.released = true;
    if (oneIn(3)) buffers.splice(buffers.indexOf(known), 1);
  },
  load: () => {
    const { engine, program } = pick(programs);
    later("load", engine.load(program), (session) => keep(sessions, { engine, program, session }));
  },
  "wrong load": () => later("wrong load", pick(engines).load(pick(wrongPrograms))),
  run: () => sessions.length > 0 && run(pick(sessions)),
  "release a session": () => {
    if (sessions.length === 0) return;
    const known = pick(sessions);
    known.session.release();
    if (oneIn(3)) sessions.splice(sessions.indexOf(known), 1);
  },
  "end profiling": () => later("end profiling", pick(engines).endProfiling?.()),
};

// What is built on engines: variables and compiled functions

/** A variable of four small whole numbers, and what it has to hold behind all that has been asked for. */
function variableOf(state, values) {
  return { state, values };
}
const variables = [];
const functions = [];

function makeFunction(variable) {
  const { state } = variable;
  const add = compile((x) => {
    const next = state.add(x);
    state.assign(next);
    return next.sum();
  });
  const table = tensor([0, 1, 2, 3]);
  const choose = compile((i) => {
    const next = state.add(table.take(i));
    state.assign(next);
    return next;
  });
  keep(functions, { variable, add, choose });
}

function makeVariable() {
  const values = Float32Array.from({ length: 4 }, () => below(10));
  const variable = variableOf(state(fromValues(values, [4])), Float64Array.from(values));
  keep(variables, variable);
  makeFunction(variable);
}

const wrongArguments = [undefined, null, "x", tensor([1, 2, 3]), tensor([9], "int32"), [tensor([1])], {}, () => 1];
const network = linear(2, 2);
const weights = await encodeWeights(network);

const publicCalls = {
  "a variable": () => oneIn(4) && makeVariable(),
  compile: () => oneIn(4) && makeFunction(pick(variables)),
  "compile what throws": () => {
    const f = compile(
      pick([
        () => null,
        () => tensor([1]).add(tensor([1, 2, 3])),
        (x) => x.missing,
        () => pick(variables).state.array(),
      ]),
    );
    try {
      later("compile what throws", f(tensor([1])));
    } catch (error) {
      // The function's own slip is its own error: `null`'s member, or a method that there is not.
      if (!(error instanceof TypeError)) refused("compile what throws", error);
    }
  },
  step: () => {
    const { variable, add } = pick(functions);
    const x = Float32Array.from({ length: 4 }, () => below(3));
    const result = add(tensor([...x]));
    const next = variable.values?.map((value, i) => value + x[i]);
    variable.values = next;
    if (oneIn(2)) later("step", result.item(), (sum) => compare("step", [sum], next && [next.reduce((a, b) => a + b)]));
  },
  "wrong step": () => {
    const { add, choose } = pick(functions);
    later("wrong step", pick([add, choose])(pick(wrongArguments)));
    fault("wrong step", "a wrong argument was taken");
  },
  "step with indices": () => {
    const { variable, choose } = pick(functions);
    const i = Array.from({ length: 4 }, () => below(oneIn(4) ? 6 : 4));
    const isRight = i.every((index) => index < 4);
    const result = choose(tensor(i, "int32"));
    const next = variable.values?.map((value, at) => value + i[at]);
    if (!isRight) fault("step with indices", "an index outside was taken");
    variable.values = next;
    if (oneIn(2)) later("step with indices", result.array(), (values) => compare("step with indices", values, next));
  },
  "read variables": () => {
    const some = Array.from({ length: 1 + below(3) }, () => pick(variables));
    const wanted = some.map(({ values }) => values);
    later("read variables", read(some.map(({ state }) => state)), (all) =>
      all.forEach((values, i) => void compare("read variables", values, wanted[i])),
    );
  },
  "evaluate an expression": () => {
    const { state, values } = pick(variables);
    const factor = below(5);
    later("evaluate an expression", state.mul(factor).array(), (got) =>
      compare(
        "evaluate an expression",
        got,
        values?.map((value) => value * factor),
      ),
    );
  },
  assign: () => {
    const variable = pick(variables);
    const by = below(4);
    variable.state.assign(variable.state.add(by));
    variable.values = variable.values?.map((value) => value + by);
    later("assign", evaluate(...(oneIn(2) ? [variable.state] : [])));
  },
  "wrong assign": () => {
    pick(variables).state.assign(pick(wrongArguments));
    fault("wrong assign", "a wrong value was taken");
  },
  "write a variable": () => {
    const variable = pick(variables);
    const values = Float32Array.from({ length: 4 }, () => below(10));
    variable.state.write(values);
    variable.values = Float64Array.from(values);
  },
  "wrong write of a variable": () => {
    pick(variables).state.write(pick(wrongValues));
    fault("wrong write of a variable", "wrong values were taken");
  },
  fork: () => {
    const { state, values } = pick(variables);
    keep(variables, variableOf(state.fork(), values));
  },
  save: () => later("save", encodeWeights(network), (bytes) => compare("save", bytes.slice(-32), weights.slice(-32))),
  "another engine": () => useEngine(pick(engines)),
  "a wrong engine": () => {
    useEngine(pick([null, undefined, {}, 3, "node", { name: "mine" }]));
    fault("a wrong engine", "something that is no engine was taken");
  },
  collect: () => oneIn(3) && gc(oneIn(3) ? undefined : { type: "minor" }),
  "wait for all": settle,
};

async function settle() {
  const work = underWay;
  underWay = [];
  await Promise.all(work);
}

// The calls

for (const engine of engines) for (const program of await programsOf(engine)) programs.push({ engine, program });
useEngine(engines[0]);
for (let i = 0; i < 4; i++) makeVariable();
for (let i = 0; i < 8; i++) engineCalls.buffer();

const often = [
  "run",
  "run",
  "run",
  "run",
  "read",
  "read",
  "write",
  "buffer",
  "step",
  "step",
  "read variables",
  "another engine",
];
const known = { ...engineCalls, ...publicCalls };
const names = [...Object.keys(known), ...often];
const started = process.cpuUsage();
let slowest = { seconds: 0, name: "" };
process.on("unhandledRejection", (error) => refused("an error that nobody waited for", error));
for (; call < calls; call++) {
  const name = underWay.length > 200 ? "wait for all" : pick(names);
  const before = process.cpuUsage();
  try {
    if (buffers.length < 4) makeBuffer(pick(engines), { shape: [2], dtype: "float32" });
    const result = known[name]();
    if (result instanceof Promise) await result;
    else if (oneIn(5))
      await undefined; //  what is under way goes on a little
    else if (oneIn(20)) await new Promise((resolve) => setImmediate(resolve));
  } catch (error) {
    refused(name, error);
  }
  const { user, system } = process.cpuUsage(before);
  const seconds = (user + system) / 1e6;
  if (seconds > slowest.seconds) slowest = { seconds, name };
}
await settle();
gc();
const { user, system } = process.cpuUsage(started);
if (slowest.seconds > 1) fault(slowest.name, `it took ${slowest.seconds} s of processor time`);
console.log(
  `${calls} calls: ${counts.right} values right, ${counts.refused} refused, ${counts.unchecked} values unchecked, ${faults} faults;`,
  `slowest ${slowest.seconds.toFixed(2)} s (${slowest.name}), ${((user + system) / 1e6).toFixed(0)} s of processor time`,
);
if (process.env.REFUSALS) console.log(Object.fromEntries(refusals));
process.exit(faults > 0 ? 1 : 0);
