//! Resource lists: whom a group is to have, and who else was asked (RFC 4826 §3, RFC 5364, RFC 5366).

use chappe_sip::{Aor, Uri};

use super::change::{Copy, Invitee};
use crate::user::ANONYMOUS;
use crate::xml::{Element, XmlError, push_attribute, push_element};

pub const LIST_TYPE: &str = "application/resource-lists+xml";
/// Content-Disposition of a list that says whom to invite, and of one that says who else was.
pub const RECIPIENTS: &str = "recipient-list";
pub const HISTORY: &str = "recipient-list-history;handling=optional";

const NAMESPACE: &str = "urn:ietf:params:xml:ns:resource-lists";
const COPY_NAMESPACE: &str = "urn:ietf:params:xml:ns:copycontrol";
/// Of the document, for each entry that is allowed, and in any case.
const ENTRY_BYTES: usize = 512;
const LEAST_BYTES: usize = 16 * 1024;

/// Why a list is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("an entry is no address of a user")]
    Address,
    #[error("more than {max} entries")]
    TooMany { max: usize },
    #[error("no entry")]
    Empty,
}

impl ListError {
    pub fn status(self) -> u16 {
        match self {
            ListError::TooMany { max } => super::Refused::TooManyMembers { max }.status(),
            ListError::Xml(_) | ListError::Address | ListError::Empty => 400,
        }
    }

    /// As [`super::Refused::warning`].
    pub fn warning(self) -> Option<(u16, &'static str)> {
        match self {
            ListError::TooMany { max } => super::Refused::TooManyMembers { max }.warning(),
            ListError::Xml(_) | ListError::Address | ListError::Empty => None,
        }
    }
}

/// What is to be done about an entry (RFC 5368 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Invite,
    Bye,
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub invitee: Invitee,
    pub wish: Wish,
}

/// Reads a list: lists within lists in one, references to lists elsewhere left out. `user` says whose address a URI is;
/// entries of one user become one, by the most open of their copy controls (RFC 5364 §4).
///
/// # Errors
/// What is no list of up to `max` users.
pub fn read(bytes: &[u8], max: usize, user: impl Fn(&Uri<'_>) -> Option<Aor>) -> Result<Vec<Entry>, ListError> {
    // A list of so many may name some twice.
    let entries = max.saturating_mul(2).saturating_add(8);
    let bytes_max = entries.saturating_mul(ENTRY_BYTES).max(LEAST_BYTES);
    let root = match Element::parse(bytes, bytes_max, entries.saturating_mul(2)) {
        Err(XmlError::TooLong { .. } | XmlError::TooMany { .. }) => return Err(ListError::TooMany { max }),
        other => other?,
    };
    if !root.is(NAMESPACE, "resource-lists") {
        return Err(XmlError::Missing("resource-lists").into());
    }
    let mut found: Vec<Entry> = Vec::new();
    collect(&root, &user, &mut found)?;
    found.sort_by(|one, other| one.invitee.user.cmp(&other.invitee.user));
    found.dedup_by(|later, first| {
        let same = later.invitee.user == first.invitee.user;
        if same {
            first.invitee.copy = most_open(first.invitee.copy, later.invitee.copy);
            first.invitee.display_name = first.invitee.display_name.take().or(later.invitee.display_name.take());
        }
        same
    });
    match found.len() {
        0 => Err(ListError::Empty),
        len if len > max => Err(ListError::TooMany { max }),
        _ => Ok(found),
    }
}

fn collect(
    element: &Element,
    user: &impl Fn(&Uri<'_>) -> Option<Aor>,
    found: &mut Vec<Entry>,
) -> Result<(), ListError> {
    for child in element.children() {
        if child.is(NAMESPACE, "list") {
            collect(child, user, found)?;
        } else if child.is(NAMESPACE, "entry") {
            found.push(entry(child, user)?);
        }
    }
    Ok(())
}

fn entry(element: &Element, user: &impl Fn(&Uri<'_>) -> Option<Aor>) -> Result<Entry, ListError> {
    let text = element.attribute("uri").ok_or(ListError::Address)?.trim();
    let (uri, wish) = target(text).ok_or(ListError::Address)?;
    let user = user(&uri).ok_or(ListError::Address)?;
    let anonymous = matches!(element.attribute("anonymize").map(str::trim), Some("true" | "1"));
    // RFC 5366's figure writes the name in lower case.
    let copy = element.attribute("copyControl").or(element.attribute("copycontrol")).map(str::trim);
    let copy = match (copy.unwrap_or_default(), anonymous) {
        (copy, anonymous) if copy.eq_ignore_ascii_case("to") => {
            if anonymous {
                Copy::AnonymousTo
            } else {
                Copy::To
            }
        }
        (copy, anonymous) if copy.eq_ignore_ascii_case("cc") => {
            if anonymous {
                Copy::AnonymousCc
            } else {
                Copy::Cc
            }
        }
        // What is not said is bcc (RFC 5364 §4.1).
        _ => Copy::Bcc,
    };
    let name = element.child("display-name").map(Element::text).filter(|name| !name.is_empty());
    Ok(Entry { invitee: Invitee { user, display_name: name.map(Into::into), copy }, wish })
}

/// A URI with the method that is asked for, as a parameter or as a header of it.
pub(super) fn target(text: &str) -> Option<(Uri<'_>, Wish)> {
    let (bare, headers) = text.split_once('?').unwrap_or((text, ""));
    let uri = Uri::parse(bare.as_bytes()).ok()?;
    let header = headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("method").then_some(value)
    });
    Some((uri, wish(uri.param("method").or(header))?))
}

/// `None` for a method that a focus does not send for others.
pub(super) fn wish(method: Option<&str>) -> Option<Wish> {
    match method {
        None => Some(Wish::Invite),
        Some(method) if method.eq_ignore_ascii_case("INVITE") => Some(Wish::Invite),
        Some(method) if method.eq_ignore_ascii_case("BYE") => Some(Wish::Bye),
        Some(_) => None,
    }
}

/// One user, named twice. What is to be anonymous once is so in any case.
fn most_open(one: Copy, other: Copy) -> Copy {
    let rank = |copy| match copy {
        Copy::To | Copy::AnonymousTo => 0,
        Copy::Cc | Copy::AnonymousCc => 1,
        Copy::Bcc => 2,
    };
    let anonymous = |copy| matches!(copy, Copy::AnonymousTo | Copy::AnonymousCc);
    match (rank(one).min(rank(other)), anonymous(one) || anonymous(other)) {
        (0, true) => Copy::AnonymousTo,
        (0, false) => Copy::To,
        (1, true) => Copy::AnonymousCc,
        (1, false) => Copy::Cc,
        _ => Copy::Bcc,
    }
}

/// Writes the list for those who were invited: without the hidden ones, and those who are anonymous counted only. Addresses are
/// written as `uri` says.
pub fn history<'a>(
    people: impl Iterator<Item = (&'a Aor, Option<&'a str>, Copy)>,
    uri: impl Fn(&Aor) -> String,
) -> String {
    let mut out = start();
    let (mut to, mut cc) = (0_usize, 0_usize);
    for (user, name, copy) in people {
        match copy {
            Copy::To => push_entry(&mut out, &uri(user), name, "to", None),
            Copy::Cc => push_entry(&mut out, &uri(user), name, "cc", None),
            Copy::AnonymousTo => to += 1,
            Copy::AnonymousCc => cc += 1,
            Copy::Bcc => {}
        }
    }
    for (count, copy) in [(to, "to"), (cc, "cc")] {
        if count > 0 {
            push_entry(&mut out, ANONYMOUS, None, copy, Some(count));
        }
    }
    out.push_str("</list></resource-lists>\r\n");
    out
}

fn start() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<resource-lists xmlns=\"{NAMESPACE}\" xmlns:cp=\"{COPY_NAMESPACE}\"><list>"
    )
}

fn push_entry(out: &mut String, uri: &str, name: Option<&str>, copy: &str, count: Option<usize>) {
    out.push_str("<entry");
    push_attribute(out, "uri", uri);
    push_attribute(out, "cp:copyControl", copy);
    if let Some(count) = count {
        push_attribute(out, "cp:count", &count.to_string());
    }
    match name {
        Some(name) => {
            out.push('>');
            push_element(out, "display-name", name);
            out.push_str("</entry>");
        }
        None => out.push_str("/>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers are users of example.com.
    fn user(uri: &Uri<'_>) -> Option<Aor> {
        let aor = Aor::of(uri)?;
        let local = aor.host().is_empty();
        Some(if local { Aor::from_canonical(format!("{aor}@example.com")) } else { aor })
    }

    fn list(entries: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><resource-lists xmlns=\"{NAMESPACE}\" xmlns:cp=\"{COPY_NAMESPACE}\">\
             <list>{entries}</list></resource-lists>"
        )
    }

    fn seen(entries: &str) -> Result<Vec<(String, Copy, Wish)>, ListError> {
        let found = read(list(entries).as_bytes(), 4, user)?;
        Ok(found.into_iter().map(|e| (e.invitee.user.to_string(), e.invitee.copy, e.wish)).collect())
    }

    #[test]
    fn entries() {
        let one = |user: &str, copy, wish| vec![(user.to_owned(), copy, wish)];
        for (name, text, expected) in [
            ("to", r#"<entry uri="sip:b@x" cp:copyControl="to"/>"#, one("b@x", Copy::To, Wish::Invite)),
            ("nothing said", r#"<entry uri="sip:b@x"/>"#, one("b@x", Copy::Bcc, Wish::Invite)),
            (
                "anonymous",
                r#"<entry uri="sip:b@x" cp:copyControl="cc" cp:anonymize="true"/>"#,
                one("b@x", Copy::AnonymousCc, Wish::Invite),
            ),
            (
                "hidden, so never anonymous",
                r#"<entry uri="sip:b@x" cp:copyControl="bcc" cp:anonymize="true"/>"#,
                one("b@x", Copy::Bcc, Wish::Invite),
            ),
            ("in lower case", r#"<entry uri="sip:b@x" cp:copycontrol="TO"/>"#, one("b@x", Copy::To, Wish::Invite)),
            (
                "a number, twice",
                r#"<entry uri="tel:+1-555-2" cp:copyControl="cc"/><entry uri="sip:+15552@example.com" cp:copyControl="to"/>"#,
                one("+15552@example.com", Copy::To, Wish::Invite),
            ),
            ("BYE, a header", r#"<entry uri="sip:b@x?method=BYE"/>"#, one("b@x", Copy::Bcc, Wish::Bye)),
            ("BYE, a parameter", r#"<entry uri="sip:b@x;method=bye"/>"#, one("b@x", Copy::Bcc, Wish::Bye)),
            (
                "BYE of a number",
                r#"<entry uri="tel:+15552?method=BYE"/>"#,
                one("+15552@example.com", Copy::Bcc, Wish::Bye),
            ),
            (
                "a list in a list, a reference",
                r#"<list><entry-ref ref="x"/><entry uri="sip:b@x"/></list>"#,
                one("b@x", Copy::Bcc, Wish::Invite),
            ),
        ] {
            assert_eq!(seen(text), Ok(expected), "{name}");
        }
        let found =
            read(list(r#"<entry uri="sip:b@x"><display-name>B &amp; C</display-name></entry>"#).as_bytes(), 1, user);
        assert_eq!(found.unwrap()[0].invitee.display_name.as_deref(), Some("B & C"));
    }

    #[test]
    fn what_is_no_list() {
        let many: String = (0..5).map(|n| format!("<entry uri=\"sip:u{n}@x\"/>")).collect();
        for (name, text, expected) in [
            ("empty", "", ListError::Empty),
            ("too many", &*many, ListError::TooMany { max: 4 }),
            ("no uri", "<entry/>", ListError::Address),
            ("nobody's", "<entry uri=\"http://x\"/>", ListError::Address),
            ("another method", "<entry uri=\"sip:b@x?method=MESSAGE\"/>", ListError::Address),
        ] {
            assert_eq!(seen(text), Err(expected), "{name}");
        }
        let too_many = ListError::TooMany { max: 4 };
        assert_eq!((too_many.status(), too_many.warning().map(|(code, _)| code)), (403, Some(399)));
        assert_eq!(ListError::Empty.status(), 400);
        let huge = list(&" ".repeat(100_000));
        assert_eq!(read(huge.as_bytes(), 4, user), Err(ListError::TooMany { max: 4 }));
        assert_eq!(read(b"<list/>", 4, user), Err(XmlError::Missing("resource-lists").into()));
        let bare = "<resource-lists><list><entry uri=\"sip:b@x\"/></list></resource-lists>";
        assert!(read(bare.as_bytes(), 4, user).is_ok(), "without a namespace");
    }

    #[test]
    fn the_history_names_nobody_who_is_hidden() {
        let people =
            ["bill", "randy", "eddy", "joe", "carol", "ted"].map(|name| Aor::from_canonical(format!("{name}@x")));
        let copies = [Copy::To, Copy::AnonymousTo, Copy::AnonymousTo, Copy::Cc, Copy::AnonymousCc, Copy::Bcc];
        let names = [Some("Bill <b>"), None, None, None, Some("Carol"), None];
        let of = || people.iter().zip(names).zip(copies).map(|((user, name), copy)| (user, name, copy));
        let written = history(of(), Aor::to_uri);
        for gone in ["randy", "eddy", "carol", "Carol", "ted"] {
            assert!(!written.contains(gone), "{written}");
        }
        assert!(
            written.contains("<entry uri=\"sip:anonymous@anonymous.invalid\" cp:copyControl=\"to\" cp:count=\"2\"/>")
        );
        let again = read(written.as_bytes(), 9, user).unwrap();
        let seen: Vec<_> = again.iter().map(|e| (e.invitee.user.user(), e.invitee.copy)).collect();
        // The anonymous ones are one address.
        assert_eq!(seen, [("anonymous", Copy::To), ("bill", Copy::To), ("joe", Copy::Cc)]);
        assert_eq!(again[1].invitee.display_name.as_deref(), Some("Bill <b>"));
    }
}
