//! Tells systemd how the service is (sd_notify): a datagram to the socket that `NOTIFY_SOCKET` names.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// The service manager, if there is one.
pub struct Notify {
    socket: Option<(UnixDatagram, std::os::unix::net::SocketAddr)>,
}

impl Notify {
    /// Finds the manager through the environment.
    pub fn from_environment() -> Notify {
        let socket = std::env::var("NOTIFY_SOCKET").ok().and_then(|path| Self::connect(&path).ok());
        Notify { socket }
    }

    fn connect(path: &str) -> std::io::Result<(UnixDatagram, std::os::unix::net::SocketAddr)> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;
        // A leading @ stands for an abstract socket.
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        Ok((UnixDatagram::unbound()?, address))
    }

    /// Every listener is up.
    pub fn ready(&self) {
        self.send(&format!("READY=1\nMAINPID={}", std::process::id()));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    pub fn watchdog(&self) {
        self.send("WATCHDOG=1");
    }

    /// How often `watchdog` is wanted: half of what systemd allows; `None` if it is not wanted.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref()?;
        let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let allowed: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
        (ours && allowed > 0).then(|| Duration::from_micros(allowed / 2))
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_gets_datagrams() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notify = Notify { socket: Some(Notify::connect(path.to_str().unwrap()).unwrap()) };
        notify.ready();
        notify.stopping();
        let mut buffer = [0; 100];
        let ready = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..ready], format!("READY=1\nMAINPID={}", std::process::id()).as_bytes());
        let stopping = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..stopping], b"STOPPING=1");
    }
}
