// Lines of "Name: value", as in CPIM, MIME parts and MSRP.

export type Header = readonly [name: string, value: string];

/** Reads lines up to the first blank one. Gives the headers, and where the rest begins; folded lines are joined. */
export function readHeaders(text: string, from = 0): { headers: Header[]; rest: number } {
  const headers: [string, string][] = [];
  let at = from;
  while (at < text.length) {
    const end = text.indexOf('\n', at);
    const line = text.slice(at, end < 0 ? text.length : end).replace(/\r$/, '');
    at = end < 0 ? text.length : end + 1;
    if (line === '') break;
    const last = headers[headers.length - 1];
    if (/^[ \t]/.test(line) && last) {
      last[1] += ` ${line.trim()}`;
      continue;
    }
    const colon = line.indexOf(':');
    if (colon > 0) headers.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
  }
  return { headers, rest: at };
}

export function header(headers: readonly Header[], name: string): string | undefined {
  const lower = name.toLowerCase();
  return headers.find(([found]) => found.toLowerCase() === lower)?.[1];
}

/** The media type without parameters, in lower case. */
export function mediaType(value: string | undefined): string {
  return (value ?? '').split(';')[0]!.trim().toLowerCase();
}
