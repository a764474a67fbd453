// Digest (RFC 7616) with SHA-256, which browsers have; another algorithm is the business of `LogIn.authorize`.

const quote = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;

function field(text: string, name: string): string | undefined {
  const form = new RegExp(`(?:^|[,\\s])${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,]+))`, 'i');
  const [, quoted, plain] = form.exec(text) ?? [];
  return quoted?.replace(/\\(.)/g, '$1') ?? plain;
}

async function sha256(text: string): Promise<string> {
  const bytes = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The Authorization value that answers one of these challenges; undefined where none asks for SHA-256. */
export async function answer(challenges: string[], user: string, password: string, uri: string): Promise<string | undefined> {
  const challenge = challenges.find((text) => /^Digest\s/i.test(text) && field(text, 'algorithm')?.toUpperCase() === 'SHA-256');
  const [realm, nonce] = challenge === undefined ? [] : [field(challenge, 'realm'), field(challenge, 'nonce')];
  if (challenge === undefined || realm === undefined || nonce === undefined) return undefined;
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  const cnonce = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  const [secret, request] = await Promise.all([sha256(`${user}:${realm}:${password}`), sha256(`AUTH:${uri}`)]);
  const response = await sha256(`${secret}:${nonce}:00000001:${cnonce}:auth:${request}`);
  const opaque = field(challenge, 'opaque');
  const fields = [
    `username=${quote(user)}`, `realm=${quote(realm)}`, `nonce=${quote(nonce)}`, `uri=${quote(uri)}`, 'algorithm=SHA-256',
    'qop=auth', 'nc=00000001', `cnonce="${cnonce}"`, `response="${response}"`,
    ...(opaque === undefined ? [] : [`opaque=${quote(opaque)}`]),
  ];
  return `Digest ${fields.join(', ')}`;
}
