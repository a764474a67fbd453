//! One document of what several devices say (RFC 3903 §9, RFC 4479 §3): services and devices side by side, one person.

use crate::pidf::{Document, Person, Piece, Tuple, Writer};

/// What one device says.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub document: &'a Document,
    /// Counts the publications of a presentity: names this one as long as it lives, and orders what is shown.
    pub order: u64,
    /// The higher, the newer.
    pub updated: u64,
    /// Sources with the same number are the same device, as far as one can tell.
    pub device: u64,
}

/// A device that says nothing and is only known to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    pub id: Box<str>,
    pub open: bool,
    /// What it can do by its registration, as (service-id, version): each is a service of its own.
    pub services: Vec<(&'static str, &'static str)>,
}

/// Makes the document of `entity`, whose address is `contact`. The newest wins where two sources describe the same
/// service, device, or side of a person; a service is the same where its id is, and its contact or its device.
pub fn compose(entity: &str, contact: &str, sources: &[Source<'_>], silent: &[Silent]) -> String {
    let mut newest: Vec<&Source<'_>> = sources.iter().collect();
    newest.sort_by_key(|source| (std::cmp::Reverse(source.updated), source.order));
    let mut writer = Writer::default();
    tuples(&newest, contact, &mut writer);
    let told = newest.iter().flat_map(|s| &s.document.tuples).filter_map(|t| t.service.as_ref());
    let mut described: Vec<(&str, &str)> = told.map(|(id, version)| (&**id, &**version)).collect();
    for device in silent {
        writer.plain_tuple(&device.id, device.open, contact);
        for (id, version) in &device.services {
            if !described.contains(&(*id, *version)) {
                described.push((id, version));
                let name = format!("{}.{}", device.id, described.len());
                writer.described_tuple(&name, device.open, contact, id, version);
            }
        }
    }
    let mut others: Vec<&Piece> = Vec::new();
    for other in newest.iter().flat_map(|source| &source.document.others) {
        if !others.contains(&other) {
            others.push(other);
            writer.piece(other);
        }
    }
    person(&newest, &mut writer);
    let mut devices: Vec<(&str, &str)> = Vec::new();
    for device in newest.iter().flat_map(|source| &source.document.devices) {
        let known = |(id, name): &(&str, &str)| *id == &*device.id || (!name.is_empty() && *name == &*device.device_id);
        if !devices.iter().any(known) {
            devices.push((&device.id, &device.device_id));
            writer.device(&device.id, device);
        }
    }
    writer.finish(entity)
}

/// The presentity's own address says nothing of which device it is.
fn tuples(newest: &[&Source<'_>], own: &str, writer: &mut Writer) {
    let is_device = |contact: &str| !contact.is_empty() && contact != own;
    let mut shown: Vec<(&Source<'_>, &Tuple)> = Vec::new();
    for source in newest {
        for tuple in &source.document.tuples {
            let same = |(other, shown): &(&Source<'_>, &Tuple)| {
                shown.id == tuple.id
                    && (other.device == source.device || (is_device(&tuple.contact) && shown.contact == tuple.contact))
            };
            if !shown.iter().any(same) {
                shown.push((source, tuple));
            }
        }
    }
    // The order does not change with each refresh, nor does whose id is made another.
    shown.sort_by_key(|(source, _)| source.order);
    for (at, (source, tuple)) in shown.iter().enumerate() {
        match shown[..at].iter().any(|(_, before)| before.id == tuple.id) {
            true => writer.tuple(&format!("{}.{:x}", tuple.id, source.order), tuple),
            false => writer.tuple(&tuple.id, tuple),
        }
    }
}

/// Each side of the person, as activities or mood, from the newest source that tells of it.
fn person(newest: &[&Source<'_>], writer: &mut Writer) {
    let persons: Vec<&Person> = newest.iter().filter_map(|source| source.document.person.as_ref()).collect();
    let Some(first) = persons.first() else { return };
    let pieces = persons.iter().enumerate().flat_map(|(at, person)| {
        let newer = &persons[..at];
        let told = move |name: &str| newer.iter().any(|p| p.pieces.iter().any(|(other, _)| &**other == name));
        person.pieces.iter().filter(move |(name, _)| !told(name)).map(|(_, piece)| piece)
    });
    writer.person(&first.id, pieces);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Limits;

    fn document(inside: &str) -> Document {
        let text = format!(
            r#"<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model"
                xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:bob@example.com">{inside}</presence>"#
        );
        Document::parse(text.as_bytes(), &Limits::default()).unwrap()
    }

    fn tuple(id: &str, basic: &str, contact: &str) -> String {
        format!(r#"<tuple id="{id}"><status><basic>{basic}</basic></status><contact>{contact}</contact></tuple>"#)
    }

    /// Composes documents of (order, updated, device), and shows what is between the root's tags.
    fn composed(of: &[(u64, u64, u64, String)]) -> String {
        let documents: Vec<Document> = of.iter().map(|(_, _, _, inside)| document(inside)).collect();
        let mut sources = Vec::new();
        for ((order, updated, device, _), document) in of.iter().zip(&documents) {
            sources.push(Source { document, order: *order, updated: *updated, device: *device });
        }
        let text = compose("sip:bob@example.com", "sip:bob@example.com", &sources, &[]);
        document_is_sound(&text);
        let from = text.find("bob@example.com\">").unwrap() + 17;
        text[from..].replace("\r\n", "").replace("</presence>", "")
    }

    fn document_is_sound(text: &str) {
        Document::parse(text.as_bytes(), &Limits::default()).unwrap();
    }

    #[test]
    fn services_of_two_devices_stand_side_by_side() {
        let (phone, pc) = (tuple("t1", "open", "sip:bob@phone"), tuple("t1", "closed", "sip:bob@pc"));
        let expected = format!("{phone}{}", pc.replace("t1", "t1.2"));
        assert_eq!(composed(&[(1, 10, 1, phone.clone()), (2, 20, 2, pc.clone())]), expected);
        assert_eq!(composed(&[(2, 20, 2, pc), (1, 30, 1, phone)]), expected, "whichever spoke last");
    }

    #[test]
    fn the_newest_word_of_one_device_counts() {
        let (old, new) = (tuple("t1", "open", "sip:bob@pc"), tuple("t1", "closed", "sip:bob@pc"));
        for (name, device) in [("the same contact", 2), ("the same device", 1)] {
            let found = composed(&[(1, 10, 1, old.clone()), (2, 20, device, new.clone())]);
            assert_eq!(found, new, "{name}");
        }
        let moved = tuple("t1", "open", "sip:bob@elsewhere");
        assert_eq!(composed(&[(1, 10, 1, old), (2, 20, 1, moved.clone())]), moved, "a device that moved");
    }

    #[test]
    fn the_address_of_the_user_is_no_device() {
        let (one, other) = (tuple("t1", "open", "sip:bob@example.com"), tuple("t1", "closed", "sip:bob@example.com"));
        let expected = format!("{one}{}", other.replace("t1", "t1.2"));
        assert_eq!(composed(&[(1, 10, 1, one), (2, 20, 2, other)]), expected);
    }

    #[test]
    fn there_is_one_person_of_all_that_is_told_of_it() {
        let busy =
            r#"<dm:person id="a"><rpid:activities><rpid:meeting/></rpid:activities><dm:note>old</dm:note></dm:person>"#;
        let happy = r#"<dm:person id="b"><rpid:mood><rpid:happy/></rpid:mood><dm:note>new</dm:note></dm:person>"#;
        assert_eq!(
            composed(&[(1, 10, 1, busy.to_owned()), (2, 20, 2, happy.to_owned())]),
            r#"<dm:person id="b"><rpid:mood><rpid:happy/></rpid:mood><dm:note>new</dm:note><rpid:activities><rpid:meeting/></rpid:activities></dm:person>"#
        );
    }

    #[test]
    fn devices_and_notes_are_shown_once() {
        let old = r#"<note>hi</note><dm:device id="x"><dm:deviceID>urn:1</dm:deviceID></dm:device>"#.to_owned();
        let new = r#"<note>hi</note><dm:device id="y"><dm:deviceID>urn:1</dm:deviceID></dm:device>"#.to_owned();
        assert_eq!(composed(&[(1, 10, 1, old), (2, 20, 2, new.clone())]), new);
    }

    #[test]
    fn a_silent_device_has_a_service_of_its_own() {
        let text = compose(
            "sip:b@h",
            "sip:b@h",
            &[],
            &[Silent { id: "r1".into(), open: true, services: vec![("org.example:X", "1.0")] }],
        );
        assert!(
            text.contains(r#"<tuple id="r1"><status><basic>open</basic></status><contact>sip:b@h</contact></tuple>"#)
        );
        document_is_sound(&text);
    }
}
