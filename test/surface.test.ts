/** The public surface fits one screen, and nobody changes it by accident. */
import { expect, test } from "vitest";
import * as core from "../src/index.ts";
import * as node from "../src/node.ts";

test("what the core exports", () => {
  expect(Object.keys(core).sort().join(" ")).toMatchInlineSnapshot(
    `"ConfigError DTypeError DataError Dataset EngineError FormatError Generator GlissadeError GraphError Parameter ShapeError Standardizer State Tensor adam affine binaryCrossEntropy broadcast compile concat crossEntropy currentEngine dataset decodeSafetensors decodeWeights defaultGenerator defineOp drop dropout embed embedding encodeSafetensors encodeWeights evaluate exportOnnx fitStandardizer fromValues full gelu gradientCheck gradients init layerNorm layerNormalize linear loader meanSquaredError module ones parameter plainEngine printGraph range relu seed sequential sgd sigmoid tanh tensor toTensor useEngine where zeros"`,
  );
});

test("what Node adds", () => {
  const added = Object.keys(node).filter((name) => !(name in core));
  expect(added.sort().join(" ")).toMatchInlineSnapshot(
    `"FileError loadMnist loadWeights nodeEngine saveWeights writeFileAtomically"`,
  );
});

test("the methods of a tensor", () => {
  const methods = Object.getOwnPropertyNames(core.Tensor.prototype).filter((name) => name !== "constructor");
  expect(methods.sort().join(" ")).toMatchInlineSnapshot(
    `"abs add and apply argmax array cast current data detach div dtype equal erf exp expandTo gather gelu greater halfErf item less log logSoftmax mT matmul max maximum mean minimum mul neg not oneHot or pick pow reciprocal relu reshape scalar shape sigmoid sign size sizes slice softmax split sqrt step sub sum sumTo tanh text toString transpose"`,
  );
});
