//! Credentials: what is read can be written and read again; only our own nonces are believed; nothing is admitted.

#![no_main]

use chappe_auth::{
    Credentials, Gate, GateConfig, Ha1Set, MAX_CREDENTIALS_LEN, Request, Username, Verdict, authentication_info, bearer,
};
use libfuzzer_sys::fuzz_target;

const NOW: u64 = 1_800_000_000;

fuzz_target!(|data: &[u8]| {
    if let Ok(token) = bearer::parse(data) {
        let again = format!("Bearer {token}");
        assert_eq!(bearer::parse(again.as_bytes()), Ok(token));
    }
    let Ok(credentials) = Credentials::parse(data) else { return };

    // A header written from what was read reads the same.
    let again = print(&credentials);
    if again.len() > MAX_CREDENTIALS_LEN {
        return;
    }
    assert_eq!(Credentials::parse(&again).as_ref(), Ok(&credentials), "{}", String::from_utf8_lossy(&again));

    if let Some(name) = Username::parse(&credentials.username) {
        assert!(!name.user.is_empty() && credentials.username.contains(name.user));
    }
    let request = Request { method: b"REGISTER", body: data, realm: &credentials.realm, binding: b"" };
    let account = Ha1Set::from_password("bob", "example.com", b"s3cr3t-pw");
    let gate = Gate::new(GateConfig::default(), &[1; 32], 0);
    for account in [Some(&account), None] {
        let verdict = gate.judge(&credentials, &request, account, NOW);
        assert!(!matches!(verdict, Verdict::Admit { .. }), "admitted without a nonce of ours");
    }
    let _ = authentication_info(&credentials, data, &account, None);
});

fn print(credentials: &Credentials<'_>) -> Vec<u8> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut out = format!(
        "Digest username=\"{}\", realm=\"{}\", algorithm={}, userhash={}",
        quoted(&credentials.username),
        quoted(&credentials.realm),
        credentials.algorithm,
        credentials.userhash
    )
    .into_bytes();
    // These are hashed as they stand, so they are kept as they stand: a quote within one is escaped already, or it
    // stood without quotes and has to do so again.
    for (name, value) in [
        ("nonce", credentials.nonce),
        ("uri", credentials.uri),
        ("response", credentials.response),
        ("cnonce", credentials.cnonce),
        ("opaque", credentials.opaque),
        ("auts", credentials.auts.unwrap_or_default()),
    ] {
        let bare = !quotable(value);
        out.extend_from_slice(format!(", {name}=").as_bytes());
        out.extend_from_slice(if bare { b"" } else { b"\"" });
        out.extend_from_slice(value);
        out.extend_from_slice(if bare { b"" } else { b"\"" });
    }
    if !credentials.nc.is_empty() {
        out.extend_from_slice(b", nc=");
        out.extend_from_slice(credentials.nc);
    }
    if let Some(qop) = credentials.qop {
        out.extend_from_slice(format!(", qop={}", qop.name()).as_bytes());
    }
    out
}

/// Whether the value can stand between quotes as it is.
fn quotable(value: &[u8]) -> bool {
    let mut escaped = false;
    for c in value {
        match c {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return false,
            _ => {}
        }
    }
    !escaped
}
