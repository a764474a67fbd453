// Conversations of two and of groups: messages, receipts, typing, and what waits for a connection.

import { isFocus, nameAddr, namedUri, uriOf, userOf } from '../wire/address';
import {
  type Envelope, type Relation, type RelationKind, newId, readComposing, readEnvelope, readNotification, writeEnvelope, writeNotification,
} from '../wire/cpim';
import { mediaType } from '../wire/headers';
import { ROSTER_TYPE, readChanges } from '../wire/roster';
import type { CallRecord } from './calls';
import type { Database, KeptFile, Outgoing } from './db';
import { Ledger, PAGE } from './ledger';
import {
  CALL, type Conversation, GROUP, type GroupInfo, type GroupNote, type Message, UPLOAD, advance, again, edit, react, reach, recall,
} from './model';
import { Outbox, type Send } from './outbox';
import type { Incoming } from './phone';
import { Typing } from './typing';

const TEXT = 'text/plain;charset=UTF-8';
const CPIM = 'message/cpim';

/** A message as it came: whose, in which conversation. */
interface Came {
  peer: string;
  from: string;
  name: string;
  id: string;
  at: Date;
  contentType: string;
  body: string;
  wants?: Envelope['wants'];
  relation?: Relation;
}

export class Chat {
  /** Called for each new message of somebody else. */
  onNews: (message: Message) => void = () => undefined;
  /** A group that was not known, or of which something has changed. */
  onGroup: (focus: string) => void = () => undefined;
  /** Somebody was heard of. */
  onLife: (user: string) => void = () => undefined;

  readonly ledger: Ledger;
  private readonly domain: string;
  private readonly outbox: Outbox;
  private readonly typist: Typing;

  private constructor(
    private readonly me: string,
    private readonly name: string,
    db: Database,
    sendRaw: Send,
  ) {
    this.domain = me.slice(me.lastIndexOf('@') + 1);
    this.ledger = new Ledger(db);
    this.outbox = new Outbox(this.ledger, sendRaw, (peer, status) => void this.refused(peer, status));
    this.typist = new Typing((peer, type, body) => void sendRaw(uriOf(peer), CPIM, writeEnvelope(this.envelope(peer, type, body))));
  }

  static async load(me: string, db: Database, send: Send, name = ''): Promise<Chat> {
    const chat = new Chat(me, name, db, send);
    await chat.ledger.load();
    return chat;
  }

  get conversations() {
    return this.ledger.conversations;
  }

  get messages() {
    return this.ledger.messages;
  }

  get open() {
    return this.ledger.open;
  }

  get more() {
    return this.ledger.more;
  }

  /** Who types: users by conversation. */
  get typing() {
    return this.typist.shown;
  }

  // --- what the user does ---

  openConversation(peer: string): Promise<void> {
    return this.ledger.openConversation(peer);
  }

  closeConversation(): void {
    this.ledger.closeConversation();
  }

  older(): Promise<void> {
    return this.ledger.older();
  }

  /** Makes a conversation that has no message yet. */
  begin(peer: string): Promise<void> {
    return this.change(() => this.ledger.describe(peer));
  }

  say(peer: string, text: string, replyTo?: string): Promise<void> {
    return this.put(peer, TEXT, text, replyTo);
  }

  /** Sends something of any type. */
  put(peer: string, contentType: string, text: string, replyTo?: string): Promise<void> {
    const written: Message = {
      peer, id: newId(), mine: true, order: 0, at: Date.now(), contentType, text, progress: 'waiting', ...(replyTo ? { replyTo } : {}),
    };
    this.typist.rest();
    return this.change(() => this.ledger.keep(written, '', [this.outgoing(written)])).then(() => void this.flush());
  }

  /** A file begins its way: its message waits until the server has it. */
  attach(file: KeptFile, record: object): Promise<void> {
    const waiting: Message = {
      peer: file.peer, id: file.id, mine: true, order: 0, at: Date.now(), contentType: UPLOAD, text: JSON.stringify(record), progress: 'waiting',
    };
    return this.change(() => this.ledger.keep(waiting, '', [], file));
  }

  /** The server has a file: its document goes out as the message. */
  async attached(peer: string, id: string, contentType: string, document: string): Promise<void> {
    await this.change(async () => {
      const old = await this.ledger.db.message(peer, true, id);
      if (!old) return;
      const next: Message = { ...old, contentType, text: document };
      await this.ledger.update(peer, true, id, () => next, [this.outgoing(next)], id);
    });
    void this.flush();
  }

  /** A file that the server does not take. */
  notAttached(peer: string, id: string, status: number): Promise<void> {
    return this.change(() => this.ledger.update(peer, true, id, (old) => advance(old, 'failed', status)));
  }

  drop(message: Message): Promise<void> {
    return this.change(() => this.ledger.drop(message));
  }

  async retry(message: Message): Promise<void> {
    const outgoing = mediaType(message.contentType) === UPLOAD ? [] : [this.outgoing(message)];
    await this.change(() => this.ledger.update(message.peer, true, message.id, again, outgoing));
    void this.flush();
  }

  /** A call is over: the conversation remembers it. One that was missed is unread. */
  note(record: CallRecord): Promise<void> {
    const mine = record.end !== 'missed';
    return this.line(record.peer, CALL, record, mine, mine ? {} : { seen: false, wantsDisplay: false });
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
    await this.change(() => this.ledger.forget(peer));
    if (this.open.value === peer) this.closeConversation();
  }

  /** The open conversation is looked at: its messages are seen. */
  seen(peer: string): Promise<void> {
    return this.change(async () => {
      const conversation = await this.ledger.db.conversation(peer);
      if (!conversation || conversation.unread === 0) return;
      const page = await this.ledger.db.page(peer, Number.MAX_SAFE_INTEGER, conversation.unread + PAGE);
      const fresh = page.filter((message) => !message.mine && !message.seen);
      const seen = fresh.map((message) => ({ ...message, seen: true }));
      const receipts = fresh.filter((message) => message.wantsDisplay).map((one) => this.receipt(one, 'displayed'));
      await this.ledger.store(seen, { ...conversation, unread: 0 }, receipts);
      void this.flush();
    });
  }

  /** The user types, or has emptied the field. */
  types(peer: string, typed: boolean): void {
    if (!typed) return this.typist.rest();
    // A plain phone would show it as a message.
    if (this.ledger.conversation(peer)?.rich || isFocus(peer)) this.typist.types(peer);
  }

  /** Nothing is done any more. */
  stop(): void {
    this.outbox.stop();
    this.typist.stop();
  }

  // --- groups ---

  /** What is known of a group; `note` is written into it. */
  async describeGroup(focus: string, what: Partial<GroupInfo>, note?: GroupNote): Promise<void> {
    await this.change(async () => {
      const known = (await this.ledger.db.conversation(focus))?.group;
      const group = { subject: '', icon: '', members: [], contribution: '', ...known, ...what };
      await this.ledger.describe(focus, { group, name: group.subject, rich: true });
    });
    if (note) await this.line(focus, GROUP, note, note.by === this.me, {});
  }

  // --- what the network does ---

  /** Sends what waits, each conversation in its order. */
  flush(): Promise<void> {
    return this.outbox.flush();
  }

  /** A MESSAGE came in. Done when it is kept. */
  async receive(incoming: Incoming): Promise<void> {
    const sender = userOf(nameAddr(incoming.from).uri, this.domain);
    if (mediaType(incoming.contentType) !== CPIM) {
      if (!sender) return;
      const composing = readComposing(incoming.contentType, incoming.body);
      if (composing) return this.typist.heard(sender, sender, composing);
      const { name, contentType, body } = incoming;
      const came = { peer: sender, from: sender, name, id: newId(), at: new Date(), contentType, body };
      return this.change(() => this.took(came));
    }
    const envelope = readEnvelope(incoming.body);
    if (!envelope) return;
    const author = nameAddr(envelope.from);
    const focus = sender !== undefined && isFocus(sender) ? sender : undefined;
    const from = focus ? userOf(author.uri, this.domain) : this.author(sender, author.uri);
    if (!from) return;
    const to = userOf(nameAddr(envelope.to).uri, this.domain);
    const mine = from === this.me && to !== undefined && to !== this.me;
    const peer = focus ?? (mine ? to : from);
    if (focus && !this.ledger.conversation(focus)) await this.meet(focus);
    if (!mine) await this.met(from, author.name || (focus ? '' : incoming.name));
    const notification = readNotification(envelope.contentType, envelope.body);
    if (notification) return this.change(() => this.heard(peer, from, mine, notification));
    const composing = readComposing(envelope.contentType, envelope.body);
    if (composing) return mine ? undefined : this.typist.heard(peer, from, composing);
    if (focus && mediaType(envelope.contentType) === ROSTER_TYPE) return this.told(focus, from, envelope);
    if (envelope.relation && envelope.relation.kind !== 'reply') {
      return this.change(() => this.related(peer, from, envelope));
    }
    await this.change(() => this.took({ ...envelope, peer, from, name: author.name || incoming.name }));
    if (!mine && !focus) await this.change(() => this.isRich(peer));
    void this.flush();
  }

  // --- inside ---

  private met(user: string, name: string): Promise<void> {
    this.onLife(user);
    return this.ledger.named(user, name);
  }

  private readonly change = <T>(work: () => Promise<T>): Promise<T> => this.ledger.change(work);

  /** Whose message it is: whom the server names, unless that is itself or another device of ours. */
  private author(named: string | undefined, envelope: string): string | undefined {
    const isOther = named !== undefined && named !== this.me && !named.startsWith('rcse-standfw@');
    return isOther ? named : userOf(envelope, this.domain);
  }

  /** A line that is kept here and sent to nobody. */
  private line(peer: string, contentType: string, record: object, mine: boolean, more: Partial<Message>): Promise<void> {
    const text = JSON.stringify(record);
    const line: Message = { peer, id: newId(), mine, order: 0, at: Date.now(), contentType, text, ...more };
    return this.change(() => this.ledger.keep(line, '', []));
  }

  /** A group that we are in, of which nothing was known here. */
  private async meet(focus: string): Promise<void> {
    await this.describeGroup(focus, {});
    this.onGroup(focus);
  }

  /** What somebody did to a group, out of its log. */
  private async told(focus: string, by: string, envelope: Envelope): Promise<void> {
    const changes = readChanges(envelope.body, this.domain);
    for (const [at, change] of changes.entries()) {
      const id = `${envelope.id}.${at}`;
      await this.change(async () => {
        if (!envelope.id || (await this.ledger.db.message(focus, false, id))) return;
        const note: GroupNote = { by: change.kind === 'removed' ? change.by || by : by, change };
        const text = JSON.stringify(note);
        const line = { peer: focus, id, mine: false, order: 0, at: envelope.at.getTime(), contentType: GROUP, text };
        await this.ledger.keep(line, '', []);
      });
    }
    this.onGroup(focus);
  }

  private async refused(peer: string, status: number): Promise<void> {
    if (isFocus(peer) && [403, 404, 410].includes(status)) await this.describeGroup(peer, { left: true });
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

  private envelope(to: string, contentType: string, body: string): Envelope {
    return {
      from: namedUri(this.name, this.me), to: `<${uriOf(to)}>`, at: new Date(), id: newId(),
      wants: { delivery: false, display: false }, contentType, body,
    };
  }

  /** A change to an earlier message, here and at the peer's. */
  private async relate(message: Message, kind: RelationKind, text: string, how: (old: Message) => Message) {
    const { peer, mine, id } = message;
    const disposition = kind === 'reaction' ? { disposition: 'Reaction' } : {};
    const body = writeEnvelope({ ...this.envelope(peer, TEXT, text), relation: { kind, id }, ...disposition });
    await this.change(() => this.ledger.update(peer, mine, id, how, [{ peer, body }]));
    void this.flush();
  }

  /** In a group it goes to the focus, for the author. */
  private receipt(message: Pick<Message, 'peer' | 'id' | 'at' | 'from'>, state: 'delivered' | 'displayed'): Outgoing {
    const xml = writeNotification(message.id, new Date(message.at), state, uriOf(this.me));
    const envelope = { ...this.envelope(message.from ?? message.peer, 'message/imdn+xml', xml), disposition: 'notification' };
    return { peer: message.peer, body: writeEnvelope(envelope) };
  }

  private async isRich(peer: string): Promise<void> {
    const conversation = await this.ledger.db.conversation(peer);
    if (!conversation || conversation.rich) return;
    await this.ledger.describe(peer, { rich: true });
  }

  /** A message of somebody else, or of another device of ours. A second copy changes nothing. */
  private async took(came: Came): Promise<void> {
    const { peer, from, wants, relation } = came;
    const [mine, inGroup] = [from === this.me, isFocus(peer)];
    const id = came.id || newId();
    if (await this.ledger.db.message(peer, mine, id)) return;
    this.typist.heard(peer, from, { active: false, refresh: 0 });
    const message: Message = {
      peer, id, mine, order: 0, at: came.at.getTime(), contentType: came.contentType, text: came.body,
      ...(mine ? { progress: 'sent' as const } : { seen: false, wantsDisplay: wants?.display ?? false }),
      ...(inGroup && !mine ? { from, fromName: came.name } : {}),
      ...(relation?.kind === 'reply' ? { replyTo: relation.id } : {}),
    };
    const wanted = !mine && wants?.delivery && came.id;
    await this.ledger.keep(message, mine || inGroup ? '' : came.name, wanted ? [this.receipt(message, 'delivered')] : []);
    if (!mine) this.onNews(message);
  }

  private async heard(peer: string, from: string, mine: boolean, said: { id: string; state: 'delivered' | 'displayed' | 'failed' }) {
    const { id, state } = said;
    if (!mine) {
      const others = (one: Conversation | undefined) => (one?.group?.members ?? []).map(({ user }) => user).filter((user) => user !== this.me);
      return this.ledger.update(peer, true, id, (old, conversation) => {
        if (!isFocus(peer)) return advance(old, state);
        return state === 'failed' ? old : reach(old, from, state, others(conversation));
      });
    }
    // Another device of ours has shown it.
    if (state !== 'displayed') return;
    const message = await this.ledger.db.message(peer, false, id);
    const conversation = await this.ledger.db.conversation(peer);
    if (!message || message.seen || !conversation) return;
    await this.ledger.store([{ ...message, seen: true }], { ...conversation, unread: Math.max(0, conversation.unread - 1) });
  }

  private async related(peer: string, from: string, envelope: Envelope): Promise<void> {
    const { kind, id } = envelope.relation!;
    if (kind === 'reaction') {
      const sign = envelope.body.trim();
      for (const mine of [true, false]) await this.ledger.update(peer, mine, id, (old) => react(old, from, sign));
    } else {
      // Only who wrote a message may change it.
      const mine = from === this.me;
      await this.ledger.update(peer, mine, id, (old) => {
        if (!mine && isFocus(peer) && old.from !== from) return old;
        return kind === 'edit' ? edit(old, envelope.body) : recall(old);
      });
    }
  }
}
