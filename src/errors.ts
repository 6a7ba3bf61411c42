/**
 * What can go wrong, as classes a program can tell apart. Every message says what was asked, what came, where, and the
 * fix; the fix is a required argument so that nobody forgets it.
 */

/** Characters of a name that a message shows. */
const mostOfName = 200;
/** Characters of a whole problem or fix, which may list names. */
const mostOfSentence = 1000;

/**
 * Text from outside (a path, a name in a file, another library's message) as one line that shows what it holds: control
 * characters, line ends, invisible characters and those that turn the direction of writing become escapes such as `\u001b`. Of
 * long texts and of long words the middle is left out. Every error does this with its parts; what is printed otherwise goes
 * through here.
 */
export function printable(text: string, most: number = mostOfName): string {
  return shortened(shortened(text, most).replace(hidden, escapeOf), 2 * most).replace(longWord, (word) =>
    shortened(word, mostOfName),
  );
}

/** A text without its middle where it is long. */
function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most / 2)}…${text.slice(-most / 2)}` : text;
}

const longWord = new RegExp(`\\S{${mostOfName + 2},}`, "g");

/** A name from outside in quotation marks, its end left out when it is long. */
export function quoted(name: string): string {
  return JSON.stringify(name.length > 80 ? `${name.slice(0, 80)}…` : name).replace(hidden, escapeOf);
}

/** Controls, characters that format or turn text, halves of surrogate pairs, private use, separators of lines and paragraphs. */
const hidden = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

function escapeOf(character: string): string {
  const code = character.codePointAt(0)!.toString(16);
  const short = { a: "\\n", d: "\\r", "9": "\\t" }[code];
  return short ?? (code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`);
}

/** Base of every error that Glissade throws on purpose. */
export class GlissadeError extends Error {
  override name = "GlissadeError";
  /** What was being done: an op's name, a function, a file. */
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

/** Shapes that do not go together. */
export class ShapeError extends GlissadeError {
  override name = "ShapeError";
}

/** A dtype that an op does not take, or two that should have been one. */
export class DTypeError extends GlissadeError {
  override name = "DTypeError";
}

/** A graph that cannot be built, differentiated or traced. */
export class GraphError extends GlissadeError {
  override name = "GraphError";
}

/** A file or byte string that is not what it claims to be. */
export class FormatError extends GlissadeError {
  override name = "FormatError";
}

/** An option, argument or environment variable out of its range. */
export class ConfigError extends GlissadeError {
  override name = "ConfigError";
}

/** Values that a run refused: labels out of range, NaN where a number must be, an empty dataset. */
export class DataError extends GlissadeError {
  override name = "DataError";
}

/** The engine could not create a session or run one. */
export class EngineError extends GlissadeError {
  override name = "EngineError";
}
