//! The decisions of RFC 6714: whether `c=` and `m=` or the path say where to connect when middleboxes may be about.

use crate::setup::{Role, Setup};

/// What an answerer that knows the extension goes by (§4.3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    /// The offer has `a=msrp-cema`.
    pub(crate) cema: bool,
    /// `c=` and `m=` name the host and port of a URI in the path.
    pub(crate) address_matches: bool,
    /// The path has more than one URI.
    pub(crate) relay: bool,
    pub(crate) setup: Option<Setup>,
    /// We use a relay.
    pub(crate) own_relay: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerWith {
    /// A middlebox that does not know the extension has changed the address.
    Refusal,
    /// The procedures of RFC 4975, without the attribute.
    Path,
    /// The attribute.
    Cema,
}

pub(crate) fn answer(offered: Offered) -> AnswerWith {
    let Offered { cema, address_matches, relay, setup, own_relay } = offered;
    let offerer_connects = matches!(setup, None | Some(Setup::HoldConn | Setup::Active));
    if !cema {
        return if address_matches { AnswerWith::Path } else { AnswerWith::Refusal };
    }
    // Criteria 1 and 2, then 3.
    match (relay, own_relay) {
        (true, true) => AnswerWith::Path,
        (true, false) if offerer_connects => AnswerWith::Path,
        (false, true) if setup == Some(Setup::Passive) => AnswerWith::Path,
        _ => AnswerWith::Cema,
    }
}

/// What we say in an answer with the attribute.
///
/// With a relay of ours `passive` (§4.3); to an offerer with a relay `active`, for a relay that connects cannot use the
/// extension (§4.1), which outweighs the SHOULD of RFC 6135 §4.2.2 to let others connect.
pub(crate) fn answer_setup(offered: Offered, reachable: bool) -> Setup {
    match offered.setup {
        _ if offered.own_relay => Setup::Passive,
        Some(Setup::ActPass) if offered.relay => Setup::Active,
        setup => Setup::to_answer(setup, reachable),
    }
}

/// What an offerer that sent the attribute goes by (§4.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answered {
    pub(crate) cema: bool,
    pub(crate) address_matches: bool,
    pub(crate) relay: bool,
    pub(crate) own_relay: bool,
    /// Ours.
    pub(crate) role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoOn {
    /// With a new offer that lacks the attribute.
    Reoffer,
    /// By the path.
    Path,
    /// By `c=` and `m=`.
    Address,
}

pub(crate) fn go_on(answered: Answered) -> GoOn {
    let Answered { cema, address_matches, relay, own_relay, role } = answered;
    let active = role == Role::Active;
    match (cema, address_matches) {
        // A relay of ours connects by the path and cannot be told another address (§4.1).
        (true, true) if active && own_relay => GoOn::Path,
        (true, false) if active && own_relay => GoOn::Reoffer,
        (true, _) => GoOn::Address,
        // Criteria 1, 2 and 3 of §4.2.
        (false, false) if !active || own_relay || relay => GoOn::Reoffer,
        (false, true) if relay || own_relay => GoOn::Path,
        (false, _) => GoOn::Address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Leniency;

    #[test]
    fn answerer() {
        use AnswerWith::{Cema, Path, Refusal};
        // Offer: attribute, address matches, relay, setup; relay of ours; then what the answer is.
        for (name, cema, matches, relay, setup, own_relay, with, said) in [
            ("plain offer", false, true, false, "active", false, Path, ""),
            ("plain offer by a relay", false, true, true, "actpass", false, Path, ""),
            ("an old middlebox", false, false, false, "actpass", false, Refusal, ""),
            ("an old middlebox before a relay", false, false, true, "actpass", true, Refusal, ""),
            ("1: relays on both sides", true, true, true, "actpass", true, Path, ""),
            ("1: and a middlebox", true, false, true, "actpass", true, Path, ""),
            ("2: offerer's relay would connect, by default", true, true, true, "", false, Path, ""),
            ("2: offerer's relay would connect", true, false, true, "active", false, Path, ""),
            ("2: holdconn is no attribute", true, true, true, "holdconn", false, Path, ""),
            ("3: our relay would have to connect", true, true, false, "passive", true, Path, ""),
            ("no relays, we are reachable", true, true, false, "actpass", false, Cema, "passive"),
            ("and a middlebox", true, false, false, "actpass", false, Cema, "passive"),
            ("offerer connects", true, false, false, "active", false, Cema, "passive"),
            ("offerer connects by default", true, false, false, "", false, Cema, "passive"),
            ("offerer listens", true, false, false, "passive", false, Cema, "active"),
            ("offerer has a relay, we connect", true, false, true, "actpass", false, Cema, "active"),
            ("offerer has a relay that listens", true, true, true, "passive", false, Cema, "active"),
            ("our relay listens", true, false, false, "actpass", true, Cema, "passive"),
            ("our relay listens to an active one", true, true, false, "active", true, Cema, "passive"),
        ] {
            let setup = Setup::parse(setup, Leniency::STRICT);
            let offered = Offered { cema, address_matches: matches, relay, setup, own_relay };
            assert_eq!(answer(offered), with, "{name}");
            if with == Cema {
                assert_eq!(answer_setup(offered, true).name(), said, "{name}");
            }
        }
    }

    #[test]
    fn offerer() {
        use GoOn::{Address, Path, Reoffer};
        use Role::{Active, Passive};
        // Answer: attribute, address matches, relay; relay of ours, our role; then how it goes on.
        for (name, cema, matches, relay, own_relay, role, expected) in [
            ("1: middlebox, and the peer would connect past it", false, false, false, false, Passive, Reoffer),
            ("1: with our relay", false, false, false, true, Passive, Reoffer),
            ("1: with the peer's relay", false, false, true, false, Passive, Reoffer),
            ("2: middlebox, and our relay would connect", false, false, false, true, Active, Reoffer),
            ("3: middlebox in front of the peer's relay", false, false, true, false, Active, Reoffer),
            ("2 and 3", false, false, true, true, Active, Reoffer),
            ("peer's relay, no middlebox", false, true, true, false, Active, Path),
            ("peer's relay connects, no middlebox", false, true, true, false, Passive, Path),
            ("relays on both sides, no middlebox", false, true, true, true, Active, Path),
            ("our relay, no middlebox", false, true, false, true, Active, Path),
            ("no relays, the peer is plain", false, true, false, false, Active, Address),
            ("and behind a middlebox", false, false, false, false, Active, Address),
            ("the peer is plain and connects", false, true, false, false, Passive, Address),
            ("both know it", true, true, false, false, Active, Address),
            ("and there is a middlebox", true, false, false, false, Active, Address),
            ("the peer's relay listens behind it", true, false, true, false, Active, Address),
            ("the peer connects", true, false, false, false, Passive, Address),
            ("the peer connects to our relay", true, false, false, true, Passive, Address),
            ("our relay has to connect", true, true, false, true, Active, Path),
            ("and cannot get through a middlebox", true, false, false, true, Active, Reoffer),
        ] {
            let answered = Answered { cema, address_matches: matches, relay, own_relay, role };
            assert_eq!(go_on(answered), expected, "{name}");
        }
    }
}
