//! `a=setup`: who connects (RFC 4145 §4, for MSRP RFC 6135). `a=connection` means nothing in MSRP, nobody looks at it.

use crate::rules::Leniency;

/// The value of `a=setup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    Active,
    Passive,
    ActPass,
    HoldConn,
}

impl Setup {
    const ALL: [Self; 4] = [Self::Active, Self::Passive, Self::ActPass, Self::HoldConn];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        }
    }

    /// Reads the value; one that is not known is none, as if it were missing.
    #[must_use]
    pub fn parse(value: &str, leniency: Leniency) -> Option<Self> {
        let value = if leniency.spaces { value.trim_ascii() } else { value };
        Self::ALL
            .into_iter()
            .find(|setup| setup.name() == value || (leniency.case && setup.name().eq_ignore_ascii_case(value)))
    }

    /// What an offer says: `passive` never (RFC 6135 §4.2.2). `reachable`: peers can connect to the address in it.
    #[must_use]
    pub fn to_offer(reachable: bool) -> Self {
        if reachable { Self::ActPass } else { Self::Active }
    }

    /// What the answer to `offer` says. An offerer that says nothing, or `holdconn`, connects (RFC 4975 §8.5).
    #[must_use]
    pub fn to_answer(offer: Option<Self>, reachable: bool) -> Self {
        match offer {
            None | Some(Self::HoldConn | Self::Active) => Self::Passive,
            Some(Self::Passive) => Self::Active,
            Some(Self::ActPass) if reachable => Self::Passive,
            Some(Self::ActPass) => Self::Active,
        }
    }
}

/// Who connects and sends the first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Active,
    Passive,
}

impl Role {
    /// That of the peer.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Active => Self::Passive,
            Self::Passive => Self::Active,
        }
    }

    /// The role of the offerer; none where both want to connect, or neither does.
    ///
    /// An answer without the attribute, or with a value that no answer may have, is that of a peer that knows RFC 4975
    /// only: it listens.
    #[must_use]
    pub fn of_offerer(offer: Option<Setup>, answer: Option<Setup>) -> Option<Self> {
        use Setup::{ActPass, Active, HoldConn, Passive};
        let offer = offer.filter(|&setup| setup != HoldConn).unwrap_or(Active);
        let answer = answer.filter(|&setup| !matches!(setup, HoldConn | ActPass)).unwrap_or(Passive);
        match (offer, answer) {
            (Active | ActPass, Passive) => Some(Self::Active),
            (Passive | ActPass, Active) => Some(Self::Passive),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [&str; 5] = ["missing", "active", "passive", "actpass", "holdconn"];

    fn setup(value: &str) -> Option<Setup> {
        Setup::parse(value, Leniency::STRICT)
    }

    #[test]
    fn every_offer_with_every_answer() {
        // The role of the offerer; `!` is a conflict. Rows are offers, columns answers, both in the order of VALUES.
        let table = ["a ! a a a", "a ! a a a", "! p ! ! !", "a p a a a", "a ! a a a"];
        for (offer, row) in VALUES.into_iter().zip(table) {
            for (answer, expected) in VALUES.into_iter().zip(row.split(' ')) {
                let role = match Role::of_offerer(setup(offer), setup(answer)) {
                    Some(Role::Active) => "a",
                    Some(Role::Passive) => "p",
                    None => "!",
                };
                assert_eq!(role, expected, "{offer} answered {answer}");
            }
        }
    }

    #[test]
    fn what_we_answer_fits_every_offer() {
        for (offer, reachable, behind_nat) in [
            ("missing", "passive", "passive"),
            ("active", "passive", "passive"),
            ("passive", "active", "active"),
            ("actpass", "passive", "active"),
            ("holdconn", "passive", "passive"),
        ] {
            for (expected, is_reachable) in [(reachable, true), (behind_nat, false)] {
                let answer = Setup::to_answer(setup(offer), is_reachable);
                assert_eq!(answer.name(), expected, "{offer}");
                assert!(Role::of_offerer(setup(offer), Some(answer)).is_some(), "{offer}");
            }
        }
    }

    #[test]
    fn offers_are_never_passive() {
        assert_eq!(Setup::to_offer(true), Setup::ActPass);
        assert_eq!(Setup::to_offer(false), Setup::Active);
    }

    #[test]
    fn values() {
        for (value, strict, lenient) in [
            ("active", true, true),
            ("Active", false, true),
            (" passive", false, true),
            ("both", false, false),
            ("", false, false),
        ] {
            assert_eq!(Setup::parse(value, Leniency::STRICT).is_some(), strict, "{value}: strict");
            assert_eq!(Setup::parse(value, Leniency::DEPLOYED).is_some(), lenient, "{value}: lenient");
        }
    }
}
