//! What the operator sees of the node and may ask of it.

mod explain;
mod system;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chappe_api::{
    Accounts, ConformanceReport, Counts, ErasureReceipt, Explanation, FateEvent, File, Group, List, MediaCall,
    MessageCounts, MsrpSession, Node, NodeError, Page, PresenceOf, PushDecision, PushDevice, PushOf, PushTested, Queue,
    Readiness, RecentMessage, Registered, SignedOut, Status, System, TraceLine, TracePacket, UserDevice, Waiting,
};
use tokio::sync::broadcast;

use crate::accounts::{StoredAccounts, unavailable};
use crate::config::Config;
use crate::core::Core;
use crate::erase::Eraser;
use crate::files::Depot;
use crate::listeners::Listeners;
use crate::metrics::{Kind, Metrics};
use crate::msrp::Relay;
use crate::signout;

pub(super) struct Operator {
    pub(super) config: Arc<Config>,
    pub(super) core: Arc<Core>,
    pub(super) relay: Arc<Relay>,
    /// Unless no files are served.
    pub(super) depot: Option<Arc<Depot>>,
    pub(super) accounts: StoredAccounts,
    pub(super) listeners: Listeners,
    pub(super) started: SystemTime,
    pub(super) metrics: Arc<Metrics>,
}

impl Operator {
    fn messages(&self) -> MessageCounts {
        let ledger = &self.core.ledger;
        MessageCounts {
            accepted: ledger.accepted.load(Ordering::Relaxed),
            delivered: ledger.delivered.load(Ordering::Relaxed),
            stored: ledger.stored.load(Ordering::Relaxed).max(0) as u64,
            expired: ledger.expired.load(Ordering::Relaxed),
            refused: ledger.refused.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Node for Operator {
    async fn status(&self) -> Result<Status, NodeError> {
        let core = &self.core;
        let (registered, bindings) = core.location.counts();
        let (transactions, _) = core.load();
        let counts = Counts {
            accounts: core.directory.len() as u64,
            registered,
            bindings,
            connections: core.net().map_or(0, |net| net.connections() as u64),
            transactions: (transactions.invite_servers
                + transactions.non_invite_servers
                + transactions.invite_clients
                + transactions.non_invite_clients) as u64,
            banned: core.admission.bans.count(core.uptime_ms()) as u64,
            msrp_sessions: self.relay.sessions_now(),
            publications: core.presence.counts().publications as u64,
            subscriptions: core.watched.count() as u64,
            messages: self.messages(),
        };
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
            counts,
        })
    }

    fn readiness(&self) -> Readiness {
        let core = &self.core;
        let mut reasons = Vec::new();
        if core.is_stopping() {
            reasons.push("the server is stopping".to_owned());
        }
        if core.net().is_none() {
            reasons.push("the SIP listeners are not open".to_owned());
        }
        if core.overloaded() {
            reasons.push("too many writes wait for the store".to_owned());
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    fn metrics(&self) -> String {
        let (core, metrics) = (&self.core, &self.metrics);
        let (registered, bindings) = core.location.counts();
        let (transactions, work) = core.load();
        metrics.registered.set(registered);
        metrics.bindings.set(bindings);
        metrics.accounts.set(core.directory.len() as u64);
        metrics.banned.set(core.admission.bans.count(core.uptime_ms()) as u64);
        metrics.store_queue.set(core.store_queue.load(Ordering::Relaxed));
        let open = transactions.invite_servers
            + transactions.non_invite_servers
            + transactions.invite_clients
            + transactions.non_invite_clients;
        metrics.transactions.set(open as u64);
        let messages = self.messages();
        metrics.render(|out| {
            if let Some(depot) = &self.depot {
                depot.counters().write(out);
            }
            let counter = |out: &mut crate::metrics::Exposition, name, help: &str, value: u64| {
                out.family(name, Kind::Counter, help).sample(&[], value);
            };
            counter(
                out,
                "chappe_messages_accepted_total",
                "Messages taken over with a 2xx. At any moment accepted = delivered + stored + expired + refused.",
                messages.accepted,
            );
            counter(out, "chappe_messages_delivered_total", "Messages that the recipient took.", messages.delivered);
            counter(out, "chappe_messages_expired_total", "Messages whose time was over.", messages.expired);
            counter(
                out,
                "chappe_messages_refused_total",
                "Messages that were accepted and then refused by the recipient, or removed by the operator.",
                messages.refused,
            );
            out.family("chappe_messages_stored", Kind::Gauge, "Messages that wait for their recipient now.")
                .sample(&[], messages.stored);
            out.family("chappe_messages_imbalance", Kind::Gauge, "How far the law of messages is broken; always 0.")
                .sample(&[], core.ledger.imbalance());
            out.family("chappe_sip_work", Kind::Gauge, "Requests being forwarded or delivered now.").sample(&[], work);
            out.family("chappe_sip_subscriptions", Kind::Gauge, "Subscriptions of whatever package now.")
                .sample(&[], core.watched.count());
            let presence = core.presence.counts();
            let (waking, parked) = core.push.counts();
            for (name, help, value) in [
                ("chappe_presence_publications", "Publications that are valid now.", presence.publications),
                ("chappe_presence_watchers", "Watchers of presence now.", presence.watchers),
                ("chappe_presence_pending", "Watchers that wait for a decision.", presence.pending),
                ("chappe_push_waking", "Devices that are being woken now.", waking),
                ("chappe_push_parked", "Calls that wait for a device to wake.", parked),
                (
                    "chappe_capability_users",
                    "Users of whose devices' abilities something is known.",
                    core.capabilities.users(),
                ),
            ] {
                out.family(name, Kind::Gauge, help).sample(&[], value);
            }
            let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let (presence, capability) = (&core.presence, &core.capabilities);
            for (name, help, value) in [
                ("chappe_push_sent_total", "Pushes sent to services.", load(&core.push.sent)),
                ("chappe_push_accepted_total", "Pushes that services took.", load(&core.push.accepted)),
                ("chappe_push_failed_total", "Pushes that services did not take.", load(&core.push.failed)),
                ("chappe_push_woken_total", "Wake-ups that ended with a registration.", load(&core.push.woken)),
                ("chappe_push_retired_total", "Registrations removed for a dead token.", load(&core.push.retired)),
                ("chappe_presence_published_total", "PUBLISH requests accepted.", load(&presence.published)),
                ("chappe_presence_refused_total", "PUBLISH requests refused.", load(&presence.refused)),
                (
                    "chappe_presence_withdrawn_total",
                    "Publications that went with their flow.",
                    load(&presence.withdrawn),
                ),
                ("chappe_capability_queries_total", "Questions for abilities.", load(&capability.queries)),
                ("chappe_capability_devices_asked_total", "Devices asked.", load(&capability.asked)),
                (
                    "chappe_capability_from_memory_total",
                    "Questions that reached no device.",
                    load(&capability.from_memory),
                ),
                (
                    "chappe_capability_throttled_total",
                    "Devices not asked because somebody asks too often.",
                    load(&capability.throttled),
                ),
            ] {
                counter(out, name, help, value);
            }
            out.family("chappe_sip_calls", Kind::Gauge, "Calls of the server itself now.")
                .sample(&[], core.calls.count());
            counter(
                out,
                "chappe_sip_retransmissions_sent_total",
                "Retransmissions sent.",
                transactions.retransmissions,
            );
            counter(
                out,
                "chappe_sip_retransmissions_received_total",
                "Retransmissions received and answered without work.",
                transactions.absorbed,
            );
            counter(
                out,
                "chappe_sip_client_timeouts_total",
                "Requests of ours without an answer in time.",
                transactions.client_timeouts,
            );
            for (name, help, value) in core.counters.simple() {
                counter(out, name, help.trim(), value);
            }
            crate::service::group::operator::write_metrics(core, out);
            self.relay.write_metrics(out);
            if let Some(media) = self.core.media() {
                media.write_metrics(out);
            }
        })
    }

    async fn registrations(&self, page: Page) -> Result<List<Registered>, NodeError> {
        let located = self.core.location.page(page.after.as_deref(), page.size());
        let items = located.iter().map(|(aor, bindings)| self.view(aor, bindings)).collect();
        Ok(List::page(items, page.size(), |user: &Registered| user.aor.clone()))
    }

    async fn registration(&self, aor: &str) -> Result<Registered, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        let bindings = self.core.location.with(&aor, <[_]>::to_vec);
        Ok(self.view(&aor, &bindings))
    }

    async fn queues(&self, page: Page) -> Result<List<Queue>, NodeError> {
        self.queue_page(page).await
    }

    async fn queue(&self, aor: &str, page: Page) -> Result<List<Waiting>, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        self.queue_of(&aor, page).await
    }

    async fn messages(&self, aor: &str, page: Page) -> Result<List<RecentMessage>, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        self.remembered(&aor, &page)
    }

    async fn deregister(&self, aor: &str, device: &str) -> Result<(), NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        self.remove_device(&aor, device)
    }

    async fn system(&self) -> Result<System, NodeError> {
        self.look_at_system().await
    }

    async fn conformance(&self) -> Result<ConformanceReport, NodeError> {
        self.read_report().await
    }

    async fn groups(&self, page: Page) -> Result<List<Group>, NodeError> {
        crate::service::group::operator::list(&self.core, page).await
    }

    async fn group(&self, id: &str) -> Result<Group, NodeError> {
        crate::service::group::operator::show(&self.core, id).await
    }

    async fn msrp_sessions(&self, page: Page) -> Result<List<MsrpSession>, NodeError> {
        let after = page.after.as_deref().map(session_number).transpose()?.unwrap_or(0);
        let items = self.relay.list(after, page.size());
        Ok(List::page(items, page.size(), |session: &MsrpSession| session.id.to_string()))
    }

    async fn media_calls(&self, page: Page) -> Result<List<MediaCall>, NodeError> {
        let after = page.after.as_deref().map(session_number).transpose()?.unwrap_or(0);
        let items = self.core.media().map_or_else(Vec::new, |media| media.list(after, page.size()));
        Ok(List::page(items, page.size(), |call: &MediaCall| call.id.to_string()))
    }

    async fn end_msrp_session(&self, id: &str) -> Result<(), NodeError> {
        let found = self.relay.kill(session_number(id)?);
        if found { Ok(()) } else { Err(NodeError::NotFound { what: "MSRP session" }) }
    }

    async fn presence(&self, aor: &str) -> Result<PresenceOf, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        Ok(crate::service::presence::seen(&self.core, &aor))
    }

    async fn push(&self, aor: &str) -> Result<PushOf, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        let decision = |entry: crate::push::Entry| PushDecision {
            at: entry.at_ms / 1000,
            class: entry.class.into(),
            what: entry.what,
        };
        let devices = crate::push::log_of(&self.core, &aor).into_iter().map(|log| PushDevice {
            device: log.device.into(),
            provider: log.provider,
            decisions: log.entries.into_iter().map(decision).collect(),
        });
        Ok(PushOf { devices: devices.collect(), aor })
    }

    async fn push_test(&self, aor: &str) -> Result<Vec<PushTested>, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        if !self.core.push.is_on() {
            return Err(NodeError::Unsupported { why: "no push service is configured" });
        }
        let tested = crate::push::test(&self.core, &aor).await;
        let one = |(device, provider, outcome): (Box<str>, String, chappe_push::Outcome)| PushTested {
            device: device.into(),
            provider,
            outcome: outcome.as_str().to_owned(),
            why: outcome.why().to_owned(),
        };
        Ok(tested.into_iter().map(one).collect())
    }

    async fn files(&self, owner: Option<&str>, page: Page) -> Result<List<File>, NodeError> {
        let rows = self.depot.as_ref().ok_or(NO_FILES)?.rows();
        let found = rows.list(owner, page.after.as_deref(), page.size()).await.map_err(unavailable)?;
        Ok(List::page(found.iter().map(file).collect(), page.size(), |file: &File| file.id.clone()))
    }

    async fn remove_file(&self, id: &str) -> Result<(), NodeError> {
        let depot = self.depot.as_ref().ok_or(NO_FILES)?;
        let found = depot.remove_any(id).await.map_err(unavailable)?;
        if found { Ok(()) } else { Err(NodeError::NotFound { what: "file" }) }
    }

    async fn explain(&self, id: &str) -> Result<Explanation, NodeError> {
        self.explained(id).await
    }

    fn accounts(&self) -> &dyn Accounts {
        &self.accounts
    }

    async fn devices(&self, aor: &str) -> Result<Vec<UserDevice>, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        super::devices::of(&self.core, &aor).await.map_err(unavailable)
    }

    async fn sign_out(&self, aor: &str, id: &str) -> Result<SignedOut, NodeError> {
        let aor = self.accounts.show(aor).await?.aor;
        let ended = signout::one(&self.core, &self.relay, &aor, id).await.map_err(unavailable)?;
        if ended == 0 { Err(NodeError::NotFound { what: "device" }) } else { Ok(SignedOut { ended }) }
    }

    async fn erase(&self, aor: &str) -> Result<ErasureReceipt, NodeError> {
        let depot = self.depot.as_deref();
        Eraser { core: &self.core, relay: &self.relay, depot, accounts: &self.accounts }.erase(aor).await
    }

    fn trace(&self, user: &str) -> Result<broadcast::Receiver<TraceLine>, NodeError> {
        traceable(user).map(|user| self.core.trace.watch(user))
    }

    fn packets(&self, user: &str, clear: bool) -> Result<broadcast::Receiver<TracePacket>, NodeError> {
        traceable(user).map(|user| self.core.trace.packets(user, clear))
    }

    async fn backup(&self, file: &Path) -> Result<(), NodeError> {
        self.core.stores.backup(file).await.map_err(unavailable)
    }
}

/// `files.serve` is off.
const NO_FILES: NodeError = NodeError::Unsupported { why: "this server keeps no files" };

/// An uploaded file as the operator sees it.
fn file(file: &chappe_store::StoredFile) -> File {
    File {
        id: file.id.to_string(),
        owner: file.owner.to_string(),
        name: file.name.to_string(),
        content_type: file.content_type.to_string(),
        bytes: file.size,
        thumbnail_bytes: file.thumbnail.as_ref().map(|thumbnail| thumbnail.size),
        sha256: file.hash.to_string(),
        created: file.created,
        expires: file.expires,
    }
}

/// What can be looked for in messages.
fn traceable(user: &str) -> Result<&str, NodeError> {
    if user.len() < 2 {
        return Err(NodeError::Invalid { field: "user", why: "at least two characters".into() });
    }
    Ok(user)
}

fn session_number(text: &str) -> Result<u64, NodeError> {
    text.parse().map_err(|_| NodeError::Invalid { field: "id", why: "no number".into() })
}

/// Bindings as the operator sees them.
pub fn registered(aor: &str, bindings: &[chappe_sip::registrar::Binding]) -> Registered {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let binding = |binding: &chappe_sip::registrar::Binding| chappe_api::Binding {
        contact: binding.contact().to_owned(),
        instance_id: binding.instance_id().map(ToOwned::to_owned),
        reg_id: binding.reg_id(),
        flow: binding.flow.as_ref().map(ToString::to_string).or_else(|| some(binding.received())),
        path: some(binding.path()).into_iter().collect(),
        q: f32::from(binding.q) / 1000.0,
        expires: binding.expires(),
        user_agent: some(binding.user_agent()),
        device: binding.device().to_owned(),
        reachable: false,
        push: None,
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
        reason: None,
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
