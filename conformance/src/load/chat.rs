//! Chat: users in conversations over MSRP sessions that end at a chat server, which brings each message to the other side.
//!
//! Every user has one SIP flow, and one MSRP connection for each session. Half of the users write, one message after the other
//! in each conversation, and the others read. With readers that are there, a message is done when all of it is at the
//! reader's; with readers that are absent, when its writer has the 200, and when the time is over the readers register and
//! get what was kept for them.

pub mod group;
mod session;
mod user;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::agent::Outcome;
use super::{Histogram, LoadError, LoadOptions, LoadReport, Pace, quantiles};
use session::Session;
use user::User;

/// For so long nothing has to come before what was kept is taken for lost.
const STILL: Duration = Duration::from_secs(15);

/// A chat load to be made.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// Target, accounts, rate, time and size of a text; its `kind` is not looked at.
    pub load: LoadOptions,
    /// Conversation n is written by user n, counted round, for one of the others.
    pub conversations: usize,
    /// Ask for delivery notifications, and wait for them.
    pub receipts: bool,
    /// The readers are not there until the time is over.
    pub absent: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct ChatReport {
    /// A message is done when it has arrived, or with absent readers when it was confirmed.
    pub messages: LoadReport,
    /// From the time a message was due to the 200 of its last octet.
    pub confirmed: Histogram,
    /// And to the notification that it was delivered.
    pub notified: Histogram,
    /// Messages that came more than once.
    pub copies: u64,
    /// With absent readers: what they got when they came.
    pub drained: Option<Drained>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    pub arrived: u64,
    /// Confirmed to their senders, and not arrived.
    pub lost: u64,
    /// From the first REGISTER to the last arrival.
    pub took: Duration,
}

impl Drained {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.arrived as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

impl ChatReport {
    /// True if something was done and nothing failed or was lost.
    pub fn exit_ok(&self) -> bool {
        self.messages.exit_ok() && self.drained.is_none_or(|drained| drained.lost == 0)
    }

    pub fn to_text(&self) -> String {
        let mut out = self.messages.to_text();
        for (name, latency) in [("to the 200", &self.confirmed), ("to the notification", &self.notified)] {
            if latency.count() > 0 {
                let _ = writeln!(out, "{name} ({}){}", latency.count(), quantiles(latency));
            }
        }
        if let Some(drained) = &self.drained {
            let Drained { arrived, lost, took } = drained;
            let (seconds, rate) = (took.as_secs_f64(), drained.rate());
            let _ = writeln!(out, "drained {arrived} in {seconds:.1} s, {rate:.0} a second, {lost} lost");
        }
        if self.copies > 0 {
            let _ = writeln!(out, "{} came again", self.copies);
        }
        out
    }

    /// One JSON object: that of a load, and what is only of chats.
    pub fn to_json(&self) -> String {
        let mut json = self.messages.json();
        json["confirmed_us"] = serde_json::json!(super::micros(&self.confirmed));
        json["notified"] = self.notified.count().into();
        json["notified_us"] = serde_json::json!(super::micros(&self.notified));
        json["copies"] = self.copies.into();
        if let Some(drained) = &self.drained {
            json["drained"] = serde_json::json!({
                "arrived": drained.arrived, "lost": drained.lost, "seconds": drained.took.as_secs_f64(),
                "rate": drained.rate(),
            });
        }
        json.to_string()
    }
}

/// Whose a message is: its conversation and its number in it.
type Which = (usize, u64);

/// What a conversation is told of its messages.
#[derive(Debug, Clone, Copy)]
enum Note {
    /// All of it is at that reader's.
    Arrived { number: u64, octets: usize, at: Instant, reader: usize },
    /// The answer to the last chunk.
    Answered { number: u64, status: u16, at: Instant },
    /// The reader has said that it was delivered.
    Notified { number: u64, at: Instant },
    /// The writer's session is over.
    Closed,
}

/// What all share.
struct Shared {
    options: ChatOptions,
    /// Tells the messages of this run from others that wait.
    run: u64,
    /// By conversation.
    notes: Vec<mpsc::UnboundedSender<Note>>,
    /// Arrivals that nobody waits for: what readers get who were absent.
    kept: mpsc::UnboundedSender<(Which, Instant)>,
    copies: AtomicU64,
    ids: AtomicU64,
}

impl Shared {
    fn new(
        options: ChatOptions,
        notes: Vec<mpsc::UnboundedSender<Note>>,
        kept: mpsc::UnboundedSender<(Which, Instant)>,
    ) -> Arc<Shared> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let run = now.map_or(0, |now| now.as_micros() as u64);
        Arc::new(Shared { options, run, notes, kept, copies: AtomicU64::new(0), ids: AtomicU64::new(0) })
    }

    /// A number that no other call gets.
    fn next(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn tell(&self, conversation: usize, note: Note) {
        if let Some(notes) = self.notes.get(conversation) {
            // One that has ended wants to know nothing more.
            let _ = notes.send(note);
        }
    }

    fn arrived(&self, which: Which, octets: usize, at: Instant, reader: usize) {
        if self.options.absent {
            // The run may be over.
            let _ = self.kept.send((which, at));
        } else {
            self.tell(which.0, Note::Arrived { number: which.1, octets, at, reader });
        }
    }

    /// The IMDN Message-ID of a message.
    fn id(&self, (conversation, number): Which) -> String {
        format!("load{:x}.{conversation:x}.{number:x}", self.run)
    }

    /// The other way round; `None` for a message that is not of this run.
    fn which(&self, id: &str) -> Option<Which> {
        let mut parts = id.strip_prefix("load")?.split('.');
        let mut next = || u64::from_str_radix(parts.next()?, 16).ok();
        let (run, conversation, number) = (next()?, next()?, next()?);
        (run == self.run).then_some((conversation as usize, number))
    }
}

/// Writer and reader of a conversation: the first half of the users write, each to another one of the other half.
fn sides(conversation: usize, users: usize) -> (usize, usize) {
    (conversation % users, users + (conversation + conversation / users) % users)
}

/// Registers, opens sessions, then makes the load for its time.
pub async fn run(options: ChatOptions) -> Result<ChatReport, LoadError> {
    let users = options.load.users;
    if users == 0 || options.conversations == 0 {
        return Err(LoadError::NoUsers);
    }
    let (notes, inboxes): (Vec<_>, Vec<_>) = (0..options.conversations).map(|_| mpsc::unbounded_channel()).unzip();
    let (kept, mut arrivals) = mpsc::unbounded_channel();
    let shared = Shared::new(options, notes, kept);
    let options = &shared.options;
    let roles: Vec<(usize, usize)> = (0..options.conversations).map(|n| sides(n, users)).collect();
    let mut present = Vec::new();
    for number in 0..if options.absent { users } else { 2 * users } {
        let mut user = User::open(&shared, number).await?;
        user.register().await?;
        present.push((number, user));
    }
    // Each has its sessions opened and goes on to take calls, all at the same time.
    let mut background = JoinSet::new();
    let mut opening = JoinSet::new();
    for (number, mut user) in present {
        let own = roles.iter().enumerate().filter(|(_, (writer, _))| *writer == number);
        let own: Vec<(usize, usize)> = own.map(|(conversation, (_, reader))| (conversation, *reader)).collect();
        let (ready, opened) = tokio::sync::oneshot::channel();
        background.spawn(async move {
            let mut sessions = Vec::new();
            for (conversation, reader) in own {
                match user.call(conversation, reader).await {
                    Ok(session) => sessions.push(session),
                    Err(error) => {
                        let _ = ready.send(Err(error));
                        return;
                    }
                }
            }
            let _ = ready.send(Ok(sessions));
            user.serve().await;
        });
        opening.spawn(opened);
    }
    let mut sessions: Vec<Session> = Vec::new();
    while let Some(opened) = opening.join_next().await {
        match opened {
            Ok(Ok(opened)) => sessions.extend(opened?),
            _ => return Err(LoadError::NoUsers),
        }
    }
    sessions.sort_by_key(|session| session.conversation);
    let mut talks: Vec<Talk> =
        sessions.into_iter().zip(inboxes).map(|(session, notes)| Talk::new(session, notes)).collect();
    if !options.absent {
        // The first message of each opens the reader's session.
        let mut first = JoinSet::new();
        for mut talk in talks.drain(..) {
            let shared = shared.clone();
            first.spawn(async move {
                let begun = talk.exchange(&shared, Instant::now()).await.0;
                (talk, begun)
            });
        }
        while let Some(Ok((talk, begun))) = first.join_next().await {
            if begun.status != 200 {
                let user = format!("conversation {}", talk.session.conversation);
                return Err(LoadError::Session {
                    user,
                    why: format!("the first message did not arrive ({})", begun.status),
                });
            }
            talks.push(Talk { report: ChatReport::default(), ..talk });
        }
    }
    let pace = Pace::new(options.load.rate, options.load.time, options.load.timeout);
    let mut running = JoinSet::new();
    for talk in talks {
        running.spawn(talk.run(shared.clone(), pace.clone()));
    }
    let mut report = ChatReport::default();
    let mut waits = HashSet::new();
    while let Some(done) = running.join_next().await {
        if let Ok(talk) = done {
            report.merge(&talk.report);
            waits.extend(talk.confirmed);
        }
    }
    report.messages.took = pace.start.elapsed();
    report.messages.kind = if options.absent { "chat, readers absent" } else { "chat" }.into();
    report.messages.target = format!("{}/{}", options.load.target.addr, options.load.target.proto.name());
    if options.absent {
        report.drained = Some(drain(&shared, &mut background, users..2 * users, waits, &mut arrivals).await?);
    }
    report.copies = shared.copies.load(Ordering::Relaxed);
    background.abort_all();
    Ok(report)
}

/// The readers come, and get what was kept.
async fn drain(
    shared: &Arc<Shared>,
    background: &mut JoinSet<()>,
    readers: std::ops::Range<usize>,
    mut waits: HashSet<Which>,
    arrivals: &mut mpsc::UnboundedReceiver<(Which, Instant)>,
) -> Result<Drained, LoadError> {
    let mut users = Vec::new();
    for reader in readers {
        users.push(User::open(shared, reader).await?);
    }
    let begun = Instant::now();
    for mut user in users {
        background.spawn(async move {
            if user.register().await.is_ok() {
                user.serve().await;
            }
        });
    }
    let mut drained = Drained::default();
    while !waits.is_empty() {
        let Ok(Some((which, at))) = timeout_at(Instant::now() + STILL, arrivals.recv()).await else { break };
        if waits.remove(&which) {
            drained.arrived += 1;
            drained.took = at.saturating_duration_since(begun);
        } else {
            shared.copies.fetch_add(1, Ordering::Relaxed);
        }
    }
    drained.lost = waits.len() as u64;
    Ok(drained)
}

/// A conversation: its writer's session, and what becomes of its messages.
struct Talk {
    session: Session,
    notes: mpsc::UnboundedReceiver<Note>,
    /// Messages sent so far.
    number: u64,
    /// When each was due that no notification has come of.
    unnotified: BTreeMap<u64, Instant>,
    report: ChatReport,
    confirmed: Vec<Which>,
}

impl Talk {
    fn new(session: Session, notes: mpsc::UnboundedReceiver<Note>) -> Talk {
        let (unnotified, report, confirmed) = (BTreeMap::new(), ChatReport::default(), Vec::new());
        Talk { session, notes, number: 0, unnotified, report, confirmed }
    }

    async fn run(mut self, shared: Arc<Shared>, pace: Arc<Pace>) -> Talk {
        while let Some(due) = pace.next(&mut self.report.messages).await {
            let (outcome, usable) = self.exchange(&shared, due).await;
            self.report.messages.add(outcome.at.saturating_duration_since(due), outcome);
            if !usable {
                break;
            }
        }
        let until = Instant::now() + shared.options.load.timeout;
        while shared.options.receipts && !shared.options.absent && !self.unnotified.is_empty() {
            match timeout_at(until, self.notes.recv()).await {
                Ok(Some(note)) => self.hear(&shared, note),
                _ => break,
            };
        }
        let missing = if shared.options.absent { 0 } else { self.unnotified.len() as u64 };
        if shared.options.receipts {
            self.report.messages.failed += missing;
            self.report.messages.timeouts += missing;
        }
        self
    }

    /// Sends a message and waits until it is done; `false` where the session is of no more use.
    async fn exchange(&mut self, shared: &Shared, due: Instant) -> (Outcome, bool) {
        let until = Instant::now() + shared.options.load.timeout;
        self.number += 1;
        if shared.options.receipts {
            self.unnotified.insert(self.number, due);
        }
        let none = |usable| (Outcome { status: 0, at: Instant::now() }, usable);
        let id = shared.id((self.session.conversation, self.number));
        match timeout_at(until, self.session.send(shared, self.number, &id)).await {
            Ok(Ok(())) => {}
            _ => return none(false),
        }
        // Both are waited for: what was not confirmed may not count, and the next SEND is not to overtake the answer.
        let (mut arrived, mut answered) = (shared.options.absent.then_some(due), None);
        while arrived.is_none() || answered.is_none() {
            let Ok(note) = timeout_at(until, self.notes.recv()).await else { return none(true) };
            let Some(note) = note.filter(|note| !matches!(note, Note::Closed)) else { return none(false) };
            match note {
                Note::Arrived { number, octets, at, .. } if number == self.number => {
                    self.report.messages.octets += octets as u64;
                    arrived = Some(at);
                }
                Note::Answered { number, status: 200, at } if number == self.number => answered = Some(at),
                Note::Answered { number, status, at } if number == self.number => {
                    return (Outcome { status, at }, true);
                }
                other => self.hear(shared, other),
            }
        }
        let (Some(arrived), Some(answered)) = (arrived, answered) else { return none(true) };
        self.report.confirmed.record(answered.saturating_duration_since(due));
        if !shared.options.absent {
            return (Outcome { status: 200, at: arrived }, true);
        }
        self.confirmed.push((self.session.conversation, self.number));
        (Outcome { status: 200, at: answered }, true)
    }

    /// News of older messages.
    fn hear(&mut self, shared: &Shared, note: Note) {
        match note {
            Note::Notified { number, at } => {
                if let Some(due) = self.unnotified.remove(&number) {
                    self.report.notified.record(at.saturating_duration_since(due));
                }
            }
            Note::Arrived { .. } => {
                shared.copies.fetch_add(1, Ordering::Relaxed);
            }
            Note::Answered { .. } | Note::Closed => {}
        }
    }
}

impl ChatReport {
    fn merge(&mut self, other: &ChatReport) {
        self.messages.merge(&other.messages);
        self.confirmed.merge(&other.confirmed);
        self.notified.merge(&other.notified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_spread_over_writers_and_readers() {
        let all: Vec<_> = (0..6).map(|conversation| sides(conversation, 3)).collect();
        assert_eq!(all, [(0, 3), (1, 4), (2, 5), (0, 4), (1, 5), (2, 3)]);
        assert_eq!(sides(7, 1), (0, 1));
    }

    #[test]
    fn ids_tell_run_conversation_and_number() {
        let options = ChatOptions {
            load: LoadOptions::new(
                crate::Target::parse("sip:127.0.0.1").expect("a target"),
                super::super::Kind::Message,
            ),
            conversations: 1,
            receipts: false,
            absent: false,
        };
        let (kept, _) = mpsc::unbounded_channel();
        let shared =
            Shared { options, run: 0xabc, notes: Vec::new(), kept, copies: AtomicU64::new(0), ids: AtomicU64::new(0) };
        let id = shared.id((31, 10));
        assert_eq!(shared.which(&id), Some((31, 10)));
        assert_eq!([shared.which(&id.replace("abc", "abd")), shared.which("x"), shared.which("loadabc.1")], [None; 3]);
    }
}
