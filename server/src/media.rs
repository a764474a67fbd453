//! Media of calls between browsers and phones: which calls are carried, and what becomes of their descriptions.
//!
//! The proxy asks at four places ([`hook`]): a request on its way to a device, a response from one, an ACK, and the end of a
//! call. Who talks how is in [`dialect`]; why so is in `docs/decisions/0081-media-between-dialects.md`.

pub mod dialect;
pub mod hook;
pub mod list;
pub mod turn;
pub mod wiring;

use std::sync::Arc;

use ahash::AHashMap;
use chappe_sip::Message;
use chappe_webrtc_gw::Side;
use chappe_webrtc_gw::io::turn::Relay;
use chappe_webrtc_gw::io::{Carried, Gateway};
use parking_lot::Mutex;

/// Dialogs remembered beyond two for each call, before those of ended calls are looked for.
const SPARE: usize = 64;

/// Contacts of which the dialect is remembered; with more all are forgotten.
const LEARNT: usize = 10_000;

/// The gateway, and whose calls it carries.
pub struct Media {
    pub gateway: Arc<Gateway>,
    /// For browsers that reach nobody else.
    pub relay: Option<Arc<Relay>>,
    /// Calls by Call-ID and tags, the caller's first.
    dialogs: Mutex<AHashMap<Box<[u8]>, Arc<Carried>>>,
    /// How many dialects a contact has refused before it took one, when a browser called.
    learnt: Mutex<AHashMap<Box<str>, usize>>,
}

impl Media {
    #[must_use]
    pub fn new(gateway: Arc<Gateway>, relay: Option<Arc<Relay>>) -> Media {
        Media { gateway, relay, dialogs: Mutex::default(), learnt: Mutex::default() }
    }

    /// Ends all calls.
    pub fn stop(&self) {
        self.gateway.stop();
        if let Some(relay) = &self.relay {
            relay.stop();
        }
    }

    /// The call of a response, or of a request within a dialog, with the side that has sent the request.
    fn find(&self, message: &Message) -> Option<(Arc<Carried>, Side)> {
        if message.to_tag().is_empty() {
            return None;
        }
        let dialogs = self.dialogs.lock();
        let by = |one, other, side| dialogs.get(&key(message, one, other)).map(|carried| (Arc::clone(carried), side));
        by(message.from_tag(), message.to_tag(), Side::Caller)
            .or_else(|| by(message.to_tag(), message.from_tag(), Side::Callee))
    }

    /// A device has answered to an INVITE of the caller.
    fn remember(&self, response: &Message, carried: &Arc<Carried>) {
        let mut dialogs = self.dialogs.lock();
        if dialogs.len() > 2 * self.gateway.len() + SPARE {
            dialogs.retain(|_, carried| !carried.is_closed());
        }
        dialogs.insert(key(response, response.from_tag(), response.to_tag()), Arc::clone(carried));
    }

    /// Where to begin with a contact.
    fn learnt(&self, contact: &str) -> usize {
        self.learnt.lock().get(contact).copied().unwrap_or_default()
    }

    /// A contact wants the dialect after so many others.
    fn learn(&self, contact: &str, refused: usize) {
        let mut learnt = self.learnt.lock();
        if learnt.len() >= LEARNT {
            learnt.clear();
        }
        learnt.insert(contact.into(), refused);
    }

    /// A side has hung up.
    fn end(&self, message: &Message) {
        if let Some((carried, _)) = self.find(message) {
            carried.close();
            self.dialogs.lock().retain(|_, known| !Arc::ptr_eq(known, &carried));
        }
    }
}

fn key(message: &Message, caller: &[u8], callee: &[u8]) -> Box<[u8]> {
    // No tag and no Call-ID has a line feed.
    [message.call_id(), caller, callee].join(&b'\n').into()
}
