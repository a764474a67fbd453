//! The PROXY protocol of load balancers, versions 1 and 2: who the peer behind the balancer is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its line end.
const LINE: usize = 107;
/// More than addresses and the usual extensions of version 2 take.
const EXTENSIONS: usize = 4096;

/// Reads the header and nothing behind it. `None`: the balancer speaks for itself, as for its health checks.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // Both versions are longer than the signature of the second.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if length > EXTENSIONS {
            return Err(invalid());
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        return version2(rest[0], rest[1], &body).ok_or_else(invalid);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(invalid());
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE {
            return Err(invalid());
        }
        line.push(stream.read_u8().await?);
    }
    version1(&line).ok_or_else(invalid)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no PROXY header")
}

/// `Some(None)`: valid, without an address.
fn version1(line: &[u8]) -> Option<Option<SocketAddr>> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = text.split(' ').skip(1);
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let source: IpAddr = words.next()?.parse().ok()?;
    let _destination: IpAddr = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    let _destination_port: u16 = words.next()?.parse().ok()?;
    let fits = match family {
        "TCP4" => source.is_ipv4(),
        "TCP6" => source.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none()).then_some(Some(SocketAddr::new(source, port)))
}

fn version2(version_command: u8, family: u8, body: &[u8]) -> Option<Option<SocketAddr>> {
    match version_command {
        0x20 => return Some(None),
        0x21 => {}
        _ => return None,
    }
    let port = |at: usize| Some(u16::from_be_bytes([*body.get(at)?, *body.get(at + 1)?]));
    match family {
        0x11 => {
            let octets: [u8; 4] = body.get(..4)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv4Addr::from(octets).into(), port(8)?)))
        }
        0x21 => {
            let octets: [u8; 16] = body.get(..16)?.try_into().ok()?;
            Some(Some(SocketAddr::new(Ipv6Addr::from(octets).into(), port(32)?)))
        }
        // Unspecified or local: valid, and says nothing.
        _ => Some(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(bytes: &[u8]) -> (Result<Option<String>, io::ErrorKind>, usize) {
        let mut rest = bytes;
        let result = read(&mut rest).await;
        (result.map(|a| a.map(|a| a.to_string())).map_err(|e| e.kind()), rest.len())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[command, family], &(body.len() as u16).to_be_bytes(), body, b"INVITE"].concat()
    }

    #[tokio::test]
    async fn headers() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0xc4, 0, 80];
        let mut v6 = [0; 36];
        (v6[15], v6[32]) = (1, 0x13);
        let with_extension = [&v4[..], &[4, 0, 1, 0]].concat();
        for (name, bytes, expected) in [
            ("v1", b"PROXY TCP4 192.0.2.7 10.0.0.1 5060 80\r\nINVITE".to_vec(), Ok(Some("192.0.2.7:5060"))),
            ("v1 IPv6", b"PROXY TCP6 2001:db8::1 ::1 5060 80\r\nINVITE".to_vec(), Ok(Some("[2001:db8::1]:5060"))),
            ("v1 unknown", b"PROXY UNKNOWN\r\nINVITE".to_vec(), Ok(None)),
            ("v2", v2(0x21, 0x11, &v4), Ok(Some("192.0.2.7:5060"))),
            ("v2 IPv6", v2(0x21, 0x21, &v6), Ok(Some("[::1]:4864"))),
            ("v2 with extensions", v2(0x21, 0x11, &with_extension), Ok(Some("192.0.2.7:5060"))),
            ("v2 health check", v2(0x20, 0, &[]), Ok(None)),
            ("v2 short", v2(0x21, 0x11, &v4[..9]), Err(io::ErrorKind::InvalidData)),
            ("v2 of another version", v2(0x31, 0x11, &v4), Err(io::ErrorKind::InvalidData)),
            ("v2 too long", v2(0x21, 0x11, &[0; EXTENSIONS + 1]), Err(io::ErrorKind::InvalidData)),
            ("v1 mixed families", b"PROXY TCP4 ::1 ::1 1 2\r\nINVITE".to_vec(), Err(io::ErrorKind::InvalidData)),
            ("v1 endless", [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat(), Err(io::ErrorKind::InvalidData)),
            ("none", b"INVITE sip:a SIP/2.0\r\n".to_vec(), Err(io::ErrorKind::InvalidData)),
            ("cut off", b"PROXY".to_vec(), Err(io::ErrorKind::UnexpectedEof)),
        ] {
            let (result, left) = run(&bytes).await;
            assert_eq!(result.as_ref().map(|a| a.as_deref()), expected.as_ref().map(|a| *a), "{name}");
            if expected.is_ok() {
                assert_eq!(left, b"INVITE".len(), "{name}");
            }
        }
    }
}
