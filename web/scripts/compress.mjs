// Writes a gzip and a Brotli copy beside each file of the build that gets smaller by it; the server sends what the browser takes.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = path.join(import.meta.dirname ?? path.dirname(new URL(import.meta.url).pathname), '..', 'dist', 'app');
let total = 0;
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  const file = path.join(entry.parentPath ?? entry.path, entry.name);
  if (!entry.isFile() || !/\.(html|js|css|svg|json|webmanifest)$/.test(file)) continue;
  const bytes = readFileSync(file);
  const gzip = gzipSync(bytes, { level: 9 });
  const brotli = brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
  if (gzip.length < bytes.length) writeFileSync(`${file}.gz`, gzip);
  if (brotli.length < bytes.length) writeFileSync(`${file}.br`, brotli);
  total += Math.min(bytes.length, brotli.length);
}
console.log(`compressed: ${(total / 1024).toFixed(1)} KiB in all`);
