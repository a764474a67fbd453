//! The receipt itself, `message/imdn+xml` (RFC 5438 §11).

use quick_xml::NsReader;
use quick_xml::escape::escape;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::ResolveResult;

use crate::disposition::{Disposition, Status};

/// Longest document that is read, in bytes.
pub const MAX_NOTIFICATION_LEN: usize = 16 * 1024;
/// Deepest nesting that is read; a notification has four levels.
const MAX_DEPTH: usize = 16;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:imdn";
const CPM_NAMESPACE: &str = "urn:oma:xml:cpm:imdn-extensions:1.0";

/// Why a document is no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum XmlError {
    #[error("{len} bytes, over the limit of {MAX_NOTIFICATION_LEN}")]
    TooLong { len: usize },
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
    #[error("not UTF-8")]
    Encoding,
    #[error("not well-formed")]
    Malformed,
    /// Document types and the entities they declare serve nobody but attackers.
    #[error("a document type or an entity of its own")]
    DocumentType,
    #[error("no <{0}>")]
    Missing(&'static str),
    #[error("a status that does not go with its notification")]
    Status,
}

/// What happened to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The id of the message, not of the receipt.
    pub message_id: String,
    /// The message's own `DateTime`, as text; empty if a sloppy client left it out.
    pub date_time: String,
    pub recipient: Option<String>,
    pub original_recipient: Option<String>,
    pub subject: Option<String>,
    pub disposition: Disposition,
    /// Goes with `disposition` ([`Status::fits`]).
    pub status: Status,
}

impl Notification {
    /// Parses a document. The order of the elements, foreign elements and a missing namespace do not matter.
    pub fn parse(bytes: &[u8]) -> Result<Self, XmlError> {
        if bytes.len() > MAX_NOTIFICATION_LEN {
            return Err(XmlError::TooLong { len: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| XmlError::Encoding)?;
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let mut reader = NsReader::from_str(text);
        let mut reading = Reading::default();
        loop {
            let (namespace, event) = reader.read_resolved_event().map_err(|_| XmlError::Malformed)?;
            let ours = match namespace {
                ResolveResult::Bound(uri) => matches!(uri.as_ref(), NAMESPACE | CPM_NAMESPACE),
                ResolveResult::Unbound => true,
                ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
            };
            match event {
                Event::Start(start) => reading.open(start.local_name().as_ref(), ours)?,
                Event::Empty(start) => {
                    reading.open(start.local_name().as_ref(), ours)?;
                    reading.close()?;
                }
                Event::End(_) => reading.close()?,
                Event::Text(text) => reading.text(&text.xml10_content())?,
                Event::CData(text) => reading.text(&text.xml10_content())?,
                Event::GeneralRef(reference) => reading.text(resolve(&reference)?.encode_utf8(&mut [0; 4]))?,
                Event::DocType(_) => return Err(XmlError::DocumentType),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => return reading.finish(),
            }
        }
    }

    /// The document.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<imdn xmlns=\"");
        out.push_str(NAMESPACE);
        let interworking = self.disposition == Disposition::Interworking;
        if interworking {
            out.push_str("\" xmlns:cpm=\"");
            out.push_str(CPM_NAMESPACE);
        }
        out.push_str("\">\r\n");
        element(&mut out, "message-id", &self.message_id);
        element(&mut out, "datetime", &self.date_time);
        // The schema has the two addresses as a pair, and the subject only behind them.
        if let Some(recipient) = self.recipient.as_ref().or(self.original_recipient.as_ref()) {
            element(&mut out, "recipient-uri", recipient);
            element(&mut out, "original-recipient-uri", self.original_recipient.as_ref().unwrap_or(recipient));
            if let Some(subject) = &self.subject {
                element(&mut out, "subject", subject);
            }
        }
        let prefix = if interworking { "cpm:" } else { "" };
        let (name, status) = (self.disposition.element(), self.status.element());
        out.push_str(&format!(
            "  <{prefix}{name}><{prefix}status><{prefix}{status}/></{prefix}status></{prefix}{name}>\r\n</imdn>\r\n"
        ));
        out
    }
}

fn element(out: &mut String, name: &str, text: &str) {
    let text: String = text.chars().filter(|c| is_allowed(*c)).collect();
    // Written plainly, a carriage return would be read back as a line feed.
    out.push_str(&format!("  <{name}>{}</{name}>\r\n", escape(text.as_str()).replace('\r', "&#13;")));
}

/// XML 1.0 §2.2: what a document can say at all.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r') || !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Character references and the five entities of XML itself.
fn resolve(reference: &BytesRef<'_>) -> Result<char, XmlError> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => return Ok(c),
        Ok(None) => {}
        Err(_) => return Err(XmlError::Malformed),
    }
    match reference.xml10_content().as_ref() {
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "amp" => Ok('&'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(XmlError::DocumentType),
    }
}

/// Where we are in the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Within `<imdn>`.
    Root,
    Field(Field),
    Notification(Disposition),
    /// Within `<status>`.
    Status(Disposition),
    /// Within an element that tells us nothing.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    MessageId,
    DateTime,
    Recipient,
    OriginalRecipient,
    Subject,
}

#[derive(Default)]
struct Reading {
    path: Vec<Place>,
    seen_root: bool,
    /// Indexed by `Field`; the first of each counts.
    fields: [Option<String>; 5],
    text: String,
    outcome: Option<(Disposition, Status)>,
}

impl Reading {
    fn open(&mut self, name: &str, ours: bool) -> Result<(), XmlError> {
        if self.path.len() == MAX_DEPTH {
            return Err(XmlError::TooDeep);
        }
        let place = match self.path.last() {
            None if self.seen_root => return Err(XmlError::Malformed),
            None if ours && name == "imdn" => {
                self.seen_root = true;
                Place::Root
            }
            None => return Err(XmlError::Missing("imdn")),
            Some(Place::Root) if ours => match (field(name), Disposition::from_element(name)) {
                (Some(field), _) => Place::Field(field),
                (_, Some(disposition)) => Place::Notification(disposition),
                _ => Place::Other,
            },
            Some(Place::Notification(disposition)) if ours && name == "status" => Place::Status(*disposition),
            Some(Place::Status(disposition)) if ours => {
                if let (Some(status), None) = (Status::from_element(name), self.outcome) {
                    self.outcome = Some((*disposition, status));
                }
                Place::Other
            }
            _ => Place::Other,
        };
        self.text.clear();
        self.path.push(place);
        Ok(())
    }

    fn close(&mut self) -> Result<(), XmlError> {
        if let Place::Field(field) = self.path.pop().ok_or(XmlError::Malformed)? {
            let slot = &mut self.fields[field as usize];
            if slot.is_none() {
                *slot = Some(self.text.trim().to_owned());
            }
        }
        self.text.clear();
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        if !text.chars().all(is_allowed) {
            return Err(XmlError::Malformed);
        }
        match self.path.last() {
            Some(Place::Field(_)) => self.text.push_str(text),
            Some(_) => {}
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Malformed),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Notification, XmlError> {
        if !self.seen_root {
            return Err(XmlError::Missing("imdn"));
        }
        if !self.path.is_empty() {
            return Err(XmlError::Malformed);
        }
        let mut take = |field: Field| self.fields[field as usize].take().filter(|text| !text.is_empty());
        let message_id = take(Field::MessageId).ok_or(XmlError::Missing("message-id"))?;
        let (disposition, status) = self.outcome.ok_or(XmlError::Missing("status"))?;
        if !status.fits(disposition) {
            return Err(XmlError::Status);
        }
        Ok(Notification {
            message_id,
            date_time: take(Field::DateTime).unwrap_or_default(),
            recipient: take(Field::Recipient),
            original_recipient: take(Field::OriginalRecipient),
            subject: take(Field::Subject),
            disposition,
            status,
        })
    }
}

fn field(name: &str) -> Option<Field> {
    Some(match name {
        "message-id" => Field::MessageId,
        "datetime" => Field::DateTime,
        "recipient-uri" => Field::Recipient,
        "original-recipient-uri" => Field::OriginalRecipient,
        "subject" => Field::Subject,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELIVERED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<imdn xmlns="urn:ietf:params:xml:ns:imdn">
  <message-id>Ms7a9f0c2e41d8b6</message-id>
  <datetime>2026-03-04T10:15:30.250Z</datetime>
  <recipient-uri>tel:+15550100002</recipient-uri>
  <original-recipient-uri>tel:+15550100002</original-recipient-uri>
  <delivery-notification><status><delivered/></status></delivery-notification>
</imdn>"#;

    #[test]
    fn a_delivery() {
        let seen = Notification::parse(DELIVERED.as_bytes()).unwrap();
        let expected = Notification {
            message_id: "Ms7a9f0c2e41d8b6".into(),
            date_time: "2026-03-04T10:15:30.250Z".into(),
            recipient: Some("tel:+15550100002".into()),
            original_recipient: Some("tel:+15550100002".into()),
            subject: None,
            disposition: Disposition::Delivery,
            status: Status::Delivered,
        };
        assert_eq!(seen, expected);
        assert_eq!(Notification::parse(seen.to_xml().as_bytes()), Ok(expected));
    }

    #[test]
    fn habits_of_clients() {
        use Disposition::*;
        let interworking = r#"<imdn xmlns="urn:ietf:params:xml:ns:imdn" xmlns:c="urn:oma:xml:cpm:imdn-extensions:1.0"><message-id>M</message-id><c:interworking-notification><c:status><c:legacy-sms/></c:status></c:interworking-notification></imdn>"#;
        for (name, text, expected) in [
            (
                "no namespace",
                "<imdn><message-id>M</message-id><display-notification><status><displayed/></status></display-notification></imdn>",
                (Display, Status::Displayed),
            ),
            (
                "prefix",
                r#"<i:imdn xmlns:i="urn:ietf:params:xml:ns:imdn"><i:message-id>M</i:message-id><i:processing-notification><i:status><i:stored></i:stored></i:status></i:processing-notification></i:imdn>"#,
                (Processing, Status::Stored),
            ),
            (
                "other order",
                "<imdn><delivery-notification><status><failed/></status></delivery-notification><x/><message-id> M\n</message-id></imdn>",
                (Delivery, Status::Failed),
            ),
            (
                "extension",
                r#"<imdn xmlns:x="urn:x"><message-id>M</message-id><x:message-id>N</x:message-id><delivery-notification><status><error/><x:delivered/></status></delivery-notification></imdn>"#,
                (Delivery, Status::Error),
            ),
            (
                "byte order mark, comment, references, CDATA",
                "\u{feff}<?xml version=\"1.0\"?><!-- c --><imdn><message-id><![CDATA[]]>&#77;</message-id><delivery-notification><status><forbidden/></status></delivery-notification></imdn>\r\n",
                (Delivery, Status::Forbidden),
            ),
            ("interworking", interworking, (Interworking, Status::LegacySms)),
        ] {
            let seen = Notification::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((seen.message_id.as_str(), (seen.disposition, seen.status)), ("M", expected), "{name}");
        }
    }

    #[test]
    fn refused() {
        let document = |inside: &str| format!("<imdn>{inside}</imdn>");
        let id = "<message-id>M</message-id>";
        let status = "<delivery-notification><status><delivered/></status></delivery-notification>";
        let bomb = format!("<!DOCTYPE imdn [<!ENTITY a \"aaaa\">]><imdn>{id}{status}</imdn>");
        for (name, text, expected) in [
            ("nothing", String::new(), XmlError::Missing("imdn")),
            ("other root", "<html/>".into(), XmlError::Missing("imdn")),
            ("other namespace", format!("<imdn xmlns=\"urn:x\">{id}{status}</imdn>"), XmlError::Missing("imdn")),
            ("no id", document(status), XmlError::Missing("message-id")),
            ("no status", document(id), XmlError::Missing("status")),
            (
                "unknown status",
                document(&format!("{id}{}", status.replace("delivered", "x"))),
                XmlError::Missing("status"),
            ),
            ("wrong status", document(&format!("{id}{}", status.replace("delivered", "displayed"))), XmlError::Status),
            ("document type", bomb, XmlError::DocumentType),
            ("entity", document(&format!("<message-id>&a;</message-id>{status}")), XmlError::DocumentType),
            ("control reference", document(&format!("<message-id>&#0;</message-id>{status}")), XmlError::Malformed),
            ("control character", document(&format!("<message-id>M\0</message-id>{status}")), XmlError::Malformed),
            ("not closed", format!("<imdn>{id}{status}"), XmlError::Malformed),
            ("crossed", "<imdn><a></imdn></a>".into(), XmlError::Malformed),
            ("two roots", format!("<imdn>{id}{status}</imdn><imdn/>"), XmlError::Malformed),
            ("text behind", format!("<imdn>{id}{status}</imdn>x"), XmlError::Malformed),
            ("unbound prefix", "<i:imdn/>".into(), XmlError::Malformed),
            ("deep", "<imdn>".to_owned() + &"<a>".repeat(20), XmlError::TooDeep),
            ("long", " ".repeat(MAX_NOTIFICATION_LEN + 1), XmlError::TooLong { len: MAX_NOTIFICATION_LEN + 1 }),
        ] {
            assert_eq!(Notification::parse(text.as_bytes()), Err(expected), "{name}");
        }
        assert_eq!(Notification::parse(b"<imdn>\xff</imdn>"), Err(XmlError::Encoding));
    }

    fn text() -> impl Strategy<Value = String> {
        // XML has no way to say control characters, and spaces at the ends do not count.
        "\\PC{0,20}".prop_map(|text| text.trim().to_owned())
    }

    prop_compose! {
        fn notification()(
            id in "[!-~]{1,20}",
            date_time in text(),
            recipient in proptest::option::of(text()),
            subject in text(),
            (disposition, status) in proptest::sample::select(vec![
                (Disposition::Delivery, Status::Delivered), (Disposition::Delivery, Status::Failed),
                (Disposition::Delivery, Status::Forbidden), (Disposition::Display, Status::Displayed),
                (Disposition::Display, Status::Error), (Disposition::Processing, Status::Processed),
                (Disposition::Processing, Status::Stored), (Disposition::Interworking, Status::LegacySms),
                (Disposition::Interworking, Status::LegacyMms),
            ]),
        ) -> Notification {
            let recipient = recipient.filter(|text| !text.is_empty());
            let subject = Some(subject).filter(|text| !text.is_empty() && recipient.is_some());
            Notification { message_id: id, date_time, original_recipient: recipient.clone(), recipient, subject, disposition, status }
        }
    }

    proptest! {
        #[test]
        fn round_trip(notification in notification()) {
            let xml = notification.to_xml();
            prop_assert_eq!(Notification::parse(xml.as_bytes()), Ok(notification), "{}", xml);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Notification::parse(&bytes);
        }

        #[test]
        fn never_panics_on_damage(at in 0..DELIVERED.len(), byte: u8, cut: bool) {
            let mut bytes = DELIVERED.as_bytes().to_vec();
            bytes[at] = byte;
            let end = if cut { at } else { bytes.len() };
            let _ = Notification::parse(&bytes[..end]);
        }
    }
}
