//! Load generators: registrations, messages, calls, MSRP sessions and XML documents against a target, measured from outside.
//!
//! With a rate the load is open-loop: operation n is due at n/rate, and its latency counts from there, so that a
//! target that falls behind cannot hide it. Without a rate every user repeats its operation as fast as it is answered.

mod agent;
pub mod chat;
mod flow;
pub mod ft;
mod histogram;
pub mod msrp;
pub mod xcap;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use agent::{Agent, Outcome};
pub use histogram::Histogram;

use crate::target::{Target, TargetError};

/// What one operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A REGISTER until its 200; the nonce is used again where the target allows it.
    Register,
    /// A MESSAGE to a registered user until its 200 or 202.
    Message,
    /// INVITE, 200, ACK, BYE, 200; the latency is that of the set-up.
    Call,
    /// A fetch of the presence of a user that has published: SUBSCRIBE, its 200, and the NOTIFY with the document.
    Presence,
}

impl Kind {
    pub fn parse(name: &str) -> Option<Kind> {
        [Kind::Register, Kind::Message, Kind::Call, Kind::Presence].into_iter().find(|kind| kind.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::Register => "register",
            Kind::Message => "message",
            Kind::Call => "call",
            Kind::Presence => "presence",
        }
    }
}

/// A load to be made.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub target: Target,
    pub kind: Kind,
    /// Of the accounts; the target's host when `None`.
    pub domain: Option<String>,
    /// Account names, `{}` standing for the number.
    pub user: String,
    pub password: String,
    /// Number of the first account.
    pub first: usize,
    /// Users that act; each has a flow of its own. Messages and calls need as many again to receive.
    pub users: usize,
    /// Operations a second; 0 for as many as get answered.
    pub rate: f64,
    pub time: Duration,
    /// Octets of a message's body.
    pub size: usize,
    /// How long an operation may take before it has failed.
    pub timeout: Duration,
}

impl LoadOptions {
    /// Fifty users named as those of a test bed, for ten seconds, as fast as they are answered.
    pub fn new(target: Target, kind: Kind) -> LoadOptions {
        LoadOptions {
            target,
            kind,
            domain: None,
            user: "user{}".into(),
            password: "pass{}".into(),
            first: 0,
            users: 50,
            rate: 0.0,
            time: Duration::from_secs(10),
            size: 100,
            timeout: Duration::from_secs(5),
        }
    }

    pub fn domain(&self) -> &str {
        self.domain.as_deref().unwrap_or(&self.target.host)
    }
}

/// Why no load could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error("no users to act")]
    NoUsers,
    #[error("cannot reach the target: {0}")]
    Unreachable(#[from] std::io::Error),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{user} gets no session of the relay: {why}")]
    Session { user: String, why: String },
    #[error("{user} cannot publish: {why}")]
    Publish { user: String, why: String },
    #[error("{user} cannot put a document: {why}")]
    Document { user: String, why: String },
    #[error("{user} cannot register: {why}")]
    Register { user: String, why: String },
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    pub kind: String,
    pub target: String,
    /// From the first operation to the end of the last.
    pub took: Duration,
    pub done: u64,
    pub failed: u64,
    /// Of the failed ones, those without an answer in time.
    pub timeouts: u64,
    /// Requests sent again over UDP.
    pub resent: u64,
    /// Operations that came due and were not begun for want of an idle user.
    pub late: u64,
    /// Octets of bodies that arrived; MSRP only.
    pub octets: u64,
    pub latency: Histogram,
    /// How many operations ended with each status; 0 is no answer.
    pub answers: BTreeMap<u16, u64>,
}

impl LoadReport {
    /// Finished operations a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Millions of octets that arrived a second.
    pub fn megabytes(&self) -> f64 {
        self.octets as f64 / 1e6 / self.took.as_secs_f64().max(1e-9)
    }

    /// True if something was done and nothing failed.
    pub fn exit_ok(&self) -> bool {
        self.done > 0 && self.failed == 0
    }

    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{} against {}: {} done in {:.1} s, {:.0} a second, {} failed ({} without answer), {} sent again, {} late\n",
            self.kind,
            self.target,
            self.done,
            self.took.as_secs_f64(),
            self.rate(),
            self.failed,
            self.timeouts,
            self.resent,
            self.late,
        );
        if self.octets > 0 {
            let _ = writeln!(out, "{:.1} MB arrived, {:.2} MB/s", self.octets as f64 / 1e6, self.megabytes());
        }
        out += "latency";
        out += &quantiles(&self.latency);
        out += "\nanswers";
        for (status, count) in &self.answers {
            let _ = write!(out, "  {status}: {count}");
        }
        out.push('\n');
        out
    }

    /// One JSON object; latencies in microseconds.
    pub fn to_json(&self) -> String {
        self.json().to_string()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": self.kind, "target": self.target, "seconds": self.took.as_secs_f64(), "rate": self.rate(),
            "done": self.done, "failed": self.failed, "timeouts": self.timeouts, "resent": self.resent,
            "late": self.late, "octets": self.octets, "megabytes_per_second": self.megabytes(), "latency_us": micros(&self.latency), "answers": self.answers,
        })
    }

    fn add(&mut self, latency: Duration, outcome: Outcome) {
        *self.answers.entry(outcome.status).or_default() += 1;
        match outcome.status {
            200..=299 => {
                self.done += 1;
                self.latency.record(latency);
            }
            status => {
                self.failed += 1;
                self.timeouts += u64::from(status == 0);
            }
        }
    }

    fn merge(&mut self, other: &LoadReport) {
        self.done += other.done;
        self.failed += other.failed;
        self.timeouts += other.timeouts;
        self.resent += other.resent;
        self.late += other.late;
        self.octets += other.octets;
        self.latency.merge(&other.latency);
        for (status, count) in &other.answers {
            *self.answers.entry(*status).or_default() += count;
        }
    }
}

const QUANTILES: [(&str, f64); 5] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

fn quantiles(latency: &Histogram) -> String {
    QUANTILES.iter().fold(String::new(), |mut out, (name, q)| {
        let _ = write!(out, "  {name} {:.2} ms", latency.quantile(*q).as_secs_f64() * 1e3);
        out
    })
}

fn micros(latency: &Histogram) -> BTreeMap<&'static str, u64> {
    QUANTILES.iter().map(|(name, q)| (*name, latency.quantile(*q).as_micros() as u64)).collect()
}

/// Opens the flows, registers who has to be reachable, then makes the load for its time.
pub async fn run(options: LoadOptions) -> Result<LoadReport, LoadError> {
    if options.users == 0 {
        return Err(LoadError::NoUsers);
    }
    let options = Arc::new(options);
    let mut callees = JoinSet::new();
    if options.kind != Kind::Register {
        for n in 0..options.users {
            let mut callee = Agent::open(&options, options.first + options.users + n).await?;
            callee.register().await.map_err(|why| LoadError::Register { user: callee.user.clone(), why })?;
            if options.kind == Kind::Presence {
                callee.publish().await.map_err(|why| LoadError::Publish { user: callee.user.clone(), why })?;
            }
            callees.spawn(async move { callee.serve().await });
        }
    }
    let mut agents = Vec::with_capacity(options.users);
    for n in 0..options.users {
        agents.push(Agent::open(&options, options.first + n).await?);
    }
    let pace = Pace::new(options.rate, options.time, options.timeout);
    let mut running = JoinSet::new();
    for (n, agent) in agents.into_iter().enumerate() {
        let callee = options.user.replace("{}", &(options.first + options.users + n).to_string());
        running.spawn(act(agent, callee, options.clone(), pace.clone()));
    }
    let mut report = LoadReport {
        kind: options.kind.name().into(),
        target: format!("{}/{}", options.target.addr, options.target.proto.name()),
        ..LoadReport::default()
    };
    while let Some(done) = running.join_next().await {
        if let Ok(part) = done {
            report.merge(&part);
        }
    }
    report.took = pace.start.elapsed();
    callees.abort_all();
    Ok(report)
}

/// When the exchanges of all users are due.
struct Pace {
    /// In a second, by all together; 0: each begins when its last one is done.
    rate: f64,
    begun: AtomicU64,
    start: Instant,
    end: Instant,
    timeout: Duration,
}

impl Pace {
    fn new(rate: f64, time: Duration, timeout: Duration) -> Arc<Pace> {
        let start = Instant::now();
        Arc::new(Pace { rate, begun: AtomicU64::new(0), start, end: start + time, timeout })
    }

    /// Waits until the next exchange is due, and gives the time that it was due at; `None` when there are to be no more.
    async fn next(&self, report: &mut LoadReport) -> Option<Instant> {
        /// Beginning this much after the due time counts as late: nobody was idle.
        const LATE: Duration = Duration::from_millis(50);
        let due = match self.rate > 0.0 {
            false => Instant::now(),
            true => self.start + Duration::from_secs_f64(self.begun.fetch_add(1, Ordering::Relaxed) as f64 / self.rate),
        };
        if due >= self.end {
            return None;
        }
        // A timer that is due already still waits for the next tick of a millisecond.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let now = Instant::now();
        if now >= self.end + self.timeout {
            return None;
        }
        report.late += u64::from(now > due + LATE);
        Some(due)
    }
}

/// One user's share of the load.
async fn act(mut agent: Agent, callee: String, options: Arc<LoadOptions>, pace: Arc<Pace>) -> LoadReport {
    let mut report = LoadReport::default();
    while let Some(due) = pace.next(&mut report).await {
        let outcome = match options.kind {
            Kind::Register => agent.register_once().await,
            Kind::Message => agent.message(&callee).await,
            Kind::Call => agent.call(&callee).await,
            Kind::Presence => agent.fetch(&callee).await,
        };
        report.add(outcome.at.saturating_duration_since(due), outcome);
        if outcome.status == 0 && !agent.reopen().await {
            break;
        }
    }
    report.resent = agent.resent;
    report
}
