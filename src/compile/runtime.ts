/** Which engine runs things. */
import type { Engine } from "../engine/engine.ts";
import { EngineError } from "../errors.ts";
import { anEngine, expectArguments } from "../graph/arguments.ts";

let chosen: Engine | undefined;
let makeDefault: (() => Engine) | undefined;

/**
 * The engine that runs compiled graphs from now on. Values move over by themselves when they are needed. Throws ConfigError for what is
 * no engine.
 */
export function useEngine(engine: Engine): void {
  expectArguments("useEngine", [anEngine], [engine]);
  chosen = engine;
}

/** What to run on until somebody chooses; made at the first use. */
export function setDefaultEngine(make: () => Engine): void {
  makeDefault = make;
  chosen = undefined;
}

export function currentEngine(): Engine {
  if (!chosen && !makeDefault)
    throw new EngineError("engine", "none has been chosen", 'import from "glissade", or call useEngine');
  chosen ??= makeDefault!();
  return chosen;
}
