import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The page on recorded sessions, without a server. For looking at the interface; not part of `dist`.
export default defineConfig({
  root: "dev",
  publicDir: "../public",
  plugins: [react()],
  server: { port: 5199, strictPort: true, host: "127.0.0.1", fs: { allow: [".."] } },
});
