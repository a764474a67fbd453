// What users do in groups, with files, places, cards and contacts.

import { crc32, deflateSync } from 'node:zlib';

/** A PNG with colours that change from corner to corner. */
function png(width, height) {
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.alloc(height * (1 + width * 3));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      rows.set([80 + (150 * y) / height, 120 + (100 * x) / width, 220 - (140 * y) / height], y * (1 + width * 3) + 1 + x * 3);
    }
  }
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([signature, chunk('IHDR', head), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0))]);
}

/** A file: a picture of so many pixels, or so many bytes. */
const bytes = ({ name, type, size = 0, picture }) => ({
  name,
  mimeType: type ?? (picture ? 'image/png' : 'application/octet-stream'),
  buffer: picture ? png(...picture) : Buffer.alloc(size, 'chappe '),
});

/** Puts a file where the mouse or the clipboard would have it. */
async function bring(page, file, event) {
  await page.locator(event === 'paste' ? '.composer textarea' : '.conversation').evaluate(
    (target, [name, type, base64, kind]) => {
      const content = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([content], name, { type }));
      const init = { bubbles: true, cancelable: true };
      if (kind === 'paste') target.dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }));
      else for (const one of ['dragover', 'drop']) target.dispatchEvent(new DragEvent(one, { ...init, dataTransfer: data }));
    },
    [file.name, bytes(file).mimeType, bytes(file).buffer.toString('base64'), event],
  );
}

const last = (page, selector) => page.locator(`.bubble ${selector}`).last();

/** Pages that sleep, by what wakes them. */
const sleeping = new WeakMap();

export const rcs = {
  async newGroup(page, { subject, members }) {
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByRole('button', { name: 'New group' }).click();
    await page.getByLabel('Name of the group').fill(subject);
    await rcs.pick(page, members);
    await page.getByRole('button', { name: 'Create group' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
    await page.locator('.composer').waitFor();
  },
  async newGroupHere(page, how) {
    await page.getByRole('button', { name: 'Chats', exact: true }).click();
    await rcs.newGroup(page, how);
  },
  /** Begins to write to somebody, from within a conversation. */
  async beginHere(page, peer) {
    await page.getByRole('button', { name: 'Chats', exact: true }).click();
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByLabel('Name, address or phone number').fill(peer);
    await page.getByRole('button', { name: 'Start' }).click();
    await page.locator('.conversation h2', { hasText: peer }).waitFor();
  },
  /** Waits until the dialog of a message says who has read it. */
  async readBy(page, { text, names }) {
    const one = page.locator('.bubble', { hasText: text }).last();
    await one.hover();
    await one.getByRole('button', { name: 'Actions for this message' }).click();
    await page.getByRole('menuitem', { name: 'Who has it' }).click();
    await page.locator('dialog p', { hasText: `Read by ${names}` }).waitFor();
    await rcs.close(page);
  },
  async pick(page, members) {
    for (const member of members) {
      await page.getByLabel('Name, address or number of a member').fill(member);
      await page.getByRole('button', { name: 'Add', exact: true }).click();
    }
  },
  async details(page) {
    await page.getByRole('button', { name: 'Details', exact: true }).click();
    await page.locator('dialog').waitFor();
  },
  async close(page) {
    await page.getByRole('button', { name: 'Close' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
  },
  /** Waits until the members are these, as the dialog of the group has them. */
  async members(page, names) {
    await page.waitForFunction((wanted) => {
      const shown = [...document.querySelectorAll('dialog [data-user]')].map((one) => one.dataset.user.split('@')[0]).sort();
      return JSON.stringify(shown) === JSON.stringify([...wanted].sort());
    }, names);
  },
  async addMembers(page, members) {
    await page.getByRole('button', { name: 'Add members' }).click();
    await rcs.pick(page, members);
    await page.getByRole('button', { name: 'Add members' }).click();
    await page.getByRole('button', { name: 'Leave group' }).waitFor();
  },
  async removeMember(page, user) {
    await page.locator(`dialog li:has([data-user^="${user}@"])`).getByRole('button', { name: 'Remove' }).click();
  },
  async rename(page, subject) {
    await page.getByLabel('Name of the group').fill(subject);
    await page.getByRole('button', { name: 'Rename' }).click();
  },
  async groupPicture(page, file) {
    await page.locator('dialog input[type=file]').setInputFiles(bytes(file));
    await page.locator('dialog .profile .avatar img').waitFor();
  },
  async leave(page) {
    await page.getByRole('button', { name: 'Leave group' }).click();
    await page.getByRole('button', { name: 'Leave group' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
  },
  async title(page, title) {
    await page.locator('.conversation h2', { hasText: title }).waitFor();
  },
  async row(page, text) {
    await page.locator('.list li', { hasText: text }).first().waitFor();
  },
  async has(page, selector) {
    await page.locator(selector).first().waitFor();
  },
  async gone(page, selector) {
    await page.locator(selector).first().waitFor({ state: 'detached' });
  },
  async count(page, selector) {
    return page.locator(selector).count();
  },
  async attach(page, file) {
    await page.locator('.composer input[type=file]').setInputFiles(bytes(file));
  },
  async drop(page, file) {
    await bring(page, file, 'drop');
  },
  async paste(page, file) {
    await bring(page, file, 'paste');
  },
  /** Waits for a photo that is drawn; gives its width. */
  async photo(page) {
    const photo = last(page, '.file img');
    await photo.waitFor();
    return photo.evaluate(async (image) => {
      await image.decode();
      return image.naturalWidth;
    });
  },
  /** The mark of the newest message, once it is that. */
  async lastMark(page, mark) {
    await page.locator('.bubble').last().locator(`[data-progress=${mark}]`).waitFor();
  },
  /** Bytes a second that go out; 0: as many as can. */
  async slow(page, rate) {
    const tools = await page.context().newCDPSession(page);
    await tools.send('Network.enable');
    const upload = rate || -1;
    await tools.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: upload });
  },
  /** Waits until an upload has got so far. */
  async percent(page, least) {
    await page.waitForFunction((wanted) => (document.querySelector('progress')?.value ?? 0) >= wanted, least);
  },
  /** Fetches a file as the browser would save it; gives its length. */
  async fetched(page, name) {
    const photo = page.getByRole('button', { name: `Open photo ${name}` }).last();
    const link = page.getByRole('link', { name: `Download ${name}` }).last();
    await photo.or(link).first().waitFor();
    if (await photo.isVisible()) await photo.click();
    const [download] = await Promise.all([page.waitForEvent('download'), link.click()]);
    const { statSync } = await import('node:fs');
    const { size } = statSync(await download.path());
    if (await page.locator('dialog').isVisible()) await rcs.close(page);
    return { name: download.suggestedFilename(), size };
  },
  async cancelUpload(page) {
    await page.getByRole('button', { name: 'Cancel the upload' }).click();
  },
  /** Records for so many milliseconds of what the microphone of the test hears. */
  async record(page, milliseconds) {
    await page.getByRole('button', { name: 'Record a voice message' }).click();
    await page.getByRole('button', { name: 'Send the recording', disabled: false }).waitFor();
    await page.waitForFunction((wanted) => {
      window.recordingSince ??= performance.now();
      return performance.now() - window.recordingSince > wanted;
    }, milliseconds);
    await page.getByRole('button', { name: 'Send the recording' }).click();
  },
  /** Plays the last sound; gives how far it got, once it has moved. */
  async plays(page) {
    await last(page, '.voice').getByRole('button').click();
    return last(page, '.voice').locator('audio').evaluate(async (audio) => {
      while (audio.currentTime <= 0.1) await new Promise((resolve) => setTimeout(resolve, 20));
      return audio.currentTime;
    });
  },
  async place(page, { label, coordinates }) {
    await page.getByRole('button', { name: 'Attach' }).click();
    await page.getByRole('menuitem', { name: 'Place' }).click();
    if (coordinates) await page.getByLabel('Latitude and longitude').fill(coordinates);
    else await page.getByRole('button', { name: 'Where I am' }).click();
    await page.getByLabel('What is there').fill(label);
    await page.getByRole('button', { name: 'Send place' }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
  },
  async chooseItem(page, name) {
    await page.getByRole('menuitem', { name }).click();
  },
  /** Clicks into the map, at parts of its width and height. */
  async clickMap(page, [across, down]) {
    const { width, height } = await page.locator('.map.choosing').boundingBox();
    await page.locator('.map.choosing').click({ position: { x: width * across, y: height * down } });
  },
  async card(page, name) {
    await page.getByRole('button', { name: 'Attach' }).click();
    await page.getByRole('menuitem', { name: 'Contact card' }).click();
    await page.locator('dialog .people button', { hasText: name }).click();
  },
  async contacts(page) {
    await page.getByRole('button', { name: 'Contacts', exact: true }).click();
  },
  async addContact(page, { address, name }) {
    await page.getByRole('button', { name: 'Add contact' }).first().click();
    if (address) await page.getByLabel('Name, address or phone number').fill(address);
    await page.getByLabel('Name', { exact: true }).fill(name);
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await page.locator('dialog').waitFor({ state: 'detached' });
  },
  async press(page, name) {
    await page.getByRole('button', { name, exact: true }).last().click();
  },
  async offline(page, offline) {
    await page.context().setOffline(offline);
  },
  /** The page stops and its connection goes, as when a lid is closed. */
  async sleep(page) {
    const tools = await page.context().newCDPSession(page);
    sleeping.set(page, tools);
    await tools.send('Network.enable');
    await tools.send('Page.setWebLifecycleState', { state: 'frozen' });
    await page.context().setOffline(true);
  },
  /** So many seconds have gone by, for its clock too. */
  async wake(page, seconds) {
    const tools = sleeping.get(page);
    await page.context().setOffline(false);
    await tools.send('Page.setWebLifecycleState', { state: 'active' });
    await page.evaluate((gone) => {
      const now = Date.now;
      Date.now = () => now.call(Date) + gone * 1000;
      document.dispatchEvent(new Event('visibilitychange'));
    }, seconds);
  },
  /** Allows notifications, and waits until they come without a page too. */
  async allowPush(page) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByLabel('Show notifications').click();
    await page.getByText('Also when this page is closed.').waitFor();
    await rcs.close(page);
  },
  async closePage(page) {
    await page.context().close();
  },
  /** The push service has something for the service worker; gives what it shows. */
  async pushed(page) {
    const { origin } = new URL(page.url());
    await page.context().grantPermissions(['notifications'], { origin });
    const tools = await page.context().newCDPSession(page);
    const known = new Promise((resolve) => {
      tools.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
        if (registrations[0]) resolve(registrations[0].registrationId);
      });
    });
    await tools.send('ServiceWorker.enable');
    await tools.send('ServiceWorker.deliverPushMessage', { origin, registrationId: await known, data: '' });
    return page.evaluate(async () => {
      const registration = await navigator.serviceWorker.ready;
      for (;;) {
        const [shown] = await registration.getNotifications();
        if (shown) return `${shown.title}: ${shown.body}`;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
  },
  /** Says what the user is up to. */
  async note(page, text) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByLabel('What others see beside your name').fill(text);
    await page.keyboard.press('Tab');
    await rcs.close(page);
  },
  /** Keys and texts, one after the other; before the first the page has the focus where it begins. */
  async keys(page, all) {
    for (const key of all) {
      if (/^(Tab|Enter|Escape|Arrow\w+)$/.test(key)) await page.keyboard.press(key);
      else await page.keyboard.type(key);
    }
  },
  /** Goes on by the tabulator until the focus is on something that is called so; false when it never is. */
  async focusOn(page, name) {
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press('Tab');
      const label = await page.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? document.activeElement?.textContent ?? '');
      if (label.trim() === name) return true;
    }
    return false;
  },
  /** The size of what does not fit into the width of the page. */
  async overflow(page) {
    return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  },
};
