// What waits for a connection, and goes out in the order of each conversation.

import { uriOf } from '../wire/address';
import type { Ledger } from './ledger';
import { advance } from './model';

const CPIM = 'message/cpim';
/** Milliseconds until what a busy server did not take is tried again. */
const AGAIN = 5000;

/** How MESSAGEs go out: the status of the final response. */
export type Send = (to: string, contentType: string, body: string) => Promise<number>;

/** Whether to try again when things are better: there is no connection, or the server is busy. */
function isForLater(status: number): boolean {
  return (status >= 500 && status !== 513) || status === 408 || status === 430;
}

export class Outbox {
  private flushing = false;
  private again = false;
  private retrying: ReturnType<typeof setTimeout> | undefined;

  /** `onRefused`: the server takes nothing for this peer. */
  constructor(
    private readonly ledger: Ledger,
    private readonly send: Send,
    private readonly onRefused: (peer: string, status: number) => void,
  ) {}

  stop(): void {
    clearTimeout(this.retrying);
  }

  /** Sends what waits. */
  async flush(): Promise<void> {
    this.again = true;
    if (this.flushing) return;
    this.flushing = true;
    try {
      while (this.again) {
        this.again = false;
        await this.pass();
      }
    } finally {
      this.flushing = false;
    }
  }

  private async pass(): Promise<void> {
    const blocked = new Set<string>();
    const waiting = async () => (await this.ledger.db.outbox()).filter((one) => !blocked.has(one.peer));
    for (let next = await waiting(); next.length > 0; next = await waiting()) {
      for (const one of next) {
        if (blocked.has(one.peer)) continue;
        const status = await this.send(uriOf(one.peer), CPIM, one.body);
        if (isForLater(status)) {
          blocked.add(one.peer);
          clearTimeout(this.retrying);
          this.retrying = setTimeout(() => void this.flush(), AGAIN);
          continue;
        }
        if (one.id !== undefined) {
          const [id, progress] = [one.id, status < 300 ? ('sent' as const) : ('failed' as const)];
          await this.ledger.change(() => this.ledger.update(one.peer, true, id, (old) => advance(old, progress, status)));
        }
        if (status >= 300) this.onRefused(one.peer, status);
        await this.ledger.db.sent(one.seq);
      }
    }
  }
}
