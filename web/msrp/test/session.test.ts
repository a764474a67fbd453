import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Connection, type Frame, type Incoming, MsrpError, parse, write } from '../src';
import { header } from '../src/frame';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A WebSocket whose other end is the test. */
class Socket extends EventTarget {
  readonly protocol = 'msrp';
  binaryType = 'blob';
  readyState = 1;
  bufferedAmount = 0;
  sent: Frame[] = [];
  onFrame: (frame: Frame) => void = () => undefined;
  send(data: Uint8Array): void {
    const frame = parse(data);
    this.sent.push(frame);
    queueMicrotask(() => this.onFrame(frame));
  }
  give(data: Uint8Array | string): void {
    this.dispatchEvent(new MessageEvent('message', { data: typeof data === 'string' ? data : data.slice().buffer }));
  }
  close(): void {
    this.readyState = 3;
    this.dispatchEvent(new Event('close'));
  }
}

const PATHS = {
  ada: ['msrps://relay.example:443/ada;ws', 'msrps://ada.invalid:2855/a;ws'],
  claude: ['msrps://relay.example:443/claude;ws', 'msrps://claude.invalid:2855/c;ws'],
};

async function connect(onLost = () => undefined as void): Promise<[Connection, Socket]> {
  const socket = new Socket();
  const opening = Connection.open('wss://relay.example/ws', { socket: () => socket as unknown as WebSocket, onLost });
  socket.dispatchEvent(new Event('open'));
  return [await opening, socket];
}

/** Two sessions with a relay between them that takes its own URI off the path. */
async function pair(options: { maxSize?: number; chunk?: number; onMessage?: (message: Incoming) => void | Promise<void> } = {}) {
  const [[ada, one], [claude, two]] = await Promise.all([connect(), connect()]);
  for (const [from, to] of [[one, two], [two, one]] as const) {
    from.onFrame = (frame) => {
      const hops = (header(frame, 'To-Path') ?? '').split(' ');
      if (frame.status === undefined) frame = replaced(frame, hops[0] === PATHS.ada[0] || hops[0] === PATHS.claude[0] ? hops.slice(2) : hops);
      to.give(write(frame));
    };
  }
  const got: Incoming[] = [];
  const onMessage = options.onMessage ?? ((message: Incoming) => void got.push(message));
  const sender = ada.session({ local: PATHS.ada, remote: PATHS.claude, ...(options.chunk ? { chunk: options.chunk } : {}) });
  const limit = options.maxSize ? { maxSize: options.maxSize } : {};
  claude.session({ local: PATHS.claude, remote: PATHS.ada, onMessage, ...limit });
  return { sender, got, ada, one, two };
}

function replaced(frame: Frame, path: string[]): Frame {
  return { ...frame, headers: frame.headers.map(([name, value]) => [name, name === 'To-Path' ? path.join(' ') : value]) };
}

const body = (length: number) => Uint8Array.from({ length }, (_, at) => (at * 31) % 251);

test('a message in chunks arrives whole, and is reported', async () => {
  const { sender, got, one } = await pair({ chunk: 1000 });
  const progress: number[] = [];
  await sender.send(body(10_500), { contentType: 'application/octet-stream', delivered: true, onProgress: (sent) => progress.push(sent) });
  expect(got).toHaveLength(1);
  expect(got[0]?.contentType).toBe('application/octet-stream');
  expect(got[0]?.body).toEqual(body(10_500));
  expect(progress.at(-1)).toBe(10_500);
  const sends = one.sent.filter(({ method }) => method === 'SEND');
  expect(sends.map(({ flag }) => flag).join('')).toBe('++++++++++$');
  expect(header(sends[10]!, 'Byte-Range')).toBe('10001-10500/10500');
  expect(header(sends[0]!, 'To-Path')).toBe([PATHS.ada[0], ...PATHS.claude].join(' '));
});

test('an empty message, and a text', async () => {
  const { sender, got } = await pair();
  await sender.send('', { contentType: 'text/plain' });
  await sender.send('Zürich – 你好', { contentType: 'text/plain' });
  expect(got.map((message) => new TextDecoder().decode(message.body))).toEqual(['', 'Zürich – 你好']);
});

test('what is too long is refused, and the rest of it not sent', async () => {
  const { sender, got, one } = await pair({ maxSize: 5000, chunk: 1000 });
  const failed = sender.send(body(100_000), { contentType: 'a/b' });
  await expect(failed).rejects.toMatchObject({ name: 'MsrpError', status: 413 });
  expect(got).toEqual([]);
  expect(one.sent.length).toBeLessThan(20);
});

test('who gives up says so', async () => {
  const { sender, got, one } = await pair({ chunk: 1000 });
  const abort = new AbortController();
  const given = sender.send(body(100_000), { contentType: 'a/b', signal: abort.signal, onProgress: () => abort.abort(new Error('enough')) });
  await expect(given).rejects.toThrow('enough');
  expect(one.sent.filter(({ method }) => method === 'SEND').at(-1)?.flag).toBe('#');
  expect(got).toEqual([]);
});

test('without a response it is over after 30 seconds, and at once when the connection goes', async () => {
  const { sender, one } = await pair();
  one.onFrame = () => undefined;
  const late = sender.send('a', { contentType: 'text/plain' }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(30_000);
  expect(await late).toMatchObject({ status: 408 });
  const lost = sender.send('b', { contentType: 'text/plain' }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(1);
  one.close();
  expect(await lost).toMatchObject({ status: 0 });
  await expect(sender.send('c', { contentType: 'text/plain' })).rejects.toBeInstanceOf(MsrpError);
});

test('a report that does not come, and one of a failure', async () => {
  const { sender, one } = await pair({ onMessage: () => new Promise(() => undefined) });
  const late = sender.send('a', { contentType: 'text/plain', delivered: true }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(await late).toMatchObject({ status: 408 });
  const refused = sender.send('b', { contentType: 'text/plain', delivered: true }).catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(1);
  const id = header(one.sent.filter(({ method }) => method === 'SEND').at(-1)!, 'Message-ID')!;
  const headers: [string, string][] = [
    ['To-Path', PATHS.ada[1]!], ['From-Path', PATHS.claude[1]!], ['Message-ID', id], ['Byte-Range', '1-1/1'], ['Status', '000 408 Timeout'],
  ];
  one.give(write({ id: 'rep0rt01', method: 'REPORT', headers, flag: '$' }));
  expect(await refused).toMatchObject({ status: 408, message: '408 Timeout' });
});

test('chunks in any order are put together', async () => {
  const [connection, socket] = await connect();
  const got: Incoming[] = [];
  connection.session({ local: PATHS.claude, remote: PATHS.ada, onMessage: (message) => void got.push(message) });
  const chunk = (range: string, text: string, flag: '$' | '+') => {
    const headers: [string, string][] = [['To-Path', PATHS.claude[1]!], ['From-Path', PATHS.ada[1]!], ['Message-ID', 'm1'], ['Byte-Range', range], ['Content-Type', 'text/plain']];
    socket.give(write({ id: `tid${range.replace(/\W/g, '')}00`, method: 'SEND', headers, body: new TextEncoder().encode(text), flag }));
  };
  chunk('7-9/9', 'ghi', '$');
  chunk('1-3/9', 'abc', '+');
  expect(got).toEqual([]);
  chunk('4-6/9', 'def', '+');
  expect(got.map((message) => new TextDecoder().decode(message.body))).toEqual(['abcdefghi']);
  expect(socket.sent.map(({ status }) => status)).toEqual([200, 200, 200]);
});

test.each([
  ['another session', 'msrps://claude.invalid:2855/x;ws', 'SEND', 481],
  ['another method', PATHS.claude[1]!, 'NICKNAME', 501],
])('a request for %s', async (_, to, method, status) => {
  const [connection, socket] = await connect();
  connection.session({ local: PATHS.claude, remote: PATHS.ada });
  socket.give(write({ id: 'abcd1234', method, headers: [['To-Path', to], ['From-Path', PATHS.ada[1]!]], flag: '$' }));
  expect(socket.sent.map((frame) => [frame.id, frame.status])).toEqual([['abcd1234', status]]);
});

test('what is no frame ends the connection', async () => {
  const lost = vi.fn();
  const [, socket] = await connect(lost);
  socket.give('HTTP/1.1 400 Bad Request\r\n\r\n');
  expect([socket.readyState, lost.mock.calls.length]).toEqual([3, 1]);
});

test('an address is given to who knows the password', async () => {
  const [connection, socket] = await connect();
  const sha = (text: string) => createHash('sha256').update(text).digest('hex');
  socket.onFrame = (frame) => {
    const to = header(frame, 'To-Path')!;
    const headers: [string, string][] = [['To-Path', header(frame, 'From-Path')!], ['From-Path', to]];
    const value = header(frame, 'Authorization');
    const of = (name: string) => new RegExp(`${name}="?([^",]+)`).exec(value ?? '')?.[1];
    const wanted = sha(`${sha('ada:example.com:secret')}:n0:00000001:${of('cnonce')}:auth:${sha(`AUTH:${to}`)}`);
    if (value === undefined) {
      headers.push(['WWW-Authenticate', 'Digest realm="example.com", nonce="n0", algorithm=MD5, qop="auth"']);
      headers.push(['WWW-Authenticate', 'Digest realm="example.com", nonce="n0", algorithm=SHA-256, qop="auth"']);
      socket.give(write({ id: frame.id, status: 401, headers, flag: '$' }));
    } else if (of('response') === wanted) {
      headers.push(['Use-Path', PATHS.ada[0]!], ['Expires', '600']);
      socket.give(write({ id: frame.id, status: 200, headers, flag: '$' }));
    } else {
      socket.give(write({ id: frame.id, status: 403, comment: 'Forbidden', headers, flag: '$' }));
    }
  };
  vi.useRealTimers();
  const address = await connection.authorize({ user: 'ada', password: 'secret', domain: 'example.com' });
  expect([address.path[0], address.expires]).toEqual([PATHS.ada[0], 600]);
  expect(address.path[1]).toMatch(/^msrps:\/\/\w+\.invalid:2855\/\w+;ws$/);
  await expect(connection.authorize({ user: 'ada', password: 'wrong', domain: 'example.com' })).rejects.toMatchObject({ status: 403 });
});
