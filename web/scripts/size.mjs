// Checks what a visitor downloads, gzip: the entry with everything it loads at once, and the
// terminal, which is loaded when it is first opened. Budgets are in the architecture page.
import { readdir, readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";

const DIST = new URL("../dist/", import.meta.url);
const KB = 1000;
const ENTRY_BUDGET = 230 * KB;
const LAZY_BUDGET = 150 * KB;

const gzipped = async (path) => gzipSync(await readFile(new URL(path, DIST)), { level: 9 }).length;

const html = await readFile(new URL("index.html", DIST), "utf8");
const first = new Set([...html.matchAll(/(?:src|href)="\/([^"]+\.(?:js|css))"/g)].map((match) => match[1]));
const files = (await readdir(new URL("assets/", DIST))).map((name) => `assets/${name}`);
const lazy = files.filter((path) => /\.(js|css)$/.test(path) && !first.has(path));

let entry = 0;
for (const path of first) entry += await gzipped(path);
const rows = [{ name: "entry", bytes: entry, budget: ENTRY_BUDGET }];

// A lazy script and its style sheet have one name and are loaded together.
const chunks = new Map();
for (const path of lazy) {
  const name = path.slice("assets/".length).replace(/-[\w-]{8}\.(js|css)$/, "");
  chunks.set(name, (chunks.get(name) ?? 0) + (await gzipped(path)));
}
for (const [name, bytes] of chunks) rows.push({ name, bytes, budget: LAZY_BUDGET });

let over = false;
for (const { name, bytes, budget } of rows) {
  const fits = bytes <= budget;
  over ||= !fits;
  process.stdout.write(
    `${fits ? "ok  " : "OVER"} ${name.padEnd(16)} ${(bytes / KB).toFixed(1).padStart(7)} kB of ${budget / KB} kB gzip\n`,
  );
}
if (over) process.exitCode = 1;
