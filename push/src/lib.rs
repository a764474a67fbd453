//! Push: sleeping phones are woken through the services of those who made them.
//!
//! [`Wakes`] decides without I/O when which device gets a push, [`Desk`] who waits for it; a [`Provider`] sends one. What a device registered with
//! (RFC 8599) is a [`Target`].

mod apns;
mod desk;
mod fcm;
mod http;
mod jose;
mod oauth;
mod outcome;
mod sealed;
mod target;
mod tls;
mod wake;
mod webhook;
mod webpush;
mod wns;

use std::time::Duration;

pub use apns::{Apns, ApnsAuth, ApnsSettings};
pub use desk::{Asleep, Came, Desk};
pub use fcm::Fcm;
pub use jose::KeyError;
pub use outcome::Outcome;
pub use target::{PnError, Target, unescape};
pub use tls::Tls;
pub use wake::{Class, Due, Key, Wakes};
pub use webhook::Webhook;
pub use webpush::{VapidKey, WebPush};
pub use wns::{Wns, WnsSettings};

/// After which a service that says that it had too much, and not when to come again, is asked again.
const QUOTA: Duration = Duration::from_secs(60);

/// What a push is about. No text and no sender: who gets to see it must learn nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub class: Class,
    /// After which it is of no use.
    pub ttl: Duration,
    /// Of pushes with the same key the last counts.
    pub collapse: String,
    /// When the device began to name this token, in seconds since the epoch; 0 where nobody knows.
    pub since: u64,
    /// Seconds since the epoch.
    pub now: u64,
}

/// A push service.
#[async_trait::async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Sends one push; within a bounded time.
    async fn send(&self, target: &Target, note: &Note) -> Outcome;

    /// What fails as one: where it does again and again it is left alone for a while. By default the whole provider.
    fn circuit(&self, _target: &Target) -> String {
        String::new()
    }

    /// A parameter for the Feature-Caps of a 2xx to REGISTER (RFC 8599 §4.1.1): `+sip.vapid="…"`.
    fn capability(&self) -> Option<String> {
        None
    }
}
