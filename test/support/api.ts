/** The index of the public API in Markdown: a page for each room, from the declarations of the build and their docstrings. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";
import { Tensor } from "../../src/node.ts";

/** An item of API Extractor's model, as far as it is read here. */
interface Item {
  readonly kind: string;
  readonly name?: string;
  readonly docComment?: string;
  readonly excerptTokens?: readonly { readonly text: string }[];
  readonly fileUrlPath?: string;
  readonly isProtected?: boolean;
  readonly members?: readonly Item[];
}

/** A public name: a function, a type, a value or a class. */
export interface Export {
  /** `adam`, or `schedule.cosine` within a namespace. */
  readonly name: string;
  readonly room: string;
  readonly signature: string;
  /** Its docstring; "" where there is none. */
  readonly text: string;
  readonly members: readonly { readonly signature: string; readonly text: string }[];
}

/** Everything that `dist/node.d.ts` exports, in the order of the alphabet; an overload is an export of its own. */
export function publicExports(root: string): Export[] {
  const folder = mkdtempSync(path.join(tmpdir(), "glissade-api-"));
  try {
    const model = path.join(folder, "glissade.api.json");
    const compilerOptions = {
      strict: true,
      target: "es2022",
      module: "nodenext",
      lib: ["es2023", "dom"],
      types: ["node"],
      skipLibCheck: true,
      allowImportingTsExtensions: true,
      noEmit: true,
    };
    const config = ExtractorConfig.prepare({
      configObject: {
        projectFolder: root,
        mainEntryPointFilePath: path.join(root, "dist/node.d.ts"),
        compiler: { overrideTsconfig: { compilerOptions, files: ["dist/node.d.ts"] } },
        docModel: { enabled: true, apiJsonFilePath: model, projectFolderUrl: "." },
        apiReport: { enabled: false },
        dtsRollup: { enabled: false },
        tsdocMetadata: { enabled: false },
      },
      configObjectFullPath: path.join(root, "api-extractor.json"),
      packageJsonFullPath: path.join(root, "package.json"),
    });
    // Its messages are about release tags and TSDoc's tags, which the docstrings here do not use.
    const messageCallback = (message: { handled: boolean }): void => {
      message.handled = true;
    };
    Extractor.invoke(config, { localBuild: true, messageCallback });
    const [entry] = (JSON.parse(readFileSync(model, "utf8")) as { members: Item[] }).members;
    return entry!.members!.flatMap((item) => exportsOf(item, "")).map((it) => withOpMethods(it, root));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function exportsOf(item: Item, namespace: string): Export[] {
  const name = `${namespace}${plain(item.name!)}`;
  if (item.kind === "Namespace") return (item.members ?? []).flatMap((member) => exportsOf(member, `${name}.`));
  const [, room] = /^dist\/(\w+)/.exec(item.fileUrlPath!) ?? [];
  const members = (item.members ?? [])
    .filter((member) => !(member.kind === "Constructor" || member.isProtected))
    .map((member) => ({ signature: signatureOf(member), text: textOf(member) }));
  return [{ name, room: room!, signature: signatureOf(item), text: textOf(item), members }];
}

/** A tensor's methods that ops give it by name are in no declaration of the class: they are described where each op is. */
function withOpMethods(item: Export, root: string): Export {
  if (!item.signature.startsWith("class Tensor<")) return item;
  const dist = path.join(root, "dist");
  const files = ["ops", "tensor"].flatMap((room) =>
    readdirSync(path.join(dist, room))
      .filter((file) => file.endsWith(".d.ts"))
      .map((file) => readFileSync(path.join(dist, room, file), "utf8")),
  );
  const described = new Map<string, string>();
  for (const [, comment, name] of files
    .join("\n")
    .matchAll(/(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\s*(?:export declare (?:const|function)|readonly) (\w+)\b/g))
    if (!described.has(name!)) described.set(name!, textOf({ kind: "", docComment: comment! }));
  const listed = new Set(item.members.map(({ signature }) => /^(?:readonly |get )?"?([~\w]+)/.exec(signature)![1]!));
  const others = Object.getOwnPropertyNames(Tensor.prototype).filter(
    (name) => name !== "constructor" && !listed.has(name),
  );
  const methods = others.sort().map((name) => ({ signature: `${name}(…)`, text: described.get(name) ?? "" }));
  return { ...item, members: [...item.members, ...methods] };
}

/** API Extractor numbers a name that another file or the platform has too: `Storage_2`. */
const plain = (name: string): string => name.replace(/_\d+$/, "");

function signatureOf(item: Item): string {
  const text = (item.excerptTokens ?? []).map((token) => token.text).join("");
  const signature = text
    .replace(/\/\*\*[\s\S]*?\*\/\s*/g, "")
    .replace(/\b([A-Za-z]\w*?)_\d+\b/g, "$1")
    .replace(/^export (?:declare )?/, "")
    .replace(/^(?:abstract )?class /, "class ")
    .trim();
  return item.kind === "Variable" || (item.kind === "Function" && !signature.startsWith("function"))
    ? `const ${signature}`
    : signature;
}

function textOf({ docComment = "" }: Item): string {
  return docComment
    .replace(/^\/\*\*/, "")
    .replace(/\*\/\s*$/, "")
    .split("\n")
    .map((line) => line.replace(/^ \* ?/, "").trimEnd())
    .join("\n")
    .trim();
}

/** The pages by file name: `README.md` with all names, and one for each room. */
export function apiPages(exports: readonly Export[]): Map<string, string> {
  const rooms = groupBy(exports, ({ room }) => room);
  const pages = new Map<string, string>();
  const names = [...rooms].map(([room, members]) => {
    const links = [...new Set(members.map(({ name }) => name))].map((name) => `[${name}](${room}.md#${anchor(name)})`);
    return `## [${room}](${room}.md)\n\n${links.join(" · ")}\n`;
  });
  pages.set(
    "README.md",
    `# The public API\n\n${written}\n\nA page for each room of \`src/\`; [the README](../../README.md#the-layout) says what each is about.\n\n${names.sort().join("\n")}`,
  );
  for (const [room, members] of rooms) {
    const entries = [...groupBy(members, ({ name }) => name)].map(([name, overloads]) => entry(name, overloads));
    pages.set(`${room}.md`, `# ${room}\n\n${written} [All names](README.md).\n\n${entries.join("\n")}`);
  }
  return pages;
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return groups;
}

const written = "Written by `npm run api` from the docstrings in `src/`.";

/** The anchor that a heading of this text has. */
const anchor = (name: string): string => name.toLowerCase().replaceAll(".", "");

function entry(name: string, overloads: readonly Export[]): string {
  const parts = [`### ${name}\n`];
  for (const { signature, text, members } of overloads) {
    parts.push(`\`\`\`ts\n${signature}\n\`\`\`\n`);
    if (text) parts.push(`${text}\n`);
    const lines = members.map((member) => {
      const code = member.signature.replace(/\s+/g, " ").replace(/;$/, "");
      const fence = code.includes("`") ? "``" : "`";
      return `- ${fence}${code}${fence}${member.text ? `: ${member.text.replace(/\s*\n\s*/g, " ")}` : ""}`;
    });
    if (lines.length > 0) parts.push(`${lines.join("\n")}\n`);
  }
  return parts.join("\n");
}
