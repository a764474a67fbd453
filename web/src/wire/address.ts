// Addresses of users. Inside the client a user is `name@domain`; on the wire a SIP URI.

/** `<sip:alice@example.com>;tag=1`, `"Alice" <tel:+1>`, `sip:alice@example.com` → the URI and the name before it. */
export function nameAddr(value: string): { uri: string; name: string } {
  const open = value.indexOf('<');
  if (open < 0) return { uri: value.split(';')[0]!.trim(), name: '' };
  const close = value.indexOf('>', open);
  const name = value.slice(0, open).trim().replace(/^"(.*)"$/, '$1').replace(/\\(.)/g, '$1');
  return { uri: value.slice(open + 1, close < 0 ? undefined : close).trim(), name };
}

/** The user that a URI names, or `undefined` where it names none: `sip:Alice@Example.com;user=phone` → `Alice@example.com`. */
export function userOf(uri: string, domain: string): string | undefined {
  const [, scheme, rest] = /^(sips?|tel|im):(.*)$/i.exec(uri.trim()) ?? [];
  if (!scheme || !rest) return undefined;
  const address = rest.split(/[;?]/)[0]!;
  if (scheme.toLowerCase() === 'tel') return `${address.replace(/[-.() ]/g, '')}@${domain}`;
  const at = address.lastIndexOf('@');
  if (at < 1) return undefined;
  const host = address.slice(at + 1).replace(/:\d+$/, '').toLowerCase();
  if (host === '' || host === 'anonymous.invalid') return undefined;
  return `${decode(address.slice(0, at))}@${host}`;
}

/** What somebody typed, as a user: a name, an address, or a phone number. `undefined` where it cannot be one. */
export function userTyped(text: string, domain: string): string | undefined {
  const typed = text.trim();
  if (/^(sips?|tel|im):/i.test(typed)) return userOf(typed, domain);
  if (/^\+?[0-9][0-9 ().-]{2,}$/.test(typed)) return `${typed.replace(/[ ().-]/g, '')}@${domain}`;
  if (/^[^\s@<>"]+$/.test(typed)) return `${typed}@${domain}`;
  return /^[^\s@<>"]+@[^\s@<>"]+$/.test(typed) ? userOf(`sip:${typed}`, domain) : undefined;
}

/** The URI of a user. */
export function uriOf(user: string): string {
  const at = user.lastIndexOf('@');
  const phone = /^\+?\d+$/.test(user.slice(0, at)) ? ';user=phone' : '';
  return `sip:${encode(user.slice(0, at))}${user.slice(at)}${phone}`;
}

/** What is shown of a user: the name without a domain of our own. */
export function shortName(user: string, domain: string): string {
  return user.endsWith(`@${domain}`) ? user.slice(0, -domain.length - 1) : user;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Escapes what the user part of a SIP URI may not hold (RFC 3261 §25.1). */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/%(26|3D|2B|24|2C|3B|3F|2F)/g, (escaped) => decodeURIComponent(escaped));
}

/** Whether a user is the focus of a group: `g` and 32 digits, as our server names them. */
export function isFocus(user: string): boolean {
  return /^g[0-9a-f]{32}@/.test(user);
}

/** `"Ada" <sip:ada@example.com>`; without a name only the URI in brackets. */
export function namedUri(name: string, user: string): string {
  const shown = name.replace(/[\u0000-\u001f"\\<>]/g, '').trim();
  return `${shown ? `"${shown}" ` : ''}<${uriOf(user)}>`;
}
