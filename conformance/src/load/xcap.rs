//! XCAP: every user reads, replaces or edits a document of lists over a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::agent::Outcome;
use super::{LoadError, LoadReport, Pace};
use crate::case::Stop;
use crate::http::{Ask, Client, Reply};
use crate::target::{Account, TargetError, host_port, resolve};

/// What one operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// GET of the whole document.
    Get,
    /// PUT of the whole document, each time another.
    Put,
    /// PUT of one entry, each time another.
    Element,
}

impl Operation {
    pub fn parse(name: &str) -> Option<Operation> {
        [Operation::Get, Operation::Put, Operation::Element].into_iter().find(|operation| operation.name() == name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Operation::Get => "get",
            Operation::Put => "put",
            Operation::Element => "element",
        }
    }
}

/// An XCAP load to be made.
#[derive(Debug, Clone)]
pub struct XcapOptions {
    /// The XCAP root: `http://HOST[:PORT][/PATH]`, `/xcap-root` where there is no path.
    pub target: String,
    /// Of the accounts; the host of the target when `None`.
    pub domain: Option<String>,
    pub operation: Operation,
    /// Account names, `{}` standing for the number.
    pub user: String,
    pub password: String,
    /// Number of the first account.
    pub first: usize,
    pub users: usize,
    /// Operations a second; 0 for as many as get answered.
    pub rate: f64,
    pub time: Duration,
    /// Entries of each list.
    pub entries: usize,
    /// How long an operation may take before it has failed.
    pub timeout: Duration,
}

impl XcapOptions {
    /// Ten users named as those of a test bed, for ten seconds, as fast as they are answered.
    pub fn new(target: &str, operation: Operation) -> XcapOptions {
        XcapOptions {
            target: target.to_owned(),
            domain: None,
            operation,
            user: "user{}".into(),
            password: "pass{}".into(),
            first: 0,
            users: 10,
            rate: 0.0,
            time: Duration::from_secs(10),
            entries: 8,
            timeout: Duration::from_secs(5),
        }
    }
}

/// One user, its connection and its document.
struct Editor {
    client: Client,
    path: String,
    domain: String,
    entries: usize,
    count: usize,
}

impl Editor {
    /// A document, another one each time.
    fn document(&mut self) -> String {
        self.count += 1;
        let entry = |n: usize| {
            let (count, domain) = (self.count, &self.domain);
            format!("<entry uri=\"sip:buddy{n}-{count}@{domain}\"><display-name>Buddy {n}</display-name></entry>\n")
        };
        let entries: String = (0..self.entries).map(entry).collect();
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\n\
             <list name=\"friends\">\n{entries}</list>\n</resource-lists>\n"
        )
    }

    async fn put_document(&mut self) -> Result<Reply, Stop> {
        let (body, target) = (self.document(), self.path.clone());
        let headers = [("Content-Type", "application/resource-lists+xml")];
        self.client.ask(Ask { method: "PUT", target: &target, headers: &headers, body: body.as_bytes() }).await
    }

    async fn once(&mut self, operation: Operation) -> Result<Reply, Stop> {
        match operation {
            Operation::Get => {
                let target = self.path.clone();
                self.client.ask(Ask { method: "GET", target: &target, ..Ask::default() }).await
            }
            Operation::Put => self.put_document().await,
            Operation::Element => {
                self.count += 1;
                let target = format!("{}/~~/resource-lists/list/entry%5B1%5D", self.path);
                let body = format!("<entry uri=\"sip:first-{}@{}\"/>", self.count, self.domain);
                let headers = [("Content-Type", "application/xcap-el+xml")];
                self.client.ask(Ask { method: "PUT", target: &target, headers: &headers, body: body.as_bytes() }).await
            }
        }
    }
}

/// Puts a document for each user, then makes the load for its time.
pub async fn run(options: XcapOptions) -> Result<LoadReport, LoadError> {
    if options.users == 0 {
        return Err(LoadError::NoUsers);
    }
    let bad = || TargetError::Uri(options.target.clone());
    let rest = options.target.strip_prefix("http://").ok_or_else(bad)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = host_port(authority).ok_or_else(bad)?;
    let addr = resolve(&host, port.unwrap_or(80))?;
    let root = if path.is_empty() { "xcap-root" } else { path.trim_end_matches('/') };
    let domain = options.domain.clone().unwrap_or(host);
    let mut editors = Vec::with_capacity(options.users);
    for n in options.first..options.first + options.users {
        let named = |pattern: &str| pattern.replace("{}", &n.to_string());
        let account = Account { user: named(&options.user), password: named(&options.password) };
        let user = account.user.clone();
        let path = format!("/{root}/resource-lists/users/sip:{user}@{domain}/load");
        let client = Client::new(addr, authority, Some(account), None);
        let mut editor = Editor { client, path, domain: domain.clone(), entries: options.entries.max(1), count: 0 };
        match editor.put_document().await {
            Ok(reply) if reply.status < 300 => editors.push(editor),
            Ok(reply) => return Err(LoadError::Document { user, why: reply.status.to_string() }),
            Err(Stop::Fail(why) | Stop::Skip(why)) => return Err(LoadError::Document { user, why }),
        }
    }
    let pace = Pace::new(options.rate, options.time, options.timeout);
    let mut running = JoinSet::new();
    let (operation, patience) = (options.operation, options.timeout);
    for mut editor in editors {
        let pace = Arc::clone(&pace);
        running.spawn(async move {
            let mut report = LoadReport::default();
            while let Some(due) = pace.next(&mut report).await {
                let status = match timeout(patience, editor.once(operation)).await {
                    Ok(Ok(reply)) => reply.status,
                    _ => 0,
                };
                let at = Instant::now();
                report.add(at.saturating_duration_since(due), Outcome { status, at });
            }
            report
        });
    }
    let kind = format!("xcap {}", operation.name());
    let mut report = LoadReport { kind, target: options.target.clone(), ..LoadReport::default() };
    while let Some(done) = running.join_next().await {
        if let Ok(part) = done {
            report.merge(&part);
        }
    }
    report.took = pace.start.elapsed();
    Ok(report)
}
