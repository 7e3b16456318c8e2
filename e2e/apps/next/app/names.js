// On the global object: pages and actions may load this module apart from each other.
export function names() {
  globalThis.guestbook ??= []
  return globalThis.guestbook
}
