//! Lists of resources: which they are (RFC 4826, RFC 5367), and the notifications that tell of all in one (RFC 4662).

use std::fmt::Write as _;

use chappe_sip::header::ContentType;
use chappe_sip::multipart;
use chappe_sip::{HeaderName, Message};

use crate::ns::Ns;
use crate::xml::{self, Element, Limits, XmlError};

/// Lists within lists.
const MAX_DEPTH: usize = 8;

/// What a list names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub uri: Box<str>,
    pub display_name: Box<str>,
}

/// Reads `application/resource-lists+xml` as a request carries it: every entry once, at most `max` of them. References
/// to other documents say nothing here (RFC 5367 §4.1).
pub fn entries(bytes: &[u8], max: usize, limits: &Limits) -> Result<Vec<Entry>, XmlError> {
    let root = xml::parse(bytes, limits)?;
    if !root.is(Ns::RESOURCE_LISTS, "resource-lists") {
        return Err(XmlError::Missing("resource-lists"));
    }
    let mut found = Vec::new();
    root.elements().try_for_each(|list| collect(list, max, 0, &mut found))?;
    Ok(found)
}

fn collect(list: &Element, max: usize, depth: usize, found: &mut Vec<Entry>) -> Result<(), XmlError> {
    if depth == MAX_DEPTH {
        return Err(XmlError::TooDeep(MAX_DEPTH));
    }
    for element in list.elements().filter(|e| e.ns == Ns::RESOURCE_LISTS) {
        match &*element.name {
            "list" => collect(element, max, depth + 1, found)?,
            "entry" => {
                let uri = element.attribute("uri").filter(|uri| !uri.is_empty() && uri.len() <= 512);
                let uri = uri.ok_or(XmlError::Invalid("entry"))?;
                let display_name = element.child(Ns::RESOURCE_LISTS, "display-name").map(Element::text);
                if !found.iter().any(|known: &Entry| &*known.uri == uri) {
                    if found.len() == max {
                        return Err(XmlError::OverLimit { what: "entries", max });
                    }
                    found.push(Entry { uri: uri.into(), display_name: display_name.unwrap_or_default().into() });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The list in the body of a SUBSCRIBE (RFC 5367 §4): by itself or a part of a multipart. `None` where there is none.
pub fn body(request: &Message) -> Option<&[u8]> {
    let value = request.header(HeaderName::ContentType)?;
    let part = multipart::find(value, request.body(), &["application/resource-lists+xml"]).ok()??;
    Some(part.body).filter(|body| !body.is_empty())
}

/// Whether a SUBSCRIBE requires that its body be taken for the list.
pub fn is_requested(request: &Message) -> bool {
    let wanted = |tag: &[u8]| tag.eq_ignore_ascii_case(b"recipient-list-subscribe");
    request.values(HeaderName::Require).any(wanted)
        || ContentType::parse(request.header(HeaderName::ContentType).unwrap_or_default())
            .is_ok_and(|t| t.is("application/resource-lists+xml"))
}

/// How the subscription to one resource is (RFC 4662 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instance {
    Active,
    Pending,
    /// With the reason.
    Terminated(&'static str),
}

/// One resource in a notification.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    pub entry: &'a Entry,
    pub instance: Instance,
    /// The presence document, where the watcher may see one.
    pub document: Option<&'a [u8]>,
}

/// A notification: its Content-Type and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Writes `multipart/related` with a list document and the documents of its resources (RFC 4662 §5). A full one has
/// every resource. `mark` is a token that is in none of the documents; `domain` follows the @ of the Content-IDs.
pub fn notification(
    version: u32,
    full: bool,
    uri: &str,
    resources: &[Shown<'_>],
    mark: &str,
    domain: &str,
) -> Notification {
    let mut list = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<list xmlns=\"urn:ietf:params:xml:ns:rlmi\" version=\"{version}\" \
         fullState=\"{full}\" uri=\""
    );
    xml::push_attribute(&mut list, uri);
    list.push_str("\">\r\n");
    for (at, resource) in resources.iter().enumerate() {
        list.push_str("<resource uri=\"");
        xml::push_attribute(&mut list, &resource.entry.uri);
        list.push_str("\">");
        if !resource.entry.display_name.is_empty() {
            list.push_str("<name>");
            xml::push_text(&mut list, &resource.entry.display_name);
            list.push_str("</name>");
        }
        // There is one subscription behind each resource, so one instance; its id never changes.
        let _ = match resource.instance {
            Instance::Active => write!(list, "<instance id=\"1\" state=\"active\""),
            Instance::Pending => write!(list, "<instance id=\"1\" state=\"pending\""),
            Instance::Terminated(reason) => {
                write!(list, "<instance id=\"1\" state=\"terminated\" reason=\"{reason}\"")
            }
        };
        if resource.document.is_some() {
            let _ = write!(list, " cid=\"{at}.{mark}@{domain}\"");
        }
        list.push_str("/></resource>\r\n");
    }
    list.push_str("</list>\r\n");

    let mut body =
        Vec::with_capacity(list.len() + resources.iter().filter_map(|r| r.document).map(<[u8]>::len).sum::<usize>());
    let mut part = |id: &str, kind: &str, content: &[u8]| {
        let head = format!(
            "--{mark}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\nContent-Type: {kind};charset=\"UTF-8\"\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    };
    part(&format!("list.{mark}@{domain}"), "application/rlmi+xml", list.as_bytes());
    for (at, resource) in resources.iter().enumerate() {
        if let Some(document) = resource.document {
            part(&format!("{at}.{mark}@{domain}"), crate::pidf::MEDIA_TYPE, document);
        }
    }
    body.extend_from_slice(format!("--{mark}--\r\n").as_bytes());
    let content_type =
        format!("multipart/related;type=\"application/rlmi+xml\";start=\"<list.{mark}@{domain}>\";boundary=\"{mark}\"");
    Notification { content_type, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(inside: &str) -> String {
        format!(r#"<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">{inside}</resource-lists>"#)
    }

    fn read(inside: &str, max: usize) -> Result<Vec<String>, XmlError> {
        let found = entries(list(inside).as_bytes(), max, &Limits::default())?;
        Ok(found.into_iter().map(|e| format!("{} {}", e.uri, e.display_name)).collect())
    }

    #[test]
    fn entries_of_a_list() {
        let nested = r#"<list><entry uri="sip:a@h"><display-name>A</display-name></entry>
            <list name="x"><entry uri="sip:b@h"/><entry uri="sip:a@h"/></list><external anchor="http://h"/></list>"#;
        assert_eq!(read(nested, 2), Ok(vec!["sip:a@h A".to_owned(), "sip:b@h ".to_owned()]));
        assert_eq!(read(nested, 1), Err(XmlError::OverLimit { what: "entries", max: 1 }));
        assert_eq!(read("<list><entry/></list>", 9), Err(XmlError::Invalid("entry")));
        assert_eq!(read("", 9), Ok(vec![]));
        let deep = format!("{}{}", "<list>".repeat(12), "</list>".repeat(12));
        assert_eq!(read(&deep, 9), Err(XmlError::TooDeep(8)));
        let other = entries(b"<resource-lists/>", 9, &Limits::default());
        assert_eq!(other, Err(XmlError::Missing("resource-lists")));
    }

    #[test]
    fn a_notification_is_a_multipart_that_can_be_read() {
        let entry = |uri: &str| Entry { uri: uri.into(), display_name: "".into() };
        let (a, b, c) = (entry("sip:a@h"), entry("sip:b@h"), entry("sip:c@h"));
        let shown = |entry, instance, document| Shown { entry, instance, document };
        let resources = [
            shown(&a, Instance::Active, Some(&b"<a/>"[..])),
            shown(&b, Instance::Pending, None),
            shown(&c, Instance::Terminated("rejected"), None),
        ];
        let made = notification(4, true, "sip:l@h", &resources, "m7", "h");
        let kind = ContentType::parse(made.content_type.as_bytes()).unwrap();
        assert_eq!(kind.param("start").as_deref(), Some(&b"<list.m7@h>"[..]));
        let parts = multipart::parts(&kind, &made.body).unwrap();
        assert_eq!((parts.len(), parts[1].body), (2, &b"<a/>"[..]));
        assert_eq!(parts[1].header("Content-ID"), Some(&b"<0.m7@h>"[..]));
        let text = std::str::from_utf8(parts[0].body).unwrap();
        for part in [
            r#"version="4" fullState="true" uri="sip:l@h">"#,
            r#"<resource uri="sip:a@h"><instance id="1" state="active" cid="0.m7@h"/></resource>"#,
            r#"<resource uri="sip:b@h"><instance id="1" state="pending"/></resource>"#,
            r#"<resource uri="sip:c@h"><instance id="1" state="terminated" reason="rejected"/></resource>"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
