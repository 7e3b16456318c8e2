import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

/** Where `mistle serve` listens during development of the page. */
const SERVER = process.env.MISTLE_SERVER ?? "http://127.0.0.1:7420";

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    // The server embeds the files; source maps would double the binary's share of them.
    sourcemap: false,
    assetsInlineLimit: 0,
    // `npm run size` checks what is downloaded.
    chunkSizeWarningLimit: 1000,
  },
  server: {
    proxy: { "/api": { target: SERVER, ws: true }, "/login": SERVER },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/test-setup.ts"],
  },
});
