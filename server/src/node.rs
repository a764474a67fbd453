//! The running server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use chappe_api::{
    Accounts, Counts, Door, Explanation, FateEvent, List, MessageCounts, Node, NodeError, OpenDoor, Page, Protocol,
    Queue, Readiness, Registered, Status, TraceLine, Upgrade, Waiting, WebSockets,
};
use chappe_store::{Stores, Wanted};
use tokio::sync::broadcast;

use crate::accounts::{StoredAccounts, unavailable};
use crate::config::Config;
use crate::listeners::Listeners;
use crate::metrics::Metrics;

/// What a node starts from.
pub struct Setup {
    pub config: Arc<Config>,
    /// To which the node adds its own.
    pub listeners: Listeners,
    /// Where `http.listen` is bound, in its order.
    pub http: Vec<SocketAddr>,
    /// The user that sends back what it is sent.
    pub echo: Option<String>,
}

/// A node that was started.
pub struct Running {
    node: Arc<Stored>,
}

impl Running {
    /// Opens the store.
    pub async fn start(setup: Setup) -> anyhow::Result<Running> {
        let config = setup.config;
        let stores = Stores::open(&config.store_url(), &config.data_dir).await.context("cannot open the store")?;
        let domains = config.domains.iter().map(ToString::to_string).collect();
        let accounts = StoredAccounts::new(stores.clone(), domains, |_| {});
        let started = SystemTime::now();
        let node =
            Stored { config, stores, accounts, listeners: setup.listeners, started, metrics: Metrics::default() };
        Ok(Running { node: Arc::new(node) })
    }

    pub fn node(&self) -> Arc<dyn Node> {
        self.node.clone()
    }

    /// What stands before the HTTP listeners.
    pub fn door(&self) -> Arc<dyn Door> {
        Arc::new(OpenDoor)
    }

    pub fn websockets(&self) -> Arc<dyn WebSockets> {
        Arc::new(NoWebSockets)
    }

    /// Why it cannot go on; pends while it can.
    pub async fn failed(&self) -> anyhow::Error {
        std::future::pending().await
    }

    /// Finishes what is under way within `wait`, and closes the store.
    pub async fn stop(self, _wait: Duration) {
        if let Err(error) = self.node.stores.close().await {
            tracing::error!(%error, "the store did not close well");
        }
    }
}

struct NoWebSockets;

impl WebSockets for NoWebSockets {
    fn serves(&self, _protocol: Protocol) -> bool {
        false
    }

    fn adopt(&self, _upgrade: Upgrade, _io: chappe_net::HttpIo, _read: Bytes) {}
}

struct Stored {
    config: Arc<Config>,
    stores: Stores,
    accounts: StoredAccounts,
    listeners: Listeners,
    started: SystemTime,
    metrics: Metrics,
}

#[async_trait]
impl Node for Stored {
    async fn status(&self) -> Result<Status, NodeError> {
        let fates = self.stores.fates.counts().await.map_err(unavailable)?;
        let messages = MessageCounts {
            accepted: fates.accepted,
            delivered: fates.delivered,
            stored: fates.stored,
            expired: fates.expired,
            refused: fates.refused,
        };
        let accounts = self.stores.accounts.count().await.map_err(unavailable)?;
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").into(),
            node: String::new(),
            pid: std::process::id(),
            started: self.started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            uptime_s: self.started.elapsed().map_or(0, |up| up.as_secs()),
            domains: self.config.domains.iter().map(ToString::to_string).collect(),
            data_dir: self.config.data_dir.display().to_string(),
            store: self.config.store_name(),
            listeners: self.listeners.all(),
            readiness: self.readiness(),
            counts: Counts { accounts, messages, ..Counts::default() },
        })
    }

    fn readiness(&self) -> Readiness {
        Readiness { ready: true, reasons: Vec::new() }
    }

    fn metrics(&self) -> String {
        self.metrics.render(|_| {})
    }

    async fn registrations(&self, page: Page) -> Result<List<Registered>, NodeError> {
        let located = self.stores.locations.scan(page.after.as_deref(), page.size()).await.map_err(unavailable)?;
        let items = located.iter().map(|at| registered(&at.aor, &at.bindings)).collect();
        Ok(List::page(items, page.size(), |user: &Registered| user.aor.clone()))
    }

    async fn registration(&self, aor: &str) -> Result<Registered, NodeError> {
        self.accounts.show(aor).await?;
        let (_, bindings) = self.stores.locations.bindings(aor).await.map_err(unavailable)?;
        Ok(registered(aor, &bindings))
    }

    async fn queues(&self, page: Page) -> Result<List<Queue>, NodeError> {
        let depths = self.stores.queue.depths(page.after.as_deref(), page.size()).await.map_err(unavailable)?;
        let queue = |(aor, depth): &(Box<str>, chappe_store::Depth)| Queue {
            aor: aor.to_string(),
            messages: depth.count,
            bytes: depth.bytes,
        };
        let items = depths.iter().map(queue).collect();
        Ok(List::page(items, page.size(), |queue: &Queue| queue.aor.clone()))
    }

    async fn queue(&self, aor: &str, page: Page) -> Result<List<Waiting>, NodeError> {
        self.accounts.show(aor).await?;
        let after = match &page.after {
            Some(after) => after.parse().map_err(|_| NodeError::Invalid { field: "after", why: "no number".into() })?,
            None => 0,
        };
        let wanted = [Wanted { recipient: aor.into(), device: None, after }];
        let found = self.stores.queue.pending(&wanted, page.size()).await.map_err(unavailable)?.pop();
        let items = found.unwrap_or_default().iter().map(waiting).collect();
        Ok(List::page(items, page.size(), |message: &Waiting| message.id.to_string()))
    }

    async fn explain(&self, id: &str) -> Result<Explanation, NodeError> {
        let fates = self.stores.fates.lookup(id).await.map_err(unavailable)?;
        if fates.is_empty() {
            return Err(NodeError::NotFound { what: "message" });
        }
        Ok(Explanation { id: id.to_owned(), events: fates.iter().map(event).collect() })
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    fn trace(&self, _user: &str) -> Result<broadcast::Receiver<TraceLine>, NodeError> {
        Err(NodeError::Unsupported { why: "no SIP listener runs" })
    }

    async fn backup(&self, file: &Path) -> Result<(), NodeError> {
        self.stores.backup(file).await.map_err(unavailable)
    }
}

/// Bindings as the operator sees them.
pub fn registered(aor: &str, bindings: &[chappe_sip::registrar::Binding]) -> Registered {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let binding = |binding: &chappe_sip::registrar::Binding| chappe_api::Binding {
        contact: binding.contact.to_string(),
        instance_id: binding.instance_id.as_ref().map(ToString::to_string),
        reg_id: binding.reg_id,
        flow: binding.flow.as_ref().map(ToString::to_string).or_else(|| some(&binding.received)),
        path: some(&binding.path).into_iter().collect(),
        q: f32::from(binding.q) / 1000.0,
        expires: binding.expires,
        user_agent: some(&binding.user_agent),
    };
    Registered { aor: aor.to_owned(), bindings: bindings.iter().map(binding).collect() }
}

/// A queued message as the operator sees it.
pub fn waiting(message: &chappe_store::QueuedMessage) -> Waiting {
    Waiting {
        id: message.id,
        message_id: message.message_id.as_ref().map(ToString::to_string),
        call_id: message.call_id.to_string(),
        from: message.sender.to_string(),
        device: message.device.as_ref().map(ToString::to_string),
        bytes: message.size() as u64,
        accepted_ms: message.accepted_ms,
        expires: message.expires_at,
    }
}

/// A step in the life of a message as the operator sees it.
pub fn event(fate: &chappe_store::Fate) -> FateEvent {
    FateEvent {
        at_ms: fate.at_ms,
        event: fate.event.name().to_owned(),
        recipient: fate.recipient.to_string(),
        device: fate.device.as_ref().map(ToString::to_string),
        status: (fate.detail != 0).then_some(fate.detail),
        message_id: fate.message_id.as_ref().map(ToString::to_string),
        call_id: fate.call_id.to_string(),
    }
}
