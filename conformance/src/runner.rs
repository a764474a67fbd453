//! Runs the cases, many at a time.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::case::{Case, Ctx, Level, SILENCE, Shared, Stop};
use crate::msrp::Places;
use crate::push::PushService;
use crate::report::{Report, Status, Tested};
use crate::suite;
use crate::target::{Options, TargetError, host_port, resolve};

/// Cases under way at once.
const AT_ONCE: usize = 24;

/// A rule that can be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub suite: &'static str,
    pub name: String,
    pub section: String,
    pub level: Level,
    pub rule: String,
}

/// Every case, in order of suite and section.
pub fn list() -> Vec<Listed> {
    let listed = |case: Case| Listed {
        suite: case.suite,
        name: case.name,
        section: case.section,
        level: case.level,
        rule: case.rule,
    };
    suite::all().into_iter().map(listed).collect()
}

/// Runs the chosen suites against the target, after an OPTIONS has shown that it answers, and reports on every case in the order of [`list`].
pub async fn run(options: Options) -> Result<Report, TargetError> {
    let cases = suite::all();
    if let Some(unknown) = options.suites.iter().find(|name| !cases.iter().any(|case| case.suite == **name)) {
        return Err(TargetError::Suite(unknown.clone()));
    }
    let started = Instant::now();
    let (keep, target) = (options.keep_transcripts, options.target.clone());
    let msrp = options.msrp.is_some() || options.msrp_tls.is_some();
    let wanted = |case: &Case| {
        let spoken = if case.suite.starts_with("msrp") { msrp } else { options.sip };
        let named = options.suites.iter().any(|s| s == case.suite);
        let always = !suite::ON_DEMAND.contains(&case.suite);
        (if options.suites.is_empty() { spoken && always } else { named && (options.sip || spoken) })
            && case.name.contains(&options.filter)
    };
    let cases: Vec<Case> = cases.into_iter().filter(wanted).collect();
    let places = Places::of(&options)?;
    let speaks_sip = options.sip;
    let push = match &options.push {
        Some(at) => Some(push_service(at).await?),
        None => None,
    };
    let shared = Arc::new(Shared::new(options, places, push));
    if speaks_sip && !answers(&shared).await {
        return Err(TargetError::NoAnswer(format!("{}/{}", target.addr, target.proto.name())));
    }
    if !speaks_sip && TcpStream::connect(target.addr).await.is_err() {
        return Err(TargetError::NoConnection(target.addr.to_string()));
    }
    let gate = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    // Those that take long begin first, or the others would have to be waited for twice.
    let mut order: Vec<(usize, Case)> = cases.into_iter().enumerate().collect();
    order.sort_by_key(|(_, case)| std::cmp::Reverse(case.limit));
    for (at, case) in order {
        let (shared, gate) = (shared.clone(), gate.clone());
        running.spawn(async move {
            let _permit = gate.acquire_owned().await;
            (at, judge(case, &shared, keep).await)
        });
    }
    let mut tested = Vec::new();
    while let Some(done) = running.join_next().await {
        // A case that panicked is this crate's own fault; the rest of the report is still worth having.
        if let Ok(done) = done {
            tested.push(done);
        }
    }
    tested.sort_by_key(|(at, _)| *at);
    if speaks_sip {
        clear_up(&shared).await;
    }
    let cases = tested.into_iter().map(|(_, tested)| tested).collect();
    Ok(Report { target: format!("{}/{}", target.addr, target.proto.name()), took: started.elapsed(), cases })
}

/// The Web Push service of the run, at `HOST:PORT`.
async fn push_service(at: &str) -> Result<PushService, TargetError> {
    let failed = || TargetError::Push(at.to_owned());
    let (host, port) = host_port(at).ok_or_else(failed)?;
    let address = resolve(&host, port.ok_or_else(failed)?)?;
    PushService::open(address).await.map_err(|_| failed())
}

/// Whether anything at all comes back for an OPTIONS; without that every case would fail, slowly.
async fn answers(shared: &Arc<Shared>) -> bool {
    let ctx = Ctx::new(shared);
    let Ok(mut ua) = ctx.stranger().await else { return false };
    let uri = format!("sip:{}", ctx.domain());
    let request = ua.req("OPTIONS", &uri);
    ua.exchange(&request).await.is_ok()
}

async fn judge(case: Case, shared: &Arc<Shared>, keep: bool) -> Tested {
    let started = Instant::now();
    let ctx = Ctx::new(shared);
    let verdict = match tokio::time::timeout(case.limit, (case.run)(ctx.clone())).await {
        Ok(Ok(())) if !ctx.log.faults().is_empty() => {
            Err(Stop::Fail(format!("the target sent what is malformed: {}", ctx.log.faults().join("; "))))
        }
        Ok(verdict) => verdict,
        Err(_) => Err(Stop::Fail(format!("not finished within {} s", case.limit.as_secs()))),
    };
    let warnings = std::mem::take(&mut *ctx.warnings.lock().expect("no holder panics"));
    let (status, why) = match (verdict, case.level) {
        (Ok(()), _) if warnings.is_empty() => (Status::Passed, String::new()),
        (Ok(()), _) => (Status::Warned, warnings.join("; ")),
        (Err(Stop::Skip(why)), _) => (Status::Skipped, why),
        (Err(Stop::Fail(why)), Level::Must | Level::Practice) => (Status::Failed, why),
        (Err(Stop::Fail(why)), Level::Should) => (Status::Warned, why),
    };
    let transcript = ctx.log.take();
    let shown = keep || matches!(status, Status::Failed | Status::Warned);
    Tested {
        suite: case.suite,
        name: case.name,
        section: case.section,
        level: case.level,
        rule: case.rule,
        status,
        why,
        took: started.elapsed(),
        transcript: if shown { transcript } else { String::new() },
    }
}

/// Leaves neither bindings nor messages that wait.
async fn clear_up(shared: &Arc<Shared>) {
    let mut clearing = JoinSet::new();
    for account in shared.options.accounts.clone() {
        let ctx = Ctx::new(shared);
        clearing.spawn(async move {
            let Ok(mut ua) = ctx.ua(&account).await else { return };
            if ua.register().await.is_ok() {
                // Takes and answers what comes, since none of it is this case's.
                let _ = ua.incoming_within("MESSAGE", SILENCE).await;
            }
            let _ = ua.clear().await;
        });
    }
    while clearing.join_next().await.is_some() {}
}
