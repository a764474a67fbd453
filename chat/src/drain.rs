//! What the drain of stored messages decides without them: how fast a device is served, which of its conversations rest, what
//! has gone lately, and what is kept for devices that another one was faster than.

mod lanes;
mod owed;

pub use lanes::Lanes;
pub use owed::{Ended, Owed, Written};

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Messages that may go out without a pause at the start.
const BURST: f64 = 50.0;

/// How fast one device is served: so many messages at once, then at a rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// Messages that may go now, and since when that was so.
    credit: f64,
    credited: Instant,
}

impl Pace {
    /// Nothing has gone yet.
    pub fn new(now: Instant) -> Pace {
        Pace { credit: BURST, credited: now }
    }

    /// How long the next message has to wait at `rate` messages a second (1 at least); `None` where it may go now.
    pub fn wait(&mut self, rate: u32, now: Instant) -> Option<Duration> {
        let rate = f64::from(rate.max(1));
        let earned = now.saturating_duration_since(self.credited).as_secs_f64() * rate;
        (self.credit, self.credited) = ((self.credit + earned).min(BURST), now);
        (self.credit < 1.0).then(|| Duration::from_secs_f64((1.0 - self.credit) / rate))
    }

    /// A message goes.
    pub fn spend(&mut self) {
        self.credit -= 1.0;
    }
}

/// Messages, by id, that have left the queue lately, bounded in number: a read that began before may still show them.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    ids: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Settled {
    /// More than settle while one read is under way.
    const REMEMBERED: usize = 16_384;

    /// One has gone; the oldest is forgotten for it.
    pub fn push(&mut self, id: u64) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > Self::REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub fn contains(&self, id: u64) -> bool {
        self.ids.contains(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "some instant has to be the first")]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let (mut now, mut pace, mut gone) = (start, Pace::new(start), 0);
        while gone < 250 {
            match pace.wait(100, now) {
                Some(wait) => now += wait + Duration::from_nanos(1),
                None => {
                    pace.spend();
                    gone += 1;
                }
            }
        }
        let took = now - start;
        assert!(took >= Duration::from_millis(1990) && took < Duration::from_millis(2010), "{took:?}");
        // A pause earns no more than another burst.
        now += Duration::from_secs(3600);
        let burst = (0..).take_while(|_| pace.wait(100, now).is_none().then(|| pace.spend()).is_some()).count();
        assert_eq!(burst, 50);
    }

    #[test]
    fn what_has_gone_is_known_for_a_while() {
        let mut settled = Settled::default();
        for id in 0..=Settled::REMEMBERED as u64 {
            settled.push(id);
            settled.push(id);
        }
        assert!(!settled.contains(0) && settled.contains(1) && settled.contains(Settled::REMEMBERED as u64));
    }
}
