// @vitest-environment node
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
// @ts-expect-error a script without types
import { generate } from "../../scripts/schema.mjs";

test("schema.ts is what the server's document says (npm run schema)", async () => {
  const written = await readFile(new URL("./schema.ts", import.meta.url), "utf8");
  expect(written).toBe(await generate());
});
