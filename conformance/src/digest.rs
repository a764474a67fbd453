//! Digest credentials as a client makes them (RFC 7616, RFC 8760), written apart from the server's own crate.

use md5::{Digest as _, Md5};
use sha2::{Sha256, Sha512_256};

/// The hash functions of RFC 8760.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Md5,
    Sha256,
    Sha512Trunc256,
}

impl Algorithm {
    /// The token in the `algorithm` parameter; absent means MD5.
    pub(crate) fn parse(token: &str) -> Option<Algorithm> {
        [("MD5", Algorithm::Md5), ("SHA-256", Algorithm::Sha256), ("SHA-512-256", Algorithm::Sha512Trunc256)]
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(token))
            .map(|(_, algorithm)| algorithm)
    }

    pub(crate) fn token(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha512Trunc256 => "SHA-512-256",
        }
    }

    fn hex(self, data: &[u8]) -> String {
        let digest = match self {
            Algorithm::Md5 => Md5::digest(data).to_vec(),
            Algorithm::Sha256 => Sha256::digest(data).to_vec(),
            Algorithm::Sha512Trunc256 => Sha512_256::digest(data).to_vec(),
        };
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One WWW-Authenticate or Proxy-Authenticate line.
#[derive(Debug, Clone)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) nonce: String,
    pub(crate) opaque: Option<String>,
    /// Whether the challenge names its algorithm at all.
    pub(crate) names_algorithm: bool,
    /// `None` for an algorithm this client does not know.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) qop: Vec<String>,
    pub(crate) stale: bool,
}

impl Challenge {
    /// Reads a line; `None` unless its scheme is Digest.
    pub(crate) fn parse(line: &str) -> Option<Challenge> {
        let (scheme, rest) = line.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let get = |name: &str| {
            crate::message::split_values(rest).into_iter().find_map(|pair| {
                let (got, value) = pair.split_once('=')?;
                got.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
            })
        };
        let algorithm = get("algorithm");
        Some(Challenge {
            realm: get("realm")?,
            nonce: get("nonce")?,
            opaque: get("opaque"),
            names_algorithm: algorithm.is_some(),
            algorithm: Algorithm::parse(algorithm.as_deref().unwrap_or("MD5")),
            qop: get("qop").map(|q| q.split(',').map(|v| v.trim().to_owned()).collect()).unwrap_or_default(),
            stale: get("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }
}

/// What goes into one Authorization value.
pub(crate) struct Credentials<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) method: &'a str,
    pub(crate) uri: &'a str,
    pub(crate) body: &'a [u8],
    /// `auth` or `auth-int`; ignored when the challenge offers no qop.
    pub(crate) qop: &'a str,
    /// Nonce count, from 1.
    pub(crate) nc: u32,
    pub(crate) cnonce: &'a str,
}

impl Credentials<'_> {
    /// What a server that knows the password puts into `rspauth` (RFC 7616 §3.5).
    pub(crate) fn rspauth(&self, challenge: &Challenge) -> String {
        let algorithm = challenge.algorithm.unwrap_or(Algorithm::Md5);
        let h = |text: String| algorithm.hex(text.as_bytes());
        let ha1 = h(format!("{}:{}:{}", self.user, challenge.realm, self.password));
        let ha2 = h(format!(":{}", self.uri));
        h(format!("{ha1}:{}:{:08x}:{}:{}:{ha2}", challenge.nonce, self.nc, self.cnonce, self.qop))
    }

    /// The header value that answers `challenge`.
    pub(crate) fn answer(&self, challenge: &Challenge) -> String {
        let algorithm = challenge.algorithm.unwrap_or(Algorithm::Md5);
        let h = |text: String| algorithm.hex(text.as_bytes());
        let ha1 = h(format!("{}:{}:{}", self.user, challenge.realm, self.password));
        let ha2 = match self.qop {
            "auth-int" => h(format!("{}:{}:{}", self.method, self.uri, algorithm.hex(self.body))),
            _ => h(format!("{}:{}", self.method, self.uri)),
        };
        let (nonce, nc) = (&challenge.nonce, format!("{:08x}", self.nc));
        let with_qop = !challenge.qop.is_empty();
        let response = match with_qop {
            true => h(format!("{ha1}:{nonce}:{nc}:{}:{}:{ha2}", self.cnonce, self.qop)),
            false => h(format!("{ha1}:{nonce}:{ha2}")),
        };
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{nonce}\", uri=\"{}\", response=\"{response}\", algorithm={}",
            self.user,
            challenge.realm,
            self.uri,
            algorithm.token(),
        );
        if with_qop {
            out += &format!(", qop={}, nc={nc}, cnonce=\"{}\"", self.qop, self.cnonce);
        }
        if let Some(opaque) = &challenge.opaque {
            out += &format!(", opaque=\"{opaque}\"");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7616 §3.9.1.
    #[test]
    fn rfc7616_examples() {
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let line = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let challenge = Challenge::parse(&line).expect("digest");
            let answer = Credentials {
                user: "Mufasa",
                password: "Circle of Life",
                method: "GET",
                uri: "/dir/index.html",
                body: b"",
                qop: "auth",
                nc: 1,
                cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            }
            .answer(&challenge);
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
        }
    }
}
