//! Presence (RFC 3856): documents, what several devices publish made into one, who may see what of it. Also what else is
//! published of a user: messages that wait (RFC 3842), calls (RFC 4235).
//!
//! A [`publish::Publications`] takes PUBLISH requests, [`compose::compose`] makes one document of what they hold.
#![warn(missing_debug_implementations)]

pub mod book;
pub mod capability;
pub mod compose;
pub mod dialogs;
pub mod filter;
pub mod list;
pub mod ns;
pub mod package;
pub mod pidf;
pub mod publish;
pub mod rules;
pub mod summary;
pub mod winfo;
pub mod xml;

pub use package::{DialogPackage, MessageSummary, Presence, WatcherInfo};
