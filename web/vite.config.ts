import { defineConfig } from 'vitest/config';

export default defineConfig({
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  build: {
    outDir: 'dist/app',
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // The client for users, and the console for operators.
    rollupOptions: { input: ['index.html', 'admin/index.html'] },
  },
  // `npm run dev` beside `chappe testbed`.
  server: {
    proxy: {
      '/ws': { target: process.env['CHAPPE'] ?? 'http://127.0.0.1:8080', ws: true },
      '/api': process.env['CHAPPE_MANAGEMENT'] ?? 'http://127.0.0.1:9090',
    },
  },
  test: { include: ['test/**/*.test.ts', 'msrp/test/**/*.test.ts'] },
});
