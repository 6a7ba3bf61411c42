/** Packages that are looked up at run time. */
import { createRequire } from "node:module";

/**
 * `require`, as seen from this file. In ES modules `import.meta.url` says where that is; a bundler that writes CommonJS leaves it
 * undefined, and there `__filename` exists.
 */
export const requirePackage: NodeJS.Require = createRequire(import.meta.url ?? __filename);
