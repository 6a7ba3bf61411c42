/**
 * What can go wrong, as classes a program can tell apart. Every message says what was asked, what came, where, and the
 * fix; the fix is a required argument so that nobody forgets it.
 */

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
    super(`${subject}: ${problem}${path ? `\n  in:  ${path}` : ""}\n  fix: ${fix}`, options);
    this.subject = subject;
    this.problem = problem;
    this.fix = fix;
    this.path = path;
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
