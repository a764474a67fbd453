//! What an operator sees of the wake-ups of a user's devices.

use serde::{Deserialize, Serialize};

/// The devices of one user about which something was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushOf {
    pub aor: String,
    pub devices: Vec<PushDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushDevice {
    pub device: String,
    /// `pn-provider`.
    pub provider: String,
    /// The latest last.
    pub decisions: Vec<PushDecision>,
}

/// Why a device was pushed to or not, or what the service said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushDecision {
    /// Seconds since the epoch.
    pub at: u64,
    /// `call`, `message` or `refresh`.
    pub class: String,
    pub what: String,
}

/// What became of a push for a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushTested {
    pub device: String,
    pub provider: String,
    /// `accepted`, `gone`, `retry`, `misconfigured` or `refused`.
    pub outcome: String,
    /// In the words of the service.
    pub why: String,
}
