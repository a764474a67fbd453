//! Conference-info documents (RFC 4575 §5, §8).

use std::sync::Arc;

use super::{Departure, Icon, Person, Role, Roster, Status};
use crate::xml::{Element, push_attribute, push_element};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// Of the `nickname` attribute (RFC 6501). (u)
const XCON: &str = "urn:ietf:params:xml:ns:xcon-conference-info";
/// Of the icon, for which the package has no element. (u)
const GROUP_DATA: &str = "urn:oma:xml:cpm:groupdata:1.0";
/// The longest file document of an icon.
const MAX_ICON: usize = 64 * 1024;
/// Documents that are kept until something changes.
const MAX_WRITTEN: usize = 4;

/// What a document is (RFC 4575 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Full,
    Partial,
    /// The conference is over.
    Deleted,
}

impl Roster {
    /// The document for somebody who knows the roster up to revision `seen`, behind its head: the same for all who do.
    pub(super) fn body(&mut self, seen: Option<u64>) -> (Kind, Arc<str>) {
        if self.ended {
            return (Kind::Deleted, "</conference-info>\r\n".into());
        }
        let seen = seen.filter(|seen| *seen >= self.floor && self.is_worth_a_partial(*seen));
        let kind = if seen.is_some() { Kind::Partial } else { Kind::Full };
        if let Some((_, body)) = self.written.iter().find(|(known, _)| *known == seen) {
            return (kind, body.clone());
        }
        let body: Arc<str> = self.write(seen).into();
        if self.written.len() < MAX_WRITTEN {
            self.written.push((seen, body.clone()));
        }
        (kind, body)
    }

    /// Not where all rows would be in it.
    fn is_worth_a_partial(&self, seen: u64) -> bool {
        self.rows.is_empty() || self.rows.values().any(|row| row.revision <= seen)
    }

    /// What a document begins with, which is its subscriber's own.
    pub(super) fn head(&self, kind: Kind, version: u32) -> String {
        let mut out = String::with_capacity(256);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<conference-info");
        push_attribute(&mut out, "xmlns", NAMESPACE);
        push_attribute(&mut out, "xmlns:xcon", XCON);
        push_attribute(&mut out, "entity", &self.entity);
        let state = match kind {
            Kind::Full => "full",
            Kind::Partial => "partial",
            Kind::Deleted => "deleted",
        };
        push_attribute(&mut out, "state", state);
        push_attribute(&mut out, "version", &version.to_string());
        out.push('>');
        out
    }

    fn write(&self, seen: Option<u64>) -> String {
        let is_new = |revision: u64| seen.is_none_or(|seen| revision > seen);
        let mut out = String::with_capacity(1024);
        if is_new(self.described) {
            self.push_description(&mut out);
        }
        let rows = || self.rows.iter().filter(|(_, row)| is_new(row.revision));
        // A full document says nothing of those who are gone.
        let gone = || seen.into_iter().flat_map(|seen| self.gone.range(seen + 1..)).map(|(_, uri)| uri);
        if seen.is_none() || rows().next().is_some() || gone().next().is_some() {
            out.push_str("<conference-state>");
            push_element(&mut out, "user-count", &self.connected().to_string());
            out.push_str("</conference-state><users");
            push_attribute(&mut out, "state", if seen.is_some() { "partial" } else { "full" });
            out.push('>');
            rows().for_each(|(uri, row)| push_user(&mut out, uri, &row.person));
            for uri in gone() {
                out.push_str("<user");
                push_attribute(&mut out, "entity", uri);
                push_attribute(&mut out, "state", "deleted");
                out.push_str("/>");
            }
            out.push_str("</users>");
        }
        out.push_str("</conference-info>\r\n");
        out
    }

    fn push_description(&self, out: &mut String) {
        let description = &self.description;
        out.push_str("<conference-description>");
        if let Some(subject) = &description.subject {
            push_element(out, "subject", subject);
        }
        push_element(out, "maximum-user-count", &description.max_users.to_string());
        match &description.icon {
            Some(Icon::Uri(uri)) => {
                out.push_str("<icon");
                push_attribute(out, "xmlns", GROUP_DATA);
                out.push('>');
                push_element(out, "icon-uri", uri);
                out.push_str("</icon>");
            }
            Some(Icon::File(document)) => {
                // One that is no document is left out, whoever set it.
                if let Ok(tree) = Element::parse(document.as_bytes(), MAX_ICON, MAX_ICON) {
                    out.push_str("<icon");
                    push_attribute(out, "xmlns", GROUP_DATA);
                    out.push('>');
                    out.push_str(&tree.to_xml());
                    out.push_str("</icon>");
                }
            }
            None => {}
        }
        out.push_str("</conference-description>");
    }
}

fn push_user(out: &mut String, uri: &str, person: &Person) {
    out.push_str("<user");
    push_attribute(out, "entity", uri);
    push_attribute(out, "state", "full");
    if let Some(nickname) = &person.nickname {
        push_attribute(out, "xcon:nickname", nickname);
    }
    out.push('>');
    if let Some(name) = &person.name {
        push_element(out, "display-text", name);
    }
    out.push_str("<roles>");
    let roles: &[&str] = match person.role {
        Role::Owner => &["Owner", "Administrator"],
        Role::Admin => &["Administrator"],
        Role::Member => &["Participant"],
    };
    roles.iter().for_each(|role| push_element(out, "entry", role));
    out.push_str("</roles><endpoint");
    push_attribute(out, "entity", uri);
    push_attribute(out, "state", "full");
    out.push('>');
    let status = match &person.status {
        Status::Pending => "pending",
        Status::DialingOut => "dialing-out",
        Status::Alerting => "alerting",
        Status::Connected => "connected",
        Status::Disconnected(_) => "disconnected",
    };
    push_element(out, "status", status);
    match &person.status {
        Status::Connected => {
            push_element(out, "joining-method", if person.dialed_in { "dialed-in" } else { "dialed-out" });
        }
        Status::Disconnected(departure) => push_departure(out, departure),
        Status::Pending | Status::DialingOut | Status::Alerting => {}
    }
    out.push_str("</endpoint></user>");
}

fn push_departure(out: &mut String, departure: &Departure) {
    let (method, name, value) = match departure {
        Departure::Departed => ("departed", "", String::new()),
        Departure::Booted { by } if by.is_empty() => ("booted", "", String::new()),
        Departure::Booted { by } => ("booted", "by", by.to_string()),
        Departure::Busy => ("busy", "reason", "SIP;cause=486;text=\"Busy Here\"".to_owned()),
        Departure::Failed { status } => {
            let text = chappe_sip::reason_phrase(*status);
            ("failed", "reason", format!("SIP;cause={status};text=\"{text}\""))
        }
    };
    push_element(out, "disconnection-method", method);
    if !name.is_empty() {
        out.push_str("<disconnection-info>");
        push_element(out, name, &value);
        out.push_str("</disconnection-info>");
    }
}
