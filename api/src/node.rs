//! What a running server tells its operator, and what the operator may ask of it.
//!
//! These types are the JSON of the admin API and of `--json`: add to them, change nothing. Times are seconds since the
//! Unix epoch, unless the name ends in `_ms`.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{
    ConformanceReport, ErasureReceipt, Explanation, Export, MediaCall, NodeError, PresenceOf, PushOf, PushTested,
    RecentMessage, SignedOut, System, TracePacket, UserDevice, WaitReason,
};

/// The running server.
#[async_trait]
pub trait Node: Send + Sync + 'static {
    async fn status(&self) -> Result<Status, NodeError>;

    /// Whether it can serve now: `/readyz`.
    fn readiness(&self) -> Readiness;

    /// The Prometheus text: `/metrics`.
    fn metrics(&self) -> String;

    /// Users with bindings.
    async fn registrations(&self, page: Page) -> Result<List<Registered>, NodeError>;

    /// The bindings of one user; [`NodeError::NotFound`] where there is no such account.
    async fn registration(&self, aor: &str) -> Result<Registered, NodeError>;

    /// Users with waiting messages.
    async fn queues(&self, page: Page) -> Result<List<Queue>, NodeError>;

    /// What waits for one user, oldest first; `after` is a message's `id`.
    async fn queue(&self, aor: &str, page: Page) -> Result<List<Waiting>, NodeError>;

    /// Groups, without their members; `after` is a group's `id`.
    async fn groups(&self, page: Page) -> Result<List<Group>, NodeError>;

    /// One group with its members, and what became of its last messages.
    async fn group(&self, id: &str) -> Result<Group, NodeError>;

    /// Sessions of the MSRP relay; `after` is a session's `id`.
    async fn msrp_sessions(&self, page: Page) -> Result<List<MsrpSession>, NodeError>;

    /// Ends a session of the MSRP relay: what comes for it is refused from then on.
    async fn end_msrp_session(&self, id: &str) -> Result<(), NodeError>;

    /// Calls whose media is carried, in the order of their numbers.
    async fn media_calls(&self, page: Page) -> Result<List<MediaCall>, NodeError>;

    /// What the devices of a user have published, and who watches.
    async fn presence(&self, aor: &str) -> Result<PresenceOf, NodeError>;

    /// What was decided about waking the devices of a user.
    async fn push(&self, aor: &str) -> Result<PushOf, NodeError>;

    /// Pushes to each device of a user that can be pushed to.
    async fn push_test(&self, aor: &str) -> Result<Vec<PushTested>, NodeError>;

    /// Uploaded files of one user, or of all; `after` is a file's `id`.
    async fn files(&self, owner: Option<&str>, page: Page) -> Result<List<File>, NodeError>;

    /// Removes a file: its links lead nowhere from then on.
    async fn remove_file(&self, id: &str) -> Result<(), NodeError>;

    /// Messages from or to a user, as far as they are remembered, the newest first; `after` is their number.
    async fn messages(&self, aor: &str, page: Page) -> Result<List<RecentMessage>, NodeError>;

    /// Removes the bindings of a device of a user.
    async fn deregister(&self, aor: &str, device: &str) -> Result<(), NodeError>;

    /// Certificates, the size of the store, push services.
    async fn system(&self) -> Result<System, NodeError>;

    /// The last conformance report that the server was told of.
    async fn conformance(&self) -> Result<ConformanceReport, NodeError>;

    /// What became of a message, by its Message-ID or Call-ID.
    async fn explain(&self, id: &str) -> Result<Explanation, NodeError>;

    fn accounts(&self) -> &dyn Accounts;

    /// What is signed in as a user, and the devices that registered, those seen last first.
    async fn devices(&self, aor: &str) -> Result<Vec<UserDevice>, NodeError>;

    /// Signs one of these out: its tokens and log-in are worth nothing, its registrations end. A device whose user has given it his
    /// own password may register again.
    async fn sign_out(&self, aor: &str, id: &str) -> Result<SignedOut, NodeError>;

    /// Removes an account and all that tells of its user, wherever it is kept; tells what went.
    async fn erase(&self, aor: &str) -> Result<ErasureReceipt, NodeError>;

    /// What happens about one user from now on, a line for each event; all that a slow reader misses is told as one line.
    fn trace(&self, user: &str) -> Result<broadcast::Receiver<TraceLine>, NodeError>;

    /// The same, message by message, for tools; `clear`: with users and numbers as they are.
    fn packets(&self, user: &str, clear: bool) -> Result<broadcast::Receiver<TracePacket>, NodeError>;

    /// Writes a copy of the store that is whole in itself to a new file of the server's machine.
    async fn backup(&self, file: &std::path::Path) -> Result<(), NodeError>;
}

/// Who may register. Served by a running node, or by the command line on the store of one that is stopped.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// Refuses an address or a number that is taken with [`NodeError::Conflict`].
    async fn add(&self, account: NewAccount) -> Result<Account, NodeError>;

    async fn list(&self, page: Page) -> Result<List<Account>, NodeError>;

    async fn show(&self, aor: &str) -> Result<Account, NodeError>;

    /// Changes what is `Some`.
    async fn change(&self, aor: &str, change: AccountChange) -> Result<Account, NodeError>;

    /// Removes the account and all that waits for it.
    async fn remove(&self, aor: &str) -> Result<(), NodeError>;

    /// All that is kept of the user.
    async fn export(&self, aor: &str) -> Result<Export, NodeError>;

    /// Adds many; an entry that is refused does not stop the others.
    async fn import(&self, accounts: Vec<NewAccount>) -> Result<Imported, NodeError>;
}

/// One event of a trace: the rest of the line after the time.
pub type TraceLine = std::sync::Arc<str>;

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most this many; 1 to [`Page::MAX`].
    #[serde(default = "Page::default_limit")]
    pub limit: usize,
}

impl Page {
    pub const MAX: usize = 1000;

    fn default_limit() -> usize {
        100
    }

    /// The limit within its bounds.
    pub fn size(&self) -> usize {
        self.limit.clamp(1, Self::MAX)
    }
}

impl Default for Page {
    fn default() -> Self {
        Page { after: None, limit: Self::default_limit() }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct List<T> {
    pub items: Vec<T>,
    /// What `after` is for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> List<T> {
    /// A page of `items`, which were asked for with a limit of `asked`; `key` names an item for the next page.
    pub fn page(items: Vec<T>, asked: usize, key: impl Fn(&T) -> String) -> Self {
        let next = if items.len() < asked { None } else { items.last().map(key) };
        List { items, next }
    }
}

/// Whether the server can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// What is missing or wrong; empty when ready.
    pub reasons: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub node: String,
    pub pid: u32,
    pub started: u64,
    pub uptime_s: u64,
    pub domains: Vec<String>,
    pub data_dir: String,
    pub store: String,
    pub listeners: Vec<Listener>,
    pub readiness: Readiness,
    pub counts: Counts,
}

/// A socket that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// `sip`, `http`, `msrp`, `media` or `management`.
    pub service: String,
    /// With the port that the system chose: `udp://127.0.0.1:40001`.
    pub url: String,
}

/// Who a session of the MSRP listeners is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MsrpKind {
    /// It is passed on between a client and others.
    #[default]
    Relay,
    /// It ends at the server.
    Endpoint,
}

/// A session of the MSRP relay, or one that ends at the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MsrpSession {
    /// Number of it since the start; its session-id is a secret.
    pub id: u64,
    #[serde(default)]
    pub kind: MsrpKind,
    pub user: String,
    /// The connection of the user's client.
    pub flow: String,
    /// The connection of the far side, once it has used the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Message bytes from the user.
    pub sent_bytes: u64,
    /// Message bytes to the user.
    pub received_bytes: u64,
    /// Bytes that wait to go out, both ways.
    pub queued_bytes: u64,
    pub age_s: u64,
    /// Since the last chunk.
    pub idle_s: u64,
    /// Until its URI ends; 0 for one that ends at the server, which has no such time.
    pub expires_s: u64,
}

/// A file that a user has uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Who knows it may fetch the file.
    pub id: String,
    pub owner: String,
    pub name: String,
    pub content_type: String,
    pub bytes: u64,
    /// Of its thumbnail; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_bytes: Option<u64>,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
    /// Seconds since the epoch.
    pub created: u64,
    pub expires: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub accounts: u64,
    /// Users with at least one binding.
    pub registered: u64,
    pub bindings: u64,
    pub connections: u64,
    pub transactions: u64,
    pub banned: u64,
    /// Sessions of the MSRP relay.
    #[serde(default)]
    pub msrp_sessions: u64,
    /// Publications of presence, and subscriptions of whatever package.
    #[serde(default)]
    pub publications: u64,
    #[serde(default)]
    pub subscriptions: u64,
    pub messages: MessageCounts,
}

/// `accepted = delivered + stored + expired + refused`, whatever happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageCounts {
    pub accepted: u64,
    pub delivered: u64,
    /// Waiting now.
    pub stored: u64,
    pub expired: u64,
    pub refused: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Registered {
    pub aor: String,
    pub bindings: Vec<Binding>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    pub contact: String,
    /// As REGISTER named it (RFC 5626).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reg_id: Option<u32>,
    /// Where it is reached: `tls:192.0.2.7:51111`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    #[serde(default)]
    pub path: Vec<String>,
    /// 0 to 1.
    pub q: f32,
    pub expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What it is called elsewhere in this API: its instance-id, or its contact.
    #[serde(default)]
    pub device: String,
    /// Whether something can be sent to it now.
    #[serde(default)]
    pub reachable: bool,
    /// `pn-provider`, where one of the services of this server can wake it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<String>,
}

/// Messages that wait for one user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    pub aor: String,
    pub messages: u64,
    pub bytes: u64,
    /// When the oldest was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<u64>,
    /// Why that one waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WaitReason>,
}

/// A group chat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    /// URI of its focus.
    pub focus: String,
    pub contribution_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether members may be added.
    pub open: bool,
    pub created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_ms: Option<u64>,
    /// Changes so far.
    pub revision: u64,
    /// Number of the last entry of its log.
    pub last: u64,
    /// Whether it is in use now.
    pub live: bool,
    /// In lists of groups there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<GroupMember>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<GroupMessage>,
}

/// Somebody who is in a group, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    pub user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// owner, admin, member
    pub role: String,
    /// invited, joined, left, declined, removed, banned
    pub state: String,
    pub changed_ms: u64,
    pub devices: Vec<GroupDevice>,
}

/// How far a device of a member has the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupDevice {
    pub device: String,
    pub upto: u64,
}

/// A message of a group. Its body is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMessage {
    pub number: u64,
    pub message_id: String,
    pub from: String,
    pub at_ms: u64,
    /// Members whom it is for.
    pub of: u64,
    /// Of whom receipts came.
    pub delivered: u64,
    pub displayed: u64,
}

/// A message that waits. Its body is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub id: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    pub call_id: String,
    pub from: String,
    /// The device it waits for; absent: whichever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    pub bytes: u64,
    pub accepted_ms: u64,
    pub expires: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<WaitReason>,
}

/// An account as it is shown; no password leaves the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// `user@domain`
    pub aor: String,
    /// Numbers as `+15550001`.
    #[serde(default)]
    pub tel: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    pub created: u64,
    /// Kept, but may neither register nor send.
    #[serde(default)]
    pub disabled: bool,
    /// URIs of users and domains of whom the user wants nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked: Vec<String>,
    /// The same as the user's phone has written it by XCAP, as users and numbers; not in lists of accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_contacts: Vec<String>,
    /// Nobody hears what the user has read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hides_displayed: bool,
}

/// H(user:realm:password) in hexadecimal, as other servers keep it; the realm is the domain. What is not known is left out.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ha1 {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
    /// Of `user@domain`, which Kamailio calls ha1b.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub md5_at_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha512_256: Option<String>,
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAccount {
    pub aor: String,
    pub password: String,
    /// In place of an empty password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha1: Option<Ha1>,
    #[serde(default)]
    pub tel: Vec<String>,
    #[serde(default)]
    pub display_name: String,
}

impl std::fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither password nor number belongs in a log.
        f.debug_struct("NewAccount").field("tel", &self.tel.len()).finish_non_exhaustive()
    }
}

#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountChange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tel: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Takes the place of the whole list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hides_displayed: Option<bool>,
}

impl std::fmt::Debug for AccountChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountChange").field("password", &self.password.is_some()).finish_non_exhaustive()
    }
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub added: u64,
    /// There already, just as they were given.
    #[serde(default)]
    pub unchanged: u64,
    pub refused: Vec<RefusedAccount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAccount {
    /// Position in the list that was sent, from 0.
    pub index: usize,
    pub aor: String,
    pub reason: String,
}
