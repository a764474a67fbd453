//! Address books without I/O: one list of contacts, seen by XCAP, CardDAV (RFC 6352) and JSON alike.
//!
//! A book is the list `contacts` of an XCAP document (RFC 4826): a contact is an entry of it, and what a vCard says beyond
//! address and name is in an element of ours within the entry. So each edit, by whichever door, is one edit of one
//! document, with its entity tag and its history.

mod book;
mod card;
mod dav;
mod filter;
mod import;
mod json;

pub use book::{AUID, Book, Contact, DOCUMENT, LIST};
pub use card::{Card, CardError, Line};
pub use dav::{
    DavMethod, DavRequest, Decision, Place, Reply, Settings, Wanted, decide, not_modified_since, token_etag,
};
pub use import::{Imported, Kind as ImportKind, Refused, import};
pub use json::{Attribute, JsonError, attributes, contact, contact_document, set_attribute, without_attribute};
