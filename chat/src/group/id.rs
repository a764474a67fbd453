//! The name of a group.

use std::fmt;

/// `g` and 128 random bits in hexadecimal: the user part of the focus URI. Nobody guesses it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(Box<str>);

impl GroupId {
    pub fn new(random: [u8; 16]) -> GroupId {
        GroupId(format!("g{:032x}", u128::from_be_bytes(random)).into())
    }

    /// `None` for what no group of ours is called.
    pub fn parse(text: &str) -> Option<GroupId> {
        let digits = text.strip_prefix('g')?;
        let fine = digits.len() == 32 && digits.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        fine.then(|| GroupId(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups() {
        let id = GroupId::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(id.as_str(), "g000102030405060708090a0b0c0d0eff");
        assert_eq!(GroupId::parse(id.as_str()), Some(id));
        for text in ["", "g", "g00", "000102030405060708090a0b0c0d0eff0", "g000102030405060708090A0b0c0d0eff", "güüü"]
        {
            assert_eq!(GroupId::parse(text), None, "{text}");
        }
    }
}
