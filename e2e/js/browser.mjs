// JsSIP, a page for each phone.
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as esbuild from 'esbuild';
import { browser, overhear, run } from './driver.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
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

const context = await browser.newContext({ ignoreHTTPSErrors: true });
const pages = [];

async function pageOf(number) {
  if (!pages[number]) {
    const page = await context.newPage();
    overhear(number, page);
    await page.goto(origin);
    pages[number] = page;
  }
  return pages[number];
}

await run(async (number, name, argument) => {
  const page = await pageOf(number);
  return page.evaluate(([what, how]) => window.phone[what](how), [name, argument]);
});
web.close();
