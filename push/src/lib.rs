//! Push: sleeping phones are woken through the services of those who made them.
//!
//! [`Wakes`] decides without I/O when which device gets a push; a [`Provider`] sends one. What a device registered with
//! (RFC 8599) is a [`Target`].

mod apns;
mod fcm;
mod http;
mod jose;
mod outcome;
mod target;
mod wake;
mod webhook;
mod webpush;

use std::time::Duration;

pub use apns::{Apns, ApnsSettings};
pub use fcm::Fcm;
pub use jose::KeyError;
pub use outcome::Outcome;
pub use target::{PnError, Target, unescape};
pub use wake::{Class, Due, Key, Wakes};
pub use webhook::Webhook;
pub use webpush::{VapidKey, WebPush};

/// What a push is about. No text and no sender: who gets to see it must learn nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub class: Class,
    /// After which it is of no use.
    pub ttl: Duration,
    /// Of pushes with the same key the last counts.
    pub collapse: String,
    /// Seconds since the epoch.
    pub now: u64,
}

/// A push service.
#[async_trait::async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Sends one push; within a bounded time.
    async fn send(&self, target: &Target, note: &Note) -> Outcome;

    /// A parameter for the Feature-Caps of a 2xx to REGISTER (RFC 8599 §4.1.1): `+sip.vapid="…"`.
    fn capability(&self) -> Option<String> {
        None
    }
}
