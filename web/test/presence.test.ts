// @vitest-environment happy-dom
import 'fake-indexeddb/auto';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { Database } from '../src/engine/db';
import type { Answer, Line } from '../src/engine/line';
import { Presence } from '../src/engine/presence';
import { writePresence } from '../src/wire/pidf';

const ME = 'me@d';
let number = 0;
let db: Database;
let asked: { method: string; headers: string[] }[];
let statuses: number[];
let news: (type: string, body: string) => void;
let presence: Presence;

/** A line on which nothing is but what the test says. */
function line(): Line {
  const answer = (status: number): Answer => ({ status, header: () => 'tag', headers: () => ['<sip:x>;audio;+g.3gpp.iari-ref="rcs.fthttp"'] });
  const fake: Partial<Line> = {
    request: async (method, _to, headers) => {
      asked.push({ method, headers });
      return answer(statuses.shift() ?? 200);
    },
    watch: (_to, _event, _accept, onNews) => {
      news = onNews;
      return { stop: () => undefined, refresh: () => undefined };
    },
  };
  return fake as Line;
}

beforeEach(async () => {
  number += 1;
  [asked, statuses] = [[], []];
  db = await Database.open(`presence${number}`);
  presence = new Presence(ME, 'instance', line(), db);
});

const told = (open: boolean) =>
  news('application/pidf+xml', open ? writePresence('sip:bob@d', 't', false, 'hi', new Date(5000)) : '<presence entity="sip:bob@d"><tuple id="t"><status><basic>closed</basic></status></tuple></presence>');

describe('presence', () => {
  it('is published anew where the server has forgotten it', async () => {
    presence.arrived();
    await vi.waitFor(() => expect(asked).toHaveLength(1));
    statuses = [412, 200];
    await presence.setNote('here');
    const tags = asked.map(({ headers }) => headers.some((one) => one.startsWith('SIP-If-Match')));
    expect(tags).toEqual([false, true, false]);
    presence.left();
  });

  it('remembers when somebody was there', async () => {
    presence.want(['bob@d']);
    presence.arrived();
    told(true);
    expect(presence.people.value.get('bob@d')).toMatchObject({ open: true, note: 'hi' });
    const before = Date.now();
    told(false);
    const { open, seen } = presence.people.value.get('bob@d')!;
    expect([open, seen! >= before]).toEqual([false, true]);
    presence.left();
    await vi.waitFor(async () => expect(await db.value('seen')).toHaveLength(1));
    const next = new Presence(ME, 'instance', line(), db);
    await next.remember();
    expect(next.people.value.get('bob@d')).toMatchObject({ open: false, seen });
  });

  it('knows nobody to be there without a connection', () => {
    presence.want(['bob@d']);
    presence.arrived();
    told(true);
    presence.left();
    expect(presence.people.value.get('bob@d')!.open).toBe(false);
  });

  it('asks what somebody can do', async () => {
    expect(await presence.abilities('bob@d')).toEqual({ there: true, voice: true, video: false, files: true, places: false });
    statuses = [480];
    expect((await presence.abilities('bob@d')).voice).toBe(false);
  });
});
