// What a page shows of the server: fetched, fetched again, and what is known when it does not answer.

import { useCallback, useEffect, useState } from 'preact/hooks';
import { Fault, type List, get } from './api';

export interface Data<T> {
  value?: T;
  fault?: Fault;
  /** When `value` was fetched, in milliseconds since the epoch. */
  at: number;
  reload: () => Promise<void>;
}

export function asFault(error: unknown): Fault {
  return error instanceof Fault ? error : new Fault(0, String(error));
}

/** Fetches `path`, and again every `every` milliseconds while the tab is seen; 0: once. */
export function useData<T>(path: string, every = 0, read: (path: string) => Promise<T> = get): Data<T> {
  const [state, setState] = useState<{ path: string; value?: T; fault?: Fault; at: number }>({ path, at: 0 });
  const load = useCallback(async () => {
    try {
      const value = await read(path);
      setState({ path, value, at: Date.now() });
    } catch (error) {
      // What is known stays, but for what is known to be gone.
      setState((old) => {
        const fault = asFault(error);
        return fault.status === 0 && old.path === path ? { ...old, fault } : { path, fault, at: 0 };
      });
    }
  }, [path]);
  useEffect(() => {
    void load();
    if (every === 0) return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible') void load();
    }, every);
    return () => clearInterval(timer);
  }, [load, every]);
  return state.path === path ? { ...state, reload: load } : { at: 0, reload: load };
}

export interface Pages<T> extends Omit<Data<T[]>, 'value'> {
  items?: T[];
  /** Fetches one more page; absent on the last. */
  more?: () => Promise<void>;
}

/** A list by pages. `reload` begins at the first; so it is every `every` milliseconds, until more pages are asked for. */
export function usePages<T>(path: string, limit = 100, every = 0): Pages<T> {
  const [rest, setRest] = useState<{ of?: List<T>; items: T[]; next?: string }>({ items: [] });
  const first = useData<List<T>>(withQuery(path, `limit=${limit}`), rest.items.length > 0 ? 0 : every);
  const [fault, setFault] = useState<Fault>();
  const isOfThis = rest.of !== undefined && rest.of === first.value;
  const next = isOfThis ? rest.next : first.value?.next;
  const more = async () => {
    try {
      const page = await get<List<T>>(withQuery(path, `limit=${limit}&after=${encodeURIComponent(next!)}`));
      const items = [...(isOfThis ? rest.items : []), ...page.items];
      setRest({ of: first.value!, items, ...(page.next === undefined ? {} : { next: page.next }) });
      setFault(undefined);
    } catch (error) {
      setFault(asFault(error));
    }
  };
  const found: Pages<T> = { at: first.at, reload: first.reload };
  if (first.value) found.items = [...first.value.items, ...(isOfThis ? rest.items : [])];
  const wrong = fault ?? first.fault;
  if (wrong) found.fault = wrong;
  if (next !== undefined) found.more = more;
  return found;
}

const withQuery = (path: string, query: string): string => `${path}${path.includes('?') ? '&' : '?'}${query}`;
