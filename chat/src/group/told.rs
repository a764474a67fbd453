//! A change of a group as a message tells it, to devices that take part without a session and follow what others do: a
//! conference-info document (RFC 4575) of that change alone.

use chappe_sip::Aor;

use super::{Announcement, Icon, News};
use crate::xml::{push_attribute, push_element};

/// Type of the document.
pub const TOLD_TYPE: &str = super::roster::ROSTER_TYPE;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:conference-info";
/// Of the icon, as in the roster. (u)
const GROUP_DATA: &str = "urn:oma:xml:cpm:groupdata:1.0";

/// The document; `None` for changes that are of no interest to people, or are seen in the roster.
///
/// A group that was made has become active; one that has ended is deleted; who is brought has been dialed out to, who is
/// removed was booted.
pub fn document(focus: &str, what: &Announcement) -> Option<String> {
    let mut body = String::new();
    let mut state = "partial";
    match &what.news {
        News::Created => body.push_str("<conference-state><active>true</active></conference-state>"),
        News::Closed => state = "deleted",
        News::Added(users) => push_users(&mut body, users, |out| push_element(out, "joining-method", "dialed-out")),
        News::Removed(users) => push_users(&mut body, users, |out| {
            push_element(out, "disconnection-method", "booted");
            if let Some(by) = &what.by {
                out.push_str("<disconnection-info>");
                push_element(out, "by", &by.to_uri());
                out.push_str("</disconnection-info>");
            }
        }),
        News::Left => {
            let left = what.by.as_ref()?;
            push_users(&mut body, std::slice::from_ref(left), |out| {
                push_element(out, "disconnection-method", "departed");
            });
        }
        News::Subject(subject) => {
            body.push_str("<conference-description>");
            push_element(&mut body, "subject", subject.as_deref().unwrap_or_default());
            body.push_str("</conference-description>");
        }
        News::Icon(icon) => {
            body.push_str("<conference-description><icon");
            push_attribute(&mut body, "xmlns", GROUP_DATA);
            body.push('>');
            if let Some(Icon::Uri(uri)) = icon {
                push_element(&mut body, "icon-uri", uri);
            }
            body.push_str("</icon></conference-description>");
        }
        News::Joined | News::Declined | News::Role { .. } | News::Nickname(_) | News::Open(_) | News::Erased => {
            return None;
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<conference-info");
    push_attribute(&mut out, "xmlns", NAMESPACE);
    push_attribute(&mut out, "entity", focus);
    push_attribute(&mut out, "state", state);
    push_attribute(&mut out, "version", "0");
    out.push('>');
    out.push_str(&body);
    out.push_str("</conference-info>\r\n");
    Some(out)
}

fn push_users(out: &mut String, users: &[Aor], endpoint: impl Fn(&mut String)) {
    out.push_str("<users");
    push_attribute(out, "state", "partial");
    out.push('>');
    for user in users {
        let uri = user.to_uri();
        for (name, end) in [("<user", ">"), ("<endpoint", ">")] {
            out.push_str(name);
            push_attribute(out, "entity", &uri);
            out.push_str(end);
        }
        endpoint(out);
        out.push_str("</endpoint></user>");
    }
    out.push_str("</users>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_want_to_know_is_told() {
        let (ada, bob) = (Aor::from_canonical("ada@x"), Aor::from_canonical("bob@x"));
        let told = |news: News| document("sip:g1@x", &Announcement { by: Some(ada.clone()), news });
        for (name, news, expected) in [
            ("made", News::Created, Some("<active>true</active>")),
            ("over", News::Closed, Some("state=\"deleted\"")),
            (
                "brought",
                News::Added(vec![bob.clone()]),
                Some("<user entity=\"sip:bob@x\"><endpoint entity=\"sip:bob@x\">"),
            ),
            ("removed", News::Removed(vec![bob.clone()]), Some("<by>sip:ada@x</by>")),
            (
                "left",
                News::Left,
                Some("<user entity=\"sip:ada@x\"><endpoint entity=\"sip:ada@x\"><disconnection-method>departed"),
            ),
            ("subject", News::Subject(Some("a < b".into())), Some("<subject>a &lt; b</subject>")),
            ("no subject", News::Subject(None), Some("<subject></subject>")),
            ("icon", News::Icon(Some(Icon::Uri("https://x/i".into()))), Some("<icon-uri>https://x/i</icon-uri>")),
            ("is there", News::Joined, None),
            ("open", News::Open(true), None),
        ] {
            let document = told(news);
            assert_eq!(document.is_some(), expected.is_some(), "{name}");
            if let (Some(document), Some(expected)) = (document, expected) {
                assert!(document.contains(expected), "{name}: {document}");
                assert!(crate::xml::Element::parse(document.as_bytes(), 10_000, 100).is_ok(), "{name}: {document}");
            }
        }
    }
}
