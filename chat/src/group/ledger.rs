//! What the members of a group have yet to get: each message is settled once for each of its recipients, whatever devices
//! they have and however often it is sent.
//!
//! Of a member that is away nothing is kept but two numbers, however much waits for it.

use std::collections::{BTreeMap, BTreeSet};

use chappe_sip::Aor;

/// One member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    /// Everything up to here is settled: the device that is furthest has passed it.
    floor: u64,
    /// Settled above that.
    above: BTreeSet<u64>,
    /// Not settled. Below zero while what waited before is being counted.
    waiting: i64,
}

/// The members of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<Aor, Account>);

impl Ledger {
    /// A member is in, and has all up to `floor`. Of one that is known the higher number counts.
    pub fn admit(&mut self, user: &Aor, floor: u64) {
        match self.0.get_mut(user) {
            Some(account) => account.raise(floor),
            None => drop(self.0.insert(user.clone(), Account { floor, ..Account::default() })),
        }
    }

    /// A message is in the log for these; gives how many of them are known.
    pub fn accept<'a>(&mut self, recipients: impl IntoIterator<Item = &'a Aor>) -> u64 {
        let mut count = 0;
        for user in recipients {
            if let Some(account) = self.0.get_mut(user) {
                account.waiting += 1;
                count += 1;
            }
        }
        count
    }

    /// What waited for a member before it was known here, counted since; `false` where it is gone meanwhile.
    pub fn waited(&mut self, user: &Aor, count: u64) -> bool {
        let account = self.0.get_mut(user);
        account.map(|account| account.waiting += i64::try_from(count).unwrap_or(i64::MAX)).is_some()
    }

    /// A device has a message, or will never have it; `true` where that is the first word of it.
    pub fn settle(&mut self, user: &Aor, sequence: u64) -> bool {
        let Some(account) = self.0.get_mut(user) else { return false };
        let first = sequence > account.floor && account.above.insert(sequence);
        account.waiting -= i64::from(first);
        first
    }

    /// A device of the member has got as far as this, and each message up to here was settled.
    pub fn passed(&mut self, user: &Aor, upto: u64) {
        if let Some(account) = self.0.get_mut(user) {
            account.raise(upto);
        }
    }

    /// Up to where everything is settled; `None` for somebody who is not in.
    pub fn floor(&self, user: &Aor) -> Option<u64> {
        self.0.get(user).map(|account| account.floor)
    }

    /// Whether the message has been settled for this member.
    pub fn is_settled(&self, user: &Aor, sequence: u64) -> bool {
        self.0.get(user).is_none_or(|account| sequence <= account.floor || account.above.contains(&sequence))
    }

    /// A member is out: what waited for it will not come to it.
    pub fn dismiss(&mut self, user: &Aor) -> i64 {
        self.0.remove(user).map_or(0, |account| account.waiting)
    }

    /// Messages that wait, each once for each member.
    pub fn waiting(&self) -> i64 {
        self.0.values().map(|account| account.waiting).sum()
    }

    /// The number in the log below which nobody waits for anything; `None` in a group of nobody.
    pub fn slowest(&self) -> Option<u64> {
        self.0.values().map(|account| account.floor).min()
    }
}

impl Account {
    fn raise(&mut self, floor: u64) {
        if floor > self.floor {
            self.floor = floor;
            self.above = self.above.split_off(&(floor + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn aor(n: usize) -> Aor {
        Aor::from_canonical(format!("u{n}@x"))
    }

    #[test]
    fn each_message_ends_once_for_each_member() {
        let mut ledger = Ledger::default();
        ledger.admit(&aor(0), 0);
        ledger.admit(&aor(1), 4);
        assert_eq!(ledger.accept([&aor(0), &aor(1), &aor(9)]), 2, "the third is not in");
        assert!(ledger.settle(&aor(0), 5));
        assert!(!ledger.settle(&aor(0), 5), "its other device");
        assert!(!ledger.settle(&aor(1), 4), "long done");
        assert_eq!((ledger.waiting(), ledger.slowest()), (1, Some(0)));
        ledger.passed(&aor(0), 5);
        assert!(!ledger.settle(&aor(0), 3) && ledger.is_settled(&aor(0), 3));
        ledger.passed(&aor(0), 2);
        assert_eq!((ledger.floor(&aor(0)), ledger.slowest()), (Some(5), Some(4)));
        assert!(!ledger.is_settled(&aor(1), 5));
        assert_eq!((ledger.dismiss(&aor(1)), ledger.dismiss(&aor(1)), ledger.waiting()), (1, 0, 0));
        assert!(!ledger.waited(&aor(1), 3) && ledger.waited(&aor(0), 3));
        assert_eq!(ledger.waiting(), 3);
    }

    proptest! {
        /// Members with two devices each, which confirm in any order, lose their sessions and come back: accepted is what
        /// was settled and what waits, at every moment.
        #[test]
        fn nothing_is_lost_between(
            steps in prop::collection::vec((0..4usize, 0..2usize, 0..8u64), 0..300)
        ) {
            let mut ledger = Ledger::default();
            let mut devices = [[0u64; 2]; 4];
            (0..4).for_each(|n| ledger.admit(&aor(n), 0));
            let (mut last, mut accepted, mut settled, mut gone) = (0u64, 0i64, 0i64, 0i64);
            for (who, device, what) in steps {
                match what {
                    0 => {
                        last += 1;
                        let others: Vec<Aor> = (0..4).filter(|n| *n != who).map(aor).collect();
                        accepted += ledger.accept(&others) as i64;
                        // Its own is nothing that it waits for.
                        let all = devices[who].iter().all(|at| *at == last - 1);
                        if all { devices[who] = [last; 2]; ledger.passed(&aor(who), last); }
                    }
                    // Ahead of what lies before it.
                    1 if devices[who][device] + 1 < last => {
                        let is_due = last > 0;
                        let fresh = !ledger.is_settled(&aor(who), last);
                        let first = is_due && ledger.settle(&aor(who), last);
                        prop_assert_eq!(first, fresh);
                        settled += i64::from(first);
                    }
                    2 if what == 2 && last > 0 && devices[who][device] == last => {
                        gone += ledger.dismiss(&aor(who));
                        ledger.admit(&aor(who), last);
                        devices[who] = [last; 2];
                    }
                    _ if devices[who][device] < last => {
                        let at = devices[who][device] + 1;
                        settled += i64::from(ledger.settle(&aor(who), at));
                        devices[who][device] = at;
                        ledger.passed(&aor(who), at);
                    }
                    _ => {}
                }
                prop_assert_eq!(accepted, settled + gone + ledger.waiting());
            }
        }
    }
}
