//! Requests for the server itself (RFC 3261 §11, §8.2).

use chappe_sip::{HeaderName, Method, Reply};

use crate::service::Request;
use crate::service::notify;
use crate::shard::Turn;

/// Methods that the server takes for itself or for its users.
pub const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, MESSAGE, SUBSCRIBE, NOTIFY, PUBLISH, REFER, INFO, UPDATE, PRACK";
/// Extensions of the registrar and proxy.
pub const SUPPORTED: &str = "path, outbound, gruu, eventlist";

pub fn for_server(turn: &mut Turn<'_>, request: Request) {
    let core = turn.core;
    let message = &request.message;
    if let Some(bytes) = crate::pipeline::bad_extension(turn, message, &["path", "outbound", "gruu", "pref"]) {
        return turn.respond(request.key, 420, bytes);
    }
    let tag = core.tag();
    let (status, reply) = match message.method() {
        Method::Options => (200, Reply::new(message, 200, &tag)),
        Method::Subscribe | Method::Publish => {
            (489, Reply::new(message, 489, &tag).header(HeaderName::AllowEvents, notify::EVENTS))
        }
        // A method we know, but there is nobody of that name.
        Method::Message | Method::Invite => (404, Reply::new(message, 404, &tag)),
        Method::Other => (501, Reply::new(message, 501, &tag)),
        _ => (405, Reply::new(message, 405, &tag)),
    };
    let mut reply = reply.header(HeaderName::Allow, ALLOW);
    if status == 200 {
        reply = reply
            .header(HeaderName::Supported, SUPPORTED)
            .header(HeaderName::Accept, "application/sdp, message/cpim, message/imdn+xml, text/plain")
            .header(HeaderName::AcceptEncoding, "identity")
            .header(HeaderName::AcceptLanguage, "en")
            .header(HeaderName::AllowEvents, notify::EVENTS);
    }
    turn.respond(request.key, status, reply.finish());
}
