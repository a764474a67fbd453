//! Route information preprocessing (RFC 3261 §16.4): whose request is this, and which Route values are ours.

use std::borrow::Cow;

use super::local::Local;
use crate::header::NameAddr;
use crate::message::Message;
use crate::name::HeaderName;
use crate::text;
use crate::uri::Uri;

/// Whom the Request-URI names (§16.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// This server itself: our host or domain without a user.
    Server,
    /// A user of ours; the location service has the targets.
    User,
    /// Another domain, a contact, or a URI that is not sip: the Request-URI is the only target.
    Elsewhere,
}

/// What a request looks like once our own Route values are taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed<'m> {
    /// The Request-URI to go on with: another than received after a strict router or with our maddr.
    pub request_uri: Cow<'m, str>,
    /// Route values to remove from the top: ours, two of them after double Record-Route.
    pub remove_routes: usize,
    /// The last Route value has become the Request-URI and goes too (a strict router sent this).
    pub remove_last_route: bool,
    /// User part of our Route value, as we or the edge wrote it: opaque here. The lowest of those removed, for that is
    /// the side the request leaves on. It may name the flow the request came on: then it says nothing (RFC 5626
    /// §5.3).
    pub flow_token: Option<&'m str>,
    /// The Route value with the token has `ob`, so it was made from a Path (RFC 5626 §5.3.1).
    pub outbound: bool,
    /// The URI of the first Route value that remains: where the request goes.
    pub next_route: Option<&'m str>,
    pub destination: Destination,
    /// The To has a tag.
    pub in_dialog: bool,
}

/// Reads the Route values of a request that came in on `listener` (an index of [`Local`]). A request that
/// [`super::validate`] refuses is not meant for here; nonsense in it leads to `Elsewhere`.
pub fn route<'m>(request: &'m Message, local: &Local, listener: u16) -> Routed<'m> {
    let received = std::str::from_utf8(request.uri()).unwrap_or_default();
    let mut routed = Routed {
        request_uri: Cow::Borrowed(received),
        remove_routes: 0,
        remove_last_route: false,
        flow_token: None,
        outbound: false,
        next_route: None,
        destination: Destination::Elsewhere,
        in_dialog: !request.to_tag().is_empty(),
    };
    let mut uri = Uri::parse(request.uri()).ok();

    // A strict router puts our Record-Route value, known by its lr, into the Request-URI.
    let mut values = usize::MAX;
    if let Some(ours) = uri.filter(|u| u.param("lr").is_some() && local.is_our_uri(u))
        && let Some(last) = request.values(HeaderName::Route).last().and_then(route_uri)
    {
        routed.note_token(&ours);
        routed.remove_last_route = true;
        values = request.values(HeaderName::Route).count() - 1;
        uri = Uri::parse(last.as_bytes()).ok();
        routed.request_uri = Cow::Borrowed(last);
    }

    for value in request.values(HeaderName::Route).take(values) {
        let Some(text) = route_uri(value) else { break };
        let ours = Uri::parse(text.as_bytes()).ok().filter(|u| local.is_our_uri(u));
        match ours {
            Some(ours) if routed.remove_routes < 2 => {
                routed.note_token(&ours);
                routed.remove_routes += 1;
            }
            _ => {
                routed.next_route = Some(text);
                break;
            }
        }
    }

    if let Some(target) = &uri {
        routed.destination = match target.param("maddr") {
            Some(maddr) if maddr_is_us(target, maddr, local, listener) => {
                let stripped = without_address_params(target);
                let destination = Uri::parse(stripped.as_bytes()).map_or(Destination::Elsewhere, |u| whose(&u, local));
                routed.request_uri = Cow::Owned(stripped);
                destination
            }
            // §16.5: a maddr that is not ours decides alone.
            Some(_) => Destination::Elsewhere,
            None => whose(target, local),
        };
    }
    routed
}

impl<'m> Routed<'m> {
    fn note_token(&mut self, ours: &Uri<'m>) {
        if !ours.user.is_empty() {
            self.flow_token = Some(ours.user);
            self.outbound = ours.param("ob").is_some();
        }
    }
}

/// The URI of a Route value, `None` where it is malformed.
pub(super) fn route_uri(value: &[u8]) -> Option<&str> {
    NameAddr::parse(value).ok().and_then(|addr| std::str::from_utf8(addr.uri).ok())
}

fn whose(uri: &Uri<'_>, local: &Local) -> Destination {
    match local.is_our_uri(uri) {
        true if uri.user.is_empty() => Destination::Server,
        true => Destination::User,
        false => Destination::Elsewhere,
    }
}

/// Whether maddr is ours and the request came to the port and transport that the URI means.
fn maddr_is_us(uri: &Uri<'_>, maddr: &str, local: &Local, listener: u16) -> bool {
    let Some(listener) = local.listener(listener) else { return false };
    let transport = uri.effective_transport();
    let port = uri.port.unwrap_or(transport.default_port());
    (local.is_host(maddr) || local.is_domain(maddr)) && listener.transport == transport && listener.port == port
}

/// The URI without maddr, port and transport.
fn without_address_params(uri: &Uri<'_>) -> String {
    let mut out = String::with_capacity(uri.text.len());
    let after_scheme = uri.text.find(':').map_or(0, |at| at + 1);
    out.push_str(&uri.text[..after_scheme]);
    if !uri.user.is_empty() {
        out.push_str(uri.user);
        if let Some(password) = uri.password {
            out.push(':');
            out.push_str(password);
        }
        out.push('@');
    }
    out.push_str(uri.host);
    for (name, value) in text::params(uri.params.as_bytes(), b';') {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), value.map(std::str::from_utf8).transpose()) else {
            continue;
        };
        if name.eq_ignore_ascii_case("maddr") || name.eq_ignore_ascii_case("transport") {
            continue;
        }
        out.push(';');
        out.push_str(name);
        if let Some(value) = value {
            out.push('=');
            out.push_str(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::validate::tests::{local, request};

    #[test]
    fn our_own_route_values_come_off() {
        for (name, uri, extra, removed, next, token, destination) in [
            ("no Route", "sip:a@example.com", "", 0, None, None, Destination::User),
            ("server", "sip:example.com", "", 0, None, None, Destination::Server),
            ("elsewhere", "sip:a@example.org", "", 0, None, None, Destination::Elsewhere),
            ("a contact on our host", "sip:a@192.0.2.1:9999", "", 0, None, None, Destination::Elsewhere),
            ("tel", "tel:+1", "Route: <sip:192.0.2.1;lr>\r\n", 1, None, None, Destination::Elsewhere),
            (
                "ours, then another",
                "sip:a@example.org",
                "Route: <sip:192.0.2.1:5060;lr>, \"x\" <sip:p2.example.org;lr>;x=y\r\n",
                1,
                Some("sip:p2.example.org;lr"),
                None,
                Destination::Elsewhere,
            ),
            (
                "double, over two lines",
                "sip:a@example.org",
                "Route: <sip:tok1@192.0.2.1;lr>\r\nRoute: <sip:tok2@192.0.2.1;transport=tcp;lr>,<sip:p3;lr>\r\n",
                2,
                Some("sip:p3;lr"),
                Some("tok2"),
                Destination::Elsewhere,
            ),
            (
                "token above a plain value",
                "sip:a@example.org",
                "Route: <sip:tok1@192.0.2.1;lr>, <sip:192.0.2.1;transport=tcp;lr>\r\n",
                2,
                None,
                Some("tok1"),
                Destination::Elsewhere,
            ),
            (
                "not ours",
                "sip:a@example.com",
                "Route: <sip:p9.example.org;lr>\r\n",
                0,
                Some("sip:p9.example.org;lr"),
                None,
                Destination::User,
            ),
        ] {
            let request = request("INVITE", uri, extra);
            let got = route(&request, &local(), 0);
            assert_eq!(
                (got.remove_routes, got.next_route, got.flow_token, got.destination),
                (removed, next, token, destination),
                "{name}"
            );
            assert_eq!((&*got.request_uri, got.remove_last_route, got.in_dialog), (uri, false, false), "{name}");
        }
    }

    #[test]
    fn a_strict_router_upstream_is_repaired() {
        let extra = "Route: <sip:p1.example.com;lr>\r\nRoute: <sip:caller@u1.example.com>\r\n";
        let request = request("BYE", "sip:192.0.2.1;lr", extra);
        let got = route(&request, &local(), 0);
        assert_eq!(got.request_uri, "sip:caller@u1.example.com");
        assert_eq!((got.remove_routes, got.remove_last_route), (0, true));
        assert_eq!(got.next_route, Some("sip:p1.example.com;lr"));
    }

    #[test]
    fn a_strict_router_between_two_of_our_listeners() {
        let extra = "Route: <sip:tokb@192.0.2.1;transport=tcp;lr>, <sip:b@198.51.100.7:40000>\r\n";
        let request = request("BYE", "sip:toka@192.0.2.1;lr", extra);
        let got = route(&request, &local(), 0);
        assert_eq!(got.request_uri, "sip:b@198.51.100.7:40000");
        assert_eq!((got.remove_routes, got.remove_last_route, got.flow_token), (1, true, Some("tokb")));
        assert_eq!(got.next_route, None);
    }

    #[test]
    fn maddr_that_is_ours_is_stripped() {
        for (uri, listener, expected, destination) in [
            ("sip:a:pw@example.com:5060;maddr=192.0.2.1;x=y;lr", 0, "sip:a:pw@example.com;x=y;lr", Destination::User),
            ("sip:example.com;transport=TCP;maddr=192.0.2.1", 1, "sip:example.com", Destination::Server),
            (
                "sip:a@example.com;transport=TCP;maddr=192.0.2.1",
                0,
                "sip:a@example.com;transport=TCP;maddr=192.0.2.1",
                Destination::Elsewhere,
            ),
            ("sip:a@example.com;maddr=198.51.100.1", 0, "sip:a@example.com;maddr=198.51.100.1", Destination::Elsewhere),
        ] {
            let request = request("INVITE", uri, "");
            let got = route(&request, &local(), listener);
            assert_eq!((&*got.request_uri, got.destination), (expected, destination), "{uri}");
        }
    }

    #[test]
    fn a_path_gives_the_token_and_ob() {
        let request = request("INVITE", "sip:a@198.51.100.7", "Route: <sip:tok%2F=@192.0.2.1;lr;ob>\r\n");
        let got = route(&request, &local(), 0);
        assert_eq!((got.flow_token, got.outbound), (Some("tok%2F="), true));
    }
}
