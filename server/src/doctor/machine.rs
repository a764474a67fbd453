//! The machine: directory, disk, files, clock, ports.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::config::{Config, SipScheme};
use crate::run_file::RunFile;

/// Free space below which a store will soon refuse messages, and below which it is time to look.
const SPACE_FAULT: u64 = 100 << 20;
const SPACE_WARNING: u64 = 1 << 30;
/// A file for each connection.
const FILES_WARNING: u64 = 65_536;
/// 2026-01-01: a clock before the program was written is wrong.
const WRITTEN: u64 = 1_767_225_600;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![directory(&config.data_dir)];
    findings.extend(space(&config.data_dir));
    findings.push(files(crate::limits::open_files()));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    findings.push(clock(now));
    findings.extend(ports(config));
    findings
}

fn directory(dir: &Path) -> Finding {
    const CHECK: &str = "data";
    let shown = dir.display();
    if !dir.exists() {
        let parent = existing(dir);
        return match probe(&parent) {
            Ok(()) => Finding::good(CHECK, format!("{shown} will be made at the first start")),
            Err(error) => Finding::fault(
                CHECK,
                format!("{shown} is not there and cannot be made in {}: {error}", parent.display()),
                format!("mkdir -p {shown}, and give it to the user that runs chappe"),
            ),
        };
    }
    match probe(dir) {
        Ok(()) => Finding::good(CHECK, format!("{shown} can be written")),
        Err(error) => Finding::fault(
            CHECK,
            format!("{shown} cannot be written: {error}"),
            format!("give {shown} to the user that runs chappe (chown), or set data_dir"),
        ),
    }
}

/// Writes a file and takes it away again.
fn probe(dir: &Path) -> io::Result<()> {
    let file = dir.join(format!(".chappe-doctor-{}", std::process::id()));
    std::fs::write(&file, b"probe")?;
    std::fs::remove_file(&file)
}

/// The nearest directory upwards that is there.
fn existing(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/")).to_owned()
}

fn space(dir: &Path) -> Option<Finding> {
    const CHECK: &str = "disk";
    let stat = rustix::fs::statvfs(existing(dir)).ok()?;
    let free = stat.f_bavail * stat.f_frsize;
    let message = format!("{} free for {}", crate::cli::output::bytes(free), dir.display());
    let remedy = "make room: a full disk means that messages for absent users are refused";
    Some(match free {
        ..SPACE_FAULT => Finding::fault(CHECK, message, remedy),
        SPACE_FAULT..SPACE_WARNING => Finding::warning(CHECK, message, remedy),
        SPACE_WARNING.. => Finding::good(CHECK, message),
    })
}

fn files(limit: Option<u64>) -> Finding {
    const CHECK: &str = "open files";
    match limit {
        Some(limit) if limit < FILES_WARNING => Finding::warning(
            CHECK,
            format!("at most {limit} may be open, and each connection is one"),
            format!("LimitNOFILE={} in the systemd unit, or ulimit -Hn", 1 << 20),
        ),
        Some(limit) => Finding::good(CHECK, format!("up to {limit}")),
        None => Finding::good(CHECK, "no limit"),
    }
}

fn clock(now: u64) -> Finding {
    const CHECK: &str = "clock";
    let shown = crate::cli::output::date(now);
    if now < WRITTEN {
        return Finding::fault(
            CHECK,
            format!("it is {shown} UTC by the clock, which is before this program was written"),
            "set the clock: registrations, expiry of messages and certificates depend on it (timedatectl)",
        );
    }
    // systemd-timesyncd and chrony leave these behind.
    let synchronized = ["/run/systemd/timesync/synchronized", "/run/chrony", "/var/lib/chrony/drift", "/run/ntpd.pid"];
    if synchronized.iter().any(|file| Path::new(file).exists()) {
        return Finding::good(CHECK, format!("{shown} UTC, kept by the network"));
    }
    Finding::warning(
        CHECK,
        format!("{shown} UTC, and nothing was found that keeps it right"),
        "run a time service (apt install chrony), unless the host of this virtual machine does it",
    )
}

/// A socket that the server wants.
struct Wanted {
    name: String,
    address: SocketAddr,
    udp: bool,
}

fn ports(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "port";
    let running = RunFile::find(&config.data_dir).ok().flatten();
    wanted(config)
        .iter()
        .filter(|wanted| wanted.address.port() != 0)
        .map(|wanted| {
            let bound = if wanted.udp {
                UdpSocket::bind(wanted.address).map(drop)
            } else {
                TcpListener::bind(wanted.address).map(drop)
            };
            let name = &wanted.name;
            match (bound, &running) {
                (Ok(()), _) => Finding::good(CHECK, format!("{name} is free")),
                (Err(error), Some(run)) if error.kind() == io::ErrorKind::AddrInUse => {
                    Finding::good(CHECK, format!("{name} is in use, and a chappe runs here with pid {}", run.pid))
                }
                (Err(error), _) => unusable(CHECK, name, wanted, &error),
            }
        })
        .collect()
}

fn unusable(check: &'static str, name: &str, wanted: &Wanted, error: &io::Error) -> Finding {
    let port = wanted.address.port();
    let kind = if wanted.udp { "u" } else { "t" };
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("see who has it (ss -lp{kind} 'sport = :{port}'), or choose another port")
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the \
             systemd unit, or root"
            .into(),
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has the address: see ip address".into(),
        _ => "choose another address".into(),
    };
    Finding::fault(check, format!("{name} cannot be opened: {error}"), remedy)
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    let mut want = |name: String, address: SocketAddr, udp: bool| wanted.push(Wanted { name, address, udp });
    for listen in &config.sip.listen {
        want(format!("sip {listen}"), listen.address, listen.scheme == SipScheme::Udp);
    }
    for listen in &config.http.listen {
        want(format!("http {listen}"), listen.address, false);
    }
    want(format!("management {}", config.management.listen), config.management.listen.address, false);
    wanted
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::{HttpScheme, Listen, ManagementScheme};

    #[test]
    fn a_taken_port_is_a_fault_and_a_free_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config { data_dir: dir.path().into(), ..Config::default() };
        config.sip.listen = vec![];
        config.http.listen = vec![Listen { scheme: HttpScheme::Http, address: taken.local_addr().unwrap() }];
        config.management.listen = Listen::local(ManagementScheme::Http, 0);
        let findings = ports(&config);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Fault);
        assert!(
            findings[0].remedy.as_deref().unwrap().starts_with("see who has it (ss -lpt 'sport = :"),
            "{findings:?}"
        );
        let address = taken.local_addr().unwrap();
        drop(taken);
        config.http.listen = vec![Listen { scheme: HttpScheme::Http, address }];
        assert_eq!(ports(&config)[0].level, Level::Good);
    }

    #[test]
    fn directories_and_limits() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(directory(dir.path()).level, Level::Good);
        assert_eq!(directory(&dir.path().join("a/b")).level, Level::Good);
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(directory(&dir.path().join("file")).level, Level::Fault);
        assert_eq!(files(Some(1024)).level, Level::Warning);
        assert_eq!(files(None).level, Level::Good);
        assert_eq!(clock(0).level, Level::Fault);
    }
}
