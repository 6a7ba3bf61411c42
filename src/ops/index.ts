/** Importing this file registers every op that users call. */
import "./activations.ts";
import "./arithmetic.ts";
import "./control.ts";
import "./convolution.ts";
import "./elementwise.ts";
import "./indexing.ts";
import "./losses.ts";
import "./matmul.ts";
import "./movement.ts";
import "./norm.ts";
import "./normalize.ts";
import "./pooling.ts";
import "./random.ts";
import "./reduce.ts";
import "./spectrum.ts";

export { registry } from "../graph/op.ts";
