// Cards of people (vCard 2.1, 3.0, 4.0).

export interface Card {
  name: string;
  organization: string;
  phones: string[];
  emails: string[];
  /** SIP addresses. */
  addresses: string[];
}

export const CARD_TYPE = 'text/vcard';

export function isCardType(type: string): boolean {
  return ['text/vcard', 'text/x-vcard'].includes(type);
}

interface Line {
  name: string;
  parameters: string;
  value: string;
}

/** The first card of a text. */
export function readCard(text: string): Card | undefined {
  if (!/^\s*BEGIN:VCARD/i.test(text)) return undefined;
  const card: Card = { name: '', organization: '', phones: [], emails: [], addresses: [] };
  let parts = '';
  for (const line of lines(text)) {
    const value = plain(line);
    if (line.name === 'END') break;
    if (line.name === 'FN') card.name = value;
    else if (line.name === 'N') parts = named(line);
    else if (line.name === 'ORG') card.organization = value.split(';').filter(Boolean).join(', ');
    else if (line.name === 'TEL') card.phones.push(value.replace(/^tel:/i, ''));
    else if (line.name === 'EMAIL') card.emails.push(value);
    else if (line.name === 'IMPP' && /^sips?:/i.test(value)) card.addresses.push(value);
  }
  card.name ||= parts;
  return card;
}

function* lines(text: string): Generator<Line> {
  // Folded lines begin with a blank (RFC 6350 §3.2), those of 2.1 end with "=" where they are quoted.
  const whole = text.replace(/\r?\n[ \t]/g, '').replace(/=\r?\n/g, '');
  for (const line of whole.split(/\r?\n/)) {
    const [, name, parameters, value] = /^(?:[\w-]+\.)?([\w-]+)((?:;(?:"[^"]*"|[^":])*)?):(.*)$/.exec(line) ?? [];
    if (name !== undefined) yield { name: name.toUpperCase(), parameters: (parameters ?? '').toUpperCase(), value: value ?? '' };
  }
}

function plain({ parameters, value }: Line): string {
  const text = parameters.includes('QUOTED-PRINTABLE') ? unquoted(value) : value;
  return text.replace(/\\n/gi, '\n').replace(/\\([,;\\])/g, '$1').trim();
}

function unquoted(text: string): string {
  const bytes = [...text.matchAll(/=([0-9A-F]{2})|([\s\S])/gi)].flatMap(([, hex, char]) =>
    hex ? [parseInt(hex, 16)] : [...new TextEncoder().encode(char)],
  );
  return new TextDecoder().decode(Uint8Array.from(bytes));
}

/** `Family;Given;…` → `Given Family` */
function named(line: Line): string {
  const [family, given] = plain(line).split(';');
  return [given, family].filter(Boolean).join(' ');
}

export function writeCard(card: Card): string {
  const value = (text: string) => text.replace(/[\\,;]/g, '\\$&').replace(/\r?\n/g, '\\n');
  const written = ['BEGIN:VCARD', 'VERSION:3.0', `FN:${value(card.name)}`, `N:;${value(card.name)};;;`];
  if (card.organization) written.push(`ORG:${value(card.organization)}`);
  card.phones.forEach((phone) => written.push(`TEL;TYPE=CELL:${phone}`));
  card.emails.forEach((email) => written.push(`EMAIL:${email}`));
  card.addresses.forEach((address) => written.push(`IMPP:${address}`));
  written.push('END:VCARD', '');
  return written.join('\r\n');
}
