import { act, renderHook } from "@testing-library/react";
import { afterEach, expect, it, vi } from "vitest";
import { sendAside, takeAside, useAside, useLostAsides } from "./asides";

afterEach(() => localStorage.clear());

const field = () => renderHook(() => useAside("ses", "scope", "message", "msg_1"));

it("has the same words wherever it is drawn, and keeps them while it is not", () => {
  const card = field();
  const bar = field();
  expect(card.result.current.aside).toBeUndefined();
  act(() => card.result.current.write("use the oth"));
  expect(bar.result.current.aside?.text).toBe("use the oth");
  card.unmount();
  bar.unmount();
  const again = field();
  expect(again.result.current.aside).toEqual({
    about: "message",
    id: "msg_1",
    text: "use the oth",
    scope: "scope",
  });
  act(() => again.result.current.close());
  expect(again.result.current.aside).toBeUndefined();
  expect(localStorage.length).toBe(0);
});

it("gives its words back once when what it is about is over", () => {
  const edit = field();
  const back = vi.fn();
  let over = false;
  const first = renderHook(() => useLostAsides("ses", () => over, back));
  const second = renderHook(() => useLostAsides("ses", () => over, back));
  act(() => edit.result.current.write("better"));
  expect(back).not.toHaveBeenCalled();
  over = true;
  first.rerender();
  second.rerender();
  expect(back).toHaveBeenCalledOnce();
  expect(back.mock.calls[0]?.[0]).toMatchObject({ text: "better" });
  expect(edit.result.current.aside).toBeUndefined();
});

it("is not given back while it is on its way, and only when it did not arrive", async () => {
  const edit = field();
  const back = vi.fn();
  renderHook(() => useLostAsides("ses", () => true, back));
  for (const arrives of [true, false]) {
    let answer = (_: boolean) => {};
    const answered = new Promise<boolean>((resolve) => {
      answer = resolve;
    });
    let sent = Promise.resolve();
    act(() => {
      sent = sendAside("ses", "msg_1", () => answered);
      edit.result.current.write("better");
    });
    expect(back).not.toHaveBeenCalled();
    await act(async () => {
      answer(arrives);
      await sent;
    });
    expect(back).toHaveBeenCalledTimes(arrives ? 0 : 1);
  }
  expect(takeAside("ses", "msg_1")).toBeUndefined();
});
