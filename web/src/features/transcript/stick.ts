/** Stays at the bottom while one is at the bottom, and not otherwise. */
import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** Nearer to the end than this is at the end. */
const NEAR_PX = 32;
/** A scroll this long after a person's wheel, finger or key is theirs; later ones come from rows that were measured. */
const THEIRS_MS = 600;
const SCROLL_KEYS = new Set(["ArrowUp", "ArrowDown", "PageUp", "PageDown", "Home", "End", " "]);

export interface Stick {
  atBottom: boolean;
  toBottom: () => void;
  /** Stops following: something else is being shown. */
  release: () => void;
}

export function useStickToBottom(
  scroller: RefObject<HTMLElement | null>,
  content: RefObject<HTMLElement | null>,
): Stick {
  const [atBottom, setAtBottom] = useState(true);
  const stuck = useRef(true);

  const toBottom = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    stuck.current = true;
    setAtBottom(true);
    element.scrollTop = element.scrollHeight;
  }, [scroller]);
  const release = useCallback(() => {
    stuck.current = false;
  }, []);

  useLayoutEffect(toBottom, [toBottom]);

  useEffect(() => {
    const element = scroller.current;
    const inner = content.current;
    if (!element || !inner) return;
    let theirs = Number.NEGATIVE_INFINITY;
    let dragging = false;
    const isNear = () => element.scrollHeight - element.scrollTop - element.clientHeight <= NEAR_PX;
    const follow = () => {
      if (stuck.current) element.scrollTop = element.scrollHeight;
      else setAtBottom(isNear());
    };
    const onScroll = () => {
      const near = isNear();
      if (near) stuck.current = true;
      else if (dragging || performance.now() - theirs < THEIRS_MS) stuck.current = false;
      else if (stuck.current) element.scrollTop = element.scrollHeight;
      setAtBottom(near || stuck.current);
    };
    const onInput = (event: Event) => {
      if (event instanceof KeyboardEvent && !SCROLL_KEYS.has(event.key)) return;
      theirs = performance.now();
      if (event instanceof WheelEvent && event.deltaY < 0 && element.scrollTop > 0) stuck.current = false;
    };
    // Only the scroll bar is the scroller itself; everything else in it is content.
    const onPointerDown = (event: PointerEvent) => {
      dragging = event.target === element;
    };
    const onPointerUp = () => {
      dragging = false;
    };
    const observer = new ResizeObserver(follow);
    observer.observe(inner);
    observer.observe(element);
    const passive = { passive: true };
    element.addEventListener("scroll", onScroll, passive);
    for (const name of ["wheel", "touchmove", "keydown"]) element.addEventListener(name, onInput, passive);
    element.addEventListener("pointerdown", onPointerDown, passive);
    window.addEventListener("pointerup", onPointerUp, passive);
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
      for (const name of ["wheel", "touchmove", "keydown"]) element.removeEventListener(name, onInput);
      element.removeEventListener("pointerdown", onPointerDown);
      window.removeEventListener("pointerup", onPointerUp);
    };
  }, [scroller, content]);

  return { atBottom, toBottom, release };
}
