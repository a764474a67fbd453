// The operator's console: each page is a browser of its own, in which an operator types and clicks.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PATIENCE, browser, overhear, run } from './driver.mjs';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const pages = [];
/** What the browsers fetched that did not come from the server. */
const strangers = [];

async function open(number, { url, dark, width, height, locale }) {
  const context = await browser.newContext({
    locale: locale ?? 'en',
    colorScheme: dark ? 'dark' : 'light',
    viewport: { width: width ?? 1440, height: height ?? 900 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  overhear(number, page);
  const own = new URL(url).host;
  page.on('request', (request) => {
    const { host, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && host !== own) strangers.push(request.url());
  });
  await page.goto(url);
  await page.getByRole('navigation').or(page.getByLabel('Token')).first().waitFor();
  pages[number] = page;
}

const row = (page, table, of) => page.getByRole('table', { name: table, exact: true }).getByRole('row', { name: of });

const actions = {
  async signIn(page, token) {
    await page.getByLabel('Token').fill(token);
    // The fault of an attempt before may still be there.
    const answered = page.waitForResponse((response) => new URL(response.url()).pathname === '/api/status');
    await page.getByRole('button', { name: 'Sign in' }).click();
    if ((await answered).status() === 200) {
      await page.getByRole('navigation').waitFor();
      return '';
    }
    const fault = page.getByRole('alert').filter({ hasText: /./ });
    await fault.waitFor();
    return fault.innerText();
  },
  async signOut(page) {
    await page.locator('.own').getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    return page.evaluate(() => sessionStorage.length);
  },
  /** Goes to a page by its link. */
  async visit(page, name) {
    await page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
    await page.getByRole('heading', { level: 1, name }).waitFor();
  },
  async find(page, what) {
    await page.getByRole('searchbox', { name: 'Find a user' }).fill(what);
    await page.keyboard.press('Enter');
    // It is emptied when it has led somewhere.
    await page.waitForFunction(() => document.getElementById('find').value === '');
    return page.evaluate(() => decodeURIComponent(location.hash));
  },
  /** Waits until an element has a text. */
  async see(page, { where, text }) {
    await page.locator(where).filter({ hasText: text }).first().waitFor();
  },
  /** Waits until a row of a table says something. */
  async row(page, { table, of, says }) {
    const one = row(page, table, of).first();
    if (says) await one.filter({ hasText: says }).waitFor();
    else await one.waitFor();
    return one.innerText();
  },
  async noRow(page, { table, of }) {
    await row(page, table, of).waitFor({ state: 'detached' });
  },
  async rows(page, table) {
    await page.getByRole('table', { name: table, exact: true }).waitFor();
    return page.getByRole('table', { name: table, exact: true }).locator('tbody tr').allInnerTexts();
  },
  /** Follows the link in a row of a table. */
  async follow(page, { table, of }) {
    await row(page, table, of).first().getByRole('link').first().click();
  },
  /** Clicks a button, and answers yes in the dialog that asks. */
  async press(page, { button, sure }) {
    await page.getByRole('button', { name: button, exact: true }).click();
    if (!sure) return;
    await page.getByRole('dialog').getByRole('button', { name: sure, exact: true }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
  },
  async said(page, text) {
    await page.locator('.said', { hasText: text }).waitFor();
  },
  async fill(page, fields) {
    for (const [label, text] of Object.entries(fields)) await page.getByLabel(label, { exact: true }).fill(text);
  },
  /** What the ladder shows: parties, and the words of its steps. */
  async ladder(page) {
    await page.locator('.ladder svg').waitFor();
    const parties = await page.locator('.ladder g:has(> .party) > title').allTextContents();
    return { parties, words: await page.locator('.ladder .label, .ladder .note').allTextContents() };
  },
  async copied(page) {
    await page.getByRole('button', { name: 'Copy as text' }).click();
    await page.locator('.said', { hasText: 'Copied' }).waitFor();
    return page.evaluate(() => navigator.clipboard.readText());
  },
  async ledger(page) {
    await page.locator('.ledger').waitFor();
    return page.locator('.ledger [data-term]').evaluateAll((terms) =>
      Object.fromEntries(terms.map((term) => [term.dataset.term, Number(term.querySelector('strong').textContent)])),
    );
  },
  async check(page, label) {
    await page.getByLabel(label).check();
  },
  /** The start lines of the trace, once there are so many. */
  async traced(page, least) {
    await page.locator('.trace li').nth(least - 1).waitFor();
    return page.locator('.trace li').allInnerTexts();
  },
  /** Keeps the capture in a file. */
  async capture(page, file) {
    const coming = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download capture' }).click();
    await (await coming).saveAs(file);
  },
  async picture(page, { file, full }) {
    await page.screenshot({ path: file, fullPage: full ?? false });
  },
  async wide(page) {
    return page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  },
  /** What the keyboard reaches, so many steps on. */
  async tab(page, times) {
    const names = [];
    for (let time = 0; time < times; time++) {
      await page.keyboard.press('Tab');
      names.push(await page.evaluate(() => document.activeElement.textContent || document.activeElement.id));
    }
    return names;
  },
  /** Serious findings of axe about what is on the page. */
  async findings(page) {
    await page.evaluate(readFileSync(axe, 'utf8'));
    const { violations } = await page.evaluate(() => window.axe.run());
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    return serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`);
  },
};

await run(async (number, name, argument) => {
  if (name === 'open') return open(number, argument);
  if (name === 'strangers') return strangers;
  return actions[name](pages[number], argument);
});
