//! A registered contact.

use std::fmt;
use std::num::NonZeroU32;

use crate::transport::Flow;

/// Where one device of a user is reached (RFC 3261 §10, RFC 5626 §6).
///
/// Identity: (AOR, instance-id, reg-id) where the device gave both, else (AOR, contact URI). One is held in memory for
/// every registered device, so all its strings are in one allocation of exactly their length.
#[derive(Clone, PartialEq)]
pub struct Binding {
    /// Contact, params, instance-id, Call-ID, Path, received and User-Agent, one after the other.
    text: Box<str>,
    /// Where each of them but the last ends.
    ends: [u16; 6],
    reg_id: Option<NonZeroU32>,
    registered: u32,
    expires: u32,
    pub cseq: u32,
    /// Preference in thousandths, 0 to 1000; 1000 where none was given.
    pub q: u16,
    /// The flow is gone but the binding may be woken by push or a new registration; not a routing target.
    pub dormant: bool,
    /// The flow that the REGISTER came on; `None` after a restart or when the connection closed.
    pub flow: Option<Flow>,
}

/// What a [`Binding`] is made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parts<'a> {
    /// The contact URI as the device wrote it, without angle brackets.
    pub contact: &'a str,
    /// The header parameters of the Contact as received, in order, with their leading `;`, without `expires`, `q`,
    /// `reg-id`, `+sip.instance`: feature tags and what we do not know.
    pub params: &'a str,
    /// `+sip.instance` without quotes and angle brackets: `urn:uuid:…` (RFC 5626 §4.1). An empty one is none.
    pub instance_id: Option<&'a str>,
    /// `reg-id`, 1 to 2^31-1; only with an instance-id (RFC 5626 §4.2). 0 is none.
    pub reg_id: Option<u32>,
    pub call_id: &'a str,
    pub cseq: u32,
    /// Preference in thousandths, 0 to 1000.
    pub q: u16,
    /// The Path values in header order, comma-separated, or empty (RFC 3327).
    pub path: &'a str,
    /// See [`Binding::flow`].
    pub flow: Option<Flow>,
    /// Source address of the REGISTER as text where it differs from the contact (behind a NAT); used for UDP after
    /// a restart. Empty otherwise.
    pub received: &'a str,
    /// Seconds since the Unix epoch, when the contact was first bound.
    pub registered: u64,
    /// Seconds since the Unix epoch, when it lapses.
    pub expires: u64,
    /// User-Agent of the REGISTER, shortened to 64 bytes, or empty.
    pub user_agent: &'a str,
    /// See [`Binding::dormant`].
    pub dormant: bool,
}

/// The strings of a binding are over 65,535 bytes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the binding is too long")]
pub struct TooLong;

impl Default for Parts<'_> {
    /// Empty, with the preference that a contact has which names none.
    fn default() -> Self {
        Parts {
            contact: "",
            params: "",
            instance_id: None,
            reg_id: None,
            call_id: "",
            cseq: 0,
            q: 1000,
            path: "",
            flow: None,
            received: "",
            registered: 0,
            expires: 0,
            user_agent: "",
            dormant: false,
        }
    }
}

impl Parts<'_> {
    fn texts(&self) -> [&str; 7] {
        let instance_id = self.instance_id.unwrap_or_default();
        [self.contact, self.params, instance_id, self.call_id, self.path, self.received, self.user_agent]
    }

    /// Whether a binding can hold this much text.
    pub(super) fn check(&self) -> Result<(), TooLong> {
        let len = self.texts().iter().fold(0usize, |sum, text| sum.saturating_add(text.len()));
        if len > u16::MAX.into() { Err(TooLong) } else { Ok(()) }
    }
}

impl Binding {
    /// Times beyond the year 2106 are taken for its beginning.
    pub fn new(parts: Parts<'_>) -> Result<Binding, TooLong> {
        parts.check()?;
        let texts = parts.texts();
        let mut text = String::with_capacity(texts.iter().map(|text| text.len()).sum());
        let mut ends = [0; 6];
        for (at, part) in texts.into_iter().enumerate() {
            text.push_str(part);
            if let Some(end) = ends.get_mut(at) {
                *end = text.len() as u16;
            }
        }
        Ok(Binding {
            text: text.into(),
            ends,
            reg_id: parts.reg_id.and_then(NonZeroU32::new),
            registered: seconds(parts.registered),
            expires: seconds(parts.expires),
            cseq: parts.cseq,
            q: parts.q,
            dormant: parts.dormant,
            flow: parts.flow,
        })
    }

    /// All of it, to make one from it that differs.
    pub fn parts(&self) -> Parts<'_> {
        Parts {
            contact: self.contact(),
            params: self.params(),
            instance_id: self.instance_id(),
            reg_id: self.reg_id(),
            call_id: self.call_id(),
            cseq: self.cseq,
            q: self.q,
            path: self.path(),
            flow: self.flow,
            received: self.received(),
            registered: self.registered(),
            expires: self.expires(),
            user_agent: self.user_agent(),
            dormant: self.dormant,
        }
    }

    /// See [`Parts::contact`], as for the others.
    pub fn contact(&self) -> &str {
        self.text(0)
    }

    pub fn params(&self) -> &str {
        self.text(1)
    }

    pub fn instance_id(&self) -> Option<&str> {
        Some(self.text(2)).filter(|id| !id.is_empty())
    }

    pub fn reg_id(&self) -> Option<u32> {
        self.reg_id.map(NonZeroU32::get)
    }

    pub fn call_id(&self) -> &str {
        self.text(3)
    }

    pub fn path(&self) -> &str {
        self.text(4)
    }

    pub fn received(&self) -> &str {
        self.text(5)
    }

    pub fn user_agent(&self) -> &str {
        self.text(6)
    }

    pub fn registered(&self) -> u64 {
        self.registered.into()
    }

    pub fn expires(&self) -> u64 {
        self.expires.into()
    }

    /// In seconds since the Unix epoch.
    pub fn set_expires(&mut self, expires: u64) {
        self.expires = seconds(expires);
    }

    pub(super) fn set_call_id(&mut self, call_id: &str) -> Result<(), TooLong> {
        *self = Binding::new(Parts { call_id, ..self.parts() })?;
        Ok(())
    }

    /// Name of the device within its AOR, stable over network changes: the instance-id, else the contact URI.
    pub fn device(&self) -> &str {
        self.instance_id().unwrap_or(self.contact())
    }

    /// Whether both are the same binding, so that the newer replaces the older (RFC 5626 §6, RFC 3261 §10.3).
    pub fn same_identity(&self, other: &Binding) -> bool {
        match (self.instance_id(), self.reg_id, other.instance_id(), other.reg_id) {
            (Some(a), Some(m), Some(b), Some(n)) => a == b && m == n,
            _ => self.contact() == other.contact(),
        }
    }

    fn text(&self, at: usize) -> &str {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before].into());
        let to = self.ends.get(at).map_or(self.text.len(), |end| (*end).into());
        &self.text[from..to]
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

fn seconds(since_epoch: u64) -> u32 {
    since_epoch.try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;

    fn parts() -> Parts<'static> {
        Parts {
            contact: "sip:a@192.0.2.1",
            params: ";audio",
            instance_id: Some("urn:uuid:1"),
            reg_id: Some(7),
            call_id: "c é",
            cseq: 3,
            q: 500,
            path: "<sip:p;lr>",
            flow: Some(Flow {
                transport: Transport::Udp,
                listener: 1,
                connection: 0,
                remote: ([192, 0, 2, 1], 5060).into(),
            }),
            received: "198.51.100.1:9",
            registered: 1,
            expires: u64::from(u32::MAX),
            user_agent: "Phone/1",
            dormant: true,
        }
    }

    #[test]
    fn parts_read_back() {
        for parts in [parts(), Parts::default(), Parts { instance_id: None, reg_id: None, ..parts() }] {
            assert_eq!(Binding::new(parts).unwrap().parts(), parts);
        }
        let late = Binding::new(Parts { expires: u64::MAX, ..parts() }).unwrap();
        assert_eq!(late.expires(), u64::from(u32::MAX));
    }

    #[test]
    fn the_strings_have_a_limit_together() {
        let rest: usize = parts().texts().iter().skip(1).map(|text| text.len()).sum();
        let long = "x".repeat(usize::from(u16::MAX) - rest + 1);
        assert_eq!(Binding::new(Parts { contact: &long, ..parts() }).err(), Some(TooLong));
        let fits = Binding::new(Parts { contact: &long[1..], ..parts() }).unwrap();
        assert_eq!((fits.contact(), fits.user_agent()), (&long[1..], "Phone/1"));
        let mut other = fits.clone();
        assert_eq!(other.set_call_id("longer than it was"), Err(TooLong));
        assert_eq!(other, fits);
        assert_eq!(other.set_call_id("d"), Ok(()));
        assert_eq!(other.parts(), Parts { call_id: "d", ..fits.parts() });
    }

    #[test]
    fn a_binding_is_small() {
        let size = size_of::<Binding>();
        assert!(size <= 96, "{size} bytes beside its text");
    }
}
