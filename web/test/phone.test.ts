// @vitest-environment happy-dom
import { expect, test } from 'vitest';
import { plainText } from '../src/engine/phone';
import { type Envelope, writeEnvelope } from '../src/wire/cpim';

const base: Envelope = {
  from: '<sip:a@localhost>', to: '<sip:b@localhost>', at: new Date(0), id: 'm1', wants: { delivery: true, display: true },
  contentType: 'text/plain;charset=UTF-8', body: 'Zürich',
};

test.each([
  ['a text for who takes texts', base, 'message/cpim', 'text/plain', 'Zürich'],
  ['a reply', { ...base, relation: { kind: 'reply', id: 'm0' } }, 'message/cpim', 'text/html, text/plain;charset=utf-8', 'Zürich'],
  ['a reaction', { ...base, disposition: 'Reaction', relation: { kind: 'reaction', id: 'm0' } }, 'message/cpim', 'text/plain', undefined],
  ['a receipt', { ...base, contentType: 'message/imdn+xml', body: '<imdn/>' }, 'message/cpim', 'text/plain', undefined],
  ['who takes envelopes and refused this one', base, 'message/cpim', 'message/cpim, text/plain', undefined],
  ['who takes no texts', base, 'message/cpim', 'application/sdp', undefined],
  ['who does not say', base, 'message/cpim', '', undefined],
  ['what is no envelope', base, 'text/plain', 'text/plain', undefined],
] as [string, Envelope, string, string, string | undefined][])('%s', (_, envelope, contentType, accept, expected) => {
  expect(plainText(contentType, writeEnvelope(envelope), accept)).toBe(expected);
});
