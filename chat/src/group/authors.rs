//! Who wrote the last messages of a group, and what it has heard of each member (RFC 5438 §7, GSMA RCC.07 §3.4.4.1).
//!
//! Every device of every member may tell of a message, twice and in any order. [`Authors::take`] says what of it is news to
//! the author; what it says is to be written to the log, and then [kept](Authors::keep), or [taken
//! back](Authors::take_back) where that failed, so that a receipt which is sent again is news again.

use std::collections::{BTreeMap, VecDeque};

use chappe_imdn::Dispositions;
use chappe_sip::Aor;
use smallvec::SmallVec;

use crate::receipts::{Privacy, Progress, Report};

/// Who wrote a message, and what it wants to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub user: Aor,
    pub wants: Dispositions,
    /// When it was written, as its envelope says.
    pub date: Box<str>,
}

#[derive(Debug, Clone)]
struct Message {
    author: Author,
    /// Of those who have told something.
    states: BTreeMap<Aor, Progress>,
}

/// The last messages of a group by their IMDN Message-IDs.
#[derive(Debug, Clone)]
pub struct Authors {
    messages: BTreeMap<Box<str>, Message>,
    order: VecDeque<Box<str>>,
    /// States of members, of all messages.
    states: usize,
    most: Most,
    /// What was before what was taken since the last write.
    before: Vec<(Box<str>, Aor, Option<Progress>)>,
}

/// What is remembered of one group at most; the oldest message goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    pub messages: usize,
    /// States of members, of all messages.
    pub states: usize,
}

impl Authors {
    pub fn new(most: Most) -> Authors {
        Authors { messages: BTreeMap::new(), order: VecDeque::new(), states: 0, most, before: Vec::new() }
    }

    /// A message is in the log. One that is known stays as it is.
    pub fn wrote(&mut self, message_id: &str, author: Author) {
        if self.messages.contains_key(message_id) {
            return;
        }
        self.order.push_back(message_id.into());
        self.messages.insert(message_id.into(), Message { author, states: BTreeMap::new() });
        self.shrink();
    }

    /// `None` for a message that is not remembered.
    pub fn author(&self, message_id: &str) -> Option<&Author> {
        self.messages.get(message_id).map(|message| &message.author)
    }

    /// The log has a receipt: its author has heard that already.
    pub fn heard(&mut self, message_id: &str, who: &Aor, report: Report) {
        let Some(message) = self.messages.get_mut(message_id) else { return };
        let state = message.states.get(who).copied();
        self.states += usize::from(state.is_none());
        message.states.insert(who.clone(), state.unwrap_or_default().with(report));
        self.shrink();
    }

    /// A member tells of a message. Gives what its author is to hear, in this order; what is not the report itself is made in
    /// the name of the member. `None` for a message that is not remembered, of which nobody can say what is news.
    pub fn take(
        &mut self,
        message_id: &str,
        who: &Aor,
        report: Report,
        privacy: Privacy,
    ) -> Option<SmallVec<[Report; 2]>> {
        let message = self.messages.get_mut(message_id)?;
        // What the author has seen on another device is no receipt.
        if message.author.user == *who {
            return Some(SmallVec::new());
        }
        let state = message.states.get(who).copied();
        let effect = state.unwrap_or_default().apply(report, &message.author.wants, privacy);
        if effect.next != state.unwrap_or_default() {
            self.before.push((message_id.into(), who.clone(), state));
            self.states += usize::from(state.is_none());
            message.states.insert(who.clone(), effect.next);
            self.shrink();
        }
        Some(effect.to_sender)
    }

    /// What one member has told of a message, as far as is remembered.
    pub fn state(&self, message_id: &str, who: &Aor) -> Progress {
        self.messages.get(message_id).and_then(|message| message.states.get(who)).copied().unwrap_or_default()
    }

    /// Whether nothing was taken that is not on disk.
    pub fn is_kept(&self) -> bool {
        self.before.is_empty()
    }

    /// What was taken is on disk.
    pub fn keep(&mut self) {
        self.before.clear();
    }

    /// What was taken since the last write could not be written: it has not been told.
    pub fn take_back(&mut self) {
        while let Some((message_id, who, state)) = self.before.pop() {
            let Some(message) = self.messages.get_mut(&message_id) else { continue };
            match state {
                Some(state) => drop(message.states.insert(who, state)),
                None => self.states -= usize::from(message.states.remove(&who).is_some()),
            }
        }
    }

    /// Somebody was never there.
    pub fn forget(&mut self, is_gone: impl Fn(&Aor) -> bool) {
        self.messages.retain(|_, message| !is_gone(&message.author.user));
        self.messages.values_mut().for_each(|message| message.states.retain(|who, _| !is_gone(who)));
        self.states = self.messages.values().map(|message| message.states.len()).sum();
        let messages = &self.messages;
        self.order.retain(|id| messages.contains_key(id));
        self.before.retain(|(_, who, _)| !is_gone(who));
    }

    /// Messages that are remembered.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn shrink(&mut self) {
        while self.order.len() > self.most.messages.max(1) || (self.states > self.most.states && self.order.len() > 1) {
            let oldest = self.order.pop_front().and_then(|id| self.messages.remove(&id));
            self.states -= oldest.map_or(0, |message| message.states.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { messages: 3, states: 5 };
    const NONE: Privacy = Privacy { hides_displayed: false, blocks_sender: false };

    fn aor(name: &str) -> Aor {
        Aor::from_canonical(format!("{name}@x"))
    }

    fn by(name: &str) -> Author {
        let wants =
            Dispositions { positive_delivery: true, negative_delivery: true, display: true, ..Dispositions::default() };
        Author { user: aor(name), wants, date: "now".into() }
    }

    #[test]
    fn an_author_hears_each_thing_once_and_in_order() {
        use Report::{Delivered, Displayed, Failed, Stored};
        let mut authors = Authors::new(MOST);
        authors.wrote("m", by("alice"));
        let hides = Privacy { hides_displayed: true, ..NONE };
        let blocks = Privacy { blocks_sender: true, ..NONE };
        for (name, who, report, privacy, expected) in [
            ("bob's phone has it", "bob", Delivered, NONE, &[Delivered][..]),
            ("his tablet too", "bob", Delivered, NONE, &[]),
            ("and his watch cannot show it", "bob", Failed, NONE, &[]),
            ("he sees it", "bob", Displayed, NONE, &[Displayed]),
            ("that carol sees it comes first", "carol", Displayed, NONE, &[Delivered, Displayed]),
            ("late", "carol", Delivered, NONE, &[]),
            ("dave does not tell what he sees", "dave", Displayed, hides, &[Delivered]),
            ("erin wants nothing of her", "erin", Displayed, blocks, &[]),
            ("not asked for", "frank", Stored, NONE, &[]),
            ("her own tablet", "alice", Displayed, NONE, &[]),
        ] {
            let told = authors.take("m", &aor(who), report, privacy).expect("it is remembered");
            assert_eq!(told.as_slice(), expected, "{name}");
        }
        assert_eq!(authors.take("other", &aor("bob"), Delivered, NONE), None);
    }

    #[test]
    fn what_was_not_written_is_news_again() {
        let mut authors = Authors::new(MOST);
        authors.wrote("m", by("alice"));
        authors.take("m", &aor("bob"), Report::Delivered, NONE);
        authors.keep();
        authors.take("m", &aor("bob"), Report::Displayed, NONE);
        authors.take("m", &aor("carol"), Report::Displayed, NONE);
        authors.take_back();
        let again = |authors: &mut Authors, who: &str| authors.take("m", &aor(who), Report::Displayed, NONE);
        assert_eq!(again(&mut authors, "bob").expect("known").as_slice(), [Report::Displayed]);
        assert_eq!(again(&mut authors, "carol").expect("known").as_slice(), [Report::Delivered, Report::Displayed]);
        authors.keep();
        authors.take_back();
        assert!(again(&mut authors, "carol").expect("known").is_empty());
    }

    #[test]
    fn the_oldest_goes_where_there_is_too_much() {
        let mut authors = Authors::new(MOST);
        for id in ["1", "2", "3", "4"] {
            authors.wrote(id, by("alice"));
            authors.wrote(id, by("mallory"));
        }
        assert!(authors.author("1").is_none() && authors.len() == 3);
        assert_eq!(authors.author("2"), Some(&by("alice")), "the first word counts");
        for who in ["b", "c", "d"] {
            authors.heard("2", &aor(who), Report::Delivered);
            authors.heard("4", &aor(who), Report::Delivered);
            authors.heard("4", &aor(who), Report::Displayed);
        }
        assert!(authors.author("2").is_none() && authors.author("3").is_some(), "six states, one too many");
        assert!(authors.state("4", &aor("d")).has(Report::Displayed));
        authors.forget(|who| *who == aor("d"));
        assert_eq!(authors.state("4", &aor("d")), Progress::default());
        // What is taken back of a message that is gone is nothing.
        authors.take("3", &aor("b"), Report::Delivered, NONE);
        (5..8).for_each(|id| authors.wrote(&id.to_string(), by("bob")));
        authors.take_back();
        authors.forget(|who| *who == aor("bob"));
        assert!(authors.is_empty());
    }
}
