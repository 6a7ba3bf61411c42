import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { build } from "esbuild";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ConfigError, GlissadeError } from "../../src/errors.ts";
import { FileError, readFileChecked, writeFileAtomically } from "../../src/files/node/atomic.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "glissade-atomic-"));
});

afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true, force: true });
});

/** The FileError that `run` ends in, its message with the test's own folder taken out. */
async function complaint(run: () => Promise<unknown>): Promise<{ code: string; message: string }> {
  const error = await run().then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(FileError);
  expect(error).toBeInstanceOf(GlissadeError);
  const { code, message } = error as FileError;
  return { code, message: message.replaceAll(folder, "FOLDER") };
}

describe("writeFileAtomically", () => {
  test("writes bytes and text, over what was there, and leaves nothing else behind", async () => {
    const path = join(folder, "weights.bin");
    await writeFileAtomically(path, Uint8Array.of(1, 2, 3));
    expect([...(await readFile(path))]).toEqual([1, 2, 3]);
    await writeFileAtomically(path, new Uint8Array(0));
    expect((await stat(path)).size).toBe(0);
    await writeFileAtomically(path, "größer");
    expect(await readFile(path, "utf8")).toBe("größer");
    expect(await readdir(folder)).toEqual(["weights.bin"]);
  });

  test("writes the part that a view shows", async () => {
    const path = join(folder, "view");
    await writeFileAtomically(path, Uint8Array.of(1, 2, 3, 4).subarray(1, 3));
    expect([...(await readFile(path))]).toEqual([2, 3]);
  });

  test("follows links, also to what is not there yet, and leaves them links", async () => {
    await mkdir(join(folder, "far"));
    await writeFile(join(folder, "far", "target"), "old");
    await symlink("far", join(folder, "folder"));
    await symlink("../far/target", join(folder, "far", "link"));
    await symlink("folder/link", join(folder, "second"));
    await symlink("far/missing", join(folder, "dangling"));
    for (const name of ["second", "dangling"]) {
      await writeFileAtomically(join(folder, name), "new");
      expect(await readFile(join(folder, name), "utf8")).toBe("new");
      expect((await lstat(join(folder, name))).isSymbolicLink()).toBe(true);
    }
    expect(await readFile(join(folder, "far", "target"), "utf8")).toBe("new");
    expect((await readdir(join(folder, "far"))).sort()).toEqual(["link", "missing", "target"]);
  });

  test("links in a circle", async () => {
    await symlink("b", join(folder, "a"));
    await symlink("a", join(folder, "b"));
    expect(await complaint(() => writeFileAtomically(join(folder, "a"), "x"))).toMatchInlineSnapshot(`
      {
        "code": "ELOOP",
        "message": "writeFileAtomically: FOLDER/a cannot be written: its links lead in a circle (ELOOP)
        fix: remove the link, or give the path of a file",
      }
    `);
  });

  test.skipIf(process.platform === "win32")("refuses devices, pipes and sockets, also behind links", async () => {
    spawnSync("mkfifo", [join(folder, "pipe")]);
    const server = createServer().listen(join(folder, "socket"));
    await once(server, "listening");
    await symlink("/dev/null", join(folder, "link"));
    const before = await lstat("/dev/null");
    try {
      for (const [path, kind] of [
        ["/dev/null", "a device"],
        [join(folder, "link"), "a device"],
        [join(folder, "pipe"), "a pipe"],
        [join(folder, "socket"), "a socket"],
      ] as const) {
        const { message } = await complaint(() => writeFileAtomically(path, "x"));
        expect(message).toContain(` is ${kind}\n  fix: give the path of a file`);
        expect((await complaint(() => readFileChecked(path))).message).toContain(` is ${kind}\n`);
      }
      expect((await lstat("/dev/null")).rdev).toBe(before.rdev);
      expect((await readdir(folder)).sort()).toEqual(["link", "pipe", "socket"]);
    } finally {
      server.close();
    }
  });

  test.skipIf(process.platform === "win32")(
    "keeps the mode of what was there; a new file has the usual one",
    async () => {
      const path = join(folder, "w");
      await writeFileAtomically(path, "x");
      const umask = process.umask();
      expect((await stat(path)).mode & 0o777).toBe(0o666 & ~umask);
      for (const mode of [0o600, 0o640, 0o664, 0o755]) {
        await chmod(path, mode);
        await writeFileAtomically(path, "y");
        expect((await stat(path)).mode & 0o7777).toBe(mode);
      }
    },
  );

  test("takes names up to the file system's limit, and says when one is longer", async () => {
    const longest = "n".repeat(255);
    await writeFileAtomically(join(folder, longest), "x");
    await writeFileAtomically(join(folder, "ü".repeat(127)), "x");
    expect((await readdir(folder)).sort()).toEqual([longest, "ü".repeat(127)].sort());
    const { code, message } = await complaint(() => writeFileAtomically(join(folder, `${longest}n`), "x"));
    expect(code).toBe("ENAMETOOLONG");
    expect(message.length).toBeLessThan(700);
  });

  test("takes URLs of files, and says what it does not take", async () => {
    const url = pathToFileURL(join(folder, "a b%.bin"));
    await writeFileAtomically(url, "x");
    expect([...(await readFileChecked(url))]).toEqual([120]);
    expect(await readdir(folder)).toEqual(["a b%.bin"]);
    for (const wrong of [new URL("https://example.org/w"), "", "a\0b", undefined, null, 3, {}, Buffer.from("x")]) {
      const location = wrong as string;
      await expect(writeFileAtomically(location, "x")).rejects.toBeInstanceOf(ConfigError);
      await expect(readFileChecked(location)).rejects.toBeInstanceOf(ConfigError);
    }
  });

  test("removes what killed saves left behind, and nothing of saves that go on", async () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
    const nameOf = async (): Promise<string> => {
      vi.spyOn(process, "pid", "get").mockReturnValue(child.pid!);
      const handle = await open(folder);
      const methods = Object.getPrototypeOf(handle) as typeof handle;
      await handle.close();
      const names: string[] = [];
      vi.spyOn(methods, "sync").mockImplementationOnce(async () => void names.push(...(await readdir(folder))));
      await writeFileAtomically(join(folder, "w"), "x");
      vi.restoreAllMocks();
      return names.find((name) => name.endsWith(".tmp"))!;
    };
    const leftover = await nameOf();
    await writeFile(join(folder, leftover), "half");
    await writeFileAtomically(join(folder, "other"), "x");
    expect((await readdir(folder)).sort()).toEqual([leftover, "other", "w"]);
    child.kill("SIGKILL");
    await once(child, "exit");
    // Of another machine, whose processes nobody here can ask about: it stays for a day.
    const foreign = leftover.replace(/^(\.glissade-)[0-9a-f]{8}/, "$100000000");
    await writeFile(join(folder, foreign), "half");
    await writeFileAtomically(join(folder, "other"), "y");
    expect((await readdir(folder)).sort()).toEqual([foreign, "other", "w"]);
    const old = new Date(Date.now() - 48 * 3600 * 1000);
    await utimes(join(folder, foreign), old, old);
    await writeFileAtomically(join(folder, "other"), "z");
    expect((await readdir(folder)).sort()).toEqual(["other", "w"]);
  });

  test("many at once to one name leave one of them whole", async () => {
    const path = join(folder, "contended");
    const contents = Array.from({ length: 8 }, (_, index) => new Uint8Array(100_000).fill(index));
    await Promise.all(contents.map((bytes) => writeFileAtomically(path, bytes)));
    const bytes = await readFile(path);
    expect(bytes.length).toBe(100_000);
    expect(new Set(bytes).size).toBe(1);
    expect(await readdir(folder)).toEqual(["contended"]);
  });

  test("a folder that is not there", async () => {
    expect(await complaint(() => writeFileAtomically(join(folder, "missing", "w"), "x"))).toMatchInlineSnapshot(`
      {
        "code": "ENOENT",
        "message": "writeFileAtomically: FOLDER/missing/w cannot be written: there is no such file or folder (ENOENT)
        fix: create the folder FOLDER/missing first",
      }
    `);
  });

  test("a folder in the file's place", async () => {
    await mkdir(join(folder, "taken"));
    expect(await complaint(() => writeFileAtomically(join(folder, "taken"), "x"))).toMatchInlineSnapshot(`
      {
        "code": "EISDIR",
        "message": "writeFileAtomically: FOLDER/taken is a folder
        fix: give the path of a file",
      }
    `);
    expect(await readdir(folder)).toEqual(["taken"]);
  });

  test("a file in the folder's place", async () => {
    await writeFile(join(folder, "plain"), "");
    expect(await complaint(() => writeFileAtomically(join(folder, "plain", "w"), "x"))).toMatchInlineSnapshot(`
      {
        "code": "ENOTDIR",
        "message": "writeFileAtomically: FOLDER/plain/w cannot be written: a part of the path is a file and not a folder (ENOTDIR)
        fix: check the path",
      }
    `);
  });

  test.skipIf(process.platform === "win32")("a folder without permission", async () => {
    await chmod(folder, 0o500);
    const path = join(folder, "w");
    if (process.getuid?.() === 0) {
      await writeFileAtomically(path, "x"); //  permissions do not bind the superuser
      expect(await readFile(path, "utf8")).toBe("x");
    } else {
      const { code } = await complaint(() => writeFileAtomically(path, "x"));
      expect(code).toBe("EACCES");
    }
  });

  test.each([
    ["ENOSPC", "no space is left on the disk (ENOSPC)\n  fix: free some space, or choose another disk"],
    ["EDQUOT", "the quota of the disk is used up (EDQUOT)\n  fix: free some space, or choose another disk"],
    ["EIO", "the disk is on fire (EIO)\n  fix: check the path and the disk"],
  ])("%s while the bytes are flushed: the old file stays, the temporary one goes", async (code, reason) => {
    const path = join(folder, "weights.bin");
    await writeFile(path, "old");
    const handle = await open(path);
    const methods = Object.getPrototypeOf(handle) as typeof handle;
    await handle.close();
    vi.spyOn(methods, "sync").mockRejectedValue(Object.assign(new Error("the disk is on fire"), { code }));
    const error = await complaint(() => writeFileAtomically(path, "new"));
    expect(error).toEqual({ code, message: `writeFileAtomically: FOLDER/weights.bin cannot be written: ${reason}` });
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(folder)).toEqual(["weights.bin"]);
  });
});

describe("readFileChecked", () => {
  test("gives the bytes", async () => {
    await writeFile(join(folder, "f"), Uint8Array.of(1, 2, 3));
    const bytes = await readFileChecked(join(folder, "f"));
    expect(bytes.constructor).toBe(Uint8Array);
    expect([...bytes]).toEqual([1, 2, 3]);
  });

  test("a file that is not there", async () => {
    expect(await complaint(() => readFileChecked(join(folder, "nothing.safetensors")))).toMatchInlineSnapshot(`
      {
        "code": "ENOENT",
        "message": "readFileChecked: FOLDER/nothing.safetensors cannot be read: there is no such file or folder (ENOENT)
        fix: check the path and the working directory",
      }
    `);
  });

  test("a folder", async () => {
    expect(await complaint(() => readFileChecked(folder))).toMatchInlineSnapshot(`
      {
        "code": "EISDIR",
        "message": "readFileChecked: FOLDER is a folder
        fix: give the path of a file",
      }
    `);
  });

  test.skipIf(process.platform === "win32")("a device, which might never end", async () => {
    expect((await complaint(() => readFileChecked("/dev/zero"))).message).toMatch("/dev/zero is a device");
  });
});

describe.skipIf(process.platform === "win32")("a process that stops in the middle", () => {
  const size = 8 * 2 ** 20;

  /** A program, as Node runs it, that has `writeFileAtomically` in scope. */
  async function program(body: string): Promise<string> {
    const path = join(folder, "..", `${folder.split("/").at(-1)}-program.mjs`);
    const source = new URL("../../src/files/node/atomic.ts", import.meta.url).pathname;
    await build({
      stdin: {
        contents: `import { writeFileAtomically } from ${JSON.stringify(source)};\n${body}`,
        resolveDir: folder,
      },
      bundle: true,
      platform: "node",
      format: "esm",
      outfile: path,
      logLevel: "silent",
    });
    return path;
  }

  /** The file must hold `size` times one byte: parts of two versions would show. */
  async function expectWhole(path: string): Promise<number> {
    const bytes = await readFile(path);
    expect(bytes.length).toBe(size);
    expect(bytes.equals(Buffer.alloc(size, bytes[0]))).toBe(true);
    return bytes[0]!;
  }

  test("killed while it writes, it leaves the old file whole", async () => {
    const path = join(folder, "weights.bin");
    const writer = await program(`
      for (let version = 1; ; version++)
        await writeFileAtomically(${JSON.stringify(path)}, new Uint8Array(${size}).fill(version % 256));
    `);
    let stoppedInTheMiddle = 0;
    try {
      await writeFileAtomically(path, new Uint8Array(size).fill(7));
      for (let round = 0; round < 8; round++) {
        const child = spawn(process.execPath, [writer], { stdio: "ignore" });
        await aTemporaryFileGrows(child);
        child.kill("SIGKILL");
        await once(child, "exit");
        await expectWhole(path);
        const leftovers = (await readdir(folder)).filter((name) => name !== "weights.bin");
        for (const name of leftovers) expect(name).toMatch(/^\.glissade-[-0-9a-f]+\.tmp$/);
        stoppedInTheMiddle += leftovers.length;
        await writeFileAtomically(join(folder, "another.bin"), "x");
        expect((await readdir(folder)).sort()).toEqual(["another.bin", "weights.bin"]);
        await rm(join(folder, "another.bin"));
      }
      await writeFileAtomically(path, new Uint8Array(size).fill(9));
      expect(await expectWhole(path)).toBe(9);
    } finally {
      await rm(writer);
    }
    // Which moment a kill meets is chance; that all eight fell between two writes is not.
    expect(stoppedInTheMiddle).toBeGreaterThan(0);
  }, 60_000);

  async function aTemporaryFileGrows(child: ChildProcess): Promise<void> {
    while (child.exitCode === null) {
      for (const name of await readdir(folder)) {
        if (!name.endsWith(".tmp")) continue;
        const written = await stat(join(folder, name)).catch(() => undefined);
        if (written && written.size > 0) return;
      }
      await sleep(1);
    }
    expect.fail("the writer stopped by itself");
  }

  test("stopped by the system for the size of the file, it says so and leaves the old file whole", async () => {
    const path = join(folder, "weights.bin");
    const writer = await program(`
      await writeFileAtomically(${JSON.stringify(path)}, new Uint8Array(${size})).catch((error) => console.log(error.message));
    `);
    try {
      await writeFile(path, "old");
      // Blocks of 512 or 1024 bytes: less than the 8 MiB that are to be written.
      const { stdout } = spawnSync("sh", ["-c", 'ulimit -f 1000 && exec "$0" "$1"', process.execPath, writer], {
        encoding: "utf8",
      });
      expect(stdout).toMatch(
        "cannot be written: the file is larger than the system allows (EFBIG)\n  fix: raise the limit (ulimit -f)",
      );
      expect(await readFile(path, "utf8")).toBe("old");
      expect(await readdir(folder)).toEqual(["weights.bin"]);
    } finally {
      await rm(writer);
    }
  });
});
