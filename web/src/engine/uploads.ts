// Files on their way to the content server: one after the other, gone on with after a loss of the network or the page.

import { signal, type Signal } from '@preact/signals';
import { newId } from '../wire/cpim';
import { FILE_TYPE, asVoice, ownPath, readFile, readResume } from '../wire/file';
import type { Chat } from './chat';
import type { Database, KeptFile } from './db';
import type { Http } from './http';
import { type Message, UPLOAD } from './model';

const ROOT = '/ft';
/** Milliseconds until a server that was busy is asked again, where it does not say. */
const AGAIN = 5000;

/** What the message of a file says while it is on its way. */
export interface UploadRecord {
  name: string;
  type: string;
  size: number;
  voice?: boolean;
  seconds?: number;
}

export class Uploads {
  /** Parts of 1 by Message-ID, of what is on its way. */
  readonly progress: Signal<ReadonlyMap<string, number>> = signal(new Map());
  /** Files of this page, and those of which the server may have something. */
  private readonly fresh = new Set<string>();
  private readonly begun = new Set<string>();
  private running: { id: string; abort: AbortController } | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stopped = false;

  constructor(
    private readonly http: Http,
    private readonly db: Database,
    private readonly chat: Chat,
  ) {}

  async add(peer: string, blob: Blob, record: UploadRecord, thumbnail?: Blob): Promise<void> {
    const file: KeptFile = { id: newId(), peer, blob, tid: newId(), ...(thumbnail ? { thumbnail } : {}) };
    this.fresh.add(file.id);
    await this.chat.attach(file, record);
    void this.run();
  }

  async cancel(message: Message): Promise<void> {
    if (this.running?.id === message.id) this.running.abort.abort();
    await this.chat.drop(message);
  }

  /** Once more, after the server refused it. */
  async retry(message: Message): Promise<void> {
    await this.chat.retry(message);
    void this.run();
  }

  /** Puts a file on the server at once, for something that is no message; gives its address. */
  async place(blob: Blob): Promise<string | undefined> {
    const form = new FormData();
    form.append('tid', newId());
    form.append('File', blob, 'picture');
    // Asks for a challenge, where there is none yet.
    await this.http.request('POST', ROOT);
    const sending = { method: 'POST' as const, path: ROOT, headers: {}, body: form, onProgress: () => undefined };
    const answer = await this.http.send({ ...sending, signal: AbortSignal.timeout(60_000) });
    const file = answer.status < 300 ? readFile(answer.text) : undefined;
    return file?.thumbnail ?? file?.url;
  }

  /** What is to be sent, for a look at it. */
  async blob(id: string): Promise<Blob | undefined> {
    return (await this.db.file(id))?.blob;
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.running?.abort.abort();
  }

  /** Sends what waits, until all is there or the network is not. */
  async run(): Promise<void> {
    if (this.running || this.stopped) return;
    clearTimeout(this.timer);
    for (const id of await this.db.waitingFiles()) {
      if (this.running || this.stopped) return;
      const file = await this.db.file(id);
      const message = file && (await this.db.message(file.peer, true, id));
      if (!file || message?.contentType !== UPLOAD || message.progress === 'failed') continue;
      this.running = { id, abort: new AbortController() };
      const wait = await this.upload(file, JSON.parse(message.text) as UploadRecord).catch(() => AGAIN);
      this.running = undefined;
      this.shows(id, undefined);
      if (wait > 0 && !this.stopped) {
        this.timer = setTimeout(() => void this.run(), wait);
        return;
      }
    }
  }

  /** Gives the milliseconds to wait before it is tried again; 0 when it is over, one way or the other. */
  private async upload(file: KeptFile, record: UploadRecord): Promise<number> {
    const { abort } = this.running!;
    this.shows(file.id, 0);
    // What was begun may be gone on with. Both ask for a challenge, where there is none yet.
    const asks = this.begun.has(file.id) || !this.fresh.has(file.id);
    const begun = asks ? await this.http.request('GET', `${ROOT}?tid=${file.tid}&get_upload_info`, { signal: abort.signal }) : undefined;
    if (!asks) await this.http.request('POST', ROOT, { signal: abort.signal });
    this.begun.add(file.id);
    const resume = begun?.ok ? readResume(await begun.text()) : undefined;
    const path = resume && ownPath(resume.url);
    const answer = resume && path ? await this.rest(file, record, path, resume.next) : await this.whole(file, record);
    if (abort.signal.aborted) return 0;
    if (answer.status >= 200 && answer.status < 300) return this.done(file, record, answer.text);
    if (answer.status === 0 || answer.status === 503 || answer.status === 408) return answer.retryAfter * 1000 || AGAIN;
    // The server has forgotten what there was: from the beginning, next time.
    if (resume && [404, 410, 416].includes(answer.status)) return AGAIN;
    await this.chat.notAttached(file.peer, file.id, answer.status);
    return 0;
  }

  private async done(file: KeptFile, record: UploadRecord, text: string): Promise<number> {
    let document = text;
    if (!/<file[\s>]/.test(document)) {
      const answer = await this.http.request('GET', `${ROOT}?tid=${file.tid}&get_download_info`);
      if (!answer.ok) return AGAIN;
      document = await answer.text();
    }
    const told = record.voice ? asVoice(document, record.seconds ?? 1) : document;
    await this.chat.attached(file.peer, file.id, FILE_TYPE, told);
    return 0;
  }

  private async whole(file: KeptFile, record: UploadRecord) {
    const { abort } = this.running!;
    const form = new FormData();
    form.append('tid', file.tid);
    if (file.thumbnail) form.append('Thumbnail', file.thumbnail, 'thumbnail.jpg');
    form.append('File', new Blob([file.blob], { type: record.type }), record.name);
    const onProgress = (sent: number) => this.shows(file.id, Math.min(1, sent / file.blob.size));
    return this.http.send({ method: 'POST', path: ROOT, headers: {}, body: form, onProgress, signal: abort.signal });
  }

  private async rest(file: KeptFile, record: UploadRecord, path: string, next: number) {
    const { abort } = this.running!;
    const size = file.blob.size;
    if (next >= size) return { status: 200, text: '', retryAfter: 0 };
    const headers = { 'Content-Type': record.type, 'Content-Range': `bytes ${next}-${size - 1}/${size}` };
    const onProgress = (sent: number) => this.shows(file.id, Math.min(1, (next + sent) / size));
    return this.http.send({ method: 'PUT', path, headers, body: file.blob.slice(next), onProgress, signal: abort.signal });
  }

  private shows(id: string, part: number | undefined): void {
    const progress = new Map(this.progress.value);
    if (part === undefined) progress.delete(id);
    else progress.set(id, part);
    this.progress.value = progress;
  }
}
