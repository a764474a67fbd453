//! Presence documents (PIDF, RFC 3863; person and device of RFC 4479), taken apart so that those of several devices can
//! be made into one.

use std::fmt::Write as _;

use crate::ns::Ns;
use crate::xml::{self, Element, Limits, Node, XmlError};

/// Its media type.
pub const MEDIA_TYPE: &str = "application/pidf+xml";
/// Tuples, persons, devices and notes of one document.
const MAX_PARTS: usize = 64;
/// Characters of an id, and of what else is kept beside the text.
const MAX_ID: usize = 256;

/// What one device says of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub entity: Box<str>,
    pub tuples: Vec<Tuple>,
    /// What a person does and feels, each element by itself.
    pub person: Option<Person>,
    pub devices: Vec<Device>,
    /// Notes and elements that are nobody's but the presentity's.
    pub others: Vec<Piece>,
}

/// A service (RFC 3863 §4.1.2), without its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tuple {
    pub id: Box<str>,
    /// What `basic` says.
    pub open: Option<bool>,
    pub contact: Box<str>,
    /// Identifier and version of an OMA service description.
    pub service: Option<(Box<str>, Box<str>)>,
    /// The rest of the start tag and all that follows.
    tail: Piece,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub id: Box<str>,
    /// Each with what tells elements of one kind from others: their name.
    pub pieces: Vec<(Box<str>, Piece)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub id: Box<str>,
    /// The URN that names the device everywhere; empty where it is missing.
    pub device_id: Box<str>,
    tail: Piece,
}

/// XML in our prefixes, with the namespaces that it uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub xml: Box<str>,
    pub used: u32,
}

impl Piece {
    fn of(element: &Element) -> Piece {
        let (mut xml, mut used) = (String::new(), 0);
        element.write(&mut xml, &mut used);
        Piece { xml: xml.into(), used }
    }

    /// An element without its id: what follows the name in its start tag.
    fn tail(mut element: Element) -> Piece {
        element.attributes.retain(|a| !(a.ns == Ns::NONE && &*a.name == "id"));
        let piece = Piece::of(&element);
        let name = element.ns.prefix().len() + usize::from(!element.ns.prefix().is_empty()) + element.name.len();
        Piece { xml: piece.xml[1 + name..].into(), used: piece.used }
    }
}

impl Document {
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Document, XmlError> {
        let root = xml::parse(bytes, limits)?;
        if !root.is(Ns::PIDF, "presence") {
            return Err(XmlError::Missing("presence"));
        }
        let entity = root.attribute("entity").filter(|entity| !entity.is_empty() && entity.len() <= MAX_ID);
        let entity = entity.ok_or(XmlError::Invalid("presence"))?.into();
        let mut document =
            Document { entity, tuples: Vec::new(), person: None, devices: Vec::new(), others: Vec::new() };
        for (at, element) in root.elements().enumerate() {
            if at == MAX_PARTS {
                return Err(XmlError::OverLimit { what: "tuples, persons and devices", max: MAX_PARTS });
            }
            document.take(element)?;
        }
        Ok(document)
    }

    fn take(&mut self, element: &Element) -> Result<(), XmlError> {
        if element.is(Ns::PIDF, "tuple") {
            let tuple = Tuple::of(element)?;
            if self.tuples.iter().any(|other| other.id == tuple.id) {
                return Err(XmlError::Invalid("tuple"));
            }
            self.tuples.push(tuple);
        } else if element.is(Ns::DATA_MODEL, "person") {
            let id = id(element).unwrap_or("person").into();
            let pieces = element.elements().map(|e| (format!("{} {}", e.ns.uri(), e.name).into(), Piece::of(e)));
            // One person (RFC 4479 §3.1); several in one document are parts of it.
            self.person.get_or_insert_with(|| Person { id, pieces: Vec::new() }).pieces.extend(pieces);
        } else if element.is(Ns::DATA_MODEL, "device") {
            let device_id = element.child(Ns::DATA_MODEL, "deviceID").map(|e| short(&e.text())).unwrap_or_default();
            let id = id(element).ok_or(XmlError::Invalid("device"))?.into();
            self.devices.push(Device { id, device_id, tail: Piece::tail(element.clone()) });
        } else {
            self.others.push(Piece::of(element));
        }
        Ok(())
    }

    /// Bytes that it takes, about.
    pub fn size(&self) -> usize {
        let tuples = self.tuples.iter().map(|t| t.id.len() + t.contact.len() + t.tail.xml.len());
        let person = self.person.iter().flat_map(|p| p.pieces.iter().map(|(name, piece)| name.len() + piece.xml.len()));
        let devices = self.devices.iter().map(|d| d.id.len() + d.device_id.len() + d.tail.xml.len());
        let others = self.others.iter().map(|o| o.xml.len());
        size_of::<Document>() + tuples.chain(person).chain(devices).chain(others).map(|n| n + 64).sum::<usize>()
    }
}

impl Tuple {
    fn of(element: &Element) -> Result<Tuple, XmlError> {
        let status = element.child(Ns::PIDF, "status").ok_or(XmlError::Missing("status"))?;
        let open = match status.child(Ns::PIDF, "basic").map(Element::text).as_deref() {
            Some("open") => Some(true),
            Some("closed") => Some(false),
            // §4.1.4 has no other value; baresip begins with "unknown", which says as much as nothing.
            Some(_) | None => None,
        };
        let contact = element.child(Ns::PIDF, "contact").map(|e| short(&e.text())).unwrap_or_default();
        let service = element.child(Ns::OMA, "service-description").and_then(|description| {
            let id = description.child(Ns::OMA, "service-id")?;
            let version = description.child(Ns::OMA, "version").map(|e| short(&e.text())).unwrap_or_default();
            Some((short(&id.text()), version))
        });
        let id = id(element).ok_or(XmlError::Invalid("tuple"))?.into();
        let mut element = element.clone();
        if open.is_none() {
            element.elements_mut().filter(|e| e.is(Ns::PIDF, "status")).for_each(|status| {
                status.nodes.retain(|node| !matches!(node, Node::Element(e) if e.is(Ns::PIDF, "basic")));
            });
        }
        Ok(Tuple { id, open, contact, service, tail: Piece::tail(element) })
    }
}

fn id(element: &Element) -> Option<&str> {
    element.attribute("id").filter(|id| !id.is_empty() && id.len() <= MAX_ID)
}

fn short(text: &str) -> Box<str> {
    let end = (0..=text.len().min(MAX_ID)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].into()
}

/// Writes a presence document; the parts go in the order that the schema wants: tuples, notes, all else.
#[derive(Debug, Default)]
pub struct Writer {
    body: String,
    used: u32,
}

impl Writer {
    pub fn tuple(&mut self, id: &str, tuple: &Tuple) {
        self.named("tuple", id, &tuple.tail);
    }

    /// A service that nobody described: reachable or not at an address.
    pub fn plain_tuple(&mut self, id: &str, open: bool, contact: &str) {
        let basic = if open { "open" } else { "closed" };
        self.body.push_str("<tuple id=\"");
        xml::push_attribute(&mut self.body, id);
        let _ = write!(self.body, "\"><status><basic>{basic}</basic></status><contact>");
        xml::push_text(&mut self.body, contact);
        self.body.push_str("</contact></tuple>\r\n");
    }

    /// The same with an OMA service description.
    pub fn described_tuple(&mut self, id: &str, open: bool, contact: &str, service: &str, version: &str) {
        let basic = if open { "open" } else { "closed" };
        self.used |= 1 << 4;
        self.body.push_str("<tuple id=\"");
        xml::push_attribute(&mut self.body, id);
        let _ = write!(
            self.body,
            "\"><status><basic>{basic}</basic></status><op:service-description><op:service-id>{service}</op:service-id>\
             <op:version>{version}</op:version></op:service-description><contact>"
        );
        xml::push_text(&mut self.body, contact);
        self.body.push_str("</contact></tuple>\r\n");
    }

    pub fn device(&mut self, id: &str, device: &Device) {
        self.used |= 1 << 1;
        self.named("dm:device", id, &device.tail);
    }

    pub fn person<'p>(&mut self, id: &str, pieces: impl Iterator<Item = &'p Piece>) {
        self.used |= 1 << 1;
        self.body.push_str("<dm:person id=\"");
        xml::push_attribute(&mut self.body, id);
        self.body.push_str("\">");
        for piece in pieces {
            self.body.push_str(&piece.xml);
            self.used |= piece.used;
        }
        self.body.push_str("</dm:person>\r\n");
    }

    pub fn piece(&mut self, piece: &Piece) {
        self.body.push_str(&piece.xml);
        self.body.push_str("\r\n");
        self.used |= piece.used;
    }

    fn named(&mut self, name: &str, id: &str, tail: &Piece) {
        self.body.push('<');
        self.body.push_str(name);
        self.body.push_str(" id=\"");
        xml::push_attribute(&mut self.body, id);
        self.body.push('"');
        self.body.push_str(&tail.xml);
        self.body.push_str("\r\n");
        self.used |= tail.used;
    }

    pub fn finish(self, entity: &str) -> String {
        let mut out = String::with_capacity(self.body.len() + 512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\"");
        xml::declare_used(&mut out, self.used);
        out.push_str(" entity=\"");
        xml::push_attribute(&mut out, entity);
        out.push_str("\">\r\n");
        out.push_str(&self.body);
        out.push_str("</presence>\r\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0"?>
        <p:presence xmlns:p="urn:ietf:params:xml:ns:pidf" xmlns:d="urn:ietf:params:xml:ns:pidf:data-model"
            xmlns:r="urn:ietf:params:xml:ns:pidf:rpid" xmlns:s="urn:oma:xml:prs:pidf:oma-pres" entity="pres:bob@example.com">
          <p:tuple id="chat"><p:status><p:basic>open</p:basic></p:status>
            <s:service-description><s:service-id>org.openmobilealliance:ChatSession</s:service-id><s:version>2.0</s:version></s:service-description>
            <p:contact priority="0.8">sip:bob@192.0.2.1</p:contact></p:tuple>
          <p:note xml:lang="fr">à table</p:note>
          <d:person id="p1"><r:activities><r:meal/></r:activities><d:note>mmh</d:note></d:person>
          <d:device id="pc"><d:deviceID>urn:device:1</d:deviceID></d:device>
        </p:presence>"#;

    fn parse(text: &str) -> Result<Document, XmlError> {
        Document::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn a_document_is_taken_apart_and_written_anew() {
        let document = parse(DOCUMENT).unwrap();
        let tuple = &document.tuples[0];
        assert_eq!((&*tuple.id, tuple.open, &*tuple.contact), ("chat", Some(true), "sip:bob@192.0.2.1"));
        assert_eq!(tuple.service, Some(("org.openmobilealliance:ChatSession".into(), "2.0".into())));
        assert_eq!(&*document.devices[0].device_id, "urn:device:1");
        let mut writer = Writer::default();
        writer.tuple("chat", tuple);
        writer.piece(&document.others[0]);
        let person = document.person.as_ref().unwrap();
        writer.person(&person.id, person.pieces.iter().map(|(_, piece)| piece));
        writer.device("pc", &document.devices[0]);
        let text = writer.finish("sip:bob@example.com");
        for part in [
            r#"xmlns:op="urn:oma:xml:prs:pidf:oma-pres" entity="sip:bob@example.com">"#,
            r#"<tuple id="chat"><status><basic>open</basic></status><op:service-description>"#,
            r#"<note xml:lang="fr">à table</note>"#,
            r#"<dm:person id="p1"><rpid:activities><rpid:meal/></rpid:activities><dm:note>mmh</dm:note></dm:person>"#,
            r#"<dm:device id="pc"><dm:deviceID>urn:device:1</dm:deviceID></dm:device>"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let again = parse(&text).unwrap();
        assert_eq!(again, Document { entity: "sip:bob@example.com".into(), ..document });
    }

    #[test]
    fn a_basic_status_that_is_none_is_not_passed_on() {
        let text = DOCUMENT.replace("<p:basic>open</p:basic>", "<p:basic>unknown</p:basic><x xmlns='urn:x'/>");
        let document = parse(&text).unwrap();
        let mut writer = Writer::default();
        writer.tuple("chat", &document.tuples[0]);
        let text = writer.finish("sip:bob@example.com");
        assert_eq!(document.tuples[0].open, None);
        assert!(text.contains("<status><o:x xmlns:o=\"urn:x\"/></status>"), "{text}");
    }

    #[test]
    fn what_is_no_presence_document() {
        let tuple = r#"<tuple id="a"><status/></tuple>"#;
        let many = tuple.repeat(2);
        for (name, inside, error) in [
            ("tuple without id", "<tuple><status/></tuple>", XmlError::Invalid("tuple")),
            ("tuple without status", r#"<tuple id="a"/>"#, XmlError::Missing("status")),
            ("id twice", &many, XmlError::Invalid("tuple")),
            ("too many", &"<note/>".repeat(65), XmlError::OverLimit { what: "tuples, persons and devices", max: 64 }),
        ] {
            let text = format!(r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@b">{inside}</presence>"#);
            assert_eq!(parse(&text).err(), Some(error), "{name}");
        }
        for (text, error) in [
            ("<presence entity='sip:a@b'/>", XmlError::Missing("presence")),
            ("<presence xmlns='urn:ietf:params:xml:ns:pidf'/>", XmlError::Invalid("presence")),
        ] {
            assert_eq!(parse(text).err(), Some(error), "{text}");
        }
    }
}
