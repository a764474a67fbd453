// A session (RFC 4975 §7): messages out in chunks, messages in put together, reports both ways.

import { type Flag, type Frame, header, newId } from './frame.js';

/** A message that was not sent, or did not arrive. `status`: what MSRP says; 408 after too long, 0 for a connection that is gone. */
export class MsrpError extends Error {
  override readonly name = 'MsrpError';
  constructor(
    readonly status: number,
    comment: string,
  ) {
    super(`${status} ${comment}`.trim());
  }
}

export interface SendOptions {
  contentType: string;
  /** Done when the other side has reported all of it as received, not when the next hop has it. */
  delivered?: boolean;
  /** Bytes that the next hop has taken. */
  onProgress?: (sent: number) => void;
  /** Gives it up; the other side is told. */
  signal?: AbortSignal;
}

export interface Incoming {
  id: string;
  contentType: string;
  body: Uint8Array;
}

export interface SessionOptions {
  /** How others reach us, the relay first; the last one is our own. */
  local: string[];
  /** How we reach them, without our relay. */
  remote: string[];
  /** A whole message. A success report that was asked for is sent when this is done. */
  onMessage?: (message: Incoming) => void | Promise<void>;
  /** Longest message that is taken, in bytes. */
  maxSize?: number;
  /** Bytes of a chunk. */
  chunk?: number;
}

/** What a session needs of its connection. */
export interface Wire {
  /** Sends a request, and gives its response; 408 where none comes. */
  request(frame: Frame): Promise<Frame>;
  /** Sends what has no response. */
  send(frame: Frame): void;
  /** Until there is room for more. */
  drained(): Promise<void>;
}

/** Chunks without their response at a time. */
const WINDOW = 8;
const CHUNK = 32_768;
const MAX_SIZE = 10 * 1024 * 1024;
/** Messages that come at a time. */
const MESSAGES = 16;
/** Milliseconds for a report about all of a message, once it is sent. */
const REPORT = 60_000;

/** What has come of a message. */
interface Gathered {
  contentType: string;
  /** By the place of its first byte, from 1. */
  pieces: Map<number, Uint8Array>;
  bytes: number;
  /** Known at its end. */
  total?: number;
}

export class Session {
  readonly own: string;
  private readonly coming = new Map<string, Gathered>();
  private readonly reports = new Map<string, (status: number, comment: string, upto: number) => void>();
  private ended = false;

  constructor(
    private readonly wire: Wire,
    private readonly options: SessionOptions,
  ) {
    const own = options.local.at(-1);
    if (own === undefined || options.remote.length === 0) throw new TypeError('a session needs a path each way');
    this.own = own;
  }

  /** Sends a message. @throws MsrpError, or the reason of the signal */
  async send(content: string | Uint8Array, options: SendOptions): Promise<void> {
    const body = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    const id = newId();
    const reported = options.delivered ? this.reported(id, body.length) : undefined;
    reported?.done.catch(() => undefined);
    try {
      await this.chunks(id, body, options);
      await reported?.start();
    } finally {
      this.reports.delete(id);
      reported?.stop();
    }
  }

  /** Nothing is taken any more. */
  close(): void {
    this.ended = true;
    this.coming.clear();
    [...this.reports.values()].forEach((tell) => tell(0, 'the session is over', 0));
  }

  /** Takes a request of the connection; gives the status of the response, or nothing where it has none. */
  take(frame: Frame): number | undefined {
    if (frame.method === 'REPORT') {
      this.report(frame);
      return undefined;
    }
    if (frame.method !== 'SEND') return 501;
    const status = this.ended ? 481 : this.collect(frame);
    const wanted = header(frame, 'Failure-Report')?.toLowerCase() ?? 'yes';
    if (wanted === 'no' || (wanted === 'partial' && status === 200)) return undefined;
    return status;
  }

  private async chunks(id: string, body: Uint8Array, options: SendOptions): Promise<void> {
    const size = this.options.chunk ?? CHUNK;
    const window = new Set<Promise<void>>();
    let [fault, taken]: [MsrpError | undefined, number] = [undefined, 0];
    const { signal } = options;
    for (let at = 0; at === 0 || at < body.length; at += size) {
      if (signal?.aborted || fault) break;
      const piece = body.subarray(at, at + size);
      const frame = this.chunk(id, body, at, piece, at + size < body.length ? '+' : '$', options);
      const turn = this.wire.request(frame).then((response) => {
        window.delete(turn);
        if (response.status === 200) options.onProgress?.((taken += piece.length));
        else fault ??= new MsrpError(response.status ?? 400, response.comment ?? '');
      });
      window.add(turn);
      if (window.size >= WINDOW) await Promise.race(window);
      await this.wire.drained();
    }
    // Whoever gives up in the middle says so (RFC 4975 §7.1.1).
    if (signal?.aborted && taken < body.length) {
      this.wire.send(this.chunk(id, body, 0, body.subarray(0, 0), '#', options));
      throw signal.reason;
    }
    await Promise.all(window);
    if (fault) throw fault;
  }

  private chunk(id: string, body: Uint8Array, at: number, piece: Uint8Array, flag: Flag, options: SendOptions): Frame {
    const end = piece.length === 0 ? at : at + piece.length;
    const headers: [string, string][] = [
      ...this.paths(),
      ['Message-ID', id],
      ['Byte-Range', `${at + 1}-${end}/${body.length}`],
      ...(options.delivered ? [['Success-Report', 'yes'] as [string, string]] : []),
      ['Content-Type', options.contentType],
    ];
    return { id: newId(), method: 'SEND', headers, body: piece, flag };
  }

  private paths(): [string, string][] {
    // Our relay is the first hop (RFC 4976 §5.2).
    const hops = this.options.local.slice(0, -1).reverse();
    return [['To-Path', [...hops, ...this.options.remote].join(' ')], ['From-Path', this.own]];
  }

  /** The success reports about a message, until they have told of all of it. */
  private reported(id: string, length: number) {
    let [resolve, reject]: [() => void, (why: unknown) => void] = [() => undefined, () => undefined];
    const done = new Promise<void>((one, other) => ([resolve, reject] = [one, other]));
    let timer: ReturnType<typeof setTimeout> | undefined;
    this.reports.set(id, (status, comment, upto) => {
      if (status !== 200) reject(new MsrpError(status, comment));
      else if (upto >= length) resolve();
    });
    const start = () => {
      timer = setTimeout(() => reject(new MsrpError(408, 'no report')), REPORT);
      return done;
    };
    return { done, start, stop: () => clearTimeout(timer) };
  }

  private report(frame: Frame): void {
    const [, status, comment] = /^0*(?:000)\s+(\d{3})\s*(.*)$/.exec(header(frame, 'Status') ?? '') ?? [];
    const range = /^\d+-(\d+)\//.exec(header(frame, 'Byte-Range') ?? '');
    const tell = this.reports.get(header(frame, 'Message-ID') ?? '');
    if (status !== undefined) tell?.(Number(status), comment ?? '', Number(range?.[1] ?? 0));
  }

  /** Puts a chunk to those before it; gives the status for it. */
  private collect(frame: Frame): number {
    const id = header(frame, 'Message-ID');
    if (id === undefined) return 400;
    // A sign of life (RFC 4975 §7.1).
    if (frame.body === undefined) return 200;
    if (frame.flag === '#') {
      this.coming.delete(id);
      return 200;
    }
    const range = /^(\d+)-(\d+|\*)\/(\d+|\*)$/.exec(header(frame, 'Byte-Range') ?? `1-*/*`);
    const contentType = header(frame, 'Content-Type');
    if (!range || contentType === undefined || Number(range[1]) < 1) return 400;
    const max = this.options.maxSize ?? MAX_SIZE;
    const first = Number(range[1]);
    const last = first + frame.body.length - 1;
    if (last > max || (range[3] !== '*' && Number(range[3]) > max)) return this.refuse(id);
    const partial: Gathered = this.coming.get(id) ?? { contentType, pieces: new Map(), bytes: 0 };
    if (!this.coming.has(id) && this.coming.size >= MESSAGES) return 413;
    this.coming.set(id, partial);
    partial.bytes += frame.body.length - (partial.pieces.get(first)?.length ?? 0);
    partial.pieces.set(first, frame.body);
    if (partial.bytes > max) return this.refuse(id);
    if (frame.flag === '$') partial.total = last;
    if (partial.total !== undefined && partial.bytes >= partial.total) void this.finish(id, partial, frame);
    return 200;
  }

  private refuse(id: string): number {
    this.coming.delete(id);
    return 413;
  }

  private async finish(id: string, partial: Gathered, last: Frame): Promise<void> {
    const total = partial.total ?? 0;
    const body = new Uint8Array(total);
    const pieces = [...partial.pieces].sort(([one], [other]) => one - other);
    let next = 1;
    for (const [first, piece] of pieces) {
      if (first > next) return;
      body.set(piece.subarray(0, Math.max(0, total - first + 1)), first - 1);
      next = Math.max(next, first + piece.length);
    }
    if (next <= total) return;
    this.coming.delete(id);
    try {
      await this.options.onMessage?.({ id, contentType: partial.contentType, body });
    } catch {
      return;
    }
    if (header(last, 'Success-Report')?.toLowerCase() !== 'yes') return;
    const headers: [string, string][] = [
      ['To-Path', header(last, 'From-Path') ?? ''],
      ['From-Path', this.own],
      ['Message-ID', id],
      ['Byte-Range', `1-${total}/${total}`],
      ['Status', '000 200 OK'],
    ];
    this.wire.send({ id: newId(), method: 'REPORT', headers, flag: '$' });
  }
}
