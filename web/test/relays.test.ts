import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Relays } from '../src/engine/relays';

beforeEach(() => void vi.useFakeTimers({ now: 1_700_000_000_000 }));
afterEach(() => void vi.useRealTimers());

function server(...answers: (object | number | 'lost')[]) {
  const asked: string[] = [];
  const request = async (method: string, path: string) => {
    asked.push(`${method} ${path}`);
    const answer = answers.shift();
    if (answer === 'lost' || answer === undefined) throw new TypeError('no network');
    return typeof answer === 'number' ? new Response('{}', { status: answer }) : new Response(JSON.stringify(answer));
  };
  return { asked, request };
}

const granted = (name: string) => ({ username: name, password: 'secret', ttl: 3600, uris: ['turn:localhost:3478?transport=tcp'] });

test('credentials are fetched once, and again after half their time', async () => {
  const { asked, request } = server(granted('one'), granted('two'));
  const relays = new Relays('user0@localhost', { request });
  const { configuration } = relays;
  await Promise.all([relays.ready(), relays.ready()]);
  expect(asked).toEqual(['GET /oneapi/turn/v1/user0%40localhost']);
  const servers = [{ urls: ['turn:localhost:3478?transport=tcp'], username: 'one', credential: 'secret' }];
  expect(configuration.iceServers).toEqual(servers);
  vi.advanceTimersByTime(1_799_000);
  await relays.ready();
  expect(asked).toHaveLength(1);
  vi.advanceTimersByTime(2000);
  await relays.ready();
  expect(configuration.iceServers?.[0]?.username).toBe('two');
});

test('without a relay nobody is asked again, without a network one is', async () => {
  const none = server(404);
  const relays = new Relays('user0@localhost', none);
  await relays.ready();
  await relays.ready();
  expect([none.asked.length, relays.configuration.iceServers]).toEqual([1, []]);

  const lost = server('lost', 503, granted('one'));
  const later = new Relays('user0@localhost', lost);
  for (const count of [0, 0, 1]) {
    await later.ready();
    expect(later.configuration.iceServers).toHaveLength(count);
  }
  later.forget();
  await later.ready();
  expect(lost.asked).toHaveLength(4);
});
