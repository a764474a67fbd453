//! Relays that an AUTH names without a port (RFC 4976 §8).

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::Arc;

use async_trait::async_trait;
use chappe_net::resolve::{Naptr, Srv};
use chappe_net::{Lookup, ResolveConfig, ResolveError, Resolver};
use parking_lot::Mutex;

use super::bed::Bed;

/// The records of `far.example`: relays at these ports of this machine, the first of them the best.
struct Zone {
    ports: Vec<u16>,
    declined: bool,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Lookup for Zone {
    async fn naptr(&self, name: &str) -> Result<Vec<Naptr>, ResolveError> {
        panic!("RFC 4976 has no NAPTR: {name}");
    }

    async fn srv(&self, name: &str) -> Result<Vec<Srv>, ResolveError> {
        self.asked.lock().push(name.to_owned());
        let server = |(at, port): (usize, &u16)| Srv {
            priority: at as u16,
            weight: 0,
            port: *port,
            target: if self.declined { String::new() } else { format!("s{at}.far.example") },
        };
        Ok(self.ports.iter().enumerate().map(server).collect())
    }

    async fn addresses(&self, _name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }
}

fn bed(ports: &[u16], declined: bool) -> (Bed, Arc<Zone>) {
    let bed = Bed::new(|_| {});
    let zone = Arc::new(Zone { ports: ports.to_vec(), declined, asked: Mutex::default() });
    bed.relay.set_resolver(Arc::new(Resolver::with_lookup(ResolveConfig::default(), zone.clone())));
    (bed, zone)
}

/// Sends an AUTH for the relay of `far.example` through ours, and forgets it.
fn pass_on(client: &mut super::bed::Client, home: &str) {
    client.auth_request(&format!("{home} msrps://user0@far.example;tcp"), "");
}

/// What a TLS client asks for first, of a connection that was made to `listener`.
fn hello(listener: &TcpListener) -> Vec<u8> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 22, "a TLS handshake");
    let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut hello).unwrap();
    hello
}

fn asks_for(hello: &[u8], name: &str) -> bool {
    hello.windows(name.len()).any(|window| window == name.as_bytes())
}

#[test]
fn the_best_server_of_the_domain_is_asked_for_the_name_of_the_domain() {
    let (best, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (bed, zone) = bed(&[port(&best), port(&other)], false);
    let (mut alice, home) = bed.session(0);
    pass_on(&mut alice, &home);
    let first = hello(&best);
    assert!(asks_for(&first, "far.example") && !asks_for(&first, "s0.far.example"));
    assert_eq!(*zone.asked.lock(), ["_msrps._tcp.far.example"]);
    // It hung up in the handshake, so the next AUTH goes to the other one.
    bed.until("given up", || bed.relay.counters.dial_failures.get() == 1);
    let (mut alice, home) = bed.session(0);
    pass_on(&mut alice, &home);
    assert!(asks_for(&hello(&other), "far.example"));
}

#[test]
fn a_domain_that_says_it_has_no_relay_is_not_dialled() {
    let (bed, zone) = bed(&[0], true);
    let (mut alice, home) = bed.session(0);
    pass_on(&mut alice, &home);
    bed.until("given up", || bed.relay.counters.dial_failures.get() == 1);
    assert_eq!(zone.asked.lock().len(), 1);
}

#[test]
fn a_port_or_an_address_in_the_uri_asks_for_no_service() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bed, zone) = bed(&[1], false);
    let (mut alice, home) = bed.session(0);
    alice.auth_request(&format!("{home} msrps://user0@localhost:{port};tcp"), "");
    assert!(asks_for(&hello(&listener), "localhost"));
    assert!(zone.asked.lock().is_empty());
}
