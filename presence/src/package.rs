//! The event packages of presence, and of what else is published.

use chappe_sip::event::Package;

use crate::publish::State;
use crate::{dialogs, pidf, summary};

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

/// `message-summary` (RFC 3842 §3).
#[derive(Debug, Clone, Copy)]
pub struct MessageSummary;

impl Package for MessageSummary {
    fn name(&self) -> &'static str {
        "message-summary"
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[summary::Summary::MEDIA_TYPE]
    }

    /// §3.4.
    fn default_expires(&self) -> u32 {
        3600
    }

    /// §3.11.
    fn min_interval(&self) -> u32 {
        1
    }
}

/// `dialog` (RFC 4235 §3).
#[derive(Debug, Clone, Copy)]
pub struct DialogPackage;

impl Package for DialogPackage {
    fn name(&self) -> &'static str {
        "dialog"
    }

    fn content_types(&self) -> &'static [&'static str] {
        &[dialogs::DialogInfo::MEDIA_TYPE]
    }

    /// §3.4, for all dialogs of a user.
    fn default_expires(&self) -> u32 {
        3600
    }

    /// §3.10 asks for no more than one a second.
    fn min_interval(&self) -> u32 {
        1
    }
}
