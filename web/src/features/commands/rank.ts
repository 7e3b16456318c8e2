/** Finds what was meant by a few letters. Pure. */

/** How well `text` answers `query`: lower is better, none when it does not. */
export function score(text: string, query: string): number | undefined {
  const hay = text.toLowerCase();
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let total = 0;
  for (const word of words) {
    const at = hay.indexOf(word);
    if (at >= 0) {
      const atWord = at === 0 || !/[\p{L}\p{N}]/u.test(hay[at - 1] ?? "");
      total += atWord ? at * 0.01 : 1 + at * 0.01;
      continue;
    }
    const loose = subsequence(hay, word);
    if (loose === undefined) return undefined;
    total += 4 + loose;
  }
  return total;
}

/** How far apart the letters are, when all of them come in order. */
function subsequence(hay: string, word: string): number | undefined {
  let from = 0;
  let gaps = 0;
  for (const letter of word) {
    const at = hay.indexOf(letter, from);
    if (at < 0) return undefined;
    gaps += from === 0 ? 0 : at - from;
    from = at + 1;
  }
  return gaps > word.length * 3 ? undefined : gaps;
}

export function rank<T>(entries: readonly T[], query: string, text: (entry: T) => string): T[] {
  if (!query.trim()) return [...entries];
  return entries
    .map((entry) => ({ entry, score: score(text(entry), query.trim()) }))
    .filter((row): row is { entry: T; score: number } => row.score !== undefined)
    .sort((a, b) => a.score - b.score)
    .map((row) => row.entry);
}
