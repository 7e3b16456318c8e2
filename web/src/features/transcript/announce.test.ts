import { act, renderHook } from "@testing-library/react";
import { expect, it } from "vitest";
import { Recorder } from "../../../dev/recordings/recorder";
import { EMPTY, reduce } from "../../live/reducer";
import { foldRows } from "../../live/rows";
import { useAnnouncer } from "./announce";

it("tells each question with what it is about, and one that is asked twice twice", () => {
  const recorder = new Recorder(Date.UTC(2026, 10, 22, 12)).started();
  recorder.begin("Do it");
  const rows = () => foldRows(reduce(EMPTY, recorder.events));
  const { result, rerender } = renderHook(({ rows }) => useAnnouncer(rows, true), {
    initialProps: { rows: rows() },
  });
  expect(result.current.text).toBe("");
  const ask = (id: string, command: string) => {
    recorder.ask(id, `item_${id}`, { kind: "command", command, cwd: "/workspace" });
    act(() => rerender({ rows: rows() }));
    return result.current;
  };
  expect(ask("1", "npm test")).toEqual({ count: 1, text: "Needs you: Run this command? npm test" });
  expect(ask("2", "npm run lint")).toEqual({ count: 2, text: "Needs you: Run this command? npm run lint" });
  expect(ask("3", "npm run lint").count).toBe(3);
});
