/** ONNX Runtime's error messages, made readable. */
import { EngineError } from "../../errors.ts";

/**
 * Returns the EngineError for a message of ONNX Runtime.
 * @param subject what failed, as in `the run`
 */
export function runtimeError(subject: string, message: string, cause?: unknown): EngineError {
  const options = cause === undefined ? undefined : { cause };
  return new EngineError("ONNX Runtime", `${subject} failed: ${readable(message)}`, fixFor(message), "", options);
}

/** The most characters of a message that are used: a message may be very long, and the patterns below scan each word more than once. */
const longestMessage = 4000;

/** Removes the source file, the C++ signature and the status code that ONNX Runtime writes in front of its message. */
function readable(message: string): string {
  return message
    .slice(0, longestMessage)
    .replace(
      /Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: /,
      (_, op, name) => (name ? `${op} node "${name}": ` : `${op} node: `),
    )
    .replace(/\S+\.(?:cc|h|cpp|hpp):\d+ (?:[^\n]*?\)(?: const)?(?: \[[^\]\n]*\])? )?/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

const fixes: readonly (readonly [pattern: RegExp, fix: string])[] = [
  [
    /out of (?:data )?bounds|indices element|invalid indice/i,
    "an index lies outside of the axis it points into: check labels and token ids",
  ],
  [/bad_alloc|failed to allocate/i, "there is not enough memory: use a smaller batch or model"],
  [
    /NOT_IMPLEMENTED|could not find an implementation/i,
    "ONNX Runtime has no kernel for this op and dtype: cast to float32",
  ],
];

function fixFor(message: string): string {
  for (const [pattern, fix] of fixes) if (pattern.test(message)) return fix;
  return "print the graph with GLISSADE_DEBUG=3 and look at the node it names";
}
