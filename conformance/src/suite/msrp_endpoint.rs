//! Message sessions that end at the target: RFC 4975, with 6135, 6714 and 7977, in a call to the partner of a testbed, who
//! sends back what he is sent. Needs an account and `--msrp` or `--msrp-tls`.

mod message;
mod report;
mod session;
mod talk;
mod way;

use crate::case::Case;

pub(crate) fn cases() -> Vec<Case> {
    [session::cases(), way::cases(), message::cases(), report::cases()].into_iter().flatten().collect()
}
