/** Makes one ONNX model for all sizes of some axes from the models for a few sizes. */
import { create } from "@bufbuild/protobuf";
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  NodeProtoSchema,
  type TensorProto,
  TensorProto_DataType,
  TensorProtoSchema,
  type ValueInfoProto,
} from "onnx-buf";
import { constantOf, type Formula, formulaText, isFixed, isNeverNegative, isSize, type Probes } from "./formula.ts";

/** Why axes cannot be open. */
export interface Obstacle {
  /** The axes, as their places in the list of names. */
  readonly axes: readonly number[];
  readonly problem: string;
}

/** What opening takes beside the models. */
export interface OpenAxesOptions {
  /** The names of the open axes. */
  readonly names: readonly string[];
  /** The sizes that the models were made for. */
  readonly probes: Probes;
  /** The op and the module that a node comes from, in words. */
  originOf(node: NodeProto): string | undefined;
}

/**
 * Returns the first model with axes open, if the models for all `probes.points` differ only in sizes and in numbers that follow from the
 * sizes; otherwise what prevents it. Constants without bytes, which stand for equal weights, are not compared. Changes the first model.
 */
export function openAxes(models: readonly ModelProto[], options: OpenAxesOptions): ModelProto | Obstacle {
  const graphs = models.map(({ graph }) => graph!);
  const opening = new AxesOpening(graphs, options);
  const obstacle = opening.graph(graphs);
  if (obstacle) return obstacle;
  graphs[0]!.node.unshift(...opening.nodes);
  graphs[0]!.initializer.push(...opening.constants);
  return models[0]!;
}

/** A part of a model that one run computes from the sizes. */
type Computed = { readonly name: string } | Obstacle;

/** Opens a model's graph and the graphs inside its nodes. */
class AxesOpening {
  /** Nodes that compute, from the sizes, what was constant; they come before all others. */
  readonly nodes: NodeProto[] = [];
  /** The constants of these nodes. */
  readonly constants: TensorProto[] = [];
  readonly #options: OpenAxesOptions;
  /** For each axis, the input whose size it is, and the place of the axis there. */
  readonly #measured: readonly ({ readonly input: string; readonly axis: number } | undefined)[];
  /** The names that are used as anything else than the shape of a Reshape. */
  readonly #values = new Set<string>();
  /** The names of what the nodes compute, by what it is. */
  readonly #made = new Map<string, string>();
  readonly #taken: Set<string>;

  constructor(graphs: readonly GraphProto[], options: OpenAxesOptions) {
    this.#options = options;
    const [first] = graphs;
    this.#measured = options.names.map((_, open) => {
      for (const [i, info] of first!.input.entries())
        for (const [axis, formula] of this.#dims(graphs.map(({ input }) => input[i]!)).entries())
          if (formula && isSize(formula, open)) return { input: info.name, axis };
      return undefined;
    });
    for (const node of nodesIn(first!))
      for (const [i, name] of node.input.entries()) if (node.opType !== "Reshape" || i !== 1) this.#values.add(name);
    const ports = [...first!.input, ...first!.output, ...first!.initializer].map(({ name }) => name);
    this.#taken = new Set([...ports, ...nodesIn(first!).flatMap(({ output }) => output)]);
  }

  /** Returns a name that nothing else in the model has. */
  #free(name: string): string {
    if (this.#taken.has(name)) return this.#free(`${name}_`);
    this.#taken.add(name);
    return name;
  }

  /** Opens one graph, or returns what prevents it. */
  graph(graphs: readonly GraphProto[]): Obstacle | undefined {
    const [first] = graphs;
    for (const [point, { node, initializer }] of graphs.entries()) {
      const different = first!.node.findIndex((each, i) => !node[i] || textOf(each) !== textOf(node[i]!));
      if (different < 0 && node.length === first!.node.length && initializer.length === first!.initializer.length)
        continue;
      const at = first!.node[different] ?? first!.node.at(-1);
      return this.#obstacle(point, `${(at && this.#origin(at)) ?? "the model"} is computed in another way`);
    }
    for (const [i, { attribute }] of first!.node.entries())
      for (const [k, { g }] of attribute.entries()) {
        const obstacle = g && this.graph(graphs.map(({ node }) => node[i]!.attribute[k]!.g!));
        if (obstacle) return obstacle;
      }
    const computed = new Set<string>();
    for (const [i, constant] of first!.initializer.entries()) {
      const all = graphs.map(({ initializer }) => initializer[i]!);
      const result = this.#opened(all, () => {
        const user = nodesIn(first!).find(({ input }) => input.includes(constant.name));
        return (user && this.#origin(user)) ?? "the model";
      });
      if (result === undefined) continue;
      if ("problem" in result) return result;
      computed.add(result.name);
    }
    first!.initializer = first!.initializer.filter(({ name }) => !computed.has(name));
    for (const side of ["input", "output", "valueInfo"] as const)
      for (const [i, info] of first![side].entries())
        this.#openInfo(
          info,
          graphs.map((graph) => graph[side][i]!),
        );
    return undefined;
  }

  #origin(node: NodeProto): string | undefined {
    return this.#options.originOf(node) ?? (node.opType && `"${node.opType}"`);
  }

  /** What prevents opening, known from the difference between the first point and another. */
  #obstacle(point: number, what: string): Obstacle {
    const { names, probes } = this.#options;
    const axes = probes.changed(point);
    const sizes = (at: number): string =>
      axes.map((axis) => `${names[axis]} = ${probes.points[at]![axis]}`).join(" and ");
    return { axes, problem: `${what} for ${sizes(point)} than for ${sizes(0)}` };
  }

  /**
   * Returns undefined for a constant that is the same for all sizes, or that one Reshape can infer; the name of one that the model now
   * computes; and an obstacle for one that follows from the sizes in no known way.
   */
  #opened(all: readonly TensorProto[], user: () => string): Computed | undefined {
    const [constant] = all as [TensorProto, ...TensorProto[]];
    const different = all.findIndex(
      ({ name, dims, rawData }) =>
        name !== constant.name ||
        `${dims}` !== `${constant.dims}` ||
        (rawData.length > 0 && !equalBytes(rawData, constant.rawData)),
    );
    if (different < 0) return undefined;
    const sameForm = all.every(({ name, dims }) => name === constant.name && `${dims}` === `${constant.dims}`);
    if (!sameForm) return this.#obstacle(different, `${user()} has a constant of another shape`);
    const numbers = all.map(numbersOf);
    if (numbers.some((each) => each === undefined))
      return this.#obstacle(different, `${user()} has a constant with other values`);
    const parts = numbers[0]!.map((_, i) =>
      this.#part(
        numbers.map((each) => each![i]!),
        constant.dataType,
      ),
    );
    const unknown = parts.indexOf(undefined);
    if (unknown >= 0) {
      const values = numbers.map((each) => each![unknown]!);
      const changed = values.findIndex((value) => value !== values[0]);
      const { names, probes } = this.#options;
      const shown = [0, ...probes.points.keys()]
        .filter((point, i) => i === 0 || `${probes.changed(point)}` === `${probes.changed(changed)}`)
        .map((point) => {
          const sizes = probes.changed(changed).map((axis) => `${names[axis]} = ${probes.points[point]![axis]}`);
          return `${values[point]} for ${sizes.join(" and ")}`;
        });
      const axes = probes.changed(changed);
      const formula = values.every((value) => typeof value === "bigint") ? probes.formula(values) : undefined;
      if (formula)
        return {
          axes,
          problem: `${user()} has the number ${formulaText(formula, names)}, which small sizes make negative`,
        };
      return { axes, problem: `${user()} has a number that does not follow from the size: ${shown.join(", ")}` };
    }
    const known = parts as readonly Part[];
    const read = new Set(known.flatMap((part) => (part.formula ?? []).flatMap(({ powers }) => axesOf(powers))));
    for (const { power } of known) if (power) for (const axis of axesOf(power.powers)) read.add(axis);
    for (const axis of read)
      if (!this.#measured[axis])
        return { axes: [axis], problem: `${user()} needs the size, and the model takes no input that has the axis` };
    if (!this.#values.has(constant.name) && infer(constant, known)) return undefined;
    return { name: this.#compute(constant, known) };
  }

  /** How a number follows from the sizes, if it does. */
  #part(values: readonly (bigint | number)[], dataType: number): Part | undefined {
    const { probes } = this.#options;
    if (typeof values[0] === "bigint") {
      const formula = probes.formula(values as readonly bigint[]);
      // A negative constant is one for all sizes, such as the last place of an axis.
      return formula && (isFixed(formula) || isNeverNegative(formula)) ? { formula } : undefined;
    }
    const numbers = values as readonly number[];
    if (numbers.every((value) => value === numbers[0])) return { fixed: numbers[0]! };
    const error = dataType === TensorProto_DataType.FLOAT ? 2 ** -22 : 2 ** -50;
    const root = probes.root(numbers, error);
    if (root) return root;
    const power = probes.power(numbers, error);
    return power && { power };
  }

  /** Computes a constant from the sizes and returns its name. */
  #compute({ name, dims, dataType }: TensorProto, parts: readonly Part[]): string {
    const isFloat = dataType === TensorProto_DataType.FLOAT || dataType === TensorProto_DataType.DOUBLE;
    const each = joinedFixed(parts).map((part) => {
      if (part.power) return this.#power(part.power.factor, part.power.powers);
      if (part.fixed !== undefined) return this.#doubles(part.fixed);
      if (part.whole) return this.#integers(part.whole);
      const value = this.#formula(part.formula!);
      return isFloat ? this.#raised(this.#asDouble(value), part.exponent ?? 1) : value;
    });
    const type = isFloat ? TensorProto_DataType.DOUBLE : TensorProto_DataType.INT64;
    const joined = each.length === 1 ? each[0]! : this.#node("Concat", each, { axis: 0n });
    const shaped = dims.length === 1 ? joined : this.#node("Reshape", [joined, this.#integers(dims)]);
    if (dataType === type) this.#append("Identity", [shaped], {}, name);
    else this.#append("Cast", [shaped], { to: BigInt(dataType) }, name);
    return name;
  }

  /** The value of a formula, int64 [1]. */
  #formula(formula: Formula): string {
    const terms = formula.map(({ factor, powers }) => {
      const sizes = powers.flatMap((power, axis) => Array.from({ length: power }, () => this.#size(axis)));
      const all = factor === 1n && sizes.length > 0 ? sizes : [...sizes, this.#integers([factor])];
      return all.reduce((product, each) => this.#node("Mul", [product, each]));
    });
    return terms.reduce((sum, each) => this.#node("Add", [sum, each]));
  }

  /** The size of an axis, int64 [1]. */
  #size(open: number): string {
    const { input, axis } = this.#measured[open]!;
    const name = `${this.#options.names[open]}_size`;
    return this.#node("Shape", [input], { start: BigInt(axis), end: BigInt(axis) + 1n }, name);
  }

  /** factor · Π sizeᵖᵒʷᵉʳ, float64 [1]. */
  #power(factor: number, powers: readonly number[]): string {
    return powers.reduce((product, power, axis) => {
      if (power === 0) return product;
      return this.#node("Mul", [product, this.#raised(this.#asDouble(this.#size(axis)), power)]);
    }, this.#doubles(factor));
  }

  #raised(value: string, exponent: number): string {
    if (exponent === 1) return value;
    return exponent === -1 ? this.#node("Reciprocal", [value]) : this.#node("Pow", [value, this.#doubles(exponent)]);
  }

  #asDouble(value: string): string {
    return this.#node("Cast", [value], { to: BigInt(TensorProto_DataType.DOUBLE) });
  }

  /** Adds a node, unless there is an equal one already, and returns the name of its output. */
  #node(
    opType: string,
    input: readonly string[],
    attributes: Readonly<Record<string, bigint>> = {},
    name: string = `size${this.#made.size}`,
  ): string {
    const key = `${opType}(${input.join()})${Object.values(attributes).join()}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const output = this.#free(name);
    this.#made.set(key, output);
    this.#append(opType, input, attributes, output);
    return output;
  }

  #append(
    opType: string,
    input: readonly string[],
    attributes: Readonly<Record<string, bigint>>,
    output: string,
  ): void {
    const attribute = Object.entries(attributes).map(([name, i]) =>
      create(AttributeProtoSchema, { name, type: AttributeProto_AttributeType.INT, i }),
    );
    this.nodes.push(create(NodeProtoSchema, { opType, name: output, input: [...input], output: [output], attribute }));
  }

  #integers(values: readonly bigint[]): string {
    return this.#constant(TensorProto_DataType.INT64, values.length, BigInt64Array.from(values));
  }

  #doubles(value: number): string {
    return this.#constant(TensorProto_DataType.DOUBLE, 1, Float64Array.of(value));
  }

  #constant(dataType: TensorProto_DataType, length: number, values: BigInt64Array | Float64Array): string {
    const key = `${dataType}[${values.join()}]`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const name = this.#free(`size${this.#made.size}`);
    const rawData = new Uint8Array(values.slice().buffer as ArrayBuffer);
    this.constants.push(create(TensorProtoSchema, { name, dims: [BigInt(length)], dataType, rawData }));
    this.#made.set(key, name);
    return name;
  }

  /** For each axis of a value with a known shape, how its size follows from the open sizes, if it does. */
  #dims(infos: readonly ValueInfoProto[]): (Formula | undefined)[] {
    const all = infos.map(dimsOf);
    if (all.some((dims) => dims?.length !== all[0]?.length)) return [];
    return (all[0] ?? []).map((_, axis) => {
      const sizes = all.map((dims) => dims![axis]!);
      return sizes.every((size) => size !== undefined) ? this.#options.probes.formula(sizes) : undefined;
    });
  }

  /** Opens the axes whose sizes differ, and names each after its size. */
  #openInfo(info: ValueInfoProto, infos: readonly ValueInfoProto[]): void {
    if (info.type?.value.case !== "tensorType") return;
    const formulas = this.#dims(infos);
    for (const [axis, dim] of info.type.value.value.shape!.dim.entries()) {
      const formula = formulas[axis];
      if (formula && isFixed(formula)) continue;
      const value = formula && formulaText(formula, this.#options.names);
      dim.value = value === undefined ? { case: undefined } : { case: "dimParam", value };
    }
  }
}

/** A number of a constant: a formula of sizes, or its root or inverse; a product of powers of sizes; or the same number for all sizes. */
interface Part {
  readonly formula?: Formula;
  /** For floats. */
  readonly exponent?: number;
  readonly power?: { readonly factor: number; readonly powers: readonly number[] };
  readonly fixed?: number;
  /** Neighbouring whole numbers that are the same for all sizes. */
  readonly whole?: readonly bigint[];
}

/** Joins neighbouring whole numbers that depend on no size. */
function joinedFixed(parts: readonly Part[]): Part[] {
  const joined: Part[] = [];
  for (const part of parts) {
    const isWhole = part.formula && part.exponent === undefined && isFixed(part.formula);
    const last = joined.at(-1);
    if (!isWhole) joined.push(part);
    else if (last?.whole) joined[joined.length - 1] = { whole: [...last.whole, constantOf(part.formula!)] };
    else joined.push({ whole: [constantOf(part.formula!)] });
  }
  return joined;
}

const axesOf = (powers: readonly number[]): number[] => powers.flatMap((power, axis) => (power === 0 ? [] : [axis]));

/** Returns the nodes of a graph, and of the graphs inside its nodes. */
function nodesIn({ node }: GraphProto): NodeProto[] {
  return node.flatMap((each) => [each, ...each.attribute.flatMap(({ g }) => (g ? nodesIn(g) : []))]);
}

/** Returns a node as text, without the graphs inside it. */
function textOf({ opType, domain, input, output, attribute }: NodeProto): string {
  const attributes = attribute.map(({ g, ...own }) => (g ? own.name : own));
  return JSON.stringify([opType, domain, input, output, attributes], (_, value: unknown) =>
    typeof value === "bigint" ? `${value}n` : value,
  );
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The longest constant whose numbers may follow from sizes. */
const mostNumbers = 64;

/** The numbers of a short constant: whole ones, or floats. */
function numbersOf({ dataType, rawData }: TensorProto): (bigint | number)[] | undefined {
  const { buffer } = rawData.slice();
  const read = {
    [TensorProto_DataType.INT64]: () => [...new BigInt64Array(buffer)],
    [TensorProto_DataType.INT32]: () => Array.from(new Int32Array(buffer), BigInt),
    [TensorProto_DataType.FLOAT]: () => [...new Float32Array(buffer)],
    [TensorProto_DataType.DOUBLE]: () => [...new Float64Array(buffer)],
  }[dataType];
  const numbers: (bigint | number)[] | undefined = rawData.length > 8 * mostNumbers ? undefined : read?.();
  return numbers && numbers.length > 0 ? numbers : undefined;
}

/**
 * Replaces the one size of a Reshape that is open by −1, which means "whatever is left". Returns false where that is not possible. A size
 * with a constant term is not left over where another open axis is empty.
 */
function infer(constant: TensorProto, parts: readonly Part[]): boolean {
  const open = parts.filter(({ formula }) => !isFixed(formula!));
  if (open.length !== 1 || constantOf(open[0]!.formula!) !== 0n) return false;
  const sizes = parts.map(({ formula }) => (isFixed(formula!) ? constantOf(formula!) : -1n));
  if (sizes.some((size, i) => size <= 0n && parts[i] !== open[0])) return false;
  constant.rawData = new Uint8Array(BigInt64Array.from(sizes).buffer);
  return true;
}

/** The sizes of a value, where they are numbers; undefined for what is no tensor. */
function dimsOf({ type }: ValueInfoProto): (bigint | undefined)[] | undefined {
  if (type?.value.case !== "tensorType") return undefined;
  return type.value.value.shape!.dim.map(({ value }) => (value.case === "dimValue" ? value.value : undefined));
}
