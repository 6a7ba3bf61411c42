/** The engine that runs compiled graphs. */
import type { Engine } from "../engine/engine.ts";
import { EngineError } from "../errors.ts";
import { anEngine, expectArguments } from "../graph/arguments.ts";

let chosen: Engine | undefined;
let makeDefault: (() => Engine) | undefined;

/**
 * Sets the engine that runs compiled graphs from now on. Values move to it when they are needed. Throws ConfigError for a value that is
 * not an engine.
 */
export function useEngine(engine: Engine): void {
  expectArguments("useEngine", [anEngine], [engine]);
  chosen = engine;
}

/** Makes the default engine, at the first use. */
export function setDefaultEngine(make: () => Engine): void {
  makeDefault = make;
  chosen = undefined;
}

/** Returns the engine that runs are made with: the one of `useEngine`, or the default, which is made at the first call. */
export function currentEngine(): Engine {
  if (!chosen && !makeDefault)
    throw new EngineError("engine", "none has been chosen", 'import from "glissade", or call useEngine');
  chosen ??= makeDefault!();
  return chosen;
}
