//! Messaging decisions without I/O: pager-mode delivery, chat sessions, and what may be sent and kept.
//!
//! [`Capabilities`] says how a device takes messages; [`invitation`] reads the INVITE of a session, [`outgoing`] writes
//! one. An [`Envelope`] is a message on its way, whatever it came by and goes by. A [`leg::Leg`] brings messages to one
//! device; [`file`](mod@file) decides of files that come or go by MSRP.

mod access;
mod block;
pub mod broadcast;
pub mod drain;
pub mod envelope;
pub mod file;
pub mod group;
mod id;
pub mod invitation;
pub mod leg;
pub mod outgoing;
pub mod pager;
pub mod patience;
mod policy;
pub mod receipts;
mod relation;
pub mod stored;
mod user;
mod xml;

pub use access::{Access, Capabilities, Service};
pub use block::BlockList;
pub use envelope::Envelope;
pub use id::{MAX_ID, made_id};
pub use policy::{Lifetime, MessagePolicy, Refusal, media_type};
pub use relation::{Relation, RelationKind};
pub use user::{ANONYMOUS, is_anonymous, same_user};
pub use xml::XmlError;
