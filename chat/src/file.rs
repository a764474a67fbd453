//! File transfer by MSRP (RFC 5547 as RCS and CPM use it): what an offer means to a server, which devices take files by it,
//! and what becomes of a transfer that was refused.

use chappe_sdp::{Description, Direction, FileDescription, Refusal, Remote, Rules, safe_name};

use crate::access::Capabilities;
use crate::id::{MAX_ID, made_id};

/// Whether a device is to be brought a file by MSRP, since it knows no other way.
pub fn is_by_msrp_only(device: Capabilities) -> bool {
    device.file_transfer && !device.ft_http
}

/// A file that somebody offers to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOffer {
    /// Of the section; of several files the first is taken.
    pub index: usize,
    pub secure: bool,
    pub file: FileDescription,
}

/// What an INVITE with files wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    Push(Box<FileOffer>),
    /// It asks for a file.
    Pull,
}

/// The bytes of a file that are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes that are there already.
    pub first: u64,
    pub size: u64,
}

impl FileOffer {
    /// Reads the offer of an INVITE.
    ///
    /// # Errors
    /// Why there can be no transfer.
    pub fn read(sdp: &[u8]) -> Result<Offered, Refusal> {
        let rules = Rules::default();
        let offer = Description::parse_within(sdp, &rules).map_err(|_| Refusal::MediaType)?;
        let mut refusal = Refusal::MediaType;
        for index in 0..offer.media().len() {
            let remote = match Remote::read(&offer, index, &rules) {
                Ok(remote) => remote,
                Err(error) => {
                    refusal = error;
                    continue;
                }
            };
            let Some(file) = remote.file else { continue };
            if remote.direction == Direction::RECEIVE_ONLY {
                return Ok(Offered::Pull);
            }
            return Ok(Offered::Push(Box::new(FileOffer { index, secure: remote.secure, file })));
        }
        Err(refusal)
    }

    /// What of the file is to come; `None` for a range that does not go to its end, and for a file of unknown size that begins
    /// in the middle.
    pub fn extent(&self) -> Option<Extent> {
        let size = self.file.selector.size;
        let Some(range) = self.file.range else { return Some(Extent { first: 0, size: size.unwrap_or(u64::MAX) }) };
        let first = range.start.checked_sub(1)?;
        match (size, range.stop) {
            (Some(size), Some(stop)) => (first < size && stop == size).then_some(Extent { first, size }),
            (Some(size), None) => (first < size).then_some(Extent { first, size }),
            (None, _) => (first == 0).then_some(Extent { first: 0, size: range.stop.unwrap_or(u64::MAX) }),
        }
    }

    /// What the transfer is known by when its sender goes on with it: a name for the same file between the same users. `None`
    /// where nothing tells that it is the same.
    pub fn key(&self, sender: &str, recipient: &str) -> Option<Box<str>> {
        let selector = &self.file.selector;
        let hash = selector.hashes.first()?;
        let size = selector.size?.to_be_bytes();
        Some(made_id(&[sender.as_bytes(), recipient.as_bytes(), hash.algorithm.as_bytes(), &hash.value, &size]))
    }

    /// The id of the message that tells of the file: that of the transfer, by which its sender will know the receipts. (u)
    pub fn message_id(&self, call_id: &[u8]) -> Box<str> {
        let id = self.file.transfer_id.as_deref().filter(|id| id.len() <= MAX_ID);
        id.map_or_else(|| made_id(&[call_id, b"file"]), Into::into)
    }

    /// A name without a path.
    pub fn name(&self) -> String {
        self.file.selector.name.as_deref().and_then(safe_name).unwrap_or_default()
    }

    /// Whether it is to be played or shown at once: an audio message, say.
    pub fn is_rendered(&self) -> bool {
        self.file.disposition.as_deref().is_some_and(|disposition| disposition.eq_ignore_ascii_case("render"))
    }
}

/// Puts the slices of a file in their order. What came before may come again after a failure, and is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InOrder {
    next: u64,
}

/// Bytes were left out, which no sender of one file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes from {next} on were left out")]
pub struct Gap {
    pub next: u64,
}

impl InOrder {
    pub fn new() -> InOrder {
        InOrder { next: 0 }
    }

    /// What of a slice at `offset` is new.
    ///
    /// # Errors
    /// The slice lies behind the end of what is there.
    pub fn take<'s>(&mut self, offset: u64, slice: &'s [u8]) -> Result<&'s [u8], Gap> {
        let known = self.next.checked_sub(offset).ok_or(Gap { next: self.next })?;
        let new = usize::try_from(known).ok().and_then(|known| slice.get(known..)).unwrap_or_default();
        self.next += new.len() as u64;
        Ok(new)
    }
}

impl Default for InOrder {
    fn default() -> InOrder {
        InOrder::new()
    }
}

/// What becomes of a file that a device did not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Its user does not want it, or it never will: the code.
    Never(u16),
    /// It may when it is asked again.
    Later,
}

/// What a failure of the INVITE with a file means (GSMA RCC.07 §3.5; rcsjta declines with 603).
pub fn after_invite(status: u16) -> NotTaken {
    match status {
        400 | 403 | 404 | 410 | 413 | 415 | 416 | 420 | 488 | 493 | 513 | 600.. => NotTaken::Never(status),
        _ => NotTaken::Later,
    }
}

/// The same of an MSRP response or of a BYE in the middle of it (RFC 5547 §8.4: a receiver aborts with 413).
pub fn after_refusal(code: u16) -> NotTaken {
    match code {
        400 | 403 | 413 | 415 => NotTaken::Never(code),
        _ => NotTaken::Later,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "hash:sha-1:72:24:5F:E8:65:3D:DA:F3:71:36:2F:86:D4:71:91:3E:E4:A2:CE:2E";

    fn sdp(lines: &str) -> String {
        format!(
            "v=0\r\no=- 1 1 IN IP4 10.12.3.4\r\ns=-\r\nc=IN IP4 10.12.3.4\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
             a=accept-types:image/jpeg\r\na=setup:active\r\na=path:msrp://10.12.3.4:9/ft;tcp\r\n{lines}"
        )
    }

    fn push(lines: &str) -> FileOffer {
        match FileOffer::read(sdp(lines).as_bytes()) {
            Ok(Offered::Push(offer)) => *offer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn offers() {
        let offer = push(&format!(
            "a=sendonly\r\na=file-selector:name:\"../../beach.jpg\" type:image/jpeg size:482113 {HASH}\r\n\
             a=file-transfer-id:4cP7oWq0dRk2bTnY\r\na=file-disposition:render\r\n"
        ));
        assert_eq!((offer.index, offer.secure, offer.is_rendered()), (0, false, true));
        assert!(!offer.name().contains('/'), "{}", offer.name());
        assert_eq!(&*offer.message_id(b"c"), "4cP7oWq0dRk2bTnY");
        assert_eq!(offer.extent(), Some(Extent { first: 0, size: 482_113 }));
        let asks = sdp("a=recvonly\r\na=file-selector:size:1\r\na=file-transfer-id:x\r\n");
        assert_eq!(FileOffer::read(asks.as_bytes()), Ok(Offered::Pull));
        assert!(FileOffer::read(sdp("a=sendonly\r\n").as_bytes()).is_err(), "no file");
        assert!(FileOffer::read(b"nonsense").is_err());
    }

    #[test]
    fn the_first_of_several_that_can_be_read() {
        let more = "m=message 9 TCP/MSRP *\r\na=accept-types:*\r\na=path:msrp://h:9/b;tcp\r\na=sendonly\r\n\
                    a=file-selector:size:7\r\na=file-transfer-id:b\r\n";
        let text = sdp("a=inactive\r\n").replace("m=message 9", "m=message 0") + more;
        match FileOffer::read(text.as_bytes()) {
            Ok(Offered::Push(offer)) => assert_eq!((offer.index, offer.file.selector.size), (1, Some(7))),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn extents() {
        for (selector, range, expected) in [
            ("size:10", "", Some((0, 10))),
            ("size:10", "1-10", Some((0, 10))),
            ("size:10", "4-10", Some((3, 10))),
            ("size:10", "4-*", Some((3, 10))),
            ("size:10", "4-9", None),
            ("size:10", "11-*", None),
            ("type:a/b", "", Some((0, u64::MAX))),
            ("type:a/b", "1-*", Some((0, u64::MAX))),
            ("type:a/b", "2-*", None),
        ] {
            let range_line = if range.is_empty() { String::new() } else { format!("a=file-range:{range}\r\n") };
            let offer =
                push(&format!("a=sendonly\r\na=file-selector:{selector}\r\na=file-transfer-id:x\r\n{range_line}"));
            let expected = expected.map(|(first, size)| Extent { first, size });
            assert_eq!(offer.extent(), expected, "{selector} {range}");
        }
    }

    #[test]
    fn a_transfer_that_goes_on_has_the_same_key() {
        let line = |id: &str, size: u64| {
            format!("a=sendonly\r\na=file-selector:size:{size} {HASH}\r\na=file-transfer-id:{id}\r\n")
        };
        let first = push(&line("a", 10)).key("sip:a@x", "sip:b@x");
        assert!(first.is_some());
        assert_eq!(push(&line("b", 10)).key("sip:a@x", "sip:b@x"), first);
        assert_ne!(push(&line("a", 11)).key("sip:a@x", "sip:b@x"), first);
        assert_ne!(push(&line("a", 10)).key("sip:a@x", "sip:c@x"), first);
        let unnamed = push("a=sendonly\r\na=file-selector:size:10\r\na=file-transfer-id:a\r\n");
        assert_eq!(unnamed.key("sip:a@x", "sip:b@x"), None);
    }

    #[test]
    fn slices_in_order_and_again() {
        let mut order = InOrder::new();
        assert_eq!(order.take(0, b"abc"), Ok(&b"abc"[..]));
        assert_eq!(order.take(0, b"abc"), Ok(&b""[..]));
        assert_eq!(order.take(2, b"cde"), Ok(&b"de"[..]));
        assert_eq!(order.take(6, b"x"), Err(Gap { next: 5 }));
        assert_eq!(order.take(5, b"f"), Ok(&b"f"[..]));
    }

    #[test]
    fn what_refusals_mean() {
        for (status, expected) in [
            (603, NotTaken::Never(603)),
            (415, NotTaken::Never(415)),
            (486, NotTaken::Later),
            (408, NotTaken::Later),
            (480, NotTaken::Later),
            (487, NotTaken::Later),
            (503, NotTaken::Later),
        ] {
            assert_eq!(after_invite(status), expected, "{status}");
        }
        assert_eq!(after_refusal(413), NotTaken::Never(413));
        assert_eq!(after_refusal(481), NotTaken::Later);
    }

    #[test]
    fn who_is_brought_files() {
        let device = |iari: &str| {
            let iari = format!("urn%3Aurn-7%3A3gpp-application.ims.iari.{iari}");
            Capabilities::of(&format!(";+g.oma.sip-im;+g.3gpp.iari-ref=\"{iari}\""), "")
        };
        let (ft, both) = (device("rcse.ft"), device("rcse.ft,urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp"));
        assert!(is_by_msrp_only(ft) && !is_by_msrp_only(both) && !is_by_msrp_only(device("rcs.fthttp")));
    }
}
