/** What this browser remembers. Storage may be full or forbidden; then it remembers less. */
import { useCallback, useSyncExternalStore } from "react";

const PREFIX = "mistle:";
const listeners = new Map<string, Set<() => void>>();
const cache = new Map<string, { raw: string | null; value: unknown }>();

export function readStored<T>(key: string, fallback: T): T {
  let raw: string | null;
  try {
    raw = localStorage.getItem(PREFIX + key);
  } catch {
    return fallback;
  }
  const known = cache.get(key);
  if (known && known.raw === raw) return raw === null ? fallback : (known.value as T);
  let value: unknown = fallback;
  try {
    if (raw !== null) value = JSON.parse(raw);
  } catch {
    raw = null;
  }
  cache.set(key, { raw, value });
  return value as T;
}

export function writeStored(key: string, value: unknown): void {
  tryStore(key, value);
}

/** Whether it is remembered: for what is nowhere else. */
export function tryStore(key: string, value: unknown): boolean {
  let done = true;
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    done = false;
  }
  for (const listener of listeners.get(key) ?? []) listener();
  return done;
}

/** The keys that begin with `prefix`. */
export function storedKeys(prefix: string): string[] {
  const start = PREFIX + prefix;
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(start))
      .map((key) => key.slice(PREFIX.length));
  } catch {
    return [];
  }
}

function subscribe(key: string, listener: () => void): () => void {
  const set = listeners.get(key) ?? new Set();
  listeners.set(key, set.add(listener));
  const onStorage = (event: StorageEvent) => {
    if (event.key === PREFIX + key) listener();
  };
  window.addEventListener("storage", onStorage);
  return () => {
    set.delete(listener);
    window.removeEventListener("storage", onStorage);
  };
}

/** Like `useState`, remembered by this browser and shared between its tabs. `fallback` must be stable. */
export function useStored<T>(key: string, fallback: T): [T, (value: T) => void] {
  const value = useSyncExternalStore(
    useCallback((listener) => subscribe(key, listener), [key]),
    () => readStored(key, fallback),
  );
  const set = useCallback((next: T) => writeStored(key, next), [key]);
  return [value, set];
}
