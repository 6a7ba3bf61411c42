/** Looks up packages at run time. */
import { createRequire } from "node:module";

/**
 * `require`, relative to this file. In ES modules `import.meta.url` is the path of this file. A bundler that writes CommonJS leaves
 * `import.meta.url` undefined, but there `__filename` exists.
 */
export const requirePackage: NodeJS.Require = createRequire(import.meta.url ?? __filename);
