// CPIM envelopes (RFC 3862), with what IMDN (RFC 5438) and relations put into them.

import { type Header, header, mediaType, readHeaders } from './headers';

const IMDN = 'urn:ietf:params:imdn';
/** Replies and reactions as Linphone writes them. */
const LINPHONE = 'tag:linphone.org,2020:params:groupchat';
/** Edits and recalls, for which nobody has published names. */
const RELATION = 'https://github.com/chappe-im/chappe/relation';

export type RelationKind = 'reply' | 'reaction' | 'edit' | 'recall';

export interface Relation {
  kind: RelationKind;
  /** IMDN Message-ID of the earlier message. */
  id: string;
}

export interface Envelope {
  /** `"Name" <uri>` */
  from: string;
  to: string;
  at: Date;
  /** IMDN Message-ID. */
  id: string;
  /** Which notifications the sender wants. */
  wants: { delivery: boolean; display: boolean };
  relation?: Relation;
  contentType: string;
  disposition?: string;
  body: string;
}

/** Reads an envelope; `undefined` for what is none. */
export function readEnvelope(text: string): Envelope | undefined {
  const message = readHeaders(text);
  const part = readHeaders(text, message.rest);
  const namespaces = new Map<string, string>();
  for (const [name, value] of message.headers) {
    const [, prefix, uri] = (name.toLowerCase() === 'ns' && /^(\S*)\s*<([^>]*)>/.exec(value)) || [];
    if (uri) namespaces.set(uri, prefix ?? '');
  }
  const of = (namespace: string, name: string) => {
    const prefix = namespaces.get(namespace);
    return prefix === undefined ? undefined : header(message.headers, prefix ? `${prefix}.${name}` : name);
  };
  const [from, to] = [header(message.headers, 'From'), header(message.headers, 'To')];
  const contentType = header(part.headers, 'Content-Type');
  if (from === undefined || to === undefined || contentType === undefined) return undefined;
  const wanted = (of(IMDN, 'Disposition-Notification') ?? '').toLowerCase();
  const at = new Date(header(message.headers, 'DateTime') ?? '');
  const disposition = header(part.headers, 'Content-Disposition');
  const relation = relationOf(of, disposition);
  return {
    from,
    to,
    at: Number.isNaN(at.getTime()) ? new Date() : at,
    id: of(IMDN, 'Message-ID') ?? '',
    wants: { delivery: wanted.includes('positive-delivery'), display: wanted.includes('display') },
    contentType,
    body: body(part.headers, text.slice(part.rest)),
    ...(disposition === undefined ? {} : { disposition }),
    ...(relation ? { relation } : {}),
  };
}

function relationOf(of: (namespace: string, name: string) => string | undefined, disposition?: string) {
  const found = (kind: RelationKind, id: string | undefined): Relation | undefined => (id ? { kind, id } : undefined);
  const isReaction = (disposition ?? '').split(';')[0]!.trim().toLowerCase() === 'reaction';
  return (
    found('recall', of(RELATION, 'Recalls-Message-ID')) ??
    found('edit', of(RELATION, 'Edits-Message-ID')) ??
    found('reaction', isReaction ? of(LINPHONE, 'In-Reply-To') : undefined) ??
    found('reply', of(LINPHONE, 'Replying-To-Message-ID'))
  );
}

function body(headers: readonly Header[], text: string): string {
  if (header(headers, 'Content-Transfer-Encoding')?.toLowerCase() !== 'base64') return text;
  try {
    const bytes = Uint8Array.from(atob(text.replace(/\s/g, '')), (char) => char.charCodeAt(0));
    return new TextDecoder().decode(bytes);
  } catch {
    return text;
  }
}

export function writeEnvelope(envelope: Envelope): string {
  const lines = [
    `From: ${envelope.from}`,
    `To: ${envelope.to}`,
    `DateTime: ${envelope.at.toISOString()}`,
    `NS: imdn <${IMDN}>`,
    `imdn.Message-ID: ${envelope.id}`,
  ];
  const wants = [envelope.wants.delivery && 'positive-delivery, negative-delivery', envelope.wants.display && 'display'];
  const wanted = wants.filter(Boolean).join(', ');
  if (wanted) lines.push(`imdn.Disposition-Notification: ${wanted}`);
  if (envelope.relation) {
    const { kind, id } = envelope.relation;
    if (kind === 'reply') lines.push(`NS: linphone <${LINPHONE}>`, `linphone.Replying-To-Message-ID: ${id}`);
    if (kind === 'reaction') lines.push(`NS: linphone <${LINPHONE}>`, `linphone.In-Reply-To: ${id}`);
    if (kind === 'edit') lines.push(`NS: relation <${RELATION}>`, `relation.Edits-Message-ID: ${id}`);
    if (kind === 'recall') lines.push(`NS: relation <${RELATION}>`, `relation.Recalls-Message-ID: ${id}`);
  }
  lines.push('', `Content-Type: ${envelope.contentType}`);
  if (envelope.disposition) lines.push(`Content-Disposition: ${envelope.disposition}`);
  lines.push('', envelope.body);
  return lines.join('\r\n');
}

/** An IMDN Message-ID: 128 random bits. */
export function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export type Disposition = 'delivered' | 'displayed' | 'failed';

/** What a notification says (RFC 5438 §7.1): of which message, and how far it got. */
export function readNotification(contentType: string, xml: string): { id: string; state: Disposition } | undefined {
  if (!['message/imdn+xml', 'message/imdn'].includes(mediaType(contentType))) return undefined;
  const document = new DOMParser().parseFromString(xml, 'text/xml');
  const id = document.querySelector('message-id')?.textContent?.trim();
  const status = document.querySelector('status')?.firstElementChild?.localName;
  const kind = document.querySelector('status')?.parentElement?.localName;
  if (!id || !status) return undefined;
  if (status === 'displayed') return { id, state: 'displayed' };
  if (status === 'delivered') return { id, state: 'delivered' };
  return kind === 'delivery-notification' && ['failed', 'forbidden', 'error'].includes(status)
    ? { id, state: 'failed' }
    : undefined;
}

export function writeNotification(id: string, at: Date, state: 'delivered' | 'displayed', recipient: string): string {
  const kind = state === 'displayed' ? 'display' : 'delivery';
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\r\n<imdn xmlns="urn:ietf:params:xml:ns:imdn">' +
    `<message-id>${escape(id)}</message-id><datetime>${at.toISOString()}</datetime>` +
    `<recipient-uri>${escape(recipient)}</recipient-uri>` +
    `<${kind}-notification><status><${state}/></status></${kind}-notification></imdn>\r\n`
  );
}

/** Whether somebody types, as `application/im-iscomposing+xml` says (RFC 3994), and for how many seconds that holds. */
export function readComposing(contentType: string, xml: string): { active: boolean; refresh: number } | undefined {
  if (mediaType(contentType) !== 'application/im-iscomposing+xml') return undefined;
  const document = new DOMParser().parseFromString(xml, 'text/xml');
  const state = document.querySelector('state')?.textContent?.trim();
  const refresh = Number(document.querySelector('refresh')?.textContent ?? '');
  return state === undefined ? undefined : { active: state === 'active', refresh: refresh >= 1 ? refresh : 120 };
}

export function writeComposing(active: boolean, refresh: number): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?>\r\n<isComposing xmlns="urn:ietf:params:xml:ns:im-iscomposing">' +
    `<state>${active ? 'active' : 'idle'}</state><contenttype>text/plain</contenttype>` +
    `${active ? `<refresh>${refresh}</refresh>` : ''}</isComposing>\r\n`
  );
}

function escape(text: string): string {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
