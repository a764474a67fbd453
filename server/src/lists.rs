//! What users have decided about others: of whom they want nothing, and whether others hear what they have read.
//!
//! There are two lists of who is blocked, and each counts at every door: that of the account, which an operator writes,
//! and that of the user's contacts (`rcs_blockedcontacts`), which a phone writes by XCAP.

use chappe_chat::BlockList;
use chappe_presence::rules::canonical;
use chappe_store::Wishes;

use crate::core::Core;
use crate::directory::Entry;
use crate::pipeline::Sender;
use crate::service::Request;
use crate::service::presence::Identity;

/// Entries of one list, and the bytes of one entry.
const MOST: usize = 1000;
const LONGEST: usize = 256;

/// The wishes of one user, as they are asked.
#[derive(Debug)]
pub struct Lists {
    blocked: BlockList,
    hides_displayed: bool,
}

impl Lists {
    /// `None` where there are no wishes.
    pub fn of(wishes: &Wishes) -> Option<Box<Lists>> {
        let blocked = BlockList::new(wishes.blocked.iter().map(|uri| &**uri));
        let hides_displayed = wishes.hides_displayed;
        (!wishes.is_default()).then(|| Box::new(Lists { blocked, hides_displayed }))
    }
}

/// Whether a user wants nothing of somebody, given as an AOR or a URI; `who` is his account, where he has one.
pub fn blocks(core: &Core, user: &Entry, sender: &str, who: Option<&Entry>) -> bool {
    if user.blocks(sender, who) {
        return true;
    }
    core.presence.books.of(&user.aor).is_some_and(|book| {
        let more = who.into_iter().flat_map(|who| std::iter::once(&who.aor).chain(&who.tel));
        let names: Vec<String> = std::iter::once(canonical(sender)).chain(more.map(ToString::to_string)).collect();
        book.blocks_contact(&names)
    })
}

/// Whether a user wants nothing of who sent a request.
pub fn is_unwanted(core: &Core, user: &Entry, request: &Request) -> bool {
    match &request.sender {
        Sender::User(entry) => entry.aor != user.aor && blocks(core, user, &entry.aor, Some(entry)),
        Sender::Trusted => Identity::of(core, request).names.iter().any(|name| blocks(core, user, name, None)),
        // Nobody vouches for it, and nothing better is known.
        Sender::Outside { .. } => {
            let from = request.message.from().map(|from| String::from_utf8_lossy(from.uri).into_owned());
            from.is_some_and(|uri| blocks(core, user, &canonical(&uri), None))
        }
    }
}

impl Entry {
    /// By the list of the account.
    fn blocks(&self, sender: &str, who: Option<&Entry>) -> bool {
        let Some(lists) = &self.lists else { return false };
        let uri = |aor: &str| if aor.contains(':') { aor.to_owned() } else { format!("sip:{aor}") };
        let numbers = who.map_or(&[][..], |who| &who.tel);
        lists.blocked.blocks(&uri(sender)) || numbers.iter().any(|tel| lists.blocked.blocks(&format!("tel:{tel}")))
    }

    /// Whether others are not to hear what this user has read.
    pub fn hides_displayed(&self) -> bool {
        self.lists.as_ref().is_some_and(|lists| lists.hides_displayed)
    }
}

/// Entries as they are kept: URIs, each once. The error is words for the operator.
pub fn entries(given: &[String]) -> Result<Vec<Box<str>>, String> {
    let mut kept: Vec<Box<str>> = Vec::new();
    for entry in given {
        let entry = entry_of(entry.trim());
        if entry.len() > LONGEST || BlockList::new([&*entry]).is_empty() {
            return Err(format!("{entry:?} is no user, number or domain: USER@DOMAIN, +15550001, sip:DOMAIN"));
        }
        if !kept.iter().any(|known| **known == *entry) {
            kept.push(entry.into());
        }
    }
    match kept.len() > MOST {
        true => Err(format!("more than {MOST} entries")),
        false => Ok(kept),
    }
}

/// The URI that a short form means.
pub fn entry_of(text: &str) -> String {
    match text {
        _ if text.contains(':') => text.to_owned(),
        _ if text.starts_with('+') && !text.contains('@') => format!("tel:{text}"),
        _ => format!("sip:{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chappe_store::{Account, Secrets};

    fn entry(wishes: Wishes, tel: &[&str]) -> Entry {
        let directory = crate::directory::Directory::default();
        directory.put(Account {
            aor: "u@d".into(),
            secrets: Secrets([0; Secrets::LEN]),
            tel: tel.iter().map(|tel| (*tel).into()).collect(),
            display_name: "".into(),
            created: 1,
            disabled: false,
            wishes,
        });
        std::sync::Arc::into_inner(directory.find("u@d").inspect(|_| directory.remove("u@d")).unwrap()).unwrap()
    }

    #[test]
    fn a_user_is_blocked_by_any_of_his_addresses() {
        let list = |given: &[&str]| entries(&given.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()).unwrap();
        let eve = entry(Wishes::default(), &["+15550001"]);
        for (given, sender, expected) in [
            (&["eve@d"][..], "eve@d", true),
            (&["eve@d"], "sip:eve@D", true),
            (&["sip:d"], "eve@d", true),
            (&["+15550001"], "eve@d", true),
            (&["bob@d", "+15550002"], "eve@d", false),
            (&[], "eve@d", false),
        ] {
            let user = entry(Wishes { blocked: list(given), hides_displayed: false }, &[]);
            assert_eq!(user.blocks(sender, Some(&eve)), expected, "{given:?} {sender}");
        }
        assert!(
            !eve.hides_displayed()
                && entry(Wishes { hides_displayed: true, ..Wishes::default() }, &[]).hides_displayed()
        );
    }

    #[test]
    fn what_may_stand_in_a_list() {
        let list = |given: &[&str]| entries(&given.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            list(&["eve@d", " sip:eve@d ", "+1555"]).unwrap(),
            ["sip:eve@d".into(), "tel:+1555".into()] as [Box<str>; 2]
        );
        for bad in ["", "urn:service:sos", "a b", &"x".repeat(300)] {
            assert!(list(&[bad]).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..=MOST).map(|n| format!("u{n}@d")).collect();
        assert!(entries(&many).is_err() && entries(&many[1..]).is_ok());
    }
}
