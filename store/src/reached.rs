//! How far messages got, as their recipients' receipts tell.

use sha2::{Digest, Sha256};

use crate::StoreError;

/// What is known of a message on its way to one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Way {
    pub message_id: Box<str>,
    /// Message-IDs are unique only for one sender.
    pub sender: Box<str>,
    pub recipient: Box<str>,
}

impl Way {
    /// Short name. Two differ but for a chance of 2^-64.
    pub(crate) fn key(&self) -> u64 {
        let mut hash = Sha256::new();
        for part in [&self.message_id, &self.sender, &self.recipient] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        u64::from_le_bytes(std::array::from_fn(|at| digest[at]))
    }
}

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Delivered,
    /// Implies delivered.
    Displayed,
    /// Counts only while it is not delivered: another device may still take it.
    Failed,
}

/// A receipt came, or a device answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    pub way: Way,
    pub step: Step,
    /// Milliseconds since the epoch; 0 counts as 1.
    pub at_ms: u64,
}

/// When a message first got how far; milliseconds since the epoch. Whatever the order and the number of reports, the
/// same ones leave the same state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReceiptStatus {
    pub delivered_ms: Option<u64>,
    pub displayed_ms: Option<u64>,
    pub failed_ms: Option<u64>,
}

/// What a report told that was not known: what the sender is to hear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    pub delivered: bool,
    pub displayed: bool,
    pub failed: bool,
}

impl ReceiptStatus {
    /// The furthest step.
    pub fn step(&self) -> Option<Step> {
        let or = |known: Option<u64>, step| known.map(|_| step);
        or(self.displayed_ms, Step::Displayed)
            .or(or(self.delivered_ms, Step::Delivered))
            .or(or(self.failed_ms, Step::Failed))
    }

    /// Takes a report in.
    pub(crate) fn take(&mut self, step: Step, at_ms: u64) -> News {
        let at_ms = at_ms.clamp(1, i64::MAX as u64);
        let first = |known: &mut Option<u64>| {
            let new = known.is_none();
            *known = Some(known.map_or(at_ms, |known| known.min(at_ms)));
            new
        };
        match step {
            Step::Delivered => News { delivered: first(&mut self.delivered_ms), ..News::default() },
            Step::Displayed => {
                let delivered = first(&mut self.delivered_ms);
                News { delivered, displayed: first(&mut self.displayed_ms), failed: false }
            }
            Step::Failed => {
                let new = first(&mut self.failed_ms);
                News { failed: new && self.delivered_ms.is_none(), ..News::default() }
            }
        }
    }

    /// As columns, 0 for none.
    pub(crate) fn columns(&self) -> [i64; 3] {
        [self.delivered_ms, self.displayed_ms, self.failed_ms].map(|known| known.unwrap_or(0) as i64)
    }

    pub(crate) fn of_columns(columns: [i64; 3]) -> ReceiptStatus {
        let [delivered_ms, displayed_ms, failed_ms] = columns.map(|column| (column > 0).then_some(column as u64));
        ReceiptStatus { delivered_ms, displayed_ms, failed_ms }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.delivered_ms.max(self.displayed_ms).max(self.failed_ms).unwrap_or(0)
    }
}

/// State of each message for each recipient. Of many reports of one step exactly one is told that it is news, whoever
/// asks at once. Suite: `suite::receipt_states`.
#[async_trait::async_trait]
pub trait ReceiptStates: Send + Sync {
    /// Takes reports in, in the order given; what each told that was new. Durable on return. The same as
    /// [`Write::reached`](crate::Write::reached), for those who write nothing else.
    async fn apply(&self, reports: Vec<Reached>) -> Result<Vec<News>, StoreError>;

    /// For each of `ways` its state; all `None` where nothing is known.
    async fn status(&self, ways: &[Way]) -> Result<Vec<ReceiptStatus>, StoreError>;

    /// Forgets messages whose last step was before `before_ms` (milliseconds since the epoch), reading all: for rare use.
    async fn forget_status(&self, before_ms: u64) -> Result<u64, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_and_repetition_leaves_one_state() {
        let reports = [(Step::Delivered, 20), (Step::Displayed, 30), (Step::Failed, 10), (Step::Delivered, 25)];
        let expected = ReceiptStatus { delivered_ms: Some(20), displayed_ms: Some(30), failed_ms: Some(10) };
        // All orders of eight: each report twice.
        for n in 0..40_320usize {
            let (mut left, mut rest): (Vec<usize>, usize) = ((0..8).collect(), n);
            let (mut status, mut told) = (ReceiptStatus::default(), [0; 3]);
            while !left.is_empty() {
                let (step, at_ms) = reports[left.remove(rest % left.len()) % 4];
                rest /= left.len() + 1;
                let News { delivered, displayed, failed } = status.take(step, at_ms);
                for (count, new) in told.iter_mut().zip([delivered, displayed, failed]) {
                    *count += u8::from(new);
                }
            }
            assert_eq!(status, expected);
            assert_eq!(told[..2], [1, 1]);
            assert!(told[2] <= 1);
            assert_eq!(ReceiptStatus::of_columns(status.columns()), expected);
        }
    }
}
