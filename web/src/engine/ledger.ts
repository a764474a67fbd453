// The conversations as they are kept and shown. Everything is in the database before it is shown or confirmed, so a closed tab
// loses nothing.

import { signal, type Signal } from '@preact/signals';
import type { Database, KeptFile, Outgoing } from './db';
import { type Conversation, type Message, nextOrder, withMessage } from './model';

/** Messages read at once when a conversation is opened or scrolled back. */
export const PAGE = 60;
/** Names that are remembered. */
const NAMES = 2000;

export class Ledger {
  readonly conversations: Signal<Conversation[]> = signal([]);
  /** Of the open conversation, oldest first. */
  readonly messages: Signal<Message[]> = signal([]);
  readonly open: Signal<string | undefined> = signal(undefined);
  /** Whether older messages of the open conversation are not shown yet. */
  readonly more: Signal<boolean> = signal(false);

  /** How users call themselves. */
  readonly names: Signal<ReadonlyMap<string, string>> = signal(new Map());

  private last = 0;
  /** Changes go one after the other. */
  private turn: Promise<unknown> = Promise.resolve();

  constructor(readonly db: Database) {}

  async load(): Promise<void> {
    const conversations = await this.db.conversations();
    this.last = Math.max(0, ...conversations.map((conversation) => conversation.order));
    this.show(conversations);
    this.names.value = new Map((await this.db.value<[string, string][]>('names')) ?? []);
  }

  /** Somebody calls itself so. */
  async named(user: string, name: string): Promise<void> {
    if (!name || this.names.value.get(user) === name) return;
    this.names.value = new Map([...this.names.value, [user, name]].slice(-NAMES) as [string, string][]);
    await this.db.setValue('names', [...this.names.value]);
  }

  conversation(peer: string): Conversation | undefined {
    return this.conversations.value.find((one) => one.peer === peer);
  }

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

  /** Makes a conversation that has no message yet, or changes what is known of one. */
  async describe(peer: string, what: Partial<Conversation> = {}): Promise<void> {
    const known = await this.db.conversation(peer);
    if (known && Object.keys(what).length === 0) return;
    const order = known?.order ?? (this.last = nextOrder(this.last, Date.now()));
    const next = { ...(known ?? { peer, name: '', unread: 0, order, preview: '' }), ...what };
    await this.db.put([], [next]);
    this.show([next]);
  }

  async forget(peer: string): Promise<void> {
    await this.db.remove(peer);
    this.conversations.value = this.conversations.value.filter((conversation) => conversation.peer !== peer);
  }

  /** A new message gets its place at the end. */
  async keep(message: Message, name: string, outgoing: Outgoing[], file?: KeptFile): Promise<void> {
    this.last = nextOrder(this.last, Date.now());
    const placed = { ...message, order: this.last };
    const conversation = withMessage(await this.db.conversation(message.peer), placed, name);
    if (!message.mine && message.seen === false) conversation.unread += 1;
    await this.store([placed], conversation, outgoing, file);
  }

  async update(
    peer: string,
    mine: boolean,
    id: string,
    how: (old: Message, conversation: Conversation | undefined) => Message,
    outgoing: Outgoing[] = [],
    file?: string,
  ): Promise<void> {
    const old = await this.db.message(peer, mine, id);
    if (!old) return;
    const conversation = await this.db.conversation(peer);
    const message = how(old, conversation);
    if (message === old) return;
    await this.store([message], withMessage(conversation, message, ''), outgoing, file);
  }

  async store(messages: Message[], conversation: Conversation, outgoing: Outgoing[] = [], file?: KeptFile | string): Promise<void> {
    await this.db.put(messages, [conversation], outgoing, file);
    this.show([conversation]);
    if (this.open.value !== conversation.peer) return;
    const shown = new Map(this.messages.value.map((message) => [`${message.mine} ${message.id}`, message]));
    for (const message of messages) shown.set(`${message.mine} ${message.id}`, message);
    this.messages.value = [...shown.values()].sort((one, other) => one.order - other.order);
  }

  /** Takes a message away as if it had never been. */
  async drop(message: Message): Promise<void> {
    await this.db.drop(message);
    this.messages.value = this.messages.value.filter((one) => one.id !== message.id || one.mine !== message.mine);
    const [newest] = (await this.db.page(message.peer, Number.MAX_SAFE_INTEGER, 1)).slice(-1);
    const conversation = await this.db.conversation(message.peer);
    if (!conversation) return;
    const { kind: _kind, ...rest } = { ...conversation, preview: '' };
    await this.store([], newest ? withMessage({ ...rest, order: newest.order }, newest, '') : rest);
  }

  change<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work);
    this.turn = next.catch(() => undefined);
    return next;
  }

  private show(changed: Conversation[]): void {
    const all = new Map(this.conversations.value.map((conversation) => [conversation.peer, conversation]));
    for (const conversation of changed) all.set(conversation.peer, conversation);
    this.conversations.value = [...all.values()].sort((one, other) => other.order - one.order);
  }
}
