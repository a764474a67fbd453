// Which page, from what is behind the `#` of the address: `#/user/alice%40example.com`.

import { signal } from '@preact/signals';

export interface Route {
  page: string;
  /** What the page is about; empty for a list. */
  of: string;
}

export function read(hash: string): Route {
  const [page = '', of = ''] = hash.replace(/^#\/?/, '').split('/');
  try {
    return { page, of: decodeURIComponent(of) };
  } catch {
    return { page, of: '' };
  }
}

export function href(page: string, of?: string): string {
  return of === undefined ? `#/${page}` : `#/${page}/${encodeURIComponent(of)}`;
}

export const route = signal(read(location.hash));

addEventListener('hashchange', () => {
  route.value = read(location.hash);
});

export function go(page: string, of?: string): void {
  location.hash = href(page, of);
}
