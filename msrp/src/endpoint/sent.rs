//! Messages of one's own, from the first chunk until all is known that will be.

use crate::head::{FailureReport, Flag};
use crate::range::ByteRange;
use crate::reports::{Delivery, DeliveryState, ReceivedReport};
use crate::transactions::Outcome;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Its last byte was written, and its sender wants to hear of no failure: nothing else will be known of it but a
    /// success report.
    Written,
    /// Every chunk has its 200, or has been met with silence where only failures are told (Failure-Report `partial`).
    Confirmed,
    /// Success reports cover all of it.
    Reported,
    /// The peer does not want it: 400, 403, 413, 415 and the like.
    Refused(u16),
    /// It may or may not have arrived: no response in time, a failure on the way, the session or connection gone.
    Lost,
}

/// News of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// As the caller has named it.
    pub number: u64,
    /// What the caller keeps of it.
    pub key: u64,
    pub sent: Sent,
    /// What waits of the message with this Message-ID must not go out any more (§10.5).
    pub interrupt: Option<Box<str>>,
    /// The session has failed with it (§7.3.2, §10.8, §10.10).
    pub session_failed: bool,
}

/// What is to be known of a message beforehand.
#[derive(Debug, Clone, Copy)]
pub struct NewSent<'a> {
    /// Names it among the messages of the session.
    pub number: u64,
    pub key: u64,
    pub message_id: &'a str,
    pub success_report: bool,
    pub failure_report: FailureReport,
}

/// Why a message cannot be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutboxError {
    #[error("too many messages whose fate is not known")]
    Full,
    #[error("a message with this Message-ID is under way")]
    SameId,
}

struct Message {
    number: u64,
    key: u64,
    message_id: Box<str>,
    failure: FailureReport,
    /// Written chunks without response.
    unanswered: u32,
    /// The last chunk is among those written.
    written: bool,
    delivery: Delivery,
    success: bool,
    /// The caller has heard that it arrived, and waits for reports only.
    told: bool,
}

/// Messages of one session whose fate is not known.
pub struct Outbox {
    messages: Vec<Message>,
    limit: usize,
}

impl Outbox {
    /// For at most `limit` messages. Those that only miss their success report give way to new ones.
    pub fn new(limit: usize) -> Outbox {
        Outbox { messages: Vec::new(), limit: limit.max(1) }
    }

    /// A message is to be sent.
    pub fn begin(&mut self, new: &NewSent<'_>) -> Result<(), OutboxError> {
        if self.messages.iter().any(|message| *message.message_id == *new.message_id && !message.told) {
            return Err(OutboxError::SameId);
        }
        self.messages.retain(|message| *message.message_id != *new.message_id);
        if self.messages.len() >= self.limit {
            let reported = self.messages.iter().position(|message| message.told).ok_or(OutboxError::Full)?;
            self.messages.remove(reported);
        }
        self.messages.push(Message {
            number: new.number,
            key: new.key,
            message_id: new.message_id.into(),
            failure: new.failure_report,
            unanswered: 0,
            written: false,
            delivery: Delivery::new(None),
            success: new.success_report,
            told: false,
        });
        Ok(())
    }

    /// A chunk of the message has been written, to its end-line.
    pub fn written(&mut self, number: u64, range: ByteRange, flag: Flag) -> Option<Fate> {
        let at = self.find(number)?;
        let message = &mut self.messages[at];
        if message.failure != FailureReport::No {
            message.unanswered += 1;
        }
        if flag != Flag::End {
            return None;
        }
        message.written = true;
        let total = range.end.unwrap_or(range.start.saturating_sub(1));
        match message.delivery.set_total(total) {
            DeliveryState::Delivered if message.success => Some(self.over(at, Sent::Reported)),
            _ if message.failure == FailureReport::No => Some(self.arrived(at, Sent::Written)),
            _ => None,
        }
    }

    /// What became of a written chunk.
    pub fn outcome(&mut self, number: u64, outcome: Outcome) -> Option<Fate> {
        let at = self.find(number)?;
        let message = &mut self.messages[at];
        // Whether the peer was silent because all was well nobody knows.
        let cut = matches!(outcome, Outcome::Unanswered | Outcome::Unsent) && message.failure != FailureReport::No;
        if let Some(code) = outcome.failure(message.failure).or(cut.then_some(408)) {
            return Some(self.fail(at, code, matches!(outcome, Outcome::Response(481 | 506))));
        }
        message.unanswered = message.unanswered.saturating_sub(1);
        let arrived = message.written && message.unanswered == 0 && !message.told;
        arrived.then(|| self.arrived(at, Sent::Confirmed))
    }

    /// A REPORT came. One about a message that is not known says nothing.
    pub fn report(&mut self, report: &ReceivedReport<'_>) -> Option<Fate> {
        let at = self.messages.iter().position(|message| *message.message_id == *report.message_id)?;
        let message = &mut self.messages[at];
        match message.delivery.handle_report(report) {
            DeliveryState::Pending => None,
            DeliveryState::Delivered if !message.success => None,
            DeliveryState::Delivered => Some(self.over(at, Sent::Reported)),
            // It is the message that is not wanted, or bytes were lost on the way.
            DeliveryState::Failed(code) => Some(self.fail(at, code, !is_refusal(code))),
        }
    }

    /// The caller gives a message up; nothing is heard of it any more. Says whether anything was still expected.
    pub fn forget(&mut self, number: u64) -> bool {
        self.find(number).is_some_and(|at| !self.messages.remove(at).told)
    }

    /// The session is over: number and key of the messages that have to be taken for lost, in the order in which they
    /// were begun.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, u64)> + use<> {
        let messages = std::mem::take(&mut self.messages).into_iter().filter(|message| !message.told);
        messages.map(|message| (message.number, message.key))
    }

    /// Messages whose fate is not known, those that miss their success report included.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.messages.iter().position(|message| message.number == number)
    }

    fn fail(&mut self, at: usize, code: u16, session_failed: bool) -> Fate {
        let sent = if is_refusal(code) { Sent::Refused(code) } else { Sent::Lost };
        Fate { session_failed, ..self.over(at, sent) }
    }

    /// Nothing but a success report is still of interest.
    fn arrived(&mut self, at: usize, sent: Sent) -> Fate {
        let message = &mut self.messages[at];
        if !message.success {
            return self.over(at, sent);
        }
        message.told = true;
        Fate { number: message.number, key: message.key, sent, interrupt: None, session_failed: false }
    }

    fn over(&mut self, at: usize, sent: Sent) -> Fate {
        let message = self.messages.remove(at);
        let interrupt = !message.written && sent != Sent::Reported;
        let (number, key) = (message.number, message.key);
        Fate { number, key, sent, interrupt: interrupt.then_some(message.message_id), session_failed: false }
    }
}

/// Whether a code says that the message is not wanted, rather than that it may not have arrived: 408 is like a timeout
/// (§10.4), and with 481 and 506 nobody has looked at it.
fn is_refusal(code: u16) -> bool {
    !matches!(code, 408 | 481 | 506)
}
