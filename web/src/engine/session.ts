// Who is signed in, and what belongs to that: database, phone, chat.

import { signal, type Signal } from '@preact/signals';
import { Calls } from './calls';
import { Chat } from './chat';
import { Database } from './db';
import { type Account, Phone, type PhoneState } from './phone';

const KEY = 'chappe.account';
/** Milliseconds that a sign-in may take before the network is to blame. */
const PATIENCE = 15_000;

export class Session {
  readonly state: Signal<PhoneState> = signal('offline');

  private constructor(
    readonly account: Account,
    readonly chat: Chat,
    private readonly db: Database,
  ) {}

  private phone!: Phone;
  calls!: Calls;

  static async begin(account: Account): Promise<Session> {
    const db = await Database.open(account.user);
    let session: Session | undefined;
    const chat = await Chat.load(account.user, db, async (to, type, body) => {
      return session === undefined ? 503 : session.phone.send(to, type, body);
    });
    const begun = (session = new Session(account, chat, db));
    begun.phone = new Phone(account, {
      state: (state) => {
        begun.state.value = state;
        if (state === 'online') void chat.flush();
      },
      message: (message) => chat.receive(message),
      call: (invitation) => begun.calls.take(invitation),
    });
    begun.calls = new Calls(begun.phone.agent, begun.domain);
    begun.calls.onOver = (record) => void chat.note(record);
    begun.phone.start();
    return begun;
  }

  /** Of the user's address. */
  get domain(): string {
    return this.account.user.slice(this.account.user.lastIndexOf('@') + 1);
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

  /** Ends it. `erase`: nothing stays in this browser. */
  async end(erase: boolean): Promise<void> {
    this.calls.hangUp();
    this.chat.stop();
    await this.phone.stop();
    this.db.close();
    if (erase) {
      forgetAccount();
      await Database.erase(this.account.user);
    }
  }
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
