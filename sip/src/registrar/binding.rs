//! A registered contact.

use crate::transport::Flow;

/// Where one device of a user is reached (RFC 3261 §10, RFC 5626 §6).
///
/// Identity: (AOR, instance-id, reg-id) where the device gave both, else (AOR, contact URI). Held in memory for every
/// registered device, so the strings are exact-size.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The contact URI as the device wrote it, without angle brackets.
    pub contact: Box<str>,
    /// The header parameters of the Contact as received, in order, with their leading `;`, without `expires`, `q`,
    /// `reg-id`, `+sip.instance`: feature tags and what we do not know.
    pub params: Box<str>,
    /// `+sip.instance` without quotes and angle brackets: `urn:uuid:…` (RFC 5626 §4.1).
    pub instance_id: Option<Box<str>>,
    /// `reg-id`, 1 to 2^31-1; only with an instance-id (RFC 5626 §4.2).
    pub reg_id: Option<u32>,
    pub call_id: Box<str>,
    pub cseq: u32,
    /// Preference in thousandths, 0 to 1000; 1000 where none was given.
    pub q: u16,
    /// The Path values in header order, comma-separated, or empty (RFC 3327).
    pub path: Box<str>,
    /// The flow that the REGISTER came on; `None` after a restart or when the connection closed.
    pub flow: Option<Flow>,
    /// Source address of the REGISTER as text where it differs from the contact (behind a NAT); used for UDP after
    /// a restart. Empty otherwise.
    pub received: Box<str>,
    /// Seconds since the Unix epoch: when the contact was first bound, and when it lapses.
    pub registered: u64,
    pub expires: u64,
    /// User-Agent of the REGISTER, shortened to 64 bytes, or empty.
    pub user_agent: Box<str>,
    /// The flow is gone but the binding may be woken by push or a new registration; not a routing target.
    pub dormant: bool,
}

impl Binding {
    /// Name of the device within its AOR, stable over network changes: the instance-id, else the contact URI.
    pub fn device(&self) -> &str {
        self.instance_id.as_deref().unwrap_or(&self.contact)
    }

    /// Whether both are the same binding, so that the newer replaces the older (RFC 5626 §6, RFC 3261 §10.3).
    pub fn same_identity(&self, other: &Binding) -> bool {
        match (&self.instance_id, self.reg_id, &other.instance_id, other.reg_id) {
            (Some(a), Some(m), Some(b), Some(n)) => a == b && m == n,
            _ => self.contact == other.contact,
        }
    }
}
