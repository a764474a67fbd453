//! UDP sockets: threads that block in receive and call the user (RFC 3261 §18).

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use chappe_sip::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{is_token_byte, names_sip};
use crate::net::Inner;
use crate::outbox::{Outbox, SendError};
use crate::stun;

/// The largest datagram there can be (RFC 3261 §18.1.1).
const DATAGRAM: usize = 65_535;
/// How often a receiving thread looks whether it should end.
const STOP_CHECK: Duration = Duration::from_millis(500);
/// How long a send may wait for room in the socket's buffer before the datagram is dropped.
const SEND_WAIT: Duration = Duration::from_millis(20);

pub(crate) fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Each family has its own listener, so that `0.0.0.0` and `[::]` can stand side by side.
        socket.set_only_v6(true)?;
    }
    // The system may refuse or cap the sizes, which is no reason not to start.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(STOP_CHECK))?;
    socket.set_write_timeout(Some(SEND_WAIT))?;
    Ok(socket.into())
}

pub(crate) fn start(net: &Arc<Inner>, listener: u16, threads: usize) -> io::Result<Vec<JoinHandle<()>>> {
    let spawn = |n| {
        let net = net.clone();
        let name = format!("udp-{listener}-{n}");
        std::thread::Builder::new().name(name).spawn(move || receive(&net, listener))
    };
    (0..threads).map(spawn).collect()
}

fn receive(net: &Arc<Inner>, listener: u16) {
    let _context = net.runtime.enter();
    let Some(socket) = net.listeners[usize::from(listener)].udp.as_ref() else { return };
    let mut buffer = vec![0; DATAGRAM];
    let mut out = Outbox::new();
    while !net.udp_stopped.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((length, remote)) => {
                let handled =
                    catch_unwind(AssertUnwindSafe(|| datagram(net, listener, remote, &buffer[..length], &mut out)));
                if handled.is_err() {
                    net.counters.panics.one();
                    out.clear();
                }
            }
            // Timeouts, and errors of earlier sends that some systems tell here: neither ends the socket.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::debug!(%error, listener, "receiving failed");
                if !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset) {
                    // Whatever it is must not become a busy loop.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
}

fn datagram(net: &Arc<Inner>, listener: u16, remote: SocketAddr, bytes: &[u8], out: &mut Outbox) {
    let counters = &net.counters;
    if !net.events().admit(Transport::Udp, remote) {
        counters.not_admitted.one();
        return;
    }
    let flow = Flow { transport: Transport::Udp, listener, connection: 0, remote };
    if stun::is_stun(bytes) {
        match stun::answer(bytes, remote) {
            Some(answer) => {
                counters.stun_requests.one();
                let _ = send(net, &flow, &answer);
            }
            None => counters.junk.one(),
        }
        return;
    }
    // Line ends alone are the keep-alive of clients without STUN: the packet did its work by coming through the NAT.
    let start = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let message = &bytes[start..];
    if message.is_empty() {
        return;
    }
    if !looks_like_sip(message) {
        counters.junk.one();
        return;
    }
    let count = counters.transport(Transport::Udp);
    count.received.one();
    count.received_bytes.add(bytes.len() as u64);
    net.events().message(&flow, Bytes::copy_from_slice(message), out);
    net.events().batch_end(out);
    net.flush(out);
}

/// Tells scanners and stray packets from SIP at the price of a look at the first line.
fn looks_like_sip(message: &[u8]) -> bool {
    let line = &message[..memchr::memchr(b'\n', message).unwrap_or(message.len())];
    is_token_byte(message[0]) && names_sip(line)
}

pub(crate) fn send(net: &Inner, flow: &Flow, bytes: &[u8]) -> Result<(), SendError> {
    if !net.may_send_to(flow.remote.ip()) {
        net.counters.forbidden.one();
        return Err(SendError::Forbidden);
    }
    let listener = net.listeners.get(usize::from(flow.listener)).ok_or(SendError::Gone)?;
    let socket = listener.udp.as_ref().ok_or(SendError::Unsupported)?;
    let count = net.counters.transport(Transport::Udp);
    // An error that an earlier datagram caused is told to the next one; that one is worth a second try.
    let sent = match socket.send_to(bytes, flow.remote) {
        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => socket.send_to(bytes, flow.remote),
        other => other,
    };
    match sent {
        Ok(_) => {
            count.sent.one();
            count.sent_bytes.add(bytes.len() as u64);
            Ok(())
        }
        Err(error) => {
            count.send_errors.one();
            match error.kind() {
                io::ErrorKind::WouldBlock => {
                    net.counters.udp_would_block.one();
                    Err(SendError::Backlog)
                }
                _ if bytes.len() > 65_507 => Err(SendError::TooLarge),
                kind => Err(SendError::Io(kind)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        for (line, sip) in [
            (&b"REGISTER sip:a SIP/2.0\r\n"[..], true),
            (b"SIP/2.0 200 OK\r\n", true),
            (b"!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual/x SIP/2.0\r\n", true),
            (b"OPTIONS sip:a SIP/7.0\r\n", true),
            (b"OPTIONS sip:a  sip/2.0  \r\nx", true),
            (b"GET / HTTP/1.1\r\nSIP/2.0", false),
            (b"\x80\x80SIP/2.0", false),
            (b"hello", false),
            (b"SIP", false),
        ] {
            assert_eq!(looks_like_sip(line), sip, "{}", String::from_utf8_lossy(line));
        }
    }
}
