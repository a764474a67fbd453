//! Entries of the log as the store keeps them: kind, device, header lines, body.

use bytes::{BufMut, Bytes, BytesMut};
use chappe_chat::Envelope;
use chappe_chat::envelope::Stamp;
use chappe_chat::group::reader::{Head, Kind};
use chappe_chat::group::told::{self, TOLD_TYPE};
use chappe_chat::group::{Announcement, GroupId};
use chappe_sip::Aor;
use chappe_store::{GroupEntry, NewGroupEntry, Receipt};

/// An entry that was read.
#[derive(Debug)]
pub(super) struct Logged {
    pub seq: u64,
    kind: Kind,
    from: Option<Aor>,
    device: Option<Box<str>>,
    to: Option<Aor>,
    /// `None` for an announcement.
    pub envelope: Option<Envelope>,
    pub announcement: Option<Announcement>,
    at_ms: u64,
}

impl Logged {
    /// `None` for what cannot be read.
    pub(super) fn read(entry: &GroupEntry) -> Option<Logged> {
        let message_id = entry.message_id.as_deref();
        Logged::of(entry.seq, entry.at_ms, &entry.from, entry.to.as_deref(), message_id, &entry.content)
    }

    /// What has just been written.
    pub(super) fn written(seq: u64, entry: &NewGroupEntry) -> Option<Logged> {
        let message_id = entry.message_id.as_deref();
        Logged::of(seq, entry.at_ms, &entry.from, entry.to.as_deref(), message_id, &entry.content)
    }

    fn of(
        seq: u64,
        at_ms: u64,
        from: &str,
        to: Option<&str>,
        message_id: Option<&str>,
        content: &Bytes,
    ) -> Option<Logged> {
        let (kind, device, headers, body) = split(content)?;
        let (envelope, announcement) = match kind {
            Kind::Announcement => (None, Announcement::decode(std::str::from_utf8(&body).ok()?)),
            _ => (Some(Envelope::stored(&headers, body, message_id).ok()?), None),
        };
        Some(Logged {
            seq,
            kind,
            from: Some(from).filter(|from| !from.is_empty()).map(Aor::from_canonical),
            device,
            to: to.map(Aor::from_canonical),
            envelope,
            announcement,
            at_ms,
        })
    }

    /// An announcement as a message, and the URI of whoever made the change; `None` for what is not told.
    pub(super) fn told(&self, group: &GroupId, focus: &str) -> Option<(String, Bytes)> {
        let what = self.announcement.as_ref()?;
        let document = told::document(focus, what)?;
        let by = what.by.as_ref().map_or_else(|| focus.to_owned(), Aor::to_uri);
        let written = chappe_imdn::Envelope::new(&by, focus)
            .namespace("imdn", chappe_imdn::IMDN_NAMESPACE)
            .header("imdn.Message-ID", &format!("{group}-{}", self.seq))
            .header("DateTime", &chappe_imdn::date_time(self.at_ms))
            .content(TOLD_TYPE, &[], document.as_bytes());
        Some((by, written.into()))
    }

    pub(super) fn head(&self) -> Head<'_> {
        Head {
            sequence: self.seq,
            kind: self.kind,
            from: self.from.as_ref(),
            device: self.device.as_deref(),
            to: self.to.as_ref(),
        }
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self.kind, Kind::Message | Kind::Private)
    }

    pub(super) fn from(&self) -> Option<&Aor> {
        self.from.as_ref()
    }
}

/// Who wrote something, and to whom.
pub(super) struct Way<'a> {
    pub kind: Kind,
    pub from: &'a Aor,
    pub device: &'a str,
    pub to: Option<&'a Aor>,
}

/// A message, or a receipt, for the log.
pub(super) fn message(
    way: &Way<'_>,
    envelope: &Envelope,
    stamp: &Stamp<'_>,
    at_ms: u64,
    once: Receipt,
) -> NewGroupEntry {
    let (headers, body) = envelope.to_stored(stamp);
    NewGroupEntry {
        from: way.from.as_str().into(),
        to: way.to.map(|to| to.as_str().into()),
        message_id: Some(envelope.message_id.clone()),
        at_ms,
        content: join(way.kind, Some(way.device), &headers, &body),
        once: Some(once),
    }
}

pub(super) fn announcement(what: &Announcement, at_ms: u64) -> NewGroupEntry {
    NewGroupEntry {
        from: what.by.as_ref().map_or_else(Box::default, |by| by.as_str().into()),
        to: None,
        message_id: None,
        at_ms,
        content: join(Kind::Announcement, None, b"", what.encode().as_bytes()),
        once: None,
    }
}

/// What an entry announces, if it does.
pub(super) fn announced(entry: &GroupEntry) -> Option<Announcement> {
    match split(&entry.content)? {
        (Kind::Announcement, _, _, body) => Announcement::decode(std::str::from_utf8(&body).ok()?),
        _ => None,
    }
}

fn join(kind: Kind, device: Option<&str>, headers: &[u8], body: &[u8]) -> Bytes {
    let device = device.unwrap_or_default();
    let device = device.get(..device.len().min(u16::MAX as usize)).unwrap_or_default();
    let mut out = BytesMut::with_capacity(7 + device.len() + headers.len() + body.len());
    out.put_u8(match kind {
        Kind::Message => 1,
        Kind::Private => 2,
        Kind::Receipt => 3,
        Kind::Announcement => 4,
    });
    out.put_u16(device.len() as u16);
    out.put_slice(device.as_bytes());
    out.put_u32(headers.len() as u32);
    out.put_slice(headers);
    out.put_slice(body);
    out.freeze()
}

fn split(content: &Bytes) -> Option<(Kind, Option<Box<str>>, Bytes, Bytes)> {
    let kind = match content.first()? {
        1 => Kind::Message,
        2 => Kind::Private,
        3 => Kind::Receipt,
        4 => Kind::Announcement,
        _ => return None,
    };
    let number = |from: usize, len: usize| -> Option<usize> {
        let bytes = content.get(from..from + len)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let device = number(1, 2)?;
    let name = std::str::from_utf8(content.get(3..3 + device)?).ok()?;
    let headers = number(3 + device, 4)?;
    let at = 7 + device;
    content.get(at..at + headers)?;
    let device = Some(name).filter(|name| !name.is_empty()).map(Into::into);
    Some((kind, device, content.slice(at..at + headers), content.slice(at + headers..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_split_again() {
        for (kind, device, headers, body) in [
            (Kind::Message, Some("urn:uuid:1"), &b"From: <sip:a@b>\r\n"[..], &b"hello\x00\xff"[..]),
            (Kind::Announcement, None, b"", b"a@b\njoined"),
            (Kind::Receipt, Some("d"), b"X: y\r\n", b""),
        ] {
            let content = join(kind, device, headers, body);
            let seen = split(&content).unwrap();
            assert_eq!(seen, (kind, device.map(Into::into), headers.into(), body.into()));
            // What is cut short is nothing.
            for len in 0..content.len() - body.len() {
                assert_eq!(split(&content.slice(..len)), None, "{len}");
            }
        }
        assert_eq!(split(&Bytes::from_static(b"\x09\0\0\0\0\0\0")), None);
    }
}
