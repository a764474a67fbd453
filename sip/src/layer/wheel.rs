//! A hierarchical timer wheel with one timer for each slot number: set, move and clear in constant time, without
//! allocation once it has grown. Resolution is one millisecond; a timer never fires early.

use std::time::{Duration, Instant};

/// Levels of 64 places; each level's place is as long as the whole level below it. Four reach 4.6 hours; what lies
/// beyond waits in the last level and is sorted in again.
const LEVELS: usize = 4;
const BITS: u32 = 6;
const PLACES: usize = 1 << BITS;
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Node {
    prev: u32,
    next: u32,
    /// Place in `heads`, `NONE` while no timer runs.
    place: u32,
    /// In ticks since `base`.
    when: u64,
}

#[derive(Debug)]
pub(super) struct Wheel {
    base: Instant,
    /// Every timer before this tick has fired.
    elapsed: u64,
    /// First timer of each place.
    heads: [u32; LEVELS * PLACES],
    /// A bit for each place that is not empty.
    occupied: [u64; LEVELS],
    nodes: Vec<Node>,
}

impl Wheel {
    pub(super) fn new(base: Instant) -> Wheel {
        Wheel { base, elapsed: 0, heads: [NONE; LEVELS * PLACES], occupied: [0; LEVELS], nodes: Vec::new() }
    }

    /// Sets, moves or (with `None`) clears the timer of `slot`.
    pub(super) fn set(&mut self, slot: u32, at: Option<Instant>) {
        let index = slot as usize;
        if index >= self.nodes.len() {
            if at.is_none() {
                return;
            }
            self.nodes.resize(index + 1, Node { prev: NONE, next: NONE, place: NONE, when: 0 });
        }
        let when = at.map(|at| self.tick(at, 999_999));
        let node = &self.nodes[index];
        if node.place != NONE {
            if Some(node.when) == when {
                return;
            }
            self.unlink(slot);
        }
        if let Some(when) = when {
            self.nodes[index].when = when;
            self.link(slot);
        }
    }

    /// The instant before which no timer is due; there may be none at that instant either.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next_place().map(|(tick, _)| self.base + Duration::from_millis(tick))
    }

    /// Moves the time to `now` and adds to `due` the slots whose timers have run out, which are then clear.
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<u32>) {
        let now = self.tick(now, 0);
        while let Some((tick, place)) = self.next_place().filter(|(tick, _)| *tick <= now) {
            self.elapsed = tick;
            let mut slot = std::mem::replace(&mut self.heads[place], NONE);
            self.occupied[place / PLACES] &= !(1 << (place % PLACES));
            while slot != NONE {
                let node = &mut self.nodes[slot as usize];
                let next = node.next;
                node.place = NONE;
                if node.when <= tick {
                    due.push(slot);
                } else {
                    self.link(slot);
                }
                slot = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    fn tick(&self, at: Instant, round: u64) -> u64 {
        let since = at.saturating_duration_since(self.base);
        since.as_secs() * 1000 + (u64::from(since.subsec_nanos()) + round) / 1_000_000
    }

    fn link(&mut self, slot: u32) {
        let when = self.nodes[slot as usize].when.max(self.elapsed);
        let distance = (self.elapsed ^ when) | (PLACES as u64 - 1);
        let level = (((63 - distance.leading_zeros()) / BITS) as usize).min(LEVELS - 1);
        // Beyond the reach of the wheel: the place that comes round last.
        let shift = BITS * level as u32;
        let reach = (self.elapsed >> shift) + PLACES as u64 - 1;
        let place_of_level = ((when >> shift).min(reach) % PLACES as u64) as usize;
        let place = level * PLACES + place_of_level;
        let head = std::mem::replace(&mut self.heads[place], slot);
        if head != NONE {
            self.nodes[head as usize].prev = slot;
        }
        self.occupied[level] |= 1 << place_of_level;
        let node = &mut self.nodes[slot as usize];
        (node.prev, node.next, node.place) = (NONE, head, place as u32);
    }

    fn unlink(&mut self, slot: u32) {
        let Node { prev, next, place, .. } = self.nodes[slot as usize];
        let place = place as usize;
        match prev {
            NONE => self.heads[place] = next,
            prev => self.nodes[prev as usize].next = next,
        }
        if next != NONE {
            self.nodes[next as usize].prev = prev;
        }
        if self.heads[place] == NONE {
            self.occupied[place / PLACES] &= !(1 << (place % PLACES));
        }
        self.nodes[slot as usize].place = NONE;
    }

    /// The next place that is not empty and the tick at which it begins. A lower level always comes first.
    fn next_place(&self) -> Option<(u64, usize)> {
        let level = self.occupied.iter().position(|bits| *bits != 0)?;
        let shift = BITS * level as u32;
        let at = (self.elapsed >> shift) % PLACES as u64;
        let ahead = u64::from(self.occupied[level].rotate_right(at as u32).trailing_zeros());
        let place = ((at + ahead) % PLACES as u64) as usize;
        let tick = ((self.elapsed >> shift) + ahead) << shift;
        Some((tick.max(self.elapsed), level * PLACES + place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Rng;
    use super::*;
    use crate::transaction::testing::{epoch, ms};

    #[test]
    fn timers_fire_in_their_millisecond_and_not_before() {
        let (base, mut due) = (epoch(), Vec::new());
        let mut wheel = Wheel::new(base);
        for (slot, at) in [(0, 0), (1, 1), (2, 63), (3, 64), (4, 500), (5, 32_000), (6, 5_000_000), (7, 40_000_000)] {
            wheel.set(slot, Some(base + ms(at)));
        }
        let mut fired = Vec::new();
        while let Some(at) = wheel.next() {
            wheel.advance(at, &mut due);
            fired.extend(due.drain(..).map(|slot| (slot, (at - base).as_millis() as u64)));
        }
        assert_eq!(fired, [(0, 0), (1, 1), (2, 63), (3, 64), (4, 500), (5, 32_000), (6, 5_000_000), (7, 40_000_000)]);
    }

    #[test]
    fn it_equals_a_sorted_list() {
        for seed in 0..40 {
            let mut rng = Rng::new(seed);
            let base = epoch();
            let mut wheel = Wheel::new(base);
            let mut model = vec![None; 50];
            let mut now = 0;
            for step in 0..2_000 {
                let slot = rng.below(50) as u32;
                let reach = [10, 100, 5_000, 300_000, 30_000_000][rng.below(5) as usize];
                let at = (rng.below(10) < 8).then(|| now + rng.below(reach));
                wheel.set(slot, at.map(|at| base + ms(at)));
                model[slot as usize] = at;
                if rng.below(3) == 0 {
                    let pause = [2, 50, 4_000, 200_000][rng.below(4) as usize];
                    now += rng.below(pause);
                    let first = model.iter().flatten().min();
                    if let Some(first) = first {
                        assert!(wheel.next().unwrap() <= base + ms(*first).max(ms(0)), "seed {seed} step {step}");
                    }
                    let mut due = Vec::new();
                    wheel.advance(base + ms(now), &mut due);
                    due.sort_unstable();
                    let expected: Vec<u32> =
                        (0..50).filter(|s| model[*s as usize].is_some_and(|at| at <= now)).collect();
                    assert_eq!(due, expected, "seed {seed} step {step}");
                    for slot in due {
                        model[slot as usize] = None;
                    }
                }
            }
        }
    }
}
