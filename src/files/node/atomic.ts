/** Files in Node: written completely or not at all, and read with helpful error messages. */
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, existsSync, readFileSync, readlinkSync, type Stats } from "node:fs";
import {
  access,
  constants,
  type FileHandle,
  lstat,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
} from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, GlissadeError, printable, quoted } from "../../errors.ts";

/** The error for a file that the operating system did not read or write. */
export class FileError extends GlissadeError {
  override name = "FileError";
  /** The system's error code, such as `ENOENT`; empty when the system gave none. */
  readonly code: string;

  constructor(subject: string, problem: string, fix: string, code: string, options?: ErrorOptions) {
    super(subject, problem, fix, "", options);
    this.code = code;
  }
}

/** The location of a file, as `node:fs` accepts it: a path, or a URL with the scheme `file:`. */
export type FileLocation = string | URL;

/**
 * Writes a file atomically: whenever the process or the machine stops, `location` holds either all of `bytes` (text as UTF-8) or its
 * previous content. The bytes are written to a temporary file in the same folder and flushed to the disk; then the temporary file is
 * renamed in one step. An existing file keeps its mode and, where the system permits it, its owner; other hard links to it keep the old
 * bytes. A symbolic link stays, and the file that it points to is written. A process that is killed in between leaves the temporary file,
 * which the next call for that folder removes. `bytes` must not be changed until the promise is fulfilled. Throws FileError with the reason
 * when it fails, and for devices, pipes, sockets and folders; the temporary file is then removed.
 */
export async function writeFileAtomically(location: FileLocation, bytes: Uint8Array | string): Promise<void> {
  const subject = "writeFileAtomically";
  const path = pathOf(subject, location);
  let temporary: string | undefined;
  try {
    const target = await targetOf(path);
    if (target.status) expectFile(subject, path, target.status);
    if (target.status) await access(target.path, constants.W_OK);
    const folder = dirname(target.path);
    await removeLeftovers(folder);
    temporary = join(folder, temporaryName());
    const file = await open(temporary, "wx", target.status ? 0o600 : 0o666);
    try {
      await file.writeFile(bytes);
      if (target.status) await takeOver(file, target.status);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, target.path);
    await flushFolder(folder);
  } catch (cause) {
    // Errors of the removal are ignored: the caller must get the error that stopped the write.
    if (temporary) await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof FileError) throw cause;
    throw explained(subject, `${printable(path)} cannot be written`, cause, {
      ENOENT: `create the folder ${printable(dirname(path))} first`,
      EISDIR: "give the path of a file, or remove the folder of that name",
    });
  }
}

/** Returns a location as a path. Throws ConfigError if it is neither a path nor a URL of a file. */
function pathOf(subject: string, location: FileLocation): string {
  const path = location instanceof URL ? pathOfUrl(subject, location) : location;
  if (typeof path === "string" && path !== "" && !path.includes("\0")) return path;
  throw new ConfigError(
    subject,
    typeof path === "string"
      ? `the path ${quoted(path)} names no file`
      : `the path is ${path === null ? "null" : typeof path}`,
    "give a path or a file: URL",
  );
}

function pathOfUrl(subject: string, url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw new ConfigError(
      subject,
      `${printable(url.href)} is no file of this machine`,
      "give a path or a file: URL; fetch the bytes of other addresses yourself, and see encodeWeights and decodeWeights",
      "",
      { cause },
    );
  }
}

/** Returns the file that a path leads to, with links followed, and its status if it exists. Throws the system's errors. */
async function targetOf(path: string): Promise<{ readonly path: string; readonly status: Stats | undefined }> {
  const status = await unlessMissing(stat(path));
  if (status) return { path: status.isFile() ? await realpath(path) : path, status };
  // The file does not exist, or the link points to a file that does not exist: then the link's target is created.
  let target = path;
  for (let hops = 0; hops < 40; hops++) {
    const link = await unlessMissing(lstat(target));
    if (!link?.isSymbolicLink()) return { path: target, status: undefined };
    target = resolve(await realpath(dirname(target)), await readlink(target));
  }
  throw Object.assign(new Error("too many links"), { code: "ELOOP" });
}

async function unlessMissing(status: Promise<Stats>): Promise<Stats | undefined> {
  try {
    return await status;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Gives a new file the mode and, where the system permits it, the owner of the one it replaces. */
async function takeOver(file: FileHandle, { mode, uid, gid }: Stats): Promise<void> {
  const made = await file.stat();
  if (made.uid !== uid || made.gid !== gid) await file.chown(uid, gid).catch(() => {});
  await file.chmod(mode & 0o7777);
}

/** Throws FileError unless a status is that of a plain file. */
function expectFile(subject: string, path: string, status: Stats): void {
  if (status.isFile()) return;
  const [kind, code] = status.isDirectory()
    ? ["a folder", "EISDIR"]
    : [status.isFIFO() ? "a pipe" : status.isSocket() ? "a socket" : "a device", "EINVAL"];
  throw new FileError(subject, `${printable(path)} is ${kind}`, "give the path of a file", code);
}

// Temporary files

/**
 * The names of temporary files. They are short, whatever the file's name is, and say which process writes:
 * `.glissade-HOST-PID-START-RANDOM.tmp`.
 */
const temporaryNames = /^\.glissade-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{12}\.tmp$/;

function temporaryName(): string {
  return `.glissade-${host()}-${process.pid}-${startOf(process.pid) ?? 0}-${randomBytes(6).toString("hex")}.tmp`;
}

/** Identifies the machine or container within which process numbers are unique: its name and, on Linux, its process namespace. */
export function host(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // A system other than Linux, which has only one namespace.
  }
  return createHash("sha256").update(`${hostname()} ${namespace}`).digest("hex").slice(0, 8);
}

/** Returns when a process started, in the system's ticks; 0 if the system does not tell, undefined if there is no such process. */
export function startOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state, ...fields] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : Number(fields[18]);
  } catch {
    if (existsSync("/proc/self/stat")) return undefined;
  }
  try {
    process.kill(pid, 0); //  sends no signal, only checks that the process exists
    return 0;
  } catch (error) {
    return codeOf(error) === "ESRCH" ? undefined : 0;
  }
}

/**
 * The longest time to write one file, in milliseconds. Processes of other machines cannot be checked, so their older temporary files count
 * as left over.
 */
const longestSave = 24 * 60 * 60 * 1000;

/** Removes temporary files of processes that no longer exist. */
async function removeLeftovers(folder: string): Promise<void> {
  const isOver = async (name: string): Promise<boolean> => {
    const [, itsHost, pid, start] = temporaryNames.exec(name) ?? [];
    if (itsHost === undefined) return false;
    if (itsHost === host() && startOf(Number(pid)) !== Number(start)) return true;
    const status = await stat(join(folder, name));
    return Date.now() - status.mtimeMs > longestSave;
  };
  const names = await readdir(folder).catch((): string[] => []); //  the folder may be write-only
  for (const name of names)
    try {
      if (await isOver(name)) await rm(join(folder, name), { force: true });
    } catch {
      // Another save has removed it already, or it belongs to another user.
    }
}

/** The error codes of systems that cannot flush a folder. There the new name reaches the disk when the system chooses. */
const cannotFlushFolders: readonly string[] = ["EACCES", "EBADF", "EINVAL", "EISDIR", "ENOTSUP", "EPERM"];

/** Flushes a folder so that a rename reaches the disk, on systems that support it (Windows does not). */
export async function flushFolder(folder: string): Promise<void> {
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
 * Returns the bytes of a plain file. Throws FileError when there is no file at `location`, when it is a folder, a device, a pipe or a
 * socket, or when it cannot be read.
 */
export async function readFileChecked(location: FileLocation): Promise<Uint8Array> {
  const subject = "readFileChecked";
  const path = pathOf(subject, location);
  try {
    expectFile(subject, path, await stat(path));
    const bytes = await readFile(path);
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw explained(subject, `${printable(path)} cannot be read`, cause, {
      ENOENT: "check the path and the working directory",
      ERR_FS_FILE_TOO_LARGE: "split it into files of less than 2 GiB",
    });
  }
}

/** Yields the bytes of a plain file in parts of up to 256 KiB. Throws as `readFileChecked` does. */
export async function* readPartsChecked(location: FileLocation): AsyncGenerator<Uint8Array, void, undefined> {
  const subject = "readPartsChecked";
  const path = pathOf(subject, location);
  try {
    expectFile(subject, path, await stat(path));
    for await (const part of createReadStream(path, { highWaterMark: 2 ** 18 })) yield part as Uint8Array;
  } catch (cause) {
    if (cause instanceof GlissadeError || codeOf(cause) === "") throw cause;
    throw explained(subject, `${printable(path)} cannot be read`, cause, {
      ENOENT: "check the path and the working directory",
    });
  }
}

/** The meaning of the system's error codes, and advice. */
const reasons: Readonly<Record<string, readonly [problem: string, fix: string]>> = {
  EBUSY: ["the system uses it, as a mount point or otherwise", "choose another place"],
  EACCES: ["permission is denied", "change the permissions, or choose another place"],
  EDQUOT: ["the quota of the disk is used up", "free some space, or choose another disk"],
  EFBIG: ["the file is larger than the system allows", "raise the limit (ulimit -f), or choose another file system"],
  EISDIR: ["it is a folder", "give the path of a file"],
  ELOOP: ["its links lead in a circle", "remove the link, or give the path of a file"],
  EMFILE: ["too many files are open", "close some, or raise the limit (ulimit -n)"],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  ENOENT: ["there is no such file or folder", "check the path"],
  ENOSPC: ["no space is left on the disk", "free some space, or choose another disk"],
  ENOTDIR: ["a part of the path is a file and not a folder", "check the path"],
  EPERM: ["the system does not permit it", "change the permissions, or choose another place"],
  EROFS: ["the file system is read-only", "choose another place"],
  ERR_FS_FILE_TOO_LARGE: ["it is larger than Node reads at once", "split it"],
};

export function explained(
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

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}
