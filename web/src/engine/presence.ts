// Who is there: our own presence is published, that of the people we talk to is followed, and what they can do is asked.

import { signal, type Signal } from '@preact/signals';
import { uriOf, userOf } from '../wire/address';
import { LIST_TYPE, writeList } from '../wire/lists';
import { PIDF_TYPE, readNotified, writePresence } from '../wire/pidf';
import type { Database } from './db';
import type { Line, Watch } from './line';

export interface Person {
  open: boolean;
  away: boolean;
  note: string;
  /** When it was last heard of, in milliseconds. */
  seen?: number;
}

/** What a user's devices can do, together. */
export interface Abilities {
  there: boolean;
  voice: boolean;
  video: boolean;
  files: boolean;
  places: boolean;
}

/** Seconds. */
const EXPIRES = 600;
/** People that are followed. */
const FOLLOWED = 100;
/** Milliseconds until a subscription that ended, or a list that has changed, is begun anew. */
const AGAIN = 15_000;
const SETTLE = 400;

export class Presence {
  readonly people: Signal<ReadonlyMap<string, Person>> = signal(new Map());
  /** Of ourselves. */
  readonly note: Signal<string> = signal('');
  private away = false;
  private tag: string | undefined;
  private wanted: readonly string[] = [];
  private watch: Watch | undefined;
  private online = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private refresh: ReturnType<typeof setTimeout> | undefined;
  private readonly domain: string;

  constructor(
    private readonly me: string,
    private readonly instance: string,
    private readonly line: Line,
    private readonly db: Database,
  ) {
    this.domain = me.slice(me.lastIndexOf('@') + 1);
  }

  async remember(): Promise<void> {
    const seen = (await this.db.value<[string, number][]>('seen')) ?? [];
    this.people.value = new Map(seen.map(([user, at]) => [user, { open: false, away: false, note: '', seen: at }]));
    this.note.value = (await this.db.value<string>('note')) ?? '';
  }

  arrived(): void {
    this.left();
    this.online = true;
    void this.publish();
    this.follow();
  }

  /** Without a connection nobody is known to be there. */
  left(): void {
    this.online = false;
    this.tag = undefined;
    clearTimeout(this.timer);
    clearTimeout(this.refresh);
    this.watch?.stop();
    this.watch = undefined;
    const people = [...this.people.value].map(([user, person]): [string, Person] => [user, { ...person, open: false, away: false }]);
    this.people.value = new Map(people);
  }

  /** Whose presence is of interest. */
  want(users: readonly string[]): void {
    const next = users.filter((user) => user !== this.me).slice(0, FOLLOWED);
    if (next.length === this.wanted.length && next.every((user) => this.wanted.includes(user))) return;
    this.wanted = next;
    if (!this.online) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.follow(), SETTLE);
  }

  async setNote(note: string): Promise<void> {
    this.note.value = note;
    await this.db.setValue('note', note);
    await this.publish();
  }

  setAway(away: boolean): void {
    if (away === this.away) return;
    this.away = away;
    void this.publish();
  }

  /** Somebody was heard of just now. */
  heardOf(user: string): void {
    const person = this.people.value.get(user) ?? { open: false, away: false, note: '' };
    this.show(new Map([[user, { ...person, seen: Date.now() }]]));
  }

  /** What a user's devices can do now. */
  async abilities(user: string): Promise<Abilities> {
    const answer = await this.line.request('OPTIONS', uriOf(user), [
      'Accept-Contact: *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg"',
    ]);
    const tags = answer.headers('contact').join(',').toLowerCase();
    const has = (tag: RegExp) => answer.status < 300 && tag.test(tags);
    return {
      there: answer.status < 300 && !/automata/.test(tags),
      voice: has(/;audio|ip-call|mmtel/),
      video: has(/;video/),
      files: has(/fthttp|rcse\.ft|filetransfer/),
      places: has(/geopush/),
    };
  }

  private async publish(): Promise<void> {
    if (!this.online) return;
    clearTimeout(this.refresh);
    const document = writePresence(uriOf(this.me), `w${this.instance.slice(0, 8)}`, this.away, this.note.value, new Date());
    const headers = ['Event: presence', `Expires: ${EXPIRES}`, ...(this.tag ? [`SIP-If-Match: ${this.tag}`] : [])];
    const answer = await this.line.request('PUBLISH', uriOf(this.me), headers, { type: PIDF_TYPE, text: document });
    if (!this.online) return;
    const forgotten = answer.status === 412 && this.tag !== undefined;
    this.tag = answer.status < 300 ? answer.header('sip-etag') : undefined;
    if (forgotten) return this.publish();
    this.refresh = setTimeout(() => void this.publish(), EXPIRES * 750);
  }

  private follow(): void {
    this.watch?.stop();
    this.watch = undefined;
    if (!this.online || this.wanted.length === 0) return;
    const end = () => {
      this.watch = undefined;
      clearTimeout(this.timer);
      if (this.online) this.timer = setTimeout(() => this.follow(), AGAIN);
    };
    const accept = 'application/pidf+xml, application/rlmi+xml, multipart/related';
    const headers = ['Supported: eventlist', 'Require: recipient-list-subscribe', 'Content-Disposition: recipient-list'];
    const content = { type: LIST_TYPE, text: writeList(this.wanted.map(uriOf)) };
    this.watch = this.line.watch(uriOf(this.me), 'presence', accept, (type, body) => this.news(type, body), end, { headers, content });
  }

  private news(contentType: string, body: string): void {
    const changed = new Map<string, Person>();
    for (const { entity, open, away, note, at } of readNotified(contentType, body)) {
      const user = userOf(entity.replace(/^pres:/i, 'sip:'), this.domain);
      if (!user) continue;
      const before = this.people.value.get(user);
      const seen = open || before?.open ? Date.now() : Math.max(before?.seen ?? 0, at ?? 0);
      changed.set(user, { open, away: open && away, note, ...(seen > 0 ? { seen } : {}) });
    }
    this.show(changed);
  }

  private show(changed: ReadonlyMap<string, Person>): void {
    if (changed.size === 0) return;
    this.people.value = new Map([...this.people.value, ...changed]);
    const seen = [...this.people.value].flatMap(([user, person]) => (person.seen ? [[user, person.seen]] : []));
    void this.db.setValue('seen', seen.slice(-500)).catch(() => undefined);
  }
}
