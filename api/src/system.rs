//! What an operator sees of what the server stands on.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Of the TLS listeners, as the files are now.
    pub certificates: Vec<Certificate>,
    /// Of the embedded store with its log; absent where it is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_bytes: Option<u64>,
    /// Of uploaded files; absent where none are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_bytes: Option<u64>,
    pub push: Vec<PushService>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub names: Vec<String>,
    pub issuer: String,
    /// Seconds since the epoch.
    pub expires: u64,
    pub self_signed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushService {
    /// `pn-provider`.
    pub provider: String,
    /// It has failed too often, and is left alone for a while.
    pub rested: bool,
}

/// What `chappe conformance run --junit` wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConformanceReport {
    /// Seconds since the epoch.
    pub written: u64,
    /// The file as it is.
    pub junit: String,
}
