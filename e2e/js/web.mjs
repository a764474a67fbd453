// The web client of the server: each page is a browser of its own, in which a user types and clicks.
import { createRequire } from 'node:module';
import { PATIENCE, browser, overhear, run } from './driver.mjs';
import { rcs } from './web_rcs.mjs';

const axe = createRequire(import.meta.url).resolve('axe-core/axe.min.js');
const pages = [];

/** What the browsers fetched that did not come from the server. */
const strangers = [];
/** Bytes of the first load, as they went over the wire. */
let firstLoad = 0;

/** A push service of the test's own stands where the browser's would be, which is not to be had here. */
function pretendToPush(endpoint) {
  const subscription = { endpoint, unsubscribe: async () => true };
  let current = null;
  PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
    if (!/^[\w-]{87}$/.test(applicationServerKey)) throw new Error(`no key: ${applicationServerKey}`);
    return (current = subscription);
  };
  PushManager.prototype.getSubscription = async () => current;
  Notification.requestPermission = async () => 'granted';
}

/** The microphone gives a tone of so many Hz. */
function pretendToSay(hz) {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const audio = new AudioContext();
    await audio.resume();
    const out = new MediaStreamAudioDestinationNode(audio);
    const oscillator = new OscillatorNode(audio, { frequency: hz });
    oscillator.connect(new GainNode(audio, { gain: 0.4 })).connect(out);
    oscillator.start();
    if (constraints.video) (await ask({ video: true })).getTracks().forEach((track) => out.stream.addTrack(track));
    return out.stream;
  };
}

/** Calls go by the relay of the server and nothing else. */
function goByRelay() {
  const Direct = RTCPeerConnection;
  window.RTCPeerConnection = class extends Direct {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'relay' });
      window.connection = this;
    }
  };
}

async function open(number, { url, dark, phone, wide, language, pushService, tone, relay }) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true,
    locale: language ?? 'en',
    colorScheme: dark ? 'dark' : 'light',
    viewport: phone ? { width: 360, height: 740 } : wide ? { width: 1440, height: 900 } : { width: 1100, height: 720 },
    permissions: ['microphone', 'camera', 'geolocation', 'clipboard-read', 'clipboard-write'],
    geolocation: { latitude: 48.8583, longitude: 2.2945, accuracy: 10 },
  });
  context.setDefaultTimeout(PATIENCE);
  const page = await context.newPage();
  if (tone) await page.addInitScript(pretendToSay, tone);
  if (relay) await page.addInitScript(goByRelay);
  if (pushService) await page.addInitScript(pretendToPush, pushService);
  overhear(number, page);
  const own = new URL(url).host;
  page.on('request', (request) => {
    const { host, protocol } = new URL(request.url());
    if (protocol.startsWith('http') && host !== own) strangers.push(request.url());
  });
  page.on('websocket', (socket) => {
    if (new URL(socket.url()).host !== own) strangers.push(socket.url());
  });
  const loads = [];
  const count = (response) => loads.push(response.request().sizes().then((sizes) => sizes.responseBodySize));
  page.on('response', count);
  await page.goto(url, { waitUntil: 'networkidle' });
  page.off('response', count);
  firstLoad = (await Promise.all(loads)).reduce((sum, size) => sum + size, 0);
  pages[number] = page;
}

const field = (page) => page.getByLabel('Message', { exact: true });
const bubble = (page, text) => page.locator('.bubble', { hasText: text }).last();

async function menu(page, text, item) {
  const one = bubble(page, text);
  await one.hover();
  await one.getByRole('button', { name: 'Actions for this message' }).click();
  await page.getByRole('menuitem', { name: item }).click();
}

const actions = {
  ...rcs,
  async signIn(page, { user, password, name }) {
    await page.getByLabel('Address').fill(user);
    await page.getByLabel('Password').fill(password);
    await page.getByLabel('Your name').fill(name ?? '');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('.list, .fault:not(:empty)').first().waitFor();
    return (await page.locator('.fault').count()) > 0 ? page.locator('.fault').innerText() : '';
  },
  async begin(page, peer) {
    await page.getByRole('button', { name: 'New chat' }).first().click();
    await page.getByLabel('Name, address or phone number').fill(peer);
    await page.getByRole('button', { name: 'Start' }).click();
    await field(page).waitFor();
  },
  async choose(page, name) {
    await page.getByRole('link', { name }).first().click();
    await field(page).waitFor();
  },
  async back(page) {
    await page.getByRole('button', { name: 'Back to the conversations' }).click();
  },
  async say(page, text) {
    await field(page).fill(text);
    await page.keyboard.press('Enter');
  },
  async type(page, text) {
    await field(page).pressSequentially(text);
  },
  async typing(page) {
    await page.locator('.conversation .typing').waitFor();
  },
  /** Waits for a text, and says how often it is there. */
  async text(page, text) {
    await page.locator('.bubble .text', { hasText: text }).first().waitFor();
    return page.locator('.bubble .text', { hasText: text }).count();
  },
  /** All texts of the conversation, in their order. */
  async texts(page) {
    return page.locator('.bubble .text').allInnerTexts();
  },
  /** Waits for a mark at a message of ours. */
  async mark(page, { text, mark }) {
    await bubble(page, text).locator(`[data-progress=${mark}]`).waitFor();
  },
  async unread(page, count) {
    await page.locator('.badge', { hasText: String(count) }).waitFor();
  },
  async reply(page, { to, text }) {
    await menu(page, to, 'Reply');
    await actions.say(page, text);
  },
  async edit(page, { text, into }) {
    await menu(page, text, 'Edit');
    await actions.say(page, into);
  },
  async recall(page, text) {
    await menu(page, text, 'Delete for everyone');
  },
  async react(page, { to, sign }) {
    await menu(page, to, `React with ${sign}`);
  },
  async see(page, selector) {
    return page.locator(selector).first().innerText();
  },
  async state(page, state) {
    await page.locator(`.state.${state}`).waitFor({ state: 'attached' });
  },
  /** Until the page opens without a server. */
  async kept(page) {
    await page.evaluate(async () => {
      await navigator.serviceWorker.ready;
      while (!(await caches.match('/'))) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  },
  async reload(page) {
    await page.reload();
    await page.locator('.list').waitFor({ state: 'attached' });
  },
  async picture(page, file) {
    await page.screenshot({ path: file });
  },
  /** Serious findings of axe about what is on the page. */
  async findings(page) {
    // The policy of the page lets no script in: the test's own comes by the debugger.
    const { readFileSync } = await import('node:fs');
    await page.evaluate(readFileSync(axe, 'utf8'));
    const { violations } = await page.evaluate(() => window.axe.run());
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    return serious.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(' | ')}`);
  },
  async call(page, video) {
    await page.getByRole('button', { name: video ? 'Video call' : 'Call', exact: true }).click();
  },
  async answer(page, video) {
    await page.getByRole('button', { name: video ? 'Answer with video' : 'Answer', exact: true }).click();
  },
  async hangUp(page) {
    await page.getByRole('button', { name: /^(Hang up|Decline)$/ }).click();
  },
  /** What the call says of itself, once it says that. */
  async callSays(page, text) {
    await page.locator('.call [role=status]', { hasText: text }).waitFor();
  },
  async noCall(page) {
    await page.locator('.call').waitFor({ state: 'detached' });
  },
  async event(page, text) {
    await page.locator('.event', { hasText: text }).first().waitFor();
  },
  /** Waits until the tone of the other side's microphone is heard; gives its peak. */
  async hears(page) {
    await page.locator('.call video').first().waitFor({ state: 'attached' });
    return page.evaluate(async () => {
      const audio = new AudioContext();
      await audio.resume();
      const scope = audio.createAnalyser();
      audio.createMediaStreamSource(document.querySelector('.call video').srcObject).connect(scope);
      const samples = new Float32Array(scope.fftSize);
      for (;;) {
        scope.getFloatTimeDomainData(samples);
        const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
        if (peak > 0.05) return peak;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
  },
  /** The strongest frequency that comes from the other side, once it is clearly one. */
  async hearsTone(page) {
    await page.locator('.call video').first().waitFor({ state: 'attached' });
    return page.evaluate(async () => {
      const audio = new AudioContext();
      await audio.resume();
      const scope = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
      new MediaStreamAudioSourceNode(audio, { mediaStream: document.querySelector('.call video').srcObject }).connect(scope);
      const bins = new Float32Array(scope.frequencyBinCount);
      for (;;) {
        scope.getFloatFrequencyData(bins);
        const best = bins.reduce((most, level, at) => (level > bins[most] ? at : most), 0);
        if (bins[best] > -45) return Math.round((best * audio.sampleRate) / scope.fftSize);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
  },
  /** How the chosen way of a call that goes by the relay begins: the kinds of candidates, and what the browser speaks to the relay. */
  async path(page) {
    return page.evaluate(async () => {
      for (;;) {
        const stats = await window.connection.getStats();
        const pairs = [...stats.values()].filter((one) => one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded');
        const local = pairs.length > 0 ? stats.get(pairs[0].localCandidateId) : undefined;
        if (local) return { kind: local.candidateType, relayProtocol: local.relayProtocol };
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
  },
  /** Waits until pictures of the other side have been shown. */
  async sees(page, frames) {
    await page.locator('.call .theirs').waitFor({ state: 'attached' });
    return page.evaluate(async (wanted) => {
      const shown = () => document.querySelector('.call .theirs').getVideoPlaybackQuality().totalVideoFrames;
      while (shown() < wanted) await new Promise((resolve) => setTimeout(resolve, 20));
      return shown();
    }, frames);
  },
  async signOut(page) {
    await page.getByRole('button', { name: 'Menu' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Address').waitFor();
    return page.evaluate(async () => (await indexedDB.databases()).map((one) => one.name));
  },
};

await run(async (number, name, argument) => {
  if (name === 'open') return open(number, argument);
  if (name === 'strangers') return strangers;
  if (name === 'firstLoad') return firstLoad;
  return actions[name](pages[number], argument);
});
