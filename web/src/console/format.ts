// Times, sizes and spans as operators read them.

import { language, t } from './strings';

const locale = (typeof navigator === 'undefined' ? ['en'] : navigator.languages).find(
  (tag) => tag.split('-')[0] === language,
) ?? language;
const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const moment = new Intl.DateTimeFormat(locale, { dateStyle: 'medium', timeStyle: 'medium' });
const day = new Intl.DateTimeFormat(locale, { dateStyle: 'medium' });

export const count = (value: number): string => number.format(value);

/** Milliseconds since the epoch, in the zone of this machine. */
export const at = (ms: number): string => moment.format(ms);
export const date = (ms: number): string => day.format(ms);

/** `14:03:07.123`: to the millisecond, for what follows close upon another. */
export function clock(ms: number): string {
  const time = new Date(ms);
  const two = (part: number) => String(part).padStart(2, '0');
  const millis = String(time.getMilliseconds()).padStart(3, '0');
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${millis}`;
}

export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = value < 1000 ? 0 : Math.min(Math.floor(Math.log10(value) / 3), units.length - 1);
  return `${number.format(value / 1000 ** power)} ${units[power]}`;
}

/** The two largest parts of a time: `3 d 4 h`, `12 s`; a year has 365 days. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const parts: [number, string][] = [
    [Math.floor(whole / 31_536_000), t('unitYear')],
    [Math.floor(whole / 86400) % 365, t('unitDay')],
    [Math.floor(whole / 3600) % 24, t('unitHour')],
    [Math.floor(whole / 60) % 60, t('unitMinute')],
    [whole % 60, t('unitSecond')],
  ];
  const first = parts.findIndex(([part]) => part > 0);
  if (first < 0) return `0 ${t('unitSecond')}`;
  const shown = parts.slice(first, first + 2).filter(([part]) => part > 0);
  return shown.map(([part, unit]) => `${part} ${unit}`).join(' ');
}

/** How long until, or since. */
export function until(seconds: number, now = Date.now()): string {
  const left = seconds - now / 1000;
  return left >= 0 ? t('in', { span: span(left) }) : t('ago', { span: span(-left) });
}

export const since = (ms: number, now = Date.now()): string => t('ago', { span: span((now - ms) / 1000) });
