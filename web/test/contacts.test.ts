// @vitest-environment happy-dom
import 'fake-indexeddb/auto';
import { beforeEach, describe, expect, it } from 'vitest';
import { Contacts, bookUri } from '../src/engine/contacts';
import { Database } from '../src/engine/db';
import type { Http } from '../src/engine/http';

let number = 0;
let db: Database;
let asked: { method: string; path: string; body: string }[];
let answers: Record<string, string>;
let status: number;
let contacts: Contacts;

beforeEach(async () => {
  number += 1;
  [asked, answers, status] = [[], {}, 200];
  db = await Database.open(`contacts${number}`);
  const http: Partial<Http> = {
    request: async (method, path, init = {}) => {
      asked.push({ method, path, body: init.body ?? '' });
      const found = Object.entries(answers).find(([part]) => path.includes(part))?.[1];
      return new Response(found ?? '', { status: method === 'GET' && found === undefined ? 404 : status });
    },
  };
  contacts = new Contacts('me@d', http as Http, db);
});

const book = {
  contactCollection: {
    contact: [
      { contactId: 'tel:+1555', attributeList: { attribute: [{ name: 'display-name', value: 'Zoe' }] } },
      { contactId: 'sip:bob@d', attributeList: { attribute: [{ name: 'display-name', value: 'Bob' }, { name: 'note', value: 'n' }] } },
      { contactId: 'mailto:x@y' },
    ],
  },
};

describe('contacts', () => {
  it('come from the server, in order, and stay when it is away', async () => {
    answers = { addressbook: JSON.stringify(book), blockedcontacts: '<list name="rcs_blockedcontacts"><entry uri="sip:mallory@d"/></list>' };
    await contacts.load();
    expect(contacts.list.value.map(({ user, name, note }) => [user, name, note])).toEqual([['bob@d', 'Bob', 'n'], ['+1555@d', 'Zoe', '']]);
    expect([...contacts.blocked.value]).toEqual(['mallory@d']);
    const later = new Contacts('me@d', { request: async () => new Response('', { status: 503 }) } as unknown as Http, db);
    await later.remember();
    expect([later.nameOf('bob@d'), later.nameOf('eve@d')]).toEqual(['Bob', '']);
    expect(later.blocked.value.has('mallory@d')).toBe(true);
  });

  it('are written as the address book has them', async () => {
    const eva = { user: '+1556@d', name: 'Eva', email: 'e@x', organization: '', note: '' };
    expect(await contacts.save(eva)).toBe(true);
    expect(asked[0]!.path).toBe('/oneapi/addressbook/v1/me%40d/contacts/tel%3A%2B1556');
    expect(JSON.parse(asked[0]!.body)).toEqual({
      contact: { contactId: 'tel:+1556', attributeList: { attribute: [{ name: 'display-name', value: 'Eva' }, { name: 'email', value: 'e@x' }] } },
    });
    status = 507;
    expect(await contacts.save({ ...eva, name: 'Other' })).toBe(false);
    expect(contacts.nameOf('+1556@d')).toBe('Eva');
    status = 204;
    expect(await contacts.remove(contacts.list.value[0]!)).toBe(true);
    expect(contacts.list.value).toEqual([]);
  });

  it('are blocked and not any more', async () => {
    expect(await contacts.block('mallory@d', true)).toBe(true);
    expect(asked[0]).toMatchObject({ method: 'PUT', body: '<entry uri="sip:mallory@d"/>' });
    expect(contacts.blocked.value.has('mallory@d')).toBe(true);
    await contacts.block('mallory@d', false);
    expect(asked[1]!.method).toBe('DELETE');
    expect(contacts.blocked.value.size).toBe(0);
  });

  it.each([['+1555@d', 'tel:+1555'], ['bob@d', 'sip:bob@d'], ['123@d', 'sip:123@d']])('%s is %s in the book', (user, uri) =>
    expect(bookUri(user)).toBe(uri));
});
