//! Headers as types, one file each.

mod name_addr;
mod via;

pub use name_addr::NameAddr;
pub use via::Via;
pub(crate) use via::split_host_port;
