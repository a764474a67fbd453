//! What a relay has to know of RTP and RTCP (RFC 3550), and how datagrams of one port are told apart (RFC 7983).

/// What a datagram is by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

impl Kind {
    /// RFC 7983 §7 and RFC 5761 §4; `None` for what is none of them.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Kind> {
        match bytes {
            [0..=3, ..] => Some(Kind::Stun),
            [20..=63, ..] => Some(Kind::Dtls),
            [128..=191, 192..=223, ..] if bytes.len() >= 8 => Some(Kind::Rtcp),
            [128..=191, ..] if Header::parse(bytes).is_some() => Some(Kind::Rtp),
            _ => None,
        }
    }
}

/// The fixed header of an RTP packet (RFC 3550 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Where the payload begins, behind contributors and extensions.
    pub payload: usize,
    /// Bytes of padding at the end.
    pub padding: usize,
}

impl Header {
    /// None for what is no RTP, or cut short.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        let head = bytes.get(..12)?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let mut payload = 12 + 4 * usize::from(head[0] & 0x0f);
        if head[0] & 0x10 != 0 {
            let extension = bytes.get(payload..payload + 4)?;
            payload += 4 + 4 * usize::from(u16::from_be_bytes([extension[2], extension[3]]));
        }
        let padding = match head[0] & 0x20 {
            0 => 0,
            _ => usize::from(*bytes.last()?).max(1),
        };
        if payload + padding > bytes.len() {
            return None;
        }
        Some(Header {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload,
            padding,
        })
    }

    /// A packet with this header and no extension, in front of `payload`.
    #[must_use]
    pub fn write(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(12 + payload.len() + 16);
        packet.push(0x80);
        packet.push(u8::from(self.marker) << 7 | self.payload_type & 0x7f);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        packet
    }
}

/// The packets of a compound RTCP packet (RFC 3550 §6.1), each with its type; ends at what does not fit.
pub fn rtcp_packets(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.get(..4)?;
        if head[0] >> 6 != 2 {
            return None;
        }
        let length = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let packet = rest.get(..length)?;
        rest = &rest[length..];
        Some((packet[1], packet))
    })
}

/// The sources that a compound packet speaks of: its sender, then those that are reported on or spoken to.
pub fn rtcp_sources(bytes: &[u8]) -> impl Iterator<Item = u32> {
    rtcp_packets(bytes).flat_map(|(kind, packet)| {
        let word = |at: usize| packet.get(at..at + 4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
        let reports = match kind {
            200 => 28,
            201 => 8,
            _ => packet.len(),
        };
        let spoken_to = if matches!(kind, 205 | 206) { word(8) } else { None };
        let blocks = (reports..packet.len()).step_by(24).filter_map(word).collect::<Vec<_>>();
        word(4).into_iter().chain(spoken_to).chain(blocks)
    })
}

/// Which feedback a compound packet has, for the counters.
#[must_use]
pub fn asks_for_picture(bytes: &[u8]) -> bool {
    rtcp_packets(bytes).any(|(kind, packet)| kind == 206 && matches!(packet[0] & 0x1f, 1 | 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_of_one_port() {
        let rtp = Header { marker: true, payload_type: 8, sequence: 1, timestamp: 2, ssrc: 3, payload: 12, padding: 0 };
        let rtp = rtp.write(b"sound");
        for (bytes, expected) in [
            (&b"\0\x01"[..], Some(Kind::Stun)),
            (&[22, 254, 253], Some(Kind::Dtls)),
            (&rtp, Some(Kind::Rtp)),
            (&rtp[..11], None),
            (&[0x80, 200, 0, 1, 0, 0, 0, 9], Some(Kind::Rtcp)),
            (&[0x80, 200, 0], None),
            (&[70; 40], None),
            (&[], None),
        ] {
            assert_eq!(Kind::of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_payload_lies_behind_contributors_and_extension() {
        let mut packet = vec![0x80 | 0x10 | 0x20 | 1, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4, b'x', 0, 2]);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.payload, header.padding, &packet[header.payload..][..1]), (24, 2, &b"x"[..]));
        *packet.last_mut().unwrap() = 200;
        assert_eq!(Header::parse(&packet), None, "more padding than packet");
    }

    #[test]
    fn a_report_names_its_sources() {
        let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 5, 0, 0, 0, 6];
        report.extend([0; 20]);
        report.extend([0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
        assert_eq!(rtcp_sources(&report).collect::<Vec<_>>(), [5, 6, 7, 8]);
        assert!(asks_for_picture(&report));
        assert!(!asks_for_picture(&report[..32]));
    }
}
