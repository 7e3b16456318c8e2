/** Where a character of a text field is drawn. */

const COPIED = [
  "boxSizing",
  "width",
  "paddingTop",
  "paddingRight",
  "paddingBottom",
  "paddingLeft",
  "borderTopWidth",
  "borderRightWidth",
  "borderLeftWidth",
  "fontFamily",
  "fontSize",
  "fontWeight",
  "fontStyle",
  "letterSpacing",
  "lineHeight",
  "textIndent",
  "tabSize",
  "overflowWrap",
] as const;
/** A field tells nobody where its lines break, so they are laid out again; more than this is not worth it. */
const MAX_LAID_OUT = 20_000;

/** From the field's left top, in CSS pixels. */
export function caretPoint(area: HTMLTextAreaElement, position: number): { left: number; top: number } {
  if (position > MAX_LAID_OUT) return { left: 0, top: 0 };
  const mirror = document.createElement("div");
  const style = getComputedStyle(area);
  for (const name of COPIED) mirror.style[name] = style[name];
  Object.assign(mirror.style, {
    position: "absolute",
    visibility: "hidden",
    whiteSpace: "pre-wrap",
    top: "0",
  });
  mirror.textContent = area.value.slice(0, position);
  const mark = document.createElement("span");
  mark.textContent = "\u200b";
  mirror.append(mark);
  document.body.append(mirror);
  const point = { left: mark.offsetLeft, top: mark.offsetTop - area.scrollTop };
  mirror.remove();
  return point;
}
