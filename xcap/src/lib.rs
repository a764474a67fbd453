//! XCAP (RFC 4825) without I/O: request URIs, documents, selectors, edits, and the application usages.
//!
//! A document is its text. Selectors are evaluated on a parse of it, and edits splice the text, so that what is not changed
//! keeps every byte. [`Request`] decides what becomes of one request; the service around it loads, stores and answers.

mod bindings;
mod conflict;
mod diff;
mod edit;
mod encode;
mod fragment;
mod patch;
mod request;
mod schema;
mod select;
mod selector;
mod target;
pub mod usage;
pub mod watch;
mod xml;
mod xui;

pub use bindings::Bindings;
pub use conflict::{Conflict, ERROR_TYPE, EXTENSION_NAMESPACE, Exists};
pub use diff::{DIFF_TYPE, Diff};
pub use edit::{EditError, Edited, delete, put};
pub use encode::{BadEncoding, percent_decode, percent_encode, xml_escape};
pub use patch::{Patch, Place};
pub use request::{Change, Conditions, Current, Decision, Refusal, Request, Shown};
pub use select::{Found, attribute_value, find, namespace_document};
pub use selector::{Name, NodeSelector, SelectorError, Step, Terminal};
pub use target::{DocumentSelector, PathError, Target, Tree};
pub use usage::{Claim, Computed, Place as DocumentPlace, Readers, Usage};
pub use xml::{Limits, XmlError, parse, text};
pub use xui::canonical as canonical_xui;
