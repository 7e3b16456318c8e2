import { describe, expect, test } from "vitest";
import { ApiError } from "../../api/client";
import {
  addRow,
  asked,
  errorOf,
  type Folders,
  folderNameProblem,
  offeredFolders,
  removeRow,
} from "./workspaces";

const repository = (source: string, branch = "") => ({ kind: "repository" as const, source, branch });
const folder = (source: string) => ({ kind: "folder" as const, source, branch: "" });
const refused = (pointer: string) =>
  new ApiError("Start session", "POST", "/sessions", {
    type: "x",
    title: "x",
    detail: "no",
    status: 422,
    pointer,
  });

test("a profile's repositories and folders are all there", () => {
  const profile = {
    repositories: [{ source: "/srv/a", branch: "dev" }, { source: "/srv/b" }],
    workspaces: ["notes"],
  };
  expect(offeredFolders(profile)).toEqual({
    rows: [repository("/srv/a", "dev"), repository("/srv/b"), folder("notes")],
    primary: 0,
  });
  expect(offeredFolders({ repositories: [] }).rows).toEqual([repository("")]);
});

describe("several", () => {
  const choice: Folders = {
    rows: [repository("/srv/a"), repository(" "), folder("notes"), repository("/srv/b", "dev")],
    primary: 3,
  };
  test("the one to start in is asked for first", () => {
    expect(asked(choice, [{ source: "/srv/a", name: "api" }])).toEqual({
      repository: { source: "/srv/b", name: null, branch: "dev" },
      repositories: [{ source: "/srv/a", name: "api", branch: null }],
      workspaces: ["notes"],
      primary: null,
    });
    expect(asked({ ...choice, primary: 2 }, [])).toMatchObject({
      repository: { source: "/srv/a" },
      primary: "notes",
    });
  });
  test("a refusal is shown where it belongs", () => {
    expect(errorOf(refused("/repository/branch"), choice)).toMatchObject({ at: 3, field: "branch" });
    expect(errorOf(refused("/repositories/0/source"), choice)).toMatchObject({ at: 0, field: "source" });
    expect(errorOf(refused("/workspaces/0"), choice)).toMatchObject({ at: 2, field: "source" });
    for (const pointer of ["/task", "/repositories/9/source", "/profile"])
      expect(errorOf(refused(pointer), choice), pointer).toBeUndefined();
  });
  test("when the one to start in goes, the one before takes its place", () => {
    expect(removeRow(choice, 3)).toMatchObject({ primary: 2 });
    expect(removeRow(choice, 0)).toMatchObject({ primary: 2 });
    expect(removeRow({ rows: [repository("/a")], primary: 0 }, 0)).toEqual({
      rows: [repository("")],
      primary: 0,
    });
  });
});

test("a folder takes the place of an empty field", () => {
  expect(addRow({ rows: [repository("")], primary: 0 }, "folder").rows).toEqual([folder("")]);
  expect(addRow({ rows: [repository("/a")], primary: 0 }, "folder").rows).toHaveLength(2);
});

test("folders have names that are names", () => {
  for (const name of ["notes", "a.b-c_d", "9"]) expect(folderNameProblem(name), name).toBeUndefined();
  for (const name of ["", " ", ".git", "-x", "a/b", "x".repeat(65)])
    expect(folderNameProblem(name), name).toBeDefined();
});
