/**
 * Files that only grow. Appended bytes reach the operating system soon, so that other programs can follow the file, and the disk when
 * `sync` is called.
 */
import { type FileHandle, open } from "node:fs/promises";
import { printable } from "../../errors.ts";
import { explained } from "./atomic.ts";

/** Appended bytes are handed to the system after at most this many milliseconds, */
const patience = 200;
/** or as soon as this many bytes are waiting. */
const plenty = 2 ** 16;

/** A file to append to. Bytes that could not be written stay in memory, and are written again together with later bytes. */
export class AppendFile {
  readonly path: string;
  #file: FileHandle | undefined;
  /** The number of bytes that are certainly in the file. */
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
   * Opens a file to append after its first `length` bytes; the rest of the file is cut off. Throws FileError when the file cannot be opened
   * or has fewer bytes.
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

  /** The position of the next byte. */
  get length(): number {
    return this.#written + this.#pendingBytes;
  }

  /**
   * Appends bytes soon. If enough bytes are waiting to be written now, returns a promise, which rejects with FileError when writing fails.
   */
  append(bytes: Uint8Array): Promise<void> | undefined {
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= plenty) return this.flush();
    // An error here is ignored: the next flush tries again and reports it.
    this.#timer ??= setTimeout(() => void this.flush().catch(() => {}), patience).unref();
    return undefined;
  }

  /** Hands all waiting bytes to the system. Throws FileError when that fails. */
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
      await this.#file.truncate(this.#written).catch(() => {}); //  leaves no partial record
      throw explained("append", `${printable(this.path)} cannot be appended to`, cause, {});
    }
    this.#pending.splice(0, count);
    this.#pendingBytes -= bytes.length;
    this.#written += bytes.length;
  }

  /** Brings all bytes to the disk. Throws FileError when that fails. */
  async sync(): Promise<void> {
    await this.flush();
    try {
      await this.#file?.sync();
    } catch (cause) {
      throw explained("append", `${printable(this.path)} cannot be flushed`, cause, {});
    }
  }

  /** Writes what is waiting and closes the file. It must be the last call. Throws FileError when bytes could not be written. */
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
