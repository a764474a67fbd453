// What a session description (RFC 4975 §8) says of an MSRP session, for an application's offer and answer.

/** The section of a session over TLS or WebSocket. `path`: as others reach us, the relay first. */
export function describe({ path, accepts, secure }: { path: string[]; accepts: string[]; secure: boolean }): string {
  return [
    `m=message 9 ${secure ? 'TCP/TLS/MSRP' : 'TCP/MSRP'} *`,
    'a=setup:active',
    `a=accept-types:${accepts.join(' ')}`,
    `a=path:${path.join(' ')}`,
    '',
  ].join('\r\n');
}

/** The first section about messages. */
function section(sdp: string): string {
  return sdp.split(/^(?=m=)/m).find((part) => part.startsWith('m=message ')) ?? '';
}

/** The path to the other side; empty where there is none, or it was refused. */
export function pathOf(sdp: string): string[] {
  const part = section(sdp);
  if (part.startsWith('m=message 0 ')) return [];
  return /^a=path:(.*)$/m.exec(part)?.[1]?.trim().split(/\s+/) ?? [];
}

/** The media types that the other side takes. */
export function acceptsOf(sdp: string): string[] {
  return /^a=accept-types:(.*)$/m.exec(section(sdp))?.[1]?.trim().split(/\s+/) ?? [];
}
