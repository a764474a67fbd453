// Who types (RFC 3994): others, and what others are told of us.

import { signal, type Signal } from '@preact/signals';
import { writeComposing } from '../wire/cpim';

const TYPE = 'application/im-iscomposing+xml';
/** Seconds (RFC 3994 §3.2, §3.3). */
const REFRESH = 60;
const IDLE = 15;

export class Typing {
  /** Who types where: users by conversation. */
  readonly shown: Signal<ReadonlyMap<string, readonly string[]>> = signal(new Map());
  private readonly typers = new Map<string, ReturnType<typeof setTimeout>>();
  /** Our own typing: whom we told, until when it holds, and when it ends. */
  private composing: { peer: string; until: number; timer: ReturnType<typeof setTimeout> } | undefined;

  constructor(private readonly tell: (peer: string, contentType: string, body: string) => void) {}

  stop(): void {
    this.rest();
    this.typers.forEach((timer) => clearTimeout(timer));
  }

  /** The user types. */
  types(peer: string): void {
    if (this.composing && this.composing.peer !== peer) this.rest();
    const now = Date.now();
    if (this.composing) clearTimeout(this.composing.timer);
    if (!this.composing || this.composing.until < now) {
      this.tell(peer, TYPE, writeComposing(true, REFRESH));
      this.composing = { peer, until: now + (REFRESH * 1000) / 2, timer: setTimeout(() => undefined) };
    }
    this.composing.timer = setTimeout(() => this.rest(true), IDLE * 1000);
  }

  /** The user does not type any more. A message says that as well (RFC 3994 §3.2). */
  rest(tells = false): void {
    if (!this.composing) return;
    clearTimeout(this.composing.timer);
    if (tells) this.tell(this.composing.peer, TYPE, writeComposing(false, 0));
    this.composing = undefined;
  }

  /** Somebody else types, or has stopped. */
  heard(peer: string, who: string, composing: { active: boolean; refresh: number }): void {
    const key = `${peer} ${who}`;
    clearTimeout(this.typers.get(key));
    this.typers.delete(key);
    const before = this.shown.value.get(peer) ?? [];
    const others = before.filter((one) => one !== who);
    if (!composing.active && others.length === before.length) return;
    if (composing.active) {
      const over = () => this.heard(peer, who, { active: false, refresh: 0 });
      this.typers.set(key, setTimeout(over, composing.refresh * 1000));
    }
    const typing = new Map(this.shown.value);
    const now = composing.active ? [...others, who] : others;
    if (now.length > 0) typing.set(peer, now);
    else typing.delete(peer);
    this.shown.value = typing;
  }
}
