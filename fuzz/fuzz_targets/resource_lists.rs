//! Resource lists and REFER: what is read names users, within the limit, and the history that is written of it is read again
//! and names nobody who is hidden.

#![no_main]

use bytes::Bytes;
use chappe_chat::ANONYMOUS;
use chappe_chat::group::refer::Referral;
use chappe_chat::group::{Copy, list};
use chappe_sip::{Aor, Limits, Message, Method};
use libfuzzer_sys::fuzz_target;

const MAX: usize = 20;

fuzz_target!(|data: &[u8]| {
    if let Ok(entries) = list::read(data, MAX, Aor::of) {
        assert!(!entries.is_empty() && entries.len() <= MAX);
        let people = || entries.iter().map(|e| (&e.invitee.user, e.invitee.display_name.as_deref(), e.invitee.copy));
        let written = list::history(people(), Aor::to_uri);
        let shown = people().filter(|(.., copy)| matches!(copy, Copy::To | Copy::Cc)).count();
        let counted = people().any(|(.., copy)| matches!(copy, Copy::AnonymousTo | Copy::AnonymousCc));
        match list::read(written.as_bytes(), MAX + 1, Aor::of) {
            Ok(again) => {
                let anonymous = again.iter().filter(|e| e.invitee.user.to_uri() == ANONYMOUS).count();
                assert!(anonymous >= usize::from(counted));
                assert!(again.len() <= shown + usize::from(counted));
                assert!(again.iter().all(|e| matches!(e.invitee.copy, Copy::To | Copy::Cc)));
            }
            Err(list::ListError::Empty) => assert!(shown == 0 && !counted),
            // A user part that is a method to another reader, or no URI once it is written plainly.
            Err(list::ListError::Address) => {}
            Err(error) => panic!("{error}: {written}"),
        }
    }
    if let Ok(message) = Message::parse(Bytes::copy_from_slice(data), &Limits::default())
        && message.check().is_ok()
        && message.method() == Method::Refer
        && let Ok(referral) = Referral::read(&message, MAX, Aor::of)
    {
        assert!(!referral.changes.is_empty());
    }
});
