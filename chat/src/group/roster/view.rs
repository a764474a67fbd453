//! What a subscriber makes of the documents (RFC 4575 §4.6): for a server that watches another's focus.

use std::collections::BTreeMap;

use crate::xml::{Element, XmlError};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// Of a document; some 20 elements a user.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const MAX_ELEMENTS: usize = 400_000;

/// What a document did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Taken,
    /// It is older than what is known.
    Old,
    /// One before it is missing: all is to be asked for again.
    Gap,
    /// The conference is over.
    Ended,
}

/// The conference as a subscriber knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    version: Option<u32>,
    subject: Option<Box<str>>,
    /// Status by user.
    users: BTreeMap<Box<str>, Box<str>>,
}

impl View {
    /// Takes the body of a NOTIFY.
    ///
    /// # Errors
    /// What is no such document.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Seen, XmlError> {
        let root = Element::parse(bytes, MAX_BYTES, MAX_ELEMENTS)?;
        if !root.is(NAMESPACE, "conference-info") {
            return Err(XmlError::Missing("conference-info"));
        }
        let version = root.attribute("version").and_then(|text| text.trim().parse::<u32>().ok());
        let version = version.ok_or(XmlError::Missing("version"))?;
        if self.version.is_some_and(|known| version <= known) {
            return Ok(Seen::Old);
        }
        match root.attribute("state").unwrap_or("full") {
            "full" => {
                self.subject = None;
                self.users.clear();
            }
            "partial" => {
                if self.version.is_none_or(|known| version - known != 1) {
                    return Ok(Seen::Gap);
                }
            }
            "deleted" => {
                self.version = Some(version);
                self.users.clear();
                return Ok(Seen::Ended);
            }
            _ => return Err(XmlError::Missing("state")),
        }
        self.version = Some(version);
        for part in root.children() {
            if part.is(NAMESPACE, "conference-description") {
                self.subject = part.child("subject").map(|subject| subject.text().into());
            } else if part.is(NAMESPACE, "users") {
                if part.attribute("state").unwrap_or("full") == "full" {
                    self.users.clear();
                }
                part.children().iter().filter(|user| user.is(NAMESPACE, "user")).for_each(|user| self.take_user(user));
            }
        }
        Ok(Seen::Taken)
    }

    fn take_user(&mut self, user: &Element) {
        let Some(entity) = user.attribute("entity") else { return };
        if user.attribute("state") == Some("deleted") {
            self.users.remove(entity);
            return;
        }
        let status = user.child("endpoint").and_then(|endpoint| endpoint.child("status")).map_or("", Element::text);
        self.users.insert(entity.into(), status.into());
    }

    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Users and the status of their first endpoint.
    pub fn users(&self) -> impl Iterator<Item = (&str, &str)> {
        self.users.iter().map(|(user, status)| (&**user, &**status))
    }
}
