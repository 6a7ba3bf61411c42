/**
 * Error classes, which a program can distinguish. Every message says what was expected, what came, where, and how to fix it. The fix
 * is a required argument, so that it cannot be forgotten.
 */

/** The most characters of a name that a message shows. */
const mostOfName = 200;
/** The most characters of a whole problem or fix, which may list names. */
const mostOfSentence = 1000;

/**
 * Returns text from outside (a path, a name in a file, another library's message) as one printable line. Control characters, line
 * ends, invisible characters and those that change the direction of writing become escapes such as `\u001b`. The middle of long texts
 * and of long words is left out. Every error does this with its parts; code that prints text in another way must call this function.
 */
export function printable(text: string, most: number = mostOfName): string {
  return shortened(shortened(text, most).replace(hidden, escapeOf), 2 * most).replace(longWord, (word) =>
    shortened(word, mostOfName),
  );
}

/** Returns a text without its middle if it is too long. */
function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most / 2)}…${text.slice(-most / 2)}` : text;
}

const longWord = new RegExp(`\\S{${mostOfName + 2},}`, "g");

/** Returns a name from outside in quotation marks. The end of a long name is left out. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name).replace(hidden, escapeOf);
}

/** Control characters, characters that format text or change its direction, lone surrogates, private use, line and paragraph separators. */
const hidden = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!.toString(16);
  const short = { a: "\\n", d: "\\r", "9": "\\t" }[code];
  return short ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`);
}

/** Base of every error that Glissade throws on purpose. */
export class GlissadeError extends Error {
  override name = "GlissadeError";
  /** The op, function or file that the error is about. */
  readonly subject: string;
  /** What was expected and what came. */
  readonly problem: string;
  /** What to change. */
  readonly fix: string;
  /** Path of the module that was being called, as in `encoder.layers.0`; empty outside of any module. */
  readonly path: string;

  constructor(subject: string, problem: string, fix: string, path: string = "", options?: ErrorOptions) {
    const parts = {
      subject: printable(subject),
      problem: printable(problem, mostOfSentence),
      fix: printable(fix, mostOfSentence),
      path: printable(path),
    };
    super(`${parts.subject}: ${parts.problem}${path ? `\n  in:  ${parts.path}` : ""}\n  fix: ${parts.fix}`, options);
    this.subject = parts.subject;
    this.problem = parts.problem;
    this.fix = parts.fix;
    this.path = parts.path;
  }
}

/** Shapes that do not match. */
export class ShapeError extends GlissadeError {
  override name = "ShapeError";
}

/** A dtype that an op does not take, or two dtypes that should be the same. */
export class DTypeError extends GlissadeError {
  override name = "DTypeError";
}

/** A graph that cannot be built, differentiated or traced. */
export class GraphError extends GlissadeError {
  override name = "GraphError";
}

/** A file or bytes whose content does not have the expected format. */
export class FormatError extends GlissadeError {
  override name = "FormatError";
}

/** An option, argument or environment variable out of its range. */
export class ConfigError extends GlissadeError {
  override name = "ConfigError";
}

/** Invalid values: labels out of range, NaN where a number is needed, an empty dataset. */
export class DataError extends GlissadeError {
  override name = "DataError";
}

/** The engine could not create a session or run one. */
export class EngineError extends GlissadeError {
  override name = "EngineError";
}
