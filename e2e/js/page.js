// The phone in the page: JsSIP behind a few promises, so that the test reads as a script.
import JsSIP from 'jssip';

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

const media = { mediaConstraints: { audio: true, video: false }, pcConfig: { iceServers: [] } };

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
