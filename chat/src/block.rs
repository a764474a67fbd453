//! From whom a user takes no messages.

use std::collections::HashSet;

use chappe_sip::{Aor, Uri};

use crate::user::is_anonymous;

/// Entries of one list that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// A user's list of blocked senders, ready to be asked.
///
/// Who is blocked is not to notice: it gets the answers that it would get of somebody who is away.
#[derive(Debug, Clone, Default)]
pub struct BlockList {
    /// AORs and bare numbers, as [`Aor`] writes them.
    users: HashSet<Box<str>>,
    /// Numbers that are blocked in every domain, since the entry named none.
    numbers: HashSet<Box<str>>,
    /// Domains in lower case.
    domains: HashSet<Box<str>>,
    anonymous: bool,
}

impl BlockList {
    /// Reads entries: a URI for a user, by [`crate::same_user`]; `sip:example.com` for a domain; an anonymous URI for those
    /// who do not say who they are. What is none of these blocks nobody.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> BlockList {
        let mut list = BlockList::default();
        for entry in entries.into_iter().take(MAX_ENTRIES) {
            let Ok(uri) = Uri::parse(entry.trim().as_bytes()) else { continue };
            if is_anonymous(uri.text) {
                list.anonymous = true;
            } else if let Some(aor) = Aor::of(&uri) {
                if aor.user().starts_with('+') {
                    let set = if aor.host().is_empty() { &mut list.numbers } else { &mut list.users };
                    set.insert(aor.user().into());
                }
                list.users.insert(aor.as_str().into());
            } else if uri.is_sip() {
                list.domains.insert(uri.host.trim_end_matches('.').to_ascii_lowercase().into());
            }
        }
        list
    }

    /// Whether messages of this sender are not taken.
    pub fn blocks(&self, sender: &str) -> bool {
        if is_anonymous(sender) {
            return self.anonymous;
        }
        let aor = Uri::parse(sender.as_bytes()).ok().and_then(|uri| Aor::of(&uri));
        aor.is_some_and(|aor| {
            self.users.contains(aor.as_str()) || self.numbers.contains(aor.user()) || self.domains.contains(aor.host())
        })
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.numbers.is_empty() && self.domains.is_empty() && !self.anonymous
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{ANONYMOUS, same_user};

    #[test]
    fn who_is_blocked() {
        let list = BlockList::new([
            "sip:eve@example.com",
            "tel:+1-555-010-0001",
            "sip:+15550100002@example.com;user=phone",
            "sip:Spam.example.",
            ANONYMOUS,
            "nonsense",
            "urn:service:sos",
        ]);
        for (sender, expected) in [
            ("sip:eve@example.com", true),
            ("sips:eve@EXAMPLE.com:5061;gr=1", true),
            ("sip:eve@example.net", false),
            ("sip:alice@example.com", false),
            ("tel:+15550100001", true),
            ("sip:+15550100001@anywhere.example", true),
            ("tel:+15550100002", true),
            ("sip:+15550100002@example.com", true),
            ("sip:+15550100002@elsewhere.example", false),
            ("sip:anybody@spam.example", true),
            ("sip:anybody@sub.spam.example", false),
            ("sip:anonymous@anonymous.invalid", true),
            ("", false),
            ("nonsense", false),
        ] {
            assert_eq!(list.blocks(sender), expected, "{sender}");
        }
        let nobody = BlockList::new(["nonsense", ""]);
        assert!(nobody.is_empty() && !nobody.blocks("nonsense") && !nobody.blocks(ANONYMOUS));
    }

    #[test]
    fn an_entry_blocks_all_addresses_of_its_user() {
        let addresses = [
            "sip:alice@example.com",
            "sip:+15550100001@example.com",
            "sip:+15550100001@example.net",
            "tel:+15550100001",
            "tel:0100001",
            "sip:0100001@example.com",
        ];
        for entry in addresses {
            for sender in addresses {
                assert_eq!(BlockList::new([entry]).blocks(sender), same_user(entry, sender), "{entry} {sender}");
            }
        }
    }
}
