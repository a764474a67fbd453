//! Conversations of one device that have to wait, as something of them came back: what is behind must not overtake.

use std::collections::HashMap;
use std::time::Duration;

/// Conversations that rest, by the other side.
#[derive(Debug, Clone, Default)]
pub struct Lanes {
    /// Whether its end has been set.
    resting: HashMap<Box<str>, bool>,
}

impl Lanes {
    /// A message of a conversation came back, to be tried after `retry` or with the next registration. How long the
    /// conversation rests from now, where that is not known yet: of many messages that come back together one is enough.
    pub fn rest(&mut self, lane: &str, retry: Option<Duration>) -> Option<Duration> {
        let is_set = match self.resting.get_mut(lane) {
            Some(is_set) => is_set,
            None => self.resting.entry(lane.into()).or_default(),
        };
        retry.filter(|_| !std::mem::replace(is_set, true))
    }

    pub fn rests(&self, lane: &str) -> bool {
        self.resting.contains_key(lane)
    }

    /// Whether none rests.
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// The rest of one conversation is over.
    pub fn go_on(&mut self, lane: &str) {
        self.resting.remove(lane);
    }

    /// All go on; whether there was one that rested.
    pub fn clear(&mut self) -> bool {
        let any = !self.resting.is_empty();
        self.resting.clear();
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_those_that_come_back_together_sets_the_end() {
        const SOON: Option<Duration> = Some(Duration::from_millis(100));
        let mut lanes = Lanes::default();
        // Each: the retry of one that came back, and whether it begins a wait.
        for (retry, begins) in [(None, false), (SOON, true), (SOON, false), (None, false)] {
            assert_eq!(lanes.rest("bob@d", retry).is_some(), begins, "{retry:?}");
            assert!(lanes.rests("bob@d") && !lanes.rests("carol@d"));
        }
        assert_eq!(lanes.rest("carol@d", SOON), SOON);
        lanes.go_on("bob@d");
        assert!(!lanes.rests("bob@d") && lanes.rests("carol@d"));
        assert!(!lanes.is_empty() && lanes.clear() && lanes.is_empty() && !lanes.clear());
        assert_eq!(lanes.rest("carol@d", SOON), SOON);
    }
}
