//! ACK for a 300-699 and CANCEL: requests made from the INVITE they belong to (RFC 3261 §17.1.1.3, §9.1).

use bytes::Bytes;

use crate::limits::Limits;
use crate::message::Message;
use crate::name::HeaderName;

/// The ACK that an INVITE client transaction sends for a 300-699: everything from the INVITE, To from the response.
pub fn ack_for(invite: &Message, response: &Message) -> Bytes {
    let to = response.header(HeaderName::To).or_else(|| invite.header(HeaderName::To)).unwrap_or(b"");
    derived(invite, "ACK", to, None)
}

/// The CANCEL of a request that has had a provisional response and no final one. `reason` is a Reason value
/// (RFC 3326), such as `SIP;cause=200;text="Call completed elsewhere"`.
pub fn cancel_for(request: &Message, reason: Option<&str>) -> Bytes {
    derived(request, "CANCEL", request.header(HeaderName::To).unwrap_or(b""), reason)
}

fn derived(request: &Message, method: &str, to: &[u8], reason: Option<&str>) -> Bytes {
    let mut out = Vec::with_capacity(384);
    let mut line = |name: &str, value: &[u8]| {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    };
    line(method, &[b" ", request.uri(), b" SIP/2.0"].concat());
    line("Via: ", request.via_text());
    for route in request.headers(HeaderName::Route) {
        line("Route: ", route);
    }
    line("Max-Forwards: ", b"70");
    line("From: ", request.header(HeaderName::From).unwrap_or(b""));
    line("To: ", to);
    line("Call-ID: ", request.call_id());
    line("CSeq: ", format!("{} {method}", request.cseq()).as_bytes());
    if let Some(reason) = reason {
        line("Reason: ", reason.as_bytes());
    }
    line("Content-Length: ", b"0");
    line("", b"");
    out.shrink_to_fit();
    Bytes::from(out)
}

/// Reads a message that this process wrote or has accepted before, so no limit applies.
pub(crate) fn reread(bytes: &Bytes) -> Option<Message> {
    let limits = Limits { message: usize::MAX, head: usize::MAX, headers: usize::MAX, uri: usize::MAX };
    Message::parse(bytes.clone(), &limits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:bob@192.0.2.4 SIP/2.0\r\nv: SIP/2.0/UDP p;branch=z9hG4bKx;rport, SIP/2.0/UDP q\r\n\
        Via: SIP/2.0/TCP r\r\nMax-Forwards: 3\r\nRoute: <sip:a;lr>,<sip:b;lr>\r\nRoute: <sip:c;lr>\r\nRequire: foo\r\n\
        f: \"A\" <sip:a@h>;tag=1\r\nTo: <sip:bob@h>\r\nCall-ID: c1\r\nCSeq: 9 INVITE\r\nContent-Type: application/sdp\r\n\
        Content-Length: 3\r\n\r\nv=0";

    fn text(bytes: Bytes) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn ack_takes_to_from_the_response_and_one_via() {
        let response = "SIP/2.0 486 Busy Here\r\nVia: SIP/2.0/UDP p;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\n\
            t: <sip:bob@h>;tag=77\r\nCall-ID: c1\r\nCSeq: 9 INVITE\r\n\r\n";
        let ack = ack_for(&reread(&INVITE.into()).unwrap(), &reread(&response.into()).unwrap());
        assert_eq!(
            text(ack),
            "ACK sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bKx;rport\r\nRoute: <sip:a;lr>,<sip:b;lr>\r\n\
             Route: <sip:c;lr>\r\nMax-Forwards: 70\r\nFrom: \"A\" <sip:a@h>;tag=1\r\nTo: <sip:bob@h>;tag=77\r\n\
             Call-ID: c1\r\nCSeq: 9 ACK\r\nContent-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn cancel_is_the_request_without_what_asks_for_more() {
        let cancel = cancel_for(&reread(&INVITE.into()).unwrap(), Some("SIP;cause=200"));
        assert_eq!(
            text(cancel),
            "CANCEL sip:bob@192.0.2.4 SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bKx;rport\r\n\
             Route: <sip:a;lr>,<sip:b;lr>\r\nRoute: <sip:c;lr>\r\nMax-Forwards: 70\r\nFrom: \"A\" <sip:a@h>;tag=1\r\n\
             To: <sip:bob@h>\r\nCall-ID: c1\r\nCSeq: 9 CANCEL\r\nReason: SIP;cause=200\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
