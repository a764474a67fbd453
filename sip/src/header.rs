//! Headers as types, one file each.

mod content_type;
mod date;
mod name_addr;
mod reason;
mod replaces;
mod retry_after;
mod session_expires;
mod via;
mod warning;

pub use content_type::ContentType;
pub use date::Date;
pub use name_addr::NameAddr;
pub use reason::Reason;
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use session_expires::{Refresher, SessionExpires};
pub use via::Via;
pub(crate) use via::cut_host;
pub use warning::Warning;
