//! Envelopes of our own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::address::push_address;
use crate::escape::push_escaped;
use crate::header::Header;

/// Builds an envelope header by header.
#[derive(Debug, Clone, Default)]
pub struct Envelope {
    out: Vec<u8>,
}

impl Envelope {
    /// An envelope from one user to another.
    pub fn new(from: &str, to: &str) -> Self {
        Self::default().address("From", None, from).address("To", None, to)
    }

    /// Adds a header with an address; the formal name is optional.
    #[must_use]
    pub fn address(mut self, name: &str, formal: Option<&str>, uri: &str) -> Self {
        let mut value = String::with_capacity(uri.len() + 2);
        push_address(&mut value, formal, uri);
        self.out.extend_from_slice(Header::written(name, &value).as_bytes());
        self
    }

    /// Adds a header; the value is escaped.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.out.extend_from_slice(Header::new(name, value).as_bytes());
        self
    }

    /// Declares the prefix of a namespace.
    #[must_use]
    pub fn namespace(mut self, prefix: &str, uri: &str) -> Self {
        let mut value = String::new();
        push_escaped(&mut value, prefix);
        value.push(' ');
        push_address(&mut value, None, uri);
        self.out.extend_from_slice(Header::written("NS", &value).as_bytes());
        self
    }

    /// Ends the headers and adds the content. `more` are MIME headers beside `Content-Type` and `Content-Length`.
    pub fn content(self, content_type: &str, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut out = self.out;
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(Header::new("Content-Type", content_type).as_bytes());
        for (name, value) in more {
            out.extend_from_slice(Header::new(name, value).as_bytes());
        }
        out.extend_from_slice(Header::new("Content-Length", &body.len().to_string()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        out
    }
}

/// A Message-ID from random bytes, more than the 64 bits that RFC 5438 §6.3 asks for.
pub fn message_id(random: [u8; 15]) -> String {
    // A letter in front: some clients take the id for an XML name.
    format!("M{}", URL_SAFE_NO_PAD.encode(random))
}
