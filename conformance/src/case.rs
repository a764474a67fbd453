//! What a case is, what it may use and how it ends.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::link::{Link, Transcript};
use crate::msrp::Places;
use crate::push::PushService;
use crate::target::{Account, Options, Proto, host_port, resolve};
use crate::ua::Ua;

/// How binding a rule is: by RFC 2119, or as the practice of RCS services, which a server that is one has to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Must,
    Should,
    Practice,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::Practice => "RCS",
        }
    }
}

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Fail(String),
    /// The target lacks what the case is about, or an option is missing.
    Skip(String),
}

pub(crate) type Verdict<T = ()> = Result<T, Stop>;

pub(crate) fn fail<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Stop::Fail(why.into()))
}

pub(crate) fn skip<T>(why: impl Into<String>) -> Verdict<T> {
    Err(Stop::Skip(why.into()))
}

/// Ends the case as failed unless the condition holds.
macro_rules! check {
    ($cond:expr, $($why:tt)+) => {
        if !$cond {
            return Err($crate::case::Stop::Fail(format!($($why)+)));
        }
    };
}
pub(crate) use check;

pub(crate) type Running = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// One test of one rule.
pub(crate) struct Case {
    pub(crate) suite: &'static str,
    /// Section of the document and a word, unique in the suite.
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) level: Level,
    /// The rule in a line.
    pub(crate) rule: String,
    /// A case that takes longer has failed.
    pub(crate) limit: Duration,
    pub(crate) run: Box<dyn Fn(Ctx) -> Running + Send + Sync>,
}

/// What an ordinary case may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A table of cases: `section, name, level, rule, function;` lines of one suite.
macro_rules! cases {
    ($suite:expr; $($section:literal $name:literal $level:ident $rule:literal => $run:path;)+) => {
        vec![$($crate::case::Case {
            suite: $suite,
            name: $name.to_owned(),
            section: $section.to_owned(),
            level: $crate::case::Level::$level,
            rule: $rule.to_owned(),
            limit: $crate::case::LIMIT,
            run: Box::new(|ctx| Box::pin($run(ctx))),
        }),+]
    };
}
pub(crate) use cases;

/// The time a target has for one ordinary answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(5);
/// How long silence is watched where a rule demands it.
pub(crate) const SILENCE: Duration = Duration::from_millis(250);

/// What all cases of a run share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// Address, host and path of the WebSocket.
    pub(crate) ws: Option<(SocketAddr, String, String)>,
    pub(crate) msrp: Places,
    /// The Web Push service of this run.
    pub(crate) push: Option<PushService>,
    accounts: Mutex<Vec<Account>>,
    free: Arc<Semaphore>,
    total: usize,
    ids: AtomicU64,
    epoch: u64,
}

impl Shared {
    pub(crate) fn new(options: Options, msrp: Places, push: Option<PushService>) -> Shared {
        let ws = options.http.as_deref().and_then(web_address);
        let epoch =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
        let mut accounts = options.accounts.clone();
        accounts.reverse();
        Shared {
            ws,
            msrp,
            push,
            free: Arc::new(Semaphore::new(accounts.len())),
            total: accounts.len(),
            accounts: Mutex::new(accounts),
            ids: AtomicU64::new(1),
            epoch: epoch ^ u64::from(std::process::id()) << 40,
            options,
        }
    }

    /// A word never used before, against this or any other target.
    pub(crate) fn id(&self) -> String {
        format!("{:x}.{:x}", self.epoch, self.ids.fetch_add(1, Ordering::Relaxed))
    }
}

fn web_address(url: &str) -> Option<(SocketAddr, String, String)> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"))?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_port(authority)?;
    let addr = resolve(&host, port.unwrap_or(80)).ok()?;
    Some((addr, authority.to_owned(), if path.is_empty() { "/ws".to_owned() } else { format!("/{path}") }))
}

/// Accounts lent to one case; given back when dropped.
pub(crate) struct Lease {
    accounts: Vec<Account>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Deref for Lease {
    type Target = [Account];
    fn deref(&self) -> &[Account] {
        &self.accounts
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.accounts.lock().expect("no holder panics").append(&mut self.accounts);
    }
}

/// What one case holds.
#[derive(Clone)]
pub(crate) struct Ctx {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Transcript,
    /// A word of this case alone, put into bodies.
    pub(crate) token: String,
    pub(crate) warnings: Arc<Mutex<Vec<String>>>,
}

impl Ctx {
    pub(crate) fn new(shared: &Arc<Shared>) -> Ctx {
        Ctx { shared: shared.clone(), log: Transcript::new(), token: shared.id(), warnings: Arc::default() }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }

    pub(crate) fn domain(&self) -> &str {
        self.shared.options.domain()
    }

    pub(crate) fn proto(&self) -> Proto {
        self.options().target.proto
    }

    pub(crate) fn id(&self) -> String {
        self.shared.id()
    }

    /// Records that a SHOULD beside the case's own rule is not held.
    pub(crate) fn should(&self, holds: bool, why: impl Into<String>) {
        if !holds {
            self.warnings.lock().expect("no holder panics").push(why.into());
        }
    }

    /// Borrows `count` accounts and removes their bindings.
    pub(crate) async fn accounts(&self, count: usize) -> Verdict<Lease> {
        let total = self.shared.total;
        if total < count {
            return skip(format!("needs {count} accounts, {total} given"));
        }
        let permit = self.shared.free.clone().acquire_many_owned(count as u32).await;
        let Ok(permit) = permit else { return fail("the run ended") };
        let accounts = {
            let mut pool = self.shared.accounts.lock().expect("no holder panics");
            let at = pool.len() - count;
            let mut taken = pool.split_off(at);
            taken.reverse();
            taken
        };
        let lease = Lease { accounts, shared: self.shared.clone(), _permit: permit };
        for account in lease.iter() {
            self.ua(account).await?.clear().await?;
        }
        Ok(lease)
    }

    /// A user agent of that account on a new flow of the run's transport.
    pub(crate) async fn ua(&self, account: &Account) -> Verdict<Ua> {
        Ok(Ua::new(self, self.link(self.proto()).await?, account))
    }

    pub(crate) async fn ua_over(&self, account: &Account, proto: Proto) -> Verdict<Ua> {
        Ok(Ua::new(self, self.link(proto).await?, account))
    }

    /// A user agent without an account, for requests that need none.
    pub(crate) async fn stranger(&self) -> Verdict<Ua> {
        self.stranger_over(self.proto()).await
    }

    pub(crate) async fn stranger_over(&self, proto: Proto) -> Verdict<Ua> {
        let account = Account { user: format!("nobody-{}", self.token), password: String::new() };
        self.ua_over(&account, proto).await
    }

    /// A new flow. UDP and TCP share the target's port; the others need a target or a URL of their own.
    pub(crate) async fn link(&self, proto: Proto) -> Verdict<Link> {
        let target = &self.options().target;
        let plain = matches!(target.proto, Proto::Udp | Proto::Tcp);
        let made = match proto {
            Proto::Udp if plain => Link::udp(target.addr, &self.log).await,
            Proto::Tcp if plain => Link::tcp(target.addr, &self.log).await,
            Proto::Tls if target.proto == Proto::Tls => Link::tls(target.addr, &target.host, &self.log).await,
            Proto::Ws if target.proto == Proto::Ws => {
                Link::ws(target.addr, &target.addr.to_string(), "/ws", &self.log).await
            }
            Proto::Ws => match &self.shared.ws {
                Some((addr, host, path)) => Link::ws(*addr, host, path, &self.log).await,
                None => return skip("no --http given"),
            },
            _ => return skip(format!("no {} address given", proto.name())),
        };
        made.or_else(|error| fail(format!("cannot open a {} flow: {error}", proto.name())))
    }
}
