// Presence documents (RFC 3863, RFC 4479, RFC 4480), alone and in lists (RFC 4662).

import { mediaType } from './headers';
import { readParts } from './multipart';
import { DECLARATION, attribute, below, child, children, escapeXml, readXml, textOf } from './xml';

export const PIDF_TYPE = 'application/pidf+xml';

export interface PresenceDocument {
  /** URI of the user. */
  entity: string;
  open: boolean;
  away: boolean;
  /** What the user says. */
  note: string;
  /** When it was said, in milliseconds. */
  at?: number;
}

export function readPresence(xml: string): PresenceDocument | undefined {
  const root = readXml(xml);
  const entity = attribute(root, 'entity');
  if (!root || !entity) return undefined;
  const tuples = children(root, 'tuple');
  const person = child(root, 'person');
  const open = tuples.some((tuple) => textOf(tuple, 'status', 'basic') === 'open');
  const away = below(person, 'activities').some((one) => child(one, 'away') !== undefined);
  const note = textOf(person, 'note') || textOf(root, 'note');
  const times = [...below(root, 'timestamp')].map((one) => Date.parse(one.textContent ?? '')).filter((at) => at > 0);
  return { entity, open, away, note, ...(times.length > 0 ? { at: Math.max(...times) } : {}) };
}

/** The documents in the body of a NOTIFY, whether of one user or of a list. */
export function readNotified(contentType: string, body: string): PresenceDocument[] {
  const parts = readParts(contentType, body);
  const documents = parts.length > 0 ? parts : [{ type: contentType, body }];
  return documents.flatMap((one) => {
    if (/^multipart\//i.test(one.type)) return readNotified(one.type, one.body);
    return mediaType(one.type) === PIDF_TYPE ? (readPresence(one.body) ?? []) : [];
  });
}

export function writePresence(entity: string, id: string, away: boolean, note: string, now: Date): string {
  const said = note ? `<dm:note>${escapeXml(note)}</dm:note>` : '';
  return (
    `${DECLARATION}<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ` +
    `xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="${escapeXml(entity)}">` +
    `<tuple id="${escapeXml(id)}"><status><basic>open</basic></status><timestamp>${now.toISOString()}</timestamp></tuple>` +
    `<dm:person id="p-${escapeXml(id)}">${away ? '<rpid:activities><rpid:away/></rpid:activities>' : ''}${said}</dm:person></presence>\r\n`
  );
}
