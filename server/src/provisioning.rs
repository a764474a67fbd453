//! RCS auto-configuration: handsets are told what to use, each with a password of its own.
//!
//! The steps are those of [`chappe_provisioning::Exchange`]; here they meet accounts, listeners and the sender of
//! one-time passwords. Tokens are signed and not stored; sessions are in memory: after a restart a handset begins anew.

mod passwords;
mod sms;

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use chappe_api::provisioning::{Answer as HttpAnswer, Asked, AutoConfiguration};
use chappe_auth::token::{Claims, TokenVerifier, Tokens};
use chappe_net::Network;
use chappe_provisioning::{
    Account, Answer, Arrival, Auth, Chat, Exchange, ExchangeConfig, Files, Fresh, Known, Lists, Message, Order, Orders,
    Query, SessionId, Settings, Token, Transport, Version, document,
};
use parking_lot::Mutex;

pub use passwords::{DevicePasswords, Login, SEPARATOR};
pub use sms::Sender;

use crate::admission::Rates;
use crate::core::{Core, epoch_seconds};
use crate::logging::Redacted;
use crate::metrics::{Metrics, Provisioned};
use crate::sign_ins;

/// Addresses whose rate is remembered.
const PEERS: usize = 100_000;
/// Name of the cookie.
const COOKIE: &str = "rcs";
/// Whom tokens are for.
pub const AUDIENCE: &str = "rcs-configuration";

/// What an operator decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is told in the place of a configuration, and to whom.
    pub orders: Orders,
    /// Requests a second from one address, and so many more at once; 0: any number.
    pub peer_rate: u32,
    pub peer_burst: u32,
    pub version: u32,
    /// Seconds.
    pub validity: u32,
    /// Seconds.
    pub token_validity: u32,
    /// Gateways whose word on numbers is believed, and the headers they say it in, in lower case.
    pub gateways: Vec<Network>,
    pub headers: Vec<String>,
    /// Where SIP is spoken: a host, with a port where it is not the usual one. Without a host that of the user's domain.
    pub proxy: String,
    pub signalling: Transport,
    pub media: Transport,
    /// What URLs begin with; by default the host that was asked.
    pub url: Option<String>,
    /// User part of the conference factory; none without group chat.
    pub factory: Option<String>,
    pub max_group_size: u32,
    /// Bytes.
    pub max_message: u64,
    /// Bytes; none without a content server.
    pub max_file: Option<u64>,
    /// The root of lists, where it is not on the host that was asked.
    pub lists: Option<String>,
    pub message: Option<Message>,
}

/// Answers handsets.
pub struct AutoConfig {
    core: Arc<Core>,
    metrics: Arc<Metrics>,
    options: Options,
    exchange: Mutex<Exchange>,
    peers: Rates<IpAddr>,
    tokens: Tokens,
    passwords: DevicePasswords,
    sender: Option<Sender>,
}

impl AutoConfig {
    pub fn new(
        core: Arc<Core>,
        metrics: Arc<Metrics>,
        options: Options,
        tokens: &[u8; 32],
        passwords: DevicePasswords,
        sender: Option<Sender>,
    ) -> AutoConfig {
        let config = ExchangeConfig { can_send: sender.is_some(), ..ExchangeConfig::default() };
        AutoConfig {
            peers: Rates::new(options.peer_rate, options.peer_burst, PEERS),
            core,
            metrics,
            options,
            exchange: Mutex::new(Exchange::new(config)),
            tokens: Tokens::new(tokens, AUDIENCE),
            passwords,
            sender,
        }
    }

    /// Forgets sessions that are over; call it every minute or so.
    pub fn expire(&self, now: u64) {
        self.exchange.lock().expire(now);
    }

    fn respond(&self, asked: &Asked<'_>) -> (Provisioned, HttpAnswer) {
        let query = match Query::read(asked.query) {
            Ok(query) => query,
            Err(error) => {
                tracing::debug!(%error, "a request for configuration cannot be read");
                return (Provisioned::Malformed, plain(400, "the parameters cannot be read"));
            }
        };
        let ip = asked.peer.remote.ip();
        if self.core.admission.bans.is_banned(ip, self.core.uptime_ms()) {
            return (Provisioned::Forbidden, plain(403, "this address is banned"));
        }
        let is_gateway = self.options.gateways.iter().any(|network| network.contains(ip));
        if !is_gateway && !self.peers.admit(&ip, self.core.uptime_ms()) {
            let limited = plain(429, "too many requests from this address");
            return (Provisioned::TooMany, HttpAnswer { retry_after: Some(1), ..limited });
        }
        let number = is_gateway.then(|| self.number(asked.headers)).flatten();
        let arrival = Arrival {
            // What goes over loopback is seen by nobody else: a tester, or a proxy that ends TLS, unless it says that it got
            // the request without.
            secure: asked.peer.secure || (ip.is_loopback() && !came_plainly(asked.headers)),
            enriched: number.as_deref(),
            session: cookie(asked.headers),
        };
        let now = epoch_seconds();
        let fresh = Fresh { session: crate::random::bytes(), code: u64::from_le_bytes(crate::random::bytes()) };
        let answer = self.exchange.lock().ask(arrival, &query, self, now, fresh);
        let cookie = |session: SessionId| {
            // Over plain HTTP the first step sets it for the second, over TLS.
            let secure = if asked.peer.secure { "; Secure" } else { "" };
            Some(format!("{COOKIE}={session}; Path=/; HttpOnly{secure}"))
        };
        match answer {
            Answer::Recognised { session } => {
                (Provisioned::Recognised, HttpAnswer { cookie: cookie(session), ..plain(200, "") })
            }
            Answer::Wait { session, send } => {
                if let (Some(pending), Some(sender)) = (send, &self.sender) {
                    sender.send(&self.core, pending);
                }
                (Provisioned::Waiting, HttpAnswer { cookie: cookie(session), ..plain(200, "") })
            }
            Answer::Configure { user, token, began } => {
                self.configure(asked, began.as_deref().unwrap_or(&query), &user, token, now)
            }
            Answer::Again => {
                (Provisioned::Again, plain(511, "begin with msisdn=NUMBER over HTTPS, or with the OTP and its cookie"))
            }
            Answer::Forbidden => (Provisioned::Forbidden, plain(403, "this number is not configured here")),
            Answer::TooMany { retry_after } => (
                Provisioned::TooMany,
                HttpAnswer {
                    retry_after: Some(retry_after),
                    ..plain(429, "too many passwords were sent to this number")
                },
            ),
            Answer::Busy { retry_after } => {
                (Provisioned::Busy, HttpAnswer { retry_after: Some(retry_after), ..plain(503, "too many at once") })
            }
        }
    }

    fn configure(
        &self,
        asked: &Asked<'_>,
        query: &Query,
        user: &str,
        token: bool,
        now: u64,
    ) -> (Provisioned, HttpAnswer) {
        let Some(entry) = self.core.directory.find(user).filter(|entry| !entry.disabled) else {
            return (Provisioned::Forbidden, plain(403, "this account is not served"));
        };
        let Options { version, validity, token_validity, .. } = self.options;
        let names = std::iter::once(user).chain(entry.tel.iter().map(|tel| &**tel));
        if let Some(order) = self.options.orders.of(names) {
            tracing::info!(user = %Redacted(user), ?order, "a handset was told an order in the place of a configuration");
            return (Provisioned::Ordered, self.ordered(asked, query, user, order));
        }
        let is_held = query.vers == Some(i64::from(version));
        let told =
            if is_held { Version::Unchanged { version, validity } } else { Version::Current { version, validity } };
        let login = self.passwords.login(user, query.device().unwrap_or_default());
        self.list(user, &login.mark, query, now);
        let token = token
            .then(|| Token { value: self.token(user, &login.mark, token_validity, now), validity: token_validity });
        let domain = user.rsplit_once('@').map_or(user, |(_, domain)| domain);
        let account = Account {
            private: login.username.clone(),
            public: std::iter::once(format!("sip:{user}"))
                .chain(entry.tel.iter().map(|tel| format!("tel:{tel}")))
                .collect(),
            msisdn: entry.tel.first().map(ToString::to_string).unwrap_or_default(),
            username: login.username,
            password: login.password,
            uuid: String::new(),
        };
        let settings = self.settings(asked, domain);
        let document = document(
            query.profile(),
            told,
            token.as_ref(),
            // Terms are shown with a configuration that is new.
            self.options.message.as_ref().filter(|_| !is_held),
            &settings,
            &account,
            &query.apps,
        );
        let kind = if is_held { Provisioned::Unchanged } else { Provisioned::Configured };
        (kind, HttpAnswer { document: Some(document), ..plain(200, "") })
    }

    /// VERS alone: no settings, no token, and the device is not listed.
    fn ordered(&self, asked: &Asked<'_>, query: &Query, user: &str, order: Order) -> HttpAnswer {
        let domain = user.rsplit_once('@').map_or(user, |(_, domain)| domain);
        let (version, settings) = (order.version(self.options.validity), self.settings(asked, domain));
        let document = document(query.profile(), version, None, None, &settings, &Account::default(), &query.apps);
        HttpAnswer { document: Some(document), ..plain(200, "") }
    }

    fn settings(&self, asked: &Asked<'_>, domain: &str) -> Settings {
        let options = &self.options;
        let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or(domain);
        let scheme = if asked.peer.secure { "https" } else { "http" };
        let base = options.url.clone().unwrap_or_else(|| format!("{scheme}://{host}"));
        let base = base.trim_end_matches('/');
        Settings {
            domain: domain.to_owned(),
            proxy: match options.proxy.as_str() {
                "" => domain.to_owned(),
                port if port.starts_with(':') => format!("{domain}{port}"),
                proxy => proxy.to_owned(),
            },
            signalling: options.signalling,
            media: options.media,
            auth: Auth::Digest,
            chat: Chat {
                factory: options.factory.as_ref().map(|user| format!("sip:{user}@{domain}")).unwrap_or_default(),
                max_group_size: options.max_group_size,
                max_size: options.max_message,
                idle: 300,
                cpm: true,
            },
            files: Files {
                upload: options.max_file.map(|_| format!("{base}/ft")).unwrap_or_default(),
                max_size: options.max_file.unwrap_or_default() / 1024,
                warn_size: 0,
            },
            lists: Lists { root: options.lists.clone().unwrap_or_else(|| format!("{base}/xcap-root")) },
            capability_expiry: 604_800,
            calls: true,
            store_and_forward: true,
        }
    }

    /// The device is a sign-in of its user from now on: in memory at once, on disk soon. What a crash takes back is listed again
    /// when the handset asks again.
    fn list(&self, user: &str, mark: &str, query: &Query, now: u64) {
        let table = &self.core.sign_ins;
        if table.is_good(user, mark, now) {
            return;
        }
        let parts = [&query.friendly_device_name, &query.terminal_vendor, &query.terminal_model, &query.client_vendor];
        let name: Vec<&str> = parts.into_iter().flatten().map(|part| &**part).collect();
        let device = sign_ins::device(user, mark, &name.join(" "), now);
        table.note(device.clone());
        let (core, store) = (Arc::clone(&self.core), table.store());
        core.runtime.clone().spawn(async move {
            if let Err(error) = store.put(device).await {
                core.counters.store_failed();
                tracing::error!(%error, "a device that was configured could not be listed");
            }
        });
    }

    /// Sends a one-time password that is not for a configuration; with the limits of those that are. Gives the session.
    ///
    /// # Errors
    /// None can be sent, or too many were. An unknown number is none.
    pub fn send_password(&self, number: &str) -> Result<String, Typed> {
        let query = format!("msisdn={}", crate::admin::segment(number));
        let query = Query::read(&query).map_err(|_| Typed::Wrong)?;
        match self.exchange_for(None, &query) {
            Answer::Wait { session, send } => {
                if let (Some(pending), Some(sender)) = (send, &self.sender) {
                    sender.send(&self.core, pending);
                }
                Ok(session.to_string())
            }
            other => Err(Typed::of(&other)),
        }
    }

    /// The user whose one-time password was typed in a session.
    ///
    /// # Errors
    /// It is wrong, or was tried too often.
    pub fn typed(&self, session: &str, code: &str) -> Result<Box<str>, Typed> {
        let session = session.parse().map_err(|()| Typed::Wrong)?;
        let query = Query { otp: Some(code.into()), ..Query::default() };
        match self.exchange_for(Some(session), &query) {
            Answer::Configure { user, .. } => Ok(user),
            other => Err(Typed::of(&other)),
        }
    }

    fn exchange_for(&self, session: Option<SessionId>, query: &Query) -> Answer {
        let arrival = Arrival { secure: true, enriched: None, session };
        let fresh = Fresh { session: crate::random::bytes(), code: u64::from_le_bytes(crate::random::bytes()) };
        self.exchange.lock().ask(arrival, query, self, epoch_seconds(), fresh)
    }

    /// The number that a gateway says.
    fn number(&self, headers: &HeaderMap) -> Option<String> {
        let value = self.options.headers.iter().find_map(|name| headers.get(name))?.to_str().ok()?;
        let digits = value.trim().trim_start_matches("tel:").trim_start_matches('+');
        let is_number = !digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| format!("+{digits}"))
    }

    fn token(&self, user: &str, mark: &str, validity: u32, now: u64) -> String {
        self.tokens.issue(&Claims {
            sub: user.to_owned(),
            aud: vec![AUDIENCE.to_owned()],
            scope: "configuration".to_owned(),
            iat: now,
            exp: now + u64::from(validity),
            nbf: None,
            // Good as long as the device is listed.
            jti: format!("{mark}.{}", crate::random::token()),
        })
    }
}

/// Why a one-time password was not sent, or did not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    Wrong,
    /// Tried too often, or nobody sends any.
    Never,
    /// Seconds after which to try again.
    Later(u64),
}

impl Typed {
    fn of(answer: &Answer) -> Typed {
        match answer {
            Answer::Forbidden => Typed::Never,
            Answer::TooMany { retry_after } | Answer::Busy { retry_after } => Typed::Later(*retry_after),
            _ => Typed::Wrong,
        }
    }
}

impl AutoConfiguration for AutoConfig {
    fn answer(&self, asked: &Asked<'_>) -> HttpAnswer {
        let (kind, answer) = self.respond(asked);
        self.metrics.provisioned.with(kind).increment();
        answer
    }
}

impl Known for AutoConfig {
    fn user_of(&self, number: &str) -> Option<Box<str>> {
        self.core.directory.find_tel(number).filter(|entry| !entry.disabled).map(|entry| entry.aor.clone())
    }

    fn token(&self, token: &str) -> Option<Box<str>> {
        let now = epoch_seconds();
        let claims = self.tokens.verify(token, now).ok().filter(|claims| claims.allows("configuration"))?;
        let (mark, _) = claims.jti.split_once('.')?;
        self.core.sign_ins.is_good(&claims.sub, mark, now).then(|| claims.sub.into())
    }
}

fn plain(status: u16, hint: &'static str) -> HttpAnswer {
    HttpAnswer { status, cookie: None, retry_after: None, document: None, hint }
}

/// Whether a proxy says that the request came to it without TLS.
fn came_plainly(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"http"))
}

fn cookie(headers: &HeaderMap) -> Option<SessionId> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split(';').find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE).then(|| value.trim_matches('"').parse().ok()).flatten()
        })
    })
}
