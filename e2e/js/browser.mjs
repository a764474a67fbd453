// A headless Chromium with a page for each phone. Takes commands from standard input and answers on standard output, one
// JSON object a line: {"page": 0, "do": "register", "with": {…}} is answered by {"is": …} or {"error": "…"}.
import http from 'node:http';
import path from 'node:path';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { chromium } from 'playwright-core';

const here = path.dirname(fileURLToPath(import.meta.url));
const [executablePath] = process.argv.slice(2);
const PATIENCE = 30_000;

const bundle = await esbuild.build({
  entryPoints: [path.join(here, 'page.js')], bundle: true, format: 'iife', write: false, logLevel: 'error',
});
const script = bundle.outputFiles[0].text;

// From the machine itself, so that the page is a secure context and may use the microphone.
const web = http.createServer((request, response) => {
  if (request.url === '/phone.js') {
    response.writeHead(200, { 'content-type': 'text/javascript' }).end(script);
  } else {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><script src="/phone.js"></script>');
  }
});
await new Promise((resolve) => web.listen(0, '127.0.0.1', resolve));
const origin = `http://127.0.0.1:${web.address().port}`;

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream', '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--allow-loopback-in-peer-connection', '--ignore-certificate-errors',
  ],
});
const context = await browser.newContext({ ignoreHTTPSErrors: true });
const pages = [];

async function pageOf(number) {
  if (!pages[number]) {
    const page = await context.newPage();
    page.on('pageerror', (error) => process.stderr.write(`page ${number}: ${error}\n`));
    page.on('console', (line) => process.stderr.write(`page ${number}: ${line.text()}\n`));
    await page.goto(origin);
    pages[number] = page;
  }
  return pages[number];
}

function inTime(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${PATIENCE} ms`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function say(thing) {
  process.stdout.write(`${JSON.stringify(thing)}\n`);
}

say({ is: 'ready' });
for await (const line of readline.createInterface({ input: process.stdin })) {
  try {
    const command = JSON.parse(line);
    const page = await pageOf(command.page);
    const done = page.evaluate(([name, argument]) => window.phone[name](argument), [command.do, command.with ?? null]);
    say({ is: (await inTime(done, command.do)) ?? null });
  } catch (error) {
    say({ error: String(error) });
  }
}
await browser.close();
web.close();
