//! What raw connections read into: their user may keep parts of it, and a buffer is used again when all have been let go.

use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes asked of the socket at a time.
pub(crate) const READ: usize = 64 * 1024;
/// Buffers that a thread keeps in sight.
const KEPT: usize = 8;

thread_local! {
    /// Those in use and those that are free again, in the order in which they were handed out.
    static BUFFERS: RefCell<VecDeque<Bytes>> = const { RefCell::new(VecDeque::new()) };
}

/// A buffer of [`READ`] bytes.
pub(crate) fn take() -> BytesMut {
    BUFFERS.with_borrow_mut(|buffers| {
        for _ in 0..buffers.len() {
            match buffers.pop_front().map(Bytes::try_into_mut) {
                Some(Ok(free)) => return free,
                Some(Err(held)) => buffers.push_back(held),
                None => break,
            }
        }
        BytesMut::zeroed(READ)
    })
}

/// Hands a buffer out.
pub(crate) fn lend(buffer: BytesMut) -> Bytes {
    let lent = buffer.freeze();
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() >= KEPT {
            // Held for long; whoever holds it frees it.
            buffers.pop_front();
        }
        buffers.push_back(lent.clone());
    });
    lent
}

/// Takes a buffer back that nothing was read into.
pub(crate) fn put_back(buffer: BytesMut) {
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.len() < KEPT {
            buffers.push_front(buffer.freeze());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_holds_any_of_it() {
        let first = lend(take());
        let (at, part) = (first.as_ptr(), first.slice(10..20));
        drop(first);
        let second = lend(take());
        assert_ne!(second.as_ptr(), at, "a part of the first is held");
        drop((part, second));
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (at, READ));
        put_back(again);
        assert_eq!(take().as_ptr(), at);
    }

    #[test]
    fn few_are_kept_however_many_are_held() {
        let held: Vec<Bytes> = (0..3 * KEPT).map(|_| lend(take())).collect();
        assert_eq!(BUFFERS.with_borrow(VecDeque::len), KEPT);
        drop(held);
        (0..3 * KEPT).for_each(|_| drop(lend(take())));
        assert_eq!(BUFFERS.with_borrow(VecDeque::len), KEPT);
    }
}
