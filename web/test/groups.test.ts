// @vitest-environment happy-dom
import 'fake-indexeddb/auto';
import { beforeEach, describe, expect, it } from 'vitest';
import { Chat } from '../src/engine/chat';
import { Database } from '../src/engine/db';
import { GROUP, type Message, UPLOAD, kindOf, reach } from '../src/engine/model';
import { type Envelope, readEnvelope, readNotification, writeEnvelope, writeNotification } from '../src/wire/cpim';

const [ME, FOCUS] = ['me@d', `g${'0'.repeat(31)}1@d`];
let number = 0;
let db: Database;
let chat: Chat;
let status: number;
let out: { to: string; envelope: Envelope }[];

beforeEach(async () => {
  number += 1;
  [out, status] = [[], 200];
  db = await Database.open(`groups${number}`);
  chat = await Chat.load(ME, db, async (to, _type, body) => {
    out.push({ to, envelope: readEnvelope(body)! });
    return status;
  }, 'Me');
});

/** What the focus passes on. */
function passed(from: string, change: Partial<Envelope>) {
  const body = writeEnvelope({
    from: `"${from.toUpperCase()}" <sip:${from}@d>`, to: `<sip:${FOCUS}>`, at: new Date(1000), id: 'm1', wants: { delivery: true, display: true },
    contentType: 'text/plain', body: 'hello', ...change,
  });
  return chat.receive({ from: `<sip:${FOCUS}>`, name: from, contentType: 'message/cpim', body });
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 60; turn += 1) await new Promise((resolve) => setTimeout(resolve, 0));
}

const people = ['me', 'ada', 'bob'].map((name) => ({ user: `${name}@d`, name: '', role: 'member' as const, there: true }));
const mine = async (id: string): Promise<Message> => (await db.message(FOCUS, true, id))!;

describe('a group', () => {
  it('is known by its first message, and tells who wrote it', async () => {
    let met = '';
    chat.onGroup = (focus) => (met = focus);
    await passed('ada', {});
    await passed('ada', {});
    await settle();
    expect(met).toBe(FOCUS);
    const [message, ...more] = await db.page(FOCUS, Number.MAX_SAFE_INTEGER, 10);
    expect(more).toEqual([]);
    expect(message).toMatchObject({ from: 'ada@d', fromName: 'ADA', mine: false, text: 'hello' });
    expect(chat.conversations.value).toMatchObject([{ peer: FOCUS, unread: 1, author: 'ADA' }]);
    // The receipt goes to the focus, for the author.
    expect(out.map(({ to, envelope }) => [to, envelope.to])).toEqual([[`sip:${FOCUS}`, '<sip:ada@d>']]);
    expect(readNotification(out[0]!.envelope.contentType, out[0]!.envelope.body)).toEqual({ id: 'm1', state: 'delivered' });
  });

  it('counts how far a message of ours got with each', async () => {
    await chat.describeGroup(FOCUS, { members: people });
    await chat.say(FOCUS, 'x');
    await settle();
    const { id } = out[0]!.envelope;
    const receipt = (from: string, state: 'delivered' | 'displayed') =>
      passed(from, { id: `${from}${state}`, to: '<sip:me@d>', contentType: 'message/imdn+xml', body: writeNotification(id, new Date(), state, `sip:${from}@d`) });
    const seen: (string | undefined)[] = [];
    for (const [from, state] of [['ada', 'displayed'], ['ada', 'delivered'], ['bob', 'delivered'], ['bob', 'displayed'], ['bob', 'displayed']] as const) {
      await receipt(from, state);
      seen.push((await mine(id)).progress);
    }
    expect(seen).toEqual(['sent', 'sent', 'delivered', 'displayed', 'displayed']);
    expect((await mine(id)).reached).toEqual({ 'ada@d': 'displayed', 'bob@d': 'displayed' });
    expect(chat.conversations.value[0]!.unread).toBe(0);
  });

  it('lets only the author change what was written', async () => {
    await passed('ada', {});
    const change = { relation: { kind: 'edit' as const, id: 'm1' }, wants: { delivery: false, display: false } };
    await passed('bob', { id: 'e1', body: 'no', ...change });
    expect((await db.message(FOCUS, false, 'm1'))!.text).toBe('hello');
    await passed('ada', { id: 'e2', body: 'yes', ...change });
    expect(await db.message(FOCUS, false, 'm1')).toMatchObject({ text: 'yes', edited: true });
    await passed('bob', { id: 'r1', body: '👍', relation: { kind: 'reaction', id: 'm1' }, disposition: 'Reaction' });
    expect((await db.message(FOCUS, false, 'm1'))!.reactions).toEqual({ 'bob@d': '👍' });
  });

  it('tells once what somebody did to it', async () => {
    const xml = '<conference-info state="partial" version="0"><conference-description><subject>Trip</subject></conference-description></conference-info>';
    const news = { id: 'g-3', contentType: 'application/conference-info+xml', body: xml };
    for (let copy = 0; copy < 2; copy += 1) await passed('ada', news);
    const lines = await db.page(FOCUS, Number.MAX_SAFE_INTEGER, 10);
    expect(lines.map(({ contentType, text }) => [contentType, JSON.parse(text)])).toEqual([
      [GROUP, { by: 'ada@d', change: { kind: 'subject', subject: 'Trip' } }],
    ]);
    expect(chat.conversations.value[0]!.unread).toBe(0);
  });

  it('is left when its focus takes nothing any more', async () => {
    await chat.describeGroup(FOCUS, { members: people });
    status = 403;
    await chat.say(FOCUS, 'x');
    await settle();
    expect(chat.conversations.value[0]!.group!.left).toBe(true);
  });
});

describe('a file', () => {
  const record = { name: 'a.jpg', type: 'image/jpeg', size: 3 };

  it('is a message that waits, and goes out once the server has it', async () => {
    await chat.attach({ id: 'f1', peer: 'bob@d', blob: new Blob(['abc']), tid: 't1' }, record);
    await chat.flush();
    expect(out).toEqual([]);
    expect(await db.waitingFiles()).toEqual(['f1']);
    await chat.attached('bob@d', 'f1', 'application/vnd.gsma.rcs-ft-http+xml', '<file/>');
    await settle();
    expect(await db.waitingFiles()).toEqual([]);
    expect(out.map(({ envelope }) => [envelope.id, envelope.contentType])).toEqual([['f1', 'application/vnd.gsma.rcs-ft-http+xml']]);
  });

  it('that is given up leaves nothing', async () => {
    await chat.say('bob@d', 'before');
    await chat.attach({ id: 'f1', peer: 'bob@d', blob: new Blob(['abc']), tid: 't1' }, record);
    await chat.drop((await db.message('bob@d', true, 'f1'))!);
    expect(await db.waitingFiles()).toEqual([]);
    expect(chat.conversations.value[0]).toMatchObject({ preview: 'before', kind: 'text' });
  });
});

describe('kinds', () => {
  const file = (type: string, head = '') =>
    `<file><file-info type="thumbnail"><content-type>image/jpeg</content-type></file-info><file-info type="file"${head}><content-type>${type}</content-type></file-info></file>`;
  it.each([
    ['text/plain', 'x', 'text'],
    ['text/x-vcard;charset=utf-8', 'x', 'card'],
    ['application/vnd.gsma.rcspushlocation+xml', 'x', 'place'],
    ['application/vnd.gsma.rcs-ft-http+xml', file('video/mp4'), 'video'],
    ['application/vnd.gsma.rcs-ft-http+xml', file('audio/amr', ' file-disposition="render"'), 'voice'],
    ['application/vnd.gsma.rcs-ft-http+xml', file('image/svg+xml'), 'file'],
    ['application/vnd.gsma.rcs-ft-http+xml', '', 'file'],
    [UPLOAD, '{"type":"image/png"}', 'photo'],
    ['application/x-unknown', 'x', 'other'],
  ])('%s %s', (type, text, kind) => expect(kindOf(type, text)).toBe(kind));

  it('go as far as with all that are there', () => {
    const message: Message = { peer: FOCUS, id: '1', mine: true, order: 1, at: 1, contentType: 'text/plain', text: '', progress: 'waiting' };
    expect(reach(message, 'ada@d', 'delivered', []).progress).toBe('delivered');
    expect(reach(message, 'ada@d', 'displayed', ['ada@d', 'bob@d']).progress).toBe('sent');
  });
});
