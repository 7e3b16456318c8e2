/** The order with one put before the place that `at` counts; beyond the end is the end. Pure. */
export function moved(ids: readonly string[], id: string, at: number): string[] {
  const from = ids.indexOf(id);
  const others = ids.filter((other) => other !== id);
  const place = Math.max(0, Math.min(others.length, at > from ? at - 1 : at));
  return [...others.slice(0, place), id, ...others.slice(place)];
}
