//! Digest answers (RFC 7616 with MD5, as most deployed phones have it).

use md5::{Digest, Md5};

fn hex(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A parameter of a challenge, without its quotes.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let (_, parameters) = challenge.trim().split_once(' ')?;
    parameters.split(',').find_map(|part| {
        let (found, value) = part.trim().split_once('=')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// The value of Authorization for one of the challenges; `None` where none of them is MD5.
pub(crate) fn answer(challenges: &[&str], user: &str, password: &str, method: &str, uri: &str) -> Option<String> {
    let md5 = |challenge: &&&str| parameter(challenge, "algorithm").is_none_or(|name| name.eq_ignore_ascii_case("md5"));
    let challenge = challenges.iter().find(md5)?;
    let (realm, nonce) = (parameter(challenge, "realm")?, parameter(challenge, "nonce")?);
    let (nc, cnonce) = ("00000001", "e2e");
    let (ha1, ha2) = (hex(&format!("{user}:{realm}:{password}")), hex(&format!("{method}:{uri}")));
    let response = hex(&format!("{ha1}:{nonce}:{nc}:{cnonce}:auth:{ha2}"));
    let opaque = parameter(challenge, "opaque").map(|opaque| format!(", opaque=\"{opaque}\"")).unwrap_or_default();
    Some(format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         algorithm=MD5, cnonce=\"{cnonce}\", qop=auth, nc={nc}{opaque}"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn takes_the_challenge_it_knows() {
        let challenges = [
            "Digest realm=\"localhost\", nonce=\"a\", algorithm=SHA-256, qop=\"auth,auth-int\"",
            "Digest realm=\"localhost\", nonce=\"b\", algorithm=MD5, opaque=\"c\"",
        ];
        let answer = super::answer(&challenges, "user0", "pass0", "REGISTER", "sip:localhost").unwrap();
        assert!(answer.contains("nonce=\"b\"") && answer.contains("opaque=\"c\""), "{answer}");
        assert!(super::answer(&challenges[..1], "user0", "pass0", "REGISTER", "sip:localhost").is_none());
    }
}
