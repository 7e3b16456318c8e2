/** Puts queued messages into another order: by dragging, or with the arrow keys. */
import { type KeyboardEvent, type PointerEvent, useEffect, useMemo, useRef, useState } from "react";
import { api } from "../../api/client";
import type { QueuedMessage } from "../../api/types";
import { sayError } from "../../ui/toasts";
import { moved } from "./order";

export function useReorder(session: string, messages: readonly QueuedMessage[]) {
  /** The order that was asked for and that the server has not told yet. */
  const [wanted, setWanted] = useState<readonly string[]>();
  const [dragged, setDragged] = useState<string>();
  const [said, setSaid] = useState("");
  const list = useRef<HTMLOListElement>(null);
  const latest = useRef<readonly string[]>([]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: what the server tells counts
  useEffect(() => setWanted(undefined), [messages]);
  const shown = useMemo(() => {
    if (!wanted) return messages;
    const place = new Map(wanted.map((id, i) => [id, i]));
    return [...messages].sort((a, b) => (place.get(a.id) ?? 0) - (place.get(b.id) ?? 0));
  }, [messages, wanted]);
  const ids = shown.map((message) => message.id);
  latest.current = ids;

  const store = (id: string, order: readonly string[]) => {
    const at = order.indexOf(id);
    setSaid(`Moved to place ${at + 1} of ${order.length}`);
    api.patchMessage(session, id, { place: { before: order[at + 1] ?? null } }).catch((error: unknown) => {
      setWanted(undefined);
      sayError(error, "Move message");
    });
  };

  const indexAt = (y: number) => {
    const rows = [...(list.current?.children ?? [])];
    const below = rows.findIndex((row) => {
      const box = row.getBoundingClientRect();
      return y < box.top + box.height / 2;
    });
    return below < 0 ? rows.length : below;
  };

  const onPointerDown = (id: string) => (event: PointerEvent<HTMLElement>) => {
    if (event.button === 0) setDragged(id);
  };
  // On the window: a row that takes another place in the list loses the pointer.
  // biome-ignore lint/correctness/useExhaustiveDependencies: they listen as long as one is dragged
  useEffect(() => {
    if (dragged === undefined) return;
    const before = latest.current;
    const end = new AbortController();
    const options = { signal: end.signal };
    const move = (event: globalThis.PointerEvent) => {
      const next = moved(latest.current, dragged, indexAt(event.clientY));
      if (next.some((id, i) => id !== latest.current[i])) setWanted(next);
    };
    const drop = () => {
      setDragged(undefined);
      if (latest.current.some((id, i) => id !== before[i])) store(dragged, latest.current);
    };
    const cancel = () => {
      setDragged(undefined);
      setWanted(undefined);
    };
    window.addEventListener("pointermove", move, options);
    window.addEventListener("pointerup", drop, options);
    window.addEventListener("pointercancel", cancel, options);
    return () => end.abort();
  }, [dragged]);
  const onKeyDown = (id: string) => (event: KeyboardEvent<HTMLElement>) => {
    if (event.key !== "ArrowUp" && event.key !== "ArrowDown") return;
    event.preventDefault();
    const at = ids.indexOf(id);
    const next = moved(ids, id, event.key === "ArrowUp" ? at - 1 : at + 2);
    if (next.every((other, i) => other === ids[i])) return;
    setWanted(next);
    store(id, next);
  };

  return {
    shown,
    list,
    dragged,
    said,
    handle: (id: string) => ({
      onPointerDown: onPointerDown(id),
      onKeyDown: onKeyDown(id),
    }),
  };
}
