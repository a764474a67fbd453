// The phone in the page: JsSIP behind a few promises, so that the test reads as a script.
import JsSIP from 'jssip';
import { Connection } from '../../web/msrp/src/index.ts';

// What has come and was not asked for yet, and who waits for it.
class Mailbox {
  #here = [];
  #waiting = [];
  put(thing) {
    const wanted = this.#waiting.shift();
    if (wanted) wanted(thing); else this.#here.push(thing);
  }
  next() {
    if (this.#here.length > 0) return Promise.resolve(this.#here.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

let ua;
let session;
const messages = new Mailbox();
const calls = new Mailbox();
const files = new Mailbox();

// The MSRP connection, its address at the relay, and the session on it.
let msrp;

let media = { mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } };
let sound;

// Only codecs of these names in what we offer or answer, in sections of sound.
function only(names, sdp) {
  return sdp.replace(/m=audio (\d+) (\S+) ([^\r]*)\r\n((?:(?!m=)[^\r]*\r\n)*)/g, (all, port, protocol, formats, rest) => {
    const kept = formats.split(' ').filter((number) => {
      const name = new RegExp(`a=rtpmap:${number} ([^/]+)`).exec(rest)?.[1];
      return names.includes(name);
    });
    const lines = rest.split('\r\n').filter((line) => {
      const number = /^a=(?:rtpmap|fmtp|rtcp-fb):(\d+)/.exec(line)?.[1];
      return !number || kept.includes(number);
    });
    return `m=audio ${port} ${protocol} ${kept.join(' ')}\r\n${lines.join('\r\n')}`;
  });
}

// The end of a session, whichever side made it.
function watch(it) {
  session = it;
  it.over = new Promise((resolve) => {
    it.on('ended', (event) => resolve(event.cause));
    it.on('failed', (event) => resolve(event.cause));
  });
  it.rung = new Promise((resolve) => {
    it.on('progress', (event) => event.originator === 'remote' && resolve());
  });
  it.up = new Promise((resolve, reject) => {
    it.on('confirmed', () => resolve());
    it.on('failed', (event) => reject(new Error(`call failed: ${event.cause}`)));
  });
  // Who is not interested in it must not be told of an unhandled rejection.
  it.up.catch(() => {});
}

// What comes from the other side.
async function listen() {
  sound ??= new AudioContext();
  await sound.resume();
  const receiver = session.connection.getReceivers().find((it) => it.track.kind === 'audio');
  const stream = new MediaStream([receiver.track]);
  // Chromium decodes only what is played.
  const player = new Audio();
  player.srcObject = stream;
  await player.play();
  const scope = new AnalyserNode(sound, { fftSize: 8192, smoothingTimeConstant: 0 });
  new MediaStreamAudioSourceNode(sound, { mediaStream: stream }).connect(scope);
  return { scope, sampleRate: sound.sampleRate };
}

window.phone = {
  register({ url, uri, password }) {
    ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(url)], uri, password, register: true, session_timers: false,
    });
    ua.on('newMessage', (event) => {
      // Receipts are not for the reader.
      const type = event.request.getHeader('Content-Type') ?? '';
      if (event.originator === 'remote' && type.startsWith('text/plain')) {
        messages.put({ from: event.request.from.uri.toString(), text: event.request.body });
      }
    });
    ua.on('newRTCSession', (event) => {
      watch(event.session);
      if (event.originator === 'remote') calls.put(event.request.from.uri.toString());
    });
    return new Promise((resolve, reject) => {
      ua.on('registered', () => resolve(200));
      ua.on('registrationFailed', (event) => reject(new Error(`registration failed: ${event.cause}`)));
      ua.start();
    });
  },

  unregister() {
    return new Promise((resolve) => {
      ua.on('unregistered', () => resolve(200));
      ua.unregister({ all: false });
    });
  },

  // The code of the final response.
  send({ to, text }) {
    return new Promise((resolve) => {
      ua.sendMessage(to, text, {
        eventHandlers: {
          succeeded: (event) => resolve(event.response.status_code),
          failed: (event) => resolve(event.response ? event.response.status_code : event.cause),
        },
      });
    });
  },

  message: () => messages.next(),

  call({ to }) {
    ua.call(to, media);
  },

  // Until the other side has answered.
  up: () => session.up,

  // Until the other side rings.
  rung: () => session.rung,

  ringing: () => calls.next(),

  async answer() {
    session.answer(media);
    await session.up;
  },

  hangUp() {
    session.terminate();
  },

  over: () => session.over,

  // What is said from now on: a tone, and with it a picture that moves; only with these codecs, if there are names.
  async voice({ hz, codecs, video }) {
    sound ??= new AudioContext();
    await sound.resume();
    const oscillator = new OscillatorNode(sound, { frequency: hz });
    const out = new MediaStreamAudioDestinationNode(sound);
    oscillator.connect(new GainNode(sound, { gain: 0.4 })).connect(out);
    oscillator.start();
    const stream = out.stream;
    if (video) {
      const picture = await navigator.mediaDevices.getUserMedia({ video: true });
      picture.getTracks().forEach((track) => stream.addTrack(track));
    }
    media = { ...media, mediaConstraints: { audio: true, video: Boolean(video) }, mediaStream: stream };
    if (codecs) {
      const keep = (event) => { event.sdp = only(codecs, event.sdp); };
      ua.on('newRTCSession', (event) => event.session.on('sdp', (sdp) => sdp.originator === 'local' && keep(sdp)));
    }
  },

  // The strongest frequency that comes from the other side, once it is clearly one.
  async hears() {
    const { scope: analyser, sampleRate } = await listen();
    const bins = new Float32Array(analyser.frequencyBinCount);
    for (;;) {
      analyser.getFloatFrequencyData(bins);
      let best = 0;
      bins.forEach((level, at) => { if (level > bins[best]) best = at; });
      if (bins[best] > -45) return Math.round(best * sampleRate / analyser.fftSize);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  // Waits for one frequency, beside whatever else is heard.
  async hearsAmong({ hz }) {
    const { scope, sampleRate } = await listen();
    const bins = new Float32Array(scope.frequencyBinCount);
    const at = Math.round((hz * scope.fftSize) / sampleRate);
    for (;;) {
      scope.getFloatFrequencyData(bins);
      const near = Math.max(...bins.slice(at - 2, at + 3));
      if (near > -55) return near;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  },

  // Waits until nothing is heard.
  async silence() {
    const { scope } = await listen();
    const samples = new Float32Array(scope.fftSize);
    for (;;) {
      scope.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      if (peak < 0.001) return peak;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  // Until the other side has put the call on hold, or taken it off.
  async held({ on }) {
    while (session.isOnHold().remote !== on) await new Promise((resolve) => setTimeout(resolve, 20));
  },

  // Until no more packets of sound go out.
  async quiet() {
    const sent = async () => {
      const stats = await session.connection.getStats();
      return [...stats.values()].find((one) => one.type === 'outbound-rtp' && one.kind === 'audio')?.packetsSent ?? 0;
    };
    for (let before = await sent(); ;) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      const now = await sent();
      if (now === before) return now;
      before = now;
    }
  },

  // Connects to the relay; gives the path that leads here.
  async msrpAddress({ url, user, password, domain }) {
    const connection = await Connection.open(url);
    const address = await connection.authorize({ user, password, domain });
    msrp = { connection, address };
    return address.path;
  },

  msrpSession({ remote, maxSize }) {
    const onMessage = async ({ contentType, body }) => {
      const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
      files.put({ contentType, length: body.length, hash: [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('') });
    };
    msrp.session = msrp.connection.session({ local: msrp.address.path, remote, onMessage, maxSize });
  },

  // Sends so many bytes, and waits until the other side has reported them; gives their hash and how often there was progress.
  async msrpSend({ length, contentType }) {
    const body = Uint8Array.from({ length }, (_, at) => (at * 31) % 251);
    let steps = 0;
    try {
      await msrp.session.send(body, { contentType, delivered: true, onProgress: () => (steps += 1) });
    } catch (error) {
      return { status: error.status };
    }
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', body));
    return { status: 200, steps, hash: [...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('') };
  },

  msrpReceived: () => files.next(),

  hold: ({ on }) => new Promise((resolve, reject) => {
    const done = () => resolve(true);
    if (!(on ? session.hold({}, done) : session.unhold({}, done))) reject(new Error('it cannot be held now'));
  }),

  keys({ digits }) {
    session.sendDTMF(digits, { transportType: 'RFC2833' });
  },

  // Pictures that have been decoded.
  async frames({ least }) {
    // Decoded is what is shown.
    const { track } = session.connection.getReceivers().find((it) => it.track.kind === 'video');
    const screen = document.createElement('video');
    Object.assign(screen, { muted: true, srcObject: new MediaStream([track]) });
    document.body.append(screen);
    await screen.play();
    for (;;) {
      const stats = await session.connection.getStats();
      for (const entry of stats.values()) {
        if (entry.type === 'inbound-rtp' && entry.kind === 'video' && entry.framesDecoded >= least) return entry.framesDecoded;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },

  // The name of the codec that sound comes in.
  async codec() {
    const stats = await session.connection.getStats();
    for (const entry of stats.values()) {
      if (entry.type === 'inbound-rtp' && entry.kind === 'audio' && entry.codecId) return stats.get(entry.codecId).mimeType;
    }
    return null;
  },

  // Waits for sound: ICE, DTLS and SRTP have come about when packets arrive.
  async sound() {
    for (;;) {
      const stats = await session.connection.getStats();
      for (const entry of stats.values()) {
        if (entry.type === 'inbound-rtp' && entry.packetsReceived >= 20) return entry.packetsReceived;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
};
