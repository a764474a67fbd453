//! What an operator sees of the fate of messages.

use serde::{Deserialize, Serialize};

/// What became of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub id: String,
    /// Oldest first.
    pub events: Vec<FateEvent>,
    /// Who sent it, where that is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its way step by step, oldest first, as far as it is remembered.
    #[serde(default)]
    pub hops: Vec<Hop>,
    /// For whom it waits now.
    #[serde(default)]
    pub waiting: Vec<WaitsFor>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FateEvent {
    pub at_ms: u64,
    /// `accepted`, `stored`, `delivered`, `expired`, `refused`, `deferred`, `pushed` or `receipt-sent`.
    pub event: String,
    pub recipient: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// SIP status that the device or next hop gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    pub call_id: String,
}

/// What carried a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HopProtocol {
    Sip,
    Msrp,
    /// By HTTP to a push service.
    Push,
    /// Nothing: it happened in the server.
    Store,
}

/// One step on the way of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    pub at_ms: u64,
    /// A user, a user with a device behind a space, `server`, a push service, or `sender` where that is not known. What
    /// happened at one of them is from there to there.
    pub from: String,
    pub to: String,
    pub protocol: HopProtocol,
    /// `MESSAGE`, `SEND`, `stored`, `no answer`, …
    pub what: String,
    /// Of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The connection: `tcp:192.0.2.7:51111`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default)]
    pub failed: bool,
}

/// Somebody who has not got a message yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitsFor {
    pub recipient: String,
    /// Absent: whichever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    pub reason: WaitReason,
    pub expires: u64,
}

/// Why a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    NotRegistered,
    /// Its devices sleep, and none is being woken.
    Asleep,
    BeingWoken,
    /// The device that it is for is not there.
    DeviceAway,
    /// A device is there and did not take it; it is tried again.
    NotTaken,
    InDelivery,
}

/// A message from or to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentMessage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    pub call_id: String,
    pub from: String,
    pub to: String,
    /// Of what happened last.
    pub at_ms: u64,
    /// `stored`, `delivered`, `expired` or `refused`.
    pub event: String,
    /// What was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}
