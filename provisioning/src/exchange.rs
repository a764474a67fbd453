//! The exchange: how a handset comes to its document (RCC.14 §2).
//!
//! ```text
//! cellular:  http, number from the gateway ──200, cookie──▶ https with the cookie ──▶ document
//! elsewhere: https with msisdn ──200, cookie, SMS──▶ https with the cookie and the password ──▶ document with a token
//! again:     https with the token ──▶ document with a token
//! ```

use std::collections::BTreeMap;

use crate::code::Code;
use crate::query::Query;

/// Names a session; the value of the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for SessionId {
    type Err = ();

    fn from_str(text: &str) -> Result<SessionId, ()> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(|number| SessionId(number.to_be_bytes())).map_err(|_| ())
    }
}

/// Bounds of an exchange. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// Whether one-time passwords can be sent at all.
    pub can_send: bool,
    /// For which a one-time password, and a number that the gateway named, are good.
    pub lifetime: u64,
    /// Wrong passwords until a session ends.
    pub attempts: u8,
    /// One-time passwords for one number within `window`.
    pub sends: u8,
    pub window: u64,
    /// Sessions, and numbers remembered, at most.
    pub capacity: usize,
}

impl Default for ExchangeConfig {
    fn default() -> ExchangeConfig {
        ExchangeConfig { can_send: true, lifetime: 900, attempts: 5, sends: 5, window: 3600, capacity: 20_000 }
    }
}

/// How a request came.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Over TLS, or from this machine.
    pub secure: bool,
    /// The number that a gateway of the access network says, if it is one of those that are trusted.
    pub enriched: Option<&'a str>,
    /// From the cookie.
    pub session: Option<SessionId>,
}

/// What is known outside of the exchange.
pub trait Known {
    /// The user of a number; AOR.
    fn user_of(&self, number: &str) -> Option<Box<str>>;
    /// The user to whom a token was given, if it is still good.
    fn token(&self, token: &str) -> Option<Box<str>>;
}

/// Random values for one request.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    pub session: [u8; 16],
    pub code: u64,
}

/// A one-time password to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub number: Box<str>,
    /// 0: an ordinary SMS.
    pub port: u16,
    pub code: Code,
}

/// What a handset is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 without a body, with the cookie: ask again over TLS.
    Recognised { session: SessionId },
    /// 200 without a body, with the cookie: a password is under way. Unknown numbers are answered the same, and sent nothing.
    Wait { session: SessionId, send: Option<Pending> },
    /// 200 with the document of this user. `token`: with a new token. `began`: what the handset said of itself when it
    /// asked for the password, which it does not say again.
    Configure { user: Box<str>, token: bool, began: Option<Box<Query>> },
    /// 511: the session, the password or the token is not good; begin anew.
    Again,
    /// 403: this number is not served, or was tried too often.
    Forbidden,
    /// 429 and Retry-After: too many passwords for this number.
    TooMany { retry_after: u64 },
    /// 503 and Retry-After: too many sessions.
    Busy { retry_after: u64 },
}

enum Step {
    /// The gateway has named the user.
    Known { user: Box<str> },
    /// A password was sent, if there is such a user.
    Asked { user: Option<Box<str>>, code: Code, wrong: u8, began: Box<Query> },
}

struct Session {
    step: Step,
    until: u64,
}

/// Sessions under way.
pub struct Exchange {
    config: ExchangeConfig,
    sessions: BTreeMap<SessionId, Session>,
    /// Passwords by number: how many, since when.
    sends: BTreeMap<Box<str>, (u8, u64)>,
}

impl Exchange {
    pub fn new(config: ExchangeConfig) -> Exchange {
        Exchange { config, sessions: BTreeMap::new(), sends: BTreeMap::new() }
    }

    /// Sessions under way.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Decides about a request. `now` in seconds.
    pub fn ask(&mut self, arrival: Arrival<'_>, query: &Query, known: &dyn Known, now: u64, fresh: Fresh) -> Answer {
        if !arrival.secure {
            return match arrival.enriched.map(|number| known.user_of(number)) {
                Some(Some(user)) => self.recognised(user, now, fresh),
                Some(None) => Answer::Forbidden,
                None => Answer::Again,
            };
        }
        if let Some(typed) = &query.otp {
            return self.typed(arrival.session, typed, now);
        }
        if let Some(Session { step: Step::Known { user }, .. }) = self.session(arrival.session, now) {
            return Answer::Configure { user: user.clone(), token: false, began: None };
        }
        if let Some(number) = arrival.enriched {
            return known.user_of(number).map_or(Answer::Forbidden, |user| Answer::Configure {
                user,
                token: false,
                began: None,
            });
        }
        if let Some(user) = query.token.as_deref().and_then(|token| known.token(token)) {
            return Answer::Configure { user, token: true, began: None };
        }
        match &query.msisdn {
            Some(number) => self.send(number, query, known, now, fresh),
            None => Answer::Again,
        }
    }

    /// Forgets what is over; call it every minute or so.
    pub fn expire(&mut self, now: u64) {
        self.sessions.retain(|_, session| session.until > now);
        self.sends.retain(|_, (_, since)| now < *since + self.config.window);
    }

    fn recognised(&mut self, user: Box<str>, now: u64, fresh: Fresh) -> Answer {
        match self.begin(Step::Known { user }, now, fresh) {
            Ok(session) => Answer::Recognised { session },
            Err(busy) => busy,
        }
    }

    fn send(&mut self, number: &str, query: &Query, known: &dyn Known, now: u64, fresh: Fresh) -> Answer {
        if !self.config.can_send {
            return Answer::Forbidden;
        }
        if let Some(retry_after) = self.too_many(number, now) {
            return Answer::TooMany { retry_after };
        }
        let (user, code) = (known.user_of(number), Code::of(fresh.code));
        let send = user.is_some().then(|| Pending { number: number.into(), port: query.sms_port, code: code.clone() });
        match self.begin(Step::Asked { user, code, wrong: 0, began: Box::new(query.clone()) }, now, fresh) {
            Ok(session) => Answer::Wait { session, send },
            Err(busy) => busy,
        }
    }

    /// Counts a password for a number; seconds to wait where it is one too many.
    fn too_many(&mut self, number: &str, now: u64) -> Option<u64> {
        let (sends, window) = (self.config.sends, self.config.window);
        if let Some((count, since)) = self.sends.get_mut(number) {
            if now >= *since + window {
                (*count, *since) = (0, now);
            }
            if *count >= sends {
                return Some(*since + window - now);
            }
            *count += 1;
            return None;
        }
        if self.sends.len() >= self.config.capacity {
            self.expire(now);
            if self.sends.len() >= self.config.capacity {
                return Some(window);
            }
        }
        self.sends.insert(number.into(), (1, now));
        None
    }

    fn typed(&mut self, id: Option<SessionId>, typed: &str, now: u64) -> Answer {
        let attempts = self.config.attempts;
        let Some(Session { step: Step::Asked { user, code, wrong, began }, .. }) = self.session(id, now) else {
            return Answer::Again;
        };
        // The password is compared for unknown numbers too, so that time tells nothing. Once right it is used up; so it is
        // after too many wrong ones.
        if code.is(typed)
            && let Some(user) = user.take()
        {
            let began = Some(std::mem::take(began));
            self.end(id);
            return Answer::Configure { user, token: true, began };
        }
        *wrong += 1;
        if *wrong >= attempts {
            self.end(id);
            return Answer::Forbidden;
        }
        Answer::Again
    }

    fn session(&mut self, id: Option<SessionId>, now: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&id?).filter(|session| session.until > now)
    }

    fn end(&mut self, id: Option<SessionId>) {
        if let Some(id) = id {
            self.sessions.remove(&id);
        }
    }

    fn begin(&mut self, step: Step, now: u64, fresh: Fresh) -> Result<SessionId, Answer> {
        if self.sessions.len() >= self.config.capacity {
            self.expire(now);
            if self.sessions.len() >= self.config.capacity {
                return Err(Answer::Busy { retry_after: self.config.lifetime });
            }
        }
        let id = SessionId(fresh.session);
        self.sessions.insert(id, Session { step, until: now + self.config.lifetime });
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
