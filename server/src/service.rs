//! The services, one file each, and which of them a request is for.

pub mod agent;
pub mod broadcast;
pub mod capability;
pub mod chat;
pub mod drain;
pub mod echo;
pub mod echo_call;
pub mod group;
pub mod notify;
pub mod options;
pub mod pager;
pub mod presence;
pub mod proxy;
pub mod receipt;
pub mod registrar;
mod rights;

use std::sync::Arc;

use chappe_sip::layer::{Event, ServerKey};
use chappe_sip::outbound::FlowToken;
use chappe_sip::proxy::{Destination, Routed};
use chappe_sip::{Flow, Message, Method, Scheme, Uri};

use crate::directory::Entry;
use crate::lists;
use crate::pipeline::{self, Sender};
use crate::shard::Turn;
use crate::work::{Token, Work};

/// A new request on its way through the services.
pub struct Request {
    pub key: ServerKey,
    pub message: Arc<Message>,
    pub flow: Flow,
    pub sender: Sender,
}

/// Hands a request to its service.
pub fn dispatch(turn: &mut Turn<'_>, request: Request, routed: &Routed<'_>, token: Option<FlowToken>) {
    let message = Arc::clone(&request.message);
    // The flow that the request came on says nothing about where it goes (RFC 5626 §5.3).
    let down = token.filter(|t| t.flow != request.flow);
    if routed.in_dialog || down.is_some() || routed.next_route.is_some() {
        if routed.in_dialog
            && message.method() == Method::Subscribe
            && routed.next_route.is_none()
            && notify::owns(turn, &message)
        {
            return notify::refresh(turn, request);
        }
        if routed.in_dialog && routed.next_route.is_none() && agent::owns(turn, &message) {
            return agent::within(turn, request);
        }
        if !request.sender.may_relay() && routed.destination == Destination::Elsewhere {
            turn.core.counters.relay_denied();
            return turn.answer(request.key, &message, 403);
        }
        return proxy::in_dialog(turn, request, routed, down);
    }

    let uri = match Uri::parse(routed.request_uri.as_bytes()) {
        Ok(uri) => uri,
        Err(error) => return turn.answer(request.key, &message, error.status()),
    };
    match (routed.destination, uri.scheme) {
        (Destination::Server, _) => options::for_server(turn, request),
        (Destination::User, _) | (Destination::Elsewhere, Scheme::Tel) => {
            if let Some(place) = group::place(turn.core, &uri) {
                return group::request(turn, request, place);
            }
            let mut request = request;
            if presence::may_be_list(message.method(), chappe_sip::event::package_name(&message)) {
                request = match presence::list(turn, request, &uri) {
                    Ok(()) => return,
                    Err(request) => request,
                };
            }
            let Some(user) = pipeline::addressee(turn, &uri) else {
                // A temporary GRUU hides its user.
                let Ok(Some(gruu)) = turn.core.gruu.read(&uri) else { return turn.answer(request.key, &message, 404) };
                let user = turn.core.directory.find(gruu.aor.as_str());
                if user.is_none_or(|user| !is_refused(turn, &request, &user)) {
                    proxy::to_gruu(turn, request, routed, gruu);
                }
                return;
            };
            if user.disabled {
                return turn.answer(request.key, &message, 404);
            }
            match message.method() {
                Method::Message if uri.param("gr").is_none() => match &turn.core.settings.echo {
                    Some(echo) if *echo == user.aor => echo::message(turn, request),
                    _ => pager::message(turn, request, routed, user),
                },
                Method::Invite if turn.core.settings.echo.as_ref() == Some(&user.aor) => {
                    echo_call::invite(turn, request)
                }
                Method::Subscribe if notify::is_ours(turn.core, &message, &user) => {
                    notify::subscribe(turn, request, &user)
                }
                Method::Publish => presence::publish(turn, request, &user),
                Method::Invite if uri.param("gr").is_none() => {
                    if let Err(request) = chat::invited(turn, request, &user)
                        && !is_refused(turn, &request, &user)
                    {
                        proxy::to_user(turn, request, routed, &user);
                    }
                }
                _ if is_refused(turn, &request, &user) => {}
                Method::Options if uri.param("gr").is_none() && capability::is_query(turn.core, &message) => {
                    capability::options(turn, request, routed, user);
                }
                _ => match turn.core.gruu.read(&uri) {
                    Ok(Some(gruu)) => proxy::to_gruu(turn, request, routed, gruu),
                    Ok(None) => proxy::to_user(turn, request, routed, &user),
                    Err(error) => turn.answer(request.key, &message, error.status()),
                },
            }
        }
        // Nobody here answers emergency calls; the phone has to use its own network, at once.
        (Destination::Elsewhere, Scheme::Urn) => turn.answer(request.key, &message, 404),
        (Destination::Elsewhere, _) => match request.sender.may_relay() {
            true => proxy::elsewhere(turn, request, routed),
            false => {
                turn.core.counters.relay_denied();
                turn.answer(request.key, &message, 403);
            }
        },
    }
}

/// Turns away who is blocked, as if the user were away: nobody tells that there is a list.
fn is_refused(turn: &mut Turn<'_>, request: &Request, user: &Entry) -> bool {
    // An ACK has no answer.
    let refused = request.message.method() != Method::Ack && lists::is_unwanted(turn.core, user, request);
    if refused {
        turn.core.counters.unwanted();
        turn.answer(request.key, &request.message, 480);
    }
    refused
}

/// Hands a response to the work whose request it answers.
pub fn response(turn: &mut Turn<'_>, user: u64, message: &Message) {
    let token = Token(user);
    if token.call().is_some() {
        return agent::response(turn, token, message);
    }
    match turn.shard.works.take(token) {
        Some(Work::Proxied(work)) => proxy::response(turn, token, work, message),
        Some(Work::Pager(work)) => pager::response(turn, token, work, message.status(), Some(message)),
        Some(Work::Drain(work)) => drain::ended(turn, token, work, message.status()),
        Some(Work::Notify(work)) => notify::ended(turn, token, work, message.status(), Some(message)),
        Some(Work::Capability(work)) => capability::response(turn, token, work, message.status(), Some(message)),
        Some(Work::GroupPage(work)) => group::paged(turn, token, work, message.status()),
        None => {}
    }
}

/// Hands an event of the transaction layer to its work.
pub fn event(turn: &mut Turn<'_>, event: Event) {
    let (user, status) = match event {
        Event::ClientTimeout { user, .. } => (user, 408),
        // The flow or the connection is gone.
        Event::ClientFailed { user, .. } => (user, 430),
        Event::ClientEnded { user, .. } | Event::ServerEnded { user, .. } | Event::ServerTimeout { user, .. } => {
            let token = Token(user);
            if token.call().is_some() {
                if matches!(event, Event::ClientEnded { .. }) {
                    agent::transaction_ended(turn, token);
                }
                return;
            }
            if let Some(Work::Proxied(work)) = turn.shard.works.take(token) {
                proxy::transaction_ended(turn, token, work, &event);
            }
            return;
        }
        Event::ServerFailed { .. } => return,
    };
    let token = Token(user);
    if token.call().is_some() {
        return agent::failed(turn, token, status);
    }
    match turn.shard.works.take(token) {
        Some(Work::Proxied(work)) => proxy::failed(turn, token, work, status),
        Some(Work::Pager(work)) => pager::response(turn, token, work, status, None),
        Some(Work::Drain(work)) => drain::ended(turn, token, work, status),
        Some(Work::Notify(work)) => notify::ended(turn, token, work, status, None),
        Some(Work::Capability(work)) => capability::response(turn, token, work, status, None),
        Some(Work::GroupPage(work)) => group::paged(turn, token, work, status),
        None => {}
    }
}
