/**
 * What a process writes, and the sockets that it opens, as strace sees it (Linux): nothing and none. `npm run traces`. The scenario
 * `library-alone` shows what ONNX Runtime does when nobody switches its telemetry off.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const child = path.resolve(import.meta.dirname, "../engine/telemetry-child.mjs");
const calls = "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,link,symlink,socket,connect";
const folder = mkdtempSync(path.join(tmpdir(), "glissade-traces-"));
// No other variables: ONNX Runtime keeps quiet where one says that a build server is at work.
const env = { PATH: process.env.PATH, HOME: folder, XDG_CACHE_HOME: folder, TMPDIR: folder };

/** Calls that succeeded and wrote or connected. */
function leaves(line) {
  if (/ = -1 /.test(line)) return false;
  if (/ open(at)?\(/.test(line)) return /O_(WRONLY|RDWR|CREAT)/.test(line) && !/"\/dev\/(null|tty|shm)/.test(line);
  return /\w\(.* = /.test(line);
}

let worst = 0;
for (const scenario of ["main", "worker", "binding", "binding-in-worker", "library-alone"]) {
  const log = path.join(folder, "strace.log");
  execFileSync("strace", ["-f", "-e", `trace=${calls}`, "-o", log, process.execPath, child, scenario], { env });
  const found = readFileSync(log, "utf8").split("\n").filter(leaves);
  console.log(`${scenario}: ${found.length} files written or sockets opened`);
  if (scenario === "library-alone") continue;
  for (const line of found) console.log(`  ${line}`);
  worst = Math.max(worst, found.length);
}
rmSync(folder, { recursive: true });
process.exitCode = worst === 0 ? 0 : 1;
