//! The sockets that are open, each told by the part that opened it.

use std::sync::Arc;

use chappe_api::Listener;
use parking_lot::Mutex;

/// A list that grows at the start and is read by whoever shows it. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Listeners {
    open: Arc<Mutex<Vec<Listener>>>,
}

impl Listeners {
    /// Adds `url` for `service`: `sip`, `http`, `msrp`, `media`, `turn` or `management`.
    pub fn add(&self, service: &str, url: impl Into<String>) {
        self.open.lock().push(Listener { service: service.to_owned(), url: url.into() });
    }

    /// All of them, service by service.
    pub fn all(&self) -> Vec<Listener> {
        let order = ["sip", "http", "msrp", "media", "turn", "management"];
        let mut all = self.open.lock().clone();
        all.sort_by_key(|listener| order.iter().position(|service| *service == listener.service));
        all
    }
}
