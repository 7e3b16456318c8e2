import { afterEach, describe, expect, test, vi } from "vitest";
import { ariaChord, chordLabels, matches, parseChord } from "./keys";
import { type Command, commandFor, registerCommands } from "./registry";

const press = (key: string, more: Partial<KeyboardEvent> = {}) => ({
  key,
  code: "",
  metaKey: false,
  ctrlKey: false,
  altKey: false,
  shiftKey: false,
  ...more,
});

describe("chords", () => {
  test("mod is Cmd on a Mac and Ctrl elsewhere", () => {
    const chord = parseChord("mod+k");
    expect(matches(chord, press("k", { ctrlKey: true }), false)).toBe(true);
    expect(matches(chord, press("k", { ctrlKey: true }), true)).toBe(false);
    expect(matches(chord, press("k", { metaKey: true }), true)).toBe(true);
    expect(chordLabels("mod+shift+f", true)).toEqual(["⌘", "⇧", "F"]);
    expect(ariaChord("mod+j", false)).toBe("Control+j");
  });

  test("a symbol matches however its keyboard types it; a letter with Shift is another key", () => {
    expect(matches(parseChord("?"), press("?", { shiftKey: true }), false)).toBe(true);
    expect(matches(parseChord("c"), press("C", { shiftKey: true }), false)).toBe(false);
    expect(matches(parseChord("c"), press("c", { ctrlKey: true }), false)).toBe(false);
  });

  test("ctrl is Ctrl everywhere, and Shift makes another character of the same key", () => {
    const chord = parseChord("ctrl+shift+`");
    const pressed = press("~", { code: "Backquote", ctrlKey: true, shiftKey: true });
    expect(matches(chord, pressed, true)).toBe(true);
    expect(matches(chord, pressed, false)).toBe(true);
    expect(matches(chord, press("`", { code: "Backquote" }), false)).toBe(false);
    expect(chordLabels("ctrl+shift+`", true)).toEqual(["⌃", "⇧", "`"]);
    expect(ariaChord("ctrl+shift+`", true)).toBe("Control+Shift+`");
  });

  test("other scripts keep their shortcuts", () => {
    expect(matches(parseChord("mod+k"), press("л", { ctrlKey: true, code: "KeyK" }), false)).toBe(true);
  });
});

describe("which command a key stands for", () => {
  let remove = () => {};
  const register = (...commands: Partial<Command>[]) => {
    remove = registerCommands(
      commands.map((command, i) => ({ id: String(i), title: "", group: "View", run: vi.fn(), ...command })),
    );
  };
  afterEach(() => {
    remove();
    document.body.innerHTML = "";
  });
  const found = (html: string, selector: string, init: KeyboardEventInit) => {
    document.body.innerHTML = html;
    const target = document.querySelector(selector);
    const event = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init });
    let id: string | undefined;
    const listen = (pressed: KeyboardEvent) => {
      id = commandFor(pressed)?.id;
    };
    document.addEventListener("keydown", listen, { once: true });
    target?.dispatchEvent(event);
    return id;
  };

  test("letters belong to text fields; chords do not", () => {
    register({ keys: ["y"] }, { keys: ["mod+k"] });
    expect(found("<textarea></textarea>", "textarea", { key: "y" })).toBeUndefined();
    expect(found("<textarea></textarea>", "textarea", { key: "k", ctrlKey: true })).toBe("1");
    expect(found("<button></button>", "button", { key: "y" })).toBe("0");
  });

  test("a terminal has every key but those that are said to pass", () => {
    register({ keys: ["mod+k"] }, { keys: ["mod+j"], inTerminal: true });
    const html = "<div data-terminal><textarea></textarea></div>";
    expect(found(html, "textarea", { key: "k", ctrlKey: true })).toBeUndefined();
    expect(found(html, "textarea", { key: "j", ctrlKey: true })).toBe("1");
  });

  test("what the browser does by its own keys is left to it", () => {
    register({ keys: ["ctrl+shift+v"], browserKeys: true, inTerminal: true });
    const html = "<div data-terminal><textarea></textarea></div>";
    expect(found(html, "textarea", { key: "V", ctrlKey: true, shiftKey: true })).toBeUndefined();
  });

  test("what can't be done is no command", () => {
    register({ keys: ["y"], when: () => false });
    expect(found("<button></button>", "button", { key: "y" })).toBeUndefined();
  });

  test("a key of some panes is nothing elsewhere", () => {
    register({ keys: ["escape"], inText: true, pane: ["composer", "conversation"] });
    const html =
      '<input id="out"><div data-pane="changes"><button></button></div><div data-pane="composer"><textarea></textarea></div>';
    expect(found(html, "textarea", { key: "Escape" })).toBe("0");
    expect(found(html, "button", { key: "Escape" })).toBeUndefined();
    expect(found(html, "#out", { key: "Escape" })).toBeUndefined();
  });

  test("a chord with Alt is known by its place when the letter is another one", () => {
    expect(matches(parseChord("alt+y"), press("y", { altKey: true }), false)).toBe(true);
    expect(matches(parseChord("alt+y"), press("н", { altKey: true, code: "KeyY" }), false)).toBe(true);
    expect(matches(parseChord("alt+y"), press("y"), false)).toBe(false);
  });

  test("an open menu has the keys", () => {
    register({ keys: ["escape"] });
    const html = "<button></button><div role='dialog' data-state='open'></div>";
    expect(found(html, "button", { key: "Escape" })).toBeUndefined();
  });
});
