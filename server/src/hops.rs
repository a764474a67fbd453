//! Where a request goes: from a binding or a URI to an address or a flow (RFC 3261 §16.6 step 7, RFC 3263, RFC 5626).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::RandomState;
use chappe_sip::layer::Dest;
use chappe_sip::outbound::FlowTokens;
use chappe_sip::proxy::Local;
use chappe_sip::registrar::Binding;
use chappe_sip::{Flow, Transport, Uri};
use parking_lot::RwLock;

/// TLS servers whose names are remembered for the check of their certificates.
const NAMES: usize = 10_000;

/// What a listener is called in Via and Record-Route.
#[derive(Debug, Clone)]
pub struct Face {
    pub transport: Transport,
    pub is_ipv6: bool,
    /// host:port for everybody.
    pub sent_by: Box<str>,
    /// host:port for peers on this machine, where the listener is bound to every interface.
    pub loopback: Option<Box<str>>,
}

/// The next hop of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    Known(Dest),
    /// The name has to be looked up.
    Name,
    /// The flow is gone (430).
    Gone,
    /// A scheme or transport that we cannot send to.
    Unsupported,
}

/// Listeners and names.
#[derive(Default)]
pub struct Hops {
    faces: Vec<Face>,
    names: RwLock<HashMap<SocketAddr, Arc<str>, RandomState>>,
}

impl Hops {
    /// In the order of the listeners' indexes.
    pub fn new(faces: Vec<Face>) -> Hops {
        Hops { faces, names: RwLock::default() }
    }

    /// host:port that the Via of a packet to `dest` names.
    pub fn sent_by(&self, dest: &Dest) -> &str {
        match dest {
            Dest::Flow(flow) => self.sent_by_of(flow.listener, flow.remote.ip()),
            Dest::Address { transport, address } => {
                let fits = |f: &&Face| f.transport == *transport && f.is_ipv6 == address.is_ipv6();
                let face =
                    self.faces.iter().find(fits).or_else(|| self.faces.iter().find(|f| f.transport == *transport));
                face.or(self.faces.first()).map_or("chappe.invalid", |f| f.named(address.ip()))
            }
        }
    }

    pub fn sent_by_of(&self, listener: u16, peer: IpAddr) -> &str {
        self.faces.get(usize::from(listener)).map_or("chappe.invalid", |f| f.named(peer))
    }

    pub fn faces(&self) -> &[Face] {
        &self.faces
    }

    /// The name that the certificate of a TLS server at `address` must have, if it was reached by name.
    pub fn server_name(&self, address: SocketAddr) -> Option<Arc<str>> {
        self.names.read().get(&address).cloned()
    }

    pub fn remember_name(&self, address: SocketAddr, name: &str) {
        let mut names = self.names.write();
        if names.len() >= NAMES {
            names.clear();
        }
        names.insert(address, name.into());
    }

    /// The way to a registered device: its flow, where that is how it is reached, else its contact.
    pub fn of_binding(&self, binding: &Binding, local: &Local, tokens: &FlowTokens) -> Hop {
        if !binding.path().is_empty() {
            let first = chappe_sip::text::list(binding.path().as_bytes()).next().unwrap_or_default();
            let Ok(addr) = chappe_sip::header::NameAddr::parse(first) else { return Hop::Unsupported };
            let Ok(uri) = addr.parse_uri() else { return Hop::Unsupported };
            if local.is_our_uri(&uri) {
                return match tokens.read(uri.user) {
                    Ok(token) if !token.stale || !token.flow.is_connection() => Hop::Known(token.flow.into()),
                    _ => Hop::Gone,
                };
            }
            return self.of_uri(&uri, false);
        }
        let uri = Uri::parse(binding.contact().as_bytes());
        match binding.flow {
            Some(flow) if flow.is_connection() => Hop::Known(flow.into()),
            Some(flow) => match uri {
                Ok(uri) if binding.reg_id().is_none() && is_seen_at(&uri, &flow) => self.of_contact(&flow, &uri),
                _ => Hop::Known(flow.into()),
            },
            None => match uri {
                _ if !binding.received().is_empty() => match binding.received().parse() {
                    Ok(address) => Hop::Known(Dest::Address { transport: Transport::Udp, address }),
                    Err(_) => Hop::Gone,
                },
                // Only the client can open such a connection.
                Ok(uri) if uri.transport().is_some_and(Transport::is_websocket) => Hop::Gone,
                Ok(uri) => self.of_uri(&uri, false),
                Err(_) => Hop::Unsupported,
            },
        }
    }

    /// A client that registers over UDP may listen on another port or transport, which its contact names.
    fn of_contact(&self, flow: &Flow, contact: &Uri<'_>) -> Hop {
        if contact.effective_transport() == Transport::Udp {
            let port = contact.port.unwrap_or(Transport::Udp.default_port());
            return Hop::Known(Flow { remote: SocketAddr::new(flow.remote.ip(), port), ..*flow }.into());
        }
        match self.of_uri(contact, false) {
            Hop::Known(dest) => Hop::Known(dest),
            Hop::Name | Hop::Gone | Hop::Unsupported => Hop::Known((*flow).into()),
        }
    }

    /// The way to a URI whose host is an address; [`Hop::Name`] for one that has to be resolved.
    pub fn of_uri(&self, uri: &Uri<'_>, sips: bool) -> Hop {
        if !uri.is_sip() {
            return Hop::Unsupported;
        }
        let transport = match uri.effective_transport() {
            Transport::Ws | Transport::Wss => return Hop::Gone,
            Transport::Udp | Transport::Tcp if sips => Transport::Tls,
            transport => transport,
        };
        if !self.faces.iter().any(|f| f.transport == transport) {
            return Hop::Unsupported;
        }
        let host = uri.param("maddr").unwrap_or(uri.host);
        match chappe_sip::uri::host_ip(host) {
            Some(ip) if ip.is_multicast() || ip == IpAddr::from([255, 255, 255, 255]) || ip.is_unspecified() => {
                Hop::Unsupported
            }
            Some(ip) => {
                let address = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
                Hop::Known(Dest::Address { transport, address })
            }
            None => Hop::Name,
        }
    }
}

/// Behind a NAT the contact's address is not the one seen, and only the way back works.
fn is_seen_at(contact: &Uri<'_>, flow: &Flow) -> bool {
    contact.ip().is_some_and(|ip| ip.to_canonical() == flow.remote.ip().to_canonical())
}

impl Face {
    fn named(&self, peer: IpAddr) -> &str {
        match &self.loopback {
            Some(loopback) if peer.is_loopback() => loopback,
            _ => &self.sent_by,
        }
    }
}
