//! The value of `Authorization` and `Proxy-Authorization` with the Digest scheme (RFC 7616 §3.4, RFC 8760 §2.7).
//!
//! Read leniently: quotes may be missing, the response may be empty and the nonce absent, as in the first REGISTER of
//! an RCS or IMS phone (RFC 3310 §3.2), which only says who is calling.

use std::borrow::Cow;
use std::fmt;

use crate::algorithm::{Algorithm, Qop};
use crate::hex;
use crate::syntax::{Broken, Parameter, Parameters, is_space, trim};

/// Longest header value that is read, in bytes.
pub const MAX_CREDENTIALS_LEN: usize = 4096;
/// Most parameters that are read.
pub const MAX_PARAMETERS: usize = 32;

/// Why a header value is not Digest credentials. The answer is a challenge, except that HTTP may send 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    #[error("the scheme is not Digest")]
    Scheme,
    #[error("{len} bytes, over the limit of {MAX_CREDENTIALS_LEN}")]
    TooLong { len: usize },
    #[error("more than {MAX_PARAMETERS} parameters")]
    TooManyParameters,
    #[error("broken parameter list")]
    Syntax,
    #[error("parameter {0} is given twice")]
    Repeated(&'static str),
    #[error("parameter {0} has no acceptable value")]
    Value(&'static str),
    #[error("unknown algorithm")]
    Algorithm,
}

impl From<Broken> for ParseError {
    fn from(Broken: Broken) -> Self {
        Self::Syntax
    }
}

/// Digest credentials; what was not sent is empty or `None`.
///
/// `uri`, `nonce`, `nc`, `cnonce` and `response` are as received, without quotes, since they are hashed that way.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// From `username`, or decoded from `username*` (RFC 7616 §3.4.4).
    pub username: Cow<'a, str>,
    pub realm: Cow<'a, str>,
    pub nonce: &'a [u8],
    /// Empty where the protocol has none (RFC 4976 §5.1); the caller then fills in the To-Path URI.
    pub uri: &'a [u8],
    pub response: &'a [u8],
    pub cnonce: &'a [u8],
    /// As received; [`Credentials::count`] is its value.
    pub nc: &'a [u8],
    pub opaque: &'a [u8],
    pub qop: Option<Qop>,
    /// MD5 where none is named (RFC 7616 §3.4).
    pub algorithm: Algorithm,
    /// Base64 of an AKA resynchronisation token (RFC 3310 §3.4).
    pub auts: Option<&'a [u8]>,
    /// The username is H(user:realm). Never offered by the challenges of this crate.
    pub userhash: bool,
}

impl fmt::Debug for Credentials<'_> {
    /// Leaves out what identifies the user or helps guessing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("realm", &self.realm)
            .field("algorithm", &self.algorithm)
            .field("qop", &self.qop)
            .field("answer", &self.is_answer())
            .finish_non_exhaustive()
    }
}

/// The scheme of a header value and what follows it; empty for an empty value.
pub fn scheme(value: &[u8]) -> (&[u8], &[u8]) {
    let value = trim(value);
    let end = value.iter().position(|c| is_space(*c)).unwrap_or(value.len());
    (&value[..end], trim(&value[end..]))
}

impl<'a> Credentials<'a> {
    /// Parses a header value such as `Digest username="bob", …`. Allocates only where a username or realm holds
    /// escapes.
    pub fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        if value.len() > MAX_CREDENTIALS_LEN {
            return Err(ParseError::TooLong { len: value.len() });
        }
        let (scheme, list) = scheme(value);
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return Err(ParseError::Scheme);
        }
        let mut fields = Fields::default();
        for (index, parameter) in Parameters::new(list).enumerate() {
            if index == MAX_PARAMETERS {
                return Err(ParseError::TooManyParameters);
            }
            fields.take(parameter?)?;
        }
        fields.finish()
    }

    /// Whether this answers a challenge at all, rather than only naming a user.
    pub fn is_answer(&self) -> bool {
        !self.nonce.is_empty() && (!self.response.is_empty() || self.auts.is_some())
    }

    /// The nonce count; 0 where none was sent (no client counts from 0).
    pub fn count(&self) -> u32 {
        self.nc.iter().fold(0, |sum, c| sum << 4 | u32::from(hex::digit(*c).unwrap_or(0)))
    }
}

/// The parameters met so far.
#[derive(Default)]
struct Fields<'a> {
    username: Option<Cow<'a, str>>,
    username_ext: Option<Cow<'a, str>>,
    realm: Option<Cow<'a, str>>,
    nonce: Option<&'a [u8]>,
    uri: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    cnonce: Option<&'a [u8]>,
    nc: Option<&'a [u8]>,
    opaque: Option<&'a [u8]>,
    qop: Option<Qop>,
    algorithm: Option<Algorithm>,
    auts: Option<&'a [u8]>,
    userhash: Option<bool>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, parameter: Parameter<'a>) -> Result<(), ParseError> {
        fn once<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), ParseError> {
            if slot.is_some() {
                return Err(ParseError::Repeated(name));
            }
            *slot = Some(value);
            Ok(())
        }
        let raw = parameter.raw;
        let text = |name| parameter.text().ok_or(ParseError::Value(name));
        // Names have no case; the longest that is known has ten letters.
        let mut lower = [0; 10];
        let Some(name) = lower.get_mut(..parameter.name.len()) else { return Ok(()) };
        for (to, from) in name.iter_mut().zip(parameter.name) {
            *to = from.to_ascii_lowercase();
        }
        match &*name {
            b"username" => once(&mut self.username, "username", text("username")?),
            b"username*" => {
                once(&mut self.username_ext, "username*", extended(raw).ok_or(ParseError::Value("username*"))?)
            }
            b"realm" => once(&mut self.realm, "realm", text("realm")?),
            b"nonce" => once(&mut self.nonce, "nonce", raw),
            b"uri" => once(&mut self.uri, "uri", raw),
            b"response" => once(&mut self.response, "response", raw),
            b"cnonce" => once(&mut self.cnonce, "cnonce", raw),
            b"nc" if (1..=8).contains(&raw.len()) && raw.iter().all(u8::is_ascii_hexdigit) => {
                once(&mut self.nc, "nc", raw)
            }
            b"nc" => Err(ParseError::Value("nc")),
            b"opaque" => once(&mut self.opaque, "opaque", raw),
            b"qop" if raw.is_empty() => Ok(()),
            b"qop" => once(&mut self.qop, "qop", Qop::parse(raw).ok_or(ParseError::Value("qop"))?),
            b"algorithm" => once(&mut self.algorithm, "algorithm", Algorithm::parse(raw).ok_or(ParseError::Algorithm)?),
            b"auts" => once(&mut self.auts, "auts", raw),
            b"userhash" => once(&mut self.userhash, "userhash", raw.eq_ignore_ascii_case(b"true")),
            // Unknown parameters are ignored (RFC 7616 §3.3).
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Credentials<'a>, ParseError> {
        // RFC 7616 §3.4: both forms at once are an error.
        let username = match (self.username, self.username_ext) {
            (Some(_), Some(_)) => return Err(ParseError::Repeated("username")),
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => return Err(ParseError::Value("username")),
        };
        let Some(realm) = self.realm else { return Err(ParseError::Value("realm")) };
        // Without both, the response hashes something else than what the client meant (RFC 7616 §3.4).
        if self.qop.is_some() && !self.response.unwrap_or_default().is_empty() {
            if self.nc.is_none() {
                return Err(ParseError::Value("nc"));
            }
            if self.cnonce.is_none() {
                return Err(ParseError::Value("cnonce"));
            }
        }
        Ok(Credentials {
            username,
            realm,
            nonce: self.nonce.unwrap_or_default(),
            uri: self.uri.unwrap_or_default(),
            response: self.response.unwrap_or_default(),
            cnonce: self.cnonce.unwrap_or_default(),
            nc: self.nc.unwrap_or_default(),
            opaque: self.opaque.unwrap_or_default(),
            qop: self.qop,
            algorithm: self.algorithm.unwrap_or(Algorithm::Md5),
            auts: self.auts.filter(|auts| !auts.is_empty()),
            userhash: self.userhash.unwrap_or(false),
        })
    }
}

/// An extended value, `UTF-8'language'text` with percent-encoding (RFC 8187 §3.2).
fn extended(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw = std::str::from_utf8(raw).ok()?;
    let (charset, rest) = raw.split_once('\'')?;
    let (_language, text) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return None };
        bytes.push(hex::digit(*high)? << 4 | hex::digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Credentials<'_>, ParseError> {
        Credentials::parse(text.as_bytes())
    }

    #[test]
    fn all_parameters() {
        let seen = parse(
            "Digest username=\"bob\", realm=\"example.com\",nonce=\"abc\" , uri=\"sip:example.com\", qop=auth, \
             nc=0000001f, cnonce=\"0a4f113b\", algorithm=SHA-256, response=\"ce26\", opaque=\"o\", x=y, auts=\"\"",
        )
        .unwrap();
        let expected = Credentials {
            username: "bob".into(),
            realm: "example.com".into(),
            nonce: b"abc",
            uri: b"sip:example.com",
            response: b"ce26",
            cnonce: b"0a4f113b",
            nc: b"0000001f",
            opaque: b"o",
            qop: Some(Qop::Auth),
            algorithm: Algorithm::Sha256,
            auts: None,
            userhash: false,
        };
        assert_eq!(seen, expected);
        assert_eq!(seen.count(), 31);
        assert!(seen.is_answer());
    }

    #[test]
    fn habits_of_clients() {
        for (name, text, username, is_answer) in [
            (
                "first REGISTER of an IMS phone",
                r#"Digest username="001010000000001@ims.example.com",realm="ims.example.com",nonce="",uri="sip:ims.example.com",response="""#,
                "001010000000001@ims.example.com",
                false,
            ),
            ("no nonce at all", r#"Digest username="bob", realm="example.com", response="""#, "bob", false),
            ("no quotes", "Digest username=bob,realm=example.com,nonce=n,uri=sip:a;b=c,response=00", "bob", true),
            (
                "quoted qop",
                r#"Digest username="bob",realm="r",nonce="n",qop="auth",nc=1,cnonce="",response="0""#,
                "bob",
                true,
            ),
            ("no qop value", r#"Digest username="bob",realm="r",nonce="n",qop="",response="0""#, "bob", true),
            ("folded", "Digest username=\"bob\",\r\n realm=\"r\",\r\n\tnonce=\"n\", response=\"0\"", "bob", true),
            ("case and padding", " dIGEST\tUSERNAME = \"bob\" , Realm = \"r\",NONCE=n,RESPONSE=0 , ", "bob", true),
            ("escapes", r#"Digest username="b\"o\\b", realm="r", nonce="n", response="0""#, r#"b"o\b"#, true),
            ("comma in quotes", r#"Digest username="a, b", realm="r", nonce="n", response="0""#, "a, b", true),
            ("AKA resync", r#"Digest username="a", realm="r", nonce="n", response="", auts="AA==""#, "a", true),
            ("extended", "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, realm=\"r\"", "Jäsøn Doe", false),
        ] {
            let seen = parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((seen.username.as_ref(), seen.is_answer()), (username, is_answer), "{name}");
        }
    }

    #[test]
    fn refused() {
        for (name, text, expected) in [
            ("other scheme", "Basic QWxhZGRpbg==", ParseError::Scheme),
            ("nothing", "", ParseError::Scheme),
            ("no user", "Digest realm=\"r\"", ParseError::Value("username")),
            ("no realm", "Digest username=\"u\"", ParseError::Value("realm")),
            ("twice", "Digest username=\"u\", realm=\"r\", realm=\"s\"", ParseError::Repeated("realm")),
            ("both names", "Digest username=\"u\", username*=UTF-8''u, realm=\"r\"", ParseError::Repeated("username")),
            ("open quote", "Digest username=\"u", ParseError::Syntax),
            ("escape at the end", "Digest username=\"u\\", ParseError::Syntax),
            ("no value", "Digest username, realm=\"r\"", ParseError::Syntax),
            ("junk after a quote", "Digest username=\"u\"x, realm=\"r\"", ParseError::Syntax),
            ("long nc", "Digest username=u, realm=r, nc=000000001", ParseError::Value("nc")),
            ("not hex nc", "Digest username=u, realm=r, nc=1x", ParseError::Value("nc")),
            ("unknown qop", "Digest username=u, realm=r, qop=auth-conf", ParseError::Value("qop")),
            ("no nc", "Digest username=u, realm=r, qop=auth, cnonce=c, response=1", ParseError::Value("nc")),
            ("no cnonce", "Digest username=u, realm=r, qop=auth, nc=1, response=1", ParseError::Value("cnonce")),
            ("unknown algorithm", "Digest username=u, realm=r, algorithm=SHA-1", ParseError::Algorithm),
            ("bad charset", "Digest username*=latin1''u, realm=r", ParseError::Value("username*")),
            ("bad percent", "Digest username*=UTF-8''%4, realm=r", ParseError::Value("username*")),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected, "{name}");
        }
        let long = format!("Digest username=\"{}\"", "u".repeat(MAX_CREDENTIALS_LEN));
        assert!(matches!(parse(&long), Err(ParseError::TooLong { .. })));
        let many = format!("Digest {}", "a=b,".repeat(MAX_PARAMETERS + 1));
        assert_eq!(parse(&many), Err(ParseError::TooManyParameters));
        assert!(matches!(Credentials::parse(b"Digest username=\"\xff\", realm=r"), Err(ParseError::Value("username"))));
    }

    #[test]
    fn debug_shows_no_user() {
        let seen = format!("{:?}", parse("Digest username=bob, realm=r, nonce=n, response=secret").unwrap());
        assert!(!seen.contains("bob") && !seen.contains("secret"), "{seen}");
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Credentials::parse(&bytes);
        }

        #[test]
        fn never_panics_on_near_misses(text in "Digest ([a-z*]{0,9}[ =]{0,2}\"?[ -~]{0,9}\"?,?){0,9}") {
            let _ = parse(&text);
        }

        #[test]
        fn quoting_round_trips(user in "[ -~äß€]{1,20}", realm in "[ -~]{1,20}") {
            let mut text = String::from("Digest ");
            crate::syntax::push_quoted(&mut text, "username", &user);
            text.push(',');
            crate::syntax::push_quoted(&mut text, "realm", &realm);
            let seen = parse(&text).unwrap();
            prop_assert_eq!((seen.username.as_ref(), seen.realm.as_ref()), (user.as_str(), realm.as_str()));
        }
    }
}
