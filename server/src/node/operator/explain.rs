//! The way of one message, step by step, from what is remembered of it and what is on disk.

use chappe_api::{Explanation, Hop, HopProtocol, NodeError, WaitsFor};
use chappe_store::{Event, Fate, Wanted};

use super::users::reason;
use super::{Operator, event};
use crate::accounts::unavailable;
use crate::push::{DeviceLog, log_of};
use crate::steps::{By, Kept, Kind, Step};

/// Waiting messages of one recipient that are looked through.
const SEARCHED: usize = 1000;
/// A stored outcome and the step that led to it are this close, in milliseconds.
const CLOSE: u64 = 5000;

impl Operator {
    pub(super) async fn explained(&self, id: &str) -> Result<Explanation, NodeError> {
        let core = &self.core;
        let mut fates = core.stores.fates.lookup(id).await.map_err(unavailable)?;
        fates.extend(core.recent.fates(id));
        crate::service::group::explain(core, &mut fates).await.map_err(unavailable)?;
        fates.sort_by_key(|fate| fate.at_ms);
        // Receipts name the one, attempts both.
        let mut ids: Vec<&str> = fates.iter().filter_map(|fate| fate.message_id.as_deref()).chain([id]).collect();
        ids.dedup();
        let steps = core.recent.steps(&ids);
        if fates.is_empty() && !steps.iter().any(|kept| kept.get().kind == Kind::Taken) {
            return Err(NodeError::NotFound { what: "message" });
        }
        let mut recipients: Vec<&str> = fates.iter().map(|fate| &*fate.recipient).collect();
        recipients.sort_unstable();
        recipients.dedup();
        let wakes: Vec<(&str, DeviceLog)> =
            recipients.iter().flat_map(|aor| log_of(core, aor).into_iter().map(|log| (*aor, log))).collect();
        let waiting = self.waits(id, &fates, &recipients).await?;
        let end = waiting.is_empty().then(|| fates.last().map_or(0, |fate| fate.at_ms));
        let from = steps.iter().map(Kept::get).map(|step| step.sender).find(|sender| !sender.is_empty());
        Ok(Explanation {
            id: id.to_owned(),
            events: fates.iter().map(event).collect(),
            from: from.map(ToOwned::to_owned),
            hops: hops(&fates, &steps, &wakes, end),
            waiting,
        })
    }

    /// For whom it waits now.
    async fn waits(&self, id: &str, fates: &[Fate], recipients: &[&str]) -> Result<Vec<WaitsFor>, NodeError> {
        let is_stored = |aor: &&&str| fates.iter().any(|fate| *fate.recipient == ***aor && fate.event == Event::Stored);
        let wanted: Vec<Wanted> = recipients
            .iter()
            .filter(is_stored)
            .map(|aor| Wanted { recipient: (*aor).into(), device: None, after: 0 })
            .collect();
        let found = self.core.stores.queue.pending(&wanted, SEARCHED).await.map_err(unavailable)?;
        let own = found.iter().flatten().filter(|m| m.message_id.as_deref() == Some(id) || *m.call_id == *id);
        Ok(own
            .map(|message| WaitsFor {
                recipient: message.recipient.to_string(),
                device: message.device.as_ref().map(ToString::to_string),
                reason: reason(&self.core, message),
                expires: message.expires_at,
            })
            .collect())
    }
}

const SERVER: &str = "server";

/// A device of a user, as a party.
fn party(aor: &str, device: Option<&str>) -> String {
    device.map_or_else(|| aor.to_owned(), |device| format!("{aor} {device}"))
}

/// The steps in their order. `end`: what was pushed later has nothing to do with the message, in milliseconds since the epoch.
fn hops(fates: &[Fate], steps: &[Kept], wakes: &[(&str, DeviceLog)], end: Option<u64>) -> Vec<Hop> {
    let mut hops: Vec<Hop> = steps.iter().flat_map(|kept| of_step(&kept.get())).collect();
    let start = fates.iter().map(|fate| fate.at_ms).min().unwrap_or(0);
    for fate in fates {
        if !steps.iter().any(|kept| tells(&kept.get(), fate)) {
            hops.extend(of_fate(fate));
        }
    }
    for (aor, log) in wakes {
        let during =
            log.entries.iter().filter(|entry| entry.at_ms >= start && end.is_none_or(|end| entry.at_ms <= end));
        hops.extend(during.filter_map(|entry| of_push(aor, log, entry)));
    }
    hops.sort_by_key(|hop| (hop.at_ms, rank(hop)));
    hops
}

/// What comes first of what is told within one millisecond; the rest stays as it was told.
fn rank(hop: &Hop) -> u8 {
    match hop.what.as_str() {
        "MESSAGE" | "SEND" if hop.to == SERVER => 0,
        "REGISTER" => 1,
        _ => 2,
    }
}

/// Whether a step is what an entry on disk is about.
fn tells(step: &Step<'_>, fate: &Fate) -> bool {
    let is_end = |kind: Kind| step.kind == kind && step.at_ms.abs_diff(fate.at_ms) < CLOSE;
    let is_taken = (200..300).contains(&step.status);
    step.recipient == &*fate.recipient
        && match fate.event {
            Event::Accepted | Event::Stored => {
                matches!(step.kind, Kind::Relayed | Kind::Taken) && fate.device.is_none()
            }
            Event::Delivered => step.kind == Kind::Relayed || (is_end(Kind::Tried) && is_taken),
            Event::Expired => is_end(Kind::Expired),
            Event::Refused => is_end(Kind::Refused),
            _ => false,
        }
}

fn hop(at_ms: u64, from: &str, to: &str, protocol: HopProtocol, what: &str) -> Hop {
    Hop {
        at_ms,
        from: from.to_owned(),
        to: to.to_owned(),
        protocol,
        what: what.to_owned(),
        status: None,
        flow: None,
        failed: false,
    }
}

fn protocol(by: By) -> HopProtocol {
    match by {
        By::Sip => HopProtocol::Sip,
        By::Msrp => HopProtocol::Msrp,
    }
}

/// What a status says, in the words of its protocol.
fn phrase(by: By, status: u16) -> &'static str {
    match by {
        By::Sip => chappe_sip::reason_phrase(status),
        By::Msrp => {
            if status < 300 {
                "OK"
            } else {
                "not taken"
            }
        }
    }
}

fn of_step(step: &Step<'_>) -> Vec<Hop> {
    let by = protocol(step.by);
    let request = if step.by == By::Sip { "MESSAGE" } else { "SEND" };
    let (came, went) = (step.came.map(|flow| flow.to_string()), step.went.map(|flow| flow.to_string()));
    let sender = if step.sender.is_empty() { "sender" } else { step.sender };
    let device = party(step.recipient, step.device);
    let to_us = |at| Hop { flow: came.clone(), ..hop(at, sender, SERVER, by, request) };
    let answer = |at, status| Hop {
        status: Some(status),
        flow: came.clone(),
        failed: status >= 300,
        ..hop(at, SERVER, sender, by, phrase(step.by, status))
    };
    let to_device = Hop { flow: went.clone(), ..hop(step.begun_ms, SERVER, &device, by, request) };
    let answered = match step.status {
        // No device says so of a MESSAGE: nothing came back.
        408 => Hop { failed: true, ..hop(step.at_ms, SERVER, SERVER, by, "no answer in time") },
        430 => Hop { failed: true, ..hop(step.at_ms, SERVER, SERVER, by, "the connection is gone") },
        status => Hop {
            status: Some(status),
            flow: went.clone(),
            failed: status >= 300,
            ..hop(step.at_ms, &device, SERVER, by, phrase(step.by, status))
        },
    };
    let note = |what, failed| vec![Hop { failed, ..hop(step.at_ms, SERVER, SERVER, HopProtocol::Store, what) }];
    let receipt = |what| vec![Hop { flow: came.clone(), ..hop(step.at_ms, step.recipient, SERVER, by, what) }];
    match step.kind {
        Kind::Relayed => vec![to_us(step.begun_ms), to_device, answered, answer(step.at_ms, step.status)],
        Kind::Taken => {
            let stored = hop(step.at_ms, SERVER, SERVER, HopProtocol::Store, "stored on disk");
            vec![to_us(step.begun_ms), stored, answer(step.at_ms, step.status)]
        }
        Kind::Tried => vec![to_device, answered],
        Kind::Delivered => receipt("IMDN delivered"),
        Kind::Displayed => receipt("IMDN displayed"),
        Kind::Expired => note("expired", true),
        Kind::Refused => note("refused", true),
    }
}

/// What is on disk and not remembered otherwise.
fn of_fate(fate: &Fate) -> Vec<Hop> {
    let device = party(&fate.recipient, fate.device.as_deref());
    let note = |what: &str, failed| Hop { failed, ..hop(fate.at_ms, SERVER, SERVER, HopProtocol::Store, what) };
    let is_copy = fate.device.is_some();
    match fate.event {
        Event::Accepted => vec![hop(fate.at_ms, "sender", SERVER, HopProtocol::Sip, "accepted")],
        Event::Stored if is_copy => vec![note(&format!("stored for {device}"), false)],
        Event::Stored => vec![note(&format!("stored for {}", fate.recipient), false)],
        Event::Delivered => vec![hop(fate.at_ms, SERVER, &device, HopProtocol::Store, "delivered")],
        Event::Expired => vec![note("expired", true)],
        Event::Refused => vec![note("refused", true)],
        Event::ReceiptSent | Event::Deferred | Event::Pushed => vec![note(fate.event.name(), false)],
    }
}

fn of_push(aor: &str, log: &DeviceLog, entry: &crate::push::Entry) -> Option<Hop> {
    if entry.class != "message" {
        return None;
    }
    let (at, service) = (entry.at_ms, format!("push {}", log.provider));
    Some(match entry.what.as_str() {
        "wanted awake" | "is being woken already" => hop(at, SERVER, SERVER, HopProtocol::Push, &entry.what),
        "it registered" => hop(at, &party(aor, Some(&log.device)), SERVER, HopProtocol::Sip, "REGISTER"),
        said => Hop {
            failed: !said.starts_with("accepted"),
            ..hop(at, SERVER, &service, HopProtocol::Push, &format!("push: {said}"))
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Step<'_> = Step {
        kind: Kind::Taken,
        by: By::Sip,
        message_id: Some("m"),
        call_id: "c",
        sender: "a@d",
        recipient: "b@d",
        device: None,
        status: 202,
        begun_ms: 10_000,
        at_ms: 10_004,
        came: None,
        went: None,
    };

    fn fate(event: Event, at_ms: u64) -> Fate {
        Fate {
            message_id: Some("m".into()),
            call_id: "c".into(),
            recipient: "b@d".into(),
            device: None,
            event,
            detail: 0,
            at_ms,
        }
    }

    fn lines(hops: &[Hop]) -> Vec<String> {
        let status = |hop: &Hop| hop.status.map(|status| format!("{status} ")).unwrap_or_default();
        hops.iter()
            .map(|hop| {
                let bad = if hop.failed { " !" } else { "" };
                format!("{} {}>{} {}{}{bad}", hop.at_ms, hop.from, hop.to, status(hop), hop.what)
            })
            .collect()
    }

    #[test]
    fn a_stored_message_tells_of_its_wake_up_and_its_delivery() {
        let steps = [
            Kept::new(&STEP),
            Kept::new(&Step {
                kind: Kind::Tried,
                device: Some("x"),
                status: 408,
                begun_ms: 12_000,
                at_ms: 12_500,
                ..STEP
            }),
            Kept::new(&Step {
                kind: Kind::Tried,
                device: Some("x"),
                status: 200,
                begun_ms: 20_000,
                at_ms: 20_005,
                ..STEP
            }),
            Kept::new(&Step { kind: Kind::Delivered, status: 200, at_ms: 20_100, ..STEP }),
        ];
        let entry = |at_ms, what: &str| crate::push::Entry { at_ms, class: "message", what: what.to_owned() };
        let entries = vec![entry(3_000, "it registered"), entry(11_000, "accepted"), entry(99_000, "accepted")];
        let wakes = [("b@d", DeviceLog { device: "x".into(), provider: "fcm".into(), entries })];
        let fates = [fate(Event::Stored, 10_000), fate(Event::Delivered, 20_006)];
        assert_eq!(
            lines(&hops(&fates, &steps, &wakes, Some(20_006))),
            [
                "10000 a@d>server MESSAGE",
                "10004 server>server stored on disk",
                "10004 server>a@d 202 Accepted",
                "11000 server>push fcm push: accepted",
                "12000 server>b@d x MESSAGE",
                "12500 server>server no answer in time !",
                "20000 server>b@d x MESSAGE",
                "20005 b@d x>server 200 OK",
                "20100 b@d>server IMDN delivered",
            ]
        );
    }

    #[test]
    fn what_a_device_refused_at_once_was_sent_after_it_came() {
        let steps = [
            Kept::new(&Step {
                kind: Kind::Tried,
                device: Some("x"),
                status: 480,
                begun_ms: 10_000,
                at_ms: 10_003,
                ..STEP
            }),
            Kept::new(&STEP),
        ];
        assert_eq!(
            lines(&hops(&[fate(Event::Stored, 10_003)], &steps, &[], None)),
            [
                "10000 a@d>server MESSAGE",
                "10000 server>b@d x MESSAGE",
                "10003 b@d x>server 480 Temporarily Unavailable !",
                "10004 server>server stored on disk",
                "10004 server>a@d 202 Accepted",
            ]
        );
    }

    #[test]
    fn what_is_on_disk_alone_is_told_too() {
        let fates = [fate(Event::Stored, 1), fate(Event::Expired, 9)];
        assert_eq!(
            lines(&hops(&fates, &[], &[], None)),
            ["1 server>server stored for b@d", "9 server>server expired !"]
        );
    }

    #[test]
    fn a_relayed_message_is_four_steps() {
        let relayed = Step { kind: Kind::Relayed, device: Some("x"), status: 200, begun_ms: 5, at_ms: 7, ..STEP };
        let fates = [fate(Event::Accepted, 5), fate(Event::Delivered, 7)];
        assert_eq!(
            lines(&hops(&fates, &[Kept::new(&relayed)], &[], Some(7))),
            ["5 a@d>server MESSAGE", "5 server>b@d x MESSAGE", "7 b@d x>server 200 OK", "7 server>a@d 200 OK"]
        );
    }
}
