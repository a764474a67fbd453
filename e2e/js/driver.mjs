// A headless Chromium that takes commands from standard input and answers on standard output, one JSON object a line:
// {"page": 0, "do": "register", "with": {…}} is answered by {"is": …} or {"error": "…"}.
import readline from 'node:readline';
import { chromium } from 'playwright-core';

const [executablePath] = process.argv.slice(2);
/** No single thing takes longer, in milliseconds; a machine under load is slow, but not dead. */
export const PATIENCE = 30_000;

export const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream', '--disable-features=WebRtcHideLocalIpsWithMdns',
    '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required', '--ignore-certificate-errors',
  ],
});

/** What a page says to itself goes to standard error. */
export function overhear(number, page) {
  page.on('pageerror', (error) => process.stderr.write(`page ${number}: ${error}\n`));
  page.on('console', (line) => process.stderr.write(`page ${number}: ${line.text()}\n`));
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

/** Does what it is told until there are no more commands. */
export async function run(act) {
  say({ is: 'ready' });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      const command = JSON.parse(line);
      say({ is: (await inTime(act(command.page, command.do, command.with ?? null), command.do)) ?? null });
    } catch (error) {
      say({ error: String(error) });
    }
  }
  await browser.close();
}
