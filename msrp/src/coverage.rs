//! Which bytes of a message have come, or have been reported.

use smallvec::SmallVec;

/// A set of positions counted from 1, as ranges that do not touch each other, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    ranges: SmallVec<[(u64, u64); 1]>,
}

impl Coverage {
    /// Adds `start` to `end`, both included; nothing if `end` is before `start`. `false`, and nothing is added, if
    /// there would be more than `max` ranges.
    pub fn add(&mut self, start: u64, end: u64, max: usize) -> bool {
        let start = start.max(1);
        if end < start {
            return true;
        }
        // The common case: the next bytes of the last range.
        if let Some(last) = self.ranges.last_mut()
            && start >= last.0
            && start <= last.1.saturating_add(1)
        {
            last.1 = last.1.max(end);
            return true;
        }
        let from = self.ranges.partition_point(|range| range.1.saturating_add(1) < start);
        let to = self.ranges.partition_point(|range| range.0 <= end.saturating_add(1));
        if from == to {
            if self.ranges.len() >= max {
                return false;
            }
            self.ranges.insert(from, (start, end));
            return true;
        }
        let merged = (self.ranges[from].0.min(start), self.ranges[to - 1].1.max(end));
        self.ranges[from] = merged;
        self.ranges.drain(from + 1..to);
        true
    }

    /// The last position that is there together with all before it; 0 if 1 is missing.
    pub fn prefix(&self) -> u64 {
        self.ranges.first().filter(|range| range.0 == 1).map_or(0, |range| range.1)
    }

    /// The last position that is there; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    /// Everything from 1 to `total` is there.
    pub fn covers(&self, total: u64) -> bool {
        self.prefix() >= total
    }

    /// The ranges, both ends included.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_a_set_of_numbers(adds in prop::collection::vec((1_u64..60, 0_u64..20), 0..30)) {
            let (mut coverage, mut set) = (Coverage::default(), std::collections::BTreeSet::new());
            for (start, len) in adds {
                prop_assert!(coverage.add(start, start + len - 1, usize::MAX));
                set.extend(start..start + len);
                let listed: Vec<u64> = coverage.ranges().iter().flat_map(|range| range.0..=range.1).collect();
                prop_assert_eq!(listed, set.iter().copied().collect::<Vec<_>>());
                prop_assert!(coverage.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
                let prefix = (1..).take_while(|at| set.contains(at)).last().unwrap_or(0);
                prop_assert_eq!(coverage.prefix(), prefix);
            }
        }
    }

    #[test]
    fn ends_and_limits() {
        let mut coverage = Coverage::default();
        assert!(coverage.covers(0) && !coverage.covers(1));
        assert!(coverage.add(1, 0, 2) && coverage.ranges().is_empty());
        assert!(coverage.add(u64::MAX, u64::MAX, 2) && coverage.add(1, 5, 2));
        assert!(!coverage.add(10, 11, 2) && coverage.add(5, 7, 2));
        assert_eq!((coverage.prefix(), coverage.last()), (7, u64::MAX));
        assert!(coverage.add(1, u64::MAX, 2) && coverage.covers(u64::MAX));
    }
}
