// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import { readCard, writeCard } from '../src/wire/card';
import { authorize, readChallenges } from '../src/wire/digest';
import { asVoice, ownPath, readFile, readResume } from '../src/wire/file';
import { readList, writeList } from '../src/wire/lists';
import { readParts, writeParts } from '../src/wire/multipart';
import { readNotified, readPresence, writePresence } from '../src/wire/pidf';
import { coordinates, placeTyped, readPlace, writePlace } from '../src/wire/place';

const FILE =
  '<?xml version="1.0" encoding="UTF-8"?>\n<file xmlns="urn:gsma:params:xml:ns:rcs:rcs:fthttp">' +
  '<file-info type="thumbnail"><file-size>9</file-size><content-type>image/jpeg</content-type>' +
  '<data url="https://h/ft/t/1" until="2036-01-01T00:00:00Z"/></file-info>' +
  '<file-info type="file"><file-size>4046</file-size><file-name>beach &amp; sun.jpg</file-name><content-type>image/jpeg</content-type>' +
  '<data url = "https://h/ft/d/1?a=1&amp;b=2" until = "2036-01-01T00:00:00Z"/></file-info></file>';

describe('files', () => {
  it('reads what the server wrote', () => {
    expect(readFile(FILE)).toEqual({
      url: 'https://h/ft/d/1?a=1&b=2', name: 'beach & sun.jpg', size: 4046, type: 'image/jpeg',
      until: Date.parse('2036-01-01T00:00:00Z'), thumbnail: 'https://h/ft/t/1', voice: false,
    });
    for (const junk of ['', '<file/>', '<file><file-info type="file"/></file>', 'x<', '<a>']) expect(readFile(junk)).toBeUndefined();
  });

  it('says of a voice how long it is, in seconds or, as some do, in milliseconds', () => {
    const voice = readFile(asVoice(FILE, 3.7));
    expect([voice?.voice, voice?.seconds]).toEqual([true, 4]);
    expect(readFile(asVoice(asVoice(FILE, 1), 4046))?.seconds).toBe(1);
    expect(asVoice('<file/>', 1)).toBe('<file/>');
  });

  it('goes on behind what is there', () => {
    const resume = (range: string) => readResume(`<file-resume-info>${range}<data url="http://h/ft/u/x"/></file-resume-info>`);
    expect(resume('<file-range start="0" end="99"/>')).toEqual({ url: 'http://h/ft/u/x', next: 100 });
    expect(resume('')).toEqual({ url: 'http://h/ft/u/x', next: 0 });
    expect(readResume('<x/>')).toBeUndefined();
  });

  it.each([
    ['https://elsewhere/ft/d/1?x', '/ft/d/1?x'],
    ['/ft/t/1', '/ft/t/1'],
    ['https://h/other/1', undefined],
    ['javascript:alert(1)//ft/', undefined],
    ['', undefined],
  ])('fetches %s from %s', (url, path) => expect(ownPath(url)).toBe(path));
});

describe('places', () => {
  it('writes what it reads', () => {
    const place = { latitude: -33.85678, longitude: 151.21529, radius: 12, label: 'Opera & <bay>' };
    expect(readPlace(writePlace(place, 'p1', 'sip:me@d', new Date(0)))).toEqual(place);
  });

  it('reads those of others, with a radius and without', () => {
    const point = '<rcsenvelope><rcspushlocation label=""><g:Point xmlns:g="x"><g:pos> 48.8583  2.2945 </g:pos></g:Point></rcspushlocation></rcsenvelope>';
    expect(readPlace(point)).toEqual({ latitude: 48.8583, longitude: 2.2945, radius: 0, label: '' });
    for (const pos of ['91 0', '0 181', 'a b', '1', '']) expect(readPlace(`<a><pos>${pos}</pos></a>`)).toBeUndefined();
  });

  it.each([
    ['48.8583, 2.2945', [48.8583, 2.2945]],
    ['geo:-1,-2;u=10', [-1, -2]],
    ['1;2', [1, 2]],
    ['95, 2', undefined],
    ['Paris', undefined],
  ])('typed %s is %s', (text, found) => {
    const place = placeTyped(text);
    expect(place && [place.latitude, place.longitude]).toEqual(found);
  });

  it('says on which half of the world', () => {
    expect(coordinates({ latitude: -1.5, longitude: 2 })).toBe('1.50000° S, 2.00000° E');
  });
});

describe('cards', () => {
  it('writes what it reads', () => {
    const card = { name: 'Eva; Škoda, "the\\first"', organization: 'A, B', phones: ['+1555'], emails: ['e@x'], addresses: ['sip:eva@d'] };
    expect(readCard(writeCard(card))).toEqual(card);
  });

  it('reads old and new ones', () => {
    const old = 'BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C5=A0koda;Eva;;;\r\nTEL;CELL:+1555\r\nEND:VCARD\r\n';
    expect(readCard(old)).toMatchObject({ name: 'Eva Škoda', phones: ['+1555'] });
    const fresh = 'BEGIN:VCARD\nVERSION:4.0\nFN:A very long\n  name\nitem1.TEL;VALUE=uri;TYPE="cell,home":tel:+1556\nIMPP:xmpp:x@y\nEND:VCARD\n';
    expect(readCard(fresh)).toMatchObject({ name: 'A very long name', phones: ['+1556'], addresses: [] });
    expect(readCard('hello')).toBeUndefined();
  });
});

describe('presence', () => {
  it('writes what it reads', () => {
    const at = new Date('2026-01-01T00:00:00Z');
    const read = readPresence(writePresence('sip:me@d', 'w1', true, 'in <town>', at));
    expect(read).toEqual({ entity: 'sip:me@d', open: true, away: true, note: 'in <town>', at: at.getTime() });
    expect(readPresence(writePresence('sip:me@d', 'w1', false, '', at))).toMatchObject({ away: false, note: '' });
    expect(readPresence('<presence/>')).toBeUndefined();
  });

  it('finds the documents of a list', () => {
    const one = (entity: string, basic: string) => `<presence entity="${entity}"><tuple id="t"><status><basic>${basic}</basic></status></tuple></presence>`;
    const body = writeParts('b1', [
      { headers: ['Content-Type: application/rlmi+xml'], body: '<list/>' },
      { headers: ['Content-Type: application/pidf+xml;charset="UTF-8"', 'Content-ID: <x>'], body: one('sip:a@d', 'open') },
      { headers: ['Content-Type: application/pidf+xml'], body: one('sip:b@d', 'closed') },
    ]);
    const found = readNotified('multipart/related;type="application/rlmi+xml";boundary="b1"', body);
    expect(found.map(({ entity, open }) => [entity, open])).toEqual([['sip:a@d', true], ['sip:b@d', false]]);
    expect(readNotified('application/pidf+xml', one('sip:a@d', 'open'))).toHaveLength(1);
    expect(readNotified('text/plain', 'x')).toEqual([]);
  });
});

describe('parts and lists', () => {
  it('reads what is written', () => {
    const parts = [{ headers: ['Content-Type: text/plain'], body: 'a\r\n--not' }, { headers: ['X: y'], body: '' }];
    expect(readParts('multipart/mixed; boundary=b', writeParts('b', parts)).map(({ type, body }) => [type, body])).toEqual([
      ['text/plain', 'a\r\n--not'],
      ['text/plain', ''],
    ]);
    expect(readParts('text/plain', 'x')).toEqual([]);
    expect(readParts('multipart/mixed;boundary=b', 'junk')).toEqual([]);
    expect(readList(writeList(['sip:a@d', 'sip:o&m@d']))).toEqual(['sip:a@d', 'sip:o&m@d']);
  });
});

describe('digest', () => {
  // RFC 7616 §3.9.1.
  const challenge =
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", ' +
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, ' +
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';

  it.each([
    ['SHA-256', '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1'],
    ['MD5', '8ca523f5e9506fed4657c9700eebdbec'],
  ])('answers as the example of the RFC, with %s', async (algorithm, response) => {
    const found = readChallenges(challenge).find((one) => one.algorithm === algorithm)!;
    const what = { method: 'GET', uri: '/dir/index.html', count: 1, cnonce: 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ' };
    const answer = await authorize(found, { user: 'Mufasa', password: 'Circle of Life' }, what);
    expect(answer).toContain(`response="${response}"`);
    expect(answer).toContain('nc=00000001');
  });

  it('takes the best it knows', () => {
    expect(readChallenges(challenge).map(({ algorithm }) => algorithm)).toEqual(['SHA-256', 'MD5']);
    expect(readChallenges('Basic realm="x"')).toEqual([]);
    expect(readChallenges('Digest realm="x", nonce="n", algorithm=SHA-512-256')).toEqual([]);
  });
});
