//! Registrar decisions (RFC 3261 §10, RFC 3327, RFC 5626 §6, RFC 5627 §5, RFC 8599 §6).
//!
//! [`register`] says what a REGISTER makes of the bindings of its address-of-record, [`answer`] writes the 200,
//! [`targets()`] orders the bindings for a request to the AOR. Authentication, the choice of the AOR and storage are the
//! caller's.

mod answer;
mod binding;
mod contact;
mod gruu;
mod outcome;
mod policy;
mod purr;
mod register;
mod reject;
mod targets;

pub use answer::{Answer, answer};
pub use binding::{Binding, Parts, TooLong};
pub use gruu::{Gruu, GruuError, GruuKey};
pub use outcome::{Change, Event, Outcome, Refresh};
pub use policy::{Policy, WhenFull};
pub use purr::{Purr, PurrKey};
pub use register::{OPTION_TAGS, register};
pub use reject::Reject;
pub use targets::{Target, sleeping, targets};

#[cfg(test)]
mod tests;
