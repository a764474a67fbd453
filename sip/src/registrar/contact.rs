//! The Contact values of a REGISTER (RFC 3261 §10.3 steps 6 and 7, RFC 5626 §4, §6).

use std::borrow::Cow;
use std::net::SocketAddr;

use smallvec::SmallVec;

use super::{Binding, Policy, Reject};
use crate::header::NameAddr;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text::{self, decimal, is_lws};
use crate::uri::{Scheme, Uri, host_ip};

/// Contact values looked at in one request; more is refused.
const MAX_CONTACTS: usize = 32;

/// What the client wants done with one contact.
pub(super) struct Wanted<'m> {
    pub(super) uri: Uri<'m>,
    /// The parameters to keep, as [`Binding::params`] holds them.
    pub(super) params: SmallVec<[u8; 192]>,
    pub(super) instance_id: Option<Cow<'m, str>>,
    pub(super) reg_id: Option<u32>,
    pub(super) q: u16,
    /// Granted seconds; 0 removes.
    pub(super) expires: u32,
}

#[expect(clippy::large_enum_variant, reason = "made once for a request, and the large one is the usual one")]
pub(super) enum Contacts<'m> {
    None,
    All,
    Some(SmallVec<[Wanted<'m>; 1]>),
}

pub(super) fn contacts<'m>(request: &'m Message, policy: &Policy) -> Result<Contacts<'m>, Reject> {
    let header = request.header(HeaderName::Expires).map(delta_seconds);
    let mut found: SmallVec<[Wanted<'m>; 1]> = SmallVec::new();
    let mut all = false;
    for (count, value) in request.values(HeaderName::Contact).enumerate() {
        if count == MAX_CONTACTS {
            return Err(Reject::BadRequest("Too Many Contacts"));
        }
        if value == b"*" {
            all = true;
        } else {
            found.push(wanted(value, header, policy)?);
        }
        if all && count > 0 {
            return Err(Reject::BadRequest("Contact * Stands Alone"));
        }
    }
    if all {
        if header != Some(Some(0)) {
            return Err(Reject::BadRequest("Contact * Needs Expires 0"));
        }
        return Ok(Contacts::All);
    }
    Ok(if found.is_empty() { Contacts::None } else { Contacts::Some(found) })
}

fn wanted<'m>(value: &'m [u8], header: Option<Option<u32>>, policy: &Policy) -> Result<Wanted<'m>, Reject> {
    let address = NameAddr::parse(value)?;
    if address.uri.len() > policy.max_contact || address.params.len() > policy.max_params {
        return Err(Reject::BadRequest("Contact Too Long"));
    }
    let uri = address.parse_uri()?;
    if !uri.is_sip() && !policy.foreign_schemes {
        return Err(Reject::BadRequest("Contact Is Not A SIP URI"));
    }
    let mut wanted = Wanted { uri, params: SmallVec::new(), instance_id: None, reg_id: None, q: 1000, expires: 0 };
    let mut asked = header;
    for (name, value) in text::params(address.params, b';') {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        match name.len() {
            7 if is("expires") => asked = Some(delta_seconds(value.unwrap_or_default())),
            1 if is("q") => {
                wanted.q = thousandths(value.unwrap_or_default()).ok_or(Reject::BadRequest("q Is From 0 To 1"))?;
            }
            6 if is("reg-id") => {
                let id =
                    value.and_then(decimal).and_then(|n| u32::try_from(n).ok()).filter(|n| (1..1 << 31).contains(n));
                wanted.reg_id = Some(id.ok_or(Reject::BadRequest("reg-id Is From 1 To 2147483647"))?);
            }
            13 if is("+sip.instance") => wanted.instance_id = instance(value.unwrap_or_default())?,
            // The registrar's to give (RFC 5627 §5.1).
            8 if is("pub-gruu") => {}
            9 if is("temp-gruu") => {}
            _ => {
                wanted.params.push(b';');
                keep(&mut wanted.params, name);
                if let Some(value) = value {
                    wanted.params.push(b'=');
                    keep(&mut wanted.params, value);
                }
            }
        }
    }
    if std::str::from_utf8(&wanted.params).is_err() {
        return Err(Reject::BadRequest("Contact Is Not UTF-8"));
    }
    wanted.reg_id = wanted.reg_id.filter(|_| wanted.instance_id.is_some());
    wanted.expires = match asked {
        None | Some(None) => policy.default_expires,
        Some(Some(0)) => 0,
        // Whoever asks for an hour or more may not be told that it is too little (§10.3 step 7).
        Some(Some(seconds)) if seconds < policy.min_expires && seconds < 3600 => {
            return Err(Reject::IntervalTooBrief { min: policy.min_expires.min(3600) });
        }
        Some(Some(seconds)) => seconds.min(policy.max_expires),
    };
    Ok(wanted)
}

/// Outer `None` never occurs for a header that is there; inner `None`: not a number below 2^32, which counts as not
/// given (§10.2.1.1, §20.19).
fn delta_seconds(value: &[u8]) -> Option<u32> {
    decimal(value).and_then(|n| u32::try_from(n).ok())
}

/// `q` in thousandths (RFC 3261 §25.1, qvalue).
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value.split_first()? {
        (b'0', []) | (b'0', [b'.']) => return Some(0),
        (b'1', []) | (b'1', [b'.']) => return Some(1000),
        (whole @ (b'0' | b'1'), [b'.', digits @ ..]) if digits.len() <= 3 => (*whole, digits),
        _ => return None,
    };
    let scale = [100, 10, 1][digits.len() - 1];
    let fraction = decimal(digits)? as u16 * scale;
    match whole {
        b'0' => Some(fraction),
        _ if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// `+sip.instance` without quotes and angle brackets.
fn instance(value: &[u8]) -> Result<Option<Cow<'_, str>>, Reject> {
    let wrong = Reject::BadRequest("+sip.instance Is A Quoted URN");
    let text = match text::unquote(value) {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| wrong.clone())?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| wrong.clone())?),
    };
    let bare = |t: &str| t.strip_prefix('<').and_then(|t| t.strip_suffix('>')).map(str::len);
    let text = match (bare(&text), text) {
        (None, text) => text,
        (Some(len), Cow::Borrowed(text)) => Cow::Borrowed(&text[1..1 + len]),
        (Some(len), Cow::Owned(text)) => Cow::Owned(text[1..1 + len].to_owned()),
    };
    if text.is_empty() {
        return Ok(None);
    }
    // It is written back in quotes and in angle brackets, and becomes a URI parameter of the GRUU.
    if text.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'"' | b'<' | b'>' | b'\\')) {
        return Err(wrong);
    }
    Ok(Some(text))
}

/// Copies a part of a header, folds undone.
fn keep(out: &mut SmallVec<[u8; 192]>, part: &[u8]) {
    if memchr::memchr(b'\n', part).is_none() {
        return out.extend_from_slice(part);
    }
    let mut blank = false;
    for b in part {
        let folds = is_lws(*b);
        if !folds {
            out.push(*b);
        } else if !blank {
            out.push(b' ');
        }
        blank = folds;
    }
}

impl Wanted<'_> {
    pub(super) fn removes(&self) -> bool {
        self.expires == 0
    }

    pub(super) fn same_device(&self, binding: &Binding) -> bool {
        matches!((&self.instance_id, binding.instance_id()), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
    }

    /// §19.1.4, with the plain case first.
    pub(super) fn same_uri(&self, binding: &Binding) -> bool {
        self.uri.text == binding.contact()
            || Uri::parse(binding.contact().as_bytes()).is_ok_and(|bound| bound.equals(&self.uri))
    }

    /// Whether `binding` is what this contact names, so that its Call-ID and CSeq order them.
    pub(super) fn names(&self, binding: &Binding) -> bool {
        match (self.reg_id, binding.reg_id()) {
            (Some(a), Some(b)) => a == b && self.same_device(binding),
            // A flow's contact is not compared (RFC 5626 §6); but a client may unregister without the parameters.
            (None, Some(_)) if !self.removes() => false,
            _ => {
                let devices =
                    self.instance_id.is_none() || binding.instance_id().is_none() || self.same_device(binding);
                devices && self.same_uri(binding)
            }
        }
    }

    /// The source of the request as [`Binding::received`] keeps it, where the contact does not say the same.
    pub(super) fn received(&self, source: SocketAddr) -> Option<SocketAddr> {
        let port = self.uri.port.unwrap_or_else(|| self.uri.effective_transport().default_port());
        let same = port == source.port() && host_ip(self.uri.host) == Some(source.ip().to_canonical());
        (!same && self.uri.scheme != Scheme::Other).then_some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qvalues() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.125", Some(125)),
            ("1.000", Some(1000)),
            ("1.", Some(1000)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            (".5", None),
            ("", None),
            ("0.x", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn instances() {
        for (text, expected) in [
            ("\"<urn:uuid:1>\"", Some("urn:uuid:1")),
            ("\"urn:uuid:1\"", Some("urn:uuid:1")),
            ("<urn:uuid:1>", Some("urn:uuid:1")),
            ("\"<urn:\\u>\"", Some("urn:u")),
            ("\"\"", None),
        ] {
            assert_eq!(instance(text.as_bytes()).unwrap().as_deref(), expected, "{text}");
        }
        assert!(instance(b"\"<urn:a b>\"").is_err());
    }
}
