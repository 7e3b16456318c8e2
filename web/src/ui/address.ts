/** The page's address, which says what is open so that a link opens what its sender saw. */

/**
 * The query of an address, in one order, so that what is open has one address however it came about.
 * Commas may stand in one, and are easier to read.
 */
export function queryOf(url: URL): string {
  const sorted = new URLSearchParams(url.search);
  sorted.sort();
  return sorted.size > 0 ? `?${sorted.toString().replaceAll("%2C", ",")}` : "";
}

/** Puts values into the address, or takes them out of it, in its place in the history. Other parts stay. */
export function writeAddress(values: Readonly<Record<string, string | undefined>>): void {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  url.search = queryOf(url);
  if (url.href !== location.href) history.replaceState(history.state, "", url);
}
