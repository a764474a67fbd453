//! AUTH at a relay (RFC 4976 §5.1, §6.3, §9.1): who asks for a URI, for how long it is good, what it looks like, and
//! the answers.
//!
//! Passwords and nonces are judged by `chappe-auth`; clock, randomness and the accounts belong to the caller.

use chappe_auth::{Credentials, Gate, Ha1Set, Refusal, Request as Digest, Username, Verdict, authentication_info};

use crate::head::{Flag, Head, first};
use crate::uri::{OwnedUri, Uri, UriError};
use crate::write::Frame;

/// What an operator decides about the URIs that a relay hands out. Times are in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthPolicy {
    /// Where the client asks for no time.
    pub default_expires: u32,
    /// Less is refused with 423.
    pub min_expires: u32,
    /// More is refused with 423.
    pub max_expires: u32,
    /// URIs that one user may hold at a time.
    pub sessions_per_user: usize,
}

impl Default for AuthPolicy {
    fn default() -> AuthPolicy {
        AuthPolicy { default_expires: 900, min_expires: 60, max_expires: 86_400, sessions_per_user: 100 }
    }
}

/// What an AUTH turned out to be.
#[derive(Debug)]
pub enum Judged<'h> {
    /// Answer with a challenge; nobody failed.
    Challenge { stale: bool },
    /// Answer with a challenge, and count it against the connection.
    Refused(Refusal),
    /// The user is who he says.
    Admitted(Box<Admitted<'h>>),
}

/// Credentials that were found right.
#[derive(Debug)]
pub struct Admitted<'h> {
    credentials: Credentials<'h>,
    ha1: Ha1Set,
    /// Age of the nonce in seconds: a nextnonce is due well before its lifetime ends.
    pub age: u64,
}

impl Admitted<'_> {
    /// The value of Authentication-Info, which §9.1 demands in every 200.
    pub fn info(&self, nextnonce: Option<&str>) -> String {
        authentication_info(&self.credentials, b"", &self.ha1, nextnonce)
    }
}

/// The realm of an AUTH: the host it is sent to if that is one of `domains`, else the first of them. `None` without
/// domains.
pub fn realm<'d>(head: &Head, domains: impl IntoIterator<Item = &'d str> + Clone) -> Option<&'d str> {
    let host = head.to_path().last().map_or("", |uri| uri.host);
    let named = domains.clone().into_iter().find(|domain| domain.eq_ignore_ascii_case(host));
    named.or_else(|| domains.into_iter().next())
}

/// Judges the credentials of an AUTH that is addressed to us. `now` is in seconds since the epoch; `secrets` looks a
/// user of the realm up.
///
/// The digest is over `AUTH:` and the rightmost URI of To-Path as written (§9.1). A `uri` parameter, which some clients
/// send, has to mean the same, and is what they hashed.
pub fn judge<'h>(
    gate: &Gate,
    head: &'h Head,
    realm: &str,
    now: u64,
    secrets: impl FnOnce(&Username<'_>) -> Option<Ha1Set>,
) -> Judged<'h> {
    let target = head.raw_to_path().rsplit(' ').next().unwrap_or_default();
    let parsed = |line: crate::head::Line<'h>| Credentials::parse(line.value.as_bytes()).ok();
    let ours = |credentials: &Credentials<'_>| credentials.realm.eq_ignore_ascii_case(realm);
    let mut all = head.lines().filter(|line| line.name.eq_ignore_ascii_case("Authorization")).filter_map(parsed);
    let Some(mut credentials) = all.find(ours) else { return Judged::Challenge { stale: false } };
    // qop, cnonce and nc are mandatory here, so that no challenge is ever answered in the old way of RFC 2069.
    if credentials.is_answer()
        && (credentials.qop.is_none() || credentials.cnonce.is_empty() || credentials.nc.is_empty())
    {
        return Judged::Challenge { stale: false };
    }
    if credentials.uri.is_empty() {
        credentials.uri = target.as_bytes();
    } else if !means(credentials.uri, target) {
        return Judged::Refused(Refusal::WrongResponse);
    }
    let name = Username::parse(&credentials.username).filter(|name| name.belongs_to(realm));
    let ha1 = name.as_ref().and_then(secrets);
    let request = Digest { method: b"AUTH", body: b"", realm, binding: b"" };
    match (gate.judge(&credentials, &request, ha1.as_ref(), now), ha1) {
        (Verdict::Admit { age }, Some(ha1)) => Judged::Admitted(Box::new(Admitted { credentials, ha1, age })),
        (Verdict::Admit { .. }, None) => Judged::Refused(Refusal::UnknownUser),
        (Verdict::Challenge { stale }, _) => Judged::Challenge { stale },
        (Verdict::Refuse(refusal), _) => Judged::Refused(refusal),
    }
}

fn means(uri: &[u8], target: &str) -> bool {
    if uri == target.as_bytes() {
        return true;
    }
    match (Uri::parse(uri), Uri::parse(target.as_bytes())) {
        (Ok(uri), Ok(target)) => uri.matches(&target),
        _ => false,
    }
}

/// The user that an AUTH names, right or not; for logs and the lookup of what he may.
pub fn username(head: &Head) -> Option<String> {
    let credentials = Credentials::parse(head.header("Authorization")?.as_bytes()).ok()?;
    Some(credentials.username.into_owned())
}

/// Why a user gets no URI although he is who he says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("the account may not use the relay")]
    Forbidden,
    #[error("the user has as many sessions as may be")]
    Sessions,
    #[error("Expires is no number")]
    Unreadable,
    #[error("shorter than {min} s")]
    TooShort { min: u32 },
    #[error("longer than {max} s")]
    TooLong { max: u32 },
}

impl Denied {
    /// The response code.
    pub fn code(&self) -> u16 {
        match self {
            Denied::Forbidden | Denied::Sessions => 403,
            Denied::Unreadable => 400,
            Denied::TooShort { .. } | Denied::TooLong { .. } => 423,
        }
    }
}

/// For how many seconds a URI will be good, when the user holds `held` already.
pub fn lifetime(head: &Head, policy: &AuthPolicy, held: usize) -> Result<u32, Denied> {
    let asked = match head.header("Expires") {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            // What does not fit is longer than any bound.
            text.parse().unwrap_or(u32::MAX)
        }
        Some(_) => return Err(Denied::Unreadable),
        None => policy.default_expires,
    };
    if asked < policy.min_expires {
        return Err(Denied::TooShort { min: policy.min_expires });
    }
    if asked > policy.max_expires {
        return Err(Denied::TooLong { max: policy.max_expires });
    }
    if held >= policy.sessions_per_user { Err(Denied::Sessions) } else { Ok(asked) }
}

/// Length of a session-id made by [`session_id`].
pub const SESSION_ID: usize = 22;

/// A session-id out of 128 random bits (§6.3 wants 64).
pub fn session_id(random: [u8; 16]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut left = u128::from_be_bytes(random);
    let mut id = String::with_capacity(SESSION_ID);
    for _ in 0..SESSION_ID {
        id.push(char::from(LETTERS[(left & 63) as usize]));
        left >>= 6;
    }
    id
}

/// A URI to hand out. Its transport is `tcp` whatever the client's own is: it is the rest of the world that reads it.
/// `host` has brackets if it is IPv6.
pub fn mint(secure: bool, host: &str, port: u16, random: [u8; 16]) -> Result<OwnedUri, UriError> {
    OwnedUri::new(secure, host, Some(port), Some(&session_id(random)), "tcp")
}

/// The value of Use-Path: the relays that the AUTH came through, nearest to the client first, then ours.
pub fn use_path(from_path: &str, own: &str) -> String {
    let mut path: Vec<&str> = from_path.split(' ').filter(|uri| !uri.is_empty()).collect();
    // The client itself is no relay.
    path.pop();
    path.reverse();
    path.push(own);
    path.join(" ")
}

fn answer<'o>(out: &'o mut Vec<u8>, head: &'o Head, code: u16, comment: &str) -> Frame<'o> {
    Frame::response(out, head.transaction_id(), code, comment, head.raw_from_path(), first(head.raw_to_path()))
}

/// Appends a 401. `values` are those of [`Gate::challenge`], in their order.
pub fn write_challenge(out: &mut Vec<u8>, head: &Head, values: &[String]) {
    let frame = answer(out, head, 401, "Unauthorized");
    values.iter().fold(frame, |frame, value| frame.header("WWW-Authenticate", value)).end(Flag::End);
}

/// Appends the refusal of a user who is who he says.
pub fn write_denied(out: &mut Vec<u8>, head: &Head, denied: Denied) {
    let comment = match denied {
        Denied::Forbidden => "Forbidden",
        Denied::Sessions => "Too Many Sessions",
        Denied::Unreadable => "Bad Request",
        Denied::TooShort { .. } | Denied::TooLong { .. } => "Interval Out-of-Bounds",
    };
    let frame = answer(out, head, denied.code(), comment);
    let frame = match denied {
        Denied::TooShort { min } => frame.header("Min-Expires", &min.to_string()),
        Denied::TooLong { max } => frame.header("Max-Expires", &max.to_string()),
        Denied::Forbidden | Denied::Sessions | Denied::Unreadable => frame,
    };
    frame.end(Flag::End);
}

/// Appends the 200. `info` is the value of Authentication-Info, absent where nobody was challenged.
pub fn write_granted(out: &mut Vec<u8>, head: &Head, use_path: &str, expires: u32, info: Option<&str>) {
    let frame = answer(out, head, 200, "OK").header("Use-Path", use_path).header("Expires", &expires.to_string());
    let frame = match info {
        Some(info) => frame.header("Authentication-Info", info),
        None => frame,
    };
    frame.end(Flag::End);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Limits, Parser};
    use chappe_auth::{Algorithm, GateConfig, Qop};

    const NOW: u64 = 1_800_000_000;
    const TARGET: &str = "msrps://alice@relay.example.com;tcp";

    fn head(to: &str, headers: &str) -> Head {
        let text = format!(
            "MSRP 49fi AUTH\r\nTo-Path: {to}\r\nFrom-Path: msrps://10.12.3.4:9892/98cjs77s;tcp\r\n{headers}-------49fi$\r\n"
        );
        let mut parser = Parser::new(Limits::default());
        let mut input = text.as_bytes();
        match parser.next(&mut input) {
            Ok(Some(Event::Head(head))) => head,
            other => panic!("{other:?}"),
        }
    }

    fn gate() -> Gate {
        let config = GateConfig {
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            qop: vec![Qop::Auth],
            ..GateConfig::default()
        };
        Gate::new(config, &[7; 32], 0)
    }

    fn alice(name: &Username<'_>) -> Option<Ha1Set> {
        (name.user == "alice").then(|| Ha1Set::from_password("alice", "example.com", b"s3cret-pw"))
    }

    fn md5(text: &str) -> String {
        use md5::{Digest as _, Md5};
        Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Answers the MD5 challenge the way a client does, from nothing but its text.
    fn credentials(gate: &Gate, uri: &str, nc: u32, extra: &str) -> String {
        let request = Digest { method: b"AUTH", body: b"", realm: "example.com", binding: b"" };
        let nonce = gate.nonce(&request, NOW, [1; 8]);
        let (ha1, ha2) = (md5("alice:example.com:s3cret-pw"), md5(&format!("AUTH:{uri}")));
        let response = md5(&format!("{ha1}:{nonce}:{nc:08x}:c0ffee12:auth:{ha2}"));
        format!(
            "Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"{nonce}\", qop=auth, nc={nc:08x}, \
             cnonce=\"c0ffee12\", response=\"{response}\"{extra}\r\n"
        )
    }

    #[test]
    fn challenged_then_admitted() {
        let gate = gate();
        let bare = head(TARGET, "");
        assert!(matches!(judge(&gate, &bare, "example.com", NOW, alice), Judged::Challenge { stale: false }));
        let values = gate.challenge(
            &Digest { method: b"AUTH", body: b"", realm: "example.com", binding: b"" },
            false,
            NOW,
            [1; 8],
        );
        let mut out = Vec::new();
        write_challenge(&mut out, &bare, &values);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(
            "MSRP 49fi 401 Unauthorized\r\nTo-Path: msrps://10.12.3.4:9892/98cjs77s;tcp\r\n\
             From-Path: msrps://alice@relay.example.com;tcp\r\nWWW-Authenticate: Digest "
        ));
        assert_eq!(text.matches("qop=\"auth\"").count(), 2, "{text}");
        assert!(text.ends_with("-------49fi$\r\n") && !text.contains("auth-int") && !text.contains("domain="));

        let opaque = ", opaque=\"xyz\", uri=\"msrps://relay.example.com;tcp\"";
        let (plain, same) = (TARGET, "msrps://relay.example.com;tcp");
        for (name, uri, nc, extra, good) in [
            ("no uri parameter", plain, 1, "", true),
            ("uri that means the same", same, 2, opaque, true),
            ("uri of another relay", plain, 3, ", uri=\"msrps://other.example.com;tcp\"", false),
            ("another URI hashed", "msrps://bob@relay.example.com;tcp", 4, "", false),
            ("MD5 named", plain, 5, ", algorithm=MD5", true),
            ("MD5 taken for SHA-256", plain, 6, ", algorithm=SHA-256", false),
        ] {
            let request = head(TARGET, &credentials(&gate, uri, nc, extra));
            match judge(&gate, &request, "example.com", NOW + 5, alice) {
                Judged::Admitted(admitted) => {
                    assert!(good, "{name}");
                    assert_eq!(admitted.age, 5);
                    let info = admitted.info(None);
                    for part in ["rspauth=\"", "cnonce=\"c0ffee12\"", &format!("nc={nc:08x}"), "qop=auth"] {
                        assert!(info.contains(part), "{name}: {info}");
                    }
                }
                Judged::Refused(_) => assert!(!good, "{name}"),
                Judged::Challenge { .. } => panic!("{name}"),
            }
        }
        let replayed = head(TARGET, &credentials(&gate, TARGET, 1, ""));
        assert!(matches!(judge(&gate, &replayed, "example.com", NOW, alice), Judged::Challenge { stale: true }));
        let old = head(TARGET, &credentials(&gate, TARGET, 9, ""));
        assert!(matches!(judge(&gate, &old, "example.com", NOW + 4000, alice), Judged::Challenge { stale: true }));
        let nobody = judge(&gate, &old, "example.com", NOW, |_| None);
        assert!(matches!(nobody, Judged::Refused(Refusal::UnknownUser)));
    }

    #[test]
    fn old_forms_of_digest_and_basic_are_challenged() {
        let gate = gate();
        for headers in [
            "Authorization: Basic YWxpY2U6czNjcmV0\r\n",
            "Authorization: Digest username=\"alice\", realm=\"example.com\", nonce=\"n\", response=\"00\"\r\n",
            "Authorization: Digest username=\"alice\", realm=\"other\", nonce=\"n\", qop=auth, nc=00000001, cnonce=\"c\", \
             response=\"00\"\r\n",
            "Authorization: nonsense\r\n",
        ] {
            let request = head(TARGET, headers);
            let judged = judge(&gate, &request, "example.com", NOW, alice);
            assert!(matches!(judged, Judged::Challenge { stale: false }), "{headers}");
        }
    }

    #[test]
    fn lifetimes() {
        let policy = AuthPolicy { default_expires: 900, min_expires: 60, max_expires: 3600, sessions_per_user: 2 };
        for (headers, held, expected) in [
            ("", 0, Ok(900)),
            ("Expires: 60\r\n", 1, Ok(60)),
            ("Expires: 3600\r\n", 0, Ok(3600)),
            ("Expires: 59\r\n", 0, Err(Denied::TooShort { min: 60 })),
            ("Expires: 3601\r\n", 0, Err(Denied::TooLong { max: 3600 })),
            ("Expires: 99999999999999999999\r\n", 0, Err(Denied::TooLong { max: 3600 })),
            ("Expires: soon\r\n", 0, Err(Denied::Unreadable)),
            ("Expires: -1\r\n", 0, Err(Denied::Unreadable)),
            ("", 2, Err(Denied::Sessions)),
        ] {
            assert_eq!(lifetime(&head(TARGET, headers), &policy, held), expected, "{headers}");
        }
        let mut out = Vec::new();
        write_denied(&mut out, &head(TARGET, ""), Denied::TooShort { min: 60 });
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("MSRP 49fi 423 ") && text.contains("\r\nMin-Expires: 60\r\n"), "{text}");
    }

    #[test]
    fn uris_handed_out() {
        let uri = mint(true, "relay.example.com", 2856, [0xa5; 16]).unwrap();
        let parsed = uri.uri();
        assert!(parsed.secure && parsed.port == Some(2856) && parsed.transport == "tcp");
        assert_eq!(parsed.session_id.map(str::len), Some(SESSION_ID));
        assert_ne!(session_id([1; 16]), session_id([2; 16]));
        let ids: std::collections::HashSet<_> = (0..128).map(|bit| session_id((1u128 << bit).to_be_bytes())).collect();
        assert_eq!(ids.len(), 128, "every bit counts");
        for (from, expected) in [
            ("msrps://c:9/x;tcp", "OWN"),
            ("msrps://r1:9/a;tcp msrps://c:9/x;tcp", "msrps://r1:9/a;tcp OWN"),
            ("msrps://r2:9/b;tcp msrps://r1:9/a;tcp msrps://c:9/x;tcp", "msrps://r1:9/a;tcp msrps://r2:9/b;tcp OWN"),
        ] {
            assert_eq!(use_path(from, "OWN"), expected);
        }
    }

    #[test]
    fn realm_is_the_domain_asked_for() {
        let domains = ["example.com", "example.net"];
        for (to, expected) in [
            ("msrps://a@Example.NET;tcp", "example.net"),
            ("msrps://127.0.0.1:2855;tcp", "example.com"),
            ("msrps://r1:1/x;tcp msrps://example.net;tcp", "example.net"),
        ] {
            assert_eq!(realm(&head(to, ""), domains), Some(expected), "{to}");
        }
        assert_eq!(realm(&head(TARGET, ""), []), None);
    }
}
