// A capture file of records that the server made (pcap, with nanoseconds left out).

/** LINKTYPE_WIRESHARK_UPPER_PDU: each record says itself that it is SIP, and of whom. */
const LINK = 252;
const LONGEST = 262_144;

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

/** The head of the file, then each record behind its time and length. */
export function capture(records: { at_ms: number; packet: Uint8Array }[]): Uint8Array {
  const size = records.reduce((sum, { packet }) => sum + 16 + packet.length, 24);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4);
  view.setUint16(4, 2);
  view.setUint16(6, 4);
  view.setUint32(16, LONGEST);
  view.setUint32(20, LINK);
  let at = 24;
  for (const { at_ms, packet } of records) {
    view.setUint32(at, Math.floor(at_ms / 1000));
    view.setUint32(at + 4, (at_ms % 1000) * 1000);
    view.setUint32(at + 8, packet.length);
    view.setUint32(at + 12, packet.length);
    bytes.set(packet, at + 16);
    at += 16 + packet.length;
  }
  return bytes;
}
