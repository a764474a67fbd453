//! AUTH: the way to a session (RFC 4976 §5.1, §6.3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_auth::{Refusal, Request as Digest, Username};
use chappe_msrp::Head;
use chappe_msrp::auth::{self as rules, Denied, Judged};
use chappe_msrp::relay::{Refused, split};

use super::connection::{Connection, Touched};
use super::relay::Relay;
use super::session::{NewSession, Session};
use crate::core::epoch_seconds;
use crate::directory::Entry;

impl Relay {
    /// Answers an AUTH that ends here. Says whether the connection has to go.
    pub(super) fn auth(&self, from: &Arc<Connection>, head: &Head, touched: &mut Touched) -> bool {
        if self.settings.require_tls && !from.secure {
            return self.deny(from, head, Denied::Forbidden, touched);
        }
        let domains = self.settings.domains.iter().map(|domain| &**domain);
        let Some(realm) = rules::realm(head, domains) else { return self.deny(from, head, Denied::Forbidden, touched) };
        let now = epoch_seconds();
        let mut entry: Option<Arc<Entry>> = None;
        let judged = rules::judge(&self.gate, head, realm, now, |name: &Username<'_>| {
            // A disabled account is refused only after its password was right.
            let (found, secrets) = self.accounts.secrets(name, realm)?;
            entry = Some(found);
            Some(secrets)
        });
        let stale = match judged {
            Judged::Admitted(admitted) => {
                let Some(entry) = entry else { return false };
                if entry.disabled || self.is_stopping() {
                    return self.deny(from, head, Denied::Forbidden, touched);
                }
                // Well before the nonce has had its time, so that the next AUTH needs no challenge.
                let next = (admitted.age > 60).then(|| self.gate.nonce(&request(realm), now, salt()));
                let info = admitted.info(next.as_ref().map(|nonce| nonce.as_str()));
                return self.grant(from, head, &entry, &info, touched);
            }
            Judged::Challenge { stale } => stale,
            Judged::Refused(refusal) => {
                self.counters.auth_failures.one();
                if let Some(flow) = from.flow() {
                    self.accounts.wrong(flow.remote.ip(), refusal == Refusal::UnknownUser);
                }
                tracing::debug!(?refusal, "MSRP AUTH refused");
                self.challenge(from, head, realm, false, touched);
                return self.failed(from) || from.failures.load(Ordering::Relaxed) >= self.settings.failures;
            }
        };
        self.challenge(from, head, realm, stale, touched);
        false
    }

    fn challenge(&self, from: &Arc<Connection>, head: &Head, realm: &str, stale: bool, touched: &mut Touched) {
        self.counters.challenges.one();
        let values = self.gate.challenge(&request(realm), stale, epoch_seconds(), salt());
        let mut answer = Vec::with_capacity(640);
        rules::write_challenge(&mut answer, head, &values);
        self.control(from, answer, touched);
    }

    fn deny(&self, from: &Arc<Connection>, head: &Head, denied: Denied, touched: &mut Touched) -> bool {
        self.counters.refused.one();
        let mut answer = Vec::with_capacity(384);
        rules::write_denied(&mut answer, head, denied);
        self.control(from, answer, touched);
        self.failed(from)
    }

    /// Hands a URI out, or renews the one that the AUTH is addressed to.
    fn grant(&self, from: &Arc<Connection>, head: &Head, entry: &Entry, info: &str, touched: &mut Touched) -> bool {
        let renewed =
            head.to_path().last().and_then(|uri| self.sessions.find(&uri)).filter(|session| {
                *session.user == *entry.aor && Arc::ptr_eq(&session.owner, from) && !session.has_ended()
            });
        let held = if renewed.is_some() { 0 } else { self.sessions.held(&entry.aor) };
        let expires = match rules::lifetime(head, &self.settings.auth, held) {
            Ok(expires) => expires,
            Err(denied) => return self.deny(from, head, denied, touched),
        };
        let now = self.now();
        let until = now + u64::from(expires) * 1000;
        let session = match renewed {
            Some(session) => {
                session.expires.store(until, Ordering::Relaxed);
                session
            }
            None => {
                if self.sessions.len() >= self.settings.sessions {
                    return self.deny(from, head, Denied::Sessions, touched);
                }
                let Ok(uri) = self.local.mint(from, crate::random::bytes()) else {
                    return self.refuse_mint(from, head, touched);
                };
                let session = Session::new(NewSession {
                    number: self.numbers.fetch_add(1, Ordering::Relaxed),
                    uri,
                    user: Arc::from(&*entry.aor),
                    client: split(last(head.raw_from_path())).0.into(),
                    owner: Arc::clone(from),
                    now,
                    expires: until,
                    allowance: i64::try_from(self.settings.rate).unwrap_or(i64::MAX),
                });
                self.sessions.insert(&session);
                self.counters.sessions.one();
                session
            }
        };
        let use_path = rules::use_path(head.raw_from_path(), session.uri.as_str());
        let mut answer = Vec::with_capacity(640);
        rules::write_granted(&mut answer, head, &use_path, expires, Some(info));
        self.control(from, answer, touched);
        from.succeeded();
        false
    }

    fn refuse_mint(&self, from: &Arc<Connection>, head: &Head, touched: &mut Touched) -> bool {
        tracing::warn!("no MSRP listener that a session could be reached by");
        self.respond(from, head, 403, Refused::Insecure.comment(), touched);
        false
    }
}

fn request(realm: &str) -> Digest<'_> {
    Digest { method: b"AUTH", body: b"", realm, binding: b"" }
}

fn salt() -> [u8; 8] {
    crate::random::bytes()
}

/// The last URI of a path: the client itself.
fn last(path: &str) -> &str {
    path.rsplit(' ').next().unwrap_or_default()
}
