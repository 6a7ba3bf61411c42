/** What everything that nodes are written to has in common. */

import type { OnnxAttribute, OnnxType, OnnxValue } from "../graph/op.ts";
import type { Shape } from "../graph/types.ts";
import { dataTypes } from "./data-types.ts";

/** Writes nodes and constants in terms of one method each. */
export abstract class NodeWriter {
  /** Adds a node, and returns the names of its outputs. */
  protected abstract append(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes: Readonly<Record<string, OnnxAttribute>>,
    domain: string,
  ): OnnxValue[];

  abstract constant(dtype: OnnxType, shape: Shape, values: readonly number[] | Float64Array): OnnxValue;

  node(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
    domain: string = "",
  ): OnnxValue {
    return this.append(type, inputs, 1, attributes, domain)[0]!;
  }

  nodes(
    type: string,
    inputs: readonly (OnnxValue | undefined)[],
    outputs: number,
    attributes: Readonly<Record<string, OnnxAttribute>> = {},
  ): OnnxValue[] {
    return this.append(type, inputs, outputs, attributes, "");
  }

  integers(values: readonly number[]): OnnxValue {
    return this.constant("int64", [values.length], values);
  }

  cast(value: OnnxValue, to: OnnxType): OnnxValue {
    return this.node("Cast", [value], { to: dataTypes[to] });
  }
}
