// Who is signed in, and what belongs to that: database, phone, conversations, groups, files, people.

import { effect, signal, type Signal } from '@preact/signals';
import { isFocus, shortName } from '../wire/address';
import { Calls } from './calls';
import { Chat } from './chat';
import { Contacts } from './contacts';
import { Database } from './db';
import { Groups } from './groups';
import { Http } from './http';
import { Line } from './line';
import type { Conversation } from './model';
import { type Account, Phone, type PhoneEvents, type PhoneState } from './phone';
import { Presence } from './presence';
import { pushAddress, pushKey, subscribePush, unsubscribePush } from './push';
import { Relays } from './relays';
import { Uploads } from './uploads';

const KEY = 'chappe.account';
/** Milliseconds that a sign-in may take before the network is to blame. */
const PATIENCE = 15_000;
/** Milliseconds out of sight after which the user is away. */
const AWAY = 5 * 60_000;

export class Session {
  readonly state: Signal<PhoneState> = signal('offline');
  /** Whether the server wakes this browser when no page is open. */
  readonly pushes: Signal<boolean> = signal(false);
  readonly calls: Calls;
  readonly groups: Groups;
  readonly uploads: Uploads;
  readonly contacts: Contacts;
  readonly presence: Presence;
  private readonly phone: Phone;
  private readonly relays: Relays;
  private readonly stopWanting: () => void;
  private pushKey: string | undefined;
  private leaving: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    readonly account: Account,
    readonly chat: Chat,
    private readonly db: Database,
    send: (phone: Phone) => void,
  ) {
    const { user, instance } = account;
    const http = new Http(account);
    this.relays = new Relays(user, http);
    const events: PhoneEvents = {
      state: (state) => this.turned(state),
      message: (message) => chat.receive(message),
      call: (invitation) => this.calls.take(invitation),
      capabilities: (features) => (this.pushKey = pushKey(features)),
    };
    this.phone = new Phone(account, events, this.relays.configuration);
    send(this.phone);
    const line = new Line(this.phone);
    this.calls = new Calls(this.phone.agent, this.domain, () => this.relays.ready());
    this.calls.onOver = (record) => void chat.note(record);
    this.groups = new Groups(user, line, chat);
    this.uploads = new Uploads(http, db, chat);
    this.contacts = new Contacts(user, http, db);
    this.presence = new Presence(user, instance, line, db);
    chat.onLife = (who) => this.presence.heardOf(who);
    this.stopWanting = effect(() => {
      const talked = chat.conversations.value.map(({ peer }) => peer).filter((peer) => !isFocus(peer));
      const known = this.contacts.list.value.map((contact) => contact.user);
      this.presence.want([...new Set([...talked.slice(0, 50), ...known])]);
    });
  }

  static async begin(account: Account): Promise<Session> {
    const db = await Database.open(account.user);
    let phone: Phone | undefined;
    const send = async (to: string, type: string, body: string) => phone?.send(to, type, body) ?? 503;
    const chat = await Chat.load(account.user, db, send, account.displayName);
    const session = new Session(account, chat, db, (made) => (phone = made));
    await Promise.all([session.contacts.remember(), session.presence.remember()]);
    document.addEventListener('visibilitychange', session.looked);
    if (await db.value<boolean>('pushes')) await session.wokenBy(await pushAddress().catch(() => undefined));
    session.phone.start();
    return session;
  }

  /** Of the user's address. */
  get domain(): string {
    return this.account.user.slice(this.account.user.lastIndexOf('@') + 1);
  }

  /** How somebody is called: as in the address book, as it calls itself, or by its address. */
  nameOf(user: string, called = ''): string {
    if (user === this.account.user) return this.account.displayName || shortName(user, this.domain);
    const known = called || this.chat.ledger.conversation(user)?.name || this.chat.ledger.names.value.get(user);
    return this.contacts.nameOf(user) || known || shortName(user, this.domain);
  }

  /** The name of a conversation; of a group without a subject, those of its members. */
  titleOf(conversation: Conversation): string {
    const { peer, group, name } = conversation;
    if (!isFocus(peer)) return this.nameOf(peer, name);
    if (group?.subject) return group.subject;
    const others = (group?.members ?? []).filter(({ user }) => user !== this.account.user);
    return others.map((member) => this.nameOf(member.user, member.name)).join(', ');
  }

  /** Whether the server knows this user; waits until it has said so. */
  settled(): Promise<PhoneState> {
    return new Promise((resolve) => {
      const late = setTimeout(() => finish('offline'), PATIENCE);
      const stop = this.state.subscribe((state) => {
        if (state === 'online' || state === 'refused') queueMicrotask(() => finish(state));
      });
      const finish = (state: PhoneState) => {
        clearTimeout(late);
        stop();
        resolve(state);
      };
    });
  }

  /** Has the server wake this browser, if both can. */
  async allowPush(): Promise<void> {
    if (this.pushKey) await this.wokenBy(await subscribePush(this.pushKey).catch(() => undefined));
  }

  /** Ends it. `erase`: nothing stays in this browser. */
  async end(erase: boolean): Promise<void> {
    document.removeEventListener('visibilitychange', this.looked);
    clearTimeout(this.leaving);
    this.stopWanting();
    this.calls.hangUp();
    this.chat.stop();
    this.uploads.stop();
    this.groups.left();
    this.presence.left();
    await this.phone.stop();
    this.db.close();
    if (erase) {
      await unsubscribePush().catch(() => undefined);
      forgetAccount();
      await Database.erase(this.account.user);
    }
  }

  private async wokenBy(address: string | undefined): Promise<void> {
    this.pushes.value = address !== undefined;
    await this.db.setValue('pushes', this.pushes.value);
    if (address !== undefined) this.phone.setPush(address);
  }

  private turned(state: PhoneState): void {
    const was = this.state.value;
    this.state.value = state;
    if (state === 'online' && was !== 'online') {
      void this.chat.flush();
      this.groups.arrived();
      this.presence.arrived();
      void this.uploads.run();
      void this.contacts.load().catch(() => undefined);
      // A server that was started again may have another secret.
      this.relays.forget();
      void this.relays.ready();
    } else if (was === 'online') {
      this.groups.left();
      this.presence.left();
    }
  }

  /** The page came into sight, or went out of it. */
  private readonly looked = (): void => {
    clearTimeout(this.leaving);
    if (document.visibilityState === 'visible') this.presence.setAway(false);
    else this.leaving = setTimeout(() => this.presence.setAway(true), AWAY);
  };
}

/** The account that stays signed in here. */
export function rememberedAccount(): Account | undefined {
  const text = localStorage.getItem(KEY) ?? sessionStorage.getItem(KEY);
  try {
    return text === null ? undefined : (JSON.parse(text) as Account);
  } catch {
    return undefined;
  }
}

/** `stay`: until signed out, not only until the tab is closed. */
export function rememberAccount(account: Account, stay: boolean): void {
  (stay ? localStorage : sessionStorage).setItem(KEY, JSON.stringify(account));
}

export function forgetAccount(): void {
  localStorage.removeItem(KEY);
  sessionStorage.removeItem(KEY);
}

/** The WebSocket of the server that this page came from. */
export function ownServer(): string {
  return `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`;
}
