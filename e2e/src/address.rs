//! A loopback address for one test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// An address in 127.0.0.0/8 that no other test has as long as this value lives.
#[derive(Debug)]
pub struct Address {
    ip: Ipv4Addr,
    /// Holds the address: nothing connects there.
    _held: TcpListener,
}

/// The port that marks an address as taken.
const MARK: u16 = 9;

impl Address {
    /// Takes an address.
    ///
    /// # Panics
    /// When none is free.
    pub fn take() -> Address {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..1000 {
            // Neighbours in process id and in turn do not meet.
            let seed =
                std::process::id().wrapping_mul(2_654_435_761).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let [_, b, c, d] = seed.to_be_bytes();
            let ip = Ipv4Addr::new(127, b | 1, c, d.clamp(1, 254));
            if let Ok(held) = TcpListener::bind((ip, MARK)).or_else(|_| TcpListener::bind((ip, 40_009))) {
                return Address { ip, _held: held };
            }
        }
        panic!("no loopback address is free");
    }

    pub fn ip(&self) -> IpAddr {
        self.ip.into()
    }

    /// A port that is free for UDP and TCP. It stays so: others have addresses of their own.
    ///
    /// # Panics
    /// When none is.
    pub fn port(&self) -> u16 {
        for _ in 0..100 {
            let Ok(udp) = UdpSocket::bind((self.ip, 0)) else { continue };
            let Ok(SocketAddr::V4(addr)) = udp.local_addr() else { continue };
            if TcpListener::bind(addr).is_ok() {
                return addr.port();
            }
        }
        panic!("no port of {} is free", self.ip);
    }
}
