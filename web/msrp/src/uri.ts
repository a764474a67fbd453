// MSRP URIs (RFC 4975 §6).

export interface MsrpUri {
  secure: boolean;
  user: string;
  /** In lower case; an IPv6 address in brackets. */
  host: string;
  port: number | undefined;
  session: string;
  /** In lower case. */
  transport: string;
}

const FORM = /^(msrps?):\/\/(?:([^@/;]*)@)?(\[[0-9a-f:.]+\]|[^:/;@\s]+)(?::(\d{1,5}))?(?:\/([A-Za-z0-9\-._~+=/]*))?;([A-Za-z0-9]+)(?:;\S*)?$/i;

/** Its parts; undefined for what is none. */
export function parseUri(text: string): MsrpUri | undefined {
  const [, scheme, user, host, port, session, transport] = FORM.exec(text) ?? [];
  if (!scheme || !host || !transport) return undefined;
  return {
    secure: scheme.toLowerCase() === 'msrps',
    user: user ?? '',
    host: host.toLowerCase(),
    port: port === undefined ? undefined : Number(port),
    session: session ?? '',
    transport: transport.toLowerCase(),
  };
}

/** Whether two name the same session (RFC 4975 §6.1): who the user is does not count. */
export function sameUri(one: string, other: string): boolean {
  const [a, b] = [parseUri(one), parseUri(other)];
  return (
    a !== undefined && b !== undefined && a.secure === b.secure && a.host === b.host && a.port === b.port &&
    a.session === b.session && a.transport === b.transport
  );
}
