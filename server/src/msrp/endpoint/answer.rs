//! The answer to a whole message: given when its receiver has done with it what the answer says.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chappe_msrp::write::{self, Report};
use chappe_msrp::{ByteRange, FailureReport, Head, Reply};

use super::super::connection::Connection;
use super::{End, soon};

/// Answers the chunk that completed a message, by its Failure-Report and Success-Report (RFC 4975 §7.1.2, §7.3.1). One
/// that is dropped unused tells the sender with 408 that the message may not have been taken.
#[must_use = "dropped, it tells the sender that the message was not taken"]
pub struct Answer(Option<Box<Due>>);

struct Due {
    end: Arc<End>,
    connection: Arc<Connection>,
    reply: Reply,
    failure: FailureReport,
    report: Option<DueReport>,
    bytes: usize,
}

struct DueReport {
    to: Box<str>,
    /// As the sender knows us.
    from: Box<str>,
    message_id: Box<str>,
    total: u64,
}

impl Answer {
    /// `last` is the chunk that completed the message, `bytes` what its user holds until it answers.
    pub(super) fn new(end: &Arc<End>, connection: &Arc<Connection>, last: &Head, total: u64, bytes: usize) -> Answer {
        let report = last.success_report().then(|| DueReport {
            to: last.raw_from_path().into(),
            from: last.raw_to_path().into(),
            message_id: last.message_id().unwrap_or_default().into(),
            total,
        });
        end.relay.ends.held.fetch_add(bytes, Ordering::Relaxed);
        end.hold_for_answers(connection, bytes);
        Answer(Some(Box::new(Due {
            end: Arc::clone(end),
            connection: Arc::clone(connection),
            reply: last.reply(),
            failure: last.failure_report(),
            report,
            bytes,
        })))
    }

    /// The message is ours now: 200, and the success report if one is wanted.
    pub fn ok(mut self) {
        if let Some(due) = self.0.take() {
            due.give(200);
        }
    }

    /// The message is not taken: 403, 413, 415 or the like; 408 has the sender try again elsewhere.
    pub fn refuse(mut self, code: u16) {
        if let Some(due) = self.0.take() {
            due.give(if code == 200 { 400 } else { code });
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(due) = self.0.take() {
            due.give(408);
        }
    }
}

impl Due {
    fn give(self, code: u16) {
        let relay = &self.end.relay;
        relay.ends.held.fetch_sub(self.bytes, Ordering::Relaxed);
        let response = match self.failure {
            FailureReport::Yes => true,
            FailureReport::Partial => code != 200,
            FailureReport::No => false,
        };
        let report = self.report.as_ref().filter(|_| code == 200);
        {
            let mut out = self.connection.way_out.lock();
            if !out.gone && response {
                let mut frame = Vec::with_capacity(256);
                self.reply.write(&mut frame, code, comment(code));
                out.outgoing.control(frame.into());
            }
            if !out.gone
                && let Some(due) = report
            {
                let id = out.ids.next();
                let mut frame = Vec::with_capacity(384);
                let range = ByteRange { start: 1, end: Some(due.total), total: Some(due.total) };
                let report = Report {
                    to: &due.to,
                    from: &due.from,
                    message_id: &due.message_id,
                    range: Some(range),
                    code,
                    comment: "OK",
                };
                write::report(&mut frame, id.as_str(), &report);
                out.outgoing.control(frame.into());
            }
        }
        if response || report.is_some() {
            soon(relay, &self.connection);
        }
        self.end.answered(self.bytes);
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("given", &self.0.is_none()).finish()
    }
}

/// The comment of a response.
pub(super) fn comment(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Timeout",
        413 => "Stop Sending",
        415 => "Unsupported Media Type",
        481 => "No Such Session",
        501 => "Unknown Method",
        506 => "Session Already In Use",
        _ => "",
    }
}
