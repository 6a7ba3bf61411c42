/** `glissade fill`: the most likely tokens for each mask of a text. */
import { printable } from "../errors.ts";
import { fillMask, type MaskedLanguageModel } from "../models/pipelines.ts";
import { expectText, type LanguageOptions, openLanguageModel } from "./language.ts";
import { bold, dim, drawBar } from "./pictures.ts";

export interface FillOptions extends LanguageOptions {
  readonly topK: number;
}

const fits = (architecture: string): boolean => ["BertForMaskedLM", "BertForPreTraining"].includes(architecture);

export async function fillCommand(text: string, { topK, json, ...options }: FillOptions): Promise<number> {
  expectText("fill", text, "the [MASK] sat");
  const { model, tokenizer } = await openLanguageModel("fill", options, fits, "bert-pretrain");
  const masks = await fillMask(model as unknown as MaskedLanguageModel, tokenizer, text, { topK });
  for (const [i, found] of masks.entries()) {
    if (!json && masks.length > 1) console.log(`${i > 0 ? "\n" : ""}${bold(`mask ${i + 1}`)}`);
    const width = Math.max(...found.map(({ token }) => token.length));
    for (const { token, tokenId, score, sequence } of found)
      console.log(
        json
          ? JSON.stringify({ mask: i, token, tokenId, score, sequence })
          : `${printable(token).padEnd(width)}  ${(100 * score).toFixed(1).padStart(5)}% ${drawBar(score, 20)}  ${dim(printable(sequence, 200))}`,
      );
  }
  return 0;
}
