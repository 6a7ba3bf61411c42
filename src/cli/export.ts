/** `glissade export`: a run's model for other programs. */
import path from "node:path";
import { ConfigError } from "../errors.ts";
import { exportOnnx } from "../files/export.ts";
import { writeFileAtomically } from "../files/node/atomic.ts";
import { saveWeights } from "../files/node/model.ts";
import type { PretrainedModel } from "../models/architecture.ts";
import { savePretrained } from "../models/node/pretrained.ts";
import type { PreparedRecipe } from "../recipes/recipe.ts";
import { zeros } from "../tensor/create.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { completeSetup } from "../train/setup.ts";
import { loadTrained, type Which } from "./checkpoint.ts";
import { inputsOf } from "./inspect.ts";
import { networkAsOnnx, networkOf, notOpen } from "./network.ts";
import { colour, dim } from "./pictures.ts";

export const formats = ["onnx", "safetensors", "step", "pretrained"] as const;

export interface ExportCommandOptions {
  /**
   * onnx: the network; safetensors: its weights; step: the whole training step as ONNX; pretrained: a folder in Hugging Face's form, for BERT
   * and GPT-2.
   */
  readonly format: (typeof formats)[number];
  readonly checkpoint: Which;
  /** Default: in the run's folder. */
  readonly out?: string;
}

const usualNames = {
  onnx: "model.onnx",
  safetensors: "model.safetensors",
  step: "step.onnx",
  pretrained: "pretrained",
} as const;

export async function exportCommand(folder: string, options: ExportCommandOptions): Promise<number> {
  const { format, checkpoint, out = path.join(folder, usualNames[options.format]) } = options;
  const { prepared, step } = await loadTrained(folder, checkpoint);
  let taken = "";
  if (format === "safetensors") await saveWeights(prepared.setup.model, out, { step: String(step) });
  else if (format === "onnx") {
    const model = await networkAsOnnx(prepared, await networkOf(prepared), sayFixed);
    await writeFileAtomically(out, model);
    taken = `, takes ${inputsOf(model)}`;
  } else if (format === "step") await writeFileAtomically(out, await stepAsOnnx(prepared));
  else {
    const { setup, prediction } = prepared;
    if (!("architecture" in setup.model))
      throw new ConfigError(
        "export",
        `the model is a ${setup.model.kind}`,
        "a pre-trained model's folder is for BERT and GPT-2: export it as onnx or safetensors",
      );
    await savePretrained(setup.model as unknown as PretrainedModel, out, {
      ...(prediction.tokenizer && { tokenizer: prediction.tokenizer }),
    });
  }
  console.log(`${colour("green", "Saved")} ${out}  (step ${step}${taken})`);
  return 0;
}

/** Says why an exported model does not take all sizes. */
function sayFixed(reason: string): void {
  console.log(dim(notOpen(reason)));
}

/** The training step: a batch and all variables go in, the loss and all variables that change come out. */
async function stepAsOnnx(prepared: PreparedRecipe): Promise<Uint8Array> {
  const { columns } = await networkOf(prepared);
  const { model, loss, optimizer, batchSize, afterUpdate } = completeSetup("export", prepared.setup);
  const { maxGradNorm } = prepared.options;
  model.train();
  return exportOnnx(
    (...batch: readonly Tensor[]) => {
      const value = loss(...batch);
      optimizer.minimize(value, maxGradNorm === undefined ? {} : { clipNorm: maxGradNorm });
      afterUpdate();
      return value;
    },
    columns.map(({ shape, dtype }) => zeros([batchSize, ...shape], dtype) as Tensor),
    {
      inputs: columns.map((_, i) => (i === columns.length - 1 ? "targets" : i === 0 ? "inputs" : `inputs${i}`)),
      outputs: ["loss"],
      names: model,
      training: true,
      onFixedBatch: sayFixed,
    },
  );
}
