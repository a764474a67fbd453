// @vitest-environment happy-dom
import { describe, expect, it } from 'vitest';
import {
  type Envelope, readComposing, readEnvelope, readNotification, writeComposing, writeEnvelope, writeNotification,
} from '../src/wire/cpim';

const envelope: Envelope = {
  from: '<sip:a@d>', to: '<sip:b@d>', at: new Date('2026-01-02T03:04:05.678Z'), id: 'm1',
  wants: { delivery: true, display: true }, contentType: 'text/plain;charset=UTF-8', body: 'Grüße\r\n\r\n🗼',
};

describe('envelopes', () => {
  it('read what they write', () => {
    for (const kind of ['reply', 'reaction', 'edit', 'recall'] as const) {
      const disposition = kind === 'reaction' ? { disposition: 'Reaction' } : {};
      const written = { ...envelope, relation: { kind, id: 'm0' }, ...disposition };
      expect(readEnvelope(writeEnvelope(written))).toEqual(written);
    }
    const plain = { ...envelope, wants: { delivery: false, display: false } };
    expect(readEnvelope(writeEnvelope(plain))).toEqual(plain);
  });

  it('go by namespaces, not by prefixes', () => {
    const text =
      'From: X <sip:x@d>\nTo: <sip:y@d>\nNS: q <urn:ietf:params:imdn>\nNS: imdn <urn:other>\nimdn.Message-ID: wrong\n' +
      'q.Message-ID: right\nq.Disposition-Notification: Display\n\nContent-type: text/plain\n' +
      'Content-Transfer-Encoding: base64\n\naMOk\n';
    const read = readEnvelope(text)!;
    expect([read.id, read.wants, read.body]).toEqual(['right', { delivery: false, display: true }, 'hä']);
  });

  it('are none without sender, recipient and type', () => {
    for (const text of ['', 'From: <a>\r\n\r\n', 'From: <a>\r\nTo: <b>\r\n\r\nno header\r\n\r\nx']) {
      expect(readEnvelope(text)).toBeUndefined();
    }
  });
});

describe('notifications', () => {
  it('read what they write, whatever is in the id', () => {
    for (const state of ['delivered', 'displayed'] as const) {
      const xml = writeNotification('a<&>b', new Date(0), state, 'sip:b@d');
      expect(readNotification('message/imdn+xml; charset=x', xml)).toEqual({ id: 'a<&>b', state });
    }
  });

  it('tell failures, and nothing of what they do not know', () => {
    const xml = (kind: string, status: string) =>
      `<imdn xmlns="urn:ietf:params:xml:ns:imdn"><message-id>m</message-id><${kind}><status><${status}/></status></${kind}></imdn>`;
    expect(readNotification('message/imdn+xml', xml('delivery-notification', 'failed'))?.state).toBe('failed');
    expect(readNotification('message/imdn+xml', xml('processing-notification', 'processed'))).toBeUndefined();
    expect(readNotification('message/imdn+xml', '<imdn')).toBeUndefined();
    expect(readNotification('text/plain', xml('delivery-notification', 'failed'))).toBeUndefined();
  });

  it('say who types', () => {
    const type = 'application/im-iscomposing+xml';
    expect(readComposing(type, writeComposing(true, 60))).toEqual({ active: true, refresh: 60 });
    expect(readComposing(type, writeComposing(false, 0))?.active).toBe(false);
    expect(readComposing('text/plain', writeComposing(true, 60))).toBeUndefined();
  });
});
