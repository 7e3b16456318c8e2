import { expect, test } from "vitest";
import { tuiOff } from "../tui/unavailable";
import { nameOf, portAddress, shortened } from "./ProcessList";

test("a port is named by its process, else by its command", () => {
  expect(nameOf({ process: "node", command: "node server.js" })).toBe("node");
  expect(nameOf({ process: null, command: "/usr/bin/python3 -m http.server" })).toBe("python3");
  expect(nameOf({ process: null, command: null })).toBe("Unknown process");
  expect(portAddress("ses_1", 8000)).toBe("/open/ses_1/8000");
});

test("a command is shown without the folders that its programs are in", () => {
  const commands: [string, string][] = [
    ["node /workspace/app/node_modules/.bin/storybook dev --port 6006", "node …/storybook dev --port 6006"],
    ["/usr/bin/python3 -m http.server", "…/python3 -m http.server"],
    ["serve --dir=/srv/www/pages/ ./a/b.js", "serve --dir=…/pages/ ./a/b.js"],
    ["next-server (v16.4.5)", "next-server (v16.4.5)"],
    ["cat /", "cat /"],
  ];
  for (const [command, shown] of commands) expect(shortened(command)).toBe(shown);
});

test("the agent's own interface needs a sandbox and a conversation", () => {
  const session = { state: "running", conversation_id: "con_1", runtime: "codex" } as const;
  expect(tuiOff(session)).toBeUndefined();
  expect(tuiOff({ ...session, conversation_id: null })).toContain("has not begun a conversation");
  expect(tuiOff({ ...session, state: "stopped" })).toBe("The sandbox does not run");
});
