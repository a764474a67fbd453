// The relay of the server (TURN), for browsers that cannot be reached, or may send nothing but by TCP: who signs in gets credentials
// for a while.

import type { Http } from './http';

/** The part of their time after which new ones are fetched. */
const FRESH = 0.5;

interface Granted {
  username: string;
  password: string;
  ttl: number;
  uris: string[];
}

export class Relays {
  /** Of all connections; the same object for as long as this lives. */
  readonly configuration: RTCConfiguration = { iceServers: [], bundlePolicy: 'max-bundle' };
  /** When they are to be fetched again, in milliseconds of the clock. */
  private until = 0;
  private fetching: Promise<void> | undefined;

  constructor(
    private readonly user: string,
    private readonly http: Pick<Http, 'request'>,
  ) {}

  /** Has credentials that count, where the server has a relay and can be asked; waits for that no longer than it takes. */
  ready(): Promise<void> {
    if (Date.now() < this.until) return Promise.resolve();
    this.fetching ??= this.load()
      .catch(() => undefined)
      .finally(() => (this.fetching = undefined));
    return this.fetching;
  }

  /** What was given may not count any more. */
  forget(): void {
    this.until = 0;
  }

  private async load(): Promise<void> {
    const response = await this.http.request('GET', `/oneapi/turn/v1/${encodeURIComponent(this.user)}`);
    const granted = response.ok ? ((await response.json()) as Granted) : undefined;
    // A server without a relay stays so until we sign in again.
    this.until = granted ? Date.now() + granted.ttl * 1000 * FRESH : response.status === 404 ? Infinity : 0;
    this.configuration.iceServers = granted
      ? [{ urls: granted.uris, username: granted.username, credential: granted.password }]
      : [];
  }
}
