//! The event packages of presence.

use chappe_sip::event::Package;

use crate::pidf;

/// `presence` (RFC 3856 §6).
#[derive(Debug, Clone, Copy)]
pub struct Presence;

impl Package for Presence {
    fn name(&self) -> &'static str {
        "presence"
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[pidf::MEDIA_TYPE]
    }

    fn default_expires(&self) -> u32 {
        3600
    }

    /// §6.10 asks for no more than one in five seconds.
    fn min_interval(&self) -> u32 {
        5
    }
}

/// `presence.winfo` (RFC 3857).
#[derive(Debug, Clone, Copy)]
pub struct WatcherInfo;

impl Package for WatcherInfo {
    fn name(&self) -> &'static str {
        "presence.winfo"
    }

    fn content_types(&self) -> &'static [&'static str] {
        &["application/watcherinfo+xml"]
    }

    fn default_expires(&self) -> u32 {
        3600
    }

    fn min_interval(&self) -> u32 {
        5
    }
}
