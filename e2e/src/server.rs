//! `chappe testbed` on an address of the test's own: started, killed, started again.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Address, wait_for};

/// A running testbed with the accounts user0, user1, …
#[derive(Debug)]
pub struct Server {
    process: Option<Child>,
    address: Address,
    dir: tempfile::TempDir,
    options: Options,
    /// Addresses of the listeners as the server printed them, `scheme://host:port`.
    listeners: Vec<String>,
    starts: u32,
}

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Accounts; 10 when 0.
    pub accounts: usize,
    /// Settings beside those of the tests, `("SIP__TIMERS__TIMER_C", "2s")`.
    pub settings: Vec<(&'static str, String)>,
    /// The data directory, where it is not to be the test's own.
    pub data: Option<PathBuf>,
}

impl Server {
    /// Starts a server with ten accounts.
    pub fn start() -> Server {
        Server::with(&[])
    }

    /// Starts a server with settings, each as the environment has them, without the prefix.
    pub fn with(settings: &[(&'static str, &str)]) -> Server {
        let settings = settings.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Server::start_with(Options { settings, ..Options::default() })
    }

    /// Starts a server.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_with(options: Options) -> Server {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server =
            Server { process: None, address: Address::take(), dir, options, listeners: Vec::new(), starts: 0 };
        server.restart();
        server
    }

    /// Starts it again after [`kill`](Server::kill) or [`stop`](Server::stop), on the ports it had.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it runs");
        self.starts += 1;
        let config = self.dir.path().join("chappe.toml");
        std::fs::write(&config, self.config()).expect("the folder of a test can be written to");
        let output = self.dir.path().join(format!("server.{}.out", self.starts));
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).expect("a log");
        let accounts = if self.options.accounts == 0 { 10 } else { self.options.accounts };
        let mut command = Command::new(binary());
        command.args(["testbed", "--accounts", &accounts.to_string(), "--config"]).arg(&config);
        command.arg("--data-dir").arg(self.data_dir()).current_dir(self.dir.path());
        for (key, value) in &self.options.settings {
            command.env(format!("CHAPPE__{key}"), value);
        }
        let out = std::fs::File::create(&output).expect("an output file");
        let process = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        self.process = Some(process.expect("the binary can be started"));
        let said = wait_for("the server to be ready", || {
            let said = std::fs::read_to_string(&output).ok()?;
            let ended = self.process.as_mut()?.try_wait().ok()?;
            assert!(ended.is_none(), "the server ended with {ended:?}:\n{said}\n{}", self.log());
            said.lines().any(|line| line == "ready").then_some(said)
        });
        let words = said.lines().filter(|line| !line.contains("  web ")).flat_map(str::split_whitespace);
        self.listeners = words.filter(|word| word.contains("://")).map(str::to_owned).collect();
    }

    fn config(&self) -> String {
        let ip = self.address.ip();
        let list = |schemes: &[&str]| {
            let entry =
                |scheme: &&str| format!("\"{scheme}://{ip}:{}\"", self.found(scheme, 0).map_or(0, |a| a.port()));
            schemes.iter().map(entry).collect::<Vec<_>>().join(", ")
        };
        let management = self.found("http", 1).map_or(0, |addr| addr.port());
        let mut config = format!("domains = [\"{}\"]\n", crate::DOMAIN);
        let _ = writeln!(config, "[sip]\nlisten = [{}]", list(&["udp", "tcp", "tls"]));
        let _ = writeln!(config, "[http]\nlisten = [{}]", list(&["http", "https"]));
        let port = |scheme| self.found(scheme, 1).map_or(0, |addr| addr.port());
        let (tcp, tls) = (port("tcp"), port("tls"));
        let _ = writeln!(config, "[msrp]\nlisten = [\"tcp://{ip}:{tcp}\", \"tls://{ip}:{tls}\"]");
        let _ = writeln!(config, "[management]\nlisten = \"http://{ip}:{management}\"");
        let _ =
            writeln!(config, "[media]\nlisten = \"udp://{ip}:{}\"", self.found("udp", 1).map_or(0, |addr| addr.port()));
        let turn = |scheme| self.found(scheme, 2).map_or(0, |addr| addr.port());
        let (udp, tcp) = (turn("udp"), turn("tcp"));
        let _ = writeln!(config, "[media.turn]\nlisten = [\"udp://{ip}:{udp}\", \"tcp://{ip}:{tcp}\"]");
        let _ = writeln!(config, "[log]\nlevel = \"info\"\nredact = \"off\"");
        config
    }

    fn found(&self, scheme: &str, index: usize) -> Option<SocketAddr> {
        let mut all =
            self.listeners.iter().filter_map(|url| url.split_once("://")).filter(|(found, _)| *found == scheme);
        all.nth(index).and_then(|(_, addr)| addr.trim_end_matches('/').parse().ok())
    }

    /// The listener for `udp`, `tcp`, `tls`, `http` or `https`.
    ///
    /// # Panics
    /// When there is none.
    pub fn addr(&self, scheme: &str) -> SocketAddr {
        self.found(scheme, 0).unwrap_or_else(|| panic!("no listener {scheme} among {:?}", self.listeners))
    }

    /// The listener of the MSRP relay for `tcp` or `tls`.
    ///
    /// # Panics
    /// When there is none.
    pub fn msrp(&self, scheme: &str) -> SocketAddr {
        // Those of SIP come first.
        self.found(scheme, 1).unwrap_or_else(|| panic!("no MSRP listener {scheme} among {:?}", self.listeners))
    }

    /// The address of this test, for its clients.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// A folder for the files of the test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the running server says became of a message.
    ///
    /// # Panics
    /// When the command cannot be run.
    #[must_use]
    pub fn explain(&self, id: &str) -> String {
        let mut command = Command::new(binary());
        let output = command.args(["explain", id, "--data-dir"]).arg(self.data_dir()).output().expect("it can be run");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The data directory of the server.
    pub fn data(&self) -> PathBuf {
        self.data_dir()
    }

    fn data_dir(&self) -> PathBuf {
        self.options.data.clone().unwrap_or_else(|| self.dir.path().join("data"))
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// What the server logged in all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A metric without labels, as `chappe_media_calls`.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn metric(&self, name: &str) -> u64 {
        let address = self.found("http", 1).expect("a management listener");
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("it answers");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
    }

    /// The process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Whether the process is alive.
    pub fn lives(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Asks it to stop, and waits for a good end.
    ///
    /// # Panics
    /// When it does not stop, or not well.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        kill_process(Pid::from_child(&process), Signal::TERM).expect("a child can be signalled");
        let status = wait_for("the server to stop", || process.try_wait().ok().flatten());
        assert!(status.success(), "the server stopped with {status}:\n{}", self.log());
    }

    /// What a command of the binary says of this server, as JSON: `["status"]`, `["queue", "user1@localhost"]`.
    ///
    /// # Panics
    /// When the command fails.
    pub fn ask(&self, command: &[&str]) -> serde_json::Value {
        Server::run(command, &["--data-dir".as_ref(), self.data_dir().as_os_str()])
    }

    /// What `chappe load` says that it has made of this server: `["chat", "--users", "5"]`.
    ///
    /// # Panics
    /// When it fails, or counts a failure.
    pub fn load(&self, transport: &str, command: &[&str]) -> serde_json::Value {
        let addr = self.addr(if transport == "ws" { "http" } else { transport });
        let target = format!("sip:{addr};transport={transport}");
        let command = [&["load"], command].concat();
        Server::run(&command, &["--domain".as_ref(), crate::DOMAIN.as_ref(), "--target".as_ref(), target.as_ref()])
    }

    /// Tells the running server something, by the command line.
    ///
    /// # Panics
    /// When it refuses.
    pub fn tell(&self, command: &[&str]) {
        let output = Command::new(binary()).args(command).arg("--data-dir").arg(self.data_dir()).output();
        let output = output.expect("the binary can be started");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn run(command: &[&str], more: &[&OsStr]) -> serde_json::Value {
        let output =
            Command::new(binary()).args(command).arg("--json").args(more).output().expect("the binary can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{command:?}: {error}: {said}"))
    }

    /// The counts of messages: accepted, delivered, stored, expired and refused.
    pub fn counts(&self) -> [u64; 5] {
        let status = self.ask(&["status"]);
        let messages = &status["counts"]["messages"];
        ["accepted", "delivered", "stored", "expired", "refused"]
            .map(|name| messages[name].as_u64().unwrap_or_else(|| panic!("no {name} in {status}")))
    }

    /// Waits until user N has so many bindings.
    pub fn wait_registered(&self, user: usize, bindings: usize) {
        let aor = format!("user{user}@{}", crate::DOMAIN);
        wait_for(&format!("{bindings} bindings of {aor}"), || {
            let users = self.ask(&["registrations"]);
            let mut entries = users.as_array()?.iter();
            let user = entries.find(|entry| entry["aor"].as_str().is_some_and(|found| found.ends_with(&aor)));
            let found = user.and_then(|user| user["bindings"].as_array()).map_or(0, Vec::len);
            (found == bindings).then_some(())
        });
    }

    /// Memory of the process in bytes.
    pub fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).unwrap_or_default();
        let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
        pages * 4096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the server's log\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        } else {
            // A task that panics is a fault even where nobody noticed.
            assert!(!log.contains("panicked at"), "the server panicked:\n{log}");
        }
    }
}

/// The binary under test: `CHAPPE`, or the one beside the test programs.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CHAPPE") {
        return path.into();
    }
    let test = std::env::current_exe().expect("the path of this program");
    let profile = test.ancestors().nth(2).expect("a test is in TARGET/PROFILE/deps");
    let path = profile.join("chappe");
    assert!(path.exists(), "{} is not there: run `cargo build --bin chappe` first", path.display());
    path
}
