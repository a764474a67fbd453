//! What became of a push, in the words of whoever reads the log of a device.

use std::time::Duration;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it; whether the phone got it nobody says.
    Accepted,
    /// The token is no longer valid: it is never used again.
    Gone(String),
    /// Later, or the next time.
    Retry { after: Option<Duration>, why: String },
    /// Our credentials or configuration are wrong: no phone of this service is woken.
    Misconfigured(String),
    /// This push is refused, and a copy of it would be.
    Refused(String),
}

impl Outcome {
    pub fn as_str(&self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::Gone(_) => "gone",
            Outcome::Retry { .. } => "retry",
            Outcome::Misconfigured(_) => "misconfigured",
            Outcome::Refused(_) => "refused",
        }
    }

    /// What the service said.
    pub fn why(&self) -> &str {
        match self {
            Outcome::Accepted => "",
            Outcome::Gone(why) | Outcome::Misconfigured(why) | Outcome::Refused(why) | Outcome::Retry { why, .. } => {
                why
            }
        }
    }
}
