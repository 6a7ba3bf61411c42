/** Importing this file puts every op on the register. */
import "./activations.ts";
import "./arithmetic.ts";
import "./control.ts";
import "./convolution.ts";
import "./elementwise.ts";
import "./fused.ts";
import "./guard.ts";
import "./indexing.ts";
import "./losses.ts";
import "./matmul.ts";
import "./movement.ts";
import "./norm.ts";
import "./normalize.ts";
import "./packed.ts";
import "./packed-convolution.ts";
import "./packed-matrix.ts";
import "./pooling.ts";
import "./random.ts";
import "./reduce.ts";
import "./spectrum.ts";

export { registry } from "../graph/op.ts";
