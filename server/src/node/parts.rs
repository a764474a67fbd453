//! From the configuration to the parts of a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chappe_auth::{GateConfig, Qop};
use chappe_chat::MessagePolicy;
use chappe_chat::group::{Limits, Rights, Role};
use chappe_chat::leg::LegSettings;
use chappe_net::{CertificateFiles, HostPort, ListenerConfig, Net, Network, ResolveConfig, TlsConfig, Verify};
use chappe_presence::rules::Handling;
use chappe_sip::outbound::FlowTokens;
use chappe_sip::proxy::{Local, ProxyPolicy};
use chappe_sip::registrar::{self, Binding, GruuKey};
use chappe_sip::transaction::Timers;
use chappe_sip::{Transport, Uri, layer};
use chappe_store::Stores;

use super::websocket;
use crate::admission::{Bans, Rates};
use crate::away::AwayDevices;
use crate::bearer::{Bearers, Lifetimes};
use crate::config::{self, Config};
use crate::core::{Admission, Challenge, Parts, SHARDS, Settings, epoch_seconds};
use crate::hops::{Face, Hops};
use crate::identity::Identity;
use crate::metrics::Metrics;
use crate::provisioning;
use crate::push::Push;
use crate::resolve::Resolver;
use crate::service::agent::{self, CallLimits};
use crate::service::capability::{Capabilities, CapabilitySettings};
use crate::service::chat::Chat;
use crate::service::drain::Drain;
use crate::service::group::{self, Groups};
use crate::service::presence::{PresenceAgent, PresenceSettings};
use crate::sign_ins::SignInTable;
use crate::xcap::{self, Xcap};

/// Keys remembered in the tables of rates.
const RATED: usize = 200_000;
/// The sender of a MESSAGE is answered within this time, well inside its transaction's 32 s.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The transport layer: SIP listeners in their order, then those of HTTP.
pub(super) fn net(config: &Config, http: &[SocketAddr]) -> anyhow::Result<chappe_net::Config> {
    let mut listeners = Vec::new();
    let advertise = config.sip.advertised.as_ref().map(|host| HostPort { host: host.as_str().to_owned(), port: None });
    for listen in &config.sip.listen {
        let transport = match listen.scheme {
            config::SipScheme::Udp => Transport::Udp,
            config::SipScheme::Tcp => Transport::Tcp,
            config::SipScheme::Tls => Transport::Tls,
        };
        let mut listener = ListenerConfig::new(transport, listen.address);
        listener.advertise = advertise.clone();
        listener.proxies = networks(&config.sip.proxy_protocol)?;
        listener.threads = config.sip.udp_workers.into();
        listeners.push(listener);
    }
    for (listen, address) in config.http.listen.iter().zip(http) {
        let transport = websocket(listen.scheme == config::HttpScheme::Https);
        let mut listener = ListenerConfig::new(transport, *address);
        listener.advertise = advertise.clone();
        listener.proxies = networks(&config.http.proxy_protocol)?;
        listeners.push(listener);
    }
    let sip = &config.sip.limits;
    let limits = chappe_net::Limits {
        head: sip.max_header_size.bytes(),
        message: sip.max_message_size.bytes(),
        connections: config.limits.connections as usize,
        connections_per_address: config.limits.connections_per_peer as usize,
        handshake_timeout: config.tls.handshake_timeout,
        idle: sip.idle_timeout,
        message_timeout: sip.read_timeout,
        backlog: sip.write_queue.bytes(),
        ..chappe_net::Limits::default()
    };
    let next_hops = config.sip.next_hops.as_deref().map(networks).transpose()?;
    Ok(chappe_net::Config { listeners, limits, next_hops, tls: tls(config) })
}

/// Certificates, for every transport layer.
pub(super) fn tls(config: &Config) -> TlsConfig {
    let pair = |certificate: &Option<_>, key: &Option<_>| {
        Some(CertificateFiles { certificate: Clone::clone(certificate.as_ref()?), key: Clone::clone(key.as_ref()?) })
    };
    let own = pair(&config.tls.certificate, &config.tls.key);
    let extra = config.tls.extra.iter().filter_map(|c| pair(&c.certificate, &c.key));
    TlsConfig {
        certificates: own.into_iter().chain(extra).collect(),
        data_dir: Some(config.data_dir.clone()),
        domains: config.domains.iter().map(ToString::to_string).collect(),
        client_auth: match config.tls.client_auth {
            config::ClientAuth::Off => chappe_net::ClientAuth::Off,
            config::ClientAuth::Optional => chappe_net::ClientAuth::Optional,
            config::ClientAuth::Required => chappe_net::ClientAuth::Required,
        },
        client_authorities: config.tls.client_ca.iter().cloned().collect(),
        verify: match (config.tls.verify, config.tls.authorities.is_empty()) {
            (false, _) => Verify::Nothing,
            (true, true) => Verify::System,
            (true, false) => Verify::Files(config.tls.authorities.clone()),
        },
        key_log: false,
    }
}

fn chat(config: &Config) -> Chat {
    let settings = LegSettings {
        ring: config.chat.ring_timeout,
        idle: config.chat.idle_timeout,
        window: config.chat.window as usize,
        // SIMPLE IM takes no call without a first message.
        max_first: config.message.max_size.bytes(),
        ..LegSettings::default()
    };
    Chat::new(config.chat.sessions, settings)
}

fn presence(config: &Config) -> PresenceSettings {
    let presence = &config.presence;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let max_expires = seconds(presence.max_expires);
    PresenceSettings {
        default: match presence.default {
            Some(config::Unruled::Allow) => Handling::Allow,
            Some(config::Unruled::Block) => Handling::Block,
            Some(config::Unruled::Confirm) | None => Handling::Confirm,
        },
        policy: chappe_presence::publish::Policy {
            min_expires: seconds(presence.min_expires),
            max_expires,
            default_expires: max_expires.min(3600),
            max_publications: presence.publications_per_user as usize,
            limits: chappe_presence::xml::Limits { bytes: presence.max_size.bytes(), ..Default::default() },
        },
        withdraw: presence.withdraw_dead,
        max_watchers: presence.watchers_per_user as usize,
        max_subscriptions: presence.max_subscriptions as usize,
        max_publications: presence.max_publications as usize,
        max_entries: presence.list_entries as usize,
    }
}

fn capability(config: &Config) -> CapabilitySettings {
    let capability = &config.capability;
    CapabilitySettings {
        enabled: capability.enabled,
        fresh: capability.fresh,
        answer_within: capability.answer_within,
        rate: capability.rate,
        burst: capability.burst,
        max_users: capability.max_users as usize,
    }
}

fn groups(config: &Config, node: &[u8]) -> Groups {
    let (group, rights) = (&config.group, Rights::default());
    let settings = group::Settings {
        factory: group.factory.as_str().into(),
        limits: Limits {
            members: group.max_members as usize,
            groups_per_user: group.max_per_user as usize,
            ..Limits::default()
        },
        rights: if group.admins_only { Rights { add: Role::Admin, ..rights } } else { rights },
        ring: config.chat.ring_timeout,
        idle: config.chat.idle_timeout,
        window: config.chat.window as usize,
        retention: group.retention,
        keep_delivered: group.keep_delivered,
    };
    let owner: String = node.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Groups::new(group.enabled && config.chat.sessions, settings, &owner)
}

fn xcap(config: &Config, http: &[SocketAddr]) -> xcap::Settings {
    let settings = &config.xcap;
    let limits = chappe_xcap::Limits {
        size: settings.max_document.bytes(),
        depth: settings.max_depth as usize,
        ..chappe_xcap::Limits::default()
    };
    let root = settings.root.as_deref().map_or_else(|| xcap_root(config, http), str::to_owned);
    xcap::Settings {
        root: root.trim_end_matches('/').into(),
        limits,
        versions: settings.versions as usize,
        documents_per_user: settings.documents_per_user.into(),
        bytes_per_user: settings.bytes_per_user.bytes() as u64,
        rcs_lists: settings.rcs_lists,
        cache: settings.cache.bytes(),
    }
}

/// The XCAP root on our first listener, under the name of our first domain.
fn xcap_root(config: &Config, http: &[SocketAddr]) -> String {
    let domain = config.domains.first().map_or("localhost", |domain| domain.as_str());
    let secure = config.http.listen.first().is_some_and(|listen| listen.scheme == config::HttpScheme::Https);
    let (scheme, standard) = if secure { ("https", 443) } else { ("http", 80) };
    let port = http.first().map(SocketAddr::port).filter(|port| *port != standard);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}://{domain}{port}{}", chappe_api::xcap::XCAP_PATH)
}

/// The SIP side.
pub(super) fn core(
    config: &Config,
    stores: Stores,
    metrics: Arc<Metrics>,
    net: &Net,
    http: &[SocketAddr],
    (drain, push): (Drain, Arc<Push>),
    echo: Option<String>,
) -> anyhow::Result<Parts> {
    let key = Keys::load(&config.data_dir)?;
    let now = epoch_seconds();
    let (local, faces) = faces(config, net);
    let transports: Vec<Transport> = [Transport::Udp, Transport::Tcp, Transport::Tls]
        .into_iter()
        .filter(|t| faces.iter().any(|f| f.transport == *t))
        .collect();
    let resolve = ResolveConfig {
        transports,
        ipv4: faces.iter().any(|f| !f.is_ipv6),
        ipv6: faces.iter().any(|f| f.is_ipv6),
        ..ResolveConfig::default()
    };
    let millis = |time: Duration| time.as_millis() as u64;
    let documents = Arc::clone(&stores.documents);
    let auth = &config.sip.authentication;
    let lifetimes = Lifetimes { access: auth.token_lifetime.as_secs(), refresh: auth.sign_in_lifetime.as_secs() };
    let table = Arc::new(SignInTable::new(Arc::clone(&stores.sign_ins)));
    let bearers = Arc::new(Bearers::new(&key.derive("bearer tokens"), lifetimes, table));
    let identity = Identity::new(gate(config), &key.derive("nonces"), networks(&config.sip.trusted)?, now);
    if let Some(server) = &auth.authorization_server {
        chappe_auth::bearer::Challenge::sip("", server).context("sip.authentication.authorization_server")?;
    }
    identity.set_bearers(Arc::clone(&bearers), auth.authorization_server.clone());
    let (limits, ban) = (&config.limits, &config.limits.ban);
    Ok(Parts {
        settings: settings(config, echo),
        local,
        hops: Hops::new(faces),
        location: Arc::default(),
        away: AwayDevices::new(config.chat.device_retention.as_secs()),
        directory: Default::default(),
        identity,
        bearers,
        stores,
        admission: Admission {
            peers: Rates::new(limits.peer_rate, limits.peer_burst, RATED),
            users: Rates::new(limits.user_rate, limits.user_burst, RATED),
            bans: Bans::new(ban.threshold, millis(ban.window), millis(ban.time), ban.max_entries as usize),
        },
        tokens: FlowTokens::new(&key.derive("flows"), 0, now as u32),
        gruu: GruuKey::new(key.derive("gruu")),
        waiting: Default::default(),
        drain,
        push,
        chat: chat(config),
        presence: PresenceAgent::new(presence(config)),
        capabilities: Capabilities::new(capability(config)),
        groups: groups(config, &key.derive("node")),
        xcap: Xcap::new(xcap(config, http), documents),
        resolver: Some(Resolver(Arc::new(chappe_net::Resolver::new(resolve)))),
        layer: layer::Config {
            timers: timers(config),
            limit: (config.sip.limits.max_transactions as usize).div_ceil(SHARDS),
        },
        trace: Default::default(),
        metrics,
        runtime: tokio::runtime::Handle::current(),
    })
}

/// What handsets are told. `None` where nobody is answered.
pub(super) fn provisioning(config: &Config, net: &Net) -> anyhow::Result<Option<Provisioning>> {
    let settings = &config.provisioning;
    if !settings.serve {
        return Ok(None);
    }
    let (signalling, transport) = match settings.transport {
        config::HandsetTransport::Tls => (chappe_provisioning::Transport::Tls, Transport::Tls),
        config::HandsetTransport::Tcp => (chappe_provisioning::Transport::Tcp, Transport::Tcp),
        config::HandsetTransport::Udp => (chappe_provisioning::Transport::Udp, Transport::Udp),
    };
    let listener = net.listeners().into_iter().find(|listener| listener.transport == transport);
    let usual = if transport == Transport::Tls { 5061 } else { 5060 };
    let port = listener.map(|listener| listener.local.port()).filter(|port| *port != usual);
    let host = config.sip.advertised.as_ref().map_or("", |host| host.as_str());
    // Without a host it is that of the user's domain.
    let proxy = settings.proxy.clone().unwrap_or_else(|| match port {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    });
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let message = (!settings.message_text.is_empty()).then(|| chappe_provisioning::Message {
        title: settings.message_title.clone(),
        text: settings.message_text.clone(),
        accept: settings.message_accept,
        reject: settings.message_reject,
    });
    let orders = chappe_provisioning::Orders::read(&settings.orders, settings.order_everybody);
    let options = provisioning::Options {
        orders: orders.context("provisioning.orders; for everybody see provisioning.order_everybody")?,
        peer_rate: settings.peer_rate,
        peer_burst: settings.peer_burst,
        version: settings.version,
        validity: seconds(settings.validity),
        token_validity: seconds(settings.token_validity),
        gateways: networks(&settings.gateways)?,
        headers: settings.number_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
        proxy,
        signalling,
        media: match signalling {
            chappe_provisioning::Transport::Tls => chappe_provisioning::Transport::Tls,
            _ => chappe_provisioning::Transport::Tcp,
        },
        url: settings.url.clone(),
        factory: (config.group.enabled && config.chat.sessions).then(|| config.group.factory.clone()),
        max_group_size: config.group.max_members,
        max_message: config.message.max_size.bytes() as u64,
        max_file: config.files.serve.then(|| config.files.max_size.bytes() as u64),
        lists: config.xcap.root.clone(),
        message,
    };
    let sms = settings.sms.as_deref().map(str::parse::<provisioning::Sender>).transpose();
    let sender = sms.map_err(|error| anyhow::anyhow!("provisioning.sms: {error}"))?;
    Ok(Some(Provisioning { options, sender }))
}

/// What handsets are told, and how one-time passwords get to them.
pub(super) struct Provisioning {
    pub(super) options: provisioning::Options,
    pub(super) sender: Option<provisioning::Sender>,
}

/// Digest, for SIP and HTTP.
pub(super) fn gate(config: &Config) -> GateConfig {
    let auth = &config.sip.authentication;
    GateConfig {
        algorithms: auth.algorithms.iter().map(|a| algorithm(*a)).collect(),
        qop: vec![Qop::Auth, Qop::AuthInt],
        nonce_lifetime: auth.nonce_lifetime.as_secs(),
        ..GateConfig::default()
    }
}

fn timers(config: &Config) -> Timers {
    let timers = &config.sip.timers;
    Timers { t1: timers.t1, t2: timers.t2, t4: timers.t4, ..Timers::default() }
}

fn settings(config: &Config, echo: Option<String>) -> Settings {
    let registration = &config.sip.registration;
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let types = if config.message.accept.is_empty() { vec!["*".to_owned()] } else { config.message.accept.clone() };
    Settings {
        domains: config.domains.iter().map(|d| d.as_str().into()).collect(),
        limits: chappe_sip::Limits {
            message: config.sip.limits.max_message_size.bytes(),
            head: config.sip.limits.max_header_size.bytes(),
            headers: config.sip.limits.max_headers as usize,
            ..chappe_sip::Limits::default()
        },
        proxy: ProxyPolicy { max_breadth: config.sip.limits.max_breadth, ..ProxyPolicy::default() },
        registrar: registrar::Policy {
            default_expires: seconds(registration.default_expires),
            min_expires: seconds(registration.min_expires),
            max_expires: seconds(registration.max_expires),
            max_bindings: registration.max_bindings as usize,
            ..registrar::Policy::default()
        },
        message: MessagePolicy {
            max_size: config.message.max_size.bytes(),
            types,
            default_expires: config.message.default_expires.as_secs(),
            max_expires: config.message.max_expires.as_secs(),
        },
        queue_per_user: config.message.queue_per_user.into(),
        challenge: match config.sip.authentication.require {
            config::Require::Register => Challenge::RegisterOnly,
            config::Require::Local => Challenge::Ours,
            config::Require::All => Challenge::All,
        },
        record_route: config.sip.record_route,
        timer_c: config.sip.timers.timer_c,
        answer_within: ANSWER_WITHIN.min(config.sip.timers.t1 * 20),
        drain_rate: config.message.drain_rate,
        retry_after: seconds(config.limits.overload.retry_after),
        max_store_queue: config.limits.overload.max_store_queue as usize,
        history: config.chat.history,
        echo: echo.map(Into::into),
        calls: chappe_sip::usage::Policy {
            timers: timers(config),
            allow: agent::ALLOW,
            session_expires: seconds(config.sip.timers.session_expires),
            ..chappe_sip::usage::Policy::default()
        },
        call_limits: CallLimits {
            calls: config.sip.limits.max_calls as usize,
            per_peer: config.sip.limits.max_calls_per_peer as usize,
        },
    }
}

/// What the listeners are called, and what counts as this server.
fn faces(config: &Config, net: &Net) -> (Local, Vec<Face>) {
    let mut local = Local::new();
    let mut faces = Vec::new();
    for listener in net.listeners() {
        local.add_listener(listener.transport, &listener.host, listener.port);
        local.add_port(listener.local.port());
        let wildcard = listener.local.ip().is_unspecified() && config.sip.advertised.is_none();
        let loopback = wildcard.then(|| match listener.local {
            SocketAddr::V4(_) => format!("{}:{}", Ipv4Addr::LOCALHOST, listener.local.port()).into(),
            SocketAddr::V6(_) => format!("[::1]:{}", listener.local.port()).into(),
        });
        if listener.local.ip().is_unspecified() {
            local.add_host("127.0.0.1").add_host("::1");
        } else {
            local.add_host(&listener.local.ip().to_string());
        }
        faces.push(Face {
            transport: listener.transport,
            is_ipv6: listener.local.is_ipv6(),
            sent_by: format!("{}:{}", listener.host, listener.port).into(),
            loopback,
        });
    }
    for domain in &config.domains {
        local.add_domain(domain.as_str());
    }
    (local, faces)
}

/// Whether a binding that was just read back can be reached only by a connection that is gone.
pub(super) fn needs_its_connection(binding: &Binding) -> bool {
    if !binding.path().is_empty() || !binding.received().is_empty() {
        return false;
    }
    let Ok(uri) = Uri::parse(binding.contact().as_bytes()) else { return true };
    let behind_flow = binding.reg_id().is_some() && uri.effective_transport() != Transport::Udp;
    behind_flow || uri.effective_transport().is_websocket() || uri.effective_transport().is_secure()
}

pub(super) fn networks(networks: &[config::Network]) -> anyhow::Result<Vec<Network>> {
    networks.iter().map(|n| n.to_string().parse().with_context(|| format!("{n} is not a network"))).collect()
}

pub(super) fn algorithm(algorithm: config::Algorithm) -> chappe_auth::Algorithm {
    match algorithm {
        config::Algorithm::Sha512_256 => chappe_auth::Algorithm::Sha512_256,
        config::Algorithm::Sha256 => chappe_auth::Algorithm::Sha256,
        config::Algorithm::Md5 => chappe_auth::Algorithm::Md5,
    }
}

/// The secret of this node, kept in the data directory, from which all others are derived.
pub(super) struct Keys([u8; 32]);

impl Keys {
    pub(super) fn load(dir: &Path) -> anyhow::Result<Keys> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = dir.join("secret.key");
        let damaged = || format!("{} is not a key of 32 bytes; remove it to have a new one made", path.display());
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Keys(bytes.try_into().ok().with_context(damaged)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = crate::random::bytes::<32>();
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let written = file.and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()));
                written.with_context(|| format!("cannot write {}", path.display()))?;
                Ok(Keys(key))
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.0);
        let tag = ring::hmac::sign(&key, purpose.as_bytes());
        let mut derived = [0; 32];
        derived.copy_from_slice(tag.as_ref());
        derived
    }
}
