/** The sanity checks that a practitioner runs first (Karpathy 2019, "A recipe for training neural networks"). */
export { baseline } from "./baseline.ts";
export { data } from "./data.ts";
export { type CheckName, type CheckReport, explain } from "./explain.ts";
export { gradients } from "./gradients.ts";
export { initialLoss } from "./initial-loss.ts";
export { learningRate } from "./learning-rate.ts";
export { mixing } from "./mixing.ts";
export { overfit } from "./overfit.ts";
