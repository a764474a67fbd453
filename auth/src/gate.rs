//! The whole digest decision: challenge, then nonce, response and count, in the order that leaks nothing.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::algorithm::{Algorithm, Qop};
use crate::base64url;
use crate::challenge::Challenge;
use crate::counts::{CountPolicy, NonceCounts, Use};
use crate::credentials::Credentials;
use crate::digest::{Failure, verify};
use crate::ha1::Ha1Set;
use crate::nonce::{NonceCheck, Nonces};

/// What an operator decides about digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// Offered and accepted, most preferred first; `-sess` variants are accepted with them.
    pub algorithms: Vec<Algorithm>,
    /// Offered and accepted.
    pub qop: Vec<Qop>,
    /// Seconds for which a nonce is good.
    pub nonce_lifetime: u64,
    /// Nonces whose counts are remembered.
    pub nonce_capacity: usize,
    pub counts: CountPolicy,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            algorithms: Algorithm::DEFAULT_ORDER.to_vec(),
            qop: vec![Qop::Auth, Qop::AuthInt],
            nonce_lifetime: 3600,
            nonce_capacity: 1 << 20,
            counts: CountPolicy::default(),
        }
    }
}

/// The request that the credentials came with.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a [u8],
    /// The whole body; only qop=auth-int looks at it.
    pub body: &'a [u8],
    /// The realm asked for; credentials of another realm do not count.
    pub realm: &'a str,
    /// What nonces are bound to beside the realm: empty, or the peer's address.
    pub binding: &'a [u8],
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Authenticated. `age` is that of the nonce, in seconds: a nextnonce is due well before its lifetime ends.
    Admit { age: u64 },
    /// Send a challenge. Nobody failed: nothing was answered yet, or the nonce had its time.
    Challenge { stale: bool },
    /// Wrong. Count it against the peer, and send a challenge until there were too many. An unknown user looks the
    /// same as a wrong password.
    Refuse(Refusal),
}

/// Why credentials were refused; for logs and counters, never for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    UnknownUser,
    WrongResponse,
    /// Not among the offered ones.
    Algorithm(Algorithm),
    /// Not among the offered ones.
    Qop(Qop),
    Realm,
}

/// Challenges and judges for any number of realms; share it between threads.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    nonces: Nonces,
    counts: NonceCounts,
    decoy: Ha1Set,
    opaque: String,
}

impl Gate {
    /// `key` is secret, and the same on all nodes of a cluster. `not_before`: see [`NonceCounts::new`].
    pub fn new(config: GateConfig, key: &[u8; 32], not_before: u64) -> Self {
        let mac = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
        let opaque = mac.chain_update(b"opaque").finalize().into_bytes();
        Self {
            nonces: Nonces::new(key, config.nonce_lifetime),
            counts: NonceCounts::new(config.nonce_capacity, not_before),
            decoy: Ha1Set::decoy(key, ""),
            opaque: base64url::encode(&opaque[..9]),
            config,
        }
    }

    /// A fresh nonce, for a challenge or for nextnonce. `now` is in seconds since the epoch, `salt` random.
    pub fn nonce(&self, request: &Request<'_>, now: u64, salt: [u8; 8]) -> crate::Nonce {
        self.nonces.issue(now, salt, request.realm, request.binding)
    }

    /// The header values of a challenge, in the order in which they have to be sent.
    pub fn challenge(&self, request: &Request<'_>, stale: bool, now: u64, salt: [u8; 8]) -> Vec<String> {
        let nonce = self.nonce(request, now, salt);
        let challenge = Challenge {
            realm: request.realm,
            nonce: nonce.as_str(),
            opaque: Some(&self.opaque),
            stale,
            qop: &self.config.qop,
            algorithms: &self.config.algorithms,
        };
        challenge.values().collect()
    }

    /// Whether it is worth looking the user up; if not, the verdict. Cheap, and nothing an outsider can make dear.
    pub fn screen(&self, credentials: &Credentials<'_>, request: &Request<'_>) -> Result<(), Verdict> {
        if !credentials.is_answer() || credentials.response.is_empty() {
            return Err(Verdict::Challenge { stale: false });
        }
        if !credentials.realm.eq_ignore_ascii_case(request.realm) {
            return Err(Verdict::Refuse(Refusal::Realm));
        }
        if !self.config.algorithms.contains(&credentials.algorithm.base()) {
            return Err(Verdict::Refuse(Refusal::Algorithm(credentials.algorithm)));
        }
        match credentials.qop {
            Some(qop) if !self.config.qop.contains(&qop) => Err(Verdict::Refuse(Refusal::Qop(qop))),
            _ => Ok(()),
        }
    }

    /// Judges credentials, `account` being the secrets of their user where there is one. The digest is computed for
    /// unknown users and bad nonces as well, so that time tells nothing. Checking `credentials.uri` against what the
    /// request asks for is left to the caller.
    pub fn judge(
        &self,
        credentials: &Credentials<'_>,
        request: &Request<'_>,
        account: Option<&Ha1Set>,
        now: u64,
    ) -> Verdict {
        if let Err(verdict) = self.screen(credentials, request) {
            return verdict;
        }
        let nonce = self.nonces.check(credentials.nonce, now, request.realm, request.binding);
        let verified = verify(credentials, request.method, request.body, account.unwrap_or(&self.decoy));
        match verified {
            _ if account.is_none() => return Verdict::Refuse(Refusal::UnknownUser),
            Err(Failure::NoAnswer) => return Verdict::Challenge { stale: false },
            Err(Failure::Algorithm(algorithm)) => return Verdict::Refuse(Refusal::Algorithm(algorithm)),
            Err(Failure::Mismatch) => return Verdict::Refuse(Refusal::WrongResponse),
            Ok(()) => {}
        }
        // A right response to a nonce that is not good: the client knows the password and need not ask for it again,
        // even if we lost our key.
        let NonceCheck::Valid(id) = nonce else { return Verdict::Challenge { stale: true } };
        let count = if credentials.qop.is_some() { credentials.count().max(1) } else { 0 };
        match self.counts.note(id, count, credentials.response, self.config.counts) {
            Use::Fresh => Verdict::Admit { age: now.saturating_sub(u64::from(id.issued)) },
            Use::Replayed | Use::Forgotten => Verdict::Challenge { stale: true },
        }
    }

    /// Gives back memory of nonces that have expired at `now`; call it every minute or so.
    pub fn expire(&self, now: u64) {
        self.counts.expire(now.saturating_sub(self.config.nonce_lifetime));
    }

    /// Uses `key` for new nonces; those of the key before it stay good until they expire.
    pub fn rotate(&mut self, key: &[u8; 32]) {
        self.nonces.rotate(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::{Repeated, Uncounted};
    use crate::digest::respond;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;
    const REGISTER: Request<'_> =
        Request { method: b"REGISTER", body: b"", realm: "example.com", binding: b"192.0.2.1" };

    fn gate(config: GateConfig) -> Gate {
        Gate::new(config, &[1; 32], 0)
    }

    fn bob() -> Ha1Set {
        Ha1Set::from_password("bob", "example.com", b"s3cr3t-pw")
    }

    /// A client that takes the nonce out of a challenge and answers it.
    struct Client {
        nonce: String,
        algorithm: Algorithm,
        password: &'static str,
    }

    impl Client {
        fn new(gate: &Gate, algorithm: Algorithm) -> Self {
            let values = gate.challenge(&REGISTER, false, NOW, [2; 8]);
            let offer = values.iter().find(|value| value.contains(&format!("algorithm={}", algorithm.base()))).unwrap();
            let nonce = offer.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
            Self { nonce: nonce.to_owned(), algorithm, password: "s3cr3t-pw" }
        }

        fn answer(&self, count: Option<u32>) -> String {
            let qop = count.map_or(String::new(), |count| format!(", qop=auth, nc={count:08x}, cnonce=\"0a4f113b\""));
            let text = |response: &str| {
                format!(
                    "Digest username=\"bob\", realm=\"example.com\", nonce=\"{}\", uri=\"sip:example.com\", \
                     algorithm={}{qop}, response=\"{response}\"",
                    self.nonce, self.algorithm
                )
            };
            let draft = text("");
            let draft = Credentials::parse(draft.as_bytes()).unwrap();
            let ha1 = Ha1Set::from_password("bob", "example.com", self.password.as_bytes());
            let mut out = [0; 32];
            let digest = respond(&draft, b"REGISTER", b"", ha1.get(self.algorithm.hash()), &mut out);
            text(&digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
    }

    fn judge(gate: &Gate, text: &str, now: u64) -> Verdict {
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        gate.judge(&credentials, &REGISTER, Some(&bob()), now)
    }

    #[test]
    fn register_refresh_and_replay() {
        let gate = gate(GateConfig::default());
        for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512_256, Algorithm::Sha256Sess] {
            let mut client = Client::new(&gate, algorithm);
            client.nonce = gate.nonce(&REGISTER, NOW, [algorithm.name().len() as u8; 8]).to_string();
            let first = client.answer(Some(1));
            assert_eq!(judge(&gate, &first, NOW), Verdict::Admit { age: 0 }, "{algorithm}");
            assert_eq!(judge(&gate, &client.answer(Some(2)), NOW + 9), Verdict::Admit { age: 9 }, "{algorithm}");
            assert_eq!(judge(&gate, &first, NOW + 9), Verdict::Challenge { stale: true }, "replay, {algorithm}");
            assert_eq!(judge(&gate, &client.answer(Some(3)), NOW + 3601), Verdict::Challenge { stale: true });
        }
    }

    /// The first REGISTER of a phone that names its user only.
    #[test]
    fn no_answer_gets_a_plain_challenge() {
        let text = r#"Digest username="bob", realm="example.com", nonce="", uri="sip:example.com", response="""#;
        assert_eq!(judge(&gate(GateConfig::default()), text, NOW), Verdict::Challenge { stale: false });
    }

    #[test]
    fn wrong_password_and_unknown_user_look_alike() {
        let gate = gate(GateConfig::default());
        let mut client = Client::new(&gate, Algorithm::Sha256);
        let right = client.answer(Some(1));
        let right = Credentials::parse(right.as_bytes()).unwrap();
        assert_eq!(gate.judge(&right, &REGISTER, None, NOW), Verdict::Refuse(Refusal::UnknownUser));
        client.password = "guess";
        assert_eq!(judge(&gate, &client.answer(Some(1)), NOW), Verdict::Refuse(Refusal::WrongResponse));
        // Guessing uses up no count of the real client's.
        assert_eq!(gate.judge(&right, &REGISTER, Some(&bob()), NOW), Verdict::Admit { age: 0 });
    }

    /// After a lost key the client knows the password still and is not to ask for it.
    #[test]
    fn right_response_to_a_foreign_nonce_is_stale() {
        let other = Gate::new(GateConfig::default(), &[9; 32], 0);
        let client = Client::new(&other, Algorithm::Md5);
        let here = gate(GateConfig::default());
        assert_eq!(judge(&here, &client.answer(Some(1)), NOW), Verdict::Challenge { stale: true });
        let peer = Request { binding: b"192.0.2.2", ..REGISTER };
        let text = Client::new(&here, Algorithm::Md5).answer(Some(1));
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(here.judge(&credentials, &peer, Some(&bob()), NOW), Verdict::Challenge { stale: true });
    }

    #[test]
    fn only_what_was_offered() {
        let gate =
            gate(GateConfig { algorithms: vec![Algorithm::Sha256], qop: vec![Qop::AuthInt], ..GateConfig::default() });
        let text = |algorithm, qop| {
            format!(
                "Digest username=bob, realm=example.com, nonce=n, algorithm={algorithm}, qop={qop}, nc=1, cnonce=c, \
                 response=00"
            )
        };
        for (algorithm, qop, realm, expected) in [
            ("MD5", "auth-int", "example.com", Refusal::Algorithm(Algorithm::Md5)),
            ("AKAv1-MD5", "auth-int", "example.com", Refusal::Algorithm(Algorithm::AkaV1Md5)),
            ("SHA-256", "auth", "example.com", Refusal::Qop(Qop::Auth)),
            ("SHA-256-sess", "auth-int", "example.com", Refusal::WrongResponse),
            ("SHA-256", "auth-int", "example.net", Refusal::Realm),
        ] {
            let text = text(algorithm, qop);
            let credentials = Credentials::parse(text.as_bytes()).unwrap();
            let request = Request { realm, ..REGISTER };
            let verdict = gate.judge(&credentials, &request, Some(&bob()), NOW);
            assert_eq!(verdict, Verdict::Refuse(expected), "{text}");
        }
    }

    #[test]
    fn clients_that_do_not_count() {
        let lax = CountPolicy { repeated: Repeated::SameResponse, uncounted: Uncounted::Accept };
        let stale = Verdict::Challenge { stale: true };
        let admit = Verdict::Admit { age: 0 };
        for (name, counts, uses, expected) in [
            ("retransmission, strict", CountPolicy::default(), [Some(1), Some(1)], [admit, stale]),
            ("retransmission, lax", lax, [Some(1), Some(1)], [admit, admit]),
            ("no qop, strict", CountPolicy::default(), [None, None], [admit, stale]),
            ("no qop, lax", lax, [None, None], [admit, admit]),
        ] {
            let gate = gate(GateConfig { counts, ..GateConfig::default() });
            let client = Client::new(&gate, Algorithm::Md5);
            assert_eq!(uses.map(|count| judge(&gate, &client.answer(count), NOW)), expected, "{name}");
        }
    }

    #[test]
    fn key_rotation_goes_unnoticed() {
        let mut gate = gate(GateConfig::default());
        let client = Client::new(&gate, Algorithm::Sha256);
        gate.rotate(&[7; 32]);
        assert_eq!(judge(&gate, &client.answer(Some(1)), NOW), Verdict::Admit { age: 0 });
    }

    proptest! {
        #[test]
        fn junk_is_never_admitted(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(credentials) = Credentials::parse(&bytes) {
                let verdict = gate(GateConfig::default()).judge(&credentials, &REGISTER, Some(&bob()), NOW);
                let admitted = matches!(verdict, Verdict::Admit { .. });
                prop_assert!(!admitted);
            }
        }
    }
}
