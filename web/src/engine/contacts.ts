// The address book of the user on the server (OMA and GSMA address book API), a copy of it here, and who is blocked (XCAP).

import { signal, type Signal } from '@preact/signals';
import { uriOf, userOf } from '../wire/address';
import { readList } from '../wire/lists';
import { escapeXml } from '../wire/xml';
import type { Database } from './db';
import type { Http } from './http';

export interface Contact {
  user: string;
  /** As the address book has it. */
  uri: string;
  name: string;
  email: string;
  organization: string;
  note: string;
}

interface Attribute {
  name: string;
  value: string;
}
interface Document {
  contactId: string;
  attributeList?: { attribute?: Attribute[] };
}

const FIELDS = [['email', 'email'], ['organization', 'organization'], ['note', 'note']] as const;

export class Contacts {
  readonly list: Signal<Contact[]> = signal([]);
  readonly blocked: Signal<ReadonlySet<string>> = signal(new Set());
  private readonly domain: string;

  constructor(
    private readonly me: string,
    private readonly http: Http,
    private readonly db: Database,
  ) {
    this.domain = me.slice(me.lastIndexOf('@') + 1);
  }

  /** What was known when the page was last here. */
  async remember(): Promise<void> {
    this.list.value = (await this.db.value<Contact[]>('contacts')) ?? [];
    this.blocked.value = new Set((await this.db.value<string[]>('blocked')) ?? []);
  }

  nameOf(user: string): string {
    return this.list.value.find((contact) => contact.user === user)?.name ?? '';
  }

  /** Asks the server for all of it. */
  async load(): Promise<void> {
    const [book, blocked] = await Promise.all([this.http.request('GET', this.book()), this.http.request('GET', this.blockList())]);
    if (book.ok) {
      const { contactCollection } = (await book.json()) as { contactCollection: { contact: Document[] } };
      const found = contactCollection.contact.flatMap((document) => this.contact(document) ?? []);
      await this.show(found);
    }
    if (blocked.ok) await this.showBlocked(readList(await blocked.text()).flatMap((uri) => userOf(uri, this.domain) ?? []));
  }

  /** Writes a contact; false where the server does not take it. */
  async save(contact: Omit<Contact, 'uri'> & { uri?: string }): Promise<boolean> {
    const uri = contact.uri ?? bookUri(contact.user);
    const more = FIELDS.filter(([, field]) => contact[field] !== '').map(([name, field]) => ({ name, value: contact[field] }));
    const attribute: Attribute[] = [{ name: 'display-name', value: contact.name }, ...more];
    const body = JSON.stringify({ contact: { contactId: uri, attributeList: { attribute } } });
    const response = await this.http.request('PUT', this.book(uri), { headers: { 'Content-Type': 'application/json' }, body });
    if (!response.ok) return false;
    await this.show([...this.list.value.filter((one) => one.user !== contact.user), { ...contact, uri }]);
    return true;
  }

  async remove(contact: Contact): Promise<boolean> {
    const response = await this.http.request('DELETE', this.book(contact.uri));
    if (!response.ok && response.status !== 404) return false;
    await this.show(this.list.value.filter((one) => one.user !== contact.user));
    return true;
  }

  async block(user: string, blocks: boolean): Promise<boolean> {
    const uri = bookUri(user);
    const path = `${this.blockList()}/entry%5B@uri=%22${encodeURIComponent(uri)}%22%5D`;
    const response = blocks
      ? await this.http.request('PUT', path, {
          headers: { 'Content-Type': 'application/xcap-el+xml' }, body: `<entry uri="${escapeXml(uri)}"/>`,
        })
      : await this.http.request('DELETE', path);
    if (!response.ok && !(response.status === 404 && !blocks)) return false;
    const others = [...this.blocked.value].filter((one) => one !== user);
    await this.showBlocked(blocks ? [...others, user] : others);
    return true;
  }

  private book(uri?: string): string {
    const base = `/oneapi/addressbook/v1/${encodeURIComponent(this.me)}/contacts`;
    return uri === undefined ? base : `${base}/${encodeURIComponent(uri)}`;
  }

  private blockList(): string {
    const document = `/xcap-root/resource-lists/users/${encodeURIComponent(`sip:${this.me}`)}/index`;
    return `${document}/~~/resource-lists/list%5B@name=%22rcs_blockedcontacts%22%5D`;
  }

  private contact({ contactId: uri, attributeList }: Document): Contact | undefined {
    const user = userOf(uri, this.domain);
    const of = (name: string) => attributeList?.attribute?.find((one) => one.name === name)?.value ?? '';
    if (!user) return undefined;
    return { user, uri, name: of('display-name'), email: of('email'), organization: of('organization'), note: of('note') };
  }

  private async show(contacts: Contact[]): Promise<void> {
    this.list.value = contacts.sort((one, other) => one.name.localeCompare(other.name));
    await this.db.setValue('contacts', this.list.value);
  }

  private async showBlocked(users: string[]): Promise<void> {
    this.blocked.value = new Set(users);
    await this.db.setValue('blocked', users);
  }
}

/** Phone numbers are `tel` in the book. */
export function bookUri(user: string): string {
  const name = user.slice(0, user.lastIndexOf('@'));
  return /^\+\d+$/.test(name) ? `tel:${name}` : uriOf(user).replace(/;user=phone$/, '');
}
