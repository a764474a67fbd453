//! The suites, one file each. A case's section is of the document its suite is named after.

mod bearer;
mod block;
mod capability;
mod carddav;
mod chat;
mod digest;
mod events;
mod forking;
mod ft;
mod group;
mod habits;
mod imdn;
mod message;
mod msrp;
mod msrp_connection;
mod msrp_endpoint;
mod msrp_relay;
mod msrp_ws;
mod outbound;
mod pair;
mod presence;
mod provisioning;
mod proxy;
mod push;
mod registrar;
mod torture;
mod transaction;
mod transport;
mod uas;
mod websocket;
mod xcap;

use crate::case::Case;

/// Suites that are run only where they are named: they want more of a server than SIP and MSRP, and leave messages behind.
pub(crate) const ON_DEMAND: [&str; 6] =
    [block::NAME, chat::NAME, ft::NAME, group::NAME, provisioning::NAME, push::NAME];

/// Every case in order of report.
pub(crate) fn all() -> Vec<Case> {
    [
        torture::rfc4475(),
        torture::rfc5118(),
        registrar::cases(),
        uas::cases(),
        proxy::cases(),
        forking::cases(),
        transaction::cases(),
        transport::cases(),
        outbound::cases(),
        message::cases(),
        bearer::cases(),
        digest::cases(),
        events::cases(),
        websocket::cases(),
        habits::cases(),
        imdn::cases(),
        presence::cases(),
        capability::cases(),
        provisioning::cases(),
        push::cases(),
        chat::cases(),
        ft::cases(),
        group::cases(),
        msrp::cases(),
        msrp_relay::cases(),
        msrp_connection::cases(),
        msrp_ws::cases(),
        msrp_endpoint::cases(),
        xcap::cases(),
        carddav::cases(),
        block::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_rules_are_one_line() {
        let mut seen = HashSet::new();
        for case in super::all() {
            assert!(seen.insert((case.suite, case.name.clone())), "{} {} twice", case.suite, case.name);
            assert!(!case.rule.is_empty() && case.rule.len() < 200 && !case.rule.contains('\n'), "{}", case.name);
        }
    }
}
