//! Who sends an HTTP request, by the accounts, bans and trusted networks of SIP.

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, HOST};
use chappe_api::identity::{Asked, Identify, Unidentified, User};
use chappe_auth::{Credentials, Gate, GateConfig, Qop, Request as Digest, Username, Verdict, bearer};

use crate::admission::Offence;
use crate::core::{Core, epoch_seconds};
use crate::directory::Entry;

/// By which gateways of the trust domain say whose request they pass on (3GPP TS 24.109 §5.2).
const ASSERTED: &str = "x-3gpp-asserted-identity";

/// Digest and asserted identities.
pub struct HttpIdentity {
    core: Arc<Core>,
    gate: Gate,
}

impl HttpIdentity {
    /// `key` signs nonces. Bodies are streams, so auth-int is not offered.
    pub fn new(core: Arc<Core>, config: GateConfig, key: &[u8; 32]) -> HttpIdentity {
        let config = GateConfig { qop: vec![Qop::Auth], ..config };
        HttpIdentity { core, gate: Gate::new(config, key, epoch_seconds()) }
    }

    /// Gives back memory of old nonces; call it every minute or so.
    pub fn expire(&self, now: u64) {
        self.gate.expire(now);
    }

    /// The realm of a challenge: what the request is about, else the domain that its Host is or lies in, else our first.
    fn realm<'a>(&'a self, asked: &Asked<'_>) -> &'a str {
        let domains = &self.core.settings.domains;
        let of = |name: &str| domains.iter().find(|domain| is_within(name, domain));
        let host = asked.headers.get(HOST).and_then(|host| host.to_str().ok()).map(without_port);
        let found = asked.domain.and_then(of).or_else(|| host.and_then(of)).or(domains.first());
        found.map_or("", |domain| domain)
    }

    fn asserted(&self, asked: &Asked<'_>) -> Option<Result<User, Unidentified>> {
        if !self.core.identity.is_trusted(asked.peer.remote.ip()) {
            return None;
        }
        let value = asked.headers.get(ASSERTED)?.to_str().ok()?;
        Some(asserted(value).find_map(|identity| self.by_uri(identity)).map_or(Err(Unidentified::Forbidden), user))
    }

    fn by_uri(&self, uri: &str) -> Option<Arc<Entry>> {
        let (scheme, rest) = uri.split_once(':')?;
        let rest = rest.split([';', '?']).next().unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "sip" | "sips" => {
                let (name, domain) = rest.rsplit_once('@')?;
                let domain = domain.to_ascii_lowercase();
                let directory = &self.core.directory;
                directory.find(&format!("{name}@{domain}")).or_else(|| directory.find_tel(name))
            }
            "tel" => self.core.directory.find_tel(rest),
            _ => None,
        }
    }

    /// Who has a token. One that is not good is no guess at a password, so nobody is banned for it.
    fn bearing(&self, asked: &Asked<'_>, token: &str, now: u64) -> Result<User, Unidentified> {
        let realm = self.realm(asked);
        let scope = scope_of(asked.target);
        let refuse = |error| bearer::Challenge::http(realm).about(scope, Some(error));
        let remote = asked.peer.remote.ip();
        let checked = match asked.peer.secure || remote.is_loopback() {
            true => self.core.bearers.check(token, scope, now),
            false => Err(bearer::Error::InvalidToken),
        };
        match checked.map(|aor| self.core.directory.find(&aor)) {
            Ok(Some(entry)) => user(entry),
            Ok(None) => Err(Unidentified::Challenge(vec![refuse(bearer::Error::InvalidToken).value()])),
            Err(error @ bearer::Error::InsufficientScope) => Err(Unidentified::Scope(refuse(error).value())),
            Err(error) => Err(Unidentified::Challenge(vec![refuse(error).value()])),
        }
    }

    fn wrong(&self, asked: &Asked<'_>, offence: Offence) {
        self.core.offence_of(asked.peer.remote.ip(), offence);
    }
}

impl Identify for HttpIdentity {
    fn identify(&self, asked: &Asked<'_>) -> Result<User, Unidentified> {
        if self.core.admission.bans.is_banned(asked.peer.remote.ip(), self.core.uptime_ms()) {
            return Err(Unidentified::Banned);
        }
        if let Some(asserted) = self.asserted(asked) {
            return asserted;
        }
        let now = epoch_seconds();
        if let Some(token) = asked.headers.get(AUTHORIZATION).and_then(|value| bearer::parse(value.as_bytes()).ok()) {
            return self.bearing(asked, token, now);
        }
        let ask = |realm: &str, stale: bool| {
            let digest = Digest { method: asked.method.as_bytes(), body: b"", realm, binding: b"" };
            let mut values = self.gate.challenge(&digest, stale, now, crate::random::bytes());
            // Behind digest, which every client knows.
            values.push(bearer::Challenge::http(realm).value());
            Unidentified::Challenge(values)
        };
        let domains = &self.core.settings.domains;
        let known = |c: &Credentials<'_>| domains.iter().find(|domain| c.realm.eq_ignore_ascii_case(domain));
        let mut found = asked.headers.get_all(AUTHORIZATION).iter().filter_map(|value| {
            let credentials = Credentials::parse(value.as_bytes()).ok()?;
            let realm = known(&credentials)?;
            Some((credentials, realm))
        });
        let Some((credentials, realm)) = found.next() else { return Err(ask(self.realm(asked), false)) };
        if !is_same_resource(credentials.uri, asked.target) {
            self.wrong(asked, Offence::WrongPassword);
            return Err(ask(realm, false));
        }
        let name = Username::parse(&credentials.username).filter(|name| name.belongs_to(realm));
        let (entry, secrets) = name.and_then(|name| self.core.directory.secrets(&name, realm)).unzip();
        let digest = Digest { method: asked.method.as_bytes(), body: b"", realm, binding: b"" };
        match (self.gate.judge(&credentials, &digest, secrets.as_ref(), now), entry) {
            (Verdict::Admit { .. }, Some(entry)) => user(entry),
            (Verdict::Challenge { stale }, _) => Err(ask(realm, stale)),
            (_, entry) => {
                self.wrong(asked, if entry.is_none() { Offence::UnknownUser } else { Offence::WrongPassword });
                Err(ask(realm, false))
            }
        }
    }
}

/// What a token has to cover for a path.
fn scope_of(target: &str) -> &'static str {
    let path = path_of(target);
    let is = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    match () {
        () if is("/xcap-root") => "xcap",
        () if is("/ft") => "files",
        () if is("/dav") || is("/oneapi/addressbook") => "contacts",
        () => "api",
    }
}

fn user(entry: Arc<Entry>) -> Result<User, Unidentified> {
    // A disabled account is refused only after its password was right.
    if entry.disabled {
        return Err(Unidentified::Forbidden);
    }
    Ok(User { aor: entry.aor.clone(), tel: entry.tel.clone(), display_name: entry.display_name.clone() })
}

/// The identities of a header: `"sip:a@d", "tel:+1"`, with or without quotation marks.
fn asserted(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(|identity| identity.trim().trim_matches('"')).filter(|identity| !identity.is_empty())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether `name` is `domain` or a host in it, as `xcap.example.com` is.
fn is_within(name: &str, domain: &str) -> bool {
    let Some(from) = name.len().checked_sub(domain.len()) else { return false };
    name.is_char_boundary(from)
        && name[from..].eq_ignore_ascii_case(domain)
        && (from == 0 || name.as_bytes()[from - 1] == b'.')
}

/// Whether the `uri` of credentials is what the request asks for (RFC 7616 §3.4.6). Clients write either of them as a path
/// or as a whole URI, and escape differently.
fn is_same_resource(uri: &[u8], target: &str) -> bool {
    std::str::from_utf8(uri).is_ok_and(|uri| decoded(path_of(uri)) == decoded(path_of(target)))
}

fn path_of(uri: &str) -> &str {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri };
    if scheme.contains('/') {
        return uri;
    }
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn decoded(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return Cow::Borrowed(path.as_bytes());
    }
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| path.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
