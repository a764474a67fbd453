//! Digest algorithms and qualities of protection (RFC 7616 §3.3, RFC 8760 §2.1, RFC 3310 §3.1, RFC 4169).

use std::fmt;

/// A digest algorithm as named in a challenge and in credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Md5Sess,
    Sha256,
    Sha256Sess,
    Sha512_256,
    Sha512_256Sess,
    /// RFC 3310: MD5 with the RES of an AKA vector as password.
    AkaV1Md5,
    /// RFC 4169: MD5 with a password derived from RES, IK and CK.
    AkaV2Md5,
}

/// The hash beneath an algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

impl Algorithm {
    /// What is offered when nothing else is configured, most preferred first (RFC 8760 §2.3).
    pub const DEFAULT_ORDER: [Self; 3] = [Self::Sha256, Self::Sha512_256, Self::Md5];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Md5Sess => "MD5-sess",
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
            Self::Sha512_256 => "SHA-512-256",
            Self::Sha512_256Sess => "SHA-512-256-sess",
            Self::AkaV1Md5 => "AKAv1-MD5",
            Self::AkaV2Md5 => "AKAv2-MD5",
        }
    }

    /// Looks a name up, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        const ALL: [Algorithm; 8] = [
            Algorithm::Md5,
            Algorithm::Md5Sess,
            Algorithm::Sha256,
            Algorithm::Sha256Sess,
            Algorithm::Sha512_256,
            Algorithm::Sha512_256Sess,
            Algorithm::AkaV1Md5,
            Algorithm::AkaV2Md5,
        ];
        ALL.into_iter().find(|algorithm| algorithm.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Whether the secret comes from a SIM vector instead of a password.
    pub const fn is_aka(self) -> bool {
        matches!(self, Self::AkaV1Md5 | Self::AkaV2Md5)
    }

    /// The same algorithm without `-sess`: an offer of `SHA-256` admits `SHA-256-sess` as well.
    pub const fn base(self) -> Self {
        match self {
            Self::Md5Sess => Self::Md5,
            Self::Sha256Sess => Self::Sha256,
            Self::Sha512_256Sess => Self::Sha512_256,
            other => other,
        }
    }

    pub(crate) const fn is_session(self) -> bool {
        matches!(self, Self::Md5Sess | Self::Sha256Sess | Self::Sha512_256Sess)
    }

    pub(crate) const fn hash(self) -> Hash {
        match self {
            Self::Md5 | Self::Md5Sess | Self::AkaV1Md5 | Self::AkaV2Md5 => Hash::Md5,
            Self::Sha256 | Self::Sha256Sess => Hash::Sha256,
            Self::Sha512_256 | Self::Sha512_256Sess => Hash::Sha512_256,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Quality of protection (RFC 7616 §3.3): whether the body is covered by the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qop {
    Auth,
    AuthInt,
}

impl Qop {
    /// The token.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }

    /// Looks a token up, in any case.
    pub fn parse(name: &[u8]) -> Option<Self> {
        [Self::Auth, Self::AuthInt].into_iter().find(|qop| qop.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("MD5", Some(Algorithm::Md5)),
            ("md5-SESS", Some(Algorithm::Md5Sess)),
            ("SHA-256", Some(Algorithm::Sha256)),
            ("SHA-512-256", Some(Algorithm::Sha512_256)),
            ("AKAv1-MD5", Some(Algorithm::AkaV1Md5)),
            ("akav2-md5", Some(Algorithm::AkaV2Md5)),
            ("SHA-1", None),
            ("", None),
        ] {
            assert_eq!(Algorithm::parse(name.as_bytes()), expected, "{name}");
        }
    }
}
