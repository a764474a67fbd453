//! Headers as types, one file each.

mod date;
mod name_addr;
mod via;

pub use date::Date;
pub use name_addr::NameAddr;
pub use via::Via;
pub(crate) use via::split_host_port;
