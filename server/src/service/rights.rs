//! Who may change or recall a message: its author only, known by the marks that each message leaves in the store.

use chappe_store::{NewMessage, Receipt, ReceiptState, StoreError};

use crate::core::Core;
use crate::service::registrar::store_status;

/// Whether these messages may be sent, if they change or recall the one of the id `revision`; `Err` is the status of the refusal.
pub(super) async fn check(core: &Core, messages: &[NewMessage], revision: Option<&str>) -> Result<(), u16> {
    let Some(id) = revision else { return Ok(()) };
    // Copies for the sender's own devices are of the same message.
    for message in messages.iter().filter(|message| message.device.is_none()) {
        match may_revise(core, &message.sender, &message.recipient, id).await {
            Ok(true) => {}
            Ok(false) => return Err(403),
            Err(error) => return Err(store_status(&error)),
        }
    }
    Ok(())
}

/// Whether `author` may change or recall the message of this id in the conversation with `peer`, both AORs. A message that the
/// store does not know, such as one that went straight from device to device, is left to the devices to judge.
///
/// # Errors
/// A store that cannot be read.
async fn may_revise(core: &Core, author: &str, peer: &str, message_id: &str) -> Result<bool, StoreError> {
    let marks = vec![mark(author, peer, message_id), mark(peer, author, message_id)];
    let known = core.stored(core.stores.receipts.known(marks)).await?;
    Ok(known != [false, true])
}

/// Whether `author` wrote the message of this id in a group (both AORs). Every message of a group leaves a mark, so one that has
/// none is not theirs, or too old.
///
/// # Errors
/// A store that cannot be read.
pub(super) async fn wrote_in_group(core: &Core, author: &str, group: &str, id: &str) -> Result<bool, StoreError> {
    Ok(core.stored(core.stores.receipts.known(vec![mark(author, group, id)])).await? == [true])
}

fn mark(sender: &str, recipient: &str, message_id: &str) -> Receipt {
    Receipt {
        message_id: message_id.into(),
        sender: sender.into(),
        recipient: recipient.into(),
        state: ReceiptState::Accepted,
    }
}
