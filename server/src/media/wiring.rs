//! From the configuration to the gateway, and from the gateway to the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chappe_webrtc_gw::io::turn::{Listen, Relay, RelaySettings};
use chappe_webrtc_gw::io::{Gateway, Settings};
use chappe_webrtc_gw::turn;

use super::Media;
use crate::config::{Config, TurnScheme};
use crate::listeners::Listeners;
use crate::metrics::{Exposition, Kind};

/// Opens the gateway. Without its port everything but calls between browsers and phones works, and so the node starts.
/// `key`: from which credentials for the relay are made, unless the configuration has another one.
#[must_use]
pub fn open(config: &Config, listeners: &Listeners, key: &[u8]) -> Option<Arc<Media>> {
    let media = &config.media;
    let settings = Settings {
        listen: media.listen.address,
        advertised: media.advertised,
        ports: (media.first_port, media.last_port),
        calls: media.max_calls as usize,
        stun: media.stun,
    };
    match Gateway::open(settings) {
        Ok(gateway) => {
            listeners.add("media", format!("udp://{}", gateway.local()));
            let relay = open_relay(config, listeners, &gateway, key);
            Some(Arc::new(Media::new(gateway, relay)))
        }
        Err(error) => {
            let listen = media.listen.address;
            tracing::error!(%error, %listen, "the media port (media.listen) cannot be opened: browsers and phones cannot call each other");
            None
        }
    }
}

/// Opens the relay; without it everything works for who is reached without one.
fn open_relay(config: &Config, listeners: &Listeners, gateway: &Arc<Gateway>, key: &[u8]) -> Option<Arc<Relay>> {
    let turn = &config.media.turn;
    if turn.listen.is_empty() {
        return None;
    }
    let listen =
        turn.listen.iter().map(|listen| Listen { stream: listen.scheme == TurnScheme::Tcp, address: listen.address });
    let settings = RelaySettings {
        listen: listen.collect(),
        realm: realm(config),
        secret: secret(config, key),
        limits: turn::Limits {
            allocations: turn.max_allocations as usize,
            per_user: turn.max_per_user as usize,
            rate: turn.rate.0,
            stun: config.media.stun,
        },
        allowed: turn.peers.iter().map(crate::config::Network::parts).collect(),
        connections: 2 * turn.max_allocations as usize,
    };
    match Relay::open(Arc::clone(gateway), settings) {
        Ok(relay) => {
            for listen in relay.local() {
                let scheme = if listen.stream { "tcp" } else { "udp" };
                listeners.add("turn", format!("{scheme}://{}", listen.address));
            }
            Some(relay)
        }
        Err(error) => {
            let listen: Vec<String> = turn.listen.iter().map(ToString::to_string).collect();
            let listen = listen.join(", ");
            tracing::error!(%error, listen, "the relay (media.turn.listen) cannot be opened: browsers that reach nobody else cannot call");
            None
        }
    }
}

/// Who the relay says it is.
pub fn realm(config: &Config) -> String {
    config.domains.first().map_or_else(|| "localhost".to_owned(), ToString::to_string)
}

/// From which credentials for the relay are made.
pub fn secret(config: &Config, key: &[u8]) -> Vec<u8> {
    config.media.turn.secret.as_ref().map_or_else(|| key.to_vec(), |secret| secret.expose().as_bytes().to_vec())
}

impl Media {
    /// What the gateway counts.
    pub fn write_metrics(&self, out: &mut Exposition) {
        if let Some(relay) = &self.relay {
            write_relay(relay, out);
        }
        let (gateway, totals, sum) = (&self.gateway, self.gateway.totals(), self.gateway.counters());
        let load = |total: &AtomicU64| total.load(Ordering::Relaxed);
        out.family("chappe_media_calls", Kind::Gauge, "Calls that the media gateway carries now.")
            .sample(&[], gateway.len());
        for (name, help, value) in [
            ("chappe_media_calls_total", "Calls that the media gateway began to carry.", load(&totals.calls)),
            ("chappe_media_refused_total", "Calls refused since too many were carried.", load(&totals.refused)),
            ("chappe_media_expired_total", "Calls ended since a browser was silent.", load(&totals.expired)),
            ("chappe_media_packets_received_total", "RTP packets from either side of carried calls.", sum.packets_in),
            ("chappe_media_packets_sent_total", "RTP packets to either side of carried calls.", sum.packets_out),
            ("chappe_media_bad_packets_total", "Datagrams of carried calls that were not taken.", sum.bad),
            ("chappe_media_dropped_packets_total", "RTP packets that could not be passed on.", sum.dropped),
            (
                "chappe_media_strangers_total",
                "Datagrams of the media port that belong to no call.",
                load(&totals.strangers),
            ),
            ("chappe_media_stun_total", "Questions for an address that the media port answered.", load(&totals.stun)),
        ] {
            out.family(name, Kind::Counter, help).sample(&[], value);
        }
    }
}

/// What the relay counts.
fn write_relay(relay: &Relay, out: &mut Exposition) {
    let report = relay.report();
    let counters = report.counters;
    out.family("chappe_turn_allocations", Kind::Gauge, "Addresses that clients of the relay have now.")
        .sample(&[], report.allocations);
    out.family("chappe_turn_connections", Kind::Gauge, "TCP connections to the relay.").sample(&[], report.connections);
    for (name, help, value) in [
        ("chappe_turn_allocations_total", "Addresses that the relay gave to clients.", counters.allocated),
        (
            "chappe_turn_challenged_total",
            "Requests to the relay without credentials that count; the first of each client is one.",
            counters.challenged,
        ),
        ("chappe_turn_full_total", "Requests that the relay refused since a user or all had enough.", counters.full),
        ("chappe_turn_forbidden_total", "Peers that clients of the relay may not send to.", counters.forbidden),
        ("chappe_turn_packets_to_peers_total", "Datagrams of clients that the relay sent.", counters.packets_to_peers),
        ("chappe_turn_bytes_to_peers_total", "Bytes in them.", counters.bytes_to_peers),
        (
            "chappe_turn_packets_to_clients_total",
            "Datagrams for clients that the relay passed on.",
            counters.packets_to_clients,
        ),
        ("chappe_turn_bytes_to_clients_total", "Bytes in them.", counters.bytes_to_clients),
        ("chappe_turn_dropped_total", "Datagrams without permission, or above the rate.", counters.dropped),
        ("chappe_turn_malformed_total", "Messages to the relay that are none of TURN.", counters.malformed),
    ] {
        out.family(name, Kind::Counter, help).sample(&[], value);
    }
}
