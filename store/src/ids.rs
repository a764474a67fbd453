//! Numbers that rise with time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bits below the microseconds, for the number of the node.
const NODE_BITS: u32 = 11;

/// Gives numbers that are unique, rise, and sort by time over all nodes as well as their clocks agree: microseconds since the
/// epoch (good until 2112), then the node. They fit a signed 64-bit column.
#[derive(Debug)]
pub(crate) struct Ids {
    last: u64,
    node: u64,
}

impl Ids {
    /// Between one number and the next where they come faster than the clock ticks.
    pub(crate) const STEP: u64 = 1 << NODE_BITS;

    /// Continues above `last`, also where the clock was set back.
    pub(crate) fn after(last: u64, node: u16) -> Ids {
        Ids { last, node: u64::from(node) & ((1 << NODE_BITS) - 1) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
        self.last = ((micros << NODE_BITS) | self.node).max(self.last + Ids::STEP);
        self.last
    }

    /// Takes the `count` numbers that follow the last in steps of [`Ids::STEP`].
    pub(crate) fn skip(&mut self, count: u64) {
        self.last += count * Ids::STEP;
    }

    /// The number of the `nth` copy of a message, from 0: behind the message, and before the next one of the same node.
    pub(crate) fn of_copy(original: u64, nth: usize) -> u64 {
        original + 1 + nth as u64 % (Ids::STEP - 1)
    }

    /// The least number of a moment, for ranges by time.
    pub(crate) fn floor(at_ms: u64) -> u64 {
        at_ms.saturating_mul(1000).min(1 << 52) << NODE_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_and_keep_their_node() {
        let mut ids = Ids::after(0, 5);
        let seen: Vec<u64> = (0..1000).map(|_| ids.next()).collect();
        assert!(seen.is_sorted_by(|a, b| a < b));
        assert!(seen.iter().all(|id| id % 2048 == 5));
        // A clock behind the last number does not repeat it.
        let ahead = seen[999] + (1 << 40);
        assert!(Ids::after(ahead, 5).next() > ahead);
    }
}
