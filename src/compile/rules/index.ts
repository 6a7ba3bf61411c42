/** The passes, in order. Each sees the graph that the one before it made. */
import type { Rule } from "../rewrite.ts";
import { fuse } from "./fuse.ts";
import { products } from "./products.ts";
import { simplify } from "./simplify.ts";

export const passes: readonly (readonly Rule[])[] = [simplify, [...simplify, ...fuse], [...simplify, ...products]];
