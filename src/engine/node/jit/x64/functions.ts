/** The functions of a custom op, which ONNX Runtime calls: from any thread, so they are machine code too. */

import { elementTypes, type Field, fields, flawAt, given, wordBytes } from "../custom-op.ts";
import {
  type Assembler,
  Label,
  type Memory,
  r8,
  r12,
  r13,
  r14,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
} from "./assembler.ts";
import { limits } from "./limits.ts";

/** ORT_FAIL */
const failure = 1;

/** The most inputs, sizes and outputs of a kernel together: the frame of `compute` has room for this many addresses. */
const mostTensors = limits.inputs + 1 + limits.streams;

/** The memory of one of the sizes, whose address is in a register. */
function sizeAt(name: keyof typeof given, base: number): Memory {
  return { base, displacement: given[name] * wordBytes };
}

/** The memory of a field of the struct whose address is in a register. */
function field(name: Field, base: number = rdi): Memory {
  return { base, displacement: fields[name] * wordBytes };
}

/** The labels of the functions, by the fields for them. */
export type Functions = Partial<Record<Field, Label>>;

/** Writes the functions that all custom ops share. Unless a comment says otherwise, rdi has the address of the struct. */
export function writeFunctions(code: Assembler): Functions {
  const functions: Functions = {};
  const begin = (...names: readonly Field[]): void => {
    const label = new Label();
    code.align(16);
    code.place(label);
    for (const name of names) functions[name] = label;
  };
  const constant = (value: number, ...names: readonly Field[]): void => {
    begin(...names);
    code.number(rax, value);
    code.ret();
  };
  const read = (name: Field, of: Field): void => {
    begin(of);
    code.load(rax, field(name));
    code.ret();
  };
  // The kernel is the struct itself, so creating and destroying a kernel does nothing.
  begin("CreateKernelV2"); //  (struct, api, info, void **kernel)
  code.store({ base: rcx }, rdi);
  code.number(rax, 0);
  code.ret();
  constant(0, "KernelDestroy", "GetExecutionProviderType", "GetInputCharacteristic", "GetOutputCharacteristic");
  constant(0, "GetInputMemoryType", "GetVariadicInputMinArity", "GetVariadicInputHomogeneity");
  constant(0, "GetVariadicOutputMinArity", "GetVariadicOutputHomogeneity");
  constant(0, "ReleaseMayInplace", "GetAliasMap", "ReleaseAliasMap"); //  the arrays from GetMayInplace are never released
  begin("GetInputType"); //  (struct, index)
  const isOther = new Label();
  code.load(rax, field("inputType"));
  code.arithmetic("cmp", rsi, field("sizesInput"));
  code.jumpIf("notZero", isOther);
  code.number(rax, elementTypes.int64);
  code.place(isOther);
  code.ret();
  constant(1, "GetStartVersion");
  constant(1, "GetEndVersion");
  read("name", "GetName");
  read("outputType", "GetOutputType");
  read("inputs", "GetInputTypeCount");
  read("outputs", "GetOutputTypeCount");
  begin("KernelComputeV2");
  writeCompute(code);
  return functions;
}

/**
 * Writes the function `size_t mayInplace(int **inputs, int **outputs)`: which output may have the memory of which input, if no other node
 * needs the input any more. It does not get the struct, so each op needs its own function.
 */
export function writeMayInplace(code: Assembler, pairs: readonly (readonly [input: number, output: number])[]): void {
  const [inputs, outputs] = [new Label(), new Label()];
  code.address(rax, { label: inputs });
  code.store({ base: rdi }, rax);
  code.address(rax, { label: outputs });
  code.store({ base: rsi }, rax);
  code.number(rax, pairs.length);
  code.ret();
  const integers = (values: readonly number[]): Uint8Array => new Uint8Array(Int32Array.from(values).buffer);
  code.align(4);
  code.place(inputs);
  code.data(integers(pairs.map(([input]) => input)));
  code.place(outputs);
  code.data(integers(pairs.map(([, output]) => output)));
}

/**
 * Writes the function `OrtStatus *compute(struct, context)`. It collects the addresses of inputs and outputs, then calls the kernel: once,
 * or once for each part.
 */
function writeCompute(code: Assembler): void {
  const frame = (word: number): Memory => ({ base: rsp, displacement: word * wordBytes });
  // The frame has the struct, the sizes, the word at `flawAt`, the addresses, and a word that the C API writes to. Each part gets its
  // address.
  const sizes = 1;
  const flaw = 2;
  const addresses = flaw - flawAt / wordBytes;
  const made = addresses + mostTensors;
  const frameBytes = Math.ceil(((made + 1) * wordBytes) / 16) * 16;
  const saved = [rbx, rbp, r12, r13, r14]; //  these and the return address together keep the stack aligned
  const [inputs, outputs, run] = [new Label(), new Label(), new Label()];
  const [parallel, end, exit, part] = [new Label(), new Label(), new Label(), new Label()];
  const [found, sized, message] = [new Label(), new Label(), new Label()];
  const failIfStatus = (): void => {
    code.arithmeticWith("cmp", rax, 0);
    code.jumpIf("notZero", exit);
  };
  /** Stores the address of the tensor that the C API has returned in the next place; r13 counts the places. */
  const takeAddress = (): void => {
    code.load(rdi, frame(made));
    code.address(rsi, { base: rsp, index: r13, scale: 8, displacement: addresses * wordBytes });
    code.call(field("tensorData", rbx));
    failIfStatus();
    code.arithmeticWith("add", r13, 1);
  };

  for (const register of saved) code.push(register);
  code.arithmeticWith("sub", rsp, frameBytes);
  code.load(rbx, rdi);
  code.load(r12, rsi);
  code.store(frame(0), rbx);
  code.number(r13, 0);
  code.store(frame(flaw), r13);
  code.number(r14, 0);

  code.place(inputs);
  code.arithmetic("cmp", r13, field("inputs", rbx));
  code.jumpIf("aboveOrEqual", found);
  code.load(rdi, r12);
  code.load(rsi, r13);
  code.address(rdx, frame(made));
  code.call(field("contextInput", rbx));
  failIfStatus();
  takeAddress();
  code.jump(inputs);

  code.place(found);
  code.load(rax, field("sizes", rbx));
  code.load(rcx, field("sizesInput", rbx));
  code.arithmetic("cmp", rcx, field("inputs", rbx));
  code.jumpIf("aboveOrEqual", sized);
  code.load(rax, { base: rsp, index: rcx, scale: 8, displacement: addresses * wordBytes });
  code.place(sized);
  code.store(frame(sizes), rax);

  code.place(outputs);
  code.arithmetic("cmp", r14, field("outputs", rbx));
  code.jumpIf("aboveOrEqual", run);
  code.load(rdi, r12);
  code.load(rsi, r14);
  code.load(rax, r14);
  code.shiftLeft(rax, 4);
  code.arithmetic("add", rax, field("shapes", rbx));
  code.load(rdx, frame(sizes));
  code.arithmetic("add", rdx, { base: rax });
  code.load(rcx, { base: rax, displacement: wordBytes });
  code.address(r8, frame(made));
  code.call(field("contextOutput", rbx));
  failIfStatus();
  takeAddress();
  code.arithmeticWith("add", r14, 1);
  code.jump(outputs);

  code.place(run);
  code.load(rcx, frame(sizes));
  code.arithmeticWith("cmp", sizeAt("parts", rcx), 1);
  code.jumpIf("above", parallel);
  code.address(rdi, frame(addresses));
  code.number(rsi, 0);
  code.load(rdx, sizeAt("units", rcx));
  code.call(field("code", rbx));
  code.number(rax, 0);
  code.jump(end);

  code.place(parallel);
  code.load(rdi, r12);
  code.address(rsi, { label: part });
  code.load(rdx, sizeAt("parts", rcx));
  code.number(rcx, 0);
  code.load(r8, rsp);
  code.call(field("parallelFor", rbx));
  failIfStatus();

  code.place(end);
  code.arithmeticWith("cmp", frame(flaw), 0);
  code.jumpIf("zero", exit); //  rax is 0, which is success
  // Parts without a flaw may have set the output to 1, which means that the guard was passed. So the output is set to 0 again.
  code.load(rcx, { base: rsp, index: r13, scale: 8, displacement: (addresses - 1) * wordBytes });
  code.storeHalf({ base: rcx }, rax);
  code.number(rdi, failure);
  code.address(rsi, { label: message });
  code.call(field("createStatus", rbx));

  code.place(exit);
  code.arithmeticWith("add", rsp, frameBytes);
  for (const register of [...saved].reverse()) code.pop(register);
  code.ret();

  // void part(frame, number of the part): computes the units from the part's first to the next part's first, or to the end.
  code.align(16);
  code.place(part);
  code.load(rax, { base: rdi });
  code.load(rcx, { base: rdi, displacement: sizes * wordBytes });
  code.arithmeticWith("add", rdi, addresses * wordBytes);
  code.load(rdx, sizeAt("unitsInPart", rcx));
  code.multiply(rsi, rdx);
  code.arithmetic("add", rdx, rsi);
  code.arithmetic("cmp", rdx, sizeAt("units", rcx));
  code.moveIf("above", rdx, sizeAt("units", rcx));
  code.jumpTo(field("code", rax));

  code.place(message);
  code.data(new TextEncoder().encode("a value that the run looks at is not what it must be\0"));
}
