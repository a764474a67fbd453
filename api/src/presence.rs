//! What an operator sees of a user's presence.

use serde::{Deserialize, Serialize};

/// The presence of one user: what its devices say, and who watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceOf {
    pub aor: String,
    pub publications: Vec<PublicationOf>,
    pub watchers: Vec<WatcherOf>,
    /// The document that a watcher with all permissions gets now.
    pub document: String,
}

/// What one device has published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationOf {
    pub etag: String,
    pub expires: u64,
    pub flow: String,
    /// Each service with its id and what it says: `open`, `closed`, or nothing.
    pub services: Vec<String>,
}

/// Somebody who watches, waits for a decision, or waited for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherOf {
    pub uri: String,
    /// `active`, `pending` or `waiting`.
    pub status: String,
    /// What the rules say of it now: `allow`, `polite-block`, `confirm` or `block`.
    pub rule: String,
    pub since: u64,
    pub expires: u64,
}
