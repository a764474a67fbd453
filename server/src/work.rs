//! What the transaction users of one shard have under way, by tokens that are never used again.

use crate::service::capability::Poll;
use crate::service::drain::Attempt;
use crate::service::group;
use crate::service::notify::Notification;
use crate::service::pager::Pager;
use crate::service::proxy::Proxied;

/// One piece of work.
pub enum Work {
    /// A request being forwarded.
    Proxied(Box<Proxied>),
    /// A MESSAGE being delivered to the devices of its recipient.
    Pager(Box<Pager>),
    /// A stored message being sent to one device.
    Drain(Box<Attempt>),
    /// A NOTIFY that waits for its answer.
    Notify(Box<Notification>),
    /// Devices that are asked what they can do.
    Capability(Box<Poll>),
    /// A MESSAGE of a group to one device.
    GroupPage(Box<group::Attempt>),
}

/// Names a piece of work and one of its branches, or a call and one of its requests; fits the token of a transaction.
/// 0 is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

impl Token {
    /// ```text
    /// 24 bits generation | 32 bits slot | 8 bits branch
    /// ```
    fn new(generation: u32, slot: u32) -> Token {
        Token(u64::from(generation) << 40 | u64::from(slot) << 8)
    }

    /// The same work, another branch; at most 255.
    pub fn branch(self, branch: usize) -> Token {
        Token(self.0 & !0xff | branch as u64 & 0xff)
    }

    pub fn branch_index(self) -> usize {
        (self.0 & 0xff) as usize
    }

    /// A request of a call: generation 0, which no work has. `number` is not 0.
    pub fn of_call(number: u32, request: u8) -> Token {
        Token(u64::from(number) << 8 | u64::from(request))
    }

    /// The number of the call, where it is the token of one.
    pub fn call(self) -> Option<u32> {
        (self.0 != 0 && self.generation() == 0).then_some((self.0 >> 8) as u32)
    }

    fn slot(self) -> usize {
        (self.0 >> 8) as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 40) as u32
    }
}

#[derive(Default)]
struct Slot {
    generation: u32,
    work: Option<Work>,
    taken: bool,
}

/// The work of one shard.
#[derive(Default)]
pub struct Works {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Works {
    /// Reserves a token for work that is put in with [`Works::put`].
    pub fn reserve(&mut self) -> Token {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        // Generation 0 is left out so that no token is 0.
        entry.generation = (entry.generation % 0xff_ffff) + 1;
        entry.taken = true;
        Token::new(entry.generation, slot)
    }

    /// Takes the work out, to be put back or ended.
    pub fn take(&mut self, token: Token) -> Option<Work> {
        let slot = self.slots.get_mut(token.slot()).filter(|s| s.generation == token.generation())?;
        let work = slot.work.take()?;
        // Whoever asks in between finds nothing, and does not undo this.
        slot.taken = true;
        Some(work)
    }

    pub fn put(&mut self, token: Token, work: Work) {
        if let Some(slot) = self.slots.get_mut(token.slot()).filter(|s| s.generation == token.generation() && s.taken) {
            slot.work = Some(work);
            slot.taken = false;
        }
    }

    /// The work is over; its token means nothing any more.
    pub fn end(&mut self, token: Token) {
        let index = token.slot();
        if let Some(slot) = self.slots.get_mut(index).filter(|s| s.generation == token.generation()) {
            slot.generation = (slot.generation % 0xff_ffff) + 1;
            (slot.work, slot.taken) = (None, false);
            self.free.push(index as u32);
        }
    }

    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work::Notify(Box::new(Notification::new(1)))
    }

    #[test]
    fn a_token_names_its_work_until_it_ends() {
        let mut works = Works::default();
        let token = works.reserve();
        works.put(token, work());
        assert!(works.take(token.branch(7)).is_some());
        assert!(works.take(token).is_none(), "it is out");
        works.put(token, work());
        assert!(works.take(token).is_some(), "asking in between undid nothing");
        works.end(token);
        let next = works.reserve();
        assert_ne!(next, token);
        works.put(token, work());
        assert!(works.take(next).is_none(), "an old token changes nothing");
        assert_eq!(works.len(), 1);
    }

    #[test]
    fn a_call_is_no_work() {
        let mut works = Works::default();
        let token = works.reserve();
        works.put(token, work());
        let call = Token::of_call(u32::MAX, 255);
        assert_eq!((call.call(), call.branch_index(), token.call()), (Some(u32::MAX), 255, None));
        assert!(works.take(Token::of_call(token.0 as u32 >> 8, 0)).is_none());
        assert_eq!(Token(0).call(), None);
    }

    #[test]
    fn branches_share_a_token() {
        let token = Works::default().reserve();
        assert_eq!((token.branch(200).branch_index(), token.branch(3).branch(0)), (200, token));
        assert_ne!(token.0, 0);
    }
}
