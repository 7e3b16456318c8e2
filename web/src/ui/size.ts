const STEP = 1024;
const UNITS = ["KB", "MB", "GB"];

/** Bytes for a person: `1.2 MB`. */
export function fileSize(bytes: number): string {
  if (bytes < STEP) return bytes === 1 ? "1 byte" : `${bytes} bytes`;
  let amount = bytes / STEP;
  let unit = 0;
  while (amount >= STEP - 0.5 && unit < UNITS.length - 1) {
    amount /= STEP;
    unit++;
  }
  const shown = amount < 9.95 ? amount.toFixed(1).replace(/\.0$/, "") : String(Math.round(amount));
  return `${shown} ${UNITS[unit]}`;
}
