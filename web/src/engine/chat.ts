// One-to-one chat: messages, receipts, typing, and what waits for a connection. Everything is in the database before it is
// shown or confirmed, so a closed tab loses nothing.

import { signal, type Signal } from '@preact/signals';
import { nameAddr, uriOf, userOf } from '../wire/address';
import {
  type Envelope, type Relation, type RelationKind, newId, readComposing, readEnvelope, readNotification, writeComposing, writeEnvelope,
  writeNotification,
} from '../wire/cpim';
import { mediaType } from '../wire/headers';
import type { CallRecord } from './calls';
import type { Database, Outgoing } from './db';
import { CALL, type Conversation, type Message, advance, again, edit, nextOrder, react, recall, withMessage } from './model';
import type { Incoming } from './phone';

const TEXT = 'text/plain;charset=UTF-8';
const CPIM = 'message/cpim';
/** Messages read at once when a conversation is opened or scrolled back. */
const PAGE = 60;
/** Seconds (RFC 3994 §3.2, §3.3). */
const REFRESH = 60;
const IDLE = 15;

/** Milliseconds until what a busy server did not take is tried again. */
const AGAIN = 5000;

/** How MESSAGEs go out: the status of the final response. */
export type Send = (to: string, contentType: string, body: string) => Promise<number>;

/** Whether to try again when things are better: there is no connection, or the server is busy. */
function isForLater(status: number): boolean {
  return (status >= 500 && status !== 513) || status === 408 || status === 430;
}

export class Chat {
  readonly conversations: Signal<Conversation[]> = signal([]);
  /** Of the open conversation, oldest first. */
  readonly messages: Signal<Message[]> = signal([]);
  readonly open: Signal<string | undefined> = signal(undefined);
  /** Whether older messages of the open conversation are not shown yet. */
  readonly more: Signal<boolean> = signal(false);
  /** Peers who type. */
  readonly typing: Signal<ReadonlySet<string>> = signal(new Set());
  /** Called for each new message of somebody else. */
  onNews: (message: Message) => void = () => undefined;

  private readonly domain: string;
  private last = 0;
  private flushing = false;
  private retrying: ReturnType<typeof setTimeout> | undefined;
  private readonly typers = new Map<string, ReturnType<typeof setTimeout>>();
  /** Our own typing: whom we told, until when it holds, and when it ends. */
  private composing: { peer: string; until: number; timer: ReturnType<typeof setTimeout> } | undefined;
  /** Changes go one after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly me: string,
    private readonly db: Database,
    private readonly sendRaw: Send,
  ) {
    this.domain = me.slice(me.lastIndexOf('@') + 1);
  }

  static async load(me: string, db: Database, send: Send): Promise<Chat> {
    const chat = new Chat(me, db, send);
    const conversations = await db.conversations();
    chat.last = Math.max(0, ...conversations.map((conversation) => conversation.order));
    chat.show(conversations);
    return chat;
  }

  // --- what the user does ---

  async openConversation(peer: string): Promise<void> {
    this.open.value = peer;
    const page = await this.db.page(peer, Number.MAX_SAFE_INTEGER, PAGE);
    if (this.open.value !== peer) return;
    this.messages.value = page;
    this.more.value = page.length === PAGE;
  }

  closeConversation(): void {
    this.open.value = undefined;
    this.messages.value = [];
  }

  async older(): Promise<void> {
    const [peer, first] = [this.open.value, this.messages.value[0]];
    if (!peer || !first || !this.more.value) return;
    const page = await this.db.page(peer, first.order, PAGE);
    if (this.open.value !== peer || this.messages.value[0] !== first) return;
    this.messages.value = [...page, ...this.messages.value];
    this.more.value = page.length === PAGE;
  }

  /** Makes a conversation that has no message yet. */
  begin(peer: string): Promise<void> {
    return this.change(async () => {
      if (await this.db.conversation(peer)) return;
      const empty = { peer, name: '', unread: 0, order: nextOrder(this.last, Date.now()), preview: '' };
      await this.db.put([], [empty]);
      this.show([empty]);
    });
  }

  say(peer: string, text: string, replyTo?: string): Promise<void> {
    const written: Message = {
      peer, id: newId(), mine: true, order: 0, at: Date.now(), contentType: TEXT, text, progress: 'waiting',
      ...(replyTo ? { replyTo } : {}),
    };
    this.stopTyping();
    return this.change(() => this.keep(written, '', [this.outgoing(written)])).then(() => void this.flush());
  }

  async retry(message: Message): Promise<void> {
    await this.change(() => this.update(message.peer, true, message.id, again, [this.outgoing(message)]));
    void this.flush();
  }

  /** A call is over: the conversation remembers it. One that was missed is unread. */
  note(record: CallRecord): Promise<void> {
    const mine = record.end !== 'missed';
    const line: Message = {
      peer: record.peer, id: newId(), mine, order: 0, at: Date.now(), contentType: CALL, text: JSON.stringify(record),
      ...(mine ? {} : { seen: false, wantsDisplay: false }),
    };
    return this.change(() => this.keep(line, '', []));
  }

  /** Puts a sign at a message, or takes the same one back. */
  async react(message: Message, sign: string): Promise<void> {
    const shown = message.reactions?.[this.me] === sign ? '' : sign;
    await this.relate(message, 'reaction', shown, (old) => react(old, this.me, shown));
  }

  edit(message: Message, text: string): Promise<void> {
    return this.relate(message, 'edit', text, (old) => edit(old, text));
  }

  recall(message: Message): Promise<void> {
    return this.relate(message, 'recall', '', recall);
  }

  async forget(peer: string): Promise<void> {
    await this.change(async () => {
      await this.db.remove(peer);
      this.conversations.value = this.conversations.value.filter((conversation) => conversation.peer !== peer);
    });
    if (this.open.value === peer) this.closeConversation();
  }

  /** The open conversation is looked at: its messages are seen. */
  seen(peer: string): Promise<void> {
    return this.change(async () => {
      const conversation = await this.db.conversation(peer);
      if (!conversation || conversation.unread === 0) return;
      const page = await this.db.page(peer, Number.MAX_SAFE_INTEGER, conversation.unread + PAGE);
      const fresh = page.filter((message) => !message.mine && !message.seen);
      const seen = fresh.map((message) => ({ ...message, seen: true }));
      const receipts = fresh.filter((message) => message.wantsDisplay).map((one) => this.receipt(one, 'displayed'));
      await this.store(seen, { ...conversation, unread: 0 }, receipts);
      void this.flush();
    });
  }

  /** The user types, or has emptied the field. */
  types(peer: string, typed: boolean): void {
    if (!typed) return this.stopTyping();
    // A plain phone would show it as a message.
    if (!this.conversations.value.find((one) => one.peer === peer)?.rich) return;
    if (this.composing && this.composing.peer !== peer) this.stopTyping();
    const now = Date.now();
    if (this.composing) clearTimeout(this.composing.timer);
    if (!this.composing || this.composing.until < now) {
      this.fleeting(peer, 'application/im-iscomposing+xml', writeComposing(true, REFRESH));
      this.composing = { peer, until: now + (REFRESH * 1000) / 2, timer: setTimeout(() => undefined) };
    }
    this.composing.timer = setTimeout(() => this.stopTyping(true), IDLE * 1000);
  }

  /** Nothing is done any more. */
  stop(): void {
    clearTimeout(this.retrying);
    this.stopTyping();
    this.typers.forEach((timer) => clearTimeout(timer));
  }

  // --- what the network does ---

  /** Sends what waits, each conversation in its order. */
  async flush(): Promise<void> {
    if (this.flushing) return;
    this.flushing = true;
    try {
      const blocked = new Set<string>();
      for (let waiting = await this.sendable(blocked); waiting.length > 0; waiting = await this.sendable(blocked)) {
        for (const one of waiting) {
          if (blocked.has(one.peer)) continue;
          const status = await this.sendRaw(uriOf(one.peer), CPIM, one.body);
          if (isForLater(status)) {
            blocked.add(one.peer);
            clearTimeout(this.retrying);
            this.retrying = setTimeout(() => void this.flush(), AGAIN);
            continue;
          }
          if (one.id !== undefined) {
            const [id, progress] = [one.id, status < 300 ? ('sent' as const) : ('failed' as const)];
            await this.change(() => this.update(one.peer, true, id, (old) => advance(old, progress, status)));
          }
          await this.db.sent(one.seq);
        }
      }
    } finally {
      this.flushing = false;
    }
  }

  /** A MESSAGE came in. Done when it is kept. */
  async receive(incoming: Incoming): Promise<void> {
    if (mediaType(incoming.contentType) !== CPIM) {
      const { uri } = nameAddr(incoming.from);
      const from = userOf(uri, this.domain);
      if (!from) return;
      const composing = readComposing(incoming.contentType, incoming.body);
      if (composing) return this.shows(from, composing);
      const id = newId();
      return this.change(() => this.took(from, false, { id, at: new Date(), ...incoming }, incoming.name));
    }
    const envelope = readEnvelope(incoming.body);
    if (!envelope) return;
    const author = nameAddr(envelope.from);
    const from = this.author(incoming.from, author.uri);
    const to = userOf(nameAddr(envelope.to).uri, this.domain);
    if (!from) return;
    const mine = from === this.me && to !== undefined && to !== this.me;
    const peer = mine ? to : from;
    const notification = readNotification(envelope.contentType, envelope.body);
    if (notification) return this.change(() => this.heard(peer, mine, notification));
    const composing = readComposing(envelope.contentType, envelope.body);
    if (composing) return mine ? undefined : this.shows(peer, composing);
    if (envelope.relation && envelope.relation.kind !== 'reply') {
      return this.change(() => this.related(peer, from, envelope));
    }
    await this.change(() => this.took(peer, mine, envelope, author.name || incoming.name));
    if (!mine) await this.change(() => this.isRich(peer));
    void this.flush();
  }

  // --- inside ---

  /** Whose message it is: whom the server names, unless that is itself or another device of ours. */
  private author(server: string, envelope: string): string | undefined {
    const named = userOf(nameAddr(server).uri, this.domain);
    const isOther = named !== undefined && named !== this.me && !named.startsWith('rcse-standfw@');
    return isOther ? named : userOf(envelope, this.domain);
  }

  private async sendable(blocked: ReadonlySet<string>): Promise<(Outgoing & { seq: number })[]> {
    const waiting = await this.db.outbox();
    return waiting.filter((one) => !blocked.has(one.peer));
  }

  private outgoing(message: Message): Outgoing {
    const relation: Relation | undefined = message.replyTo ? { kind: 'reply', id: message.replyTo } : undefined;
    const body = writeEnvelope({
      ...this.envelope(message.peer, message.contentType, message.text),
      id: message.id,
      at: new Date(message.at),
      wants: { delivery: true, display: true },
      ...(relation ? { relation } : {}),
    });
    return { peer: message.peer, body, id: message.id };
  }

  private envelope(peer: string, contentType: string, body: string): Envelope {
    return {
      from: `<${uriOf(this.me)}>`, to: `<${uriOf(peer)}>`, at: new Date(), id: newId(),
      wants: { delivery: false, display: false }, contentType, body,
    };
  }

  /** A change to an earlier message, here and at the peer's. */
  private async relate(message: Message, kind: RelationKind, text: string, how: (old: Message) => Message) {
    const { peer, mine, id } = message;
    const disposition = kind === 'reaction' ? { disposition: 'Reaction' } : {};
    const body = writeEnvelope({ ...this.envelope(peer, TEXT, text), relation: { kind, id }, ...disposition });
    await this.change(() => this.update(peer, mine, id, how, [{ peer, body }]));
    void this.flush();
  }

  private receipt(message: { peer: string; id: string; at: number }, state: 'delivered' | 'displayed'): Outgoing {
    const xml = writeNotification(message.id, new Date(message.at), state, uriOf(this.me));
    const envelope = { ...this.envelope(message.peer, 'message/imdn+xml', xml), disposition: 'notification' };
    return { peer: message.peer, body: writeEnvelope(envelope) };
  }

  private fleeting(peer: string, contentType: string, body: string): void {
    void this.sendRaw(uriOf(peer), CPIM, writeEnvelope(this.envelope(peer, contentType, body)));
  }

  private stopTyping(tell = false): void {
    if (!this.composing) return;
    clearTimeout(this.composing.timer);
    // A message says it as well (RFC 3994 §3.2).
    if (tell) this.fleeting(this.composing.peer, 'application/im-iscomposing+xml', writeComposing(false, 0));
    this.composing = undefined;
  }

  private shows(peer: string, composing: { active: boolean; refresh: number }): void {
    clearTimeout(this.typers.get(peer));
    this.typers.delete(peer);
    const typing = new Set(this.typing.value);
    if (composing.active) {
      typing.add(peer);
      const over = setTimeout(() => this.shows(peer, { active: false, refresh: 0 }), composing.refresh * 1000);
      this.typers.set(peer, over);
    } else {
      typing.delete(peer);
    }
    this.typing.value = typing;
  }

  private async isRich(peer: string): Promise<void> {
    const conversation = await this.db.conversation(peer);
    if (!conversation || conversation.rich) return;
    await this.store([], { ...conversation, rich: true });
  }

  /** A message of somebody else, or of another device of ours. A second copy changes nothing. */
  private async took(
    peer: string,
    mine: boolean,
    from: { id: string; at: Date; contentType: string; body: string; wants?: Envelope['wants']; relation?: Relation },
    name: string,
  ): Promise<void> {
    const id = from.id || newId();
    if (await this.db.message(peer, mine, id)) return;
    this.shows(peer, { active: false, refresh: 0 });
    const message: Message = {
      peer, id, mine, order: 0, at: from.at.getTime(), contentType: from.contentType, text: from.body,
      ...(mine ? { progress: 'sent' as const } : { seen: false, wantsDisplay: from.wants?.display ?? false }),
      ...(from.relation?.kind === 'reply' ? { replyTo: from.relation.id } : {}),
    };
    const wanted = !mine && from.wants?.delivery && from.id;
    await this.keep(message, mine ? '' : name, wanted ? [this.receipt(message, 'delivered')] : []);
    if (!mine) this.onNews(message);
  }

  private async heard(peer: string, mine: boolean, said: { id: string; state: 'delivered' | 'displayed' | 'failed' }) {
    if (!mine) return this.update(peer, true, said.id, (old) => advance(old, said.state));
    // Another device of ours has shown it.
    if (said.state !== 'displayed') return;
    const message = await this.db.message(peer, false, said.id);
    const conversation = await this.db.conversation(peer);
    if (!message || message.seen || !conversation) return;
    await this.store([{ ...message, seen: true }], { ...conversation, unread: Math.max(0, conversation.unread - 1) });
  }

  private async related(peer: string, from: string, envelope: Envelope): Promise<void> {
    const { kind, id } = envelope.relation!;
    if (kind === 'reaction') {
      const sign = envelope.body.trim();
      for (const mine of [true, false]) await this.update(peer, mine, id, (old) => react(old, from, sign));
    } else {
      // Only who wrote a message may change it.
      const mine = from === this.me;
      await this.update(peer, mine, id, (old) => (kind === 'edit' ? edit(old, envelope.body) : recall(old)));
    }
  }

  private async update(
    peer: string,
    mine: boolean,
    id: string,
    how: (old: Message) => Message,
    outgoing: Outgoing[] = [],
  ): Promise<void> {
    const old = await this.db.message(peer, mine, id);
    if (!old) return;
    const message = how(old);
    if (message === old) return;
    const conversation = await this.db.conversation(peer);
    await this.store([message], withMessage(conversation, message, ''), outgoing);
  }

  /** A new message gets its place at the end. */
  private async keep(message: Message, name: string, outgoing: Outgoing[]): Promise<void> {
    this.last = nextOrder(this.last, Date.now());
    const placed = { ...message, order: this.last };
    const conversation = withMessage(await this.db.conversation(message.peer), placed, name);
    if (!message.mine) conversation.unread += 1;
    await this.store([placed], conversation, outgoing);
  }

  private async store(messages: Message[], conversation: Conversation, outgoing: Outgoing[] = []): Promise<void> {
    await this.db.put(messages, [conversation], outgoing);
    this.show([conversation]);
    if (this.open.value !== conversation.peer) return;
    const shown = new Map(this.messages.value.map((message) => [`${message.mine} ${message.id}`, message]));
    for (const message of messages) shown.set(`${message.mine} ${message.id}`, message);
    this.messages.value = [...shown.values()].sort((one, other) => one.order - other.order);
  }

  private show(changed: Conversation[]): void {
    const all = new Map(this.conversations.value.map((conversation) => [conversation.peer, conversation]));
    for (const conversation of changed) all.set(conversation.peer, conversation);
    this.conversations.value = [...all.values()].sort((one, other) => other.order - one.order);
  }

  private change<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work);
    this.turn = next.catch(() => undefined);
    return next;
  }
}
