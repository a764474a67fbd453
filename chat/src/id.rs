//! Ids of messages, contributions and conversations.

use sha1::{Digest, Sha1};

/// Longest id of a conversation, a contribution or a message, in bytes.
pub const MAX_ID: usize = 256;

/// Whether it may stand in a header of ours, and be kept.
pub(crate) fn is_id(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= MAX_ID && text.iter().all(u8::is_ascii_graphic)
}

/// The id of a message that came without one. The same `parts`, what its transport knows it by, give the same id again,
/// so that a copy is known as one.
pub fn made_id(parts: &[&[u8]]) -> Box<str> {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let hash: [u8; 20] = hash.finalize().into();
    let mut id = [0; 15];
    id.copy_from_slice(&hash[..15]);
    chappe_imdn::message_id(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_ids_tell_messages_apart() {
        let id = made_id(&[b"call", b"1"]);
        assert_eq!((id.len(), &*id), (21, &*made_id(&[b"call", b"1"])));
        for other in [made_id(&[b"call", b"2"]), made_id(&[b"cal", b"l1"]), made_id(&[b"call1"])] {
            assert_ne!(other, id);
        }
        assert!(is_id(id.as_bytes()) && !is_id(b"") && !is_id(b"a b") && !is_id(&[b'a'; MAX_ID + 1]));
    }
}
