/** Templates into which one or two texts are inserted for a model, such as `[CLS] a [SEP] b [SEP]`. */
import { componentsOf, type TemplateItem, type TokenizerComponent } from "./tokenizer-json.ts";

/** A part of a template: a token by its id, or the first or second text; and the segment that it belongs to. */
export type TemplatePart =
  | { readonly token: number; readonly segment: number }
  | { readonly text: 0 | 1; readonly segment: number };

export interface Template {
  readonly single: readonly TemplatePart[];
  readonly pair: readonly TemplatePart[];
}

const first: TemplatePart = { text: 0, segment: 0 };
const bare: Template = { single: [first], pair: [first, { text: 1, segment: 1 }] };

/** Returns the template of a `post_processor`. If there is none, or it adds no tokens, the template is only the texts. */
export function templateOf(part: TokenizerComponent | null, ids: ReadonlyMap<string, number>): Template {
  let template = bare;
  for (const component of componentsOf(part)) {
    const token = (name: string, segment: number): TemplatePart => ({ token: ids.get(name)!, segment });
    const fromItems = (items: readonly TemplateItem[]): TemplatePart[] =>
      items.map(({ SpecialToken: special, Sequence: sequence }) =>
        special
          ? token(special.id, special.type_id)
          : { text: sequence!.id === "A" ? 0 : 1, segment: sequence!.type_id },
      );
    if (component.type === "TemplateProcessing")
      template = {
        single: fromItems(component.single as TemplateItem[]),
        pair: fromItems(component.pair as TemplateItem[]),
      };
    if (component.type === "BertProcessing" || component.type === "RobertaProcessing") {
      const cls = token((component.cls as [string])[0], 0);
      const sep = (component.sep as [string])[0];
      const single = [cls, first, token(sep, 0)];
      template =
        component.type === "BertProcessing"
          ? { single, pair: [...single, { text: 1, segment: 1 }, token(sep, 1)] }
          : { single, pair: [...single, token(sep, 0), { text: 1, segment: 0 }, token(sep, 0)] };
    }
  }
  return template;
}

/** Makes a `post_processor` from two lines, such as `[CLS] $A [SEP]` and `[CLS] $A [SEP] $B:1 [SEP]:1`. */
export function templateFrom(single: string, pair: string, ids: ReadonlyMap<string, number>): TokenizerComponent {
  const items = (line: string): TemplateItem[] =>
    line.split(" ").map((word) => {
      const [, name = word, type = "0"] = /^(.*?)(?::([01]))?$/.exec(word) ?? [];
      return name === "$A" || name === "$B"
        ? { Sequence: { id: name === "$A" ? "A" : "B", type_id: Number(type) } }
        : { SpecialToken: { id: name, type_id: Number(type) } };
    });
  const both = { single: items(single), pair: items(pair) };
  const named = new Set([...both.single, ...both.pair].flatMap(({ SpecialToken }) => SpecialToken?.id ?? []));
  return {
    type: "TemplateProcessing",
    ...both,
    special_tokens: Object.fromEntries(
      [...named].map((name) => [name, { id: name, ids: [ids.get(name)], tokens: [name] }]),
    ),
  };
}

/** Which text is shortened if there are too many tokens. */
export type Truncation = "longestFirst" | "onlyFirst" | "onlySecond";

/**
 * Returns how many tokens of each text are kept so that all fit into `room`. The longer text is shortened until both have the same length;
 * of an odd number, the text that was longer keeps one more. Undefined if the texts cannot fit.
 */
export function truncated(
  lengths: readonly [number, number],
  room: number,
  truncation: Truncation,
): readonly [number, number] | undefined {
  const [a, b] = lengths;
  if (a + b <= room) return lengths;
  if (truncation === "onlyFirst") return room - b > 0 ? [room - b, b] : undefined;
  if (truncation === "onlySecond") return room - a > 0 ? [a, room - a] : undefined;
  if (room < 0) return undefined;
  const shorter = Math.min(a, b, Math.floor(room / 2));
  return a > b ? [room - shorter, shorter] : [shorter, room - shorter];
}
