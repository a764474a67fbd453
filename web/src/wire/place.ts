// Places that are pushed (GSMA RCC.07), and those of PIDF-LO.

import { DECLARATION, attribute, below, escapeXml, readXml } from './xml';

export const PLACE_TYPE = 'application/vnd.gsma.rcspushlocation+xml';

export interface Place {
  /** Degrees (WGS 84). */
  latitude: number;
  longitude: number;
  /** Metres. */
  radius: number;
  label: string;
}

export function readPlace(xml: string): Place | undefined {
  const root = readXml(xml);
  const position = below(root, 'pos')[0]?.textContent?.trim().split(/\s+/).map(Number);
  const [latitude, longitude] = position ?? [];
  if (!isPosition(latitude, longitude)) return undefined;
  const radius = Number(below(root, 'radius')[0]?.textContent ?? '') || 0;
  const label = attribute(below(root, 'rcspushlocation')[0], 'label') ?? '';
  return { latitude: latitude!, longitude: longitude!, radius, label };
}

export function isPosition(latitude: number | undefined, longitude: number | undefined): boolean {
  return Math.abs(latitude ?? NaN) <= 90 && Math.abs(longitude ?? NaN) <= 180;
}

/** `entity`: the URI of the sender. The place may be kept for a day. */
export function writePlace(place: Place, id: string, entity: string, now: Date): string {
  const until = new Date(now.getTime() + 24 * 3600 * 1000).toISOString();
  const label = place.label ? ` label="${escapeXml(place.label)}"` : '';
  const position = `<gml:pos>${degrees(place.latitude)} ${degrees(place.longitude)}</gml:pos>`;
  return (
    `${DECLARATION}<rcsenvelope xmlns="urn:gsma:params:xml:ns:rcs:rcs:geolocation" xmlns:gp="urn:ietf:params:xml:ns:pidf:geopriv10" ` +
    `xmlns:gml="http://www.opengis.net/gml" xmlns:gs="http://www.opengis.net/pidflo/1.0" entity="${escapeXml(entity)}">` +
    `<rcspushlocation id="${escapeXml(id)}"${label}><gp:geopriv><gp:location-info>` +
    `<gs:Circle srsName="urn:ogc:def:crs:EPSG::4326">${position}` +
    `<gs:radius uom="urn:ogc:def:uom:EPSG::9001">${Math.max(1, Math.round(place.radius))}</gs:radius></gs:Circle></gp:location-info>` +
    `<gp:usage-rules><gp:retention-expiry>${until}</gp:retention-expiry></gp:usage-rules></gp:geopriv>` +
    `<timestamp>${now.toISOString()}</timestamp></rcspushlocation></rcsenvelope>\r\n`
  );
}

/** About a metre. */
function degrees(value: number): string {
  return String(Number(value.toFixed(5)));
}

/** `48.8583, 2.2945` or `geo:48.8583,2.2945;u=10` → a place. */
export function placeTyped(text: string): { latitude: number; longitude: number } | undefined {
  const [, latitude, longitude] = /^\s*(?:geo:)?\s*(-?\d+(?:\.\d+)?)\s*[,;\s]\s*(-?\d+(?:\.\d+)?)/i.exec(text) ?? [];
  const [north, east] = [Number(latitude), Number(longitude)];
  return latitude !== undefined && isPosition(north, east) ? { latitude: north, longitude: east } : undefined;
}

/** `48.85830° N, 2.29450° E` */
export function coordinates(place: { latitude: number; longitude: number }): string {
  const one = (value: number, [plus, minus]: [string, string]) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? minus : plus}`;
  return `${one(place.latitude, ['N', 'S'])}, ${one(place.longitude, ['E', 'W'])}`;
}

