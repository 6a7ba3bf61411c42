/** Files in Node: written whole or not at all, and read with messages a person can act on. */
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

/** Where a file is, as `node:fs` takes it: a path, or a URL with the scheme `file:`. */
export type FileLocation = string | URL;

/**
 * Writes a file so that `location` holds either all of `bytes` (text as UTF-8) or what it held before, whenever the process
 * or the machine stops. The bytes go to a temporary file in the same folder, are flushed to the disk, and take the name in one
 * step. An existing file keeps its mode and, where the system permits it, its owner; other hard links to it keep the old bytes. A
 * symbolic link stays, and the file it leads to is written. A process that is killed in between leaves the temporary file behind,
 * which the next call for that folder removes. `bytes` must not be changed until the promise is fulfilled. Throws FileError with
 * the reason, and removes the temporary file; devices, pipes, sockets and folders are refused.
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
    // Removing is best effort: what stopped the write is what the caller has to hear of.
    if (temporary) await rm(temporary, { force: true }).catch(() => {});
    if (cause instanceof FileError) throw cause;
    throw explained(subject, `${printable(path)} cannot be written`, cause, {
      ENOENT: `create the folder ${printable(dirname(path))} first`,
      EISDIR: "give the path of a file, or remove the folder of that name",
    });
  }
}

/** A location as a path. Throws ConfigError for what is neither a path nor a URL of a file. */
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

/** The file behind a path, links followed, and its status where it exists. Throws what the system throws. */
async function targetOf(path: string): Promise<{ readonly path: string; readonly status: Stats | undefined }> {
  const status = await unlessMissing(stat(path));
  if (status) return { path: status.isFile() ? await realpath(path) : path, status };
  // Nothing there, or a link to nothing: then the link's target is made.
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

/** Names are short whatever the file's name is, and say who writes: `.glissade-HOST-PID-START-RANDOM.tmp`. */
const temporaryNames = /^\.glissade-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{12}\.tmp$/;

function temporaryName(): string {
  return `.glissade-${host()}-${process.pid}-${startOf(process.pid) ?? 0}-${randomBytes(6).toString("hex")}.tmp`;
}

/** Whose numbers of processes are ours: a machine or a container, by its name and, on Linux, its namespace. */
export function host(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // Another system, which has one namespace.
  }
  return createHash("sha256").update(`${hostname()} ${namespace}`).digest("hex").slice(0, 8);
}

/** When a process started, in the system's ticks; 0 where the system does not tell, nothing when there is no such process. */
export function startOf(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state, ...fields] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : Number(fields[18]);
  } catch {
    if (existsSync("/proc/self/stat")) return undefined;
  }
  try {
    process.kill(pid, 0); //  sends nothing
    return 0;
  } catch (error) {
    return codeOf(error) === "ESRCH" ? undefined : 0;
  }
}

/** Nobody writes one file for so long: those of other machines, which cannot be asked, count as left behind after it. */
const longestSave = 24 * 60 * 60 * 1000;

/** Removes temporary files of processes that are no more. */
async function removeLeftovers(folder: string): Promise<void> {
  const isOver = async (name: string): Promise<boolean> => {
    const [, itsHost, pid, start] = temporaryNames.exec(name) ?? [];
    if (itsHost === undefined) return false;
    if (itsHost === host() && startOf(Number(pid)) !== Number(start)) return true;
    const status = await stat(join(folder, name));
    return Date.now() - status.mtimeMs > longestSave;
  };
  const names = await readdir(folder).catch((): string[] => []); //  a folder may be for writing alone
  for (const name of names)
    try {
      if (await isOver(name)) await rm(join(folder, name), { force: true });
    } catch {
      // Another save was faster, or it belongs to somebody else.
    }
}

/** Where a folder cannot be flushed, the new name reaches the disk when the system sees fit. */
const cannotFlushFolders: readonly string[] = ["EACCES", "EBADF", "EINVAL", "EISDIR", "ENOTSUP", "EPERM"];

/** Brings a rename to the disk, on systems that can (Windows cannot). */
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
 * The bytes of a plain file. Throws FileError when there is none at `location`, it is a folder, a device, a pipe or a socket, or it
 * cannot be read.
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

/** The bytes of a plain file in parts of up to 256 KiB. Throws what `readFileChecked` throws. */
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

/** What the system's codes mean, and what helps. */
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
