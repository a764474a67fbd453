import { defineConfig } from 'vitest/config';

export default defineConfig({
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: { outDir: 'dist/app', target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  // `npm run dev` beside `chappe testbed`.
  server: { proxy: { '/ws': { target: process.env['CHAPPE'] ?? 'http://127.0.0.1:8080', ws: true } } },
  test: { include: ['test/**/*.test.ts'] },
});
