//! Signs of typing (RFC 3994): shown now or never, in sessions and by MESSAGE.

use std::sync::Arc;

use chappe_chat::Envelope;
use chappe_chat::envelope::{Body, Stamp};
use chappe_sip::header::Date;
use chappe_sip::registrar::{Binding, targets};

use super::{Access, Capabilities, intake, may_have_sessions};
use crate::core::{Core, epoch_seconds};
use crate::hops::Hop;
use crate::service::drain;
use crate::service::pager::is_alive;
use crate::work::Token;

/// Shows the devices of a user that have a session that the peer types; how many.
fn show(core: &Core, user: &str, peer: &str, envelope: &Envelope) -> usize {
    core.chat.of_user(user, peer).iter().filter(|line| line.show(envelope)).count()
}

/// What a peer says by MESSAGE goes into the sessions of the user's devices, and to those that know MESSAGE only; `false` where
/// there is no session: then the MESSAGE can go as it is.
pub fn composing(core: &Arc<Core>, user: &str, peer: &str, envelope: &Envelope) -> bool {
    let shown = show(core, user, peer, envelope) > 0;
    if shown {
        page(core, user, peer, envelope);
    }
    shown
}

/// What a peer says in a session. `paged`: also to devices that know MESSAGE only.
pub(super) fn said(core: &Arc<Core>, user: &str, peer: &str, envelope: &Envelope, paged: bool) {
    show(core, user, peer, envelope);
    if paged {
        page(core, user, peer, envelope);
    }
}

/// Sends it to the devices that are there and take RCS messages by MESSAGE only. What they answer does not matter.
fn page(core: &Arc<Core>, user: &str, peer: &str, envelope: &Envelope) {
    let takes = |binding: &Binding| {
        let device = || Capabilities::of(binding.params(), binding.user_agent());
        may_have_sessions(binding) && matches!(device(), it if it.access() == Access::Pager && it.standalone)
    };
    let devices: Vec<Binding> = core.location.with(user, |bindings| {
        let found = targets(bindings, epoch_seconds(), |flow| is_alive(core, flow), |_| true);
        found.iter().map(|target| target.binding).filter(|binding| takes(binding)).cloned().collect()
    });
    if devices.is_empty() {
        return;
    }
    let mut envelope = envelope.clone();
    (envelope.from, envelope.to) = (intake::uri(peer).into(), intake::uri(user).into());
    let domain = core.settings.domains.first().map_or("localhost", |domain| domain);
    let date = Date::from_unix(epoch_seconds()).to_string();
    let Body { content_type, bytes } = envelope.for_message();
    for device in devices {
        // Who is named by a host name is told nothing that would be old when DNS has answered.
        let Hop::Known(dest) = core.way_to(&device) else { continue };
        let call_id = format!("{}@{domain}", core.tag());
        let (headers, _) = envelope.to_stored(&Stamp { call_id: &call_id, tag: &core.tag(), date: &date });
        let headers = chappe_chat::stored::with_content(&headers, &content_type);
        core.visit(call_id.as_bytes(), |turn| {
            // A full table of transactions loses a sign of typing.
            let _ = drain::launch(turn, &device, dest, &headers, &bytes, Token(0));
        });
    }
}
