//! What the end-to-end tests stand on: a server of their own, outside programs that end with the test, and small SIP phones
//! written from the RFCs alone, on none of our crates, so that a fault of ours cannot hide itself.
//!
//! Everything runs on a loopback address that only the one test uses, so that tests run side by side and a port is free.

mod address;
pub mod baresip;
pub mod browser;
pub mod capture;
pub mod chat;
pub mod console;
mod digest;
mod hook;
pub mod http;
pub mod kills;
pub mod linphone;
mod message;
pub mod msrp;
mod phone;
mod program;
mod script;
mod server;
pub mod sipp;
pub mod tone;
pub mod web;
mod wire;

pub use address::Address;
pub use hook::Hook;
pub use message::Message;
pub use phone::Phone;
pub use program::{Program, found};
pub use server::{Options, Server, binary};
pub use wire::{Transport, Wire, fragments};

use std::time::{Duration, Instant};

/// The domain of every test.
pub const DOMAIN: &str = "localhost";

/// No wait for a single thing is longer; a machine under load is slow, but not dead.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until there is something, and fails after [`PATIENCE`].
///
/// # Panics
/// When there is nothing in time.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the programs of a test are there; says which is not.
pub fn all_found(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|name| !found(name)).collect();
    for name in &missing {
        println!("SKIPPED: there is no {name} here");
    }
    missing.is_empty()
}
