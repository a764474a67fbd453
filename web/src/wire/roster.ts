// Who is in a group, as the conference event package tells it (RFC 4575), and wishes about subject and icon (OMA CPM).

import { userOf } from './address';
import { DECLARATION, attribute, child, children, escapeXml, local, readXml, textOf } from './xml';

export const ROSTER_TYPE = 'application/conference-info+xml';
export const GROUP_DATA_TYPE = 'application/vnd.oma.cpm-groupdata+xml';
const GROUP_DATA = 'urn:oma:xml:cpm:groupdata:1.0';

export type Role = 'owner' | 'admin' | 'member';

export interface Member {
  user: string;
  /** As it calls itself; may be empty. */
  name: string;
  role: Role;
  /** It can be reached now. */
  there: boolean;
}

export interface Roster {
  version: number;
  subject: string;
  /** URL of a picture. */
  icon: string;
  members: Member[];
  /** There is no such group any more. */
  over: boolean;
}

/** What came of a document: the roster after it, or why there is none. */
export type Taken = { roster: Roster } | { fault: 'old' | 'gap' | 'junk' };

/** Takes the body of a NOTIFY (§4.6). After a gap all has to be asked for again. */
export function takeRoster(before: Roster | undefined, xml: string, domain: string): Taken {
  const root = readXml(xml, 16_000_000);
  const numbered = attribute(root, 'version')?.trim() ?? '';
  if (!root || local(root) !== 'conference-info' || !/^\d{1,10}$/.test(numbered)) return { fault: 'junk' };
  const version = Number(numbered);
  if (before && version <= before.version) return { fault: 'old' };
  const state = attribute(root, 'state') ?? 'full';
  const known = before ?? { version: 0, subject: '', icon: '', members: [], over: false };
  if (state === 'deleted') return { roster: { ...known, version, members: [], over: true } };
  if (state === 'partial' && (!before || version !== before.version + 1)) return { fault: 'gap' };
  const description = child(root, 'conference-description');
  const users = child(root, 'users');
  const isWhole = state === 'full';
  const base = isWhole || (users && (attribute(users, 'state') ?? 'full') === 'full') ? [] : known.members;
  const described = description ?? (isWhole ? root : undefined);
  return {
    roster: {
      version,
      over: false,
      subject: described ? textOf(description, 'subject') : known.subject,
      icon: described ? iconOf(description) : known.icon,
      members: children(users, 'user').reduce((members, user) => withUser(members, user, domain), base),
    },
  };
}

/** A picture by its address, or by the document of an upload. */
function iconOf(description: Element | undefined): string {
  const icon = child(description, 'icon');
  const uri = textOf(icon, 'icon-uri');
  if (uri) return uri;
  const infos = children(child(icon, 'file'), 'file-info');
  const info = infos.find((one) => attribute(one, 'type') === 'file') ?? infos[0];
  return attribute(child(info, 'data'), 'url') ?? '';
}

function withUser(members: Member[], element: Element, domain: string): Member[] {
  const user = userOf(attribute(element, 'entity') ?? '', domain);
  if (!user) return members;
  const others = members.filter((member) => member.user !== user);
  const endpoints = children(element, 'endpoint');
  const gone = endpoints.some((one) => ['departed', 'booted'].includes(textOf(one, 'disconnection-method')));
  if (attribute(element, 'state') === 'deleted' || gone) return others;
  const roles = children(child(element, 'roles'), 'entry').map((entry) => (entry.textContent ?? '').trim().toLowerCase());
  const role = roles.includes('owner') ? 'owner' : roles.includes('administrator') ? 'admin' : 'member';
  const there = endpoints.some((one) => textOf(one, 'status') === 'connected');
  const member: Member = { user, name: textOf(element, 'display-text'), role, there };
  const at = members.findIndex((known) => known.user === user);
  return at < 0 ? [...members, member] : members.map((known) => (known.user === user ? member : known));
}

/** What somebody did to a group, out of the log of the group. */
export type Change =
  | { kind: 'created' | 'over' }
  | { kind: 'joined' | 'left'; users: string[] }
  | { kind: 'removed'; users: string[]; by: string }
  | { kind: 'subject'; subject: string }
  | { kind: 'icon' };

/** Reads a document that tells of a change and not of the whole: each user with a state, or a description. */
export function readChanges(xml: string, domain: string): Change[] {
  const root = readXml(xml);
  if (!root) return [];
  const changes: Change[] = [];
  if (attribute(root, 'state') === 'deleted') changes.push({ kind: 'over' });
  if (textOf(root, 'conference-state', 'active') === 'true') changes.push({ kind: 'created' });
  const description = child(root, 'conference-description');
  if (child(description, 'subject')) changes.push({ kind: 'subject', subject: textOf(description, 'subject') });
  if (child(description, 'icon')) changes.push({ kind: 'icon' });
  for (const element of children(child(root, 'users'), 'user')) {
    const user = userOf(attribute(element, 'entity') ?? '', domain);
    if (!user) continue;
    const endpoint = child(element, 'endpoint');
    const method = textOf(endpoint, 'disconnection-method');
    if (method === 'booted') {
      const by = userOf(textOf(endpoint, 'disconnection-info', 'by'), domain) ?? '';
      changes.push({ kind: 'removed', users: [user], by });
    } else {
      changes.push({ kind: method === '' ? 'joined' : 'left', users: [user] });
    }
  }
  return changes;
}

/** A wish for another subject; an empty one takes it away. */
export function writeSubject(id: string, subject: string): string {
  const data = subject ? `<data><subject>${escapeXml(subject)}</subject></data>` : '';
  return groupData(id, 'subject', subject !== '', data);
}

/** A wish for another picture, by its address. */
export function writeIcon(id: string, url: string): string {
  const data = url ? `<data><icon><icon-uri>${escapeXml(url)}</icon-uri></icon></data>` : '';
  return groupData(id, 'icon', url !== '', data);
}

function groupData(id: string, target: string, sets: boolean, data: string): string {
  const action = `<action>${sets ? 'set' : 'delete'}</action>`;
  return (
    `${DECLARATION}<cpm-group-management xmlns="${GROUP_DATA}" id="${escapeXml(id)}"><group-data>` +
    `<request target="${target}">${action}${data}</request></group-data></cpm-group-management>\r\n`
  );
}
