// Frames (RFC 4975 §9). Over WebSocket each is a message of its own (RFC 7977 §5.1).

/** `$`: the end of the message. `+`: more is to come. `#`: it was given up. */
export type Flag = '$' | '+' | '#';

export interface Frame {
  /** Of the transaction. */
  id: string;
  /** Of a request: SEND, REPORT, AUTH. */
  method?: string;
  /** Of a response. */
  status?: number;
  comment?: string;
  /** In their order, names as they are written; Content-Type is the last. */
  headers: [string, string][];
  body?: Uint8Array;
  flag: Flag;
}

/** What is no frame. */
export class FrameError extends Error {
  override readonly name = 'FrameError';
}

/** Longest start line and headers, in bytes. */
const HEAD = 16_384;
/** RFC 4975 §9: `ident`. */
const ID = /^[A-Za-z0-9][A-Za-z0-9.\-+%=]{3,31}$/;
const TOKEN = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true });

/** The first value of a header. */
export function header(frame: Frame, name: string): string | undefined {
  const wanted = name.toLowerCase();
  return frame.headers.find(([found]) => found.toLowerCase() === wanted)?.[1];
}

/** Reads one frame, which is all of `bytes`. @throws FrameError */
export function parse(bytes: Uint8Array): Frame {
  const end = headEnd(bytes);
  const [start, ...lines] = text(bytes.subarray(0, end.head)).split('\r\n');
  const [, id, word, rest] = /^MSRP (\S+) (\S+)(?: (.*))?$/.exec(start ?? '') ?? [];
  if (id === undefined || word === undefined || !ID.test(id)) throw new FrameError('no start line');
  const flag = endLine(bytes, id, end.body ?? end.head + 2);
  const headers = lines.map((line): [string, string] => {
    const at = line.indexOf(':');
    if (at < 1 || !TOKEN.test(line.slice(0, at))) throw new FrameError(`no header: ${line.slice(0, 40)}`);
    return [line.slice(0, at), line.slice(at + 1).trim()];
  });
  const frame: Frame = { id, headers, flag: flag.flag };
  if (/^\d{3}$/.test(word)) Object.assign(frame, { status: Number(word), comment: rest ?? '' });
  else if (/^[A-Z]+$/.test(word) && rest === undefined) frame.method = word;
  else throw new FrameError('no start line');
  if (end.body !== undefined) frame.body = bytes.subarray(end.body, flag.at);
  return frame;
}

/** Where the head ends, without its CRLF, and where a body begins. */
function headEnd(bytes: Uint8Array): { head: number; body: number | undefined } {
  for (let at = 0; at + 1 < bytes.length && at < HEAD; at += 1) {
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) continue;
    if (bytes[at + 2] === 13 && bytes[at + 3] === 10) return { head: at, body: at + 4 };
    if (bytes.subarray(at + 2, at + 9).every((byte) => byte === 45) && bytes.length >= at + 9) return { head: at, body: undefined };
  }
  throw new FrameError('no end of the head');
}

/** The end-line, which is all that stands behind `from`, or behind a body that begins there. */
function endLine(bytes: Uint8Array, id: string, from: number): { flag: Flag; at: number } {
  const start = bytes.length - id.length - 10;
  const line = start >= 0 ? text(bytes.subarray(start)) : '';
  const flag = line[line.length - 3];
  if (line !== `-------${id}${flag}\r\n` || (flag !== '$' && flag !== '+' && flag !== '#')) throw new FrameError('no end-line');
  if (start === from) return { flag, at: start };
  if (start < from + 2 || bytes[start - 2] !== 13 || bytes[start - 1] !== 10) throw new FrameError('no end of the body');
  return { flag, at: start - 2 };
}

function text(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new FrameError('not UTF-8');
  }
}

/** The bytes of a frame. */
export function write(frame: Frame): Uint8Array<ArrayBuffer> {
  const start = frame.method ?? [String(frame.status), frame.comment].filter(Boolean).join(' ');
  const lines = frame.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  const head = encoder.encode(`MSRP ${frame.id} ${start}\r\n${lines}${frame.body ? '\r\n' : ''}`);
  const tail = encoder.encode(`${frame.body ? '\r\n' : ''}-------${frame.id}${frame.flag}\r\n`);
  const bytes = new Uint8Array(head.length + (frame.body?.length ?? 0) + tail.length);
  bytes.set(head);
  if (frame.body) bytes.set(frame.body, head.length);
  bytes.set(tail, bytes.length - tail.length);
  return bytes;
}

/** An id that is in no body of ours: 96 random bits (RFC 4975 §7.1). */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
