/** Switches off ONNX Runtime's telemetry before the library is loaded; the library has it on by default. */
import { isMainThread } from "node:worker_threads";
import { EngineError } from "../../errors.ts";
import type { Koffi } from "./library.ts";

/** The environment variable that the library reads when it makes its environment. */
const variable = "ORT_DISABLE_TELEMETRY";

/**
 * Switches telemetry off for the process: no log in the temporary folder, no database in the cache folder, no connection. In a worker
 * `process.env` is a copy that the library does not see, so the variable is set through the C library. Throws EngineError in a worker
 * without koffi if the variable is not set in the process.
 */
export function switchTelemetryOff(koffi: Koffi | undefined): void {
  if (!isMainThread) {
    if (koffi) setInProcess(koffi);
    else if (process.env[variable] !== "1")
      throw new EngineError(
        "node engine",
        "ONNX Runtime's telemetry cannot be switched off in a worker thread without koffi",
        `install koffi, or start the process with ${variable}=1 in its environment`,
      );
  }
  if (process.env[variable] !== "1") process.env[variable] = "1";
}

function setInProcess(koffi: Koffi): void {
  if (process.platform === "win32") {
    const system = koffi.load("kernel32.dll");
    system.func("int SetEnvironmentVariableA(const char *name, const char *value)")(variable, "1");
    return;
  }
  const system = koffi.load(null);
  const value: unknown = system.func("const char *getenv(const char *name)")(variable);
  // Changing the environment is not safe while other threads read it, so it is done once for the process.
  if (value !== "1") system.func("int setenv(const char *name, const char *value, int overwrite)")(variable, "1", 1);
}
