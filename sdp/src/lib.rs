//! Session descriptions (RFC 8866), and offer and answer (RFC 3264) for message sessions, without I/O.
//!
//! [`Description`] is any session description: it keeps every line it was read from, so media that nobody here knows
//! survive. [`MsrpOffer`] and [`MsrpAnswer`] are the two ends of an exchange about message sessions (RFC 4975 §8), who
//! connects (RFC 4145, 6135, 6714), with which certificate (RFC 8122), and files (RFC 5547); both come to an
//! [`Agreement`]. [`Codec`] and its neighbours read RTP sections. [`revise`] is for what follows in the same session. Peers' habits are switches of [`Leniency`].

mod agreement;
mod answer;
mod authority;
mod cema;
mod description;
mod direction;
mod error;
mod file;
mod fingerprint;
mod line;
mod local;
mod media;
mod offer;
mod origin;
mod refusal;
mod remote;
mod revise;
mod rtp;
mod rules;
mod setup;
mod text;
mod types;

pub use agreement::{Agreement, Connect, Matching, Target, Transfer};
pub use answer::MsrpAnswer;
pub use authority::{Authority, DISCARD_PORT, Host, MSRP_PORT, Names};
pub use description::Description;
pub use direction::Direction;
pub use error::ParseError;
pub use file::{
    FileChange, FileDates, FileDescription, FileError, FileHash, FileRange, FileSelector, date_time, safe_name,
};
pub use fingerprint::{Fingerprint, Hash, matches, strongest};
pub use line::Line;
pub use local::{Local, LocalError};
pub use media::Media;
pub use offer::{AnswerError, MsrpOffer, Outcome, capabilities};
pub use origin::{Connection, Origin};
pub use refusal::Refusal;
pub use remote::{Remote, msrp_security};
pub use revise::{Change, ReviseError, change, free_section, revise};
pub use rtp::{Codec, RtpSecurity, rtp_addresses};
pub use rules::{Leniency, Limits, Rules};
pub use setup::{Role, Setup};
pub use types::{Chatroom, Sendable, TypeList};
