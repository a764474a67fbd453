//! Who sent a request: digest, connections that have authenticated, the trust domain (RFC 3261 §22, RFC 3325).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use ahash::RandomState;
use bytes::Bytes;
use chappe_auth::{Algorithm, Credentials, Gate, GateConfig, Ha1Forms, Request as Digest, Username, Verdict, bearer};
use chappe_net::Network;
use chappe_sip::{Flow, HeaderName, Message, Reply};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::bearer::Bearers;
use crate::directory::{Directory, Entry};

/// Connections remembered as authenticated, at most; the one that does not fit is challenged again.
const CONNECTIONS: usize = 4_000_000;
const SHARDS: usize = 64;

/// Which kind of challenge (RFC 3261 §22.2, §22.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// 401 and WWW-Authenticate.
    Registrar,
    /// 407 and Proxy-Authenticate.
    Proxy,
}

/// What became of a look at the credentials.
#[derive(Debug)]
pub enum Checked {
    /// Authenticated as this account.
    User(Arc<Entry>),
    /// Send this; nobody failed.
    Challenge(Bytes),
    /// Send this, and count it against the peer.
    Wrong { answer: Bytes, unknown: bool },
}

/// What is new in each answer.
#[derive(Debug, Clone, Copy)]
pub struct Fresh<'a> {
    /// Seconds since the epoch.
    pub now: u64,
    /// Random.
    pub salt: [u8; 8],
    /// To tag.
    pub tag: &'a str,
    /// Nobody on the way can read the request, so that a token may be in it.
    pub secure: bool,
}

/// Checks credentials and remembers connections.
pub struct Identity {
    gate: Gate,
    trusted: Vec<Network>,
    /// Users that a connection has authenticated as.
    connections: Box<[Mutex<Users>]>,
    bearers: OnceLock<Bearing>,
}

/// Tokens, and who gives them to clients that are asked for one.
struct Bearing {
    bearers: Arc<Bearers>,
    /// An https URI; without one no token is asked for (RFC 8898 §2.2).
    server: Option<String>,
}

type Users = HashMap<u64, SmallVec<[Arc<Entry>; 1]>, RandomState>;

impl Identity {
    /// `key` signs nonces; `now` in seconds since the epoch: nonces from before are asked for again.
    pub fn new(config: GateConfig, key: &[u8; 32], trusted: Vec<Network>, now: u64) -> Identity {
        Identity {
            gate: Gate::new(config, key, now),
            trusted,
            connections: (0..SHARDS).map(|_| Mutex::default()).collect(),
            bearers: OnceLock::new(),
        }
    }

    /// Tokens are taken from now on. Once.
    pub fn set_bearers(&self, bearers: Arc<Bearers>, server: Option<String>) {
        let _ = self.bearers.set(Bearing { bearers, server });
    }

    /// Whether the peer belongs to the trust domain.
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|n| n.contains(peer))
    }

    /// Whether `aor` has authenticated over this connection; never for a datagram, whose source proves nothing.
    pub fn knows(&self, flow: &Flow, aor: &str) -> bool {
        flow.is_connection()
            && self
                .shard(flow.connection)
                .lock()
                .get(&flow.connection)
                .is_some_and(|u| u.iter().any(|e| &*e.aor == aor))
    }

    /// Remembers that `user` has authenticated over a connection.
    pub fn remember(&self, flow: &Flow, user: &Arc<Entry>) {
        if !flow.is_connection() {
            return;
        }
        let mut users = self.shard(flow.connection).lock();
        if users.len() >= CONNECTIONS / SHARDS && !users.contains_key(&flow.connection) {
            return;
        }
        let known = users.entry(flow.connection).or_default();
        if !known.iter().any(|e| Arc::ptr_eq(e, user)) {
            known.retain(|e| e.aor != user.aor);
            known.push(Arc::clone(user));
        }
    }

    pub fn forget(&self, flow: &Flow) {
        self.shard(flow.connection).lock().remove(&flow.connection);
    }

    /// Forgets every connection that a user has authenticated over: it is asked again. Looks at all.
    pub fn forget_user(&self, aor: &str) {
        for shard in &self.connections {
            shard.lock().retain(|_, users| {
                users.retain(|user| *user.aor != *aor);
                !users.is_empty()
            });
        }
    }

    /// Looks at the credentials of a request for `realm`. The answer of an unknown user is that of
    /// a wrong password.
    pub fn check(
        &self,
        request: &Message,
        role: Role,
        realm: &str,
        directory: &Directory,
        fresh: Fresh<'_>,
    ) -> Checked {
        let Fresh { now, salt, tag, secure } = fresh;
        let (header, answer, status) = match role {
            Role::Registrar => (HeaderName::Authorization, HeaderName::WwwAuthenticate, 401),
            Role::Proxy => (HeaderName::ProxyAuthorization, HeaderName::ProxyAuthenticate, 407),
        };
        let digest = Digest { method: request.method_text(), body: request.body(), realm, binding: b"" };
        let challenge_with = |stale: bool, error: Option<bearer::Error>| {
            let mut reply = Reply::new(request, status, tag);
            let mut values = self.gate.challenge(&digest, stale, now, salt);
            suit(request, &mut values);
            keep_known(&mut values, claimed(request, role, realm, directory).as_deref());
            values.extend(self.bearer_challenge(realm, error));
            for value in values {
                reply = reply.header(answer, &value);
            }
            reply.finish()
        };
        let challenge = |stale: bool| challenge_with(stale, None);
        let token = request.headers(header).find_map(|value| bearer::parse(value).ok());
        if let Some((token, bearing)) = token.zip(self.bearers.get()) {
            let checked = match secure {
                true => bearing.bearers.check(token, "sip", now),
                false => Err(bearer::Error::InvalidToken),
            };
            let is_of_realm = |aor: &str| aor.rsplit_once('@').is_some_and(|(_, domain)| domain == realm);
            return match checked.map(|aor| directory.find(&aor).filter(|user| !user.disabled && is_of_realm(&user.aor)))
            {
                Ok(Some(user)) => Checked::User(user),
                Ok(None) => Checked::Challenge(challenge_with(false, Some(bearer::Error::InvalidToken))),
                // SIP has a word of its own for a token that covers something else.
                Err(bearer::Error::InsufficientScope) => {
                    Checked::Challenge(challenge_with(false, Some(bearer::Error::InvalidScope)))
                }
                Err(error) => Checked::Challenge(challenge_with(false, Some(error))),
            };
        }
        let ours = |c: &Credentials<'_>| c.realm.eq_ignore_ascii_case(realm);
        let Some(credentials) = request.headers(header).filter_map(|v| Credentials::parse(v).ok()).find(ours) else {
            return Checked::Challenge(challenge(false));
        };
        let name = Username::parse(&credentials.username).filter(|n| n.belongs_to(realm));
        let known = name.and_then(|name| directory.secrets(&name, realm)).filter(|(entry, _)| !entry.disabled);
        let (entry, secrets) = known.unzip();
        match (self.gate.judge(&credentials, &digest, secrets.as_ref(), now), entry) {
            (Verdict::Admit { .. }, Some(entry)) => Checked::User(entry),
            (Verdict::Challenge { stale }, _) => Checked::Challenge(challenge(stale)),
            (_, entry) => Checked::Wrong { answer: challenge(false), unknown: entry.is_none() },
        }
    }

    fn bearer_challenge(&self, realm: &str, error: Option<bearer::Error>) -> Option<String> {
        let server = self.bearers.get()?.server.as_deref()?;
        let challenge = bearer::Challenge::sip(realm, server).ok()?;
        Some(challenge.about("sip", error).value())
    }

    /// Gives back memory of old nonces; call it every minute or so.
    pub fn expire(&self, now: u64) {
        self.gate.expire(now);
    }

    fn shard(&self, connection: u64) -> &Mutex<Users> {
        &self.connections[connection as usize % SHARDS]
    }
}

/// Makes the list of challenges one that the client can read, where it is known to stumble over the whole list in the
/// order of the configuration (RFC 8760 §2.4), which everybody else gets.
fn suit(request: &Message, challenges: &mut Vec<String>) {
    let is = |challenge: &String, algorithm: &str| challenge.contains(&format!("algorithm={algorithm}"));
    if is_sipp(request)
        && let Some(md5) = challenges.iter().position(|c| is(c, "MD5"))
    {
        // It looks at the first challenge only, and knows nothing but MD5.
        challenges[..=md5].rotate_right(1);
    } else if let Some(version) = baresip(request) {
        // It gives up at an algorithm that it does not know, whatever stands beside it.
        let known: &[&str] = if version < (3, 12) { &["MD5"] } else { &["SHA-256", "MD5"] };
        let read = |challenge: &String| known.iter().any(|algorithm| is(challenge, algorithm));
        if challenges.iter().any(read) {
            challenges.retain(read);
        }
    }
}

/// Who a request says that it is from, before anything is proved.
fn claimed(request: &Message, role: Role, realm: &str, directory: &Directory) -> Option<Arc<Entry>> {
    let address = if role == Role::Registrar { request.to() } else { request.from() }?;
    let uri = address.parse_uri().ok()?;
    directory.find(&format!("{}@{realm}", uri.user_decoded()))
}

/// Leaves out algorithms for which the account has no secret, as those that were taken over from another server have not for all:
/// clients answer the first challenge that they know.
fn keep_known(challenges: &mut Vec<String>, user: Option<&Entry>) {
    let Some(user) = user else { return };
    let secrets = Ha1Forms::from_bytes(&user.secrets.0).plain;
    let known = |challenge: &String| {
        let named = |algorithm: &&Algorithm| challenge.contains(&format!("algorithm={},", algorithm.name()));
        Algorithm::DEFAULT_ORDER.iter().find(named).is_none_or(|algorithm| secrets.has(*algorithm))
    };
    if challenges.iter().any(known) {
        challenges.retain(known);
    }
}

/// SIPp tells itself by the three numbers of its branches.
fn is_sipp(request: &Message) -> bool {
    let Some(rest) = request.branch().strip_prefix(b"z9hG4bK-") else { return false };
    let mut parts = rest.split(|b| *b == b'-');
    let numbers = parts.by_ref().take(3).filter(|p| !p.is_empty() && p.iter().all(u8::is_ascii_digit)).count();
    numbers == 3 && parts.next().is_none()
}

/// The version of baresip that sent this: `baresip v1.0.0 (x86_64/linux)`.
fn baresip(request: &Message) -> Option<(u32, u32)> {
    let agent = std::str::from_utf8(request.header(HeaderName::UserAgent)?).ok()?;
    let mut numbers = agent.strip_prefix("baresip v")?.split(['.', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use chappe_sip::Limits;

    #[test]
    fn the_challenges_suit_the_client() {
        let identity = Identity::new(GateConfig::default(), &[7; 32], Vec::new(), 0);
        let all = ["SHA-256", "SHA-512-256", "MD5"];
        for (branch, agent, expected) in [
            ("z9hG4bK-4711-1-0", "sipp", &["MD5", "SHA-256", "SHA-512-256"][..]),
            ("z9hG4bK-524287-1---b7c3a9", "another", &all),
            ("z9hG4bKx", "another", &all),
            ("z9hG4bKx", "baresip v1.0.0 (x86_64/linux)", &["MD5"]),
            ("z9hG4bKx", "baresip v3.11.0 (x86_64/Linux)", &["MD5"]),
            ("z9hG4bKx", "baresip v3.12.1 (x86_64/Linux)", &["SHA-256", "MD5"]),
            ("z9hG4bKx", "baresip v4", &all),
            ("z9hG4bKx", "baresip vx.y", &all),
        ] {
            let text = format!(
                "REGISTER sip:d SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:a@d>;tag=1\r\nTo: <sip:a@d>\r\n\
                 Call-ID: c\r\nCSeq: 1 REGISTER\r\nUser-Agent: {agent}\r\n\r\n"
            );
            let request = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
            let fresh = Fresh { now: 1, salt: [1; 8], tag: "t", secure: true };
            let checked = identity.check(&request, Role::Registrar, "d", &Directory::default(), fresh);
            let Checked::Challenge(bytes) = checked else { panic!("{checked:?}") };
            let answer = Message::parse(bytes, &Limits::default()).unwrap();
            let offered: Vec<_> = answer.headers(HeaderName::WwwAuthenticate).map(String::from_utf8_lossy).collect();
            assert_eq!(offered.len(), expected.len(), "{branch} {agent}: {offered:?}");
            for (offered, algorithm) in offered.iter().zip(expected) {
                assert!(offered.contains(&format!("algorithm={algorithm},")), "{branch} {agent}: {offered}");
            }
        }
    }

    #[test]
    fn a_connection_stays_authenticated_and_a_datagram_does_not() {
        let identity = Identity::new(GateConfig::default(), &[7; 32], Vec::new(), 0);
        let secrets = chappe_store::Secrets([0; chappe_store::Secrets::LEN]);
        let entry = |aor: &str| {
            Arc::new(Entry {
                aor: aor.into(),
                secrets,
                tel: Box::default(),
                display_name: "".into(),
                disabled: false,
                lists: None,
            })
        };
        let remote = "192.0.2.1:5060".parse().unwrap();
        let tcp = Flow { transport: chappe_sip::Transport::Tcp, listener: 0, connection: 5, remote };
        let udp = Flow { transport: chappe_sip::Transport::Udp, connection: 0, ..tcp };
        for flow in [tcp, udp] {
            identity.remember(&flow, &entry("a@d"));
            assert_eq!(identity.knows(&flow, "a@d"), flow.is_connection());
            assert!(!identity.knows(&flow, "b@d"));
        }
        identity.forget(&tcp);
        assert!(!identity.knows(&tcp, "a@d"));
    }
}
