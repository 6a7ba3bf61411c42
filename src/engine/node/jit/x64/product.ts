/**
 * Machine code for matrix products, after K. Goto and R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008): parts of
 * A and B are copied into the order in which they are read, so that they stay in the caches, and a tile of the result is computed in
 * registers.
 */
import { afterShape, copied, copyOfA, type ProductOp, productPlaces, tile } from "../../../../kernel/product.ts";
import { given, wordBytes } from "../custom-op.ts";
import {
  type Assembler,
  Label,
  type Memory,
  type Register,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15,
  rax,
  rbp,
  rbx,
  rcx,
  rdi,
  rdx,
  rsi,
  rsp,
  type Vector,
} from "./assembler.ts";
import { lanes } from "./steps.ts";

const elementBytes = 4;
const elementShift = Math.log2(elementBytes);
const vectorBytes = lanes * elementBytes;
/** Bytes of a column of A's copy and of a row of B's copy, in a tile. */
const [columnBytes, rowBytes] = [tile.rows * elementBytes, tile.columns * elementBytes];

const saved: readonly Register[] = [rbx, rbp, r12, r13, r14, r15];

/** The words on the stack. Matrices are addresses; sizes are in elements, and strides in bytes. */
const words = [
  ...["sizes", "unit", "unitsEnd", "givenA", "givenB", "added", "given"],
  ...["a", "b", "result", "strideA", "strideB", "strideResult", "copyA", "copyB"],
  ...["rowsFrom", "rowsEnd", "columnsFrom", "columnsEnd"],
  ...["column", "columns", "term", "terms", "row", "rows"],
] as const;
type Word = (typeof words)[number];
const frameBytes = words.length * wordBytes;
const word = (name: Word): Memory => ({ base: rsp, displacement: words.indexOf(name) * wordBytes });

/** Registers of the tile: two vectors for each of its rows, one row of B's copy, and numbers of A's copy. */
const sum = (row: number, half: number): Vector => 2 * row + half;
const right = (half: number): Vector => 12 + half;
const left = (row: number): Vector => 14 + (row % 2);
/** While a tile is written, the registers of B's and A's numbers are free. */
const masks: readonly [Vector, Vector] = [12, 13];
const passing: Vector = 14;

/**
 * A panel is what a copy holds of six rows of A or sixteen columns of B. Several panels are written together, since then longer parts of the
 * rows in memory are read.
 */
const panelsAtOnce = 4;
const lineBytes = 64;
/** How many rows ahead cache lines are asked for. */
const rowsAhead = 32;

/** How many terms the inner loop adds up in one turn. */
const unrolled = 4;

/**
 * Writes the function `void product(void **addresses, int64 begin, int64 end, int64 *sizes)`, which computes the units from `begin` to
 * before `end`: parts of the results. `addresses` has A, B, C if something is added, the sizes if each run gives them, the result, and the
 * working memory. `sizes` is as `productSizes` returns it.
 */
export function writeProduct(code: Assembler, op: Pick<ProductOp, "form" | "shape" | "isOpen">): void {
  new Writer(code, op).write();
}

class Writer {
  readonly #code: Assembler;
  readonly #op: Pick<ProductOp, "form" | "shape" | "isOpen">;
  readonly #masks = new Label();
  readonly #alpha = new Label();
  readonly #beta = new Label();

  constructor(code: Assembler, op: Pick<ProductOp, "form" | "shape" | "isOpen">) {
    this.#code = code;
    this.#op = op;
  }

  /** One of the sizes of `productPlaces`, where a register has the address of all sizes. */
  #size(name: keyof typeof productPlaces, base: Register): Memory {
    return { base, displacement: (afterShape(this.#op.shape) + productPlaces[name]) * wordBytes };
  }

  write(): void {
    const code = this.#code;
    for (const register of saved) code.push(register);
    code.arithmeticWith("sub", rsp, frameBytes);
    this.#start();
    const [unit, done] = [new Label(), new Label()];
    code.place(unit);
    code.load(rax, word("unit"));
    code.arithmetic("cmp", rax, word("unitsEnd"));
    code.jumpIf("aboveOrEqual", done);
    this.#unit();
    code.arithmeticWith("add", word("unit"), 1);
    code.jump(unit);
    code.place(done);
    code.vectorEnd();
    code.arithmeticWith("add", rsp, frameBytes);
    for (const register of [...saved].reverse()) code.pop(register);
    code.ret();
    this.#data();
  }

  /** Stores addresses and strides. The parameters are in rdi, rsi, rdx and rcx. */
  #start(): void {
    const code = this.#code;
    const { form, isOpen } = this.#op;
    const inputs = form.added ? 3 : 2;
    const output = inputs + (isOpen ? 1 : 0);
    const address = (i: number): Memory => ({ base: rdi, displacement: i * wordBytes });
    const copy = (from: Memory, to: Word): void => {
      code.load(rax, from);
      code.store(word(to), rax);
    };
    code.store(word("sizes"), rcx);
    code.store(word("unit"), rsi);
    code.store(word("unitsEnd"), rdx);
    copy(address(0), "givenA");
    copy(address(1), "givenB");
    if (form.added) copy(address(2), "added");
    copy(address(output), "given");
    const stride = (name: "m" | "n" | "k", to: Word): void => {
      code.load(rax, this.#size(name, rcx));
      code.shiftLeft(rax, elementShift);
      code.store(word(to), rax);
    };
    stride(form.transposeA ? "m" : "k", "strideA");
    stride(form.transposeB ? "k" : "n", "strideB");
    stride("n", "strideResult");
    // The number of the part is begin / units in a part.
    code.load(rax, rsi);
    code.number(rdx, 0);
    code.divide({ base: rcx, displacement: given.unitsInPart * wordBytes });
    code.multiply(rax, this.#size("memoryInPart", rcx));
    code.shiftLeft(rax, elementShift);
    code.arithmetic("add", rax, address(output + 1));
    code.store(word("copyA"), rax);
    code.load(rdx, this.#size("terms", rcx));
    code.number(r8, (copyOfA(1) - copyOfA(0)) * elementBytes);
    code.multiply(rdx, r8);
    code.arithmetic("add", rax, rdx);
    code.arithmeticWith("add", rax, copyOfA(0) * elementBytes);
    code.store(word("copyB"), rax);
  }

  /** Computes a unit: rax has its number. */
  #unit(): void {
    const code = this.#code;
    code.load(rcx, word("sizes"));
    code.number(rdx, 0);
    code.divide(this.#size("inMatrix", rcx));
    code.load(r8, rdx); //  the unit of the matrix, whose number is in rax
    const matrix = (from: Word, to: Word, rows: "m" | "k", columns: "n" | "k"): void => {
      code.load(r9, this.#size(rows, rcx));
      code.multiply(r9, this.#size(columns, rcx));
      code.multiply(r9, rax);
      code.shiftLeft(r9, elementShift);
      code.arithmetic("add", r9, word(from));
      code.store(word(to), r9);
    };
    matrix("givenA", "a", "m", "k");
    matrix("given", "result", "m", "n");
    code.load(r9, this.#size("nextB", rcx));
    code.multiply(r9, rax);
    code.shiftLeft(r9, elementShift);
    code.arithmetic("add", r9, word("givenB"));
    code.store(word("b"), r9);
    code.load(rax, r8);
    code.number(rdx, 0);
    code.divide(this.#size("across", rcx));
    const range = (
      number: Register,
      length: "unitRows" | "unitColumns",
      all: "m" | "n",
      from: Word,
      end: Word,
    ): void => {
      code.multiply(number, this.#size(length, rcx));
      code.store(word(from), number);
      code.arithmetic("add", number, this.#size(length, rcx));
      code.arithmetic("cmp", number, this.#size(all, rcx));
      code.moveIf("above", number, this.#size(all, rcx));
      code.store(word(end), number);
    };
    range(rax, "unitRows", "m", "rowsFrom", "rowsEnd");
    range(rdx, "unitColumns", "n", "columnsFrom", "columnsEnd");

    const atMost = (register: Register, most: Memory | number): void => {
      if (typeof most === "number") code.number(r8, most);
      code.arithmetic("cmp", register, typeof most === "number" ? r8 : most);
      code.moveIf("above", register, typeof most === "number" ? r8 : most);
    };
    /** A loop over a range in steps; `place` has the begin of a step, and `length` its length. */
    const steps = (
      [from, end]: readonly [Word | undefined, Memory],
      [place, length]: readonly [Word, Word],
      most: Memory | number,
      body: () => void,
    ): void => {
      const next = new Label();
      if (from) code.load(rax, word(from));
      else code.number(rax, 0);
      code.place(next);
      code.store(word(place), rax);
      code.load(rdx, end);
      code.arithmetic("sub", rdx, rax);
      atMost(rdx, most);
      code.store(word(length), rdx);
      body();
      code.load(rcx, word("sizes"));
      code.load(rax, word(place));
      code.arithmetic("add", rax, word(length));
      code.arithmetic("cmp", rax, end);
      code.jumpIf("below", next);
    };
    code.load(rcx, word("sizes"));
    steps(["columnsFrom", word("columnsEnd")], ["column", "columns"], copied.columns, () => {
      code.load(rcx, word("sizes"));
      steps([undefined, this.#size("k", rcx)], ["term", "terms"], this.#size("terms", rcx), () => {
        this.#copyB();
        steps(["rowsFrom", word("rowsEnd")], ["row", "rows"], copied.rows, () => {
          this.#copyA();
          this.#tiles();
        });
      });
    });
  }

  /** Loads the address of the first element of a matrix that is copied. */
  #firstOf(to: Register, matrix: Word, stride: Word, [major, minor]: readonly [Word, Word]): void {
    const code = this.#code;
    code.load(to, word(major));
    code.multiply(to, word(stride));
    code.arithmetic("add", to, word(matrix));
    code.load(rax, word(minor));
    code.address(to, { base: to, index: rax, scale: elementBytes });
  }

  /** A's copy: for each six rows, all terms in order; for each term, one number of each row. */
  #copyA(): void {
    const places = ["row", "rows"] as const;
    if (this.#op.form.transposeA) this.#copyRows("a", "strideA", "copyA", places, columnBytes);
    else this.#copyTransposed("a", "strideA", "copyA", places, tile.rows, columnBytes);
  }

  /** B's copy: for each sixteen columns, all terms in order; for each term, one number of each column. */
  #copyB(): void {
    const places = ["column", "columns"] as const;
    if (this.#op.form.transposeB) this.#copyTransposed("b", "strideB", "copyB", places, tile.columns, rowBytes);
    else this.#copyRows("b", "strideB", "copyB", places, rowBytes);
  }

  /**
   * Copies a part of a matrix whose rows belong to terms: for each panel, a few numbers of each row. Several whole panels are copied
   * together, since then longer parts of each row are read; the others one by one, with masks.
   */
  #copyRows(matrix: Word, stride: Word, copy: Word, [place, count]: readonly [Word, Word], bytes: number): void {
    const code = this.#code;
    const elements = bytes / elementBytes;
    const [group, single, next, done] = [new Label(), new Label(), new Label(), new Label()];
    this.#firstOf(rsi, matrix, stride, ["term", place]);
    code.load(rdi, word(copy));
    code.load(r14, word(count));
    code.load(r8, word(stride));
    code.number(r9, bytes);
    code.multiply(r9, word("terms"));

    code.place(group);
    code.arithmeticWith("cmp", r14, panelsAtOnce * elements);
    code.jumpIf("less", single);
    this.#copyPanels(bytes);
    code.address(rdi, { base: rdi, index: r9, scale: 2 });
    code.arithmetic("add", rdi, r9);
    code.arithmeticWith("add", rsi, panelsAtOnce * bytes);
    code.arithmeticWith("sub", r14, panelsAtOnce * elements);
    code.jump(group);

    code.place(single);
    code.arithmeticWith("cmp", r14, 0);
    code.jumpIf("lessOrEqual", done);
    this.#loadMasks(r14, elements);
    code.load(rdx, rsi);
    code.load(rcx, word("terms"));
    code.place(next);
    const vectors = Array.from({ length: Math.ceil(bytes / vectorBytes) }, (_, i) => i * vectorBytes);
    // Vectors are written whole: what is too much is overwritten by the next ones.
    for (const [i, displacement] of vectors.entries()) code.vectorLoadMasked(i, { base: rdx, displacement }, masks[i]!);
    for (const [i, displacement] of vectors.entries()) code.vectorStore({ base: rdi, displacement }, i);
    code.arithmetic("add", rdx, r8);
    code.arithmeticWith("add", rdi, bytes);
    code.arithmeticWith("sub", rcx, 1);
    code.jumpIf("notZero", next);
    code.arithmeticWith("add", rsi, bytes);
    code.arithmeticWith("sub", r14, elements);
    code.jump(single);
    code.place(done);
  }

  /** Copies whole panels from rsi to rdi, which moves to the end of the first one; r8 is the stride of rows, r9 that of panels. */
  #copyPanels(bytes: number): void {
    const code = this.#code;
    const next = new Label();
    code.load(rdx, rsi);
    code.load(rcx, word("terms"));
    code.address(r10, { base: rdi, index: r9, scale: 2 });
    code.arithmetic("add", r10, r9);
    code.number(r11, rowsAhead);
    code.multiply(r11, r8);
    code.place(next);
    for (let at = 0; at < panelsAtOnce * bytes; at += lineBytes)
      code.prefetch(2, { base: rdx, index: r11, displacement: at });
    for (let panel = 0; panel < panelsAtOnce; panel++) {
      const to = (displacement: number): Memory => {
        if (panel === 0) return { base: rdi, displacement };
        if (panel === 3) return { base: r10, displacement };
        return { base: rdi, index: r9, scale: panel === 1 ? 1 : 2, displacement };
      };
      const from = (displacement: number): Memory => ({ base: rdx, displacement: panel * bytes + displacement });
      const isWide = bytes % vectorBytes === 0;
      for (let at = 0; at < bytes; at += isWide ? vectorBytes : wordBytes) {
        const vector: Vector = (2 * panel + at / vectorBytes) % 8;
        if (isWide) code.vectorLoad(vector, from(at));
        else code.load(rax, from(at));
        if (isWide) code.vectorStore(to(at), vector);
        else code.store(to(at), rax);
      }
    }
    code.arithmetic("add", rdx, r8);
    code.arithmeticWith("add", rdi, bytes);
    code.arithmeticWith("add", r10, bytes);
    code.arithmeticWith("sub", rcx, 1);
    code.jumpIf("notZero", next);
  }

  /** Loads masks for the first elements of a row of the tile, as many as a register says, and `most` at most. */
  #loadMasks(count: Register, most: number): void {
    const code = this.#code;
    code.number(rax, most);
    code.arithmetic("cmp", rax, count);
    code.moveIf("greater", rax, count);
    code.shiftLeft(rax, elementShift);
    code.address(rcx, { label: this.#masks });
    code.arithmetic("sub", rcx, rax);
    for (const [half, mask] of masks.entries()) code.vectorLoad(mask, { base: rcx, displacement: half * vectorBytes });
  }

  /**
   * Copies a part of a matrix whose columns belong to terms: for each panel of a few rows, eight terms at a time are transposed. Where
   * there are fewer rows than a panel has, the last one is copied instead of the others: those are computed, but not written.
   */
  #copyTransposed(
    matrix: Word,
    stride: Word,
    copy: Word,
    [place, count]: readonly [Word, Word],
    panelRows: number,
    bytes: number,
  ): void {
    const code = this.#code;
    const pointers: readonly Register[] = [rcx, rdx, rbx, rsi, rdi, r8, r9, r10];
    const panel = new Label();
    this.#firstOf(r13, matrix, stride, [place, "term"]);
    code.load(r12, word(copy));
    code.load(r14, word(count));
    code.load(rbp, word(stride));
    code.place(panel);
    for (let first = 0; first < panelRows; first += lanes) {
      const rows = Math.min(lanes, panelRows - first);
      for (let i = 0; i < rows; i++) {
        const from = first + i === 0 ? r13 : i === 0 ? pointers[lanes - 1]! : pointers[i - 1]!;
        code.load(pointers[i]!, from);
        if (first + i === 0) continue;
        code.address(rax, { base: from, index: rbp });
        code.arithmeticWith("cmp", r14, first + i);
        code.moveIf("greater", pointers[i]!, rax);
      }
      this.#transpose(pointers.slice(0, rows), first * elementBytes, bytes);
      code.load(rbp, word(stride));
    }
    code.number(rax, panelRows);
    code.multiply(rax, rbp);
    code.arithmetic("add", r13, rax);
    code.number(rax, bytes);
    code.multiply(rax, word("terms"));
    code.arithmetic("add", r12, rax);
    code.arithmeticWith("sub", r14, panelRows);
    code.jumpIf("greater", panel);
  }

  /** Copies all terms of up to eight rows to r12 and what follows: `bytes` from one term to the next. */
  #transpose(pointers: readonly Register[], displacement: number, bytes: number): void {
    const code = this.#code;
    const [eight, rest, write, done] = [new Label(), new Label(), new Label(), new Label()];
    const at = (i: number) => ({ base: pointers[i]!, index: r11, scale: 1 }) as const;
    const rows = pointers.length;
    code.number(r11, 0);
    code.number(rax, rows);
    code.multiply(rbp, rax); //  the next rows are asked for
    code.load(r15, r12);
    code.load(rax, word("terms"));
    code.place(eight);
    code.arithmeticWith("cmp", rax, lanes);
    code.jumpIf("less", rest);
    for (let i = 0; i < rows; i++) {
      code.prefetch(2, { base: pointers[i]!, index: rbp });
      code.vectorLoad(i, at(i));
    }
    code.place(write);
    const pairs = (i: number): Vector => lanes + i;
    for (let i = 0; i < rows; i += 2) {
      code.vectorInterleave("low", pairs(i), i, i + 1);
      code.vectorInterleave("high", pairs(i + 1), i, i + 1);
    }
    // Register t gets terms t and 4 + t, one in each half, of rows 0 to 3; register 4 + t gets those of rows 4 to 7.
    for (let group = 0; group < rows; group += 4)
      for (let t = 0; t < 4; t++) {
        const first = pairs(group + (t >> 1));
        const second = group + 2 < rows ? pairs(group + 2 + (t >> 1)) : first;
        code.vectorUnpack(t % 2 === 0 ? "low" : "high", group + t, first, second);
      }
    const joined: Vector = lanes;
    for (const [half, name] of (["first", "second"] as const).entries())
      for (let t = 0; t < 4; t++) {
        code.vectorJoin(name, joined, t, 4 + t);
        code.vectorStore({ base: r15, displacement: displacement + (4 * half + t) * bytes }, joined);
      }
    code.arithmeticWith("add", r11, vectorBytes);
    code.arithmeticWith("add", rbp, vectorBytes);
    code.arithmeticWith("add", r15, lanes * bytes);
    code.arithmeticWith("sub", rax, lanes);
    code.jump(eight);

    code.place(rest);
    code.arithmeticWith("cmp", rax, 0);
    code.jumpIf("lessOrEqual", done);
    const mask: Vector = 15;
    code.push(r13);
    code.shiftLeft(rax, elementShift);
    code.address(r13, { label: this.#masks });
    code.arithmetic("sub", r13, rax);
    code.vectorLoad(mask, { base: r13 });
    code.pop(r13);
    code.number(rax, 0); //  nothing is left behind these
    for (let i = 0; i < rows; i++) code.vectorLoadMasked(i, at(i), mask);
    code.jump(write);
    code.place(done);
  }

  /** Multiplies the copies, tile by tile. */
  #tiles(): void {
    const code = this.#code;
    const { added } = this.#op.form;
    const [across, down, next] = [new Label(), new Label(), new Label()];
    this.#firstOf(rbp, "result", "strideResult", ["row", "column"]);
    code.load(r8, word("strideResult"));
    code.load(r13, word("copyB"));
    code.load(r15, word("columns"));
    if (added) code.load(rsi, word("added"));
    if (added?.layout === "full") code.arithmetic("sub", rsi, word("result"));
    if (added?.layout === "row" || added?.layout === "column") {
      code.load(rax, word(added.layout === "row" ? "column" : "row"));
      code.address(rsi, { base: rsi, index: rax, scale: elementBytes });
    }
    code.place(across);
    code.load(r12, word("copyA"));
    code.load(r14, word("rows"));
    code.load(rdx, rbp);
    if (added?.layout === "column") code.load(rdi, rsi);
    code.place(down);
    code.address(r9, { base: r8, index: r8, scale: 2 });
    code.arithmetic("add", r9, rdx);
    this.#multiply();
    this.#writeTile(next);
    code.place(next);
    code.address(rdx, { base: r9, index: r8, scale: 2 });
    code.arithmetic("add", rdx, r8);
    if (added?.layout === "column") code.arithmeticWith("add", rdi, columnBytes);
    code.arithmeticWith("sub", r14, tile.rows);
    code.jumpIf("greater", down);
    code.load(r13, rbx);
    code.arithmeticWith("add", rbp, rowBytes);
    if (added?.layout === "row") code.arithmeticWith("add", rsi, rowBytes);
    code.arithmeticWith("sub", r15, tile.columns);
    code.jumpIf("greater", across);
  }

  /** A row of the tile in the result. */
  #row(i: number, half: number): Memory {
    const displacement = half * vectorBytes;
    const base = i < 3 ? rdx : r9;
    return i % 3 === 0 ? { base, displacement } : { base, index: r8, scale: i % 3 === 1 ? 1 : 2, displacement };
  }

  /** Adds up the terms of a tile: r12 and r13 have the places in the copies; r12 and rbx get the places behind. */
  #multiply(): void {
    const code = this.#code;
    const [loop, rest, one, done] = [new Label(), new Label(), new Label(), new Label()];
    const term = (i: number): void => {
      for (const half of [0, 1])
        code.vectorLoad(right(half), { base: rbx, displacement: i * rowBytes + half * vectorBytes });
      for (let row = 0; row < tile.rows; row++) {
        code.vectorBroadcast(left(row), { base: r12, displacement: i * columnBytes + row * elementBytes });
        for (const half of [0, 1]) code.vectorMultiplyAdd(sum(row, half), left(row), right(half));
      }
    };
    code.load(rbx, r13);
    code.load(rcx, word("terms"));
    for (let row = 0; row < tile.rows; row++) {
      code.prefetch(1, this.#row(row, 0));
      for (const half of [0, 1]) code.vector("xor", sum(row, half), sum(row, half), sum(row, half));
    }
    code.arithmeticWith("sub", rcx, unrolled);
    code.jumpIf("less", rest);
    code.place(loop);
    for (let i = 0; i < unrolled; i++) term(i);
    code.arithmeticWith("add", r12, unrolled * columnBytes);
    code.arithmeticWith("add", rbx, unrolled * rowBytes);
    code.arithmeticWith("sub", rcx, unrolled);
    code.jumpIf("greaterOrEqual", loop);
    code.place(rest);
    code.arithmeticWith("add", rcx, unrolled);
    code.jumpIf("zero", done);
    code.place(one);
    term(0);
    code.arithmeticWith("add", r12, columnBytes);
    code.arithmeticWith("add", rbx, rowBytes);
    code.arithmeticWith("sub", rcx, 1);
    code.jumpIf("notZero", one);
    code.place(done);
  }

  /** Writes a tile: all of it, or the rows in r14 and the columns in r15; the first terms, or added to those before. */
  #writeTile(next: Label): void {
    const code = this.#code;
    const edge = new Label();
    const both = (isEdge: boolean): void => {
      const more = new Label();
      code.arithmeticWith("cmp", word("term"), 0);
      code.jumpIf("notZero", more);
      this.#writeRows(isEdge, true, next);
      code.jump(next);
      code.place(more);
      this.#writeRows(isEdge, false, next);
      if (!isEdge) code.jump(next);
    };
    code.arithmeticWith("cmp", r14, tile.rows);
    code.jumpIf("less", edge);
    code.arithmeticWith("cmp", r15, tile.columns);
    code.jumpIf("less", edge);
    both(false);
    code.place(edge);
    this.#loadMasks(r15, tile.columns);
    both(true);
  }

  #writeRows(isEdge: boolean, isFirst: boolean, next: Label): void {
    const code = this.#code;
    const { alpha, added } = this.#op.form;
    for (let row = 0; row < tile.rows; row++) {
      if (isEdge && row > 0) {
        code.arithmeticWith("cmp", r14, row);
        code.jumpIf("lessOrEqual", next);
      }
      if (isFirst && added?.layout === "full") {
        code.address(r11, this.#row(row, 0));
        code.arithmetic("add", r11, rsi);
      }
      for (const half of [0, 1]) {
        const result = sum(row, half);
        const add = (from: Memory): void => {
          if (isEdge) code.vectorLoadMasked(passing, from, masks[half]!);
          else code.vectorLoad(passing, from);
        };
        if (alpha !== 1) code.vector("mul", result, result, { label: this.#alpha });
        if (!isFirst) add(this.#row(row, half));
        else if (added?.layout === "full") add({ base: r11, displacement: half * vectorBytes });
        else if (added?.layout === "row") add({ base: rsi, displacement: half * vectorBytes });
        else if (added?.layout === "column")
          code.vectorBroadcast(passing, { base: rdi, displacement: row * elementBytes });
        else if (added) code.vectorBroadcast(passing, { base: rsi });
        if (isFirst && added && added.beta !== 1) code.vector("mul", passing, passing, { label: this.#beta });
        if (!isFirst || added) code.vector("add", result, result, passing);
        if (isEdge) code.vectorStoreMasked(this.#row(row, half), result, masks[half]!);
        else code.vectorStore(this.#row(row, half), result);
      }
    }
  }

  #data(): void {
    const code = this.#code;
    const { alpha, added } = this.#op.form;
    const vector = (value: number): Uint8Array => new Uint8Array(new Float32Array(lanes).fill(value).buffer);
    code.align(vectorBytes);
    code.data(new Uint8Array(rowBytes).fill(0xff));
    code.place(this.#masks);
    code.data(new Uint8Array(rowBytes));
    for (const [label, value] of [
      [this.#alpha, alpha],
      [this.#beta, added?.beta ?? 1],
    ] as const) {
      code.place(label);
      code.data(vector(value));
    }
  }
}
