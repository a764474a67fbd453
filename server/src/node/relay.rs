//! From the configuration to the MSRP relay.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chappe_auth::{GateConfig, Ha1Set, Qop, Username};
use chappe_msrp::auth::AuthPolicy;
use chappe_msrp::{Leniency, Limits, OutgoingConfig, relay};
use chappe_net::{ClientAuth, HostPort, ListenerConfig, Net};
use chappe_sip::Transport;

use super::{parts, websocket};
use crate::admission::Offence;
use crate::config::{self, Config, Deviation};
use crate::core::Core;
use crate::directory::Entry;
use crate::msrp::{Accounts, Local, SOCKET_MARK, Settings};

/// Send buffer of the system for each connection: what is in it is in front of what is urgent, and lost with the peer.
const SEND_BUFFER: usize = 256 * 1024;

/// What of that may be unsent: chunks are given 30 s from when they are written, and a slow reader must get to them in that time.
const UNSENT: usize = 32 * 1024;

/// The transport layer: MSRP listeners in their order, then WebSockets of those of HTTP.
pub(super) fn net(config: &Config, http: &[SocketAddr]) -> anyhow::Result<chappe_net::Config> {
    let mut listeners = Vec::new();
    let host = config.msrp.advertised.as_ref();
    let advertise = host.map(|host| HostPort { host: host.as_str().to_owned(), port: None });
    for listen in &config.msrp.listen {
        let transport = match listen.scheme {
            config::MsrpScheme::Tcp => Transport::Tcp,
            config::MsrpScheme::Tls => Transport::Tls,
        };
        let mut listener = ListenerConfig::new(transport, listen.address);
        listener.proxies = parts::networks(&config.msrp.proxy_protocol)?;
        // A peer that connects to a session of ours shows the certificate that its description names, which it has signed
        // itself (RFC 4975 §14.4); who has none goes on without.
        if config.tls.client_auth != config::ClientAuth::Required {
            listener.client_auth = Some(ClientAuth::Fingerprint);
        }
        listeners.push(listener);
    }
    for (listen, address) in config.http.listen.iter().zip(http) {
        let mut listener = ListenerConfig::new(websocket(listen.scheme == config::HttpScheme::Https), *address);
        listener.subprotocol = "msrp";
        listeners.push(listener);
    }
    for listener in &mut listeners {
        listener.raw = true;
        listener.advertise = advertise.clone();
    }
    let limits = &config.msrp.limits;
    let limits = chappe_net::Limits {
        connections: config.limits.connections as usize,
        connections_per_address: config.limits.connections_per_peer as usize,
        handshake_timeout: config.tls.handshake_timeout,
        connect_timeout: Duration::from_secs(10),
        idle: limits.idle_timeout,
        stall: limits.stall_timeout,
        // Streams wait in the relay, by session; control frames and one piece beyond the mark are all that is here.
        backlog: 4 * 1024 * 1024,
        high_mark: SOCKET_MARK,
        low_mark: SOCKET_MARK / 4,
        send_buffer: SEND_BUFFER,
        unsent: UNSENT,
        ..chappe_net::Limits::default()
    };
    let next_hops = config.msrp.next_hops.as_deref().map(parts::networks).transpose()?;
    Ok(chappe_net::Config { listeners, limits, next_hops, tls: parts::tls(config) })
}

pub(super) fn settings(config: &Config) -> anyhow::Result<Settings> {
    let (msrp, session, limits) = (&config.msrp, &config.msrp.session, &config.msrp.limits);
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let window = limits.window.bytes();
    Ok(Settings {
        domains: config.domains.iter().map(|domain| domain.as_str().into()).collect(),
        limits: Limits { head: limits.max_header_size.bytes(), ..Limits::default() },
        leniency: leniency(&msrp.lenient),
        matching: match msrp.matching {
            config::Matching::Strict => relay::Matching::Strict,
            config::Matching::Cema => relay::Matching::Cema,
            config::Matching::Session => relay::Matching::Session,
        },
        auth: AuthPolicy {
            default_expires: seconds(session.default_expires),
            min_expires: seconds(session.min_expires),
            max_expires: seconds(session.max_expires),
            sessions_per_user: session.per_user as usize,
        },
        require_tls: msrp.require_tls,
        block_unknown: msrp.block_unknown_methods,
        sessions: session.max as usize,
        rate: session.rate.0,
        session_idle: millis(session.idle),
        connection_idle: millis(limits.unused_timeout),
        max_chunk: limits.max_chunk.map(config::Size::bytes),
        max_websocket_chunk: limits.max_websocket_chunk.bytes(),
        outgoing: OutgoingConfig { low: window / 4, high: window, ..OutgoingConfig::default() },
        next_hops: msrp.next_hops.as_deref().map(parts::networks).transpose()?,
        endpoint_sessions: msrp.endpoint.max as usize,
        endpoint_memory: msrp.endpoint.memory.bytes(),
        endpoint_queue: msrp.endpoint.queue.bytes(),
        ..Settings::default()
    })
}

pub(super) fn gate(config: &Config) -> GateConfig {
    GateConfig {
        algorithms: config.msrp.algorithms.iter().map(|algorithm| parts::algorithm(*algorithm)).collect(),
        // There is nothing else in MSRP (RFC 4976 §9.1).
        qop: vec![Qop::Auth],
        nonce_lifetime: config.sip.authentication.nonce_lifetime.as_secs(),
        ..GateConfig::default()
    }
}

/// What the relay is called.
pub(super) fn local(config: &Config, net: &Net) -> Local {
    let mut local = Local::new(config.msrp.advertised.as_ref().map(config::Host::as_str));
    for domain in &config.domains {
        local.add_host(domain.as_str());
    }
    local.add_host("localhost");
    for listener in net.listeners() {
        match listener.transport {
            Transport::Ws | Transport::Wss => local.add_port(listener.local),
            transport => local.add_listener(transport.is_secure(), listener.local, &listener.host),
        }
    }
    local
}

fn leniency(deviations: &[Deviation]) -> Leniency {
    let mut all = Leniency::default();
    for deviation in deviations {
        let switch = match deviation {
            Deviation::PathsAnywhere => &mut all.paths_anywhere,
            Deviation::ContentTypeAnywhere => &mut all.content_type_anywhere,
            Deviation::ContentTypeWithoutBody => &mut all.content_type_without_body,
            Deviation::BlankLineWithoutContentType => &mut all.blank_line_without_content_type,
            Deviation::BlankLinesBetweenFrames => &mut all.blank_lines_between_frames,
            Deviation::NoSpaceAfterColon => &mut all.no_space_after_colon,
            Deviation::AnyTransactionId => &mut all.any_transaction_id,
            Deviation::AnyMessageId => &mut all.any_message_id,
            Deviation::KeepAliveWithoutMessageId => &mut all.keep_alive_without_message_id,
            Deviation::UriWithoutTransport => &mut all.uri_without_transport,
            Deviation::RangeFromZero => &mut all.range_from_zero,
            Deviation::RangeWithoutTotal => &mut all.range_without_total,
            Deviation::StatusWithoutNamespace => &mut all.status_without_namespace,
        };
        *switch = true;
    }
    all
}

/// Accounts and bans are those of SIP.
pub(super) struct Shared(pub(super) Arc<Core>);

impl Accounts for Shared {
    fn secrets(&self, name: &Username<'_>, realm: &str) -> Option<(Arc<Entry>, Ha1Set)> {
        self.0.directory.secrets(name, realm)
    }

    fn wrong(&self, peer: IpAddr, unknown: bool) {
        self.0.offence_of(peer, if unknown { Offence::UnknownUser } else { Offence::WrongPassword });
    }

    fn is_banned(&self, peer: IpAddr) -> bool {
        self.0.admission.bans.is_banned(peer, self.0.uptime_ms())
    }
}
