//! The history of conversations of two: written with the messages, read by HTTP.

mod door;

use bytes::{BufMut, Bytes, BytesMut};
use chappe_chat::Envelope;
use chappe_chat::envelope::Kind;
use chappe_store::{ConversationId, NewEntry, NewMessage, Reached, Receipt, ReceiptState, Step, Way, Write};
pub use door::HistoryDoor;

use crate::core::Core;

/// The write that stores these, with what the history is to know of them.
pub fn write(core: &Core, append: Vec<NewMessage>) -> Write {
    if !core.settings.keeps_history() {
        return Write { append, ..Write::default() };
    }
    let entries = append.iter().filter(|message| is_said(message)).map(entry).collect();
    Write { reached: reached(core, &append), entries, append, ..Write::default() }
}

/// What receipts among these tell.
pub fn reached(core: &Core, messages: &[NewMessage]) -> Vec<Reached> {
    if !core.settings.keeps_history() {
        return Vec::new();
    }
    let told = messages.iter().filter(|message| message.device.is_none()).filter_map(|message| {
        let Receipt { message_id, sender, recipient, state } = message.once.clone()?;
        let step = match state {
            ReceiptState::Delivered => Step::Delivered,
            ReceiptState::Displayed => Step::Displayed,
            ReceiptState::Failed => Step::Failed,
            _ => return None,
        };
        Some(Reached { way: Way { message_id, sender, recipient }, step, at_ms: message.accepted_ms })
    });
    told.collect()
}

/// Whether it is what somebody said to somebody else, not a receipt or a copy.
fn is_said(message: &NewMessage) -> bool {
    if message.device.is_some() || message.sender == message.recipient {
        return false;
    }
    match &message.once {
        Some(once) => once.state == ReceiptState::Accepted,
        // A message without an id, or a receipt that tells nothing.
        None => Envelope::stored(&message.headers, message.body.clone(), None)
            .is_ok_and(|envelope| envelope.kind == Kind::Content),
    }
}

fn entry(message: &NewMessage) -> NewEntry {
    let (sender, recipient) = (&message.sender, &message.recipient);
    let once = message.message_id.clone().map(|message_id| Receipt {
        message_id,
        sender: sender.clone(),
        recipient: format!("history of {recipient}").into(),
        state: ReceiptState::Accepted,
    });
    NewEntry {
        conversation: ConversationId::of(sender, recipient),
        members: vec![sender.clone(), recipient.clone()],
        author: sender.clone(),
        message_id: message.message_id.clone(),
        at_ms: message.accepted_ms,
        content: Content { recipient, headers: &message.headers, body: &message.body }.write(),
        once,
    }
}

/// What of a message is in an entry: two lengths of four octets (of the recipient and of the header lines), then the three.
#[derive(Debug, PartialEq, Eq)]
struct Content<'a> {
    recipient: &'a str,
    headers: &'a [u8],
    body: &'a [u8],
}

impl<'a> Content<'a> {
    fn write(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(8 + self.recipient.len() + self.headers.len() + self.body.len());
        for part in [self.recipient.as_bytes(), self.headers] {
            out.put_u32(u32::try_from(part.len()).unwrap_or(u32::MAX));
        }
        for part in [self.recipient.as_bytes(), self.headers, self.body] {
            out.put_slice(part);
        }
        out.freeze()
    }

    /// `None` for what no version of this program has written.
    fn read(bytes: &'a [u8]) -> Option<Content<'a>> {
        let (first, rest) = bytes.split_first_chunk()?;
        let (second, rest) = rest.split_first_chunk()?;
        let (recipient, rest) = rest.split_at_checked(u32::from_be_bytes(*first) as usize)?;
        let (headers, body) = rest.split_at_checked(u32::from_be_bytes(*second) as usize)?;
        Some(Content { recipient: std::str::from_utf8(recipient).ok()?, headers, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_as_it_was_written() {
        for (recipient, headers, body) in [("bob@d", "To: x\r\n", "text"), ("", "", "")] {
            let content = Content { recipient, headers: headers.as_bytes(), body: body.as_bytes() };
            let written = content.write();
            assert_eq!(Content::read(&written), Some(content));
        }
        for broken in [&[][..], &[0; 7], &[0, 0, 0, 1, 0, 0, 0, 0], &[255; 20]] {
            assert_eq!(Content::read(broken), None, "{broken:?}");
        }
    }
}
