import type { Module, Optimizer } from "../../../src/node.ts";

export default function make(data?: { readonly width?: number; readonly broken?: string }): {
  readonly model: Module;
  readonly optimizer: Optimizer;
};
