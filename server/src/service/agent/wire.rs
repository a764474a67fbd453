//! Where the requests of a call go.

use std::sync::Arc;

use chappe_sip::layer::Dest;
use chappe_sip::usage::{Outgoing, RequestId};
use chappe_sip::{Transport, Uri, proxy};

use super::calls::{Call, settle};
use crate::core::Core;
use crate::hops::Hop;
use crate::service::pager::is_alive;
use crate::service::proxy::registered_hop;
use crate::shard::Turn;
use crate::work::Token;

/// Our Contact for the other end of `dest`, with its brackets.
pub(super) fn contact(core: &Core, dest: &Dest, params: &str) -> String {
    if params.starts_with('<') {
        return params.to_owned();
    }
    let host = core.hops.sent_by(dest);
    match dest.transport() {
        Transport::Udp => format!("<sip:{host}>{params}"),
        transport => format!("<sip:{host};transport={}>{params}", transport.param()),
    }
}

/// A hop that needs no name to be looked up.
pub(super) fn known(hop: Hop) -> Result<Dest, u16> {
    match hop {
        Hop::Known(dest) => Ok(dest),
        Hop::Name | Hop::Gone => Err(430),
        Hop::Unsupported => Err(480),
    }
}

pub(super) async fn resolve(core: &Core, uri: &str) -> Option<Dest> {
    core.resolve(&Uri::parse(uri.as_bytes()).ok()?).await
}

/// Down the flow on which the peer was last heard, where it lives and no proxy stands between; else by the dialog's
/// route, or to where the peer is registered now.
fn hop(core: &Core, call: &Call, request: &Outgoing) -> Hop {
    if &*request.method == "INVITE" && call.usage.dialog().is_none() {
        return Hop::Known(call.first);
    }
    if let Some(flow) = call.flow.filter(|flow| request.direct && is_alive(core, flow)) {
        return Hop::Known(flow.into());
    }
    let Ok(uri) = Uri::parse(request.next_hop.as_bytes()) else { return Hop::Unsupported };
    let registered = request.direct.then(|| registered_hop(core, &uri)).flatten();
    registered.unwrap_or_else(|| core.hops.of_uri(&uri, request.secure))
}

/// The Via of a request to `dest`, and where its branch begins.
fn via(core: &Core, dest: &Dest) -> (String, usize) {
    let mut via = format!("SIP/2.0/{} {};branch=", dest.transport().via(), core.hops.sent_by(dest));
    let at = via.len();
    proxy::branch(&mut via, "", core.serial(), None);
    (via, at)
}

/// Sends a request in a transaction.
pub(super) fn request(turn: &mut Turn<'_>, number: u32, request: Outgoing) {
    let Some(call) = turn.shard.calls.get_mut(number) else { return };
    match hop(turn.core, call, &request) {
        Hop::Known(dest) => send(turn, number, &request, dest),
        Hop::Name => {
            later(turn, number, request, |turn, number, request, dest| match dest {
                Some(dest) => send(turn, number, request, dest),
                None => failed(turn, number, request.id),
            });
        }
        Hop::Gone | Hop::Unsupported => failed(turn, number, request.id),
    }
}

/// Sends an ACK, for which nobody waits.
pub(super) fn ack(turn: &mut Turn<'_>, number: u32, ack: Outgoing) {
    let Some(call) = turn.shard.calls.get_mut(number) else { return };
    let send = |turn: &mut Turn<'_>, ack: &Outgoing, dest: Dest| {
        let (via, _) = via(turn.core, &dest);
        turn.shard.send_stateless(dest, ack.with_via(&via));
    };
    match hop(turn.core, call, &ack) {
        Hop::Known(dest) => send(turn, &ack, dest),
        Hop::Name => later(turn, number, ack, move |turn, _, ack, dest| {
            if let Some(dest) = dest {
                send(turn, ack, dest);
            }
        }),
        Hop::Gone | Hop::Unsupported => {}
    }
}

fn send(turn: &mut Turn<'_>, number: u32, request: &Outgoing, dest: Dest) {
    let (via, at) = via(turn.core, &dest);
    let user = Token::of_call(number, request.id.0).0;
    let (bytes, method) = (request.with_via(&via), request.method.as_bytes());
    match turn.shard.layer.request(turn.now, dest, bytes, &via.as_bytes()[at..], method, user) {
        Ok(client) => {
            if let Some(call) = turn.shard.calls.get_mut(number)
                && &*request.method == "INVITE"
            {
                call.client = Some((request.id, client));
            }
        }
        Err(_) => failed(turn, number, request.id),
    }
}

fn failed(turn: &mut Turn<'_>, number: u32, id: RequestId) {
    let now = turn.now;
    if let Some(call) = turn.shard.calls.get_mut(number) {
        call.usage.handle_failure(now, id, 503);
        settle(turn, number);
    }
}

/// Looks the next hop up, and goes on in the same shard.
fn later(
    turn: &Turn<'_>,
    number: u32,
    request: Outgoing,
    work: impl FnOnce(&mut Turn<'_>, u32, &Outgoing, Option<Dest>) + Send + 'static,
) {
    let (core, cell) = (Arc::clone(turn.core), turn.cell);
    core.runtime.clone().spawn(async move {
        let dest = resolve(&core, &request.next_hop).await;
        core.visit_cell(cell, |turn| {
            // It may have been given up meanwhile.
            let call = turn.shard.calls.get_mut(number);
            if call.is_some_and(|call| call.usage.is_under_way(request.id)) {
                work(turn, number, &request, dest);
            }
        });
    });
}
