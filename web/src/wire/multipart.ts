// Bodies of several parts (RFC 2046 §5.1), as SIP carries them.

import { type Header, header, readHeaders } from './headers';

export interface Part {
  headers: readonly Header[];
  type: string;
  body: string;
}

/** The parts of a body; none where the Content-Type names no boundary. */
export function readParts(contentType: string, body: string): Part[] {
  const [, quoted, plain] = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain;
  if (!boundary) return [];
  const [, ...pieces] = `\r\n${body}`.split(`\r\n--${boundary}`);
  const parts: Part[] = [];
  for (const piece of pieces) {
    if (piece.startsWith('--')) break;
    const start = piece.indexOf('\n') + 1;
    const { headers, rest } = readHeaders(piece, start);
    parts.push({ headers, type: header(headers, 'Content-Type') ?? 'text/plain', body: piece.slice(rest) });
  }
  return parts;
}

export function writeParts(boundary: string, parts: { headers: string[]; body: string }[]): string {
  const written = parts.map(({ headers, body }) => `--${boundary}\r\n${headers.join('\r\n')}\r\n\r\n${body}\r\n`);
  return `${written.join('')}--${boundary}--\r\n`;
}
