/** Files of a drag or of the clipboard. */

export interface Transferred {
  files: File[];
  /** Folders can't be read as a file. */
  folders: number;
}

export function filesOf(transfer: DataTransfer | null): Transferred {
  const files: File[] = [];
  let folders = 0;
  for (const item of transfer?.items ?? []) {
    if (item.kind !== "file") continue;
    if (item.webkitGetAsEntry?.()?.isDirectory) {
      folders++;
      continue;
    }
    const file = item.getAsFile();
    if (file) files.push(file);
  }
  return { files, folders };
}

export const hasFiles = (transfer: DataTransfer | null): boolean =>
  transfer?.types.includes("Files") ?? false;
