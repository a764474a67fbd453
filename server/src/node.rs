//! A running node: what is opened at the start, what runs beside the traffic, and how it ends.

mod devices;
mod files;
mod operator;
mod parts;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use async_trait::async_trait;
use bytes::Bytes;
use chappe_api::{Door, Node, Protocol, Upgrade, WebSockets};
use chappe_net::{HttpIo, Net, UpgradedSocket};
use chappe_sip::Transport;
use chappe_sip::registrar::{Binding, PurrKey};
use chappe_store::Stores;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::accounts::{Changed, StoredAccounts};
use crate::config::Config;
use crate::core::{Core, Front, epoch_seconds};
use crate::files::Depot;
use crate::history::HistoryDoor;
use crate::http::Behind;
use crate::http::identity::HttpIdentity;
use crate::http::tokens::SignInDoor;
use crate::listeners::Listeners;
use crate::media::turn::TurnDoor;
use crate::metrics::Metrics;
use crate::msrp::Relay;
use crate::provisioning::{AutoConfig, DevicePasswords};
use crate::push::{self, Push};
use crate::service::chat::FileBox;
use crate::service::{agent, drain};
use crate::timers;
use crate::xcap::{ContactsDoor, XcapDoor};

pub use operator::{event, registered, waiting};

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
    operator: Arc<operator::Operator>,
    core: Arc<Core>,
    net: Net,
    relay: Arc<Relay>,
    msrp: Net,
    /// Who asks by HTTP.
    identity: Arc<HttpIdentity>,
    /// What tells handsets their configuration.
    handsets: Option<Arc<AutoConfig>>,
    /// What gives credentials for the relay.
    turn: Arc<TurnDoor>,
    /// Index of the first WebSocket listener in the transport layer.
    first_http: u16,
    tasks: JoinSet<()>,
    timers: std::thread::JoinHandle<()>,
}

/// AORs and accounts read in one page at the start.
const PAGE: usize = 4096;
/// How far refreshed registrations may be behind on disk.
const FLUSH: Duration = Duration::from_secs(3);
/// One part of the bindings is looked through for lapsed ones in this time.
const SWEEP: Duration = Duration::from_millis(500);
/// How often lapsed publications are looked for.
const PRESENCE: Duration = Duration::from_secs(1);
/// How often lapsed messages are looked for.
const EXPIRE: Duration = Duration::from_secs(5);
/// How often the fates of long ago and old nonces are forgotten.
const FORGET: Duration = Duration::from_secs(60);
/// How often devices are looked through for those that were away for too long; reads all of them.
const FORGET_DEVICES: Duration = Duration::from_secs(3600);

impl Running {
    /// Opens the store, takes over what it has, and opens the SIP listeners.
    pub async fn start(setup: Setup) -> anyhow::Result<Running> {
        let Setup { config, listeners, http, echo } = setup;
        let stores = Stores::open(&config.store_url(), &config.data_dir).await.context("cannot open the store")?;
        let metrics = Arc::new(Metrics::default());
        let first_http = config.sip.listen.len() as u16;
        let net = Net::bind(parts::net(&config, &http)?).context("cannot open the SIP listeners")?;
        for (index, address) in (first_http..).zip(&http) {
            net.set_address(index, *address);
        }
        for listener in net.listeners().iter().filter(|l| l.index < first_http) {
            listeners.add("sip", format!("{}://{}", listener.transport.param(), listener.local));
        }

        let msrp = Net::bind(relay::net(&config, &http)?).context("cannot open the MSRP listeners (msrp.listen)")?;
        let first_msrp = config.msrp.listen.len() as u16;
        for (index, address) in (first_msrp..).zip(&http) {
            msrp.set_address(index, *address);
        }
        for listener in msrp.listeners().iter().filter(|l| l.index < first_msrp) {
            listeners.add("msrp", format!("{}://{}", listener.transport.param(), listener.local));
        }

        let keys = parts::Keys::load(&config.data_dir)?;
        let (drain, inbox) = drain::Drain::new();
        let purrs = PurrKey::new(keys.derive("push references"));
        let (waker, sleepers) = Push::new(push::services(&config)?, push::Dead::open(&config.data_dir)?, purrs);
        let waker = Arc::new(waker);
        let core = Arc::new(Core::new(parts::core(
            &config,
            stores.clone(),
            metrics.clone(),
            &net,
            &http,
            (drain, Arc::clone(&waker)),
            echo,
        )?));
        core.waiting.tell(move |aor| waker.hint(aor));
        let told = Arc::downgrade(&core);
        core.waiting.tell_changes(move |aor| {
            if let Some(core) = told.upgrade() {
                crate::service::notify::published::waiting_changed(&core, aor);
            }
        });
        load(&core).await.context("cannot read the store")?;
        core.sign_ins.load().await.context("cannot read who is signed in")?;
        crate::xcap::feed::load(&core).await.context("cannot read the documents of users")?;
        core.xcap.watch(Arc::new(crate::xcap::feed::PresenceFeed));
        core.xcap.watch(Arc::new(crate::service::notify::xcap_diff::Feed));
        core.set_net(net.clone());
        core.trace.set_locals(net.listeners().iter().map(|l| (l.index, l.transport, l.local)).collect());
        let relay = Relay::new(
            relay::settings(&config)?,
            relay::local(&config, &msrp),
            Arc::new(relay::Shared(Arc::clone(&core))),
            relay::gate(&config),
            &keys.derive("msrp nonces"),
            epoch_seconds(),
            tokio::runtime::Handle::current(),
        );
        if let Some(resolver) = &core.resolver {
            relay.set_resolver(Arc::clone(&resolver.0));
        }
        relay.set_net(msrp.clone());
        core.set_endpoint(relay.endpoint());
        if let Some(media) = crate::media::wiring::open(&config, &listeners, &keys.derive("relay")) {
            core.set_media(media);
        }

        let identity =
            Arc::new(HttpIdentity::new(Arc::clone(&core), parts::gate(&config), &keys.derive("http nonces")));

        let handsets = parts::provisioning(&config, &net)?.map(|parts::Provisioning { options, sender }| {
            let passwords = DevicePasswords::new(&keys.derive("device passwords"));
            core.directory.set_devices(passwords.clone(), Arc::clone(&core.sign_ins));
            let tokens = keys.derive("configuration tokens");
            Arc::new(AutoConfig::new(Arc::clone(&core), metrics.clone(), options, &tokens, passwords, sender))
        });
        let depot = match config.files.serve {
            true => Some(Arc::new(Depot::open(files::settings(&config), Arc::clone(&stores.files))?)),
            false => None,
        };
        if let Some(depot) = &depot {
            core.set_files(FileBox { depot: Arc::clone(depot), base: files::base(&config, &http).into() });
        }

        let changed = {
            let (core, depot) = (Arc::clone(&core), depot.clone());
            move |changed| match changed {
                Changed::Put(account) => {
                    let aor = account.aor.clone();
                    core.directory.put(*account);
                    // The user's list of blocked people counts for watchers as well.
                    crate::service::presence::rules_changed(&core, &aor);
                }
                Changed::Removed(aor) => {
                    let (signed_in, gone) = (Arc::clone(&core), aor.clone());
                    core.runtime.spawn(async move {
                        if let Err(error) = signed_in.sign_ins.sign_out(&gone, None).await {
                            tracing::error!(%error, "what was signed in of a removed account could not be removed");
                        }
                    });
                    core.identity.forget_user(&aor);
                    if let Some(depot) = depot.clone() {
                        let owner = aor.clone();
                        core.runtime.spawn(async move { depot.remove_all(&owner).await });
                    }
                    core.directory.remove(&aor);
                    core.location.update(&aor, Vec::clear);
                    core.away.remove(&aor);
                    core.waiting.clear(&aor);
                    crate::service::notify::published::forget(&core, &aor);
                    forget_documents(&core, aor);
                }
            }
        };
        let domains = config.domains.iter().map(ToString::to_string).collect();
        let accounts = StoredAccounts::new(stores, domains, changed);
        let turn = Arc::new(TurnDoor::new(Arc::clone(&core), &config, &keys.derive("relay")));
        let operator = Arc::new(operator::Operator {
            config: Arc::clone(&config),
            core: Arc::clone(&core),
            relay: Arc::clone(&relay),
            depot: depot.clone(),
            accounts,
            listeners,
            started: SystemTime::now(),
            metrics,
        });

        let timers = timers::spawn(Arc::clone(&core)).context("cannot start the timer thread")?;
        let mut tasks = JoinSet::new();
        tasks.spawn(drain::run(Arc::clone(&core), inbox));
        tasks.spawn(push::run(Arc::clone(&core), sleepers));
        tasks.spawn(flush(Arc::clone(&core)));
        tasks.spawn(sweep(Arc::clone(&core)));
        tasks.spawn(expire(Arc::clone(&core)));
        tasks.spawn(presence(Arc::clone(&core)));
        tasks.spawn(crate::service::group::keep(Arc::clone(&core)));
        tasks.spawn(forget(Arc::clone(&core), Arc::clone(&identity), handsets.clone(), config.message.explain));
        tasks.spawn(forget_devices(Arc::clone(&core)));
        tasks.spawn(Arc::clone(&relay).run_clock());
        if let Some(depot) = depot {
            tasks.spawn(async move { depot.run().await });
        }
        net.run(Arc::new(Front(Arc::clone(&core)))).context("cannot open the SIP listeners")?;
        let front = crate::msrp::Front(Arc::clone(&relay));
        msrp.run(Arc::new(front)).context("cannot open the MSRP listeners")?;
        Ok(Running { operator, core, net, relay, msrp, identity, handsets, turn, first_http, tasks, timers })
    }

    pub fn node(&self) -> Arc<dyn Node> {
        self.operator.clone()
    }

    #[cfg(test)]
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// What the HTTP listeners lead to.
    pub fn behind(&self) -> Behind {
        let entrance = Arc::new(Entrance {
            net: self.net.clone(),
            first: self.first_http,
            msrp: self.msrp.clone(),
            first_msrp: self.operator.config.msrp.listen.len() as u16,
            core: Arc::clone(&self.core),
        });
        Behind { node: self.node(), door: entrance.clone(), websockets: entrance, services: self.services() }
    }

    /// Who asks by HTTP.
    pub fn identity(&self) -> Arc<HttpIdentity> {
        Arc::clone(&self.identity)
    }

    /// The HTTP services for users.
    fn services(&self) -> Vec<axum::Router> {
        let xcap = Arc::new(XcapDoor(Arc::clone(&self.core)));
        let xcap = chappe_api::xcap::router(self.identity(), xcap);
        let handsets = self.handsets.clone().map(|handsets| chappe_api::provisioning::router(handsets));
        let settings = files::http(&self.operator.config);
        let depot = self.operator.depot.clone();
        let files = depot.map(|depot| chappe_api::files::router(depot, self.identity(), settings));
        let sign_in = SignInDoor::new(Arc::clone(&self.core), Arc::clone(&self.core.bearers), self.handsets.clone());
        let tokens = chappe_api::tokens::router(self.identity(), Arc::new(sign_in));
        let contacts = Arc::new(ContactsDoor(Arc::clone(&self.core)));
        let contacts = chappe_api::contacts::router(self.identity(), contacts);
        let history = Arc::new(HistoryDoor(Arc::clone(&self.core)));
        let history = chappe_api::history::router(self.identity(), history);
        let turn = chappe_api::turn::router(self.identity(), self.turn.clone());
        handsets.into_iter().chain([xcap, contacts, history, tokens, turn]).chain(files).collect()
    }

    /// Why it cannot go on; pends while it can.
    pub async fn failed(&self) -> anyhow::Error {
        std::future::pending().await
    }

    /// Finishes what is under way within `wait`, and closes the store.
    pub async fn stop(mut self, wait: Duration) {
        let deadline = Instant::now() + wait;
        self.net.stop_accepting();
        self.msrp.stop_accepting();
        self.core.stop();
        agent::end_all(&self.core);
        self.relay.stop();
        if let Some(media) = self.core.media() {
            media.stop();
        }
        // What is under way: requests without a final response, and writes for those that have one.
        while Instant::now() < deadline && (self.core.is_busy() || self.relay.is_busy()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::join!(self.net.close_all(deadline), self.msrp.close_all(deadline));
        if let Err(error) = self.core.persist.flush().await {
            tracing::error!(%error, "the latest registrations could not be stored");
        }
        self.core.alarm().stop();
        self.tasks.shutdown().await;
        if self.timers.join().is_err() {
            tracing::error!("the timer thread has panicked");
        }
        if let Err(error) = self.core.stores.close().await {
            tracing::error!(%error, "the store did not close well");
        }
    }
}

/// Takes accounts, bindings and the depths of queues into memory.
async fn load(core: &Arc<Core>) -> Result<(), chappe_store::StoreError> {
    let mut after: Option<Box<str>> = None;
    loop {
        let page = core.stores.accounts.page(after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|a| a.aor.clone());
        page.into_iter().for_each(|account| core.directory.put(account));
        if !full {
            break;
        }
    }
    let (mut after, now) = (None, epoch_seconds());
    loop {
        let page = core.stores.locations.scan(after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|l| l.aor.clone());
        for mut located in page {
            let before = located.bindings.clone();
            located.bindings.retain(|b| b.expires() > now);
            if located.bindings.len() < before.len() {
                core.persist.seen(core.away.changed(&located.aor, &before, &located.bindings, now));
            }
            for binding in &mut located.bindings {
                binding.dormant |= parts::needs_its_connection(binding);
            }
            core.location.load(located.aor, located.revision, located.bindings);
        }
        if !full {
            break;
        }
    }
    load_away(core, now).await?;
    let mut after: Option<Box<str>> = None;
    let mut stored = 0;
    loop {
        let page = core.stores.queue.depths(after.as_deref(), PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(aor, _)| aor.clone());
        for (aor, depth) in page {
            core.waiting.add(&aor, None, depth.count);
            stored += depth.count;
        }
        if !full {
            break;
        }
    }
    core.ledger.load(stored as i64);
    Ok(())
}

/// Takes devices into memory that are known and not registered.
async fn load_away(core: &Core, now: u64) -> Result<(), chappe_store::StoreError> {
    let mut after: Option<(Box<str>, Box<str>)> = None;
    loop {
        let from = after.as_ref().map(|(aor, device)| (&**aor, &**device));
        let page = core.stores.devices.all(from, PAGE).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(aor, known)| (aor.clone(), known.device.clone()));
        for (aor, known) in page {
            let here = core.location.with(&aor, |bindings| bindings.iter().any(|b| b.device() == &*known.device));
            if !here && core.directory.find(&aor).is_some() {
                core.away.load(&aor, known, now);
            }
        }
        if !full {
            return Ok(());
        }
    }
}

/// Puts refreshed registrations on disk.
async fn flush(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(FLUSH);
    loop {
        ticks.tick().await;
        if core.persist.waiting() > 0
            && let Err(error) = core.persist.flush().await
        {
            core.counters.store_failed();
            tracing::error!(%error, "registrations could not be stored; they stay in memory");
        }
    }
}

/// Ends bindings whose time is over, a part of all at a time.
async fn sweep(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(SWEEP);
    for part in 0.. {
        ticks.tick().await;
        let now = epoch_seconds();
        let gone = |aor: &str, before: &[Binding], after: &[Binding]| {
            core.persist.seen(core.away.changed(aor, before, after, now));
        };
        for change in core.location.expire(part, now, gone) {
            crate::service::notify::registration_changed(&core, &change.aor, &change.before, &change.after);
            core.persist.later(&change.aor);
        }
    }
}

/// Ends what was published and has run out.
async fn presence(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(PRESENCE);
    loop {
        ticks.tick().await;
        crate::service::presence::tick(&core);
        crate::service::notify::published::tick(&core);
    }
}

/// Ends the wait of messages whose time is over.
async fn expire(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(EXPIRE);
    loop {
        ticks.tick().await;
        if let Err(error) = drain::expire(&core).await {
            core.counters.store_failed();
            tracing::error!(%error, "expired messages could not be dealt with");
        }
    }
}

/// Removes the documents of an account that is gone.
fn forget_documents(core: &Arc<Core>, aor: Box<str>) {
    let gone = Arc::clone(core);
    core.runtime.spawn(async move {
        crate::xcap::feed::forget(&gone, &aor);
        if let Err(error) = gone.xcap.remove_owner(&aor).await {
            gone.counters.store_failed();
            tracing::error!(%error, "the documents of a removed account could not be removed");
        }
        if let Err(error) = gone.stores.conversations.erase_user(&aor).await {
            gone.counters.store_failed();
            tracing::error!(%error, "the history of a removed account could not be removed");
        }
    });
}

/// Forgets what nobody will ask for any more.
async fn forget(core: Arc<Core>, identity: Arc<HttpIdentity>, handsets: Option<Arc<AutoConfig>>, explain: Duration) {
    let mut ticks = tokio::time::interval(FORGET);
    loop {
        ticks.tick().await;
        let now = epoch_seconds();
        core.identity.expire(now);
        identity.expire(now);
        if let Some(handsets) = &handsets {
            handsets.expire(now);
        }
        if let Err(error) = core.sign_ins.flush(now).await {
            core.counters.store_failed();
            tracing::warn!(%error, "who was seen could not be stored");
        }
        let before = now.saturating_sub(explain.as_secs());
        let fates = core.stores.fates.purge(before * 1000).await;
        let receipts = core.stores.receipts.forget(before).await;
        if let Err(error) = fates.and(receipts).and(trim(&core, now).await) {
            core.counters.store_failed();
            tracing::warn!(%error, "old records could not be removed");
        }
    }
}

/// Removes what is too old for the history; all of it where none is kept.
async fn trim(core: &Core, now: u64) -> Result<(), chappe_store::StoreError> {
    const SLICE: usize = 1000;
    let before_ms = now.saturating_sub(core.settings.history.as_secs()) * 1000;
    while core.stores.conversations.sweep(before_ms, SLICE).await? > 0 {}
    Ok(())
}

/// Forgets devices that were away for too long.
async fn forget_devices(core: Arc<Core>) {
    let mut ticks = tokio::time::interval(FORGET_DEVICES);
    loop {
        ticks.tick().await;
        let before = core.away.expire(epoch_seconds());
        if let Err(error) = core.stores.devices.forget(before).await {
            core.counters.store_failed();
            tracing::warn!(%error, "old devices could not be removed");
        }
    }
}

/// HTTP connections, before their first request and after they became WebSockets.
struct Entrance {
    net: Net,
    first: u16,
    msrp: Net,
    first_msrp: u16,
    core: Arc<Core>,
}

#[async_trait]
impl Door for Entrance {
    async fn prepare(&self, listener: usize, tcp: TcpStream, peer: SocketAddr) -> Option<(HttpIo, SocketAddr)> {
        if self.core.admission.bans.is_banned(peer.ip(), self.core.uptime_ms()) {
            return None;
        }
        self.net.accept_http(self.first + listener as u16, tcp, peer).await
    }
}

impl WebSockets for Entrance {
    fn serves(&self, protocol: Protocol) -> bool {
        matches!(protocol, Protocol::Sip | Protocol::Msrp) && !self.core.is_stopping()
    }

    fn adopt(&self, upgrade: Upgrade, io: HttpIo, read: Bytes) {
        let Upgrade { protocol, peer, host, origin, path } = upgrade;
        let details = chappe_net::Upgrade { host, origin, path, protocol: protocol.name().to_owned(), user: None };
        let (net, first) = match protocol {
            Protocol::Sip => (&self.net, self.first),
            Protocol::Msrp => (&self.msrp, self.first_msrp),
        };
        let listener = first + peer.listener as u16;
        let socket = UpgradedSocket { io, leftover: read, remote: peer.remote, listener, upgrade: details };
        if net.adopt_websocket(socket).is_none() {
            tracing::debug!("a WebSocket was not admitted");
        }
    }
}

/// The transport of an HTTP listener's WebSockets.
fn websocket(secure: bool) -> Transport {
    if secure { Transport::Wss } else { Transport::Ws }
}
