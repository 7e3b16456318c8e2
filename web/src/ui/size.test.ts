import { expect, test } from "vitest";
import { fileSize } from "./size";

test("sizes read as people say them", () => {
  const said = (bytes: number) => fileSize(bytes);
  expect([0, 1, 1023, 1024, 1536, 10_137].map(said)).toEqual([
    "0 bytes",
    "1 byte",
    "1023 bytes",
    "1 KB",
    "1.5 KB",
    "9.9 KB",
  ]);
  expect([10_240, 1_048_575, 1_048_576, 1_073_741_824, 5e12].map(said)).toEqual([
    "10 KB",
    "1 MB",
    "1 MB",
    "1 GB",
    "4657 GB",
  ]);
});
