// Where the lines and words of a ladder diagram stand. Nothing here draws.

import type { Hop } from './types';

export interface Party {
  name: string;
  x: number;
}

export interface Rung {
  hop: Hop;
  y: number;
  from: number;
  to: number;
  /** Something that happened at one party, not on the way between two. */
  isNote: boolean;
}

export interface Ladder {
  parties: Party[];
  rungs: Rung[];
  width: number;
  height: number;
}

/** Space for one party, for one step, above the first step, and at the left for the times. */
const COLUMN = 220;
const ROW = 44;
const TOP = 56;
const LEFT = 76;

/** The parties in the order in which they come up: the sender to the left of the server, all others to its right. */
export function parties(hops: Hop[]): string[] {
  const found: string[] = [];
  for (const { from, to } of hops) for (const name of [from, to]) if (!found.includes(name)) found.push(name);
  const server = found.indexOf('server');
  if (server > 1) found.splice(1, 0, ...found.splice(server, 1));
  return found;
}

export function ladder(hops: Hop[]): Ladder {
  const names = parties(hops);
  const x = (name: string) => LEFT + COLUMN * (names.indexOf(name) + 0.5);
  const rungs = hops.map((hop, index) => ({
    hop,
    y: TOP + ROW * (index + 0.8),
    from: x(hop.from),
    to: x(hop.to),
    isNote: hop.from === hop.to,
  }));
  return {
    parties: names.map((name) => ({ name, x: x(name) })),
    rungs,
    width: LEFT + COLUMN * Math.max(names.length, 1),
    height: TOP + ROW * (hops.length + 0.6),
  };
}

/** A name that fits a column; the start and the end tell devices apart. */
export function short(name: string, most = 26): string {
  return name.length <= most ? name : `${name.slice(0, Math.ceil(most / 2) - 1)}…${name.slice(name.length - Math.floor(most / 2))}`;
}

/** `+12 ms`, `+3.4 s`: since the first step. */
export function after(ms: number): string {
  if (ms < 1000) return `+${ms} ms`;
  return ms < 60_000 ? `+${(ms / 1000).toFixed(1)} s` : `+${Math.floor(ms / 60_000)} min ${Math.floor(ms / 1000) % 60} s`;
}

/** What a step says: `MESSAGE`, `202 stored`. */
export function words(hop: Hop): string {
  return hop.status === undefined || hop.what.startsWith(String(hop.status)) ? hop.what : `${hop.status} ${hop.what}`.trim();
}
