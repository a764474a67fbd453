// What the client says, by language. A new language is one more table.

import { de } from './de';
import { en, type Key, type Table } from './en';

export type { Key } from './en';

const tables: Record<string, Table> = { en, de };
const wanted = typeof navigator === 'undefined' ? ['en'] : navigator.languages;
export const language = wanted.map((tag) => tag.split('-')[0]!).find((tag) => tag in tables) ?? 'en';
const table = tables[language] ?? en;

export function t(key: Key, values: Record<string, string | number> = {}): string {
  return table[key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ''));
}
