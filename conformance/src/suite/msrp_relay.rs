//! MSRP relays: RFC 4976. Needs an account and `--msrp` or `--msrp-tls`.

mod auth;
mod chunk;
mod forward;
mod report;

use std::time::Duration;

use crate::case::Case;

/// What a case may take that waits for a timer of the relay (30 s, §6.1 and §6.4.1).
const PATIENT: Duration = Duration::from_secs(60);

pub(crate) fn cases() -> Vec<Case> {
    [auth::cases(), auth::slow(), forward::cases(), report::cases(), report::slow(), chunk::cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn patient(mut cases: Vec<Case>) -> Vec<Case> {
    for case in &mut cases {
        case.limit = PATIENT;
    }
    cases
}
