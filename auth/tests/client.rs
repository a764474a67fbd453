//! The server against a client written apart from it: its own formulas, on strings, from RFC 7616 §3.4 and RFC 2617.

use chappe_auth::{Credentials, Failure, Ha1Set, authentication_info, verify};
use md5::Md5;
use proptest::prelude::*;
use sha2::{Digest, Sha256, Sha512_256};

fn hash(algorithm: &str, text: &[u8]) -> String {
    let digest = match algorithm.trim_end_matches("-sess") {
        "MD5" => Md5::digest(text).to_vec(),
        "SHA-256" => Sha256::digest(text).to_vec(),
        _ => Sha512_256::digest(text).to_vec(),
    };
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Clone)]
struct Exchange {
    algorithm: &'static str,
    qop: Option<&'static str>,
    user: String,
    realm: String,
    password: String,
    method: String,
    uri: String,
    nonce: String,
    cnonce: String,
    nc: u32,
    body: Vec<u8>,
}

impl Exchange {
    fn a1(&self) -> String {
        let ha1 = hash(self.algorithm, format!("{}:{}:{}", self.user, self.realm, self.password).as_bytes());
        if self.algorithm.ends_with("-sess") {
            return hash(self.algorithm, format!("{ha1}:{}:{}", self.nonce, self.cnonce).as_bytes());
        }
        ha1
    }

    fn digest(&self, method: &str) -> String {
        let mut a2 = format!("{method}:{}", self.uri);
        if self.qop == Some("auth-int") {
            a2.push(':');
            a2.push_str(&hash(self.algorithm, &self.body));
        }
        let (a1, ha2) = (self.a1(), hash(self.algorithm, a2.as_bytes()));
        let middle = match self.qop {
            Some(qop) => format!("{}:{:08x}:{}:{qop}", self.nonce, self.nc, self.cnonce),
            None => self.nonce.clone(),
        };
        hash(self.algorithm, format!("{a1}:{middle}:{ha2}").as_bytes())
    }

    fn header(&self) -> String {
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut out = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", cnonce=\"{}\", algorithm={}, response=\"{}\"",
            quoted(&self.user),
            quoted(&self.realm),
            self.nonce,
            self.uri,
            self.cnonce,
            self.algorithm,
            self.digest(&self.method)
        );
        if let Some(qop) = self.qop {
            out.push_str(&format!(", qop={qop}, nc={:08x}", self.nc));
        }
        out
    }
}

prop_compose! {
    fn exchange()(
        algorithm in prop_oneof![
            Just("MD5"), Just("MD5-sess"), Just("SHA-256"), Just("SHA-256-sess"), Just("SHA-512-256"),
            Just("SHA-512-256-sess"),
        ],
        qop in prop_oneof![Just(None), Just(Some("auth")), Just(Some("auth-int"))],
        user in "[ -~äß]{1,20}",
        realm in "[ -~]{1,20}",
        password in "\\PC{0,20}",
        method in "[A-Z]{3,9}",
        uri in "sip:[a-z0-9@.;=-]{1,30}",
        nonce in "[A-Za-z0-9+/=_-]{1,44}",
        cnonce in "[A-Za-z0-9+/=_-]{0,44}",
        nc in 1u32..,
        body in proptest::collection::vec(any::<u8>(), 0..300),
    ) -> Exchange {
        Exchange { algorithm, qop, user, realm, password, method, uri, nonce, cnonce, nc, body }
    }
}

proptest! {
    #[test]
    fn accepts_the_client_and_nobody_else(exchange in exchange(), other in "\\PC{0,20}") {
        let header = exchange.header();
        let credentials = Credentials::parse(header.as_bytes()).unwrap();
        prop_assert_eq!(credentials.username.as_ref(), exchange.user.as_str());
        let (method, body) = (exchange.method.as_bytes(), exchange.body.as_slice());
        let ha1 = Ha1Set::from_password(&exchange.user, &exchange.realm, exchange.password.as_bytes());
        prop_assert_eq!(verify(&credentials, method, body, &ha1), Ok(()));
        prop_assert_eq!(verify(&credentials, b"X", body, &ha1), Err(Failure::Mismatch));
        if other != exchange.password {
            let wrong = Ha1Set::from_password(&exchange.user, &exchange.realm, other.as_bytes());
            prop_assert_eq!(verify(&credentials, method, body, &wrong), Err(Failure::Mismatch));
        }
        if exchange.qop == Some("auth-int") {
            let longer = [body, b"!"].concat();
            prop_assert_eq!(verify(&credentials, method, &longer, &ha1), Err(Failure::Mismatch));
        }
        let info = authentication_info(&credentials, body, &ha1, None);
        let rspauth = format!("rspauth=\"{}\"", exchange.digest(""));
        prop_assert!(info.starts_with(&rspauth), "{} in {}", rspauth, info);
    }
}
