//! How a device talks (RFC 8829 or RFC 3551), before it has said so.

use chappe_sip::{HeaderName, Message, Transport};
use chappe_webrtc_gw::Dialect;

/// What a request or response has to say about media; empty where it is nothing that can be read.
pub(super) fn description(message: &Message) -> &[u8] {
    let is_sdp = message
        .header(HeaderName::ContentType)
        .is_some_and(|value| chappe_sip::header::ContentType::parse(value).is_ok_and(|t| t.is("application/sdp")));
    if is_sdp { message.body() } else { b"" }
}

/// How somebody talks who is reached over this transport: only browsers come by WebSocket, and they know nothing else.
pub(super) fn usual(transport: Transport) -> Dialect {
    if transport.is_websocket() { Dialect::Browser } else { Dialect::Plain }
}

/// How the caller talks: as its offer does, else as is usual. `None` where the call is not about sound and pictures.
pub(super) fn of_caller(request: &Message, transport: Transport) -> Option<Dialect> {
    match description(request) {
        b"" if request.body().is_empty() => Some(usual(transport)),
        sdp => Dialect::of(sdp),
    }
}

/// The dialects to try with a device, in order; the next one after a 488. `None` leaves the offer as it is.
pub(super) fn attempts(caller: Dialect, device: Transport) -> [Option<Option<Dialect>>; 3] {
    match (caller, usual(device)) {
        (Dialect::Browser, Dialect::Browser) => [Some(None), Some(Some(Dialect::Plain)), None],
        (Dialect::Browser, _) => [Some(Some(Dialect::Plain)), Some(Some(Dialect::Sdes)), Some(None)],
        (_, Dialect::Browser) => [Some(Some(Dialect::Browser)), Some(None), None],
        _ => [Some(None), Some(Some(Dialect::Browser)), None],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_with_whom() {
        use Dialect::{Browser, Plain, Sdes};
        for (caller, device, expected) in [
            (Browser, Transport::Wss, vec![None, Some(Plain)]),
            (Browser, Transport::Udp, vec![Some(Plain), Some(Sdes), None]),
            (Plain, Transport::Ws, vec![Some(Browser), None]),
            (Sdes, Transport::Wss, vec![Some(Browser), None]),
            (Plain, Transport::Tls, vec![None, Some(Browser)]),
        ] {
            let tried: Vec<_> = attempts(caller, device).into_iter().flatten().collect();
            assert_eq!(tried, expected, "{caller:?} to {device:?}");
        }
    }
}
