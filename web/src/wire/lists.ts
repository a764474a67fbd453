// Lists of people (RFC 4826, RFC 5366).

import { DECLARATION, attribute, below, escapeXml, readXml } from './xml';

export const LIST_TYPE = 'application/resource-lists+xml';
const NAMESPACE = 'urn:ietf:params:xml:ns:resource-lists';
const COPY = 'urn:ietf:params:xml:ns:copycontrol';

export function writeList(uris: readonly string[]): string {
  const entries = uris.map((uri) => `<entry uri="${escapeXml(uri)}" cp:copyControl="to"/>`).join('');
  return `${DECLARATION}<resource-lists xmlns="${NAMESPACE}" xmlns:cp="${COPY}"><list>${entries}</list></resource-lists>\r\n`;
}

/** The URIs of all entries of a list or a document of lists. */
export function readList(xml: string): string[] {
  const root = readXml(xml);
  return below(root, 'entry').flatMap((entry) => attribute(entry, 'uri') ?? []);
}
