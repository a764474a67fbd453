//! What a user may ask for by law: all that is kept of him, and that nothing is.

use serde::{Deserialize, Serialize};

use crate::{Account, Binding};

/// All that is kept of a user. Passwords are not known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Export {
    #[serde(flatten)]
    pub account: Account,
    pub devices: Vec<ExportedDevice>,
    pub registrations: Vec<Binding>,
    /// XML documents: contacts, lists, rules, presence.
    pub documents: Vec<ExportedDocument>,
    /// Uploaded files; their contents are at the links that the user has.
    pub files: Vec<ExportedFile>,
    /// Messages that wait for the user, and his own that wait for others.
    pub messages: Vec<ExportedMessage>,
    pub groups: Vec<ExportedGroup>,
}

/// A device that registered; times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedDevice {
    pub device: String,
    pub first_seen: u64,
    pub last_seen: u64,
    pub user_agent: String,
    /// What it said of itself.
    pub params: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedDocument {
    /// The application usage, such as `resource-lists`.
    pub auid: String,
    pub name: String,
    /// Seconds since the epoch.
    pub modified: u64,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedFile {
    pub id: String,
    pub name: String,
    pub content_type: String,
    pub bytes: u64,
    pub sha256: String,
    /// Seconds since the epoch.
    pub created: u64,
    pub expires: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedMessage {
    pub at_ms: u64,
    pub from: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub message_id: String,
    pub content_type: String,
    /// What is text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// and what is not: the number of its bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// A group that the user is or was in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedGroup {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nickname: Option<String>,
    /// What the user wrote, so far as the group keeps it.
    pub messages: Vec<ExportedMessage>,
}

/// What went when a user was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureReceipt {
    pub aor: String,
    /// Seconds since the epoch.
    pub at: u64,
    pub gone: Vec<Gone>,
    /// What was left, and why.
    pub kept: Vec<Kept>,
    /// The files of the store were written anew, so that nothing of what is gone is left in them.
    pub scrubbed: bool,
}

/// A kind of record, and how many went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    pub what: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub what: String,
    pub why: String,
}
