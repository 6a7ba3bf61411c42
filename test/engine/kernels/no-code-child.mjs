/** A process that may make no code, as hardened systems have them: Linux denies it from here on (PR_SET_MDWE, since 6.3). Prints what came of it. */
import koffi from "koffi";
import { nodeEngine, tensor, useEngine } from "../../../dist/node.js";

const prctl = koffi.load("libc.so.6").func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)");
const [denyWriteThenExecute, refuse] = [65, 1];
const isDenied = prctl(denyWriteThenExecute, refuse, 0, 0, 0) === 0;
const engine = nodeEngine({ threads: 2 });
useEngine(engine);
const values = await tensor([1, 4, 9]).mul(4).add(0.25).sub(0.25).sqrt().array();
console.log(JSON.stringify({ isDenied, kernels: engine.target.kernels !== undefined, values }));
