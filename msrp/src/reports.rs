//! Success and failure reports: what a sender learns from them, and when a receiver sends them (RFC 4975 §7.1.2 to
//! §7.1.4, §7.3.2).

use crate::coverage::Coverage;
use crate::head::{Head, Method, Status};
use crate::range::ByteRange;

/// A REPORT that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceivedReport<'a> {
    pub message_id: &'a str,
    /// The whole message if there is none.
    pub range: Option<ByteRange>,
    pub status: Status,
}

impl<'a> ReceivedReport<'a> {
    /// `None` if the frame is no REPORT.
    pub fn of(head: &'a Head) -> Option<ReceivedReport<'a>> {
        if head.method() != Some(Method::Report) {
            return None;
        }
        Some(ReceivedReport { message_id: head.message_id()?, range: head.byte_range(), status: head.status_header()? })
    }
}

/// How far a message of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    Pending,
    /// The far end has all of it.
    Delivered,
    /// It failed with this code, and the session with it (§7.3.2).
    Failed(u16),
}

/// What reports and responses say about one message of ours.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    coverage: Coverage,
    total: Option<u64>,
    failed: Option<u16>,
    /// A success was reported; of an empty message this is all there is to know.
    heard: bool,
}

/// Ranges that a peer may report apart from each other; more are not counted.
const APART: usize = 256;

impl Delivery {
    /// `total` in bytes, if it is known already.
    pub fn new(total: Option<u64>) -> Delivery {
        Delivery { total, ..Delivery::default() }
    }

    /// The end of the message is known now.
    pub fn set_total(&mut self, total: u64) -> DeliveryState {
        self.total = Some(total);
        self.state()
    }

    /// Takes a report. Its ranges need not be those of the chunks. One of a namespace that is not known says nothing.
    pub fn handle_report(&mut self, report: &ReceivedReport<'_>) -> DeliveryState {
        match report.status {
            Status { namespace: 0, code: 200..=299 } => {
                self.heard = true;
                let range = report.range.unwrap_or(ByteRange::OPEN);
                // Without an end it can only mean the rest. What was never sent cannot have arrived.
                let end = range.end.or(self.total).unwrap_or(0);
                self.coverage.add(range.start, self.total.map_or(end, |total| end.min(total)), APART);
            }
            Status { namespace: 0, code } => self.fail(code),
            Status { .. } => {}
        }
        self.state()
    }

    /// A response or timeout that is a failure ([`crate::Outcome::failure`]): the same as a report of it.
    pub fn fail(&mut self, code: u16) {
        self.failed.get_or_insert(code);
    }

    pub fn state(&self) -> DeliveryState {
        match (self.failed, self.total) {
            (Some(code), _) => DeliveryState::Failed(code),
            (None, Some(total)) if self.heard && self.coverage.covers(total) => DeliveryState::Delivered,
            _ => DeliveryState::Pending,
        }
    }

    /// The bytes that have arrived.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

/// When the receiver of a message with `Success-Report: yes` reports (§7.1.3): all at the end, or on the way too.
#[derive(Debug, Clone, Copy)]
pub struct SuccessReports {
    every: Option<u64>,
    reported: u64,
    done: bool,
}

impl SuccessReports {
    /// A report at the end, and if `every` is given one for each time so many bytes have come without a gap.
    pub fn new(every: Option<u64>) -> SuccessReports {
        SuccessReports { every: every.map(|every| every.max(1)), reported: 0, done: false }
    }

    /// The range to be reported now that the bytes of `coverage` are there, if one is due; `total` once the message is
    /// complete. Together the ranges cover all of it, and never what has not come.
    pub fn due(&mut self, coverage: &Coverage, total: Option<u64>) -> Option<ByteRange> {
        if self.done {
            return None;
        }
        let prefix = coverage.prefix();
        let end = match total {
            Some(total) if coverage.covers(total) => {
                self.done = true;
                if self.reported > 0 && self.reported == total {
                    return None;
                }
                total
            }
            _ if self.every.is_some_and(|every| prefix.saturating_sub(self.reported) >= every) => prefix,
            _ => return None,
        };
        let start = self.reported + 1;
        self.reported = end;
        Some(ByteRange { start, end: Some(end), total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(range: &str, namespace: u16, code: u16) -> ReceivedReport<'static> {
        let range = ByteRange::parse(range.as_bytes());
        ReceivedReport { message_id: "1234", range, status: Status { namespace, code } }
    }

    #[test]
    fn delivered_when_every_byte_is_reported() {
        use DeliveryState::{Delivered, Failed, Pending};
        for (reports, expected) in [
            (vec![report("1-37/37", 0, 200)], Delivered),
            (vec![report("", 0, 200)], Delivered),
            (vec![report("1-*/37", 0, 200)], Delivered),
            (vec![report("1-36/37", 0, 200)], Pending),
            (vec![report("2-37/37", 0, 200)], Pending),
            (vec![report("20-37/37", 0, 200), report("1-25/*", 0, 200)], Delivered),
            (vec![report("1-99/99", 0, 200)], Delivered),
            (vec![report("1-37/37", 1, 200)], Pending),
            (vec![report("1-25/37", 0, 200), report("26-37/37", 0, 408)], Failed(408)),
            (vec![report("1-37/37", 1, 481)], Pending),
        ] {
            let mut delivery = Delivery::new(Some(37));
            let states: Vec<_> = reports.iter().map(|report| delivery.handle_report(report)).collect();
            assert_eq!(states.last(), Some(&expected), "{reports:?}");
        }
        let mut empty = Delivery::new(Some(0));
        assert_eq!(empty.state(), Pending);
        assert_eq!(empty.handle_report(&report("1-0/0", 0, 200)), Delivered);
        let mut unknown = Delivery::new(None);
        assert_eq!(unknown.handle_report(&report("1-37/37", 0, 200)), Pending);
        assert_eq!(unknown.set_total(37), Delivered);
    }

    #[test]
    fn reports_of_a_receiver() {
        let steps =
            [(1, 1000, None), (1001, 1999, None), (2500, 3000, None), (2000, 2499, None), (3001, 3100, Some(3100))];
        for (every, expected) in [
            (None, vec!["1-3100/3100"]),
            (Some(1000), vec!["1-1000/*", "1001-3000/*", "3001-3100/3100"]),
            (Some(2000), vec!["1-3000/*", "3001-3100/3100"]),
        ] {
            let (mut coverage, mut reports) = (Coverage::default(), SuccessReports::new(every));
            let due = steps.iter().filter_map(|(start, end, total)| {
                coverage.add(*start, *end, 10);
                reports.due(&coverage, *total).map(|range| range.to_string())
            });
            assert_eq!(due.collect::<Vec<_>>(), expected, "{every:?}");
            assert_eq!(reports.due(&coverage, Some(3100)), None);
        }
        let empty = SuccessReports::new(None).due(&Coverage::default(), Some(0));
        assert_eq!(empty.map(|range| range.to_string()).as_deref(), Some("1-0/0"));
    }
}
