import { beforeEach, describe, expect, test } from "vitest";
import { nodeEngine } from "../../src/engine/node/index.ts";
import { compile, read, type Tensor, tensor, useEngine } from "../../src/index.ts";
import { Parameter } from "../../src/tensor/state.ts";

const engine = nodeEngine({ threads: 1 });
beforeEach(() => useEngine(engine));

describe("read", () => {
  test("gives arrays in the places of tensors, from one run", async () => {
    let sessions = 0;
    useEngine({
      ...engine,
      load(program) {
        sessions++;
        return engine.load(program);
      },
    });
    const x = tensor([1, 2, 3]);
    const { sum, more } = await read({
      sum: x.sum(),
      more: [x.mul(7), { big: x.greater(2), none: undefined }] as const,
    });
    expect(sum).toBe(6);
    expect(more).toEqual([[7, 14, 21], { big: [false, false, true], none: undefined }]);
    expect(sessions).toBe(1);
  });

  test("reads what a compiled function returns, variables, and nothing", async () => {
    const w = new Parameter({ shape: [2], dtype: "float32" }, Float32Array.of(1, 2));
    const step = compile((by: Tensor<[]>) => {
      w.assign(w.mul(by));
      return { w: w.current(), by: [by, by] };
    });
    expect(await read(step(tensor(3)))).toEqual({ w: [3, 6], by: [3, 3] });
    expect(await read({ w })).toEqual({ w: [3, 6] });
    expect(await read(undefined)).toBeUndefined();
  });

  test("refuses what is no tree of tensors, and traces", () => {
    expect(() => read({ a: 1 } as never)).toThrowErrorMatchingInlineSnapshot(`
      [GraphError: read: among the tensors there is a number
        fix: give tensors, or arrays or records of them]
    `);
    const step = compile((x: Tensor<[]>) => {
      read(x);
      return x;
    });
    expect(() => step(tensor(1))).toThrow("reads values inside a function that is being traced");
  });
});
