/** Machine code byte by byte: what the code generator writes is what an independent disassembler has read. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { dumpOf, stepsOf } from "../../../src/engine/node/jit/dump.ts";
import { x64 } from "../../../src/engine/node/jit/x64/index.ts";
import { heldCode, heldOps } from "../../support/machine-code.ts";

const folder = path.join(import.meta.dirname, "../../fixtures/machine-code");
const code = heldCode();

/** The bytes of a listing of objdump: the second column. */
function bytesOf(listing: string): number[] {
  return listing
    .trimEnd()
    .split("\n")
    .flatMap((line) => line.split("\t")[1]!.trim().split(" "))
    .map((byte) => Number.parseInt(byte, 16));
}

test.each([...code.keys()])("%s; after a change: node test/fixtures/generate_machine_code.mjs", (name) => {
  const listing = readFileSync(path.join(folder, `${name}.txt`), "utf8");
  expect([...code.get(name)!]).toEqual(bytesOf(listing));
});

test("the listings are those of the ops that are held", () => {
  expect(readdirSync(folder).sort()).toEqual([...code.keys()].map((name) => `${name}.txt`).sort());
});

test("the listings show each step as an instruction", () => {
  const adam = readFileSync(path.join(folder, "adam.txt"), "utf8");
  for (const instruction of ["vmulps", "vaddps", "vsubps", "vsqrtps", "vdivps", "vmaskmovps", "vbroadcastss"])
    expect(adam).toContain(`\t${instruction} `);
  expect(readFileSync(path.join(folder, "parts.txt"), "utf8")).toMatch(/\tvfmadd\d+ps /);
});

test("GLISSADE_DUMP_CODE writes the bytes of each program, and what they compute", () => {
  const scratch = mkdtempSync(path.join(tmpdir(), "glissade-dump-"));
  const before = process.env.GLISSADE_DUMP_CODE;
  onTestFinished(() => {
    if (before === undefined) delete process.env.GLISSADE_DUMP_CODE;
    else process.env.GLISSADE_DUMP_CODE = before;
    rmSync(scratch, { recursive: true });
  });
  const ops = [{ op: heldOps.rows!, key: "rows", inPlace: [] }];
  const program = x64.program(ops, 16);
  dumpOf("x64", ops, program);
  expect(readdirSync(scratch), "nothing is written unless it is asked for").toEqual([]);
  process.env.GLISSADE_DUMP_CODE = path.join(scratch, "new/folder");
  dumpOf("x64", ops, program);
  const [bin, txt] = readdirSync(path.join(scratch, "new/folder")).sort();
  expect(readFileSync(path.join(scratch, "new/folder", bin!))).toEqual(Buffer.from(program.bytes));
  expect(readFileSync(path.join(scratch, "new/folder", txt!), "utf8")).toBe(
    `x64, ${program.bytes.length} bytes\n00000040 rows: %0 = full; %1 = row; %2 = column; %3 = add %0 %1; %4 = mul %3 %2; %5 = 0; ` +
      "%6 = less %5 %4; %7 = select %6 %4 %5; writes %7\n",
  );
  process.env.GLISSADE_DUMP_CODE = "";
  expect(() => dumpOf("x64", ops, program)).toThrow(/GLISSADE_DUMP_CODE: it is empty/);
});

test("steps as text", () => {
  expect(stepsOf({ inputs: ["scalar", { part: 1, of: 3 }], steps: [-0, ["add", 0, 2]], outputs: [3, 0] })).toBe(
    "%0 = scalar; %1 = part 1 of 3; %2 = -0; %3 = add %0 %2; writes %3 %0",
  );
});
