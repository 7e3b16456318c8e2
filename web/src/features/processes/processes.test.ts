import { expect, test } from "vitest";
import { tuiOff } from "../tui/unavailable";
import { nameOf, portAddress } from "./ProcessList";

test("a port is named by its process, else by its command", () => {
  expect(nameOf({ process: "node", command: "node server.js" })).toBe("node");
  expect(nameOf({ process: null, command: "/usr/bin/python3 -m http.server" })).toBe("python3");
  expect(nameOf({ process: null, command: null })).toBe("Unknown process");
  expect(portAddress("ses_1", 8000)).toBe("/open/ses_1/8000");
});

test("the agent's own interface needs a sandbox and a conversation", () => {
  const session = { state: "running", conversation_id: "con_1", runtime: "codex" } as const;
  expect(tuiOff(session)).toBeUndefined();
  expect(tuiOff({ ...session, conversation_id: null })).toContain("has not begun a conversation");
  expect(tuiOff({ ...session, state: "stopped" })).toBe("The sandbox does not run");
});
