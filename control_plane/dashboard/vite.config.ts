import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

// The control plane serves what is built under /ui/; `npx vite` serves it from here, and asks a control plane beside it.
export default defineConfig({
  base: "/ui/",
  plugins: [react()],
  build: {
    outDir: "../godwit/control_plane/dashboard/static",
    emptyOutDir: true,
    chunkSizeWarningLimit: 900,
  },
  server: { host: "127.0.0.1", proxy: { "/v1": loadEnv("", ".", "GODWIT_").GODWIT_URL ?? "http://127.0.0.1:7461" } },
});
