//! What of a presence document a watcher is shown (RFC 5025 §3.3), and the document of one who is not there.

use crate::ns::Ns;
use crate::pidf::Writer;
use crate::xml::{self, Element, Limits, Node, XmlError};

/// What rules show: nothing at first, more with each rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    services: Choice,
    persons: Choice,
    devices: Choice,
    all_attributes: bool,
    /// Names after `provide-`.
    attributes: Vec<Box<str>>,
    user_input: UserInput,
    /// Namespace and name.
    unknown: Vec<(Box<str>, Box<str>)>,
}

/// Which services, persons or devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Choice {
    all: bool,
    /// By which property, and its value.
    some: Vec<(Box<str>, Box<str>)>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum UserInput {
    #[default]
    Nothing,
    Bare,
    Thresholds,
    Full,
}

impl Shown {
    /// Reads a `transformations` element; what is not known in it grants nothing.
    pub fn of(transformations: &Element) -> Shown {
        let mut shown = Shown::default();
        for element in transformations.elements().filter(|e| e.ns == Ns::PRES_RULES || e.ns == Ns::OMA_RULES) {
            let yes = matches!(&*element.text(), "true" | "1");
            match &*element.name {
                "provide-services" => shown.services.read(element, "all-services"),
                "provide-persons" => shown.persons.read(element, "all-persons"),
                "provide-devices" => shown.devices.read(element, "all-devices"),
                // An empty element in the RFC's schema.
                "provide-all-attributes" => shown.all_attributes = true,
                "provide-user-input" => {
                    shown.user_input = match &*element.text() {
                        "full" => UserInput::Full,
                        "thresholds" => UserInput::Thresholds,
                        "bare" => UserInput::Bare,
                        _ => UserInput::Nothing,
                    }
                }
                "provide-unknown-attribute" if yes => {
                    if let (Some(name), Some(ns)) = (element.attribute("name"), element.attribute("ns")) {
                        shown.unknown.push((ns.into(), name.into()));
                    }
                }
                name if yes => shown.attributes.extend(name.strip_prefix("provide-").map(Into::into)),
                _ => {}
            }
        }
        shown
    }

    /// Shows what `other` shows too.
    pub fn add(&mut self, other: &Shown) {
        for (mine, theirs) in [
            (&mut self.services, &other.services),
            (&mut self.persons, &other.persons),
            (&mut self.devices, &other.devices),
        ] {
            mine.all |= theirs.all;
            mine.some.extend(theirs.some.iter().cloned());
        }
        self.all_attributes |= other.all_attributes;
        self.attributes.extend(other.attributes.iter().cloned());
        self.user_input = self.user_input.max(other.user_input);
        self.unknown.extend(other.unknown.iter().cloned());
    }

    /// The document as it is shown.
    pub fn apply(&self, document: &str) -> Result<String, XmlError> {
        let limits = Limits { bytes: usize::MAX, ..Limits::default() };
        let mut root = xml::parse(document.as_bytes(), &Limits { nodes: usize::MAX, ..limits })?;
        root.nodes.retain_mut(|node| match node {
            Node::Element(element) => self.keep(element),
            Node::Text(_) => false,
        });
        let (mut body, mut used) = (String::new(), 0);
        for element in root.elements() {
            element.write(&mut body, &mut used);
            body.push_str("\r\n");
        }
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"");
        out.push_str(Ns::PIDF.uri());
        out.push('"');
        xml::declare_used(&mut out, used);
        out.push_str(" entity=\"");
        xml::push_attribute(&mut out, root.attribute("entity").unwrap_or_default());
        out.push_str("\">\r\n");
        out.push_str(&body);
        out.push_str("</presence>\r\n");
        Ok(out)
    }

    fn keep(&self, element: &mut Element) -> bool {
        let choice = if element.is(Ns::PIDF, "tuple") {
            &self.services
        } else if element.is(Ns::DATA_MODEL, "person") {
            &self.persons
        } else if element.is(Ns::DATA_MODEL, "device") {
            &self.devices
        } else {
            return element.is(Ns::PIDF, "note") && self.gives("note");
        };
        if !choice.has(element) {
            return false;
        }
        element.nodes.retain_mut(|node| match node {
            Node::Element(part) => self.keep_attribute(part),
            Node::Text(_) => true,
        });
        true
    }

    fn gives(&self, name: &str) -> bool {
        self.all_attributes || self.attributes.iter().any(|a| &**a == name)
    }

    fn keep_attribute(&self, part: &mut Element) -> bool {
        let name = &*part.name;
        let is_rpid = part.ns == Ns::RPID || part.ns == Ns::DATA_MODEL || part.ns == Ns::PIDF;
        match name {
            // What makes a service one, and what it is.
            "status" | "contact" | "timestamp" if part.ns == Ns::PIDF || part.ns == Ns::DATA_MODEL => true,
            "service-description" if part.ns == Ns::OMA => true,
            "user-input" if part.ns == Ns::RPID => {
                let level = if self.all_attributes { UserInput::Full } else { self.user_input };
                if level < UserInput::Full {
                    part.attributes.retain(|a| level == UserInput::Thresholds && &*a.name == "idle-threshold");
                }
                level > UserInput::Nothing
            }
            "activities" | "class" | "deviceID" | "mood" | "place-is" | "place-type" | "privacy" | "relationship"
            | "sphere" | "status-icon" | "time-offset" | "note"
                if is_rpid =>
            {
                self.gives(name)
            }
            _ => {
                self.all_attributes
                    || self.unknown.iter().any(|(ns, unknown)| **ns == *part.ns.uri() && &**unknown == name)
            }
        }
    }
}

impl Choice {
    fn read(&mut self, element: &Element, all: &str) {
        for part in element.elements() {
            match &*part.name {
                name if name == all => self.all = true,
                name => self.some.push((name.into(), part.text().into())),
            }
        }
    }

    fn has(&self, element: &Element) -> bool {
        let texts = |name: &str| -> Vec<String> {
            element.elements().filter(|e| &*e.name == name).map(|e| e.text().into_owned()).collect()
        };
        self.all
            || self.some.iter().any(|(property, value)| match &**property {
                "occurrence-id" => element.attribute("id") == Some(value),
                "class" => texts("class").iter().any(|c| **c == **value),
                "deviceID" => texts("deviceID").iter().any(|d| **d == **value),
                "service-uri" => texts("contact").iter().any(|c| **c == **value),
                "service-uri-scheme" => {
                    texts("contact").iter().any(|c| c.split(':').next().is_some_and(|s| s.eq_ignore_ascii_case(value)))
                }
                _ => false,
            })
    }
}

/// The document of somebody who is not there: what polite blocking shows (RFC 3856 §6.6.2).
pub fn absent(entity: &str, contact: &str) -> String {
    let mut writer = Writer::default();
    writer.plain_tuple("none", false, contact);
    writer.finish(entity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
        xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" xmlns:x="urn:x" entity="sip:b@h">
        <tuple id="a"><status><basic>open</basic></status><rpid:class>biz</rpid:class><x:rank>1</x:rank><contact>sip:b@h</contact></tuple>
        <tuple id="b"><status><basic>closed</basic></status><contact>mailto:b@h</contact></tuple>
        <note>hi</note>
        <dm:person id="p"><rpid:activities><rpid:busy/></rpid:activities><rpid:mood><rpid:sad/></rpid:mood>
          <rpid:user-input idle-threshold="600" last-input="2026-01-01T00:00:00Z">idle</rpid:user-input></dm:person>
        <dm:device id="d"><dm:deviceID>urn:1</dm:deviceID></dm:device></presence>"#;

    fn shown(transformations: &str) -> Shown {
        let text = format!(r#"<t xmlns="urn:ietf:params:xml:ns:pres-rules">{transformations}</t>"#);
        Shown::of(&xml::parse(text.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn only_what_is_granted_is_shown() {
        let all = [
            "id=\"a\"",
            "id=\"b\"",
            "class",
            "rank",
            "id=\"p\"",
            "busy",
            "sad",
            "id=\"d\"",
            "idle-threshold",
            "last-input",
            "user-input",
            "hi",
        ];
        let services = "<provide-services><all-services/></provide-services>";
        let persons = "<provide-persons><all-persons/></provide-persons>";
        let everything =
            format!("{services}{persons}<provide-devices><all-devices/></provide-devices><provide-all-attributes/>");
        for (name, transformations, expected) in [
            ("nothing", "", &[][..]),
            ("everything", &*everything, &all),
            ("services bare", services, &["id=\"a\"", "id=\"b\""]),
            ("a service by its class", "<provide-services><class>biz</class></provide-services>", &["id=\"a\""]),
            (
                "a service by its scheme",
                "<provide-services><service-uri-scheme>mailto</service-uri-scheme></provide-services>",
                &["id=\"b\""],
            ),
            (
                "a service by its URI",
                "<provide-services><service-uri>sip:b@h</service-uri></provide-services>",
                &["id=\"a\""],
            ),
            (
                "an element that nobody knows",
                &format!(
                    r#"{services}<provide-unknown-attribute name="rank" ns="urn:x">true</provide-unknown-attribute>"#
                ),
                &["id=\"a\"", "id=\"b\"", "rank"],
            ),
            (
                "one side of the person",
                &format!("{persons}<provide-mood>true</provide-mood><provide-activities>false</provide-activities>"),
                &["id=\"p\"", "sad"],
            ),
            (
                "input, bare",
                &format!("{persons}<provide-user-input>bare</provide-user-input>"),
                &["id=\"p\"", "user-input"],
            ),
            (
                "input, thresholds",
                &format!("{persons}<provide-user-input>thresholds</provide-user-input>"),
                &["id=\"p\"", "idle-threshold", "user-input"],
            ),
            ("a device", "<provide-devices><deviceID>urn:1</deviceID></provide-devices>", &["id=\"d\""]),
            ("another device", "<provide-devices><deviceID>urn:2</deviceID></provide-devices>", &[]),
        ] {
            let text = shown(transformations).apply(DOCUMENT).unwrap();
            let found: Vec<&str> = all.into_iter().filter(|mark| text.contains(mark)).collect();
            assert_eq!(found, expected, "{name}: {text}");
            crate::pidf::Document::parse(text.as_bytes(), &Limits::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn grants_add_up() {
        let mut both = shown(
            "<provide-services><class>biz</class></provide-services><provide-user-input>full</provide-user-input>",
        );
        both.add(&shown(
            "<provide-persons><all-persons/></provide-persons><provide-user-input>bare</provide-user-input>",
        ));
        let text = both.apply(DOCUMENT).unwrap();
        assert!(text.contains("id=\"a\"") && !text.contains("id=\"b\"") && text.contains("last-input"), "{text}");
    }

    #[test]
    fn one_who_is_not_there_looks_the_same_as_one_who_has_gone() {
        let silent = crate::compose::Silent { id: "none".into(), open: false, services: Vec::new() };
        assert_eq!(absent("sip:b@h", "sip:b@h"), crate::compose::compose("sip:b@h", "sip:b@h", &[], &[silent]));
    }
}
