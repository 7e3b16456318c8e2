/** The panel's state in the address, so that a link opens what its sender saw. */
import type { Scope } from "../../api/changes";
import { writeAddress } from "../../ui/address";
import { isScope } from "./describe";

export interface PanelUrl {
  file?: string;
  view?: "split" | "unified";
  scope?: Scope;
}

export function readPanelUrl(search: string): PanelUrl {
  const values = new URLSearchParams(search);
  const view = values.get("view");
  const scope = values.get("scope");
  return {
    file: values.get("file") ?? undefined,
    view: view === "split" || view === "unified" ? view : undefined,
    scope: isScope(scope) ? scope : undefined,
  };
}

/** Puts the state into the address, or takes it out of it. Other parts stay. */
export function writePanelUrl(state: PanelUrl | undefined): void {
  writeAddress({ file: state?.file, view: state?.view, scope: state?.scope });
}
