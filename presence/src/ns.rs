//! Namespaces of the documents of presence, with the prefix that we write for each.

use std::sync::Arc;

/// (prefix, URI) of those that we know. The first is the default namespace of what we write.
pub const KNOWN: [(&str, &str); 16] = [
    ("", "urn:ietf:params:xml:ns:pidf"),
    ("dm", "urn:ietf:params:xml:ns:pidf:data-model"),
    ("rpid", "urn:ietf:params:xml:ns:pidf:rpid"),
    ("caps", "urn:ietf:params:xml:ns:pidf:caps"),
    ("op", "urn:oma:xml:prs:pidf:oma-pres"),
    ("ci", "urn:ietf:params:xml:ns:pidf:cipid"),
    ("gp", "urn:ietf:params:xml:ns:pidf:geopriv10"),
    ("fut", "urn:ietf:params:xml:ns:pidf:timed-status"),
    ("xml", "http://www.w3.org/XML/1998/namespace"),
    ("cr", "urn:ietf:params:xml:ns:common-policy"),
    ("pr", "urn:ietf:params:xml:ns:pres-rules"),
    ("opr", "urn:oma:xml:prs:pres-rules"),
    ("ocp", "urn:oma:xml:xdm:common-policy"),
    ("rl", "urn:ietf:params:xml:ns:resource-lists"),
    ("wi", "urn:ietf:params:xml:ns:watcherinfo"),
    ("rs", "urn:ietf:params:xml:ns:rls-services"),
];

/// A namespace, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ns(Inner);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inner {
    None,
    Known(u8),
    Other(Arc<str>),
}

impl Ns {
    pub const NONE: Ns = Ns(Inner::None);
    pub const PIDF: Ns = Ns(Inner::Known(0));
    pub const DATA_MODEL: Ns = Ns(Inner::Known(1));
    pub const RPID: Ns = Ns(Inner::Known(2));
    pub const CAPS: Ns = Ns(Inner::Known(3));
    pub const OMA: Ns = Ns(Inner::Known(4));
    pub const COMMON_POLICY: Ns = Ns(Inner::Known(9));
    pub const PRES_RULES: Ns = Ns(Inner::Known(10));
    pub const OMA_RULES: Ns = Ns(Inner::Known(11));
    pub const OMA_POLICY: Ns = Ns(Inner::Known(12));
    pub const RESOURCE_LISTS: Ns = Ns(Inner::Known(13));
    pub const WATCHER_INFO: Ns = Ns(Inner::Known(14));
    pub const RLS_SERVICES: Ns = Ns(Inner::Known(15));

    pub fn of(uri: &str) -> Ns {
        match KNOWN.iter().position(|(_, known)| *known == uri) {
            Some(index) => Ns(Inner::Known(index as u8)),
            None if uri.is_empty() => Ns::NONE,
            None => Ns(Inner::Other(uri.into())),
        }
    }

    /// Its place in [`KNOWN`].
    pub fn known(&self) -> Option<u8> {
        match self.0 {
            Inner::Known(index) => Some(index),
            _ => None,
        }
    }

    pub fn uri(&self) -> &str {
        match &self.0 {
            Inner::None => "",
            Inner::Known(index) => KNOWN[usize::from(*index)].1,
            Inner::Other(uri) => uri,
        }
    }

    /// The prefix to write; `o` for what we do not know.
    pub fn prefix(&self) -> &'static str {
        match &self.0 {
            Inner::None => "",
            Inner::Known(index) => KNOWN[usize::from(*index)].0,
            Inner::Other(_) => "o",
        }
    }
}
