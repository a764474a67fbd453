//! Requests about subject and icon, `application/vnd.oma.cpm-groupdata+xml`, as deployed clients send them in the session.
//! (u) The names of the elements of a response.

use super::change::Change;
use super::{Icon, Refused};
use crate::id::is_id;
use crate::xml::{Element, XmlError, push_attribute, push_element};

pub const GROUP_DATA_TYPE: &str = "application/vnd.oma.cpm-groupdata+xml";

const NAMESPACE: &str = "urn:oma:xml:cpm:groupdata:1.0";
const MAX_BYTES: usize = 64 * 1024;
const MAX_ELEMENTS: usize = 256;
/// Requests in one document: a subject and an icon.
const MAX_REQUESTS: usize = 2;

/// What a member wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id of the document, for the response.
    pub id: Box<str>,
    pub changes: Vec<(Target, Change)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Subject,
    Icon,
}

impl Target {
    fn as_str(self) -> &'static str {
        match self {
            Target::Subject => "subject",
            Target::Icon => "icon",
        }
    }
}

impl Request {
    /// Reads a document.
    ///
    /// # Errors
    /// What is none, or asks for nothing that we know.
    pub fn read(bytes: &[u8]) -> Result<Request, XmlError> {
        let root = Element::parse(bytes, MAX_BYTES, MAX_ELEMENTS)?;
        if !root.is(NAMESPACE, "cpm-group-management") {
            return Err(XmlError::Missing("cpm-group-management"));
        }
        let id = root.attribute("id").filter(|id| is_id(id.as_bytes())).ok_or(XmlError::Missing("id"))?;
        let requests: Vec<&Element> = root
            .children()
            .iter()
            .filter(|data| data.is_named("group-data"))
            .flat_map(Element::children)
            .filter(|request| request.is_named("request"))
            .collect();
        if requests.is_empty() || requests.len() > MAX_REQUESTS {
            return Err(XmlError::Missing("request"));
        }
        let changes = requests.into_iter().map(read_one).collect::<Result<_, _>>()?;
        Ok(Request { id: id.into(), changes })
    }
}

fn read_one(request: &Element) -> Result<(Target, Change), XmlError> {
    let target = match request.attribute("target") {
        Some("subject") => Target::Subject,
        Some("icon") => Target::Icon,
        _ => return Err(XmlError::Missing("target")),
    };
    let action = request.child("action").map(Element::text);
    let value = || request.child("data").and_then(|data| data.child(target.as_str()));
    let change = match (action, target) {
        (Some("delete"), Target::Subject) => Change::Subject(None),
        (Some("delete"), Target::Icon) => Change::Icon(None),
        (Some("set"), Target::Subject) => {
            let subject = value().map(Element::text).filter(|text| !text.is_empty());
            Change::Subject(Some(subject.ok_or(XmlError::Missing("subject"))?.into()))
        }
        (Some("set"), Target::Icon) => Change::Icon(Some(value().and_then(icon).ok_or(XmlError::Missing("icon"))?)),
        _ => return Err(XmlError::Missing("action")),
    };
    Ok((target, change))
}

/// A URI as text, in an element of its own or not, or the file document of an upload.
fn icon(element: &Element) -> Option<Icon> {
    if let Some(file) = element.child("file") {
        return Some(Icon::File(file.to_xml().into()));
    }
    let text = element.child("icon-uri").unwrap_or(element).text();
    let fine = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    fine.then(|| Icon::Uri(text.into()))
}

/// Writes the answer to a request: what became of each of its parts.
pub fn response(id: &str, results: &[(Target, Result<(), Refused>)]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<cpm-group-management");
    push_attribute(&mut out, "xmlns", NAMESPACE);
    push_attribute(&mut out, "id", id);
    out.push_str("><group-data>");
    for (target, result) in results {
        out.push_str("<response");
        push_attribute(&mut out, "target", target.as_str());
        out.push('>');
        let code = result.map_or_else(Refused::status, |()| 200);
        push_element(&mut out, "result", &code.to_string());
        if let Err(refused) = result {
            push_element(&mut out, "text", &refused.to_string());
        }
        out.push_str("</response>");
    }
    out.push_str("</group-data></cpm-group-management>\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(requests: &str) -> Result<Vec<Change>, XmlError> {
        let text = format!(
            "<cpm-group-management xmlns=\"{NAMESPACE}\" id=\"ri-74c1\"><group-data>{requests}</group-data></cpm-group-management>"
        );
        Ok(Request::read(text.as_bytes())?.changes.into_iter().map(|(_, change)| change).collect())
    }

    #[test]
    fn requests() {
        let subject = |text: &str| Change::Subject(Some(text.into()));
        for (name, text, expected) in [
            (
                "subject",
                r#"<request target="subject"><action>set</action><data><subject> Winter &amp; trip </subject></data></request>"#,
                Ok(vec![subject("Winter & trip")]),
            ),
            (
                "no subject",
                r#"<request target="subject"><action>delete</action></request>"#,
                Ok(vec![Change::Subject(None)]),
            ),
            (
                "icon",
                r#"<request target="icon"><action>set</action><data><icon>https://x/y</icon></data></request>"#,
                Ok(vec![Change::Icon(Some(Icon::Uri("https://x/y".into())))]),
            ),
            (
                "an uploaded icon",
                r#"<request target="icon"><action>set</action><data><icon><f:file xmlns:f="urn:f"><f:data url="https://x"/></f:file></icon></data></request>"#,
                Ok(vec![Change::Icon(Some(Icon::File(
                    r#"<file xmlns="urn:f"><data url="https://x"/></file>"#.into(),
                )))]),
            ),
            (
                "both",
                r#"<request target="icon"><action>delete</action></request><request target="subject"><action>delete</action></request>"#,
                Ok(vec![Change::Icon(None), Change::Subject(None)]),
            ),
            ("nothing", "", Err(XmlError::Missing("request"))),
            ("no target", "<request><action>set</action></request>", Err(XmlError::Missing("target"))),
            ("no action", r#"<request target="icon"/>"#, Err(XmlError::Missing("action"))),
            (
                "set to nothing",
                r#"<request target="subject"><action>set</action><data/></request>"#,
                Err(XmlError::Missing("subject")),
            ),
            (
                "a broken icon",
                r#"<request target="icon"><action>set</action><data><icon>a b</icon></data></request>"#,
                Err(XmlError::Missing("icon")),
            ),
        ] {
            assert_eq!(read(text), expected, "{name}");
        }
        assert_eq!(Request::read(b"<x/>"), Err(XmlError::Missing("cpm-group-management")));
        assert_eq!(Request::read(b"<cpm-group-management/>"), Err(XmlError::Missing("id")));
    }

    #[test]
    fn a_response_says_what_became_of_it() {
        let written = response("ri<1", &[(Target::Subject, Ok(())), (Target::Icon, Err(Refused::NotAllowed))]);
        let root = Element::parse(written.as_bytes(), 4096, 99).unwrap();
        assert_eq!(root.attribute("id"), Some("ri<1"));
        let seen: Vec<_> = root
            .child("group-data")
            .unwrap()
            .children()
            .iter()
            .map(|response| (response.attribute("target").unwrap(), response.child("result").unwrap().text()))
            .collect();
        assert_eq!(seen, [("subject", "200"), ("icon", "403")]);
    }
}
