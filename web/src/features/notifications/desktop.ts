/**
 * Notifications of the desktop. Every tab hears the same news on its live stream; the tab that holds
 * a lock tells them, and only while no tab is looked at.
 */
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useSyncExternalStore } from "react";
import { useLocation } from "wouter";
import { onSessionPush } from "../../live/sessions";
import { useStored } from "../../ui/storage";
import { type Known, knownOf, type News, newsOf } from "./events";

const SPEAKER = "mistle notifications";
const LOOKED_AT = "mistle is looked at";
/** Sessions whose last state is remembered; far more than run at once. */
const MAX_KNOWN = 1000;

export type Permission = NotificationPermission | "unsupported";

/** Browsers offer notifications on secure origins only. */
export function permission(): Permission {
  return "Notification" in window && "locks" in navigator ? Notification.permission : "unsupported";
}

const permissionListeners = new Set<() => void>();
function subscribe(listener: () => void): () => void {
  permissionListeners.add(listener);
  let status: PermissionStatus | undefined;
  let gone = false;
  // Changed in the browser's own settings while the page is open.
  void navigator.permissions?.query({ name: "notifications" }).then((found) => {
    if (gone) return;
    status = found;
    status.addEventListener("change", listener);
  });
  return () => {
    gone = true;
    permissionListeners.delete(listener);
    status?.removeEventListener("change", listener);
  };
}

export const usePermission = (): Permission => useSyncExternalStore(subscribe, permission);

/** Asks the browser. Only ever called for a person's click. */
export async function askPermission(): Promise<Permission> {
  await Notification.requestPermission();
  for (const listener of permissionListeners) listener();
  return permission();
}

export const useWanted = () => useStored("notifications", false);

/** Holds a lock until it is given back. */
function hold(name: string, mode: LockMode): () => void {
  const given = new AbortController();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  navigator.locks.request(name, { mode, signal: given.signal }, () => held).catch(() => {});
  return () => {
    given.abort();
    release();
  };
}

async function isLookedAt(): Promise<boolean> {
  const { held = [] } = await navigator.locks.query();
  return held.some((lock) => lock.name === LOOKED_AT);
}

/** Says in a lock that somebody looks at this tab, while somebody does. */
function tellWhenSeen(): () => void {
  let giveBack: (() => void) | undefined;
  const follow = () => {
    const seen = document.visibilityState === "visible";
    if (seen) giveBack ??= hold(LOOKED_AT, "shared");
    else {
      giveBack?.();
      giveBack = undefined;
    }
  };
  follow();
  document.addEventListener("visibilitychange", follow);
  return () => {
    document.removeEventListener("visibilitychange", follow);
    giveBack?.();
  };
}

function show(news: News, open: (session: string) => void): void {
  // The tag replaces one that another tab may have shown in the moment that the speaker changed.
  const shown = new Notification(news.title, { body: news.body, tag: news.key, icon: "/favicon.svg" });
  shown.onclick = () => {
    window.focus();
    open(news.session);
    shown.close();
  };
}

/** Calls the person for what happens while no page is looked at. Once, at the root of the page. */
export function useDesktopNotifications(): void {
  const client = useQueryClient();
  const [, navigate] = useLocation();
  const [wanted] = useWanted();
  const on = usePermission() === "granted" && wanted;
  useEffect(() => (permission() === "unsupported" ? undefined : tellWhenSeen()), []);
  useEffect(() => {
    if (!on) return;
    const known = new Map<string, Known>();
    let speaks = false;
    const end = new AbortController();
    navigator.locks
      .request(SPEAKER, { signal: end.signal }, () => {
        speaks = true;
        return new Promise<void>((resolve) => end.signal.addEventListener("abort", () => resolve()));
      })
      .catch(() => {});
    const stop = onSessionPush(client, (session) => {
      const news = newsOf(known.get(session.id), session);
      known.delete(session.id);
      known.set(session.id, knownOf(session));
      if (known.size > MAX_KNOWN) known.delete(known.keys().next().value ?? "");
      if (!news || !speaks) return;
      void isLookedAt().then((looked) => !looked && show(news, (id) => navigate(`/s/${id}`)));
    });
    return () => {
      end.abort();
      stop();
    };
  }, [on, client, navigate]);
}
