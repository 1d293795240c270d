// Builds pane/ into one script and one style sheet, which weir-analytics puts into its page.
import { defineConfig } from "vite";

const LICENCE = "/*! uPlot, https://github.com/leeoniya/uPlot, MIT licence, Copyright (c) Leon Sorokin */";

// Minifying drops comments: the notice is put before what is left.
const notice = {
  name: "notice",
  generateBundle(_, bundle) {
    for (const part of Object.values(bundle)) if (part.type === "chunk") part.code = LICENCE + "\n" + part.code;
  },
};

export default defineConfig({
  root: import.meta.dirname,
  publicDir: false,
  logLevel: "warn",
  build: {
    outDir: "built",
    emptyOutDir: true,
    target: "es2022",
    cssTarget: "chrome123",
    modulePreload: false,
    reportCompressedSize: false,
    lib: { entry: "pane/main.ts", formats: ["iife"], name: "pane", fileName: () => "pane.js", cssFileName: "pane" },
    rollupOptions: { plugins: [notice] },
  },
});
