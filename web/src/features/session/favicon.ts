import { useEffect } from "react";

/** The tab says how many sessions wait for a person, in its title and its icon. */
export function useTabBadge(waiting: number, title: string | undefined): void {
  useEffect(() => {
    document.title = `${waiting ? `(${waiting}) ` : ""}${title ? `${title} · ` : ""}Mistle`;
    const icon = document.getElementById("favicon");
    if (icon instanceof HTMLLinkElement) icon.href = waiting ? "/favicon-needs-you.svg" : "/favicon.svg";
  }, [waiting, title]);
}
