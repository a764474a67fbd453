//! CPIM envelopes, instant message disposition notifications and signs of typing, without I/O.
//!
//! [`Cpim`] is the envelope of RFC 3862, which keeps every byte it was read from; [`Notification`] the receipt of
//! RFC 5438, [`Receipt`] and [`Aggregate`] whole receipts for the wire; [`Composing`] the status message of RFC 3994.
//! [`classify`] tells a server what a body is.

mod address;
mod aggregate;
mod aggregator;
mod classify;
mod compose;
mod composing;
mod cpim;
mod date;
mod disposition;
mod escape;
mod header;
mod lines;
mod media;
pub mod multipart;
mod namespace;
mod notification;
mod receipt;
mod transfer;
mod xml;

pub use address::Address;
pub use aggregate::{Aggregate, notifications};
pub use aggregator::{Aggregator, AggregatorConfig, Disclosure, Taken};
pub use classify::{Content, classify};
pub use compose::{Envelope, message_id};
pub use composing::{Composer, ComposerConfig, Composing, ComposingState, MAX_COMPOSING_LEN, Pace, Watcher};
pub use cpim::{Cpim, ParseError};
pub use date::date_time;
pub use disposition::{Disposition, Dispositions, Status};
pub use header::{CORE_NAMESPACE, CPM_NAMESPACE, Header, IMDN_NAMESPACE, Limits};
pub use lines::head_is_complete;
pub use media::{COMPOSING_TYPE, CPIM_TYPE, IMDN_TYPE, MIXED_TYPE, is_composing, is_imdn, is_multipart, is_type};
pub use multipart::MultipartError;
pub use namespace::is_understood;
pub use notification::{MAX_NOTIFICATION_LEN, Notification};
pub use receipt::Receipt;
pub use xml::XmlError;
