// A WebSocket to a relay (RFC 7977): who is asked for an address there (AUTH, RFC 4976 §5.1), and whose frames go where.

import { answer } from './digest.js';
import { type Frame, FrameError, header, newId, parse, write } from './frame.js';
import { MsrpError, Session, type SessionOptions, type Wire } from './session.js';
import { parseUri, sameUri } from './uri.js';

export interface ConnectionOptions {
  /** Something else than the browser's, for tests. */
  socket?: (url: string, protocol: string) => WebSocket;
  /** The connection is over, and nobody has closed it. */
  onLost?: () => void;
}

export interface LogIn {
  user: string;
  password: string;
  domain: string;
  /** An Authorization value for challenges without SHA-256. */
  authorize?: (challenges: string[], uri: string) => Promise<string | undefined>;
}

/** How others reach us by the relay. */
export interface Address {
  /** For the session description; the relay first, our own last. */
  path: string[];
  /** Seconds that the relay keeps it; asked for again by then it is the same one. */
  expires: number;
}

/** Milliseconds for a response (RFC 4975 §7.1.1). */
const PATIENCE = 30_000;
/** Bytes that may wait in the WebSocket. */
const BACKLOG = 262_144;
/** Milliseconds between looks at it: there is no event for that. */
const LOOK = 10;

export class Connection implements Wire {
  private readonly sessions = new Set<Session>();
  private readonly waiting = new Map<string, (response: Frame) => void>();
  private closed = false;

  private constructor(
    private readonly socket: WebSocket,
    readonly secure: boolean,
    private readonly options: ConnectionOptions,
  ) {
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('message', ({ data }) => this.take(data as string | ArrayBuffer));
    socket.addEventListener('close', () => this.over());
  }

  /** `url`: `wss://host/ws`. @throws MsrpError where nobody answers, or not with MSRP */
  static open(url: string, options: ConnectionOptions = {}): Promise<Connection> {
    const socket = options.socket?.(url, 'msrp') ?? new WebSocket(url, 'msrp');
    return new Promise((resolve, reject) => {
      const fail = () => reject(new MsrpError(0, 'the connection could not be opened'));
      socket.addEventListener('close', fail);
      socket.addEventListener('open', () => {
        socket.removeEventListener('close', fail);
        if (socket.protocol === 'msrp') resolve(new Connection(socket, url.startsWith('wss:'), options));
        else socket.close();
      });
    });
  }

  /** Asks the relay for an address. @throws MsrpError where it gives none */
  async authorize(logIn: LogIn, renew?: Address): Promise<Address> {
    const scheme = this.secure ? 'msrps' : 'msrp';
    // A name that leads nowhere: who wants to reach us comes by the relay (RFC 7977 §5.2).
    const own = renew?.path.at(-1) ?? `${scheme}://${newId()}.invalid:2855/${newId()};ws`;
    const relay = renew?.path[0] ?? `${scheme}://${logIn.user}@${logIn.domain};ws`;
    const ask = (more: [string, string][]) => {
      const headers: [string, string][] = [['To-Path', relay], ['From-Path', own], ...more];
      return this.request({ id: newId(), method: 'AUTH', headers, flag: '$' });
    };
    let response = await ask([]);
    if (response.status === 401) {
      const all = response.headers.filter(([name]) => name.toLowerCase() === 'www-authenticate').map(([, value]) => value);
      const value = (await logIn.authorize?.(all, relay)) ?? (await answer(all, logIn.user, logIn.password, relay));
      if (value === undefined) throw new MsrpError(401, 'no challenge that could be answered');
      response = await ask([['Authorization', value]]);
    }
    const path = header(response, 'Use-Path')?.split(/\s+/) ?? [];
    if (response.status !== 200 || path.length === 0) throw new MsrpError(response.status ?? 400, response.comment ?? '');
    return { path: [...path, own], expires: Number(header(response, 'Expires') ?? 0) };
  }

  /** A session on this connection; `local` is the path of an address. */
  session(options: SessionOptions): Session {
    const session = new Session(this, options);
    this.sessions.add(session);
    return session;
  }

  /** Ends a session. */
  end(session: Session): void {
    this.sessions.delete(session);
    session.close();
  }

  close(): void {
    this.closed = true;
    this.socket.close();
    this.over();
  }

  request(frame: Frame): Promise<Frame> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => tell(gone(frame.id, 408, 'no response')), PATIENCE);
      const tell = (response: Frame) => {
        clearTimeout(timer);
        this.waiting.delete(frame.id);
        resolve(response);
      };
      this.waiting.set(frame.id, tell);
      if (!this.send(frame)) tell(gone(frame.id, 0, 'the connection is gone'));
    });
  }

  send(frame: Frame): boolean {
    if (this.socket.readyState !== 1) return false;
    this.socket.send(write(frame));
    return true;
  }

  async drained(): Promise<void> {
    while (this.socket.readyState === 1 && this.socket.bufferedAmount > BACKLOG) {
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  private take(data: string | ArrayBuffer): void {
    let frame: Frame;
    try {
      frame = parse(typeof data === 'string' ? new TextEncoder().encode(data) : new Uint8Array(data));
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      // Where the next frame begins is not known any more (RFC 7977 §5.1).
      this.socket.close();
      return;
    }
    if (frame.status !== undefined) return this.waiting.get(frame.id)?.(frame);
    const to = (header(frame, 'To-Path') ?? '').split(/\s+/)[0] ?? '';
    const session = parseUri(to) && [...this.sessions].find(({ own }) => sameUri(own, to));
    const status = session ? session.take(frame) : frame.method === 'REPORT' ? undefined : 481;
    if (status !== undefined) this.respond(frame, status, to);
  }

  private respond(frame: Frame, status: number, to: string): void {
    const from = (header(frame, 'From-Path') ?? '').split(/\s+/)[0] ?? '';
    const headers: [string, string][] = [['To-Path', from], ['From-Path', to]];
    this.send({ id: frame.id, status, comment: COMMENTS[status] ?? '', headers, flag: '$' });
  }

  private over(): void {
    if (!this.closed) this.options.onLost?.();
    this.closed = true;
    [...this.waiting].forEach(([id, tell]) => tell(gone(id, 0, 'the connection is gone')));
    [...this.sessions].forEach((session) => this.end(session));
  }
}

const COMMENTS: Record<number, string> = { 200: 'OK', 400: 'Bad Request', 413: 'Stop', 481: 'No Such Session', 501: 'Unknown Method' };

function gone(id: string, status: number, comment: string): Frame {
  return { id, status, comment, headers: [], flag: '$' };
}
