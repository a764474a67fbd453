// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { EventParser, type StreamEvent } from '../src/console/api';
import { bytes, span } from '../src/console/format';
import { readReport } from '../src/console/junit';
import { after, ladder, parties, short, words } from '../src/console/ladder';
import { points, rates, sums } from '../src/console/metrics';
import { usage } from '../src/console/pages/Files';
import { asText, verdicts } from '../src/console/pages/Message';
import { imbalance, steady } from '../src/console/pages/Overview';
import { matches } from '../src/console/pages/Trace';
import { withoutToken } from '../src/console/pages/User';
import { before } from '../src/console/pages/Users';
import { capture, fromBase64 } from '../src/console/pcap';
import { href, read } from '../src/console/route';
import { de } from '../src/console/strings.de';
import { reasonText, t } from '../src/console/strings';
import type { Explanation, Hop, StoredFile, TraceEvent } from '../src/console/types';

const hop = (from: string, to: string, more: Partial<Hop> = {}): Hop => ({ at_ms: 1000, from, to, protocol: 'sip', what: 'MESSAGE', failed: false, ...more });

describe('server-sent events', () => {
  it.each([
    ['in one piece', ['data: a\n\nevent: missed\ndata: 3 lines\n\n']],
    ['in any pieces', ['da', 'ta: a\n', '\neve', 'nt: missed\r\nda', 'ta: 3 lines\r\n\r', '\n']],
    ['among comments', [': alive\n\ndata: a\n\n: alive\nevent: missed\ndata: 3 lines\n\n']],
  ])('come %s', (_, pieces) => {
    const came: StreamEvent[] = [];
    const parser = new EventParser((event) => came.push(event));
    pieces.forEach((piece) => parser.push(piece));
    expect(came).toEqual([{ name: 'message', data: 'a' }, { name: 'missed', data: '3 lines' }]);
  });
});

describe('metrics', () => {
  it('are summed over their labels', () => {
    const text = '# TYPE a counter\na{x="1",y="{} 7"} 2\na{x="2"} 3\nb 1.5e2\nnan NaN\nbroken';
    expect([...sums(text)]).toEqual([['a', 5], ['a{x="1"}', 2], ['a{x="2"}', 3], ['b', 150]]);
  });
  it('become rates, over a restart too', () => {
    const readings = [[0, 10], [2000, 14], [3000, 14], [4000, 3]].map(([at, value]) => ({ at: at!, value: value! }));
    expect(rates(readings)).toEqual([2, 0, 3]);
    expect(rates([])).toEqual([]);
  });
  it('are drawn to the right edge, within the box', () => {
    expect(points([0, 2, 1], 30, 10, 4)).toBe('10.0,10.0 20.0,0.0 30.0,5.0');
    expect(points([0], 30, 10, 4)).toBe('30.0,10.0');
  });
});

describe('the ledger', () => {
  const counts = { accepted: 10, delivered: 6, stored: 2, expired: 1, refused: 1 };
  it('balances or says by how much it does not', () => {
    expect(imbalance(counts)).toBe(0);
    expect(imbalance({ ...counts, delivered: 5 })).toBe(1);
    expect(imbalance({ ...counts, refused: 3 })).toBe(-2);
  });
  it('is not alarmed by counters that were read one after the other', () => {
    expect([steady(0, 1), steady(1, 0), steady(1, 2), steady(2, 2)]).toEqual([0, 0, 0, 2]);
  });
});

describe('a ladder', () => {
  const hops = [hop('a@d', 'server'), hop('server', 'server', { what: 'stored on disk' }), hop('server', 'b@d x', { at_ms: 1500 })];
  it('has the server second', () => {
    expect(parties(hops)).toEqual(['a@d', 'server', 'b@d x']);
    expect(parties([hop('server', 'b@d'), hop('a@d', 'server')])).toEqual(['server', 'b@d', 'a@d']);
    expect(parties([hop('a@d', 'b@d'), hop('b@d', 'server')])).toEqual(['a@d', 'server', 'b@d']);
  });
  it('draws from party to party, downwards', () => {
    const { parties, rungs, width, height } = ladder(hops);
    expect(rungs.map(({ from, to }) => Math.sign(to - from))).toEqual([1, 0, 1]);
    expect(rungs.map(({ isNote }) => isNote)).toEqual([false, true, false]);
    expect(rungs[1]!.y).toBeGreaterThan(rungs[0]!.y);
    expect(parties.every(({ x }) => x < width) && rungs.every(({ y }) => y < height)).toBe(true);
    expect(ladder([]).rungs).toEqual([]);
  });
  it('says steps in few words', () => {
    expect(words(hop('a', 'b'))).toBe('MESSAGE');
    expect(words(hop('a', 'b', { status: 202, what: 'Accepted' }))).toBe('202 Accepted');
    expect([after(12), after(3400), after(125_000)]).toEqual(['+12 ms', '+3.4 s', '+2 min 5 s']);
    expect(short('urn:uuid:00000000-0000-0000-0000-000000000001', 12)).toBe('urn:u…000001');
    expect(short('short')).toBe('short');
  });
});

describe('an explanation', () => {
  const event = (name: string, recipient = 'b@d', status?: number) =>
    ({ at_ms: 1000, event: name, recipient, call_id: 'c', ...(status === undefined ? {} : { status }) });
  const of = (more: Partial<Explanation>): Explanation => ({ id: 'm', events: [], hops: [], waiting: [], ...more });
  it.each([
    ['has it', of({ events: [event('stored'), event('delivered')] }), ['good']],
    ['was refused', of({ events: [event('stored'), event('refused', 'b@d', 603)] }), ['bad']],
    ['was too late', of({ events: [event('stored'), event('expired')] }), ['bad']],
    ['waits', of({ events: [event('stored')], waiting: [{ recipient: 'b@d', reason: 'not-registered', expires: 9 }] }), ['warn']],
    ['has it on one device', of({ events: [event('delivered')], waiting: [{ recipient: 'b@d', device: 'x', reason: 'device-away', expires: 9 }] }), ['good', 'warn']],
    ['is under way', of({ events: [event('accepted')] }), ['calm']],
  ])('says who %s', (_, found, tones) => expect(verdicts(found).map(([tone]) => tone)).toEqual(tones));
  it('is text for a ticket, without times of this machine only', () => {
    const text = asText(of({ events: [event('delivered', 'b@d', 200)], hops: [hop('a@d', 'server', { flow: 'tcp:h:1' })] }));
    expect(text).toContain('+0 ms  a@d -> server  sip  MESSAGE  tcp:h:1');
    expect(text).toContain('1970-01-01T00:00:01.000Z  delivered  b@d    200');
  });
});

describe('a capture', () => {
  it('has a head and records with their times', () => {
    const file = capture([{ at_ms: 1_500_002, packet: fromBase64('AAEC') }]);
    const view = new DataView(file.buffer);
    expect([view.getUint32(0), view.getUint16(4), view.getUint16(6), view.getUint32(20)]).toEqual([0xa1b2c3d4, 2, 4, 252]);
    expect([view.getUint32(24), view.getUint32(28), view.getUint32(32), view.getUint32(36)]).toEqual([1500, 2000, 3, 3]);
    expect([...file.slice(40)]).toEqual([0, 1, 2]);
  });
});

describe('a trace', () => {
  const one = { start: 'MESSAGE sip:u1@d SIP/2.0', peer: 'tcp:h:1', text: 'Call-ID: AbC' } as TraceEvent;
  it.each([['message', true], ['abc tcp', true], ['abc udp', false]])('filtered by %s', (filter, is) => expect(matches(one, filter)).toBe(is));
});

describe('a report', () => {
  it('is counted by suite, with what failed and why', () => {
    const xml = `<testsuites><testsuite name="a"><testcase name="1"/><testcase name="2"><failure message="got 500">more</failure></testcase>
      </testsuite><testsuite name="b"><testcase name="3"><skipped message="no relay"/></testcase></testsuite></testsuites>`;
    const report = readReport(xml)!;
    expect(report.suites).toEqual([
      { name: 'a', passed: 1, failed: 1, skipped: 0 },
      { name: 'b', passed: 0, failed: 0, skipped: 1 },
    ]);
    expect(report.cases[1]).toEqual({ suite: 'a', name: '2', outcome: 'failed', why: 'got 500\nmore' });
    expect(readReport('nothing')).toBeUndefined();
  });
});

describe('small things', () => {
  it('routes lead back', () => {
    for (const of of ['a@d', 'a/b#c', 'ü']) expect(read(href('user', of))).toEqual({ page: 'user', of });
    expect(read('')).toEqual({ page: '', of: '' });
    expect(read('#/user/%')).toEqual({ page: 'user', of: '' });
  });
  it('a list after the key before a name begins with the name', () => {
    expect(before('bob') < 'bob').toBe(true);
    expect(before('bob') > 'boa@x').toBe(true);
    expect(before('')).toBe('');
  });
  it('contacts are shown without tokens', () => {
    expect(withoutToken('sip:a@h;pn-prid=secret;x')).toBe('sip:a@h;pn-prid=…;x');
  });
  it('usage is summed, the most first', () => {
    const file = (owner: string, bytes: number) => ({ owner, bytes }) as StoredFile;
    expect(usage([file('a', 1), file('b', 5), file('a', 2)])).toEqual([{ owner: 'b', files: 1, bytes: 5 }, { owner: 'a', files: 2, bytes: 3 }]);
  });
  it('sizes and spans are short', () => {
    expect([bytes(0), bytes(999), bytes(1500), bytes(2_000_000)]).toEqual(['0 B', '999 B', '1.5 kB', '2 MB']);
    expect([span(0), span(59), span(3700), span(90_000), span(400 * 86_400)]).toEqual(['0 s', '59 s', '1 h 1 min', '1 d 1 h', '1 y 35 d']);
  });
  it('every reason has words', () => {
    for (const reason of ['not-registered', 'asleep', 'being-woken', 'device-away', 'not-taken', 'in-delivery']) {
      expect(reasonText(reason)).not.toBe(reason);
    }
    expect(reasonText('other')).toBe('other');
  });
  it('German has the same places for values', () => {
    const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([place]) => place).sort();
    for (const key of Object.keys(de) as (keyof typeof de)[]) {
      const values = Object.fromEntries(places(de[key]).map((place) => [place.slice(1, -1), place]));
      expect(places(t(key, values)), key).toEqual(places(de[key]));
    }
  });
});
