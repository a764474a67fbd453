//! Group chats: in each group one member writes, one message after the other, and all others get it over sessions of their own.
//!
//! A message is done when the last member has all of it; what its copies take is measured one by one. Members may be stalled:
//! they are in the session and read nothing, and nobody waits for them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::session::Session;
use super::user::User;
use super::{ChatOptions, Note, Shared};
use crate::load::agent::Outcome;
use crate::load::{Histogram, LoadError, LoadOptions, LoadReport, Pace, micros, quantiles};

/// How long all members have to get the first message of their group, which tells that they are in.
const GATHERS: Duration = Duration::from_secs(120);

/// A group load to be made.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Target, accounts, rate, time and size of a text; its `kind` and `users` are not looked at.
    pub load: LoadOptions,
    pub groups: usize,
    /// Of each group, the one who writes included. Every member is a user of its own.
    pub members: usize,
    /// Of the members of each group: those who read nothing.
    pub stalled: usize,
    /// The process whose CPU time is measured, on this machine.
    pub pid: Option<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct GroupReport {
    /// A message is done when its last copy has arrived.
    pub messages: LoadReport,
    pub groups: usize,
    pub members: usize,
    /// From the time a message was due to the 200 of its last octet.
    pub confirmed: Histogram,
    /// From the time a message was due to each of its copies.
    pub copies: Histogram,
    /// Copies that came more than once.
    pub again: u64,
    /// From the first INVITE to the moment at which all members had the first message.
    pub gathered: Duration,
    /// CPU time of the process that was named, while messages were sent.
    pub cpu: Option<Duration>,
    /// By how many bytes its memory grew while the groups were made and all came in.
    pub memory: Option<u64>,
}

impl GroupReport {
    pub fn exit_ok(&self) -> bool {
        self.messages.exit_ok()
    }

    /// Copies delivered a second.
    pub fn copies_rate(&self) -> f64 {
        self.copies.count() as f64 / self.messages.took.as_secs_f64().max(1e-9)
    }

    /// CPU time for each delivered copy, in microseconds.
    pub fn cpu_per_copy(&self) -> Option<f64> {
        Some(self.cpu?.as_secs_f64() * 1e6 / self.copies.count().max(1) as f64)
    }

    /// Memory of the server for each member that came in, its session and its part of the group included, in bytes.
    pub fn memory_per_member(&self) -> Option<f64> {
        Some(self.memory? as f64 / (self.groups * self.members).max(1) as f64)
    }

    pub fn to_text(&self) -> String {
        let mut out = self.messages.to_text();
        let (groups, members, seconds) = (self.groups, self.members, self.gathered.as_secs_f64());
        let _ = writeln!(out, "{groups} groups of {members}, together after {seconds:.1} s");
        let _ = writeln!(
            out,
            "copies {} ({:.0} a second){}",
            self.copies.count(),
            self.copies_rate(),
            quantiles(&self.copies)
        );
        if self.confirmed.count() > 0 {
            let _ = writeln!(out, "to the 200 ({}){}", self.confirmed.count(), quantiles(&self.confirmed));
        }
        if let (Some(cpu), Some(each)) = (self.cpu, self.cpu_per_copy()) {
            let _ = writeln!(out, "CPU {:.2} s, {each:.1} us a copy", cpu.as_secs_f64());
        }
        if let (Some(memory), Some(each)) = (self.memory, self.memory_per_member()) {
            let (all, group) = (memory as f64 / 1e6, memory as f64 / self.groups.max(1) as f64 / 1e3);
            let _ = writeln!(out, "memory {all:.1} MB more, {group:.1} kB a group, {:.1} kB a member", each / 1e3);
        }
        if self.again > 0 {
            let _ = writeln!(out, "{} came again", self.again);
        }
        out
    }

    /// One JSON object: that of a load, and what is only of groups.
    pub fn to_json(&self) -> String {
        let mut json = self.messages.json();
        json["groups"] = self.groups.into();
        json["members"] = self.members.into();
        json["gathered_s"] = self.gathered.as_secs_f64().into();
        json["copies"] = self.copies.count().into();
        json["copies_rate"] = self.copies_rate().into();
        json["copies_us"] = serde_json::json!(micros(&self.copies));
        json["confirmed_us"] = serde_json::json!(micros(&self.confirmed));
        json["again"] = self.again.into();
        if let (Some(cpu), Some(each)) = (self.cpu, self.cpu_per_copy()) {
            json["cpu_s"] = cpu.as_secs_f64().into();
            json["cpu_us_per_copy"] = each.into();
        }
        if let (Some(memory), Some(each)) = (self.memory, self.memory_per_member()) {
            json["memory_bytes"] = memory.into();
            json["memory_bytes_per_member"] = each.into();
        }
        json.to_string()
    }
}

/// CPU time of a process so far; `None` where the system does not say.
pub(in crate::load) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may have blanks in it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // A hundred ticks a second on every Linux there is.
    Some(Duration::from_millis(ticks * 10))
}

/// Memory that a process has in use, in bytes; `None` where the system does not say.
fn memory_of(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Registers all, makes the groups, waits until everybody is in, then makes the load for its time.
pub async fn run(options: GroupOptions) -> Result<GroupReport, LoadError> {
    let GroupOptions { groups, members, stalled, pid, .. } = options;
    if groups == 0 || members < stalled + 2 {
        return Err(LoadError::NoUsers);
    }
    let (notes, inboxes): (Vec<_>, Vec<_>) = (0..groups).map(|_| mpsc::unbounded_channel()).unzip();
    let chat = ChatOptions { load: options.load.clone(), conversations: groups, receipts: false, absent: false };
    let (kept, _nobody) = mpsc::unbounded_channel();
    let shared = Shared::new(chat, notes, kept);
    let mut users = Vec::new();
    for number in 0..groups * members {
        let is_stalled = number % members > members - 1 - stalled;
        let mut user = User::in_group(&shared, number, is_stalled).await?;
        user.register().await?;
        users.push(user);
    }
    let lean = pid.and_then(memory_of);
    let begun = Instant::now();
    let mut background = JoinSet::new();
    let mut opening = JoinSet::new();
    for (number, mut user) in users.into_iter().enumerate() {
        if number % members != 0 {
            background.spawn(async move { user.serve().await });
            continue;
        }
        let group = number / members;
        let (ready, opened) = tokio::sync::oneshot::channel();
        background.spawn(async move {
            let session = user.make_group(group, number + 1..number + members).await;
            let failed = session.is_err();
            // Whoever waits for it is gone only with all of this.
            let _ = ready.send(session);
            if !failed {
                user.serve().await;
            }
        });
        opening.spawn(async move { (group, opened.await) });
    }
    let mut sessions: Vec<(usize, Session)> = Vec::new();
    while let Some(opened) = opening.join_next().await {
        match opened {
            Ok((group, Ok(session))) => sessions.push((group, session?)),
            _ => return Err(LoadError::NoUsers),
        }
    }
    sessions.sort_by_key(|(group, _)| *group);
    let readers = members - 1 - stalled;
    let talks = sessions.into_iter().zip(inboxes).map(|((_, session), notes)| Talk::new(session, notes, readers));
    let mut first = JoinSet::new();
    for mut talk in talks {
        let shared = shared.clone();
        first.spawn(async move {
            let outcome = talk.exchange(&shared, Instant::now(), GATHERS).await.0;
            (talk, outcome)
        });
    }
    let mut gathered = Vec::new();
    while let Some(Ok((talk, outcome))) = first.join_next().await {
        if outcome.status != 200 {
            let why = format!("its first message did not reach all ({}, {} are missing)", outcome.status, talk.missing);
            return Err(LoadError::Session { user: format!("group {}", talk.session.conversation), why });
        }
        gathered.push(Talk { report: GroupReport::default(), ..talk });
    }
    let mut report = GroupReport { groups, members, gathered: begun.elapsed(), ..GroupReport::default() };
    report.memory = pid.and_then(memory_of).zip(lean).map(|(after, before)| after.saturating_sub(before));
    let before = pid.and_then(cpu_of);
    let pace = Pace::new(options.load.rate, options.load.time, options.load.timeout);
    let mut running = JoinSet::new();
    for talk in gathered {
        running.spawn(talk.run(shared.clone(), pace.clone()));
    }
    while let Some(done) = running.join_next().await {
        if let Ok(talk) = done {
            report.messages.merge(&talk.report.messages);
            report.confirmed.merge(&talk.report.confirmed);
            report.copies.merge(&talk.report.copies);
            report.again += talk.report.again;
        }
    }
    report.messages.took = pace.start.elapsed();
    report.messages.kind = "group".into();
    report.messages.target = format!("{}/{}", options.load.target.addr, options.load.target.proto.name());
    report.cpu = pid.and_then(cpu_of).zip(before).map(|(after, before)| after.saturating_sub(before));
    report.again += shared.copies.load(Ordering::Relaxed);
    background.abort_all();
    Ok(report)
}

/// A group: the session of who writes, and what becomes of its messages.
struct Talk {
    session: Session,
    notes: mpsc::UnboundedReceiver<Note>,
    /// Messages sent so far.
    number: u64,
    /// Members that are to get each.
    readers: usize,
    /// Of the last message: how many did not get it.
    missing: usize,
    report: GroupReport,
}

impl Talk {
    fn new(session: Session, notes: mpsc::UnboundedReceiver<Note>, readers: usize) -> Talk {
        Talk { session, notes, number: 0, readers, missing: readers, report: GroupReport::default() }
    }

    async fn run(mut self, shared: Arc<Shared>, pace: Arc<Pace>) -> Talk {
        while let Some(due) = pace.next(&mut self.report.messages).await {
            let wait = shared.options.load.timeout;
            let (outcome, usable) = self.exchange(&shared, due, wait).await;
            self.report.messages.add(outcome.at.saturating_duration_since(due), outcome);
            if !usable {
                break;
            }
        }
        self
    }

    /// Sends a message and waits until all have it; `false` where the session is of no more use.
    async fn exchange(&mut self, shared: &Shared, due: Instant, wait: Duration) -> (Outcome, bool) {
        let until = Instant::now() + wait;
        self.number += 1;
        self.missing = self.readers;
        let none = |usable| (Outcome { status: 0, at: Instant::now() }, usable);
        let id = shared.id((self.session.conversation, self.number));
        match timeout_at(until, self.session.send(shared, self.number, &id)).await {
            Ok(Ok(())) => {}
            _ => return none(false),
        }
        let (mut got, mut last, mut answered) = (HashSet::new(), due, None);
        while self.missing > 0 || answered.is_none() {
            let Ok(note) = timeout_at(until, self.notes.recv()).await else { return none(true) };
            let Some(note) = note.filter(|note| !matches!(note, Note::Closed)) else { return none(false) };
            match note {
                Note::Arrived { number, octets, at, reader } if number == self.number && got.insert(reader) => {
                    self.report.messages.octets += octets as u64;
                    self.report.copies.record(at.saturating_duration_since(due));
                    self.missing = self.missing.saturating_sub(1);
                    last = last.max(at);
                }
                Note::Arrived { .. } => self.report.again += 1,
                Note::Answered { number, status: 200, at } if number == self.number => answered = Some(at),
                Note::Answered { number, status, at } if number == self.number => {
                    return (Outcome { status, at }, true);
                }
                Note::Answered { .. } | Note::Notified { .. } | Note::Closed => {}
            }
        }
        if let Some(answered) = answered {
            self.report.confirmed.record(answered.saturating_duration_since(due));
        }
        (Outcome { status: 200, at: last }, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_of_a_process_grows() {
        let own = cpu_of(std::process::id());
        if std::path::Path::new("/proc/self/stat").exists() {
            let before = own.expect("it is there");
            let spins = (0..40_000_000_u64).fold(0, |sum: u64, n| std::hint::black_box(sum ^ n));
            assert!(cpu_of(std::process::id()).expect("still there") > before, "{spins}");
            assert!(memory_of(std::process::id()).expect("it has some") > 100_000);
        } else {
            assert_eq!((own, memory_of(std::process::id())), (None, None));
        }
    }

    #[test]
    fn figures_are_those_of_the_copies() {
        let mut report = GroupReport {
            groups: 2,
            members: 3,
            cpu: Some(Duration::from_millis(10)),
            memory: Some(600_000),
            ..GroupReport::default()
        };
        report.messages.took = Duration::from_secs(2);
        (0..4).for_each(|n| report.copies.record(Duration::from_millis(n + 1)));
        assert_eq!((report.copies_rate(), report.cpu_per_copy()), (2.0, Some(2500.0)));
        let text = report.to_text();
        assert!(text.contains("2 groups of 3") && text.contains("2500.0 us a copy"), "{text}");
        assert!(text.contains("memory 0.6 MB more, 300.0 kB a group, 100.0 kB a member"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).expect("an object");
        assert_eq!((&json["copies"], &json["copies_rate"]), (&4.into(), &2.0.into()));
    }
}
