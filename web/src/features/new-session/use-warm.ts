import { useEffect } from "react";
import { api } from "../../api/client";
import type { NewSession } from "../../api/types";

/** From the first letter, or the last change of a choice, to the wish: what is in the making is not wished for. */
const AFTER_MS = 400;

/** The server prepares none, so it is not asked again. */
let off = false;

/**
 * Lets the server prepare a session while its task is being typed. What comes of it shows when the
 * session starts: sooner, or as if nobody had asked.
 */
export function useWarm(wanted: Omit<NewSession, "task">, typing: boolean): void {
  const kind = JSON.stringify(wanted);
  useEffect(() => {
    if (!typing || off) return;
    const timer = setTimeout(() => {
      api.warmSession({ ...(JSON.parse(kind) as typeof wanted), task: "" }).then(
        ({ until }) => {
          off = until === null;
        },
        // What is wrong with the choice is said when it is started.
        () => {},
      );
    }, AFTER_MS);
    return () => clearTimeout(timer);
  }, [kind, typing]);
}
