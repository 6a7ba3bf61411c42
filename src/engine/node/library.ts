/** The native files: koffi, and the library of ONNX Runtime, which stays loaded until the process ends. */
import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import path from "node:path";
import type { LibraryHandle } from "koffi";
import { EngineError } from "../../errors.ts";
import { requirePackage } from "./packages.ts";

export type Koffi = typeof import("koffi");

/** Where onnxruntime-node keeps the library, for each platform that it supports. */
const files: Readonly<Record<string, string>> = {
  "linux-x64": "linux/x64/libonnxruntime.so.1",
  "linux-arm64": "linux/arm64/libonnxruntime.so.1",
  "darwin-arm64": "darwin/arm64/libonnxruntime.1.dylib",
  "win32-x64": "win32/x64/onnxruntime.dll",
  "win32-arm64": "win32/arm64/onnxruntime.dll",
};

const reinstall = "remove the folder node_modules/onnxruntime-node and install again";

/**
 * Returns the path of ONNX Runtime's library. Throws EngineError if the package has no library for the platform, or if the file is missing
 * or incomplete: then the binding would fail too.
 */
export function libraryFile(): string {
  const platform = `${process.platform}-${process.arch}`;
  const file = files[platform];
  if (!file)
    throw new EngineError("node engine", `onnxruntime-node has no library for ${platform}`, "use the web engine there");
  const full = path.join(packageFolder(), "bin/napi-v6", file);
  if (!existsSync(full)) throw new EngineError("node engine", `${full} is missing`, reinstall);
  expectWhole(full);
  return full;
}

function packageFolder(): string {
  try {
    return path.dirname(requirePackage.resolve("onnxruntime-node/package.json"));
  } catch (cause) {
    const fix = "install it: npm install onnxruntime-node";
    throw new EngineError("node engine", "the package onnxruntime-node is not installed", fix, "", { cause });
  }
}

/** "\x7fELF" as a little-endian number: all platforms supported on Linux are little-endian. */
const elf = 0x464c457f;

/**
 * Throws EngineError when a Linux library is shorter than its own headers say. Linux would map such a file all the same, and kill the
 * process at the first missing page. The loaders of macOS and Windows refuse such a file themselves.
 */
export function expectWhole(file: string): void {
  if (process.platform !== "linux") return;
  const descriptor = openSync(file, "r");
  try {
    const { size } = fstatSync(descriptor);
    const end = announcedEnd((at, bytes) => {
      const view = new DataView(new ArrayBuffer(bytes));
      readSync(descriptor, view, 0, bytes, at); //  bytes after the end of the file stay zero
      return view;
    });
    if (end === undefined) throw new EngineError("node engine", `${file} is no library`, reinstall);
    if (end > size)
      throw new EngineError("node engine", `${file} has ${size} bytes of at least ${end}: it is incomplete`, reinstall);
  } finally {
    closeSync(descriptor);
  }
}

/** Where the last section or segment of a 64-bit ELF file ends; undefined for another kind of file. */
function announcedEnd(read: (at: number, bytes: number) => DataView): number | undefined {
  const header = read(0, 64);
  if (header.getUint32(0, true) !== elf) return undefined;
  const long = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));
  const short = (at: number): number => header.getUint16(at, true);
  const [segments, sections] = [long(header, 32), long(header, 40)];
  const [segmentBytes, segmentCount, sectionBytes, sectionCount] = [54, 56, 58, 60].map(short);
  const table = read(segments, segmentBytes! * segmentCount!);
  let end = sections + sectionBytes! * sectionCount!;
  for (let i = 0; i < segmentCount!; i++) {
    const at = i * segmentBytes!;
    end = Math.max(end, long(table, at + 8) + long(table, at + 32));
  }
  return end;
}

/** Loads koffi. Throws EngineError if it does not load. */
export function loadKoffi(): Koffi {
  try {
    // This is not an import, because the fallback must work on platforms for which koffi has no build.
    return requirePackage("koffi") as Koffi;
  } catch (cause) {
    const problem = `koffi does not load: ${(cause as Error).message.split("\n")[0]}`;
    throw new EngineError("node engine", problem, "install koffi with its optional dependencies", "", { cause });
  }
}

/**
 * Returns the path of koffi's native part. A thread that needs only this part loads it in a tenth of the time that the package takes.
 * Returns the path of the package if a bundler or another host hides the file.
 */
export function koffiFile(): string {
  const loaded = Object.keys(requirePackage.cache).find((name) => path.basename(name) === "koffi.node");
  return loaded ?? requirePackage.resolve("koffi");
}

/**
 * Loads the library for the rest of the process. By itself koffi unloads its libraries when its thread ends and when the process ends;
 * threads of ONNX Runtime's pool may still be running code of the library then, which is a segmentation fault.
 */
export function loadForGood(koffi: Koffi, file: string): LibraryHandle {
  const library = load(koffi, file);
  if (process.platform === "win32") {
    const pin = 1; //  GET_MODULE_HANDLE_EX_FLAG_PIN
    const system = koffi.load("kernel32.dll");
    system.func("int GetModuleHandleExW(uint32_t flags, const char16_t *file, void *module)")(
      pin,
      file,
      new BigUint64Array(1),
    );
  } else {
    const now = 2; //  RTLD_NOW
    const noDelete = process.platform === "darwin" ? 0x80 : 0x1000; //  RTLD_NODELETE
    koffi.load(null).func("void *dlopen(const char *file, int mode)")(file, now | noDelete);
  }
  return library;
}

function load(koffi: Koffi, file: string): LibraryHandle {
  try {
    return koffi.load(file);
  } catch (cause) {
    throw new EngineError(
      "node engine",
      `${file} does not load: ${(cause as Error).message.split("\n")[0]}`,
      `${reinstall}; on Linux it wants glibc, which Alpine has not`,
      "",
      { cause },
    );
  }
}
