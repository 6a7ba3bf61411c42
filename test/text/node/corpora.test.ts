/** Corpora out of their packages: counts that are published, splits that share nothing, damage that is told. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ConfigError, FormatError } from "../../../src/errors.ts";
import { loadBrown } from "../../../src/text/node/brown.ts";
import { loadCities } from "../../../src/text/node/cities.ts";
import { loadCmudict } from "../../../src/text/node/cmudict.ts";
import { loadTokenizer, saveTokenizer } from "../../../src/text/node/tokenizers.ts";
import { trainWordPiece } from "../../../src/text/train.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "glissade-text-"));
});
afterAll(() => rm(folder, { recursive: true }));

describe("Brown", () => {
  test("has its published counts, and sets of whole documents", async () => {
    const [base, raw] = [await loadBrown(), await loadBrown({ tags: "raw" })];
    const sentences = base.documents.flatMap((document) => document.sentences);
    expect(sentences.length).toBe(57_340);
    expect(sentences.reduce((sum, { words }) => sum + words.length, 0)).toBe(1_161_192);
    const tagsOf = ({ documents }: typeof base): Set<string> =>
      new Set(documents.flatMap((document) => document.sentences.flatMap(({ tags }) => tags)));
    expect([tagsOf(base).size, tagsOf(raw).size]).toEqual([81, 472]);
    expect(sentences[0]!.words.slice(0, 5).join(" ")).toBe("The Fulton County Grand Jury");
    expect(sentences[0]!.tags.slice(0, 5).join(" ")).toBe("at np nn jj nn");
    expect(new Set(base.documents.map(({ genre }) => genre)).size).toBe(15);
    const { train, validation, test: held } = base;
    expect([train.length, validation.length, held.length]).toEqual([400, 50, 50]);
    expect(new Set([...train, ...validation, ...held].map(({ name }) => name)).size).toBe(500);
  });

  test("with a damaged file says which line", async () => {
    await writeFile(path.join(folder, "cats.txt"), "ca01 news\n");
    await expect(loadBrown({ folder })).rejects.toThrow("it names 1 documents");
    await expect(loadBrown({ tags: "both" as never })).rejects.toThrow(ConfigError);
  });
});

describe("CMUdict", () => {
  test("has words once, with all pronunciations, and 12,000 held out", async () => {
    const { train, test: held, phones, letters } = await loadCmudict();
    expect(held.length).toBe(12_000);
    expect(phones.length).toBe(39);
    expect(letters.join("")).toBe("'abcdefghijklmnopqrstuvwxyz");
    const all = [...train, ...held];
    expect(new Set(all.map(({ word }) => word)).size).toBe(all.length);
    const tomato = all.find(({ word }) => word === "tomato")!;
    expect(tomato.pronunciations.map((phones) => phones.join(" "))).toEqual(["T AH M EY T OW", "T AH M AA T OW"]);
    const again = await loadCmudict({ stress: true });
    expect(again.test.map(({ word }) => word)).toEqual(held.map(({ word }) => word));
    expect(again.phones.length).toBeGreaterThan(60);
    expect((await loadCmudict({ seed: 1 })).test[0]).not.toEqual(held[0]);
  });

  test("that is another file is refused", async () => {
    const file = path.join(folder, "index.js");
    await writeFile(file, 'export const dictionary = {\n  "a": "AH0"\n}\n');
    await expect(loadCmudict({ file })).rejects.toThrow("it has 1 lines of words");
  });
});

describe("cities", () => {
  test("have names, countries and people", async () => {
    const cities = await loadCities();
    expect(cities.length).toBe(135_233);
    const zurich = cities.find(({ name }) => name === "Zürich")!;
    expect(zurich.country).toBe("CH");
    expect(zurich.population).toBeGreaterThan(300_000);
    const large = await loadCities({ minPopulation: 5_000_000 });
    expect(large.length).toBeGreaterThan(10);
    expect(large.length).toBeLessThan(200);
  });

  test("in a damaged file are refused", async () => {
    const file = path.join(folder, "cities.pbf");
    for (const bytes of [[], [200, 1, 2], [3, 18, 255, 255], [2, 18, 0, 255]]) {
      await writeFile(file, Uint8Array.from(bytes));
      await expect(loadCities({ file })).rejects.toThrow(FormatError);
    }
  });
});

test("tokenizers are saved and loaded, with the config beside them", async () => {
  const file = path.join(folder, "tokenizer.json");
  const tokenizer = trainWordPiece(["the cat sat"], { specialTokens: ["[UNK]", "<X>"] });
  await saveTokenizer(tokenizer, file);
  expect((await loadTokenizer(file)).encode("the cat")).toEqual(tokenizer.encode("the cat"));
  await writeFile(path.join(folder, "tokenizer_config.json"), '{"pad_token":"<X>"}');
  expect((await loadTokenizer(new URL(`file://${file}`))).special).toEqual({ unk: 0, pad: 1 });
  await writeFile(file, "no json");
  await expect(loadTokenizer(file)).rejects.toThrow(FormatError);
});
