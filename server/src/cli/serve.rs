//! `chappe serve` and `chappe testbed`: from a configuration to a server that runs, and its end.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use chappe_api::{NewAccount, Node};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{OK, Place, Usage};
use crate::config::{Config, Domain, Network, setting::Setting};
use crate::listeners::Listeners;
use crate::node::{Running, Setup};
use crate::notify::Notify;
use crate::run_file::RunFile;
use crate::{http, limits, logging, random};

#[derive(Debug, Args)]
pub(super) struct Testbed {
    /// How many accounts
    #[arg(long, value_name = "N", default_value_t = 10)]
    accounts: usize,
    /// Domain of the accounts; without it that of the configuration, or localhost
    #[arg(long, value_name = "D")]
    domain: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Accounts that a testbed has besides the numbered ones.
const ECHO: &str = "echo";
/// Numbers are +1555000 and four digits.
const NUMBERED: usize = 10_000;

pub(super) fn serve(place: Place) -> anyhow::Result<u8> {
    let config = place.load()?;
    block_on(run(config, None))
}

pub(super) fn testbed(options: Testbed) -> anyhow::Result<u8> {
    let mut config = options.place.load()?;
    if let Some(domain) = &options.domain {
        let domain = Domain::from_text(domain)
            .ok_or_else(|| Usage(format!("{domain:?} is not {}", <Domain as Setting>::expected())))?;
        config.domains = vec![domain];
    }
    // A server for tests sends nothing into the world unless it is told to.
    config.sip.next_hops.get_or_insert_with(|| Network::LOOPBACK.to_vec());
    config.msrp.next_hops.get_or_insert_with(|| Network::LOOPBACK.to_vec());
    // Whoever tries it has no client that writes rules yet.
    config.presence.default.get_or_insert(crate::config::Unruled::Allow);
    config.provisioning.sms.get_or_insert_with(|| "log".to_owned());
    let kept = options.place.data_dir.is_some() || options.place.config.is_some();
    let scratch = if kept { None } else { Some(Scratch::new()?) };
    if let Some(scratch) = &scratch {
        config.data_dir = scratch.dir.clone();
    }
    let domain = config.domains.first().map(ToString::to_string).unwrap_or_default();
    block_on(run(config, Some(Accounts { count: options.accounts, domain, scratch: scratch.is_some() })))
}

/// The accounts of a testbed.
struct Accounts {
    count: usize,
    domain: String,
    /// All is forgotten at the end.
    scratch: bool,
}

/// A directory that goes with the process.
struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    fn new() -> anyhow::Result<Scratch> {
        let dir = std::env::temp_dir().join(format!("chappe-testbed-{}", &random::token()[..12]));
        create_private(&dir)?;
        Ok(Scratch { dir })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn create_private(dir: &PathBuf) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create the data directory {}", dir.display()))
}

fn block_on(server: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(server);
    // What was not stopped in time is not waited for.
    runtime.shutdown_background();
    outcome.map(|()| OK)
}

async fn run(config: Config, testbed: Option<Accounts>) -> anyhow::Result<()> {
    logging::begin(&config.log)?;
    limits::raise_open_files();
    let mut signals = Signals::new()?;
    let notify = Notify::from_environment();
    create_private(&config.data_dir)?;
    if let Some(other) = RunFile::find(&config.data_dir)? {
        bail!("a server runs on {} already, with pid {}", config.data_dir.display(), other.pid);
    }
    let config = Arc::new(config);

    let listeners = Listeners::default();
    let bound = http::bind(&config, &listeners).await?;
    let echo = testbed.as_ref().map(|accounts| format!("{ECHO}@{}", accounts.domain));
    let setup = Setup { config: config.clone(), listeners: listeners.clone(), http: bound.addresses()?, echo };
    let running = Running::start(setup).await?;
    let node = running.node();
    if let Some(accounts) = &testbed {
        accounts.add(&*node).await?;
    }
    let token = random::token();
    let http = bound.serve(&config, &listeners, running.behind(), &token);
    let run_file = RunFile { pid: std::process::id(), management: http.management.clone(), token };
    let run_file = run_file
        .write(&config.data_dir)
        .with_context(|| format!("cannot write run.json in {}", config.data_dir.display()))?;

    let program = std::env::args().next().unwrap_or_else(|| "chappe".into());
    super::output::print(banner(&config, &listeners, testbed.as_ref(), &program))?;
    super::output::print("ready\n")?;
    notify.ready();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");

    let failure = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            None
        }
        error = running.failed() => Some(error),
        never = watchdog(&notify) => match never {},
    };
    notify.stopping();
    drop(run_file);
    let wait = config.limits.stop_wait;
    let stop = async {
        http.stop(wait).await;
        running.stop(wait).await;
    };
    tokio::select! {
        () = stop => {}
        signal = signals.next() => tracing::warn!(signal, "stopping at once"),
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// What to know of the server that just started; `program` is how it was called.
fn banner(config: &Config, listeners: &Listeners, testbed: Option<&Accounts>, program: &str) -> String {
    let kind = if testbed.is_some() { " testbed" } else { "" };
    let mut out = format!("chappe {}{kind}\n\n", env!("CARGO_PKG_VERSION"));
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<11} {text}");
    };
    let domains: Vec<_> = config.domains.iter().map(ToString::to_string).collect();
    line("domain", &domains.join(", "));
    let mut before = String::new();
    for listener in listeners.all() {
        line(if listener.service == before { "" } else { &listener.service }, &listener.url);
        before = listener.service;
    }
    let dir = config.data_dir.display();
    match testbed {
        Some(accounts) if accounts.scratch => line("data", &format!("{dir}  (removed at the end)")),
        _ => line("data", &dir.to_string()),
    }
    if let Some(accounts) = testbed {
        accounts.describe(&mut line);
        let plain = listeners.all().into_iter().find(|listener| listener.url.starts_with("http://"));
        if let Some(listener) = plain {
            line(
                "web",
                &format!("{}/", listener.url.replace("0.0.0.0", "localhost").replace("127.0.0.1", "localhost")),
            );
        }
        line("ask it", &format!("{program} status --data-dir {dir}"));
        line("", &format!("{program} console --data-dir {dir}"));
    }
    out.push('\n');
    out
}

impl Accounts {
    fn describe(&self, line: &mut impl FnMut(&str, &str)) {
        let domain = &self.domain;
        match self.count {
            0 => {}
            1 => line("account", &format!("user0@{domain}  password pass0  number +15550000000")),
            count => {
                let last = count - 1;
                line("accounts", &format!("user0@{domain}  password pass0  number +15550000000"));
                if count > 2 {
                    line("", "…");
                }
                let number = number(last).map(|number| format!("  number {number}")).unwrap_or_default();
                line("", &format!("user{last}@{domain}  password pass{last}{number}"));
            }
        }
        line("", &format!("{ECHO}@{domain}  sends back what it is sent"));
    }

    /// Adds those that are not there yet.
    async fn add(&self, node: &dyn Node) -> anyhow::Result<()> {
        let numbered = (0..self.count).map(|index| NewAccount {
            aor: format!("user{index}@{}", self.domain),
            password: format!("pass{index}"),
            tel: number(index).into_iter().collect(),
            display_name: String::new(),
            ha1: None,
        });
        let echo = NewAccount {
            aor: format!("{ECHO}@{}", self.domain),
            password: random::password(),
            tel: Vec::new(),
            display_name: String::new(),
            ha1: None,
        };
        node.accounts().import(numbered.chain([echo]).collect()).await.context("cannot add the test accounts")?;
        Ok(())
    }
}

fn number(index: usize) -> Option<String> {
    (index < NUMBERED).then(|| format!("+1555000{index:04}"))
}

/// What ends the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Tells systemd that the runtime turns, as often as it wants to hear it.
async fn watchdog(notify: &Notify) -> std::convert::Infallible {
    let Some(every) = notify.watchdog_interval() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        notify.watchdog();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_of_a_testbed() {
        let config = Config { data_dir: "/tmp/t".into(), ..Config::default() };
        let listeners = Listeners::default();
        listeners.add("management", "http://127.0.0.1:9090");
        listeners.add("sip", "udp://0.0.0.0:5060");
        listeners.add("sip", "tls://0.0.0.0:5061");
        listeners.add("http", "http://0.0.0.0:8080");
        let accounts = Accounts { count: 10, domain: "localhost".into(), scratch: true };
        let text = banner(&config, &listeners, Some(&accounts), "./chappe");
        let expected = format!(
            "chappe {} testbed\n\
             \n  domain      localhost\
             \n  sip         udp://0.0.0.0:5060\
             \n              tls://0.0.0.0:5061\
             \n  http        http://0.0.0.0:8080\
             \n  management  http://127.0.0.1:9090\
             \n  data        /tmp/t  (removed at the end)\
             \n  accounts    user0@localhost  password pass0  number +15550000000\
             \n              …\
             \n              user9@localhost  password pass9  number +15550000009\
             \n              echo@localhost  sends back what it is sent\
             \n  web         http://localhost:8080/\
             \n  ask it      ./chappe status --data-dir /tmp/t\
             \n              ./chappe console --data-dir /tmp/t\n\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
    }
}
