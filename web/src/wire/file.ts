// The document that tells of a file on a content server (GSMA RCC.07, file transfer over HTTP).

import { attribute, child, children, readXml, textOf } from './xml';

export const FILE_TYPE = 'application/vnd.gsma.rcs-ft-http+xml';

export interface FileInfo {
  url: string;
  name: string;
  /** Bytes. */
  size: number;
  type: string;
  /** When the link ends, in milliseconds. */
  until?: number;
  thumbnail?: string;
  /** A recorded voice, to be played in place. */
  voice: boolean;
  /** Of a recorded voice. */
  seconds?: number;
}

export function readFile(xml: string): FileInfo | undefined {
  const infos = children(readXml(xml), 'file-info');
  const info = infos.find((one) => attribute(one, 'type') === 'file');
  const data = child(info, 'data');
  const url = attribute(data, 'url');
  if (!info || !url) return undefined;
  const size = Number(textOf(info, 'file-size')) || 0;
  const type = textOf(info, 'content-type') || 'application/octet-stream';
  const until = Date.parse(attribute(data, 'until') ?? '');
  const preview = infos.find((one) => attribute(one, 'type') === 'thumbnail');
  const thumbnail = attribute(child(preview, 'data'), 'url');
  const length = Number(textOf(info, 'playing-length'));
  const voice = attribute(info, 'file-disposition') === 'render' || /voice-recording=yes/i.test(type);
  return {
    url, size, type, voice,
    name: textOf(info, 'file-name') || nameOf(url),
    ...(Number.isNaN(until) ? {} : { until }),
    ...(thumbnail ? { thumbnail } : {}),
    ...(length > 0 ? { seconds: seconds(length, size) } : {}),
  };
}

function nameOf(url: string): string {
  return url.split(/[?#]/)[0]!.split('/').pop() || 'file';
}

/** Some clients write milliseconds: what would be less than 100 bytes a second is taken for those. */
function seconds(length: number, size: number): number {
  return size > 0 && size / length < 100 ? Math.max(1, Math.round(length / 1000)) : length;
}

/** The server's document, for a recorded voice of so many seconds. */
export function asVoice(xml: string, length: number): string {
  const head = /<file-info\b[^>]*\btype\s*=\s*"file"[^>]*>/.exec(xml)?.[0];
  if (!head) return xml;
  const shown = /file-disposition\s*=/.test(head)
    ? head.replace(/file-disposition\s*=\s*"[^"]*"/, 'file-disposition="render"')
    : head.replace('<file-info', '<file-info file-disposition="render"');
  const namespace = 'urn:gsma:params:xml:ns:rcs:rcs:rram';
  const tag = `<am:playing-length xmlns:am="${namespace}">${Math.max(1, Math.round(length))}</am:playing-length>`;
  const [before, after] = [xml.slice(0, xml.indexOf(head)), xml.slice(xml.indexOf(head) + head.length)];
  const at = after.indexOf('<data');
  return `${before}${shown}${after.slice(0, at)}${tag}${after.slice(at)}`;
}

/** How much there is of an upload that was cut, and where the rest goes. */
export function readResume(xml: string): { next: number; url: string } | undefined {
  const root = readXml(xml);
  const url = attribute(child(root, 'data'), 'url');
  const range = child(root, 'file-range');
  if (!url) return undefined;
  const end = Number(attribute(range, 'end') ?? '');
  return { url, next: range && Number.isInteger(end) ? end + 1 : 0 };
}

/** The path on our own server of a link to its content server: what is elsewhere is not fetched. */
export function ownPath(url: string): string | undefined {
  const [, path] = /^https?:\/\/[^/]+(\/ft\/[^\s]*)$/i.exec(url) ?? [];
  return path ?? (url.startsWith('/ft/') ? url : undefined);
}
