/** Files that only grow: what is appended reaches the system soon, so that others can follow, and the disk when it is asked for. */
import { type FileHandle, open } from "node:fs/promises";
import { printable } from "../../errors.ts";
import { explained } from "./atomic.ts";

/** What is appended is handed to the system after so many milliseconds at the latest, */
const patience = 200;
/** or when there are so many bytes. */
const plenty = 2 ** 16;

/** A file that is appended to. What could not be written stays in memory, and is tried again with what comes behind it. */
export class AppendFile {
  readonly path: string;
  #file: FileHandle | undefined;
  /** Bytes that the file has for certain. */
  #written: number;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #work: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle, written: number) {
    this.path = path;
    this.#file = file;
    this.#written = written;
  }

  /**
   * Opens a file to append behind its first `length` bytes; what is behind them is cut off. Throws FileError when it cannot be opened, or
   * has fewer.
   */
  static async open(path: string, length: number): Promise<AppendFile> {
    try {
      const file = await open(path, length > 0 ? "r+" : "w");
      const { size } = await file.stat();
      if (size < length) {
        await file.close();
        throw new Error(`it has ${size} bytes, and ${length} were written`);
      }
      if (size > length) await file.truncate(length);
      return new AppendFile(path, file, length);
    } catch (cause) {
      throw explained("append", `${printable(path)} cannot be appended to`, cause, {});
    }
  }

  /** Where the next byte goes. */
  get length(): number {
    return this.#written + this.#pendingBytes;
  }

  /** Appends soon. Returns a promise where so much waits that it is handed to the system now, which throws FileError when that fails. */
  append(bytes: Uint8Array): Promise<void> | undefined {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= plenty) return this.flush();
    // A failure comes back with the next flush.
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), patience).unref();
    return undefined;
  }

  /** Hands everything to the system. Throws FileError. */
  flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#work = this.#work.catch(() => {}).then(() => this.#flush());
    return this.#work;
  }

  async #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#pending);
    if (bytes.length === 0 || !this.#file) return;
    const count = this.#pending.length;
    try {
      for (let at = 0; at < bytes.length; ) {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, this.#written + at);
        at += bytesWritten;
      }
    } catch (cause) {
      await this.#file.truncate(this.#written).catch(() => {}); //  no half of a record stays
      throw explained("append", `${printable(this.path)} cannot be appended to`, cause, {});
    }
    this.#pending.splice(0, count);
    this.#pendingBytes -= bytes.length;
    this.#written += bytes.length;
  }

  /** Brings everything to the disk. Throws FileError. */
  async sync(): Promise<void> {
    await this.flush();
    try {
      await this.#file?.sync();
    } catch (cause) {
      throw explained("append", `${printable(this.path)} cannot be flushed`, cause, {});
    }
  }

  /** The last call. Throws FileError when something could not be written. */
  async close(): Promise<void> {
    try {
      await this.sync();
    } finally {
      clearTimeout(this.#timer);
      await this.#file?.close();
      this.#file = undefined;
    }
  }
}
