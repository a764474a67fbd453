//! From the configuration to the gateway, and from the gateway to the operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chappe_webrtc_gw::io::{Gateway, Settings};

use super::Media;
use crate::config::Config;
use crate::listeners::Listeners;
use crate::metrics::{Exposition, Kind};

/// Opens the gateway. Without its port everything but calls between browsers and phones works, and so the node starts.
#[must_use]
pub fn open(config: &Config, listeners: &Listeners) -> Option<Arc<Media>> {
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
            Some(Arc::new(Media::new(gateway)))
        }
        Err(error) => {
            let listen = media.listen.address;
            tracing::error!(%error, %listen, "the media port (media.listen) cannot be opened: browsers and phones cannot call each other");
            None
        }
    }
}

impl Media {
    /// What the gateway counts.
    pub fn write_metrics(&self, out: &mut Exposition) {
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
