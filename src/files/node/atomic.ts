/** Files in Node: written whole or not at all, and read with messages a person can act on. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, readFile, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { GlissadeError } from "../../errors.ts";

/** A file that the operating system would not read or write. */
export class FileError extends GlissadeError {
  override name = "FileError";
  /** The system's name of what went wrong, as in `ENOENT`; empty when it gave none. */
  readonly code: string;

  constructor(subject: string, problem: string, fix: string, code: string, options?: ErrorOptions) {
    super(subject, problem, fix, "", options);
    this.code = code;
  }
}

/**
 * Writes a file so that `path` holds either all of `bytes` (text as UTF-8) or what it held before, whenever the process
 * or the machine stops. The bytes go to `.NAME.RANDOM.tmp` in the same folder, are flushed to the disk, and take the
 * name in one step; a process that is killed in between leaves that temporary file behind. A link at `path` is
 * replaced, not followed. `bytes` must not be changed until the promise is fulfilled. Throws FileError with the reason,
 * and removes the temporary file.
 */
export async function writeFileAtomically(path: string, bytes: Uint8Array | string): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const file = await open(temporary, "wx");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await flushFolder(folder);
  } catch (cause) {
    // Removing is best effort: what stopped the write is what the caller has to hear of.
    await rm(temporary, { force: true }).catch(() => {});
    throw explained("writeFileAtomically", `${path} cannot be written`, cause, {
      ENOENT: `create the folder ${folder} first`,
      EISDIR: "give the path of a file, or remove the folder of that name",
    });
  }
}

/** Where a folder cannot be flushed, the new name reaches the disk when the system sees fit. */
const cannotFlushFolders: readonly string[] = ["EACCES", "EBADF", "EINVAL", "EISDIR", "ENOTSUP", "EPERM"];

/** Brings a rename to the disk, on systems that can (Windows cannot). */
async function flushFolder(folder: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(folder, "r");
    await handle.sync();
  } catch (error) {
    if (!cannotFlushFolders.includes(codeOf(error))) throw error;
  } finally {
    await handle?.close();
  }
}

/**
 * The bytes of a plain file. Throws FileError when there is none at `path`, it is a folder or a device, or it cannot be
 * read.
 */
export async function readFileChecked(path: string): Promise<Uint8Array> {
  try {
    const status = await stat(path);
    if (!status.isFile()) {
      const [kind, code] = status.isDirectory() ? ["a folder", "EISDIR"] : ["a device or pipe", "EINVAL"];
      throw new FileError("readFileChecked", `${path} is ${kind}`, "give the path of a file", code);
    }
    const bytes = await readFile(path);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw explained("readFileChecked", `${path} cannot be read`, cause, {
      ENOENT: "check the path and the working directory",
      ERR_FS_FILE_TOO_LARGE: "split it into files of less than 2 GiB",
    });
  }
}

/** What the system's codes mean, and what helps. */
const reasons: Readonly<Record<string, readonly [problem: string, fix: string]>> = {
  EACCES: ["permission is denied", "change the permissions, or choose another place"],
  EDQUOT: ["the quota of the disk is used up", "free some space, or choose another disk"],
  EFBIG: ["the file is larger than the system allows", "raise the limit (ulimit -f), or choose another file system"],
  EISDIR: ["it is a folder", "give the path of a file"],
  EMFILE: ["too many files are open", "close some, or raise the limit (ulimit -n)"],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  ENOENT: ["there is no such file or folder", "check the path"],
  ENOSPC: ["no space is left on the disk", "free some space, or choose another disk"],
  ENOTDIR: ["a part of the path is a file and not a folder", "check the path"],
  EPERM: ["the system does not permit it", "change the permissions, or choose another place"],
  EROFS: ["the file system is read-only", "choose another place"],
  ERR_FS_FILE_TOO_LARGE: ["it is larger than Node reads at once", "split it"],
};

function explained(
  subject: string,
  problem: string,
  cause: unknown,
  fixes: Readonly<Record<string, string>>,
): FileError {
  const code = codeOf(cause);
  const [reason, fix] = reasons[code] ?? [
    cause instanceof Error ? cause.message : String(cause),
    "check the path and the disk",
  ];
  return new FileError(subject, `${problem}: ${reason}${code ? ` (${code})` : ""}`, fixes[code] ?? fix, code, {
    cause,
  });
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}
