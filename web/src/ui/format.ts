// Times, and links in texts.

import { language, t } from './strings';

/** As the user's region writes times, in the language of the client. */
const locale = navigator.languages.find((tag) => tag.split('-')[0] === language) ?? language;

const clock = new Intl.DateTimeFormat(locale, { hour: '2-digit', minute: '2-digit' });
const day = new Intl.DateTimeFormat(locale, { weekday: 'long', day: 'numeric', month: 'long' });
const short = new Intl.DateTimeFormat(locale, { day: 'numeric', month: 'numeric' });

export function timeOfDay(at: number): string {
  return clock.format(at);
}

export function isSameDay(one: number, other: number): boolean {
  return new Date(one).toDateString() === new Date(other).toDateString();
}

export function dayName(at: number, now: number): string {
  if (isSameDay(at, now)) return t('today');
  if (isSameDay(at, now - 24 * 3600 * 1000)) return t('yesterday');
  return day.format(at);
}

export function when(at: number, now: number): string {
  return isSameDay(at, now) ? clock.format(at) : short.format(at);
}

export interface Piece {
  text: string;
  href?: string;
}

/** Cuts a text at its web addresses. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(/\bhttps?:\/\/[^\s<>"]+/g)) {
    // What ends the sentence does not belong to the address.
    const href = match[0].replace(/[.,;:!?)\]}'’]+$/, '');
    if (match.index > at) found.push({ text: text.slice(at, match.index) });
    found.push({ text: href, href });
    at = match.index + href.length;
  }
  if (at < text.length) found.push({ text: text.slice(at) });
  return found;
}

/** A hue for a user, the same everywhere. */
export function hueOf(user: string): number {
  let hash = 0;
  for (const char of user) hash = (hash * 31 + char.codePointAt(0)!) % 360;
  return hash;
}

/** One or two letters for a user without a picture. */
export function initials(name: string): string {
  const words = name.replace(/^[+"]/, '').split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0]![0], words[words.length - 1]![0]] : [...(words[0] ?? '?')].slice(0, 2);
  return letters.join('').toUpperCase();
}

/** `1:05`, `1:00:05`. */
export function duration(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, at) => (at === 0 ? `${part}` : `${part}`.padStart(2, '0'))).join(':');
}

const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const;

/** `12 kB`, `3.4 MB`. */
export function bytes(size: number): string {
  const at = size < 1000 ? 0 : size < 1_000_000 ? 1 : size < 1_000_000_000 ? 2 : 3;
  const value = size / 1000 ** at;
  const digits = at > 0 && value < 10 ? 1 : 0;
  return new Intl.NumberFormat(locale, { style: 'unit', unit: units[at]!, maximumFractionDigits: digits }).format(value);
}

/** `Ada, Bob and Carol` in the user's language. */
export function names(all: readonly string[]): string {
  return new Intl.ListFormat(locale, { type: 'conjunction' }).format(all);
}
