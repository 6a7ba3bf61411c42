/** `npm start`: digits in about twenty seconds; then, for a person at a terminal, a network that says the words they type. */
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { DataError } from "../errors.ts";
import type { Seq2Seq } from "../models/seq2seq.ts";
import { bold, dim } from "./pictures.ts";

/** Where a person's words come from, and where answers go. */
export interface Terminal {
  readonly input: Readable;
  readonly output: Writable;
}

/** Whether somebody is there to answer: both ends are a terminal, and no continuous integration runs this. */
export const isAnswering = (): boolean =>
  Boolean(process.stdin.isTTY) && Boolean(process.stdout.isTTY) && !process.env.CI;

const later = "npx glissade train pronounce --setting minute";

/**
 * Offers a second training, of a network that pronounces English words, and then pronounces what is typed. Without a terminal it only says
 * how to do that later.
 */
export async function offerWords(
  terminal: Terminal = { input: process.stdin, output: process.stdout },
): Promise<number> {
  const say = (text: string): void => void terminal.output.write(`${text}\n`);
  if (!isAnswering()) {
    say(`\n${bold("Something to play with")}`);
    say(`  ${later}  ${dim("a network learns in about a minute to pronounce words")}`);
    say(`  ${"npx glissade pronounce glissade".padEnd(later.length)}  ${dim("it pronounces yours")}`);
    return 0;
  }
  say(`\n${bold("Something to play with")}`);
  say("Another network can learn to pronounce English words, in about a minute, and then say what you type.");
  const answer = await asked(terminal, "Train it now? [Y/n] ");
  if (!/^\s*(?:y|yes)?\s*$/i.test(answer ?? "n")) {
    say(dim(`Later: ${later}`));
    return 0;
  }
  const [{ loadRecipe }, { freeFolder, trainCommand }, { pronounceModelOf }] = await Promise.all([
    import("../recipes/index.ts"),
    import("./train.ts"),
    import("./pronounce.ts"),
  ]);
  const out = await freeFolder("pronounce");
  const code = await trainCommand(
    "pronounce",
    await loadRecipe("pronounce"),
    { setting: "minute" },
    { out, next: false },
  );
  if (code !== 0) return code;
  const { model } = await pronounceModelOf(out, "last");
  await sayTyped(model, terminal);
  say(
    dim(
      `\nIts model is kept: npx glissade pronounce hello. The whole training takes an hour: npx glissade train pronounce`,
    ),
  );
  return 0;
}

/** Pronounces lines of words until an empty one, or the end. */
export async function sayTyped(model: Seq2Seq, { input, output }: Terminal): Promise<void> {
  const { pronounce } = await import("../recipes/pronounce.ts");
  const say = (text: string): void => void output.write(`${text}\n`);
  const phonesOf = async (words: readonly string[]): Promise<void> => {
    const spoken = await pronounce(model, words, { beams: 5 });
    const width = Math.max(...words.map((word) => word.length));
    for (const [i, word] of words.entries()) say(`  ${word.padEnd(width)}  ${spoken[i]!.join(" ")}`);
  };
  say("");
  await phonesOf(["hello", "gradient", "glissade"]);
  say(`\n${bold("Type words that it has never seen: names, nonsense.")} ${dim("An empty line ends.")}`);
  const lines = createInterface({ input, output, prompt: "> " });
  lines.prompt();
  try {
    for await (const line of lines) {
      const words = line.trim().split(/\s+/).filter(Boolean);
      if (words.length === 0) break;
      try {
        await phonesOf(words);
      } catch (error) {
        if (!(error instanceof DataError)) throw error;
        say(`  ${error.message}`);
      }
      lines.prompt();
    }
  } finally {
    lines.close();
  }
}

/** The answer to a question; undefined when the input ends. */
function asked({ input, output }: Terminal, question: string): Promise<string | undefined> {
  const lines = createInterface({ input, output });
  return new Promise((resolve) => {
    lines.once("close", () => resolve(undefined));
    lines.question(question, (answer) => {
      resolve(answer);
      lines.close();
    });
  });
}
