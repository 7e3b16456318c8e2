/** Changed files as folders. Pure. */
import { type ChangedFile, keyOf } from "../../api/changes";

export type TreeRow =
  | { kind: "folder"; path: string; name: string; depth: number; open: boolean }
  | { kind: "file"; file: ChangedFile; name: string; depth: number };

/** What a folder holds, in the order of the list, which is the order of the paths. */
interface Folder {
  children: Map<string, Folder | ChangedFile[]>;
}

const empty = (): Folder => ({ children: new Map() });

function plant(files: readonly ChangedFile[]): Folder {
  const root = empty();
  for (const file of files) {
    const parts = file.path.text.split("/");
    const name = parts.pop() ?? "";
    let folder = root;
    for (const part of parts) {
      const key = `${part}/`;
      const known = folder.children.get(key);
      const next = known && !Array.isArray(known) ? known : empty();
      folder.children.set(key, next);
      folder = next;
    }
    const same = folder.children.get(name);
    // Names that read the same although their bytes differ.
    if (Array.isArray(same)) same.push(file);
    else folder.children.set(name, [file]);
  }
  return root;
}

/** The rows of the tree. A folder that holds one folder only is one row with it. */
export function treeRows(files: readonly ChangedFile[], closed: ReadonlySet<string>): TreeRow[] {
  const rows: TreeRow[] = [];
  const walk = (folder: Folder, path: string, depth: number) => {
    for (const [key, child] of folder.children) {
      if (Array.isArray(child)) {
        for (const file of child) rows.push({ kind: "file", file, name: key, depth });
        continue;
      }
      let name = key;
      let inner = child;
      for (;;) {
        const [only] = inner.children;
        if (!only || inner.children.size > 1 || Array.isArray(only[1])) break;
        name += only[0];
        inner = only[1];
      }
      const full = path + name;
      const open = !closed.has(full);
      rows.push({ kind: "folder", path: full, name: name.slice(0, -1), depth, open });
      if (open) walk(inner, full, depth + 1);
    }
  };
  walk(plant(files), "", 0);
  return rows;
}

/** The files of `next`, each the object that it was if nothing about it changed. */
export function keepSame(before: readonly ChangedFile[], next: readonly ChangedFile[]): ChangedFile[] {
  const known = new Map(before.map((file) => [keyOf(file.path), file]));
  return next.map((file) => {
    const old = known.get(keyOf(file.path));
    return old && JSON.stringify(old) === JSON.stringify(file) ? old : file;
  });
}
