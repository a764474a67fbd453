//! Who gets credentials for the relay, and where it is said to be.

use std::sync::Arc;
use std::time::Duration;

use chappe_api::contacts::RestReply;
use chappe_api::turn::{RelayCall, Relays};
use chappe_webrtc_gw::io::turn::Relay;
use chappe_webrtc_gw::turn::Authority;
use chappe_xcap::percent_decode;
use serde_json::json;

use super::wiring;
use crate::config::Config;
use crate::core::{Core, epoch_seconds};
use crate::xcap::owner_of;

const NOTHING: &str = "SVC0001";
const INVALID: &str = "SVC0002";
const PRIVACY: &str = "POL0002";

/// The relay of a node, or one elsewhere, for HTTP.
pub struct TurnDoor {
    core: Arc<Core>,
    authority: Authority,
    /// What is told instead of the listeners.
    uris: Vec<String>,
    lifetime: Duration,
}

impl TurnDoor {
    /// `key`: see [`wiring::open`].
    #[must_use]
    pub fn new(core: Arc<Core>, config: &Config, key: &[u8]) -> TurnDoor {
        let turn = &config.media.turn;
        let authority = Authority::new(&wiring::realm(config), &wiring::secret(config, key));
        TurnDoor { core, authority, uris: turn.uris.clone(), lifetime: turn.credential_lifetime }
    }

    /// Where the relay is, for somebody who calls this server `host`.
    fn uris(&self, host: &str) -> Vec<String> {
        if !self.uris.is_empty() {
            return self.uris.clone();
        }
        self.core.media().and_then(|media| media.relay.as_ref()).map_or_else(Vec::new, |relay| listeners(relay, host))
    }
}

fn listeners(relay: &Relay, host: &str) -> Vec<String> {
    let uri = |listen| {
        let host = match relay.address(listen) {
            Some(ip) if ip.is_ipv6() => format!("[{ip}]"),
            Some(ip) => ip.to_string(),
            None => host.to_owned(),
        };
        let transport = if listen.stream { "tcp" } else { "udp" };
        // RFC 7065 §3.1.
        (!host.is_empty()).then(|| format!("turn:{host}:{}?transport={transport}", listen.address.port()))
    };
    relay.local().iter().filter_map(uri).collect()
}

impl Relays for TurnDoor {
    fn credentials(&self, call: &RelayCall) -> RestReply {
        let Ok(asked) = percent_decode(&call.path) else {
            return RestReply::Refused(400, INVALID, "user".into());
        };
        if owner_of(&self.core, &asked).is_none_or(|owner| owner != call.user.aor) {
            return RestReply::Refused(403, PRIVACY, asked);
        }
        let uris = self.uris(&call.host);
        if uris.is_empty() {
            return RestReply::Refused(404, NOTHING, "no relay".into());
        }
        let lifetime = self.lifetime.as_secs();
        let grant = self.authority.grant(&call.user.aor, epoch_seconds() + lifetime);
        let shown = json!({
            "username": grant.username, "password": grant.password, "ttl": lifetime, "uris": uris,
        });
        RestReply::Shown(200, shown)
    }
}
