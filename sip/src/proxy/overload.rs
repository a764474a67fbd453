//! Which requests to keep when there are too many (RFC 7339 §5.10.1, RFC 4412, RFC 5031).

use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::text;

/// In order of weight: what comes later is shed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Never shed.
    Emergency,
    /// Ends, keeps up or confirms what exists: shedding it makes more load than it saves.
    InDialog,
    /// A device that was let in before stays reachable; refused, it comes back with more.
    Refresh,
    /// New calls and messages.
    New,
    /// What nobody waits for: subscriptions, publications, capability polls, first registrations.
    Background,
}

/// The class of a request. `believed` says that the peer is of the trust domain, or its user may ask for priority:
/// otherwise the headers that anybody can write (Priority, Resource-Priority) do not count, or a flood would carry
/// them.
pub fn class(request: &Message, believed: bool) -> Class {
    if is_emergency_service(request.uri()) || (believed && claims_emergency(request)) {
        return Class::Emergency;
    }
    match request.method() {
        Method::Ack | Method::Bye | Method::Cancel | Method::Prack | Method::Update => Class::InDialog,
        _ if !request.to_tag().is_empty() => Class::InDialog,
        Method::Register if has_credentials(request) => Class::Refresh,
        Method::Register | Method::Subscribe | Method::Publish | Method::Options => Class::Background,
        _ => Class::New,
    }
}

/// `urn:service:sos` and its sub-services (RFC 5031 §4.2), in any case; not `urn:service:sosomething`.
pub fn is_emergency_service(uri: &[u8]) -> bool {
    const SOS: &[u8] = b"urn:service:sos";
    uri.len() >= SOS.len()
        && uri[..SOS.len()].eq_ignore_ascii_case(SOS)
        && matches!(uri.get(SOS.len()), None | Some(b'.' | b';' | b'?' | b'#'))
}

fn claims_emergency(request: &Message) -> bool {
    request.header(HeaderName::Priority).is_some_and(|p| p.eq_ignore_ascii_case(b"emergency"))
        || request.values(HeaderName::ResourcePriority).any(is_emergency_namespace)
}

/// `esnet.0` to `esnet.4` (RFC 7135), and the government namespaces of RFC 4412 §10.
fn is_emergency_namespace(value: &[u8]) -> bool {
    let name = value.split(|b| *b == b'.').next().unwrap_or_default();
    ["esnet", "ets", "wps", "dsn", "drsn", "q735"].iter().any(|n| name.eq_ignore_ascii_case(n.as_bytes()))
}

/// Credentials with a nonce of ours: a device that has been here. The empty ones of a first registration (3GPP TS
/// 24.229 §5.1.1.2.2) do not count.
fn has_credentials(request: &Message) -> bool {
    request.header(HeaderName::Authorization).is_some_and(|value| {
        let after_scheme = value.iter().position(|b| text::is_lws(*b)).unwrap_or(0);
        text::list(&value[after_scheme..]).any(|part| {
            part.len() > 6 && part[..6].eq_ignore_ascii_case(b"nonce=") && !matches!(&part[6..], b"\"\"" | b"")
        }) || value.len() > 7 && value[..7].eq_ignore_ascii_case(b"bearer ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::validate::tests::request;

    #[test]
    fn classes() {
        let with_tag = |method: &str| {
            let text = String::from_utf8(request(method, "sip:a@h", "").bytes().to_vec()).unwrap();
            Message::parse(text.replace("To: <sip:a@example.com>", "To: <sip:a@h>;tag=2").into(), &Default::default())
                .unwrap()
        };
        let challenged = "Authorization: Digest username=\"a\", nonce=\"x\", response=\"y\"\r\n";
        let empty = "Authorization: Digest username=\"a\", nonce=\"\", response=\"\"\r\n";
        for (name, request, believed, expected) in [
            ("sos", request("INVITE", "URN:service:SOS.fire", ""), false, Class::Emergency),
            ("like sos", request("INVITE", "urn:service:sosx", ""), false, Class::New),
            ("claim", request("MESSAGE", "sip:a@h", "Priority: Emergency\r\n"), true, Class::Emergency),
            ("claim of a stranger", request("MESSAGE", "sip:a@h", "Priority: emergency\r\n"), false, Class::New),
            ("esnet", request("INVITE", "sip:a@h", "Resource-Priority: esnet.1\r\n"), true, Class::Emergency),
            ("urgent is not emergency", request("INVITE", "sip:a@h", "Priority: urgent\r\n"), true, Class::New),
            ("ACK", request("ACK", "sip:a@h", ""), false, Class::InDialog),
            ("in dialog", with_tag("MESSAGE"), false, Class::InDialog),
            ("refresh", request("REGISTER", "sip:h", challenged), false, Class::Refresh),
            ("bearer", request("REGISTER", "sip:h", "Authorization: Bearer x\r\n"), false, Class::Refresh),
            ("first REGISTER", request("REGISTER", "sip:h", empty), false, Class::Background),
            ("first REGISTER", request("REGISTER", "sip:h", ""), false, Class::Background),
            ("SUBSCRIBE", request("SUBSCRIBE", "sip:a@h", ""), false, Class::Background),
            ("unknown", request("FOO", "sip:a@h", ""), false, Class::New),
        ] {
            assert_eq!(class(&request, believed), expected, "{name}");
        }
        assert!(Class::Emergency < Class::InDialog && Class::New < Class::Background);
    }
}
