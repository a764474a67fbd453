//! What is signed in as a user.

use serde::{Deserialize, Serialize};

/// Something that is signed in, or a device that registered; times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDevice {
    /// By which it can be signed out.
    pub id: String,
    /// `login`: a handset with a log-in of its own; `token`: a client with tokens; `sip`: a device that registered.
    pub kind: String,
    pub name: String,
    pub first_seen: u64,
    pub last_seen: u64,
    /// Whether it is registered now.
    pub registered: bool,
    /// The sign-in by which a device registered, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a sign-out ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOut {
    /// Sign-ins, registrations and known devices.
    pub ended: u64,
}
