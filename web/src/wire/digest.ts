// Digest access (RFC 7616) for HTTP: the browser's own would ask with a window.

import { Md5 } from 'sip.js/lib/core/messages/md5';

export interface Challenge {
  realm: string;
  nonce: string;
  opaque?: string;
  algorithm: 'MD5' | 'SHA-256';
  /** Whether "auth" is among what is offered. */
  qop: boolean;
}

/** The challenges of a WWW-Authenticate value that can be answered, the best first. */
export function readChallenges(value: string): Challenge[] {
  const found = value.split(/(?:^|,)\s*Digest\s+/i).slice(1).flatMap((text): Challenge[] => {
    const of = (name: string) => {
      const [, quoted, plain] = new RegExp(`(?:^|[,\\s])${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,]+))`, 'i').exec(text) ?? [];
      return quoted?.replace(/\\(.)/g, '$1') ?? plain;
    };
    const algorithm = (of('algorithm') ?? 'MD5').toUpperCase();
    const [realm, nonce, opaque] = [of('realm'), of('nonce'), of('opaque')];
    if (realm === undefined || nonce === undefined || (algorithm !== 'MD5' && algorithm !== 'SHA-256')) return [];
    const qop = (of('qop') ?? '').split(',').some((one) => one.trim() === 'auth');
    return [{ realm, nonce, algorithm, qop, ...(opaque === undefined ? {} : { opaque }) }];
  });
  const canSha = typeof crypto !== 'undefined' && crypto.subtle !== undefined;
  const usable = found.filter((one) => one.algorithm === 'MD5' || canSha);
  return usable.sort((one, other) => Number(other.algorithm === 'SHA-256') - Number(one.algorithm === 'SHA-256'));
}

async function hash(algorithm: Challenge['algorithm'], text: string): Promise<string> {
  if (algorithm === 'MD5') return Md5.hashStr(text);
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** The Authorization value. `uri`: path and query, as they are sent; `count`: how often the nonce was used, from 1. */
export async function authorize(
  challenge: Challenge,
  who: { user: string; password: string },
  what: { method: string; uri: string; count: number; cnonce: string },
): Promise<string> {
  const { realm, nonce, algorithm } = challenge;
  const nc = what.count.toString(16).padStart(8, '0');
  const secret = await hash(algorithm, `${who.user}:${realm}:${who.password}`);
  const request = await hash(algorithm, `${what.method}:${what.uri}`);
  const middle = challenge.qop ? `${nonce}:${nc}:${what.cnonce}:auth` : nonce;
  const response = await hash(algorithm, `${secret}:${middle}:${request}`);
  const quoted = (text: string) => `"${text.replace(/["\\]/g, '\\$&')}"`;
  const fields = [
    `username=${quoted(who.user)}`, `realm=${quoted(realm)}`, `nonce=${quoted(nonce)}`, `uri=${quoted(what.uri)}`,
    `algorithm=${algorithm}`, `response="${response}"`,
    ...(challenge.qop ? ['qop=auth', `nc=${nc}`, `cnonce="${what.cnonce}"`] : []),
    ...(challenge.opaque === undefined ? [] : [`opaque=${quoted(challenge.opaque)}`]),
  ];
  return `Digest ${fields.join(', ')}`;
}
