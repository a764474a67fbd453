// @vitest-environment happy-dom
import 'fake-indexeddb/auto';
import { beforeEach, describe, expect, it } from 'vitest';
import { Chat } from '../src/engine/chat';
import { Database } from '../src/engine/db';
import { type Message, advance } from '../src/engine/model';
import { type Envelope, readEnvelope, readNotification, writeComposing, writeEnvelope, writeNotification } from '../src/wire/cpim';

const [ME, BOB] = ['me@d', 'bob@d'];
let number = 0;
let account: string;
let db: Database;
/** What went out, and what the server says to it. */
let out: { to: string; envelope: Envelope }[];
let status: number;

async function load(): Promise<Chat> {
  db = await Database.open(account);
  return Chat.load(ME, db, async (to, _type, body) => {
    if (status < 300) out.push({ to, envelope: readEnvelope(body)! });
    return status;
  });
}

beforeEach(() => {
  number += 1;
  account = `${ME}${number}`;
  [out, status] = [[], 202];
});

/** Lets what was begun be done. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 60; turn += 1) await new Promise((resolve) => setTimeout(resolve, 0));
}

function cpim(change: Partial<Envelope>): string {
  return writeEnvelope({
    from: '<sip:bob@d>', to: '<sip:me@d>', at: new Date(1000), id: 'b1', wants: { delivery: true, display: true },
    contentType: 'text/plain', body: 'hello', ...change,
  });
}

function incoming(change: Partial<Envelope>, from = 'sip:bob@d') {
  return { from, name: '', contentType: 'message/cpim', body: cpim(change) };
}

const quiet = { wants: { delivery: false, display: false } };
const receipts = () => out.flatMap(({ envelope }) => readNotification(envelope.contentType, envelope.body) ?? []);
const texts = () => out.filter(({ envelope }) => envelope.contentType.startsWith('text/')).map((one) => one.envelope.body);

async function stored(mine: boolean, id: string): Promise<Message> {
  return (await db.message(BOB, mine, id))!;
}

describe('sending', () => {
  it('keeps what cannot be sent, in order, over the end of the page', async () => {
    status = 503;
    const first = await load();
    for (const text of ['one', 'two']) await first.say(BOB, text);
    await settle();
    expect(texts()).toEqual([]);
    first.stop();
    db.close();
    status = 202;
    const second = await load();
    await second.say(BOB, 'three');
    await settle();
    expect(texts()).toEqual(['one', 'two', 'three']);
    await second.flush();
    expect(texts()).toHaveLength(3);
    second.stop();
  });

  it('says what the server refuses, and tries it once more when told to', async () => {
    status = 404;
    const chat = await load();
    await chat.openConversation(BOB);
    await chat.say(BOB, 'x');
    await settle();
    const [failed] = chat.messages.value;
    expect([failed!.progress, failed!.status]).toEqual(['failed', 404]);
    status = 200;
    await chat.retry(failed!);
    await settle();
    expect(chat.messages.value[0]!.progress).toBe('sent');
    expect(out.map((one) => one.envelope.id)).toEqual([failed!.id]);
  });

  it('goes forward only, whatever order receipts come in', async () => {
    const chat = await load();
    await chat.say(BOB, 'x');
    await settle();
    const { id } = out[0]!.envelope;
    for (const state of ['displayed', 'delivered', 'displayed'] as const) {
      const body = writeNotification(id, new Date(), state, 'sip:bob@d');
      await chat.receive(incoming({ id: `r${state}`, contentType: 'message/imdn+xml', body }));
      expect((await stored(true, id)).progress).toBe('displayed');
    }
    expect(advance(await stored(true, id), 'sent').progress).toBe('displayed');
    expect(chat.conversations.value[0]!.unread).toBe(0);
  });

  it('shows only those that they type who understand it', async () => {
    const chat = await load();
    await chat.receive({ from: 'sip:bob@d', name: '', contentType: 'text/plain', body: 'plain' });
    chat.types(BOB, true);
    await settle();
    expect(out).toEqual([]);
    await chat.receive(incoming(quiet));
    chat.types(BOB, true);
    chat.types(BOB, true);
    await settle();
    expect(out.map((one) => one.envelope.contentType)).toEqual(['application/im-iscomposing+xml']);
    chat.stop();
  });
});

describe('receiving', () => {
  it('takes a message once, and says once that it was delivered and read', async () => {
    const chat = await load();
    await chat.receive(incoming({}));
    await chat.receive(incoming({}));
    await settle();
    expect(chat.conversations.value.map(({ peer, unread }) => [peer, unread])).toEqual([[BOB, 1]]);
    await chat.openConversation(BOB);
    await chat.seen(BOB);
    await chat.seen(BOB);
    await settle();
    expect(receipts()).toEqual([{ id: 'b1', state: 'delivered' }, { id: 'b1', state: 'displayed' }]);
    expect(chat.conversations.value[0]!.unread).toBe(0);
  });

  it('sends no receipt that nobody asked for', async () => {
    const chat = await load();
    await chat.receive(incoming(quiet));
    await chat.receive({ from: 'sip:bob@d', name: 'Bob', contentType: 'text/plain', body: 'plain' });
    await chat.seen(BOB);
    await settle();
    expect(out).toEqual([]);
    expect(chat.conversations.value[0]).toMatchObject({ name: 'Bob', preview: 'plain', unread: 0 });
  });

  it('believes the server about the sender, not the envelope', async () => {
    const chat = await load();
    await chat.receive(incoming({ from: '<sip:carol@d>' }));
    expect(chat.conversations.value.map((one) => one.peer)).toEqual([BOB]);
    await chat.receive(incoming({ from: '<sip:carol@d>', id: 'b2' }, 'sip:rcse-standfw@d'));
    expect(chat.conversations.value.map((one) => one.peer)).toContain('carol@d');
  });

  it('shows what another device of ours sent and read', async () => {
    const chat = await load();
    await chat.receive(incoming({ id: 'o1', from: '<sip:me@d>', to: '<sip:bob@d>', body: 'mine' }, 'sip:me@d'));
    expect(await stored(true, 'o1')).toMatchObject({ mine: true, text: 'mine', progress: 'sent' });
    await chat.receive(incoming({}));
    expect(chat.conversations.value[0]!.unread).toBe(1);
    const body = writeNotification('b1', new Date(), 'displayed', 'sip:me@d');
    const told = { id: 'r', from: '<sip:me@d>', to: '<sip:bob@d>', contentType: 'message/imdn+xml', body };
    await chat.receive(incoming(told, 'sip:me@d'));
    expect(chat.conversations.value[0]!.unread).toBe(0);
  });

  it('lets nobody change the messages of others', async () => {
    const chat = await load();
    await chat.say(BOB, 'mine');
    await settle();
    const { id } = out[0]!.envelope;
    await chat.receive(incoming({ id: 'x1', relation: { kind: 'edit', id }, body: 'forged' }));
    await chat.receive(incoming({ id: 'x2', relation: { kind: 'recall', id } }));
    expect(await stored(true, id)).toMatchObject({ text: 'mine' });
    await chat.receive(incoming({ id: 'x3', relation: { kind: 'reaction', id }, disposition: 'Reaction', body: '👍' }));
    expect((await stored(true, id)).reactions).toEqual({ [BOB]: '👍' });
    await chat.receive(incoming({}));
    await chat.receive(incoming({ id: 'x4', relation: { kind: 'edit', id: 'b1' }, body: 'better' }));
    expect(await stored(false, 'b1')).toMatchObject({ text: 'better', edited: true });
    await chat.receive(incoming({ id: 'x5', relation: { kind: 'recall', id: 'b1' } }));
    expect(await stored(false, 'b1')).toMatchObject({ text: '', recalled: true });
  });

  it('shows who types, until the message is there', async () => {
    const chat = await load();
    const type = 'application/im-iscomposing+xml';
    await chat.receive(incoming({ id: 'c', contentType: type, body: writeComposing(true, 60) }));
    expect([...chat.typing.value.keys()]).toEqual([BOB]);
    await chat.receive(incoming(quiet));
    expect([...chat.typing.value]).toEqual([]);
    chat.stop();
  });

  it('survives what is no message', async () => {
    const chat = await load();
    for (const body of ['', 'x', 'From: a\r\nTo: b\r\n\r\n\r\n\r\n']) {
      await chat.receive({ from: 'sip:bob@d', name: '', contentType: 'message/cpim', body });
    }
    expect(chat.conversations.value).toEqual([]);
  });
});

describe('a long conversation', () => {
  it('is read in pages', async () => {
    const chat = await load();
    for (let at = 0; at < 130; at += 1) await chat.receive(incoming({ id: `b${at}`, body: `${at}`, ...quiet }));
    await chat.openConversation(BOB);
    expect([chat.messages.value.length, chat.more.value]).toEqual([60, true]);
    await chat.older();
    await chat.older();
    expect(chat.messages.value.map((one) => one.text)).toEqual(Array.from({ length: 130 }, (_, at) => `${at}`));
    expect(chat.more.value).toBe(false);
  });
});
