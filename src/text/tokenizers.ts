/** Tokenizers trained from texts, and those of published models. */
export { bert, gpt2, tiktoken } from "./read.ts";
export { trainBpe, trainCharacterLevel, trainWordLevel, trainWordPiece } from "./train.ts";
