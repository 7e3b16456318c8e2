import type { CSSProperties } from "react";
import type { CustomContainerComponentProps } from "virtua";

/**
 * The style of the element around a virtual list's rows. virtua takes it from under the pointer while the
 * list scrolls: a button that is pressed just then would never be clicked.
 */
export const pressable = (style: CSSProperties): CSSProperties => ({ ...style, pointerEvents: undefined });

/** The element around a virtual list's rows: `as={Rows}`. */
export function Rows({ style, children, ref }: CustomContainerComponentProps) {
  return (
    <div ref={ref} style={pressable(style)}>
      {children}
    </div>
  );
}
