import { describe as group, expect, test } from 'vitest';
import { acceptsOf, describe, FrameError, parse, parseUri, pathOf, sameUri, write } from '../src';

const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array | undefined) => new TextDecoder().decode(data);

const SEND =
  'MSRP a786hjs2 SEND\r\nTo-Path: msrp://relay.example:2855/r;ws\r\nFrom-Path: msrp://a.invalid:2855/s;ws\r\n' +
  'Message-ID: 87652491\r\nByte-Range: 1-25/25\r\nContent-Type: text/plain\r\n\r\nHey Bob, are you there?\r\n\r\n-------a786hjs2$\r\n';

group('frames', () => {
  test('a request with a body, and back', () => {
    const frame = parse(bytes(SEND));
    expect([frame.id, frame.method, frame.flag, text(frame.body)]).toEqual(['a786hjs2', 'SEND', '$', 'Hey Bob, are you there?\r\n']);
    expect(frame.headers[4]).toEqual(['Content-Type', 'text/plain']);
    expect(text(write(frame))).toBe(SEND);
  });

  test('a response without a comment, and one with', () => {
    const short = parse(bytes('MSRP d93kswow 200\r\nTo-Path: a\r\nFrom-Path: b\r\n-------d93kswow$\r\n'));
    expect([short.status, short.comment, short.body]).toEqual([200, '', undefined]);
    const long = 'MSRP d93kswow 481 No Such Session\r\nTo-Path: a\r\nFrom-Path: b\r\n-------d93kswow$\r\n';
    expect(parse(bytes(long)).comment).toBe('No Such Session');
    expect(text(write(parse(bytes(long))))).toBe(long);
  });

  test.each([
    ['an empty body', 'MSRP aaaa SEND\r\nTo-Path: a\r\nContent-Type: a/b\r\n\r\n\r\n-------aaaa$\r\n', ''],
    ['a body that looks like an end-line', 'MSRP aaaa SEND\r\nTo-Path: a\r\nContent-Type: a/b\r\n\r\n-------bbbb$\r\n-------aaaa+\r\n', '-------bbbb$'],
  ])('%s', (_, whole, body) => {
    expect(text(parse(bytes(whole)).body)).toBe(body);
    expect(text(write(parse(bytes(whole))))).toBe(whole);
  });

  test.each([
    ['nothing', ''],
    ['another protocol', 'HTTP/1.1 200 OK\r\n\r\n'],
    ['no end-line', 'MSRP aaaa SEND\r\nTo-Path: a\r\n\r\nbody'],
    ['the end-line of another', 'MSRP aaaa SEND\r\nTo-Path: a\r\n-------bbbb$\r\n'],
    ['a flag that is none', 'MSRP aaaa SEND\r\nTo-Path: a\r\n-------aaaa!\r\n'],
    ['no header', 'MSRP aaaa SEND\r\nTo-Path\r\n-------aaaa$\r\n'],
    ['an id that is too short', 'MSRP aa SEND\r\nTo-Path: a\r\n-------aa$\r\n'],
    ['a body without its end', 'MSRP aaaa SEND\r\nTo-Path: a\r\n\r\nbody-------aaaa$\r\n'],
    ['two frames', SEND + SEND.replaceAll('a786hjs2', 'b786hjs2').slice(0, -3)],
  ])('%s is no frame', (_, whole) => {
    expect(() => parse(bytes(whole))).toThrow(FrameError);
  });

  test('damaged bytes are a frame or refused, and nothing else', () => {
    const whole = bytes(SEND);
    for (let at = 0; at < whole.length; at += 1) {
      const damaged = whole.slice();
      damaged[at]! ^= 0x15;
      for (const one of [damaged, whole.slice(0, at)]) {
        try {
          parse(one);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }
    }
  });
});

test.each([
  ['msrp://a.example:2855/s;tcp', 'MSRP://user@A.example:2855/s;TCP', true],
  ['msrp://a.example:2855/s;tcp', 'msrps://a.example:2855/s;tcp', false],
  ['msrp://a.example:2855/s;tcp', 'msrp://a.example:2855/S;tcp', false],
  ['msrp://a.example/s;ws', 'msrp://a.example:2855/s;ws', false],
  ['msrps://[2001:db8::1]:2855/s;ws', 'msrps://[2001:DB8::1]:2855/s;ws', true],
  ['http://a', 'http://a', false],
])('%s and %s', (one, other, same) => {
  expect(sameUri(one, other)).toBe(same);
});

test('parts of a URI', () => {
  expect(parseUri('msrps://alice@example.com;ws')).toEqual({
    secure: true, user: 'alice', host: 'example.com', port: undefined, session: '', transport: 'ws',
  });
});

test('what a description says', () => {
  const path = ['msrps://relay.example:443/r;ws', 'msrps://x.invalid:2855/s;ws'];
  const sdp = `v=0\r\nm=audio 9 RTP/AVP 0\r\n${describe({ path, accepts: ['message/cpim', '*'], secure: true })}`;
  expect([pathOf(sdp), acceptsOf(sdp)]).toEqual([path, ['message/cpim', '*']]);
  expect(pathOf(sdp.replace('m=message 9', 'm=message 0'))).toEqual([]);
});
