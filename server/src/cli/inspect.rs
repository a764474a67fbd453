//! Commands that ask the running server.

use std::io::Write;

use axum::http::Method;
use chappe_api::{
    Explanation, File, Group, List, MsrpKind, MsrpSession, PresenceOf, PushOf, PushTested, Queue, Registered, Status,
    Waiting,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::output::{self, Table, say};
use super::{Explain, FAILED, FilesCommand, Inspect, MsrpCommand, OK, OfGroup, OfUser, Presence, PushCommand, Trace};
use crate::admin::{Admin, segment};

/// Rows asked for at a time.
const PAGE: usize = 1000;

pub(super) async fn status(options: Inspect) -> anyhow::Result<u8> {
    let status: Status = options.place.running()?.get("/api/status").await?;
    if options.json {
        return output::json(&status).map(|()| OK);
    }
    let ready = if status.readiness.ready { "ready" } else { "NOT READY" };
    say!("chappe {} is {ready}, up {}, pid {}", status.version, output::span(status.uptime_s), status.pid)?;
    for reason in &status.readiness.reasons {
        say!("  {reason}")?;
    }
    say!("\n  domains      {}", status.domains.join(", "))?;
    say!("  data         {}", status.data_dir)?;
    say!("  store        {}", status.store)?;
    let mut before = "";
    for listener in &status.listeners {
        let service = if listener.service == before { "" } else { listener.service.as_str() };
        say!("  {service:<12} {}", listener.url)?;
        before = &listener.service;
    }
    let counts = &status.counts;
    say!("\n  accounts     {}", counts.accounts)?;
    say!("  registered   {} users, {} bindings", counts.registered, counts.bindings)?;
    say!("  connections  {}", counts.connections)?;
    say!("  transactions {}", counts.transactions)?;
    say!("  msrp         {} sessions", counts.msrp_sessions)?;
    say!("  presence     {} publications, {} subscriptions", counts.publications, counts.subscriptions)?;
    if counts.banned > 0 {
        say!("  banned       {} addresses", counts.banned)?;
    }
    let messages = &counts.messages;
    say!(
        "  messages     {} accepted = {} delivered + {} stored + {} expired + {} refused",
        messages.accepted,
        messages.delivered,
        messages.stored,
        messages.expired,
        messages.refused
    )?;
    Ok(if status.readiness.ready { OK } else { FAILED })
}

pub(super) async fn registrations(options: OfUser) -> anyhow::Result<u8> {
    let admin = options.inspect.place.running()?;
    let users: Vec<Registered> = match &options.aor {
        Some(aor) => vec![admin.get(&format!("/api/registrations/{}", segment(aor))).await?],
        None => pages(&admin, "/api/registrations", options.limit).await?,
    };
    show(&options, &users, "Nobody is registered.", |users| {
        let mut table = Table::new(["user", "contact", "flow", "expires", "device", "user agent"]);
        for user in users {
            for binding in &user.bindings {
                table.row([
                    user.aor.clone(),
                    binding.contact.clone(),
                    binding.flow.clone().unwrap_or_default(),
                    output::until(binding.expires),
                    binding.instance_id.clone().unwrap_or_default(),
                    binding.user_agent.clone().unwrap_or_default(),
                ]);
            }
        }
        table
    })
}

pub(super) async fn queue(options: OfUser) -> anyhow::Result<u8> {
    let admin = options.inspect.place.running()?;
    let Some(aor) = &options.aor else {
        let queues: Vec<Queue> = pages(&admin, "/api/queue", options.limit).await?;
        return show(&options, &queues, "No message waits.", |queues| {
            let mut table = Table::new(["user", "messages", "size"]);
            for queue in queues {
                table.row([queue.aor.clone(), queue.messages.to_string(), output::bytes(queue.bytes)]);
            }
            table
        });
    };
    let waiting: Vec<Waiting> = pages(&admin, &format!("/api/queue/{}", segment(aor)), options.limit).await?;
    show(&options, &waiting, "No message waits.", |waiting| {
        let mut table = Table::new(["id", "from", "message-id", "accepted (UTC)", "expires", "size", "device"]);
        for message in waiting {
            table.row([
                message.id.to_string(),
                message.from.clone(),
                message.message_id.clone().unwrap_or_else(|| message.call_id.clone()),
                output::date(message.accepted_ms / 1000),
                output::until(message.expires),
                output::bytes(message.bytes),
                message.device.clone().unwrap_or_else(|| "any".into()),
            ]);
        }
        table
    })
}

pub(super) async fn groups(options: OfGroup) -> anyhow::Result<u8> {
    let admin = options.inspect.place.running()?;
    let OfGroup { id, limit, inspect } = options;
    let Some(id) = id else {
        let groups: Vec<Group> = pages(&admin, "/api/groups", limit).await?;
        let options = OfUser { aor: None, limit, inspect };
        return show(&options, &groups, "There is no group.", |groups| {
            let mut table = Table::new(["id", "subject", "made (UTC)", "entries", "in use"]);
            for group in groups {
                table.row([
                    group.id.clone(),
                    group.subject.clone().unwrap_or_default(),
                    output::date(group.created_ms / 1000),
                    group.last.to_string(),
                    if group.closed_ms.is_some() { "ended".into() } else { yes(group.live) },
                ]);
            }
            table
        });
    };
    let group: Group = admin.get(&format!("/api/groups/{}", segment(&id))).await?;
    if inspect.json {
        return output::json(&group).map(|()| OK);
    }
    say!("{}", group.subject.as_deref().unwrap_or("(no subject)"))?;
    say!("  focus            {}", group.focus)?;
    say!("  contribution-id  {}", group.contribution_id)?;
    say!("  made             {}", output::date(group.created_ms / 1000))?;
    say!("  entries          {}\n", group.last)?;
    let mut table = Table::new(["member", "name", "role", "state", "devices, behind by"]);
    for member in &group.members {
        let behind = member.devices.iter().map(|device| group.last.saturating_sub(device.upto).to_string());
        table.row([
            member.user.clone(),
            member.name.clone().unwrap_or_default(),
            member.role.clone(),
            member.state.clone(),
            behind.collect::<Vec<_>>().join(", "),
        ]);
    }
    output::print(&table)?;
    if !group.messages.is_empty() {
        say!("")?;
        let mut table = Table::new(["number", "message-id", "from", "accepted (UTC)", "delivered", "seen"]);
        for message in &group.messages {
            table.row([
                message.number.to_string(),
                message.message_id.clone(),
                message.from.clone(),
                output::date(message.at_ms / 1000),
                format!("{} of {}", message.delivered, message.of),
                message.displayed.to_string(),
            ]);
        }
        output::print(&table)?;
    }
    Ok(OK)
}

fn yes(is: bool) -> String {
    if is { "yes".into() } else { String::new() }
}

pub(super) async fn msrp(command: MsrpCommand) -> anyhow::Result<u8> {
    match command {
        MsrpCommand::List { limit, inspect } => {
            let admin = inspect.place.running()?;
            let sessions: Vec<MsrpSession> = pages(&admin, "/api/msrp", limit).await?;
            let options = OfUser { aor: None, limit, inspect };
            show(&options, &sessions, "There is no MSRP session.", |sessions| {
                let heading = ["id", "kind", "user", "from user", "to user", "queued", "age", "idle", "client", "peer"];
                let mut table = Table::new(heading);
                for session in sessions {
                    table.row([
                        session.id.to_string(),
                        match session.kind {
                            MsrpKind::Relay => "relay".into(),
                            MsrpKind::Endpoint => "endpoint".into(),
                        },
                        session.user.clone(),
                        output::bytes(session.sent_bytes),
                        output::bytes(session.received_bytes),
                        output::bytes(session.queued_bytes),
                        output::span(session.age_s),
                        output::span(session.idle_s),
                        session.flow.clone(),
                        session.peer.clone().unwrap_or_default(),
                    ]);
                }
                table
            })
        }
        MsrpCommand::Kill { id, place } => {
            let admin = place.running()?;
            admin.call::<()>(Method::DELETE, &format!("/api/msrp/{id}"), None::<&()>).await?;
            say!("Session {id} is ended.")?;
            Ok(OK)
        }
    }
}

pub(super) async fn presence(options: Presence) -> anyhow::Result<u8> {
    let admin = options.inspect.place.running()?;
    let presence: PresenceOf = admin.get(&format!("/api/presence/{}", segment(&options.user))).await?;
    if options.inspect.json {
        return output::json(&presence).map(|()| OK);
    }
    let mut published = Table::new(["publication", "services", "flow", "expires"]);
    for publication in &presence.publications {
        published.row([
            publication.etag.clone(),
            publication.services.join(", "),
            publication.flow.clone(),
            output::until(publication.expires),
        ]);
    }
    let mut watchers = Table::new(["watcher", "status", "rule", "since (UTC)", "expires"]);
    for watcher in &presence.watchers {
        watchers.row([
            watcher.uri.clone(),
            watcher.status.clone(),
            watcher.rule.clone(),
            output::date(watcher.since),
            output::until(watcher.expires),
        ]);
    }
    for (table, none) in [(published, "Nothing is published."), (watchers, "Nobody watches.")] {
        match table.is_empty() {
            true => say!("{none}")?,
            false => output::print(&table)?,
        }
    }
    say!("\n{}", presence.document.trim_end())?;
    Ok(OK)
}

pub(super) async fn push(command: PushCommand) -> anyhow::Result<u8> {
    match command {
        PushCommand::Log(options) => {
            let admin = options.inspect.place.running()?;
            let push: PushOf = admin.get(&format!("/api/push/{}", segment(&options.user))).await?;
            if options.inspect.json {
                return output::json(&push).map(|()| OK);
            }
            let mut table = Table::new(["device", "service", "when (UTC)", "for", "what"]);
            for device in &push.devices {
                for decision in &device.decisions {
                    table.row([
                        device.device.clone(),
                        device.provider.clone(),
                        output::date(decision.at),
                        decision.class.clone(),
                        decision.what.clone(),
                    ]);
                }
            }
            match table.is_empty() {
                true => say!("Nothing was decided about devices of {}.", push.aor)?,
                false => output::print(&table)?,
            }
            Ok(OK)
        }
        PushCommand::Test(options) => {
            let admin = options.inspect.place.running()?;
            let path = format!("/api/push/{}", segment(&options.user));
            let tested: Vec<PushTested> = admin.call(Method::POST, &path, None::<&()>).await?;
            let failed = tested.is_empty() || tested.iter().any(|tested| tested.outcome != "accepted");
            if options.inspect.json {
                output::json(&tested)?;
                return Ok(if failed { FAILED } else { OK });
            }
            let mut table = Table::new(["device", "service", "outcome", "what it said"]);
            for tested in &tested {
                let PushTested { device, provider, outcome, why } = tested.clone();
                table.row([device, provider, outcome, why]);
            }
            match table.is_empty() {
                true => say!("{} has no device that can be pushed to.", options.user)?,
                false => output::print(&table)?,
            }
            Ok(if failed { FAILED } else { OK })
        }
    }
}

pub(super) async fn files(command: FilesCommand) -> anyhow::Result<u8> {
    match command {
        FilesCommand::List(options) => {
            let admin = options.inspect.place.running()?;
            let path = match &options.aor {
                Some(aor) => format!("/api/files?owner={}", segment(aor)),
                None => "/api/files".to_owned(),
            };
            let files: Vec<File> = pages(&admin, &path, options.limit).await?;
            show(&options, &files, "There is no file.", |files| {
                let mut table = Table::new(["id", "owner", "name", "type", "size", "expires (UTC)"]);
                for file in files {
                    table.row([
                        file.id.clone(),
                        file.owner.clone(),
                        file.name.clone(),
                        file.content_type.clone(),
                        output::bytes(file.bytes),
                        output::date_ms(file.expires.saturating_mul(1000)),
                    ]);
                }
                table
            })
        }
        FilesCommand::Remove { id, place } => {
            let admin = place.running()?;
            admin.call::<()>(Method::DELETE, &format!("/api/files/{}", segment(&id)), None::<&()>).await?;
            say!("The file is removed.")?;
            Ok(OK)
        }
    }
}

pub(super) async fn explain(options: Explain) -> anyhow::Result<u8> {
    let admin = options.inspect.place.running()?;
    let explanation: Explanation = admin.get(&format!("/api/explain/{}", segment(&options.id))).await?;
    if options.inspect.json {
        return output::json(&explanation).map(|()| OK);
    }
    let mut table = Table::new(["time (UTC)", "event", "recipient", "device", "status"]);
    for event in &explanation.events {
        table.row([
            output::date_ms(event.at_ms),
            event.event.clone(),
            event.recipient.clone(),
            event.device.clone().unwrap_or_default(),
            event.status.map(|status| status.to_string()).unwrap_or_default(),
        ]);
    }
    output::print(&table)?;
    Ok(OK)
}

pub(super) async fn trace(options: Trace) -> anyhow::Result<u8> {
    let admin = options.place.running()?;
    eprintln!("What happens about {} from now on; Ctrl-C ends it.", options.user);
    let path = format!("/api/trace/{}", segment(&options.user));
    admin
        .follow(&path, |line| {
            // A reader that went away (`| head`) ends the process at the next line.
            if writeln!(std::io::stdout(), "{line}").is_err() {
                std::process::exit(i32::from(OK));
            }
        })
        .await?;
    eprintln!("The server ended the trace.");
    Ok(OK)
}

pub(super) fn console(options: &Inspect) -> anyhow::Result<u8> {
    let url = options.place.running()?.console();
    if options.json {
        return output::json(&serde_json::json!({ "url": url })).map(|()| OK);
    }
    say!("{url}")?;
    Ok(OK)
}

/// Up to `limit` items of a list.
pub(super) async fn pages<T: DeserializeOwned>(admin: &Admin, path: &str, limit: usize) -> anyhow::Result<Vec<T>> {
    let mut items = Vec::new();
    let mut after = String::new();
    let mark = if path.contains('?') { '&' } else { '?' };
    while items.len() < limit {
        let size = PAGE.min(limit - items.len());
        let List { items: more, next } = admin.get(&format!("{path}{mark}limit={size}{after}")).await?;
        items.extend(more);
        match next {
            Some(next) => after = format!("&after={}", segment(&next)),
            None => break,
        }
    }
    Ok(items)
}

pub(super) fn show<T: Serialize>(
    options: &OfUser,
    items: &[T],
    none: &str,
    table: impl FnOnce(&[T]) -> Table,
) -> anyhow::Result<u8> {
    if options.inspect.json {
        return output::json(&items).map(|()| OK);
    }
    let table = table(items);
    if table.is_empty() {
        say!("{none}")?;
    } else {
        output::print(&table)?;
    }
    if items.len() == options.limit {
        eprintln!("Only the first {}: more with --limit.", options.limit);
    }
    Ok(OK)
}
