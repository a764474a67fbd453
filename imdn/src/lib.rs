//! CPIM envelopes and instant message disposition notifications, without I/O.
//!
//! [`Cpim`] is the envelope of RFC 3862, which keeps every byte it was read from; [`Notification`] the receipt of
//! RFC 5438, [`Receipt`] a whole receipt for the wire. [`classify`] tells a server what a body is.

mod address;
mod classify;
mod compose;
mod cpim;
mod date;
mod disposition;
mod escape;
mod header;
mod media;
mod notification;
mod receipt;

pub use address::Address;
pub use classify::{Content, classify};
pub use compose::{Envelope, message_id};
pub use cpim::{Cpim, ParseError, head_is_complete};
pub use date::date_time;
pub use disposition::{Disposition, Dispositions, Status};
pub use header::{CORE_NAMESPACE, CPM_NAMESPACE, Header, IMDN_NAMESPACE, Limits};
pub use media::{COMPOSING_TYPE, CPIM_TYPE, IMDN_TYPE, is_composing, is_type};
pub use notification::{MAX_NOTIFICATION_LEN, Notification, XmlError};
pub use receipt::Receipt;
