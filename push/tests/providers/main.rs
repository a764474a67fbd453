//! The services against simulated ones that speak the real protocols and check what they get.
#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test may")]

mod apns;
mod fcm;
mod sim;
mod webpush;
mod wns;
