//! The values of `WWW-Authenticate` and `Proxy-Authenticate` with the Digest scheme (RFC 7616 §3.3, RFC 8760 §2.3).

use crate::algorithm::{Algorithm, Qop};
use crate::syntax::push_quoted;

/// A challenge, offered in several algorithms at once.
#[derive(Debug, Clone)]
pub struct Challenge<'a> {
    pub realm: &'a str,
    /// One nonce serves all algorithms.
    pub nonce: &'a str,
    pub opaque: Option<&'a str>,
    /// The password was right and only the nonce too old: the client tries again without asking its user.
    pub stale: bool,
    /// Never empty in SIP (RFC 8760 §2.6 item 8); `auth` alone in MSRP (RFC 4976 §5.1).
    pub qop: &'a [Qop],
    /// Most preferred first; each becomes a header of its own.
    pub algorithms: &'a [Algorithm],
}

impl Challenge<'_> {
    /// The header values in the order in which they have to be sent. Each names its algorithm, MD5 too, since some
    /// clients take its absence for a challenge they do not know.
    pub fn values(&self) -> impl Iterator<Item = String> + '_ {
        self.algorithms.iter().map(|algorithm| self.value(*algorithm))
    }

    /// The value for one algorithm.
    pub fn value(&self, algorithm: Algorithm) -> String {
        let mut out = String::with_capacity(160 + self.realm.len());
        self.write(algorithm, &mut out);
        out
    }

    /// Appends the value for one algorithm.
    pub fn write(&self, algorithm: Algorithm, out: &mut String) {
        out.push_str("Digest ");
        push_quoted(out, "realm", self.realm);
        out.push_str(", ");
        push_quoted(out, "nonce", self.nonce);
        if let Some(opaque) = self.opaque {
            out.push_str(", ");
            push_quoted(out, "opaque", opaque);
        }
        if self.stale {
            out.push_str(", stale=true");
        }
        out.push_str(", algorithm=");
        out.push_str(algorithm.name());
        for (index, qop) in self.qop.iter().enumerate() {
            out.push_str(if index == 0 { ", qop=\"" } else { "," });
            out.push_str(qop.name());
        }
        if !self.qop.is_empty() {
            out.push('"');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_for_each_algorithm_in_order() {
        let challenge = Challenge {
            realm: "example.com",
            nonce: "abc",
            opaque: Some("o1"),
            stale: false,
            qop: &[Qop::Auth, Qop::AuthInt],
            algorithms: &Algorithm::DEFAULT_ORDER,
        };
        let values: Vec<_> = challenge.values().collect();
        let expected = ["SHA-256", "SHA-512-256", "MD5"].map(|name| {
            format!(r#"Digest realm="example.com", nonce="abc", opaque="o1", algorithm={name}, qop="auth,auth-int""#)
        });
        assert_eq!(values, expected);
    }

    #[test]
    fn stale_and_quoting() {
        let challenge = Challenge {
            realm: "say \"hi\"\r\nX: y",
            nonce: "n",
            opaque: None,
            stale: true,
            qop: &[Qop::Auth],
            algorithms: &[Algorithm::Md5],
        };
        assert_eq!(
            challenge.value(Algorithm::Md5),
            r#"Digest realm="say \"hi\"X: y", nonce="n", stale=true, algorithm=MD5, qop="auth""#
        );
    }
}
