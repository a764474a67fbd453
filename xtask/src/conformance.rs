//! The black-box suites against a server of their own, in a network without a way out where the system allows that.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use crate::steps::{program, there};
use crate::{root, target_dir, this_program};

/// More accounts let the run be shorter: each case takes what it needs for itself.
const ACCOUNTS: usize = 40;

const MSRP_SUITES: [&str; 5] = ["msrp", "msrp-relay", "msrp-connection", "msrp-ws", "msrp-endpoint"];

/// The suites look for UDP and TCP at one port, as clients do.
fn config(port: u16) -> String {
    format!(
        r#"
domains = ["localhost"]
[sip]
listen = ["udp://127.0.0.1:{port}", "tcp://127.0.0.1:{port}", "tls://127.0.0.1:0"]
[http]
listen = ["http://127.0.0.1:0"]
[msrp]
listen = ["tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
advertised = "localhost"
next_hops = ["127.0.0.0/8"]
[msrp.session]
min_expires = "5s"
[management]
listen = "http://127.0.0.1:0"
[limits]
user_rate = 0
[log]
level = "warn"
"#
    )
}

/// A port that is free for UDP and TCP.
fn free_port() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").context("no port is free")?;
        let addr = udp.local_addr().context("a bound socket has an address")?;
        if TcpListener::bind(addr).is_ok() {
            return Ok(addr.port());
        }
    }
    bail!("no port is free for UDP and TCP")
}

/// Runs [`within`] in a network namespace that has nothing but its loopback.
pub(crate) fn run() -> anyhow::Result<()> {
    let this = this_program()?;
    let this = this.to_string_lossy();
    program("cargo", &["build", "--bin", "chappe", "--locked", "--quiet"])?;
    for options in [["-n"].as_slice(), &["-r", "-n"]] {
        let apart = |command: &[&'static str]| [options, command].concat();
        if there("unshare", &apart(&["sh", "-c", "PATH=$PATH:/usr/sbin:/sbin ip link set lo up"])) {
            let script = "PATH=$PATH:/usr/sbin:/sbin ip link set lo up && exec \"$0\" conformance within";
            return program("unshare", &[&apart(&["sh", "-c"])[..], &[script, &this]].concat());
        }
    }
    println!("no network namespace here: what is sent to foreign addresses goes to the network");
    within()
}

/// Starts a server and runs the suites against it over each transport.
pub(crate) fn within() -> anyhow::Result<()> {
    let reports = target_dir()?.join("conformance");
    std::fs::create_dir_all(&reports).context("cannot create the folder of the reports")?;
    let mut failed = Vec::new();
    for transport in ["udp", "tcp", "tls"] {
        // A new one each time: it knows the torture messages for half a minute, by their branches.
        let server = Server::start(&reports)?;
        let port = server.port("sip", &format!("{transport}://"))?;
        let target = format!("sip:127.0.0.1:{port};transport={transport}");
        let mut run = suites(&server, &reports, transport, 0..ACCOUNTS)?;
        if !run.args(["--target", &target]).status().context("cannot run the suites")?.success() {
            failed.push(transport);
        }
    }
    failed.extend(services(&reports)?);
    failed.extend(push(&reports)?);
    failed.extend(provisioning(&reports)?);
    failed.extend(files(&reports)?);
    failed.extend(msrp(&reports)?);
    println!("reports: {}", reports.display());
    if !failed.is_empty() {
        bail!(
            "not conformant over {}; the server's log is {}",
            failed.join(", "),
            reports.join("server.log").display()
        );
    }
    Ok(())
}

/// The suites of services over each transport, each with a server of its own: they leave messages behind for users that are
/// away, and groups.
fn services(reports: &Path) -> anyhow::Result<Vec<&'static str>> {
    const RUNS: [(&str, &str, &str); 8] = [
        ("block", "udp", "block-udp"),
        ("block", "tls", "block-tls"),
        ("chat", "udp", "chat-udp"),
        ("chat", "tcp", "chat-tcp"),
        ("chat", "tls", "chat-tls"),
        ("group", "udp", "group-udp"),
        ("group", "tcp", "group-tcp"),
        ("group", "tls", "group-tls"),
    ];
    let mut failed = Vec::new();
    for (suite, transport, name) in RUNS {
        let server = Server::start(reports)?;
        let port = server.port("sip", &format!("{transport}://"))?;
        let mut run = suites(&server, reports, name, 0..ACCOUNTS)?;
        run.args(["--target", &format!("sip:127.0.0.1:{port};transport={transport}"), "--suite", suite]);
        run.args(["--msrp", &format!("127.0.0.1:{}", server.port("msrp", "tcp://")?)]);
        if !run.status().with_context(|| format!("cannot run the suite {suite}"))?.success() {
            failed.push(name);
        }
    }
    Ok(failed)
}

/// The suite of push, against a server that trusts the push service of the run.
fn push(reports: &Path) -> anyhow::Result<Vec<&'static str>> {
    let mut failed = Vec::new();
    for (transport, name) in [("udp", "push-udp"), ("tcp", "push-tcp"), ("tls", "push-tls")] {
        let at = format!("127.0.0.1:{}", free_port()?);
        let more = format!("[push]\nwebpush_subject = \"mailto:ops@localhost\"\nwebpush_trusted = [\"http://{at}\"]\n");
        let server = Server::start_with(reports, &more)?;
        let port = server.port("sip", &format!("{transport}://"))?;
        let mut run = suites(&server, reports, name, 0..ACCOUNTS)?;
        run.args([
            "--target",
            &format!("sip:127.0.0.1:{port};transport={transport}"),
            "--suite",
            "push",
            "--push",
            &at,
        ]);
        if !run.status().context("cannot run the suite of push")?.success() {
            failed.push(name);
        }
    }
    Ok(failed)
}

/// The suite of auto-configuration, against a server that takes the run for a gateway.
fn provisioning(reports: &Path) -> anyhow::Result<Option<&'static str>> {
    let server = Server::start_with(reports, "[provisioning]\ngateways = [\"127.0.0.0/8\"]\n")?;
    let mut run = suites(&server, reports, "provisioning", 0..ACCOUNTS)?;
    run.args(["--target", &format!("sip:127.0.0.1:{};transport=tcp", server.port("sip", "tcp://")?)]);
    run.args(["--suite", "provisioning", "--msisdn", "15550000003"]);
    let passed = run.status().context("cannot run the suite of auto-configuration")?.success();
    Ok((!passed).then_some("provisioning"))
}

/// The suite of the content server.
fn files(reports: &Path) -> anyhow::Result<Option<&'static str>> {
    let server = Server::start(reports)?;
    let mut run = suites(&server, reports, "ft", 0..ACCOUNTS)?;
    run.args(["--target", &format!("sip:127.0.0.1:{};transport=tcp", server.port("sip", "tcp://")?), "--suite", "ft"]);
    let passed = run.status().context("cannot run the suite of the content server")?.success();
    Ok((!passed).then_some("ft"))
}

/// The MSRP suites with clients over TCP and over TLS, both with WebSocket, at one time: most of it is waiting for the
/// 30 seconds of RFC 4976. Gives the names of what failed.
fn msrp(reports: &Path) -> anyhow::Result<Vec<&'static str>> {
    let server = Server::start(reports)?;
    let (tcp, tls) = (server.port("msrp", "tcp://")?, server.port("msrp", "tls://")?);
    let (plain, secure) = (format!("127.0.0.1:{tcp}"), format!("127.0.0.1:{tls}"));
    println!("MSRP relay: {plain}, over TLS {secure}");
    let target = format!("sip:127.0.0.1:{};transport=tcp", server.port("sip", "tcp://")?);
    // They register too, so that neither may have the accounts of the other.
    let (first, second) = (0..ACCOUNTS / 2, ACCOUNTS / 2..ACCOUNTS);
    let places: [(_, _, &[&str]); 2] =
        [("msrp-tcp", first, &["--msrp", &plain]), ("msrp-tls", second, &["--msrp", &plain, "--msrp-tls", &secure])];
    let mut running = Vec::new();
    for (name, accounts, places) in places {
        let mut run = suites(&server, reports, name, accounts)?;
        run.args(["--target", &target]).args(places).args(MSRP_SUITES.iter().flat_map(|suite| ["--suite", suite]));
        running.push((name, run.stdout(Stdio::piped()).spawn().context("cannot run the MSRP suites")?));
    }
    let mut failed = Vec::new();
    for (name, run) in running {
        let run = run.wait_with_output().context("cannot read what the MSRP suites say")?;
        println!("{name}:\n{}", String::from_utf8_lossy(&run.stdout));
        if !run.status.success() {
            failed.push(name);
        }
    }
    Ok(failed)
}

/// A run against `server` that reports as `name` and has these accounts, without where to find SIP and MSRP.
fn suites(server: &Server, reports: &Path, name: &str, accounts: Range<usize>) -> anyhow::Result<Command> {
    let mut run = Command::new(chappe()?);
    run.args(["conformance", "run", "--domain", "localhost"]);
    run.args(["--http", &format!("http://127.0.0.1:{}/ws", server.port("http", "http://")?)]);
    for index in accounts {
        run.args(["--user", &format!("user{index}"), "--password", &format!("pass{index}")]);
    }
    run.arg("--junit").arg(reports.join(format!("{name}.xml")));
    run.arg("--html").arg(reports.join(format!("{name}.html")));
    run.current_dir(root());
    Ok(run)
}

fn chappe() -> anyhow::Result<PathBuf> {
    Ok(target_dir()?.join("debug/chappe"))
}

/// A testbed that ends with this value.
struct Server {
    process: Child,
    data: PathBuf,
    banner: Vec<String>,
}

impl Server {
    fn start(reports: &Path) -> anyhow::Result<Server> {
        Server::start_with(reports, "")
    }

    /// With more of a configuration.
    fn start_with(reports: &Path, more: &str) -> anyhow::Result<Server> {
        let data = std::env::temp_dir().join(format!("chappe-conformance-{}", std::process::id()));
        std::fs::create_dir_all(&data).context("cannot create the data directory")?;
        let config = data.join("chappe.toml");
        std::fs::write(&config, self::config(free_port()?) + more).context("cannot write the configuration")?;
        let log = std::fs::File::create(reports.join("server.log")).context("cannot create the log")?;
        let process = Command::new(chappe()?)
            .args(["testbed", "--accounts", &ACCOUNTS.to_string(), "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start chappe")?;
        let mut server = Server { process, data, banner: Vec::new() };
        let out = server.process.stdout.take().context("the server has no standard output")?;
        for line in BufReader::new(out).lines() {
            let line = line.context("cannot read what the server says")?;
            if line == "ready" {
                return Ok(server);
            }
            server.banner.push(line);
        }
        let said = std::fs::read_to_string(reports.join("server.log")).unwrap_or_default();
        bail!("the server did not come up: {}", said.trim());
    }

    /// The port of the listener of `service` whose address begins with `scheme`. Only its first line names a service.
    fn port(&self, service: &str, scheme: &str) -> anyhow::Result<u16> {
        let named = |line: &&String| line.split_whitespace().next() == Some(service);
        let lines = self.banner.iter().skip_while(|line| !named(line));
        let others = |line: &&String| named(line) || line.starts_with("    ");
        let url = lines.take_while(others).flat_map(|line| line.split(' ')).find(|word| word.starts_with(scheme));
        let port = url.and_then(|url| url.trim_end_matches('/').rsplit(':').next()?.parse().ok());
        port.with_context(|| format!("the server names no {service} listener {scheme}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
