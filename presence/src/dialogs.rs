//! The calls of a user (RFC 4235): what devices publish of theirs, and one document of all.

use std::fmt::Write as _;

use crate::ns::Ns;
use crate::publish::State;
use crate::xml::{self, Attribute, Element, Limits, Node, XmlError};

const NAMESPACE: &str = "urn:ietf:params:xml:ns:dialog-info";

/// The dialogs of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialogInfo {
    /// Elements of the package are in no namespace here: that of the root they get.
    dialogs: Vec<Element>,
}

impl State for DialogInfo {
    const MEDIA_TYPE: &'static str = "application/dialog-info+xml";

    fn read(body: &[u8], limits: &Limits) -> Result<DialogInfo, XmlError> {
        let own = Ns::of(NAMESPACE);
        let root = xml::parse(body, limits)?;
        if !root.is(own.clone(), "dialog-info") {
            return Err(XmlError::Missing("dialog-info"));
        }
        let mut dialogs = Vec::new();
        for dialog in root.elements().filter(|element| element.is(own.clone(), "dialog")) {
            if dialog.attribute("id").is_none_or(str::is_empty) {
                return Err(XmlError::Invalid("dialog"));
            }
            let state = dialog.child(own.clone(), "state").ok_or(XmlError::Missing("state"))?;
            // What is over need not be told for as long as the publication lasts (§4.3).
            if state.text() != "terminated" {
                let mut dialog = dialog.clone();
                unname(&mut dialog, &own);
                dialogs.push(dialog);
            }
        }
        Ok(DialogInfo { dialogs })
    }
}

/// Takes elements out of a namespace, and leaves out session descriptions, which nobody asks for (§4.1.6.3).
fn unname(element: &mut Element, own: &Ns) {
    if element.ns == *own {
        element.ns = Ns::NONE;
    }
    element.nodes.retain(|node| !matches!(node, Node::Element(e) if e.is(own.clone(), "session-description")));
    element.elements_mut().for_each(|child| unname(child, own));
}

/// The full state of `entity`; `version` counts the documents of one subscription.
pub fn document<'a>(version: u32, entity: &str, devices: impl IntoIterator<Item = &'a DialogInfo>) -> String {
    let (mut inside, mut used, mut ids) = (String::new(), 0, Vec::<Box<str>>::new());
    for (at, device) in devices.into_iter().enumerate() {
        for dialog in &device.dialogs {
            let id = dialog.attribute("id").unwrap_or_default();
            let mut dialog = dialog.clone();
            // Two devices may have thought of the same (§4.1.1).
            if ids.iter().any(|known| **known == *id) {
                rename(&mut dialog, format!("{id}.{at}"));
            }
            ids.push(dialog.attribute("id").unwrap_or_default().into());
            dialog.write_inside(&Ns::NONE, &mut inside, &mut used);
            inside.push_str("\r\n");
        }
    }
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<dialog-info xmlns=\"{NAMESPACE}\"");
    xml::declare_used(&mut out, used);
    let _ = write!(out, " version=\"{version}\" state=\"full\" entity=\"");
    xml::push_attribute(&mut out, entity);
    out.push_str("\">\r\n");
    out.push_str(&inside);
    out.push_str("</dialog-info>\r\n");
    out
}

fn rename(dialog: &mut Element, id: String) {
    let own = dialog.attributes.iter_mut().find(|attribute| attribute.ns == Ns::NONE && &*attribute.name == "id");
    if let Some(Attribute { value, .. }) = own {
        *value = id.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(inside: &str) -> Result<DialogInfo, XmlError> {
        let text = format!(
            "<?xml version=\"1.0\"?><d:dialog-info xmlns:d=\"{NAMESPACE}\" xmlns:x=\"urn:x\" version=\"7\" state=\"full\" \
             entity=\"sip:a@h\">{inside}</d:dialog-info>"
        );
        DialogInfo::read(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn dialogs_of_devices_stand_side_by_side() {
        let desk = info(
            "<d:dialog id=\"1\" direction=\"initiator\"><d:state>confirmed</d:state><d:local><d:identity \
             display=\"A &amp; B\">sip:a@h</d:identity><d:session-description type=\"application/sdp\">v=0\
             </d:session-description></d:local><x:y/></d:dialog>\
             <d:dialog id=\"2\"><d:state event=\"rejected\" code=\"486\">terminated</d:state></d:dialog>",
        )
        .unwrap();
        let phone = info("<d:dialog id=\"1\"><d:state>early</d:state></d:dialog>").unwrap();
        let text = document(3, "sip:a@h", [&desk, &phone]);
        assert!(text.contains("version=\"3\" state=\"full\" entity=\"sip:a@h\""), "{text}");
        assert!(text.contains("<dialog id=\"1\" direction=\"initiator\"><state>confirmed</state>"), "{text}");
        assert!(text.contains("<identity display=\"A &amp; B\">sip:a@h</identity>"), "{text}");
        assert!(text.contains("<dialog id=\"1.1\"><state>early</state></dialog>"), "{text}");
        assert!(!text.contains("terminated") && !text.contains("session-description"), "{text}");
        let again = DialogInfo::read(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(document(3, "sip:a@h", [&again]), text);
    }

    #[test]
    fn no_calls() {
        let idle = info("").unwrap();
        assert!(document(0, "sip:a@h", [&idle]).contains("entity=\"sip:a@h\">\r\n</dialog-info>"));
    }

    #[test]
    fn what_is_none() {
        for inside in ["<d:dialog><d:state>early</d:state></d:dialog>", "<d:dialog id=\"1\"/>", "<d:dialog"] {
            assert!(info(inside).is_err(), "{inside}");
        }
        assert!(DialogInfo::read(b"<presence xmlns='urn:ietf:params:xml:ns:pidf'/>", &Limits::default()).is_err());
    }
}
