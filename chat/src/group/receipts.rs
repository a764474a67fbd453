//! What became of a message of a group at each of its recipients, and in all: delivered to so many, seen by so many.

use std::collections::BTreeMap;
use std::fmt;

use chappe_imdn::Dispositions;
use chappe_sip::Aor;

use super::{Group, Member, reader};
use crate::receipts::{Effect, Privacy, Progress, Report};

/// Who gets a message with this number in the log, as things stand now: who is in, and was when it came.
pub fn recipients<'a>(group: &'a Group, sequence: u64, sender: &Aor) -> impl Iterator<Item = &'a Member> {
    group.members.present().filter(move |member| member.user != *sender && reader::is_within(sequence, member))
}

/// The states of one message. Reports may come late, twice and in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States(BTreeMap<Aor, Progress>);

/// All recipients together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub of: usize,
    pub delivered: usize,
    pub displayed: usize,
    /// Those that it will not reach.
    pub failed: usize,
}

impl States {
    pub fn new(recipients: impl IntoIterator<Item = Aor>) -> States {
        States(recipients.into_iter().map(|user| (user, Progress::default())).collect())
    }

    /// From what was kept.
    pub fn restore(states: impl IntoIterator<Item = (Aor, Progress)>) -> States {
        States(states.into_iter().collect())
    }

    /// Takes a report. One of somebody who did not get the message changes nothing.
    pub fn take(&mut self, who: &Aor, report: Report, wants: &Dispositions, privacy: Privacy) -> Effect {
        let Some(progress) = self.0.get_mut(who) else { return Effect::default() };
        let effect = progress.apply(report, wants, privacy);
        *progress = effect.next;
        effect
    }

    pub fn of(&self, who: &Aor) -> Option<Progress> {
        self.0.get(who).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Aor, Progress)> {
        self.0.iter().map(|(user, progress)| (user, *progress))
    }

    pub fn tally(&self) -> Tally {
        let mut tally = Tally { of: self.0.len(), ..Tally::default() };
        for progress in self.0.values() {
            tally.add(*progress);
        }
        tally
    }
}

impl Tally {
    fn add(&mut self, progress: Progress) {
        let delivered = progress.has(Report::Delivered) || progress.has(Report::Displayed);
        self.delivered += usize::from(delivered);
        self.displayed += usize::from(progress.has(Report::Displayed));
        self.failed += usize::from(!delivered && progress.has(Report::Failed));
    }

    /// Nothing more can come.
    pub fn is_final(&self) -> bool {
        self.displayed == self.of
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "delivered to {} of {}, seen by {}", self.delivered, self.of, self.displayed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aor(n: usize) -> Aor {
        Aor::from_canonical(format!("u{n:02}@x"))
    }

    fn all() -> Dispositions {
        Dispositions { positive_delivery: true, negative_delivery: true, display: true, ..Dispositions::default() }
    }

    #[test]
    fn each_member_and_all_together() {
        let mut states = States::new((0..3).map(aor));
        let mut take = |who: usize, report| {
            let told = states.take(&aor(who), report, &all(), Privacy::default()).to_sender;
            (told.len(), states.tally().to_string())
        };
        assert_eq!(take(0, Report::Delivered), (1, "delivered to 1 of 3, seen by 0".into()));
        assert_eq!(take(0, Report::Delivered), (0, "delivered to 1 of 3, seen by 0".into()), "another device");
        assert_eq!(
            take(1, Report::Displayed),
            (2, "delivered to 2 of 3, seen by 1".into()),
            "delivered, then displayed"
        );
        assert_eq!(take(1, Report::Delivered), (0, "delivered to 2 of 3, seen by 1".into()), "late");
        assert_eq!(take(7, Report::Displayed), (0, "delivered to 2 of 3, seen by 1".into()), "not a recipient");
        assert_eq!(take(2, Report::Failed).0, 1);
        assert_eq!(states.tally(), Tally { of: 3, delivered: 2, displayed: 1, failed: 1 });
        states.take(&aor(2), Report::Delivered, &all(), Privacy::default());
        assert_eq!(states.tally(), Tally { of: 3, delivered: 3, displayed: 1, failed: 0 });
        assert!(!states.tally().is_final());
        assert_eq!(States::restore(states.iter().map(|(user, progress)| (user.clone(), progress))), states);
    }

    proptest! {
        /// Reports of 20 members, doubled and in any order: states and tally are those of the set of reports.
        #[test]
        fn in_any_order(
            reports in prop::collection::vec((0..20usize, any::<bool>()), 0..60)
                .prop_flat_map(|reports| {
                    let twice: Vec<_> = reports.iter().chain(&reports).copied().collect();
                    Just(twice).prop_shuffle()
                })
        ) {
            let mut states = States::new((0..20).map(aor));
            let mut told = 0;
            for (who, displayed) in &reports {
                let report = if *displayed { Report::Displayed } else { Report::Delivered };
                told += states.take(&aor(*who), report, &all(), Privacy::default()).to_sender.len();
            }
            let seen = |wanted: bool| {
                let who: std::collections::BTreeSet<_> =
                    reports.iter().filter(|(_, displayed)| *displayed || !wanted).map(|(who, _)| who).collect();
                who.len()
            };
            let expected = Tally { of: 20, delivered: seen(false), displayed: seen(true), failed: 0 };
            prop_assert_eq!(states.tally(), expected);
            prop_assert_eq!(told, expected.delivered + expected.displayed, "each once");
        }
    }
}
