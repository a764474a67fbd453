//! The response of a client, and the server's own in return (RFC 7616 §3.4, §3.5).

use md5::{Digest, Md5};
use sha2::{Sha256, Sha512_256};
use subtle::ConstantTimeEq;

use crate::algorithm::{Algorithm, Hash, Qop};
use crate::credentials::Credentials;
use crate::ha1::Ha1Set;
use crate::hex;
use crate::syntax::push_quoted;

/// Why a response was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The credentials only name a user; answer with a challenge.
    #[error("no response to a challenge")]
    NoAnswer,
    /// AKA credentials against a password, or the reverse.
    #[error("algorithm {0} does not fit the kind of secret")]
    Algorithm(Algorithm),
    /// Wrong password, method, URI or body.
    #[error("wrong response")]
    Mismatch,
}

/// The longest digest, in bytes.
const MAX: usize = 32;

/// Checks `credentials` against the secrets of the user, in constant time and without allocating.
///
/// `method` is the request's (`AUTH` in MSRP), `body` its whole body, which counts only with qop=auth-int. That
/// `credentials.uri` means the resource asked for is the caller's to check (RFC 8760 §2.6 item 6), and so are the
/// nonce and its count; [`Gate`](crate::Gate) does the latter two.
pub fn verify(credentials: &Credentials<'_>, method: &[u8], body: &[u8], ha1: &Ha1Set) -> Result<(), Failure> {
    if credentials.algorithm.is_aka() {
        return Err(Failure::Algorithm(credentials.algorithm));
    }
    check(credentials, method, body, ha1.get(credentials.algorithm.hash()))
}

/// [`verify`] for any algorithm, with the HA1 that belongs to it.
pub(crate) fn check(credentials: &Credentials<'_>, method: &[u8], body: &[u8], ha1: &[u8]) -> Result<(), Failure> {
    if credentials.response.is_empty() || credentials.nonce.is_empty() {
        return Err(Failure::NoAnswer);
    }
    let mut expected = [0; MAX];
    let expected = respond(credentials, method, body, ha1, &mut expected);
    let mut received = [0; MAX];
    let received = &mut received[..expected.len()];
    hex::decode(credentials.response, received).ok_or(Failure::Mismatch)?;
    // Zeros stand for a secret that is not known, for which anybody could compute an answer.
    if ha1.iter().all(|byte| *byte == 0) {
        return Err(Failure::Mismatch);
    }
    if bool::from(received[..].ct_eq(expected)) { Ok(()) } else { Err(Failure::Mismatch) }
}

/// The value of `Authentication-Info` (RFC 7616 §3.5) for the answer to a request that was accepted: it proves that
/// the server knows the secret too. `body` is that of the answer.
pub fn authentication_info(
    credentials: &Credentials<'_>,
    body: &[u8],
    ha1: &Ha1Set,
    nextnonce: Option<&str>,
) -> String {
    let mut out = String::with_capacity(192);
    if let Some(nonce) = nextnonce {
        push_quoted(&mut out, "nextnonce", nonce);
        out.push_str(", ");
    }
    let mut digest = [0; MAX];
    // A2 starts with the colon where the request has its method.
    let digest = respond(credentials, b"", body, ha1.get(credentials.algorithm.hash()), &mut digest);
    let mut text = [0; 2 * MAX];
    push_quoted(&mut out, "rspauth", &String::from_utf8_lossy(hex::encode(digest, &mut text)));
    if let Some(qop) = credentials.qop {
        out.push_str(", cnonce=\"");
        // As received, escapes and all, between the same quotes.
        out.push_str(&String::from_utf8_lossy(credentials.cnonce));
        out.push_str("\", nc=");
        out.push_str(&format!("{:08x}", credentials.count()));
        out.push_str(", qop=");
        out.push_str(qop.name());
    }
    out
}

/// Computes the response for the parameters in `credentials`; its `response` plays no part.
pub(crate) fn respond<'o>(
    credentials: &Credentials<'_>,
    method: &[u8],
    body: &[u8],
    ha1: &[u8],
    out: &'o mut [u8; MAX],
) -> &'o [u8] {
    match credentials.algorithm.hash() {
        Hash::Md5 => respond_with::<Md5>(credentials, method, body, ha1, out),
        Hash::Sha256 => respond_with::<Sha256>(credentials, method, body, ha1, out),
        Hash::Sha512_256 => respond_with::<Sha512_256>(credentials, method, body, ha1, out),
    }
}

fn respond_with<'o, D: Digest>(
    c: &Credentials<'_>,
    method: &[u8],
    body: &[u8],
    ha1: &[u8],
    out: &'o mut [u8; MAX],
) -> &'o [u8] {
    let (mut ha1_text, mut text) = ([0; 2 * MAX], [0; 2 * MAX]);
    let mut ha1_hex = hex::encode(ha1, &mut ha1_text);
    if c.algorithm.is_session() {
        // RFC 7616 §3.4.2: A1 = H(user:realm:password) ":" nonce ":" cnonce, with the inner hash in hex.
        let session = D::new()
            .chain_update(ha1_hex)
            .chain_update(b":")
            .chain_update(c.nonce)
            .chain_update(b":")
            .chain_update(c.cnonce)
            .finalize();
        ha1_hex = hex::encode(&session, &mut ha1_text);
    }

    let mut a2 = D::new().chain_update(method).chain_update(b":").chain_update(c.uri);
    if c.qop == Some(Qop::AuthInt) {
        // An absent body hashes as the empty string (RFC 8760 §2.6 item 7).
        let body = D::digest(body);
        a2 = a2.chain_update(b":").chain_update(hex::encode(&body, &mut text));
    }
    let ha2 = a2.finalize();
    let ha2_hex = hex::encode(&ha2, &mut text);

    let mut response = D::new().chain_update(ha1_hex).chain_update(b":").chain_update(c.nonce).chain_update(b":");
    if let Some(qop) = c.qop {
        response = response
            .chain_update(c.nc)
            .chain_update(b":")
            .chain_update(c.cnonce)
            .chain_update(b":")
            .chain_update(qop.name())
            .chain_update(b":");
    }
    let digest = response.chain_update(ha2_hex).finalize();
    out[..digest.len()].copy_from_slice(&digest);
    &out[..digest.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: &str = r#"Digest username="bob", realm="example.com", nonce="c2lwLXJjcy1ub25jZS0wMDAx", "#;

    fn verdict(tail: &str, method: &str, body: &str) -> Result<(), Failure> {
        let text = format!("{BOB}{tail}");
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let ha1 = Ha1Set::from_password("bob", "example.com", b"s3cr3t-pw");
        verify(&credentials, method.as_bytes(), body.as_bytes(), &ha1)
    }

    /// Each algorithm without qop, with auth, with auth-int, and its session variant; computed elsewhere.
    #[test]
    fn responses_by_algorithm_and_qop() {
        for (algorithm, plain, auth, auth_int, session) in [
            (
                "MD5",
                "1cbaf6cb316a1a54ee0f3f179e4ec0a7",
                "3e4de5dd59f99609af6a835f909ed266",
                "e1497a8fc8d625e58f2201116ad0d8a8",
                "3a9f7e2dfeb5ba70e906881b163ff00f",
            ),
            (
                "SHA-256",
                "e421d38fa8a69c8d012a4cbdfcc535e8e3b64d489b4cecc3abf4ca4a8b686643",
                "ce26853ce5d7c6ef3efe8111cc611e8c345bca4cfb98dd0193c84a6589888988",
                "9cbbc2c714219eb57c4d78eb7be2c9819982ad6aad27b152a06c4c8d1f83115a",
                "fe932d150f2c1be92ae7f4c40bf426220069fa516346eaa8682b1416d5b9e436",
            ),
            (
                "SHA-512-256",
                "7406fb27eaa0799c1306c6dda41d3f0cecd00caf6235b16d52d4584c1ae3e951",
                "13f9d5c52dc8d86b49432261bcdb69a7bbaaf20109837fb07f8e2abf107b36a4",
                "fbf32d6fa3051b5da4d980dc0006f23a7227189155da0ad742818ae953b370c9",
                "7452f83cd21d6d5fd109b12f57ead1e2a92eed4843444b9b0eafec11579fe354",
            ),
        ] {
            let register = r#"uri="sip:example.com", cnonce="0a4f113b""#;
            let message = r#"uri="sip:alice@example.com", cnonce="0a4f113b""#;
            for (tail, method, body) in [
                (format!("{register}, algorithm={algorithm}, response=\"{plain}\""), "REGISTER", ""),
                (
                    format!("{register}, algorithm={algorithm}, qop=auth, nc=00000001, response=\"{auth}\""),
                    "REGISTER",
                    "",
                ),
                (
                    format!("{message}, algorithm={algorithm}, qop=auth-int, nc=00000002, response=\"{auth_int}\""),
                    "MESSAGE",
                    "Hello",
                ),
                (
                    format!("{register}, algorithm={algorithm}-sess, qop=auth, nc=00000001, response=\"{session}\""),
                    "REGISTER",
                    "",
                ),
            ] {
                assert_eq!(verdict(&tail, method, body), Ok(()), "{tail}");
                assert_eq!(
                    verdict(
                        &tail
                            .to_uppercase()
                            .replace("SIP:ALICE@EXAMPLE.COM", "sip:alice@example.com")
                            .replace("SIP:EXAMPLE.COM", "sip:example.com")
                            .replace("0A4F113B", "0a4f113b"),
                        method,
                        body
                    ),
                    Ok(()),
                    "upper case {tail}"
                );
                assert_eq!(verdict(&tail, "INVITE", body), Err(Failure::Mismatch), "other method: {tail}");
                let other_body = verdict(&tail, method, "Hello!");
                assert_eq!(other_body.is_err(), tail.contains("auth-int"), "other body: {tail}");
            }
        }
    }

    /// The examples of RFC 7616 §3.9.1 and §3.9.2; the RFC folds the long values.
    #[test]
    fn examples_of_rfc_7616() {
        let mufasa = Ha1Set::from_password("Mufasa", "http-auth@example.org", b"Circle of Life");
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let text = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let credentials = Credentials::parse(text.as_bytes()).unwrap();
            assert_eq!(verify(&credentials, b"GET", b"", &mufasa), Ok(()), "{algorithm}");
        }
        // §3.9.2 prints a response that no SHA-512/256 gives; this one was computed apart, for the same example.
        let text = "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, realm=\"api@example.org\", uri=\"/doe.json\", \
             algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", nc=00000001, \
             cnonce=\"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v\", qop=auth, \
             response=\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\", userhash=false";
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        let jason = Ha1Set::from_password(&credentials.username, "api@example.org", b"Secret, or not?");
        assert_eq!(verify(&credentials, b"GET", b"", &jason), Ok(()));
    }

    /// MSRP AUTH without a uri parameter (RFC 4976 §5.1): the caller puts the To-Path URI in.
    #[test]
    fn msrp_auth_and_its_answer() {
        let text = r#"Digest username="alice", realm="example.com", nonce="f3a1c09be2d4", qop=auth, nc=00000001, cnonce="c0ffee12", response="c28e7533bf28fc78643afc3795467958""#;
        let mut credentials = Credentials::parse(text.as_bytes()).unwrap();
        credentials.uri = b"msrps://alice@relay.example.com;tcp";
        let ha1 = Ha1Set::from_password("alice", "example.com", b"s3cret-pw");
        assert_eq!(verify(&credentials, b"AUTH", b"", &ha1), Ok(()));
        assert_eq!(
            authentication_info(&credentials, b"", &ha1, None),
            r#"rspauth="d303eb0a00dda48db9e6f7d7c258682d", cnonce="c0ffee12", nc=00000001, qop=auth"#
        );
        let with_next = authentication_info(&credentials, b"", &ha1, Some("n2"));
        assert!(with_next.starts_with(r#"nextnonce="n2", rspauth="d303eb"#), "{with_next}");
    }

    #[test]
    fn what_is_not_an_answer() {
        for (name, tail, expected) in [
            ("empty response", r#"uri="sip:example.com", response="""#, Failure::NoAnswer),
            ("short response", r#"uri="sip:example.com", response="00""#, Failure::Mismatch),
            ("not hex", r#"uri="sip:example.com", response="zzbaf6cb316a1a54ee0f3f179e4ec0a7""#, Failure::Mismatch),
            (
                "AKA against a password",
                r#"uri="sip:example.com", algorithm=AKAv1-MD5, response="1cbaf6cb316a1a54ee0f3f179e4ec0a7""#,
                Failure::Algorithm(Algorithm::AkaV1Md5),
            ),
        ] {
            assert_eq!(verdict(tail, "REGISTER", ""), Err(expected), "{name}");
        }
    }
}
